"""What one machine does for a sweep: takes settings, runs each with every seed, tells what came out."""

import contextlib
import logging
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tahoe_distill.naming import unknown
from tahoe_distill.sweeps.process import COMMAND, TO_GO_ON, Evaluated, RunFolder, RunProcess
from tahoe_distill.sweeps.study import Setting, Study

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
# Seconds between two signs of life to other machines.
_TOUCH = 20.0


class ToldToEnd(Exception):  # noqa: N818 - it is no error: the same command carries on
    """The sweep was told to end; its runs have checkpoints."""


class UnknownMetricError(ValueError):
    """The runs do not report what they are to be judged by."""


class Job:
    """One setting at work: its runs, one seed after the other.

    Args:
        study: The study.
        setting: The setting, which is this process's.
        stack: Gives it back.
        start: Starts a run in its folder.
    """

    def __init__(
        self,
        study: Study,
        setting: Setting,
        stack: contextlib.ExitStack,
        *,
        start: Callable[[RunFolder, Mapping[str, Any]], RunProcess],
    ):
        self.study, self.setting, self.stack, self.start = study, setting, stack, start
        self.process: RunProcess | None = None
        self.seed = 0
        self.reported = 0
        self.touched = time.monotonic()

    def step(self) -> str | None:
        """Look at the run, start the next one; the setting's state once it is settled, ``lost`` where it was taken."""
        if time.monotonic() - self.touched > _TOUCH:
            self.touched = time.monotonic()
            if not self.study.touch(self.setting):
                return "lost"
        if self.process is None:
            return self._next()
        evaluations = self.process.folder.evaluations()
        if evaluations:
            self._require_metric(evaluations[-1])
        code = self.process.ended()
        if code is None:
            return self._follow(evaluations)
        return self._after(code)

    def close(self) -> None:
        """End the run that is at work, and give the setting back."""
        if self.process is not None:
            self.process.end()
        self.stack.close()

    def _next(self) -> str | None:
        """Start the run of the next seed that has no result, or settle."""
        results = {seed: folder.result() for seed, folder in self.setting.runs.items()}
        if any(result is not None and "error" in result for result in results.values()):
            self.study.tell(self.setting, "failed")
            return "failed"
        waiting = [seed for seed, result in results.items() if result is None]
        if not waiting:
            value = statistics.fmean(result["value"] for result in results.values() if result)
            self.study.tell(self.setting, "complete", value)
            return "complete"
        self.seed = waiting[0]
        self.process = self.start(self.setting.runs[self.seed], self.study.run_of(self.setting, self.seed))
        return None

    def _follow(self, evaluations: Sequence[Evaluated]) -> str | None:
        """Tell the study what is new; end the setting where that is worse than the median."""
        if self.seed != self.study.seeds[0] or self.process is None:
            return None
        for step, evaluated in enumerate(evaluations, start=1):
            if step <= self.reported:
                continue
            self.reported = step
            if self.study.report(self.setting, step, evaluated.metrics[self.study.spec.metric]):
                self.process.end()
                self.study.tell(self.setting, "pruned")
                return "pruned"
        return None

    def _after(self, code: int) -> str | None:
        process = self.process
        if process is None or code == TO_GO_ON:
            raise ToldToEnd
        folder, metric = process.folder, self.study.spec.metric
        self._follow_to_the_end()
        if code != 0:
            ended = f"exit code {code}" if code > 0 else f"signal {-code}{' (out of memory?)' if code == -9 else ''}"
            folder.finish({"error": folder.said() or f"the run ended by {ended}", "code": code})
        else:
            last = [evaluated for evaluated in folder.evaluations() if metric in evaluated.metrics]
            if not last:
                raise UnknownMetricError(
                    f"the run {folder.name} ended without an evaluation; give it an eval_loader or callbacks.evaluate"
                )
            folder.finish(
                {
                    "value": last[-1].metrics[metric], "batch": last[-1].batch, "metrics": last[-1].metrics,
                    "seconds": round(process.seconds, 1), "parameters": folder.parameters(),
                }
            )  # fmt: skip
        self.process = None
        return self._next()

    def _follow_to_the_end(self) -> None:
        """The last evaluations, of a run that ended between two looks."""
        if self.process is None or self.seed != self.study.seeds[0]:
            return
        for step, evaluated in enumerate(self.process.folder.evaluations(), start=1):
            if step > self.reported and self.study.spec.metric in evaluated.metrics:
                self.study.report(self.setting, step, evaluated.metrics[self.study.spec.metric])

    def _require_metric(self, evaluated: Evaluated) -> None:
        metric = self.study.spec.metric
        if metric not in evaluated.metrics:
            raise UnknownMetricError(
                f"{unknown('metric', metric, evaluated.metrics)}. The runs do not report it: give another metric and "
                f"another out, or have them report it (trial.settings, callbacks.evaluate)"
            )


