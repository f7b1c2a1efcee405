"""What a training step costs beyond its parts, from a teacher cache, and with the last block run for cells alone.

    python benchmarks/train_step.py [--adata pbmc1k.h5ad --vocab vocab.json] [--teacher 70m] [--student small]

The parts run as plain loops: the teacher's forward pass; the student's forward pass, objectives, backward pass and
optimizer, against outputs that are there already. The steps run in Composer's Trainer with the callback `distillation`
and gradient clipping, as `scripts/distill.py` runs them, with batches that are collated beforehand. Parts and step are
also run as they would be if an objective read gene embeddings: the last block for all positions. All take turns in one
process. Without --adata the cells are the 700 of the quickstart. Weights are random; they cost the same.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anndata
import numpy as np
import torch
from composer import Trainer
from composer.algorithms import GradientClipping
from composer.core import Callback, State
from composer.core.precision import Precision, get_precision_context
from composer.loggers import Logger
from composer.optim import DecoupledAdamW
from torch.utils.data import DataLoader

from tahoe_distill import GeneVocab, Tx1Config, Tx1Model, Tx1Processor, load_teacher
from tahoe_distill.data import prepare_shards
from tahoe_distill.evaluation.blood_cells import load_blood_cells
from tahoe_distill.teacher.write_release import write_release
from tahoe_distill.training.caching import write_cache
from tahoe_distill.training.callbacks.distillation import DistillationCallback
from tahoe_distill.training.dataloader import read_sections
from tahoe_distill.training.model import TahoeDistillModel

# Width, layers and heads of the releases, and of the built-in teacher.
TEACHERS = {
    "nano": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    "70m": {"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8},
    "1b": {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16},
}
OBJECTIVES = {"cosine": {"weight": 1.0, "center": True}, "mse": 1.0}
TEACHER, STUDENT, STEP, CACHED = PARTS = (
    "teacher forward",
    "student forward, backward, optimizer",
    "distillation step",
    "cached step",
)
WHOLE = ", all positions"


def main() -> None:
    """Build, measure in turns, print."""
    logging.disable(logging.WARNING)
    args = parse()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        parts, step = build(args, Path(folder))
        for part in parts.values():
            part(1)
        times: dict[str, list[float]] = {name: [] for name in parts}
        peaks = dict.fromkeys(parts, 0.0)
        for _ in range(args.rounds):
            for name, part in parts.items():
                reset_peak(args.device)
                times[name] += part(args.batches)
                peaks[name] = max(peaks[name], peak(args.device))
    report(args, times, peaks=peaks, flops=step.flops)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adata", help="h5ad with raw counts")
    parser.add_argument("--vocab", help="vocab.json of the genes in --adata")
    parser.add_argument("--teacher", choices=TEACHERS, default="70m")
    parser.add_argument("--student", default="small", help="preset (%(default)s)")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8, help="cells a batch (%(default)s)")
    parser.add_argument("--batches", type=int, default=4, help="batches a turn (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns (%(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=("cpu", "gpu"), default="gpu" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", help="file to write the numbers to")
    args = parser.parse_args()
    args.precision = "amp_bf16" if args.device == "gpu" else "fp32"
    return args


def build(args: argparse.Namespace, folder: Path) -> tuple[dict[str, Callable[[int], list[float]]], "Step"]:
    """The things to measure, by name, and the step among them; each runs batches and returns seconds a batch."""
    vocab = write_cells(args, folder)
    torch.manual_seed(0)
    config = Tx1Config(vocab_size=len(vocab), context_length=args.context, **TEACHERS[args.teacher])
    write_release(Tx1Model(config).eval(), Tx1Processor(vocab, max_length=args.context), folder / "teacher")
    run = configuration(args, folder)
    write_cache(run, folder / "cache", progress=False)
    live, whole = TahoeDistillModel(**run["model"]), all_positions(TahoeDistillModel(**run["model"]))
    cached = TahoeDistillModel(**{**run["model"], "teacher": {"cache": str(folder / "cache")}})
    online, offline = (collated(run, args, cache) for cache in (None, folder / "cache/train"))
    parts: dict[str, Callable[[int], list[float]]] = {
        TEACHER: TeacherAlone(live, online, args),
        TEACHER + WHOLE: TeacherAlone(whole, online, args),
        STUDENT: StudentAlone(live, online, args),
        STUDENT + WHOLE: StudentAlone(whole, online, args),
        STEP: (step := Step(live, online, args)),
        STEP + WHOLE: Step(whole, online, args),
        CACHED: Step(cached, offline, args),
    }
    return parts, step


def all_positions(model: TahoeDistillModel) -> TahoeDistillModel:
    """The model, asked for gene embeddings that nobody reads."""
    model.needs |= {"genes"}
    model.objectives.teacher_needs |= {"genes"}
    return model


def write_cells(args: argparse.Namespace, folder: Path) -> GeneVocab:
    """Shards of as many cells as there are batches; returns the vocabulary."""
    cells = anndata.read_h5ad(args.adata) if args.adata else load_blood_cells()
    vocab = GeneVocab.from_file(args.vocab) if args.vocab else load_teacher("tx1-nano").processor.vocab
    wanted = np.linspace(0, cells.n_obs - 1, min(args.batch * args.batches, cells.n_obs)).astype(int)
    cells[wanted].copy().write_h5ad(folder / "cells.h5ad")
    prepare_shards([folder / "cells.h5ad"], folder / "shards", vocab, val_fraction=0.0)
    return vocab


def configuration(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The run's YAML, as far as it is needed here."""
    loader = {
        "dataset": {"local": str(folder / "shards/train"), "shuffle": False, "num_canonical_nodes": 1},
        "collator": {"do_mlm": False, "max_length": args.context},
        "num_workers": 0,
    }
    dtype = "bfloat16" if args.device == "gpu" else "float32"
    teacher = {"source": str(folder / "teacher"), "dtype": dtype}
    model = {"teacher": teacher, "student": {"preset": args.student, "allow_wider": True}, "objectives": OBJECTIVES}
    return {"model": model, "train_loader": loader, "device_eval_batch_size": args.batch, "precision": args.precision}


