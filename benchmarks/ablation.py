"""What each objective, initialisation and curriculum brings: a short run of the quickstart for each, on the same cells.

    python benchmarks/ablation.py [--batches 200] [--jobs 2] [--write]

Every run is `composer scripts/distill.py -f configs/quickstart.yaml` with the settings below and a shorter schedule,
scored on the quickstart's held-out cells. The first variant runs with three seeds; the spread of those is what a
difference has to exceed to mean anything. With --write the table replaces the one in docs/objectives.md. Finished
runs are kept in runs/ablation and not repeated.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anndata
from omegaconf import OmegaConf

from tahoe_distill import Tx1Model, Tx1Processor, load_teacher
from tahoe_distill.embedding import load_student
from tahoe_distill.evaluation import Columns, evaluate
from tahoe_distill.evaluation.blood_cells import LABEL_KEY, write_blood_cells
from tahoe_distill.teacher import Teacher

RUN = Path("runs/ablation")
COMPOSER = Path(sys.executable).with_name("composer")
Settings = dict[str, Any]
COLUMNS = {
    "fidelity/knn_overlap_10": "10 neighbours kept",
    "fidelity/centered_cosine": "centred cosine",
    "annotation/knn_macro_f1": "macro-F1",
}
MARK = "<!-- ablation: written by benchmarks/ablation.py -->"

COSINE, MSE = {"cosine": {"weight": 1.0, "center": True}}, {"mse": {"weight": 1.0, "normalize": True}}
BASE = {**COSINE, **MSE}
HIDDEN = {"weight": 0.5, "layer_map": [[1, 1]]}
STEPS = {"schedule": "linear", "start": 4.0, "end": 0.5, "stages": 5}
FADE = {"schedule": "linear", "start": 1.0, "end": 0.0}
MASKED = {"train_loader.collator.do_mlm": True, "eval_loader.collator.do_mlm": True}
# As wide as the teacher, so that its blocks can be taken over; one block of the teacher's two.
WIDE = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "value_dropout": 0.0}


def objectives(*parts: Settings, **more: Any) -> Settings:
    """Settings that put these objectives in the place of the quickstart's."""
    return {"model.objectives": {key: value for part in parts for key, value in part.items()} | more}


FIRST = "cosine, centred, + mse"
# Section -> variant -> settings that replace the quickstart's; a + stands for what is added to the first.
VARIANTS = {
    "objectives": {
        FIRST: objectives(BASE),
        "cosine": objectives(cosine=1.0),
        "cosine, centred": objectives(COSINE),
        "mse of unit vectors": objectives(MSE),
        "relational": objectives(relational=1.0),
        "+ relational": objectives(BASE, relational=1.0),
        "+ similarity_mse": objectives(BASE, similarity_mse=1.0),
        "+ rank": objectives(BASE, rank=1.0),
        "+ contrastive": objectives(BASE, contrastive={"weight": 0.1, "center": True}),
        "+ gene": objectives(BASE, gene=0.5),
        "+ hidden, coarse": objectives(BASE, hidden={**HIDDEN, "grain": "coarse"}),
        "+ hidden, fine": objectives(BASE, hidden=HIDDEN),
        "+ expression": objectives(BASE, expression={"weight": 0.01, "alpha": 0.5}) | MASKED,
    },
    "initialisation": {
        "44 wide, gene table from the teacher (SVD)": objectives(BASE) | {"model.student.init": "teacher"},
        "64 wide, 1 block, from scratch": objectives(BASE) | {"model.student": WIDE},
        "64 wide, 1 block, from the teacher": objectives(BASE) | {"model.student": {**WIDE, "init": "teacher"}},
    },
    "curriculum": {
        "+ relational, tau 4.0 to 0.5 in 5 stages": objectives(BASE, relational={"tau": STEPS}),
        "+ hidden, fine, fading out (the quickstart)": objectives(BASE, hidden={**HIDDEN, "weight": FADE}),
    },
}


