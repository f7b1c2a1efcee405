"""What a run will take: its numbers in one record, in words, and what is unusual about them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from composer.core import Time, TimeUnit

from tahoe_distill.settings import plain
from tahoe_distill.training.callbacks.run_report import duration
from tahoe_distill.training.model import TahoeDistillModel
from tahoe_distill.training.planning.cells import Schedule, StreamCells, read_streams, schedule
from tahoe_distill.training.planning.models import Models, size_up

# Weights in float32, and Adam's two moments of each.
_CHECKPOINT_BYTES = 12


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A run in numbers; ``None`` stands for what cannot be told.

    Args:
        run: The run's name.
        devices: How many it has.
        sharing: Over how many of them FSDP shares out the student's states, 1 without it.
        streams: Of the training cells.
        schedule: How it goes over them.
        models: Sizes, operations and memory.
        microbatch: Cells of a microbatch on one device, ``None`` for ``auto``.
        rate: Cells per second on all devices.
        rate_from: What the rate comes from, in words.
        to_fetch: Bytes of shards to be fetched, ``None`` where a stream's size is not known.
        checkpoints: Bytes of the checkpoints that are kept.
        exports: Bytes of the exported student.
    """

    run: str | None
    devices: int
    sharing: int
    streams: tuple[StreamCells, ...]
    schedule: Schedule
    models: Models
    microbatch: int | None
    rate: float | None
    rate_from: str
    to_fetch: int | None
    checkpoints: int
    exports: int

    @property
    def seconds(self) -> float | None:
        """How long the run takes, evaluations and checkpoints left out."""
        cells = self.schedule.cells_seen
        return None if cells is None or not self.rate else cells / self.rate

    def record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            **asdict(self),
            "cells_seen": self.schedule.cells_seen,
            "epochs": self.schedule.epochs,
            "seconds": self.seconds,
            "device_hours": None if self.seconds is None else self.seconds * self.devices / 3600,
            "memory_bytes": self.models.memory(self.microbatch or 1, self.sharing),
        }


def estimate(
    model: TahoeDistillModel,
    run: Mapping[str, Any],
    *,
    devices: int = 1,
    rate: float | None = None,
    rate_from: str = "",
) -> Estimate:
    """What a run will take.

    Args:
        model: The run's, from :func:`tahoe_distill.training.planning.models.build_model`.
        run: The run, resolved, as plain values.
        devices: GPUs, or processes on CPUs.
        rate: Cells per second of one device; ``None`` leaves the time open.
        rate_from: Where the rate comes from, in words.
    """
    streams = read_streams(run["train_loader"])
    models = size_up(model, run)
    fetched = [stream.to_fetch for stream in streams]
    kept = run.get("save_num_checkpoints_to_keep", 1)
    microbatch = run.get("device_train_microbatch_size")
    whole = sum(p.numel() for p in model.student.parameters())
    return Estimate(
        run=run.get("run_name"),
        devices=devices,
        sharing=devices if run.get("fsdp_config") else 1,
        streams=tuple(streams),
        schedule=schedule(run, streams),
        models=models,
        microbatch=microbatch if isinstance(microbatch, int) else None,
        rate=None if rate is None else rate * devices,
        rate_from=rate_from,
        to_fetch=None if None in fetched else sum(size for size in fetched if size is not None),
        checkpoints=_CHECKPOINT_BYTES * models.student * max(kept, 1) if run.get("save_folder") else 0,
        exports=4 * whole if "hf_student" in (run.get("callbacks") or {}) else 0,
    )


def lines(found: Estimate, dollars: float | None = None) -> Iterator[str]:
    """The estimate in words, a line each.

    Args:
        found: The estimate.
        dollars: Price of a device for an hour.
    """
    plan, models = found.schedule, found.models
    yield f"run        {found.run or 'without a name'}, {found.devices} device{'s' * (found.devices > 1)}"
    yield from (f"cells      {_stream(stream)}" for stream in found.streams)
    epochs = "" if plan.epochs is None else f", {plan.epochs:.3g} epochs of {_count(plan.epoch)}"
    yield f"schedule   {_count(plan.batches)} batches of {plan.batch:,}: {_count(plan.cells_seen)} cells seen{epochs}"
    if models.teacher:
        source = ", by its published dimensions" if models.from_published else ""
        yield f"teacher    {models.teacher:,} parameters, {_bytes(models.teacher_bytes)}{source}"
    yield f"student    {models.student:,} trainable parameters, {models.outside_table:,} outside the gene table"
    both = models.teacher_flops + models.student_flops
    yield (
        f"operations {both / 1e9:,.3g} GFLOP a cell of {models.length:,} tokens, "
        f"{100 * models.teacher_flops / both:.0f} % of them the teacher's"
    )
    yield f"memory     {_memory(found)}"
    yield f"disk       {_disk(found)}"
    yield f"time       {_time(found, dollars)}"


