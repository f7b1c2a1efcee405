"""The documents name what there is, and their lines fit on a screen."""

import re

import pytest

from tahoe_distill.evaluation import EVALUATORS
from tahoe_distill.metrics import METRICS
from tahoe_distill.objectives.registry import OBJECTIVES
from tahoe_distill.objectives.schedules import CURVES
from tahoe_distill.training.student.spec import PRESETS
from tests.helpers import REPOSITORY

PLATFORMS = [*(REPOSITORY / "configs").rglob("*.md"), *(REPOSITORY / "mcli").glob("*.md")]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *PLATFORMS])
# A path of the repository in backticks, such as `tests/hub/`; not a part of another path, nor one with a placeholder.
PATH = re.compile(r"`((?:tahoe_distill|tests|configs|docs|scripts|benchmarks|mcli)/[\w./-]*)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
CODE = re.compile(r"^ *```.*?^ *```", flags=re.MULTILINE | re.DOTALL)


SOURCES = re.sub(
    r'"\s*\n\s*f?"',
    "",
    "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "tahoe_distill").rglob("*.py")),
)


@pytest.fixture(params=DOCUMENTS, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def document(request):
    return request.param


def test_paths_and_links_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    paths = [REPOSITORY / path for path in PATH.findall(text)]
    links = [document.parent / link for link in LINK.findall(CODE.sub("", text))]
    missing = [str(path) for path in (*paths, *links) if not path.exists()]
    assert not missing


def test_contributing_names_the_files_of_each_kind_of_part():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    parts = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert [part.splitlines()[0] for part in parts] == [
        "An objective",
        "A metric",
        "A size of student",
        "An input format",
        "A family of teachers",
        "A file of the export",
    ]
    for part in parts:
        assert {"tahoe_distill", "tests", "docs"} <= {path.split("/")[0] for path in PATH.findall(part)}, part


def test_methods_names_every_objective_schedule_metric_and_evaluator():
    text = (REPOSITORY / "docs/methods.md").read_text(encoding="utf-8")
    students = {*PRESETS, "transformer", "set"}
    names = {*OBJECTIVES.names(), *CURVES, *METRICS.names(), *EVALUATORS.names()}
    assert not [name for name in names if f"`{name}`" not in text]
    assert not [name for name in students if f"`{name}`" not in text and f"encoder: {name}`" not in text]
    # By the names of the code too.
    classes = [OBJECTIVES.find(name) for name in OBJECTIVES.names()] + [METRICS.find(name) for name in METRICS.names()]
    ours = [cls.__name__ for cls in classes if cls.__module__.startswith("tahoe_distill.")]
    assert not [name for name in ours if f"`{name}`" not in text]


def test_nothing_is_installed_by_a_name_that_is_not_registered():
    """The command stands in one place, `lazy.how_to_install`, and in documents as that of the repository."""
    by_name = re.compile(r"pip install[^\n`]*['\" ]tahoe-distill")
    texts = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS} | {"the code": SOURCES}
    assert [path for path, text in texts.items() if by_name.search(text)] == []


def test_prose_has_no_line_above_120_columns(document):
    prose = CODE.sub("", document.read_text(encoding="utf-8"))
    assert not [line for line in prose.splitlines() if len(line) > 120 and not line.startswith("|")]


def test_troubleshooting_goes_by_messages_that_are_printed():
    text = (REPOSITORY / "docs/guides/troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^### `([^`]+)`$", text, flags=re.MULTILINE)
    assert len(messages) >= 12
    # transformers' own setting, which its messages name.
    assert [message for message in messages if message not in SOURCES and message != "trust_remote_code"] == []