class Worker:
    """Some jobs side by side, until there is nothing left to take.

    Args:
        study: The study.
        jobs: How many at once.
        command: What starts a run, for tests.
        say: Called with a line for each thing that happened.
        poll: Seconds between two looks.
    """

    def __init__(
        self,
        study: Study,
        *,
        jobs: int = 1,
        command: Sequence[str] = COMMAND,
        say: Callable[[str], None] = log.info,
        poll: float = 0.5,
    ):
        if jobs < 1:
            raise ValueError(f"jobs: found {jobs}, expected a whole number, 1 or more")
        self.study, self.command, self.say, self.poll = study, command, say, poll
        self.slots: list[Job | None] = [None] * jobs
        self.devices = _devices()

    def run(self) -> None:
        """Work; what is running when this ends by an error or a signal has a checkpoint and is given back.

        Raises:
            ToldToEnd: After a SIGTERM or SIGUSR1.
            UnknownMetricError: When the runs do not report the metric.
        """
        with _signals_as_exceptions():
            try:
                while self._round():
                    time.sleep(self.poll)
            finally:
                for job in self.slots:
                    if job is not None:
                        job.close()

    def _round(self) -> bool:
        for slot, job in enumerate(self.slots):
            if job is None:
                job = self.slots[slot] = self._take(slot)
            if job is not None and (state := job.step()) is not None:
                self._settle(slot, job, state)
        return any(job is not None for job in self.slots)

    def _take(self, slot: int) -> Job | None:
        stack = contextlib.ExitStack()
        setting = self.study.claim(stack)
        if setting is None:
            return None
        self.say(f"{setting.name}: begun" if not _was_begun(setting) else f"{setting.name}: carried on")
        return Job(self.study, setting, stack, start=lambda folder, run: self._start(slot, folder, run))

    def _start(self, slot: int, folder: RunFolder, run: Mapping[str, Any]) -> RunProcess:
        return RunProcess(folder, run, command=self.command, environment=self._variables(slot))

    def _variables(self, slot: int) -> dict[str, str]:
        """Each job has a GPU of its own, where there are several, and its share of the cores."""
        found = {}
        if len(self.devices) > 1:
            found["CUDA_VISIBLE_DEVICES"] = self.devices[slot % len(self.devices)]
        if len(self.slots) > 1 and "OMP_NUM_THREADS" not in os.environ:
            found["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) // len(self.slots), 1))
        return found

    def _settle(self, slot: int, job: Job, state: str) -> None:
        self.slots[slot] = None
        job.close()
        name, spec = job.setting.name, self.study.spec
        outcome = self.study.outcome(job.setting, state)
        if state == "lost":
            self.say(f"{name}: another machine has taken it over")
        elif state == "failed":
            self.say(f"{name}: failed: {(outcome.error or '').splitlines()[0] if outcome.error else 'no word why'}")
        elif state == "pruned":
            self.say(f"{name}: ended early, below the median")
        else:
            values = ", ".join(f"{value:.4g}" for value in outcome.values.values())
            self.say(f"{name}: {spec.metric} {values}")
        # At once: with nothing at work the sweep would end.
        self.slots[slot] = self._take(slot)


def _was_begun(setting: Setting) -> bool:
    return any(folder.path.is_dir() for folder in setting.runs.values())


@contextlib.contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    def end(*_: object) -> None:
        raise ToldToEnd

    before = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _devices() -> list[str]:
    """GPUs that the runs may have."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [device for device in given.split(",") if device]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