def _stream(stream: StreamCells) -> str:
    name = f"{stream.name}: " if stream.name else ""
    if not stream.problem:
        return f"{name}{_count(stream.cells)}, {_bytes(stream.file_bytes or 0)} of shards"
    published = "" if stream.cells is None else f"about {stream.cells:,} as published, "
    return f"{name}{published}its index cannot be read ({stream.problem})"


def _memory(found: Estimate) -> str:
    models = found.models
    held = models.teacher_bytes + models.states // found.sharing
    text = f"{_bytes(held)} a device, and {_bytes(models.activations)} for each cell of a microbatch"
    if found.microbatch is None:
        return text + " (its size is left to the run)"
    return text + f": {_bytes(models.memory(found.microbatch, found.sharing))} at {found.microbatch:,} cells"


def _disk(found: Estimate) -> str:
    fetch = "an unknown amount" if found.to_fetch is None else _bytes(found.to_fetch)
    return f"{fetch} to fetch, {_bytes(found.checkpoints)} of checkpoints, {_bytes(found.exports)} of exported student"


def _time(found: Estimate, dollars: float | None) -> str:
    if found.rate is None:
        return "not told: give --rate, or --gpu with --utilisation, or --measure"
    pace = f"{found.rate:,.3g} cells/s ({found.rate_from})"
    if found.seconds is None:
        return f"{pace}; how many cells the run sees is not known"
    hours = found.seconds * found.devices / 3600
    price = "" if dollars is None else f", ${hours * dollars:,.2f} at ${dollars:,.2f} an hour"
    return f"{duration(found.seconds)} at {pace}: {hours:,.3g} device-hours{price}, evaluations left out"


def unusual(run: Mapping[str, Any], found: Estimate) -> Iterator[str]:
    """What is allowed and yet seldom meant, in words.

    Args:
        run: The run, resolved.
        found: Its estimate.
    """
    plan, models = found.schedule, found.models
    if plan.batches_an_epoch == 0:
        yield f"an epoch of {plan.epoch:,} cells has no whole batch of {plan.batch:,}: the run has nothing to train on"
    elif plan.epochs is not None and plan.epochs > 100:
        yield f"the run goes {plan.epochs:,.0f} times over its cells; without augmentation more cells teach more"
    elif plan.epochs is not None and plan.epochs < 0.01 and found.to_fetch:
        yield f"the run sees {100 * plan.epochs:.2g} % of its cells, and its shuffling may fetch far more than that"
    if models.teacher and models.student > models.teacher:
        yield f"the student has {models.student:,} parameters, more than its teacher's {models.teacher:,}"
    if found.microbatch and plan.batch % (found.devices * found.microbatch):
        yield (
            f"a batch of {plan.batch:,} is no whole number of microbatches of {found.microbatch:,} on {found.devices} "
            "devices: the last one of each batch is smaller"
        )
    yield from _late(run, plan)


def _late(run: Mapping[str, Any], plan: Schedule) -> Iterator[str]:
    """Intervals that are longer than the run, so that what they are for happens at its end or never."""
    callbacks = plain(run.get("callbacks") or {})
    intervals = {
        "eval_interval": run.get("eval_interval") if run.get("eval_loader") else None,
        "save_interval": run.get("save_interval") if run.get("save_folder") else None,
        "callbacks.hf_student.save_interval": (callbacks.get("hf_student") or {}).get("save_interval"),
        "scheduler.t_warmup": (run.get("scheduler") or {}).get("t_warmup"),
    }
    for name, value in intervals.items():
        batches = None if value is None else _as_batches(value, plan)
        if batches is not None and plan.batches is not None and batches > plan.batches:
            yield f"{name} is {value}, longer than the run of {plan.batches:,} batches"


def _as_batches(value: Any, plan: Schedule) -> float | None:
    time = Time.from_input(value, TimeUnit.EPOCH)
    if time.unit is TimeUnit.BATCH:
        return float(time.value)
    if time.unit is TimeUnit.EPOCH and plan.batches_an_epoch is not None:
        return float(time.value) * plan.batches_an_epoch
    return None


def _count(number: int | None) -> str:
    return "an unknown number of" if number is None else f"{number:,}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"
