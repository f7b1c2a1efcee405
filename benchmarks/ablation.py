"""What each objective, initialisation and curriculum brings: a short run of the quickstart for each, on the same cells.

    python benchmarks/ablation.py [--batches 300] [--jobs 2] [--readme]

Every run is `composer scripts/distill.py -f configs/quickstart.yaml` with the settings below and a shorter schedule,
scored on the quickstart's held-out cells. The first variant runs with three seeds; the spread of those is what a
difference has to exceed to mean anything. With --readme the table replaces the one in README.md. Finished runs are
kept in runs/ablation and not repeated.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anndata

from tahoe_distill import Tx1Model, Tx1Processor, load_teacher
from tahoe_distill.evaluation import evaluate
from tahoe_distill.evaluation.blood_cells import LABEL_KEY, write_blood_cells

RUN = Path("runs/ablation")
COMPOSER = Path(sys.executable).with_name("composer")
MARK = "<!-- ablation: written by benchmarks/ablation.py -->"

COSINE, MSE = "cosine: {weight: 1.0, center: true}", "mse: {weight: 1.0, normalize: true}"
BASE = f"{COSINE}, {MSE}"
STEPS = "{schedule: linear, start: 4.0, end: 0.5, stages: 5}"
FADE = "{schedule: linear, start: 1.0, end: 0.0}"
# As wide as the teacher, so that its blocks can be taken over; one block of the teacher's two.
WIDE = ["model.student={hidden_size: 64, num_hidden_layers: 1, num_attention_heads: 4, value_dropout: 0.0%s}"]
# Section -> variant -> settings that replace the quickstart's.
VARIANTS = {
    "objectives": {
        "cosine (centred) + mse, as the quickstart": [],
        "cosine": ["model.objectives={cosine: 1.0}"],
        "cosine, centred": [f"model.objectives={{{COSINE}}}"],
        "mse of unit vectors": [f"model.objectives={{{MSE}}}"],
        "relational": ["model.objectives={relational: 1.0}"],
        "quickstart + relational": [f"model.objectives={{{BASE}, relational: 1.0}}"],
        "quickstart + gene": [f"model.objectives={{{BASE}, gene: 0.5}}"],
        "quickstart + hidden, coarse": [
            f"model.objectives={{{BASE}, hidden: {{weight: 0.5, layer_map: [[1, 1]], grain: coarse}}}}"
        ],
        "quickstart + hidden, fine": [f"model.objectives={{{BASE}, hidden: {{weight: 0.5, layer_map: [[1, 1]]}}}}"],
        "quickstart + expression": [
            f"model.objectives={{{BASE}, expression: {{weight: 0.01, alpha: 0.5}}}}",
            "train_loader.collator.do_mlm=true",
            "eval_loader.collator.do_mlm=true",
        ],
    },
    "initialisation": {
        "44 wide, gene table from the teacher (SVD)": ["model.student.init=teacher"],
        "64 wide, 1 block, from scratch": [WIDE[0] % ""],
        "64 wide, 1 block, from the teacher": [WIDE[0] % ", init: teacher"],
    },
    "curriculum": {
        "quickstart + relational, tau 4.0 to 0.5 in 5 stages": [
            f"model.objectives={{{BASE}, relational: {{weight: 1.0, tau: {STEPS}}}}}"
        ],
        "quickstart + hidden, fine, fading out": [
            f"model.objectives={{{BASE}, hidden: {{weight: {FADE}, layer_map: [[1, 1]]}}}}"
        ],
    },
}


def main():
    """Run what is not there yet, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=300, help="batches a run (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, a thread each (%(default)s)")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    args = parser.parse_args()
    teacher = load_teacher("tx1-nano")
    if not (RUN / "shards").is_dir():
        write_blood_cells(RUN, teacher.processor.vocab)
    plan = list(runs(args.batches))
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(train, plan))
    scores = {run["name"]: score(run, teacher) for run in plan}
    text = table(scores, args.batches)
    print(text)
    if args.readme:
        write_readme(text)


def runs(batches):
    """Name, folder and settings of each run."""
    for section, variants in VARIANTS.items():
        for variant, settings in variants.items():
            first = section == "objectives" and not settings
            for seed in (17, 18, 19) if first else (17,):
                name = f"{section}/{variant}/{seed}"
                folder = RUN / f"{batches}ba" / name.translate(str.maketrans(" /,()", "-----"))
                yield {"name": name, "folder": folder, "settings": [*settings, f"seed={seed}"], "batches": batches}


def train(run):
    """Start a run unless its student is there."""
    folder = run["folder"]
    if (folder / "hf/config.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [COMPOSER, "scripts/distill.py", "-f", "configs/quickstart.yaml", *run["settings"]]
    command += [f"variables.run_folder={folder}", f"variables.shards={RUN}/shards", f"max_duration={run['batches']}ba"]
    command += ["eval_interval=1dur", "callbacks.hf_student.verify=false"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{run['name']} ended with exit code {done.returncode}; see {folder}/log.txt")
    print(f"trained {run['name']}", file=sys.stderr, flush=True)


def score(run, teacher):
    """Fidelity and label transfer of a run's student on the held-out cells; kept in its folder."""
    path = run["folder"] / "score.json"
    if not path.is_file():
        student = (
            Tx1Model.from_pretrained(run["folder"] / "hf").eval(),
            Tx1Processor.from_pretrained(run["folder"] / "hf"),
        )
        held_out, train_cells = (anndata.read_h5ad(RUN / f"cells/{name}.h5ad") for name in ("held_out", "train"))
        report = evaluate(student, (teacher.model, teacher.processor), held_out, train_cells, LABEL_KEY)
        path.write_text(json.dumps(report.to_dict()))
    return json.loads(path.read_text())


def table(scores, batches):
    """Markdown: each variant's centred cosine, macro-F1 and size; the spread of the first over its seeds."""
    lines = [
        f"| {batches} batches each | centred cosine | macro-F1 | accuracy | parameters |",
        "|---|---|---|---|---|",
    ]
    for section, variants in VARIANTS.items():
        lines.append(f"| **{section}** | | | | |")
        for variant in variants:
            found = [value for name, value in scores.items() if name.startswith(f"{section}/{variant}/")]
            lines.append(
                f"| {variant} | {spread(found, 'centered_cosine')} | {spread(found, 'student_macro_f1')} | "
                f"{spread(found, 'student_accuracy')} | {found[0]['student_parameters']:,} |"
            )
    teacher = next(iter(scores.values()))
    lines.append(
        f"| *teacher* | | {teacher['teacher_macro_f1']:.3f} | {teacher['teacher_accuracy']:.3f} | "
        f"{teacher['teacher_parameters']:,} |"
    )
    return "\n".join(lines)


def spread(found, key):
    """The score, or mean and half the range over seeds."""
    values = [value[key] for value in found]
    mean = statistics.mean(values)
    return f"{mean:.3f}" if len(values) == 1 else f"{mean:.3f} ± {(max(values) - min(values)) / 2:.3f}"


def write_readme(text):
    """Put the table between the marks in README.md."""
    path = Path("README.md")
    before, _, rest = path.read_text().partition(MARK)
    _, _, after = rest.partition(MARK)
    if not after:
        raise ValueError(f"README.md has no two marks {MARK}; put them where the table belongs")
    path.write_text(f"{before}{MARK}\n\n{text}\n\n{MARK}{after}")


if __name__ == "__main__":
    main()
