"""Cells per second, memory and fidelity of every way to embed, side by side; each way in a process of its own.

    python benchmarks/embed.py --adata pbmc1k.h5ad --vocab vocab.json [--teacher DIR] [--student DIR] [--mixed]

Without folders the models have random weights: speed and memory are those of trained ones, and cosines then compare the
ways to compute one model, not student and teacher.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import torch

from tahoe_distill.embedding import embed, load_student
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model, Tx1Processor

# The released 70m architecture, and a student a third of its size that is mostly gene table.
TEACHER = {"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8}
STUDENT = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}

HEADER = ("cells/s", "cells/CPU s", "peak GB", "parameters", "cos teacher", "cos student")

Compute = Callable[[anndata.AnnData], np.ndarray]
# Way -> (which model, options of embed).
WAYS: dict[str, tuple[str | None, Any]] = {
    "teacher, upstream": ("teacher", None),
    "teacher, padded in file order": ("teacher", "file order"),
    "teacher, Tx1Model": ("teacher", {}),
    "student, torch": ("student", {}),
    "student, compile": ("student", {"backend": "compile"}),
    "student, int8": ("student", {"backend": "int8"}),
    "student, onnx": ("student", {"backend": "onnx"}),
    "student, onnx-int8": ("student", {"backend": "onnx-int8"}),
    "30 principal components": (None, None),
}


def main() -> None:
    """Run the ways one after the other and print the table."""
    args = parse()
    if args.way:
        run_way(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(args, Path(folder))
        rows = {way: start_way(args, Path(folder), way) for way in WAYS if way not in args.skip}
        print_table(rows, Path(folder), args)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adata", required=True, help="h5ad with raw counts")
    parser.add_argument("--vocab", help="vocab.json for models with random weights")
    parser.add_argument("--teacher", help="folder of a converted teacher (default: the 70m architecture, random)")
    parser.add_argument("--student", help="folder of a student (default: 4 layers of 256, random)")
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8, help="batch of the ways that do not choose their own")
    parser.add_argument(
        "--mixed", action="store_true", help="down-sample each cell to between 5 and 100 % of its counts"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--skip", nargs="*", default=[], choices=list(WAYS))
    parser.add_argument("--json", help="file to write the numbers to")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(args: argparse.Namespace, folder: Path) -> None:
    """Write cells and models where the processes find them."""
    adata = anndata.read_h5ad(args.adata)
    adata = adata[np.linspace(0, adata.n_obs - 1, min(args.cells, adata.n_obs)).astype(int)].copy()
    if args.mixed:
        rng = np.random.default_rng(0)
        share = np.repeat(rng.uniform(0.05, 1.0, adata.n_obs), np.diff(adata.X.indptr))
        adata.X.data = rng.binomial(adata.X.data.astype(np.int64), share).astype(np.float32)
        adata.X.eliminate_zeros()
    adata.write_h5ad(folder / "cells.h5ad")
    for name, given, sizes in (("teacher", args.teacher, TEACHER), ("student", args.student, STUDENT)):
        if given:
            (folder / name).symlink_to(Path(given).resolve())
            continue
        vocab = GeneVocab.from_file(args.vocab)
        torch.manual_seed(0)
        settings: dict[str, Any] = {"vocab_size": len(vocab), **sizes}
        model = Tx1Model(Tx1Config(**settings))
        with torch.no_grad():
            # Fresh biases and norms would make it blind to expression, and every way of computing look exact.
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(folder / name)
        Tx1Processor(vocab, max_length=args.context).save_pretrained(folder / name)


def start_way(args: argparse.Namespace, folder: Path, way: str) -> dict[str, Any]:
    """Measure one way in a fresh process; a dict of numbers, or of the reason why it cannot run."""
    command = [sys.executable, __file__, "--adata", args.adata, "--way", way, "--folder", str(folder)]
    command += ["--threads", str(args.threads), "--batch", str(args.batch)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["died"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_way(args: argparse.Namespace) -> None:
    """What the fresh process does: load, warm up on two cells, time all, save the vectors."""
    torch.set_num_threads(args.threads)
    folder = Path(args.folder)
    adata = anndata.read_h5ad(folder / "cells.h5ad")
    model, compute = make_way(args, folder)
    if model is not None:
        compute(adata[:2].copy())
    wall, cpu = time.perf_counter(), time.process_time()
    vectors = compute(adata)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    np.save(folder / f"{args.way}.npy", vectors)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    size = 0 if model is None else sum(parameter.numel() for parameter in model.parameters())
    print(
        json.dumps(
            {"cells_s": adata.n_obs / wall, "cells_cpu_s": adata.n_obs / cpu, "peak_gb": peak, "parameters": size}
        )
    )


def make_way(args: argparse.Namespace, folder: Path) -> tuple[Tx1Model | None, Compute]:
    """A model (or ``None``) and a function from cells to vectors."""
    which, options = WAYS[args.way]
    if which is None:
        return None, principal_components
    if args.way == "teacher, upstream":
        raise SystemExit("needs tahoe_x1 with flash-attn and an NVIDIA GPU" + why_no_upstream())
    pair = load_student(folder / which)
    if options == "file order":
        return pair[0], lambda adata: in_file_order(pair, adata, args.batch)
    if "backend" in options:
        return pair[0], Prepared(pair, options)
    return pair[0], lambda adata: embed(adata, pair, device="cpu", copy=True).obsm["X_tx1"]


class Prepared:
    """A backend that is built (exported, compiled, quantised) once, before the clock runs."""

    def __init__(self, pair: tuple[Tx1Model, Tx1Processor], options: dict[str, Any]) -> None:
        from tahoe_distill.embedding.engine import Engine
        from tahoe_distill.embedding.options import Options

        self.processor = pair[1]
        self.engine = Engine(*pair, Options(device="cpu", **options), device=torch.device("cpu"))

    def __call__(self, adata: anndata.AnnData) -> np.ndarray:
        cells = self.processor.encode_rows(adata.X, self.processor.match(adata))
        return self.engine.window(cells).vectors


def why_no_upstream() -> str:
    """What is missing to run the upstream model, in brackets."""
    missing = [] if torch.cuda.is_available() else ["no GPU"]
    for name in ("tahoe_x1", "flash_attn"):
        try:
            __import__(name)
        except ImportError:
            missing.append(f"no {name}")
    return f" ({', '.join(missing) or 'not wired up: run its own script'})"


def in_file_order(pair: tuple[Tx1Model, Tx1Processor], adata: anndata.AnnData, size: int) -> np.ndarray:
    """Upstream's way of batching: cells as they come, padded to the longest, the whole model."""
    model, processor = pair
    cells = processor.encode_rows(adata.X, processor.match(adata))
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(cells), size):
            vectors.append(model(**processor.pad(cells[start : start + size])).pooler_output)
    return torch.nn.functional.normalize(torch.cat(vectors), dim=1).numpy()


