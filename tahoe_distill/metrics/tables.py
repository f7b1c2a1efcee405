"""Numbers side by side for people: a column for each subject, in Markdown and on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

# What is shown of each evaluator, in this order, and how; a table of everything is metrics.csv.
ROWS = {
    "fidelity/knn_overlap_10": ("10 nearest neighbours kept", "share"),
    "fidelity/knn_overlap_50": ("50 nearest neighbours kept", "share"),
    "fidelity/knn_overlap_10_in_teacher_index": ("  looked up among the teacher's", "share"),
    "fidelity/centered_cosine": ("cosine, centred", "number"),
    "fidelity/cosine": ("cosine, plain", "number"),
    "fidelity/cka": ("linear CKA", "number"),
    "fidelity/distance_spearman": ("distances, Spearman", "number"),
    "annotation/knn_macro_f1": ("labels by neighbours, macro-F1", "number"),
    "annotation/knn_accuracy": ("  accuracy", "number"),
    "annotation/swap_knn_macro_f1": ("  learned from the teacher's vectors", "number"),
    "annotation/logistic_macro_f1": ("labels by regression, macro-F1", "number"),
    "annotation/swap_logistic_macro_f1": ("  learned from the teacher's vectors", "number"),
    "clustering/ari": ("clusters against labels, ARI", "number"),
    "clustering/teacher_ari": ("clusters against the teacher's, ARI", "number"),
    "clustering/silhouette": ("silhouette of labels", "number"),
    "integration/batch_entropy": ("mixing of batches, entropy", "number"),
    "integration/ilisi": ("mixing of batches, LISI", "number"),
    "perturbation/shift_cosine": ("shifts of conditions, cosine", "number"),
    "perturbation/retrieval": ("conditions found by their shift", "share"),
    "genes/gene_overlap_10": ("10 nearest genes kept", "share"),
    "expression/masked_mse": ("hidden expression, squared error", "number"),
    "expression/mse_ratio": ("  over the teacher's", "number"),
    "expression/masked_spearman": ("hidden expression, Spearman", "number"),
    "cost/parameters": ("parameters", "count"),
    "cost/parameters_outside_genes": ("  outside the gene table", "count"),
    "cost/cells_per_second": ("cells per second", "count"),
    "cost/peak_memory": ("peak memory", "bytes"),
}


def show(value: float | None, kind: str) -> str:
    """A number as people read it: a ``share``, a ``count``, ``bytes`` or a ``number``; ``""`` for ``None``."""
    if value is None:
        return ""
    if kind == "share":
        return f"{value:.1%}"
    if kind == "count":
        return f"{value:,.0f}"
    return f"{value / 1e6:,.0f} MB" if kind == "bytes" else f"{value:.3f}"


def cell(record: Mapping[str, Any], subject: str, metric: str, *, intervals: bool = False) -> str:
    """One number as people read it, ``""`` where there is none.

    Args:
        record: What :func:`~tahoe_distill.evaluation.record.to_record` gives.
        subject: Name of the subject.
        metric: Name of the number.
        intervals: Add its 95 % interval where there is one.
    """
    found = record["subjects"][subject]
    kind = ROWS.get(metric, ("", "number"))[1]
    shown = show(found["values"].get(metric), kind)
    ends = found["intervals"].get(metric)
    return f"{shown} ({show(ends[0], kind)} … {show(ends[1], kind)})" if intervals and ends and shown else shown


def rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and words of the numbers that some subject has, in order; a user's own evaluators last, by their primary."""
    given = {metric for subject in record["subjects"].values() for metric in subject["values"]}
    known = [(metric, words) for metric, (words, _) in ROWS.items() if metric in given]
    evaluators = {metric.partition("/")[0] for metric in ROWS}
    own = [
        (metric, metric)
        for evaluator, metric in record["primary"].items()
        if evaluator not in evaluators and metric in given
    ]
    return known + own


def names_of(record: Mapping[str, Any], *roles: str) -> list[str]:
    """Names of the subjects that have one of the roles, in order."""
    return [name for name, subject in record["subjects"].items() if subject["role"] in roles]


def markdown_table(record: Mapping[str, Any], *, intervals: bool = True) -> str:
    """A Markdown table with a column for each subject."""
    names = list(record["subjects"])
    lines = ["| | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for metric, words in rows(record):
        numbers = [cell(record, name, metric, intervals=intervals) for name in names]
        lines.append(f"| {words.strip()} | " + " | ".join(numbers) + " |")
    return "\n".join(lines)


def latex(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A LaTeX table in the style of booktabs, its first column to the left.

    Args:
        head: Names of the columns.
        lines: Texts; what LaTeX reads otherwise is escaped.
    """
    rows = [" & ".join(map(_escaped, line)) + r" \\" for line in (head, *lines)]
    columns = "l" + "r" * (len(head) - 1)
    body = [r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}"]) + "\n"


def latex_table(record: Mapping[str, Any], *, intervals: bool = True) -> str:
    """:func:`markdown_table` in LaTeX."""
    names = list(record["subjects"])
    lines = [
        (words.strip(), *(cell(record, name, metric, intervals=intervals) for name in names))
        for metric, words in rows(record)
    ]
    return latex(["", *names], lines)


def _escaped(text: str) -> str:
    signs = {sign: rf"\{sign}" for sign in "%&#_${}"} | {"\\": r"\textbackslash{}", "…": r"\ldots{}", "~": r"\~{}"}
    return "".join(signs.get(sign, sign) for sign in text)


def terminal_table(record: Mapping[str, Any]) -> str:
    """Models under test first, baselines and controls below, fit for a terminal."""
    count, known = record["cells"]["query"], record["cells"]["reference"]
    beside = f", labels and baselines learned from {known:,} others" if known else ""
    blocks = [f"{count:,} held-out cells{beside}"]
    groups = [("teacher", "student"), ("baseline", "control")]
    for roles in groups:
        names = [name for name, subject in record["subjects"].items() if subject["role"] in roles]
        shown = [
            (words, numbers)
            for metric, words in rows(record)
            if any(numbers := [cell(record, name, metric) for name in names])
        ]
        if names and shown:
            blocks.append(_block(names, shown))
    return "\n\n".join(blocks)


def _block(names: list[str], shown: list[tuple[str, list[str]]]) -> str:
    heads = [name if len(name) <= 24 else name[:23] + "…" for name in names]
    widths = [max(len(head), *(len(numbers[place]) for _, numbers in shown)) for place, head in enumerate(heads)]
    first = max(len(words) for words, _ in shown)
    lines = [" " * first + "".join(f"  {head:>{width}}" for head, width in zip(heads, widths, strict=True))]
    for words, numbers in shown:
        lines.append(f"{words:<{first}}" + "".join(f"  {n:>{w}}" for n, w in zip(numbers, widths, strict=True)))
    return "\n".join(lines)
