"""`make notebooks`: run the documentation's notebooks and keep what they show.

All run in one kernel, each with names of its own, since most of their time would be imports. Figures and texts are kept
where they stand; execution counts, times and whatever tells one machine from another are not.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "docs/notebooks"
# The one that distils the student which the others read comes first.
FIRST = "distil.ipynb"
_FORGET = """%reset -f
import matplotlib.pyplot, warnings
matplotlib.pyplot.close("all")
warnings.filterwarnings("ignore", message="IProgress not found")  # bars are off
"""


def notebooks() -> list[Path]:
    """All notebooks, in the order in which they are run."""
    return sorted(NOTEBOOKS.glob("*.ipynb"), key=lambda path: (path.name != FIRST, path.name))


@contextmanager
def kernel(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[NotebookClient]:
    """A client of a kernel of this Python, which ends with it.

    Args:
        folder: Where the kernel runs.
        environment: Its environment; this process's own when left out.
    """
    client = NotebookClient(nbformat.v4.new_notebook(), kernel_name="python3", timeout=600, record_timing=False)
    environment = dict(os.environ if environment is None else environment)
    # The commands that a notebook starts are those beside this Python.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    with client.setup_kernel(cwd=str(folder), env=environment):
        yield client


def run(path: Path, client: NotebookClient) -> nbformat.NotebookNode:
    """What a notebook is after it was run; the file stays as it is.

    Args:
        path: The notebook.
        client: What :func:`kernel` gives; the kernel forgets the names of earlier notebooks.

    Raises:
        nbclient.exceptions.CellExecutionError: When a cell fails, with the cell and its traceback.
    """
    notebook = nbformat.read(path, as_version=4)
    client.nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(_FORGET), *notebook.cells])
    for index, cell in enumerate(client.nb.cells):
        client.execute_cell(cell, index)
    return clean(notebook)


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without counts, times and kernel's names; parts of one stream are one."""
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            for output in cell.outputs:
                output.pop("execution_count", None)
                if output.output_type == "execute_result":
                    output.execution_count = None
                output.get("metadata", {}).clear()
    language = {"name": "python", "pygments_lexer": "ipython3"}
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": language}
    )
    return notebook


def main(names: Sequence[str]) -> None:
    """Run those that are named, or all, and write them."""
    chosen = [path for path in notebooks() if not names or path.stem in names]
    with kernel(NOTEBOOKS.parent.parent) as client:
        for path in chosen:
            print(path.name, flush=True)
            nbformat.write(run(path, client), path)


if __name__ == "__main__":
    main(sys.argv[1:])
