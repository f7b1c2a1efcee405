"""`make quickstart`: distil the built-in teacher on real blood cells and show what came out."""

import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tahoe_distill import Tx1Model, Tx1Processor, load_teacher
from tahoe_distill.cli.evaluate import format_report
from tahoe_distill.evaluation import evaluate
from tahoe_distill.evaluation.blood_cells import LABEL_KEY, write_blood_cells

RUN = Path("runs/quickstart")
COMMAND = ["composer", "scripts/distill.py", "-f", "configs/quickstart.yaml"]
LOAD = f"""from transformers import AutoModel, AutoProcessor
model = AutoModel.from_pretrained("{RUN}/hf", trust_remote_code=True)
processor = AutoProcessor.from_pretrained("{RUN}/hf", trust_remote_code=True)"""


def main() -> None:
    """Prepare, distil, evaluate, print."""
    logging.basicConfig(level=logging.WARNING)
    if not Path(COMMAND[-1]).is_file():
        sys.exit(f"quickstart: error: {COMMAND[-1]} not found; run this from the repository's top folder")
    # Only what an earlier quickstart wrote: the folder is named after it.
    shutil.rmtree(RUN, ignore_errors=True)
    teacher = load_teacher("tx1-nano")
    train, held_out = write_blood_cells(RUN, teacher.processor.vocab)
    started = time.perf_counter()
    print(f"distilling: {' '.join(COMMAND)}  (log: {RUN}/log.txt)", flush=True)
    with (RUN / "log.txt").open("w") as log:
        done = subprocess.run(COMMAND, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        print((RUN / "log.txt").read_text()[-3000:], file=sys.stderr)
        sys.exit(f"quickstart: error: the run ended with exit code {done.returncode}; the whole log is {RUN}/log.txt")
    print(f"distilled in {time.perf_counter() - started:.0f} s\n")
    student = (Tx1Model.from_pretrained(RUN / "hf").eval(), Tx1Processor.from_pretrained(RUN / "hf"))
    report = evaluate(student, (teacher.model, teacher.processor), held_out, reference=train, label_key=LABEL_KEY)
    print(format_report(report))
    print(f"\nthe student is in {RUN}/hf; load it with\n\n{LOAD}")


if __name__ == "__main__":
    main()