def principal_components(adata: anndata.AnnData) -> np.ndarray:
    """The usual baseline."""
    import scanpy as sc

    adata = adata.copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    sc.pp.pca(adata, n_comps=min(30, adata.n_obs - 1))
    return adata.obsm["X_pca"]


def print_table(rows: dict[str, dict[str, Any]], folder: Path, args: argparse.Namespace) -> None:
    """Print the numbers; cosines are means over cells."""
    print(f"{args.cells} cells{', mixed lengths' if args.mixed else ''}, {args.threads} threads")
    columns = "".join(f"{name:>13}" for name in HEADER)
    print(f"{'way':32}{columns}")
    for way, row in rows.items():
        if "error" in row:
            print(f"{way:32}{row['error']}")
            continue
        row["cos_teacher"] = cosine(folder, way, "teacher, Tx1Model")
        row["cos_student"] = cosine(folder, way, "student, torch")
        print(
            f"{way:32}{row['cells_s']:13.2f}{row['cells_cpu_s']:13.2f}{row['peak_gb']:13.2f}{row['parameters']:13,}"
            f"{row['cos_teacher']:>13}{row['cos_student']:>13}"
        )
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=2) + "\n")


def cosine(folder: Path, way: str, other: str) -> str:
    """Mean cosine between the vectors of two ways, or a dash where their widths differ."""
    paths = [folder / f"{name}.npy" for name in (way, other)]
    if not all(path.exists() for path in paths):
        return "-"
    a, b = map(np.load, paths)
    if a.shape != b.shape:
        return "-"
    return f"{((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean():.5f}"


if __name__ == "__main__":
    main()
