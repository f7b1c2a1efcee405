"""Stands in for a run: reads its YAML, writes evaluations and a student, obeys what the YAML's section `fake` says."""

import json
import sys
import time
from pathlib import Path

import yaml


def append(path, line):
    """Add a line to a file."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{line}\n")


run = yaml.safe_load(Path(sys.argv[sys.argv.index("-f") + 1]).read_text())
fake, folder = run["fake"], Path(run["save_folder"]).parent
batches, every = (int(run[key].removesuffix("ba")) for key in ("max_duration", "eval_interval"))
# As a checkpoint does, it says how far an earlier start had come.
state = folder / "state.json"
done = json.loads(state.read_text()) if state.exists() else {"batch": 0, "starts": 0}
done["starts"] += 1
state.write_text(json.dumps(done))
append(fake["log"], run["run_name"])
if fake.get("fails_at") == run["optimizer"]["lr"]:
    sys.exit("distill: error: the learning rate is one that fails")
value = -((run["optimizer"]["lr"] - 3) ** 2) + run["seed"] / 1000
for batch in range(done["batch"] + 1, batches + 1):
    time.sleep(fake.get("seconds", 0.0))
    if batch % every == 0 or batch == batches:
        line = {"batch": batch, "metrics": {"eval/knn_overlap": value + batch / 1000, "eval/loss": 1.0}}
        append(run["callbacks"]["distillation"]["evaluations"], json.dumps(line))
    state.write_text(json.dumps({**done, "batch": batch}))
