"""What a person reads of a run: what is trained from what, how far it is, and what came out."""

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

from composer.core import State
from composer.utils import dist

from tahoe_distill.training.callbacks.eval_metrics import read_metrics
from tahoe_distill.training.resume.preflight import checkpoint_store
from tahoe_distill.training.store import is_remote, local_folder

# Shown whatever ``python_log_level`` says: these few lines are the run's own report.
log = logging.getLogger("tahoe_distill.run")

# Seconds between two lines of progress: soon at first, then less and less often.
_FIRST_SECONDS, _SECONDS = 5.0, 60.0


class RunReport:
    """The lines of the first process of a run."""

    def __init__(self) -> None:
        self._started = self._told = 0.0
        self._first_batch = 0
        self._wait = _FIRST_SECONDS

    def start(self, state: State, config: Mapping[str, Any]) -> None:
        """Say what is trained from what, on how many cells, where it goes, and from which batch.

        Args:
            state: Composer's state at the start of the fit.
            config: The run's configuration.
        """
        self._started = self._told = time.monotonic()
        self._first_batch = state.timestamp.batch.value
        if dist.get_global_rank() == 0:
            log.info("%s", start_line(state, config))

    def batch(self, state: State) -> None:
        """After a batch: say how far the run is, where some time has passed since the last line."""
        now = time.monotonic()
        if now - self._told < self._wait or dist.get_global_rank() != 0:
            return
        self._told, self._wait = now, min(2 * self._wait, _SECONDS)
        log.info("%s", self._progress_line(state, now - self._started))

    def evaluation(self, state: State) -> None:
        """After an evaluation: its metrics in a line."""
        if dist.get_global_rank() == 0:
            log.info("batch %d, evaluation: %s", state.timestamp.batch.value, metrics_text(read_metrics(state)))

    def _progress_line(self, state: State, seconds: float) -> str:
        batch = state.timestamp.batch.value
        pace = (batch - self._first_batch) / seconds
        text = f"batch {batch:,}"
        elapsed = state.get_elapsed_duration()
        if elapsed is not None and elapsed > 0:
            total = round(batch / float(elapsed))
            text = (
                f"batch {batch:,} of {total:,} ({100 * float(elapsed):.0f} %), {duration((total - batch) / pace)} left"
            )
        return f"{text}: loss {_loss(state):.4g}, {pace * _cells_a_batch(state):,.0f} cells/s"


def start_line(state: State, config: Mapping[str, Any]) -> str:
    """One paragraph that says what a run is about to do; the arguments are those of :meth:`RunReport.start`."""
    model: Any = state.model.module if state.is_model_ddp else state.model
    source = config.get("model", {}).get("teacher")
    name = (source.get("source") or source.get("cache")) if hasattr(source, "get") else source
    teacher = "pretraining" if model.teacher is None else f"distilling {name} into"
    size = sum(parameter.numel() for parameter in model.student.parameters())
    width, blocks = model.student.config.hidden_size, model.student.config.num_hidden_layers
    cells = [f"{_cells(state.train_dataloader):,} cells for training"]
    cells += [f"{_cells(e.dataloader.dataloader):,} for evaluation ({e.label})" for e in state.evaluators]
    batch = state.timestamp.batch.value
    start = f"carrying on after batch {batch:,}" if batch else "from the beginning"
    return (
        f"{teacher} a student of {size:,} parameters ({width} wide, {blocks} blocks) by "
        f"{', '.join(model.objectives.objectives)} on {', '.join(cells)}, "
        f"{_cells_a_batch(state):,} a batch, for {state.max_duration.to_timestring()}, {start}; {destinations(config)}"
    )


def destinations(config: Mapping[str, Any]) -> str:
    """Where a run's student and checkpoints go, in words."""
    student = ((config.get("callbacks") or {}).get("hf_student") or {}).get("folder")
    kept = [f"student to {student}" if student else "no student is exported (no callback hf_student)"]
    place = checkpoint_store(config) or config.get("save_folder")
    kept.append(f"checkpoints in {place}" if place else "no checkpoints")
    return ", ".join(kept)


def end_lines(state: State, config: Mapping[str, Any], seconds: float) -> str:
    """What came out of a run that has ended: losses, fidelity, where the student is, and what to do next.

    Args:
        state: Composer's state after the fit.
        config: The run's configuration.
        seconds: How long it took.
    """
    lines = [f"ended after batch {state.timestamp.batch.value:,} in {duration(seconds)}: loss {_loss(state):.4g}"]
    metrics = read_metrics(state)
    if metrics:
        lines.append(f"evaluation: {metrics_text(metrics)}")
    folder = ((config.get("callbacks") or {}).get("hf_student") or {}).get("folder")
    if folder:
        lines.append(f"the student is in {folder}")
        here = local_folder(folder)
        if is_remote(folder):
            lines.append(f"next: tahoe-distill copy {folder} {here}")
        lines.append(f"next: tahoe-distill embed --model {here} --adata cells.h5ad --out embedded.h5ad")
    return "\n".join(lines)


def metrics_text(metrics: Mapping[str, float]) -> str:
    """Metrics by name in one line."""
    return ", ".join(f"{name.removeprefix('eval/')} {value:.4g}" for name, value in sorted(metrics.items())) or "none"


def duration(seconds: float) -> str:
    """A length of time for people."""
    if not math.isfinite(seconds):
        return "an unknown time"
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _loss(state: State) -> float:
    losses: Any = state.loss
    total: Any = losses.get("total") if isinstance(losses, dict) else losses
    return float(total.detach().mean()) if hasattr(total, "detach") else math.nan


def _cells(loader: Any) -> int:
    dataset: Any = getattr(loader, "dataset", None)
    return getattr(dataset, "size", None) or len(dataset)


def _cells_a_batch(state: State) -> int:
    return (getattr(state.train_dataloader, "batch_size", None) or 0) * dist.get_world_size()
