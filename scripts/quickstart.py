"""`make quickstart`: distil the built-in teacher on real blood cells and show what came out."""

import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tahoe_distill import load_teacher
from tahoe_distill.cli.main import main as command_line
from tahoe_distill.evaluation.blood_cells import LABEL_KEY, write_blood_cells

RUN = Path("runs/quickstart")
COMMAND = ["composer", "scripts/distill.py", "-f", "configs/quickstart.yaml"]
EVALUATE = [
    "evaluate",
    *("--student", f"{RUN}/hf", "--teacher", "tx1-nano", "--label-key", LABEL_KEY, "--out", f"{RUN}/evaluation"),
    *("--adata", f"{RUN}/cells/held_out.h5ad", "--reference", f"{RUN}/cells/train.h5ad"),
]
NEXT = f"""The student is in {RUN}/hf. What to do next:

  look at how good it is    open {RUN}/evaluation/report.html in a browser
  embed cells of your own   tahoe-distill embed --model {RUN}/hf --adata yours.h5ad --out embedded.h5ad
  see whether they fit      tahoe-distill doctor --model {RUN}/hf --adata yours.h5ad
  a student for the real Tahoe-x1, on GPUs    composer scripts/distill.py -f configs/70m.yaml
  load it with plain transformers:

    from transformers import AutoModel, AutoProcessor
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
    write_blood_cells(RUN, teacher.processor.vocab)
    started = time.perf_counter()
    print(f"distilling: {' '.join(COMMAND)}", flush=True)
    # Its output is this one's: a progress bar in a terminal, lines elsewhere.
    done = subprocess.run(COMMAND, check=False)
    if done.returncode:
        sys.exit(f"quickstart: error: the run ended with exit code {done.returncode}; what went wrong stands above")
    print(f"distilled in {time.perf_counter() - started:.0f} s\n")
    if command_line(EVALUATE):
        sys.exit("quickstart: error: the evaluation failed; the student is trained and stands where it was written")
    print(f"\n{NEXT}")


if __name__ == "__main__":
    main()