def main() -> None:
    """Run what is not there yet, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=200, help="batches a run (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, a thread each (%(default)s)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/objectives.md")
    args = parser.parse_args()
    teacher = load_teacher("tx1-nano")
    if not (RUN / "shards").is_dir():
        write_blood_cells(RUN, teacher.processor.vocab)
    plan = list(runs(args.batches))
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(train, plan))
    scores = {run["name"]: score(run, teacher) for run in plan}
    text = table(scores, judge({}, teacher), args.batches)
    print(text)
    if args.write:
        write_table(text)


def runs(batches: int) -> Iterator[Settings]:
    """Name, folder and settings of each run."""
    for section, variants in VARIANTS.items():
        for variant, settings in variants.items():
            for seed in (17, 18, 19) if variant == FIRST else (17,):
                name = f"{section}/{variant}/{seed}"
                folder = RUN / f"{batches}ba" / name.translate(str.maketrans(" /,()", "-----"))
                settings = {**settings, "seed": seed, "max_duration": f"{batches}ba", "eval_interval": "1dur"}
                settings["variables"] = {"run_folder": str(folder), "shards": f"{RUN}/shards"}
                yield {"name": name, "folder": folder, "settings": settings}


def train(run: Settings) -> None:
    """Start a run unless its student is there."""
    folder = run["folder"]
    if (folder / "hf/config.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = OmegaConf.load("configs/quickstart.yaml")
    for key, value in run["settings"].items():
        # An override on the command line would be merged into the quickstart's objectives, and so add to them.
        OmegaConf.update(config, key, value, merge=False)
    OmegaConf.save(config, folder / "run.yaml")
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    with (folder / "log.txt").open("w") as log:
        command = [COMPOSER, "scripts/distill.py", "-f", folder / "run.yaml"]
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{run['name']} ended with exit code {done.returncode}; see {folder}/log.txt")
    print(f"trained {run['name']}", file=sys.stderr, flush=True)


def score(run: Settings, teacher: Teacher) -> Settings:
    """Fidelity and label transfer of a run's student on the held-out cells; kept in its folder."""
    path = run["folder"] / "score.json"
    if not path.is_file():
        student = load_student(run["folder"] / "hf")
        values = judge({"student": student}, teacher)["student"]
        path.write_text(json.dumps({**values, "parameters": student[0].num_parameters()}))
    return json.loads(path.read_text())


def judge(students: Mapping[str, tuple[Tx1Model, Tx1Processor]], teacher: Teacher) -> dict[str, dict[str, float]]:
    """Numbers of the teacher and of students, or of baselines where there is no student."""
    held_out, train_cells = (anndata.read_h5ad(RUN / f"cells/{name}.h5ad") for name in ("held_out", "train"))
    return evaluate(
        students,
        (teacher.model, teacher.processor),
        held_out,
        reference=train_cells,
        columns=Columns(label=LABEL_KEY),
        only=("fidelity", "annotation"),
        baselines=not students,
    ).values


def table(scores: dict[str, Settings], beside: dict[str, dict[str, float]], batches: int) -> str:
    """Markdown: each variant's numbers and size, the spread of the first over its seeds, teacher and baselines last.

    Args:
        scores: Numbers of each run.
        beside: Numbers of the teacher, the baselines and the controls.
        batches: Of each run.
    """
    lines = [
        f"| {batches} batches each | {' | '.join(COLUMNS.values())} | parameters |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    for section, variants in VARIANTS.items():
        lines.append(f"| **{section}** |" + " |" * (len(COLUMNS) + 1))
        for variant in variants:
            found = [value for name, value in scores.items() if name.startswith(f"{section}/{variant}/")]
            numbers = " | ".join(spread(found, key) for key in COLUMNS)
            lines.append(f"| {variant} | {numbers} | {found[0]['parameters']:,} |")
    for name, values in beside.items():
        numbers = " | ".join(f"{values[key]:.3f}" if key in values else "" for key in COLUMNS)
        lines.append(f"| *{name}* | {numbers} | |")
    return "\n".join(lines)


def spread(found: Sequence[Settings], key: str) -> str:
    """The score, or mean and half the range over seeds."""
    values = [value[key] for value in found]
    mean = statistics.mean(values)
    return f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} ± {(max(values) - min(values)) / 2:.3f}"


def write_table(text: str) -> None:
    """Put the table between the marks in docs/objectives.md."""
    path = Path("docs/objectives.md")
    before, _, rest = path.read_text().partition(MARK)
    _, _, after = rest.partition(MARK)
    if not after:
        raise ValueError(f"{path} has no two marks {MARK}; put them where the table belongs")
    path.write_text(f"{before}{MARK}\n\n{text}\n\n{MARK}{after}")


if __name__ == "__main__":
    main()
