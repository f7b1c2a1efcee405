"""What a person reads of a run: what is trained from what, how far it is, and what came out."""

import logging
import math
import sys
import time
from collections.abc import Mapping
from typing import Any

from composer.core import State
from composer.utils import dist
from tqdm import tqdm

from tahoe_distill.training.callbacks.eval_metrics import read_metrics
from tahoe_distill.training.resume.preflight import checkpoint_store
from tahoe_distill.training.store import is_remote, local_folder

# Shown whatever ``python_log_level`` says: these few lines are the run's own report.
log = logging.getLogger("tahoe_distill.run")

# Seconds between two lines of progress: soon at first, then less and less often.
_FIRST_SECONDS, _SECONDS = 5.0, 60.0


class RunReport:
    """The lines of the first process of a run: a bar in a terminal, plain lines now and then elsewhere."""

    def __init__(self) -> None:
        self._started = self._told = 0.0
        self._first_batch = 0
        self._wait = _FIRST_SECONDS
        self._neighbours = ""
        self._bar: tqdm | None = None

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
        """After a batch: say how far the run is; outside of a terminal, where some time has passed since the last."""
        if dist.get_global_rank() != 0:
            return
        now = time.monotonic()
        if sys.stderr.isatty():
            self._move_bar(state, now - self._started)
        elif now - self._told >= self._wait:
            self._told, self._wait = now, min(2 * self._wait, _SECONDS)
            log.info("%s", self._progress_line(state, now - self._started))

    def evaluation(self, state: State) -> None:
        """After an evaluation: its metrics in a line."""
        if dist.get_global_rank() == 0:
            batch, metrics = state.timestamp.batch.value, read_metrics(state)
            log.info("batch %d, evaluation: %s", batch, metrics_text(metrics))
            kept = [value for name, value in sorted(metrics.items(), reverse=True) if "knn_overlap" in name]
            self._neighbours = f", {100 * kept[0]:.1f} % of neighbours kept at batch {batch:,}" if kept else ""

    def end(self) -> None:
        """After the fit: leave the terminal's line."""
        if self._bar is not None:
            self._bar.close()

    def _move_bar(self, state: State, seconds: float) -> None:
        batch, total = state.timestamp.batch.value, _batches(state)
        if self._bar is None:
            self._bar = tqdm(total=total, initial=self._first_batch, unit=" batches", dynamic_ncols=True, leave=False)
        # A stage of a curriculum may change how long an epoch is.
        self._bar.total = total
        self._bar.set_postfix_str(self._state_text(state, self._pace(state, seconds)), refresh=False)
        self._bar.update(batch - self._bar.n)

    def _progress_line(self, state: State, seconds: float) -> str:
        batch, total, pace = state.timestamp.batch.value, _batches(state), self._pace(state, seconds)
        text = f"batch {batch:,}"
        if total is not None:
            text += f" of {total:,} ({100 * batch / total:.0f} %), {duration((total - batch) / pace)} left"
        return f"{text}: {self._state_text(state, pace)}"

    def _state_text(self, state: State, pace: float) -> str:
        return f"loss {_loss_text(state)}, {pace * _cells_a_batch(state):,.0f} cells/s{self._neighbours}"

    def _pace(self, state: State, seconds: float) -> float:
        return (state.timestamp.batch.value - self._first_batch) / seconds


def start_line(state: State, config: Mapping[str, Any]) -> str:
    """One paragraph that says what a run is about to do; the arguments are those of :meth:`RunReport.start`."""
    model: Any = state.model.module if state.is_model_ddp else state.model
    teacher = "pretraining" if model.teacher is None else f"distilling {_teacher(config)} into"
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
    """What came out of a run that has ended: losses, fidelity, what was written where, and what to do next.

    Args:
        state: Composer's state after the fit.
        config: The run's configuration.
        seconds: How long it took.
    """
    lines = [f"ended after batch {state.timestamp.batch.value:,} in {duration(seconds)}: loss {_loss_text(state)}"]
    metrics = read_metrics(state)
    if metrics:
        lines.append(f"evaluation: {metrics_text(metrics)}")
    folder = ((config.get("callbacks") or {}).get("hf_student") or {}).get("folder")
    if folder:
        lines.append(f"the student is in {folder}")
    place = checkpoint_store(config) or config.get("save_folder")
    if place:
        lines.append(f"the checkpoints are in {place}")
    if folder:
        here = local_folder(folder)
        if is_remote(folder):
            lines.append(f"fetch it: tahoe-distill copy {folder} {here}")
        pair = f"--student {here} --teacher {_teacher(config)}"
        lines.append(f"next: tahoe-distill embed --model {here} --adata cells.h5ad --out embedded.h5ad")
        lines.append(f"how good is it: tahoe-distill evaluate {pair} --adata held_out.h5ad --out evaluation")
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


def _teacher(config: Mapping[str, Any]) -> Any:
    source = config.get("model", {}).get("teacher")
    return (source.get("source") or source.get("cache")) if hasattr(source, "get") else source


def _loss_text(state: State) -> str:
    losses: Any = state.loss if isinstance(state.loss, Mapping) else {"total": state.loss}
    values = {name: float(v.detach().mean()) if hasattr(v, "detach") else math.nan for name, v in losses.items()}
    terms = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if name != "total")
    return f"{values['total']:.4g}" + (f" ({terms})" if len(values) > 2 else "")


def _batches(state: State) -> int | None:
    """How many batches the whole run has, ``None`` where it cannot be told yet."""
    elapsed = state.get_elapsed_duration()
    return None if not elapsed or float(elapsed) <= 0 else round(state.timestamp.batch.value / float(elapsed))


def _cells(loader: Any) -> int:
    dataset: Any = getattr(loader, "dataset", None)
    return getattr(dataset, "size", None) or len(dataset)


def _cells_a_batch(state: State) -> int:
    return (getattr(state.train_dataloader, "batch_size", None) or 0) * dist.get_world_size()
