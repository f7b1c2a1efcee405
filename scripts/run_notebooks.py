"""`make notebooks`: run the documentation's notebooks and keep what they show.

All run in one kernel, each with names of its own, since most of their time would be imports. Figures and texts are kept
where they stand; execution counts, times and whatever tells one machine from another are not.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "docs/notebooks"
# The one that distils the student which the others read comes first.
FIRST = "distil.ipynb"
_FORGET = "%reset -f\nimport matplotlib.pyplot\nmatplotlib.pyplot.close('all')"


def notebooks() -> list[Path]:
    """All notebooks, in the order in which they are run."""
    return sorted(NOTEBOOKS.glob("*.ipynb"), key=lambda path: (path.name != FIRST, path.name))


@contextmanager
def kernel(folder: Path, **environment: str) -> Iterator[KernelManager]:
    """A kernel of this Python.

    Args:
        folder: Where it runs.
        **environment: Its environment; this process's own where none is given.
    """
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder), **({"env": environment} if environment else {}))
    try:
        yield manager
    finally:
        manager.shutdown_kernel(now=True)


def run(path: Path, manager: KernelManager, *, timeout: int = 600) -> nbformat.NotebookNode:
    """What a notebook is after it was run; the file stays as it is.

    Args:
        path: The notebook.
        manager: The kernel; it forgets the names of earlier notebooks.
        timeout: Seconds that a cell may take.

    Raises:
        nbclient.exceptions.CellExecutionError: When a cell fails, with the cell and its traceback.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, km=manager, timeout=timeout, record_timing=False)
    forget = nbformat.v4.new_code_cell(_FORGET)
    notebook.cells.insert(0, forget)
    with client.setup_kernel(cleanup_kc=True):
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    notebook.cells.remove(forget)
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
    with kernel(NOTEBOOKS.parent.parent) as manager:
        for path in chosen:
            print(path.name, flush=True)
            nbformat.write(run(path, manager), path)


if __name__ == "__main__":
    main(sys.argv[1:])