def collated(run: dict[str, Any], args: argparse.Namespace, cache: Path | None) -> list[dict[str, Any]]:
    """Batches that are there already."""
    loader = run["train_loader"]
    cells, collate = read_sections(loader["dataset"], loader["collator"], args.batch, cache=cache and str(cache))
    return list(DataLoader(cells, batch_size=args.batch, collate_fn=collate, drop_last=True))


class TeacherAlone:
    """The teacher's forward pass."""

    def __init__(self, model: TahoeDistillModel, batches: list[dict[str, Any]], args: argparse.Namespace) -> None:
        self.model, self.args = model, args
        self.batches = [on_device(batch, args) for batch in batches]

    def __call__(self, count: int) -> list[float]:
        """Seconds of each of ``count`` batches."""
        return [self._time(self.batches[number % len(self.batches)]) for number in range(count)]

    def _time(self, batch: dict[str, Any]) -> float:
        synchronise(self.args.device)
        start = time.perf_counter()
        with get_precision_context(Precision(self.args.precision)):
            self.run(batch)
        synchronise(self.args.device)
        return time.perf_counter() - start

    def run(self, batch: dict[str, Any]) -> Any:
        """One batch."""
        teacher: Any = self.model.teacher
        return teacher.forward(batch, needs=self.model.objectives.teacher_needs, sees_masks=False)


