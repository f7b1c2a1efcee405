"""How right and how fast the models are on a GPU: forward, training and embedding, padded and packed.

    python benchmarks/gpu.py [--json gpu.json] [--results benchmarks/RESULTS.md]     # PyTorch and transformers only
    python benchmarks/gpu.py --train                                                 # with [train]: whole steps too

Run it in a checkout. First each way to attend is compared with eager attention in float32, gradients too; what is not
installed is skipped, and the reason kept. Numbers of speed: cells a second, TFLOP/s of the work that tokens are
(padding is none), its share of what a plain product of matrices reaches on the same machine, and the peak of memory.
`--tiny` runs all of it in seconds on any machine, to see that it works.
"""

import argparse
import contextlib
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
import gpu_cases  # noqa: E402

COLUMNS = (
    "what",
    "context",
    "lengths",
    "attention",
    "compiled",
    "cells",
    "cells/s",
    "TFLOP/s",
    "of matrices",
    "peak GB",
)
CHECK_COLUMNS = ("attention", "packed", "masked genes", "cells", "gradients", "right", "skipped")


def main() -> None:
    """Check, measure, write."""
    args = parse()
    torch.set_float32_matmul_precision("high")
    rate = gpu_cases.matrix_rate(args.device, tiny=args.tiny)
    found: dict[str, Any] = {"machine": machine(args.device), "matrix TFLOP/s": rate / 1e12}
    found["checks"] = list(gpu_cases.check(args.device, tiny=args.tiny))
    found["rows"] = []
    for row in (*forwards(args), *student_steps(args), *embedding(args), *(steps(args) if args.train else ())):
        row = {**row, "of matrices": row["TFLOP/s"] * 1e12 / rate} if "TFLOP/s" in row else row
        found["rows"].append(row)
        print(json.dumps(row), flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    text = tables(found)
    print(text)
    if args.results:
        with Path(args.results).open("a", encoding="utf-8") as file:
            file.write(text)
    wrong = [row for row in found["checks"] if row.get("right") is False]
    sys.exit(f"not right: {wrong}" if wrong else 0)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--models", nargs="*", choices=gpu_cases.ARCHITECTURES, default=list(gpu_cases.ARCHITECTURES))
    parser.add_argument("--contexts", nargs="*", type=int, default=[1024, 2048])
    parser.add_argument("--most", type=int, default=1024, help="cells of a batch at most (%(default)s)")
    parser.add_argument("--times", type=int, default=5, help="measurements, of which the median counts (%(default)s)")
    parser.add_argument("--train", action="store_true", help="whole distillation steps too; needs [train]")
    parser.add_argument("--json", help="file to write the numbers to")
    parser.add_argument("--results", help="Markdown file to add the tables to")
    parser.add_argument("--tiny", action="store_true", help="models and batches of a test")
    args = parser.parse_args()
    if args.tiny:
        args.models, args.contexts, args.most, args.times = ["70m", "student small"], [24], 4, 1
    return args


def machine(device: str) -> dict[str, str]:
    """What this ran on."""
    gpu = torch.cuda.get_device_name() if device == "cuda" else f"no GPU ({platform.machine()})"
    return {"device": gpu, "torch": torch.__version__, "transformers": transformers.__version__}


def forwards(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Forward passes: each model, full and mixed lengths, padded and packed, eager and compiled."""
    dtype = torch.bfloat16 if args.device == "cuda" else torch.float32
    for name in args.models:
        model = gpu_cases.build(name, args.device, dtype=dtype, tiny=args.tiny)
        for context in args.contexts:
            for mixed, packed, compiled in ((0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 1, 0)):
                if compiled and args.device == "cpu":
                    continue
                settings = {"mixed": bool(mixed), "packed": bool(packed), "compiled": bool(compiled)}
                yield measured(args, name, model, context=context, **settings)
        del model


def student_steps(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A student's forward and backward pass, to which a pass counts three times."""
    for name in (name for name in args.models if name.startswith("student")):
        model = gpu_cases.build(name, args.device, dtype=torch.float32, tiny=args.tiny).train()
        for packed in (False, True):
            yield measured(args, name, model, context=args.contexts[0], mixed=True, packed=packed, backward=True)


def measured(
    args: argparse.Namespace,
    name: str,
    model: Any,
    *,
    context: int,
    mixed: bool,
    packed: bool,
    compiled: bool = False,
    backward: bool = False,
) -> dict[str, Any]:
    """One row: at the batch that is best before memory is full; or the reason why there is none."""
    row = {"what": f"{name}, {'training' if backward else 'forward'}", "context": context, "compiled": compiled}
    row |= {"lengths": "mixed" if mixed else "full", "attention": "sdpa, packed" if packed else "sdpa"}
    network = torch.compile(model) if compiled else model

    def attempt(cells: int) -> float:
        batch = gpu_cases.draw(model, cells, context, mixed=mixed)
        reset_peak(args.device)
        return gpu_cases.seconds(
            lambda: once(network, batch, packed=packed, backward=backward), args.device, times=args.times
        )

    try:
        cells, took = gpu_cases.fitting(attempt, most=args.most)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        return {**row, "skipped": str(error).splitlines()[0]}
    lengths = gpu_cases.draw(model, cells, context, mixed=mixed).lengths
    work = gpu_cases.flops(model, lengths) * (3 if backward else 1)
    speed = {"cells": cells, "cells/s": cells / took, "TFLOP/s": work / took / 1e12}
    return {**row, **speed, "peak GB": peak(args.device)}


def once(network: Any, batch: gpu_cases.Cells, *, packed: bool, backward: bool) -> None:
    """One pass; training is in mixed precision on a GPU, as runs are."""
    if not backward:
        with torch.no_grad():
            gpu_cases.run(network, batch, packed=packed)
        return
    with torch.autocast("cuda", torch.bfloat16) if network.device.type == "cuda" else contextlib.nullcontext():
        cell = gpu_cases.run(network, batch, packed=packed, cell_only=True).pooler_output
    cell.float().square().mean().backward()
    network.zero_grad()


def embedding(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Cells from an h5ad file to vectors, reading and binning included."""
    try:
        import anndata
        import scipy.sparse

        from tahoe_distill.embedding import embed
    except ImportError as error:
        yield {"what": "embedding from a file", "skipped": str(error)}
        return
    from tahoe_distill.models import GeneVocab, Tx1Processor

    count, genes = (12, 90) if args.tiny else (20_000, 20_000)
    name = args.models[0]
    tokens = ["<pad>", "<cls>", "<eoc>", *(f"ENSG{number:011d}" for number in range(genes))]
    vocab = GeneVocab({token: number for number, token in enumerate(tokens)})
    dtype = torch.bfloat16 if args.device == "cuda" else torch.float32
    model = gpu_cases.build(name, args.device, dtype=dtype, tiny=args.tiny, vocab_size=len(vocab))
    matrix = scipy.sparse.random(count, genes, density=0.05, format="csr", dtype="float32", random_state=0)
    matrix.data[:] = matrix.data * 50 // 1 + 1
    context = args.contexts[0]
    adata = anndata.AnnData(matrix)
    adata.var_names = tokens[3:]
    with tempfile.TemporaryDirectory() as folder:
        adata.write_h5ad(Path(folder) / "cells.h5ad")
        model.save_pretrained(Path(folder) / "model")
        Tx1Processor(vocab, max_length=context).save_pretrained(Path(folder) / "model")
        backed = anndata.read_h5ad(Path(folder) / "cells.h5ad", backed="r")
        reset_peak(args.device)
        start = time.perf_counter()
        embed(backed, str(Path(folder) / "model"))
        took = time.perf_counter() - start
    row = {"what": f"{name}, embedding from a file", "context": context, "lengths": "5 % of 20,000 genes"}
    yield {**row, "cells": count, "cells/s": count / took, "peak GB": peak(args.device)}


def steps(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Whole distillation steps in Composer's Trainer, live and from a cache, beside their parts; and their data."""
    import gpu_steps

    yield from gpu_steps.rows(args)


def reset_peak(device: str) -> None:
    """Begin to count memory anew."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak(device: str) -> float | None:
    """The most memory of a GPU, GB."""
    return torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None


def tables(found: dict[str, Any]) -> str:
    """What was found, as Markdown."""
    what = found["machine"]
    lines = [f"\n## {what['device']}, torch {what['torch']}, transformers {what['transformers']}\n"]
    lines.append(f"A plain product of matrices reaches {found['matrix TFLOP/s']:.1f} TFLOP/s.\n")
    for columns, rows in ((CHECK_COLUMNS, found["checks"]), (COLUMNS, found["rows"])):
        names = (*columns, *(("data", "skipped") if columns is COLUMNS else ()))
        lines += ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
        lines += ["| " + " | ".join(shown(row.get(name)) for name in names) + " |" for row in rows] + [""]
    return "\n".join(lines)


def shown(value: Any) -> str:
    """A cell of a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
