"""Vectors and labels as cz-benchmarks takes them, and a script that runs its tasks in an environment of its own."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from tahoe_distill.evaluation.run import Evaluation

# Version that the script was tried with; it cannot share this package's training environment.
VERSION = "0.15.1"
FOLDER = "cz-benchmarks"

_SCRIPT = '''"""Run the tasks of cz-benchmarks on these vectors; writes results.csv beside this file.

    python -m venv env && env/bin/pip install cz-benchmarks=={version}
    env/bin/python run.py
"""

from pathlib import Path

import numpy as np
import pandas as pd
from czbenchmarks.tasks import (
    BatchIntegrationTask,
    BatchIntegrationTaskInput,
    ClusteringTask,
    ClusteringTaskInput,
    EmbeddingTask,
    EmbeddingTaskInput,
    MetadataLabelPredictionTask,
    MetadataLabelPredictionTaskInput,
)

HERE = Path(__file__).parent


def tasks(obs):
    """Name, task and input of each task that the columns allow."""
    labels = obs["label"]
    yield "clustering", ClusteringTask(), ClusteringTaskInput(obs=obs, input_labels=labels)
    yield "embedding", EmbeddingTask(), EmbeddingTaskInput(input_labels=labels)
    yield "label_prediction", MetadataLabelPredictionTask(), MetadataLabelPredictionTaskInput(labels=labels)
    if "batch" in obs:
        given = BatchIntegrationTaskInput(labels=labels, batch_labels=obs["batch"])
        yield "batch_integration", BatchIntegrationTask(), given


def main():
    """Judge every file of vectors."""
    obs = pd.read_csv(HERE / "obs.csv", index_col=0, dtype=str, keep_default_na=False)
    rows = []
    for path in sorted((HERE / "vectors").glob("*.npy")):
        vectors = np.load(path, allow_pickle=False)
        for name, task, given in tasks(obs):
            for result in task.run(vectors, given):
                rows.append((path.stem, name, str(result.metric_type.value), float(result.value), str(result.params)))
                print(*rows[-1][:4])
    columns = ["subject", "task", "metric", "value", "parameters"]
    pd.DataFrame(rows, columns=columns).to_csv(HERE / "results.csv", index=False)


if __name__ == "__main__":
    main()
'''


def check_export(found: Evaluation) -> None:
    """Refuse what cz-benchmarks has no task for.

    Raises:
        ValueError: Without labels.
    """
    if "labels" not in found.bench.available:
        raise ValueError("the tasks of cz-benchmarks need labels: name their obs column with --label-key")


def export_for_cz_benchmarks(found: Evaluation, folder: str | os.PathLike[str]) -> Path:
    """Write ``cz-benchmarks/`` into a folder: ``vectors/*.npy`` of every subject, ``obs.csv`` and ``run.py``.

    Cells without a label are left out.

    Args:
        found: The evaluation.
        folder: Where; must be there.

    Returns:
        The folder that was written.

    Raises:
        ValueError: Without labels.
    """
    check_export(found)
    target = Path(folder) / FOLDER
    (target / "vectors").mkdir(parents=True)
    bench = found.bench
    known = np.flatnonzero(bench.labels != "")
    for subject in found.subjects.values():
        if not subject.shuffled_labels:
            name = re.sub(r"[^\w.-]+", "_", subject.name).strip("_")
            np.save(target / "vectors" / f"{name}.npy", np.ascontiguousarray(subject.query[known], dtype=np.float32))
    columns = {"label": bench.labels[known]}
    if "batches" in bench.available:
        columns["batch"] = bench.batches[known]
    pd.DataFrame(columns, index=bench.query.obs_names[known]).to_csv(target / "obs.csv")
    (target / "run.py").write_text(_SCRIPT.replace("{version}", VERSION), encoding="utf-8")
    return target