class StudentAlone(TeacherAlone):
    """The student's step against outputs that were computed before."""

    def __init__(self, model: TahoeDistillModel, batches: list[dict[str, Any]], args: argparse.Namespace) -> None:
        super().__init__(model, batches, args)
        model.to("cuda" if args.device == "gpu" else "cpu")
        self.optimizer = DecoupledAdamW(model.parameters(), lr=1e-5)
        with get_precision_context(Precision(args.precision)):
            self.outputs = {id(batch): super(StudentAlone, self).run(batch) for batch in self.batches}

    def run(self, batch: dict[str, Any]) -> None:
        """Forward, objectives, backward, optimizer."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, _ = self.model.objectives(self.model.forward_student(batch), self.outputs[id(batch)], batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


class Step:
    """The step as Composer runs it, timed from the start of one batch to the start of the next."""

    def __init__(self, model: TahoeDistillModel, batches: list[dict[str, Any]], args: argparse.Namespace) -> None:
        self.clock = Clock(args.device)
        self.batches = batches
        self.flops = model.flops_per_batch(batches[0])
        self.trainer = Trainer(
            model=model,
            optimizers=DecoupledAdamW(model.parameters(), lr=1e-5),
            train_dataloader=DataLoader(cast(Any, batches), batch_size=None),
            max_duration="1000000ba",
            device=args.device,
            device_train_microbatch_size=args.batch,
            precision=args.precision,
            algorithms=[GradientClipping(clipping_type="norm", clipping_threshold=1.0)],
            callbacks=[DistillationCallback({}), self.clock],
            progress_bar=False,
            accumulate_train_batch_on_tokens=False,
            seed=1,
        )

    def __call__(self, count: int) -> list[float]:
        """Seconds of each of ``count`` batches; one more is run, whose end is not seen."""
        self.clock.starts = []
        self.trainer.fit(duration=f"{count + 1}ba")
        return list(np.diff(self.clock.starts))


class Clock(Callback):
    """When each batch started."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.starts: list[float] = []

    def batch_start(self, state: State, logger: Logger) -> None:
        """Note the time."""
        synchronise(self.device)
        self.starts.append(time.perf_counter())


def on_device(batch: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """A batch where the models are."""
    place = "cuda" if args.device == "gpu" else "cpu"
    return {name: value.to(place) if torch.is_tensor(value) else value for name, value in batch.items()}


def synchronise(device: str) -> None:
    """Wait for the GPU."""
    if device == "gpu":
        torch.cuda.synchronize()


def reset_peak(device: str) -> None:
    """Start anew to look for the highest memory use."""
    if device == "gpu":
        torch.cuda.reset_peak_memory_stats()
    else:
        # 5 resets the peak that /proc/self/status reports (proc(5)).
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: str) -> float:
    """Highest memory use since :func:`reset_peak`, in GB: allocated on the GPU, or resident."""
    if device == "gpu":
        return torch.cuda.max_memory_allocated() / 1e9
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


def matrix_rate() -> float:
    """Floating-point operations a second of a large product of bfloat16 matrices on the GPU, best of ten."""
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    seconds = []
    for _ in range(10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        a @ a
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * 8192**3 / min(seconds)


def report(args: argparse.Namespace, times: dict[str, list[float]], *, peaks: dict[str, float], flops: float) -> None:
    """Print the table, the overheads, what the cell alone saves and, on a GPU, the share of its matrix rate."""
    median = {name: statistics.median(values) for name, values in times.items()}
    teacher, student, step, cached = (median[name] for name in PARTS)
    place = torch.cuda.get_device_name() if args.device == "gpu" else f"{args.threads} CPU threads"
    print(
        f"teacher {args.teacher}, student {args.student}, {args.batch} cells of up to {args.context} genes a batch, "
        f"{args.precision}, {place}; medians of {args.rounds * args.batches} batches"
    )
    print(f"{'':54}{'ms a batch':>12}{'cells/s':>10}{'peak GB':>10}")
    for name, seconds in median.items():
        print(f"{name:54}{1000 * seconds:12.1f}{args.batch / seconds:10.1f}{peaks[name]:10.2f}")
    overhead = {"distillation": step / (teacher + student) - 1, "cached": cached / student - 1}
    print(f"overhead of the distillation step over its parts: {overhead['distillation']:.1%} (goal: at most 5 %)")
    print(f"overhead of the cached step over the student's part: {overhead['cached']:.1%} (goal: at most 3 %)")
    print(f"the cached step is {step / cached:.2f} times as fast as the distillation step")
    saved = {name: median[name + WHOLE] / median[name] for name in (TEACHER, STUDENT, STEP)}
    for name, ratio in saved.items():
        print(f"{name}: {ratio:.2f} times as fast for the cell alone as for all positions")
    numbers: dict[str, Any] = {"seconds": median, "peak_gb": peaks, "overhead": overhead, "cell_alone": saved}
    if args.device == "gpu":
        rate = matrix_rate()
        numbers["fraction_of_matrix_rate"] = flops / step / rate
        print(f"{flops / step / rate:.1%} of the matrix rate measured here ({rate / 1e12:.0f} TFLOP/s)")
    if args.json:
        Path(args.json).write_text(json.dumps({"arguments": vars(args), **numbers}, indent=2))


if __name__ == "__main__":
    main()
