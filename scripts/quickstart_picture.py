"""Draw the quickstart's cells as its teacher and its student place them: `docs/_static/quickstart.png`.

python scripts/quickstart_picture.py        (after `make quickstart`)
"""

from pathlib import Path

import matplotlib.pyplot as plt

from tahoe_distill.evaluation.record import read_cells, read_record

EVALUATION = Path("runs/quickstart/evaluation")
TARGET = Path("docs/_static/quickstart.png")


def main() -> None:
    """Teacher and student side by side, in the colours of the labels."""
    cells, record = read_cells(EVALUATION), read_record(EVALUATION)
    student = record["subjects"]["student"]["values"]
    teacher_size, size = (record["subjects"][name]["values"]["cost/parameters"] for name in ("teacher", "student"))
    titles = {
        "teacher": f"teacher, {teacher_size:,.0f} parameters",
        "student": f"student, {size:,.0f}; keeps {student['fidelity/knn_overlap_10']:.0%} of ten neighbours",
    }
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.9), layout="constrained", facecolor="white")
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        for label, shown in cells.groupby("label", observed=True):
            axis.scatter(shown[f"{name}/umap_1"], shown[f"{name}/umap_2"], s=16, linewidths=0, label=label)
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontsize=11)
        axis.spines[:].set_visible(False)
    axes[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(TARGET, dpi=110)


if __name__ == "__main__":
    main()
