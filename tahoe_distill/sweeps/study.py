"""The study of a sweep on a disk that several processes and machines may share: which setting is next, and whose it is.

The settings and their values are an Optuna study in a journal file. Whose a running setting is, stands in a lock in its
folder, which the owner touches while it lives; everything that gives one to somebody happens one at a time.
"""

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tahoe_distill.files import remove, replace_text
from tahoe_distill.lazy import how_to_install
from tahoe_distill.locks import LOCK_FILE, FolderInUseError, held, holder_of
from tahoe_distill.sweeps.process import RunFolder
from tahoe_distill.sweeps.runs import Base, final_run, fingerprint, trial_run
from tahoe_distill.sweeps.space import Dimension, run_name
from tahoe_distill.sweeps.spec import SweepSpec

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

SCHEMA = "tahoe-distill/sweep/1"
STUDY_FILE, JOURNAL_FILE, RUNS, CLAIMS = "study.json", "journal.log", "runs", "claims"
BASE_NAME = "base"
# Seconds after which a lock of another machine that nobody touches is of one that is gone.
STALE = 300.0
# Differences that a message lists.
_MOST_LISTED = 8
HOW_TO_GET = f"sweeps need Optuna: {how_to_install('sweep')}"


@dataclass(frozen=True)
class Setting:
    """One setting of a study: what is tried, and its runs.

    Args:
        name: Of its runs, without a seed.
        params: Value by dimension; ``None`` for the base as it stands.
        number: Of its Optuna trial; ``None`` for the base.
        runs: Folder of its run with each seed.
    """

    name: str
    params: Mapping[str, Any] | None
    number: int | None
    runs: Mapping[int, RunFolder]


@dataclass(frozen=True)
class Outcome:
    """How a setting stands.

    Args:
        setting: The setting.
        state: ``complete``, ``pruned``, ``failed`` or ``running``.
        values: The metric by seed, of the runs that reached one.
        error: What a failed one said.
    """

    setting: Setting
    state: str
    values: Mapping[int, float]
    error: str | None = None


class Study:
    """A sweep's folder.

    Args:
        spec: The sweep.
        base: The run that it starts from.
        mode: ``max`` or ``min``: which way its metric is better.

    Raises:
        ImportError: Without Optuna.
        ValueError: When the folder holds a study of another base or sweep; with the keys that differ.
    """

    def __init__(self, spec: SweepSpec, base: Base, *, mode: str):
        self.spec, self.base, self.mode = spec, base, mode
        self.seeds = spec.seeds_from(base.seed)
        self.folder = Path(spec.out)
        _require_optuna()
        self._check_runs()
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.one_at_a_time():
            self._check_same()
        self.optuna = self._load()

    def _check_runs(self) -> None:
        """Build every kind of run once: what cannot be built is told before anything is written."""
        first = {
            dimension.name: dimension.values[0] if dimension.values else dimension.low for dimension in self.spec.space
        }
        for params in (None, first):
            folder = self.folder / RUNS / "check"
            trial_run(self.spec, self.base, params, name="check", seed=self.seeds[0], folder=folder)
        final_run(self.spec, self.base, first)

    def _check_same(self) -> None:
        path = self.folder / STUDY_FILE
        # As JSON gives it back, so that what was read compares with what is.
        mine = json.loads(json.dumps(fingerprint(self.spec, self.base, self.seeds), default=str))
        if not path.is_file():
            if any(place.name not in (f"{CLAIMS}.lock", CLAIMS) for place in self.folder.iterdir()):
                raise ValueError(f"{self.folder} holds other things than a study; choose another out")
            replace_text(path, json.dumps({"schema": SCHEMA, "fingerprint": mine}, indent=2) + "\n")
            return
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.get("schema") != SCHEMA:
            raise ValueError(f"{path}: expected schema {SCHEMA}, found {found.get('schema')!r}; choose another out")
        before = found["fingerprint"]
        differ = sorted(key for key in {*mine, *before} if mine.get(key) != before.get(key))
        if differ:
            lines = [f"\n  {key}: {before.get(key)!r} there, {mine.get(key)!r} here" for key in differ[:_MOST_LISTED]]
            more = f"\n  and {len(differ) - _MOST_LISTED} more" if len(differ) > _MOST_LISTED else ""
            raise ValueError(
                f"{self.folder} holds a study of another base or sweep; give another out, or make these the same "
                f"again:{''.join(lines)}{more}"
            )

    def _load(self) -> "optuna.Study":
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = os.fspath(self.folder / JOURNAL_FILE)
        # The kind of lock that network file systems keep too.
        storage = JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
        pruning = self.spec.pruning
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.create_study(
                storage=storage, study_name="sweep", load_if_exists=True,
                direction="maximize" if self.mode == "max" else "minimize",
                pruner=optuna.pruners.NopPruner() if pruning is None else optuna.pruners.MedianPruner(
                    n_startup_trials=pruning.startup, n_warmup_steps=pruning.warmup
                ),
            )  # fmt: skip

    def _sampler(self) -> "optuna.samplers.BaseSampler":
        import optuna

        seed = self.spec.sampler_seed
        if self.spec.sampler == "grid":
            return _grid_sampler()({d.name: list(d.values) for d in self.spec.space}, seed=seed)
        seed += len(self.optuna.get_trials(deepcopy=False))
        if self.spec.sampler == "random":
            return optuna.samplers.RandomSampler(seed)
        startup = min(10, max(3, self.spec.trials // 3))
        # Settings that others are trying count as bad ones, so that they are not tried twice.
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)

    @contextlib.contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Keep the others out, those on other machines too, while something is given to somebody."""
        from optuna.storages.journal import JournalFileOpenLock
        from optuna.storages.journal._file import get_lock_file

        with get_lock_file(JournalFileOpenLock(os.fspath(self.folder / CLAIMS))):
            yield

    def claim(self, stack: contextlib.ExitStack) -> Setting | None:
        """Take what is to be done next: what a process that is gone left, or a new setting; ``None`` for nothing.

        Args:
            stack: Gives it back when it is closed.
        """
        with self.one_at_a_time():
            for setting in self._unfinished():
                with contextlib.suppress(FolderInUseError):
                    self._make_way(setting)
                    stack.enter_context(held(self._claim_folder(setting), f"the trial {setting.name}"))
                    return setting
            if len(self.optuna.get_trials(deepcopy=False)) >= self.spec.trials:
                return None
            # By the number of settings before it, so that the draws are the same whoever takes them.
            self.optuna.sampler = self._sampler()
            setting = self._setting(self.optuna.ask())
            stack.enter_context(held(self._claim_folder(setting), f"the trial {setting.name}"))
            return setting

    def touch(self, setting: Setting) -> bool:
        """Show the other machines that this one lives; whether the setting still is its own."""
        path = self._claim_folder(setting) / LOCK_FILE
        holder = holder_of(path.parent)
        if holder is None or not holder.is_near or holder.pid != os.getpid():
            return False
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
            return True
        return False

    def _make_way(self, setting: Setting) -> None:
        """Remove the lock of another machine that has not been touched for long, by the clock of the disk."""
        folder = self._claim_folder(setting)
        holder, path = holder_of(folder), folder / LOCK_FILE
        if holder is None or holder.is_near:
            return
        probe = folder / f".now-{os.getpid()}"
        probe.touch()
        now = probe.stat().st_mtime
        remove(probe)
        if now - path.stat().st_mtime > STALE:
            log.warning(
                "%s was held by %s, which has not been heard of for %d s; taken over", setting.name, holder, STALE
            )
            remove(path)

    def _claim_folder(self, setting: Setting) -> Path:
        return self.folder / CLAIMS / setting.name

    def _unfinished(self) -> Iterator[Setting]:
        if self.spec.confirm is not None and self.outcome_of_base().state == "running":
            yield self.base_setting()
        import optuna

        for trial in self.optuna.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            # Its values may not have been drawn yet when its process was killed; those that were stay.
            yield self._setting(optuna.trial.Trial(self.optuna, trial._trial_id))

    def _setting(self, trial: "optuna.Trial") -> Setting:
        params = {dimension.name: _draw(trial, dimension) for dimension in self.spec.space}
        return self.setting(params, trial.number)

    def setting(self, params: Mapping[str, Any], number: int) -> Setting:
        """A setting by its values and the number of its trial."""
        name = run_name(self.spec.name, self.spec.space, params)
        if self.spec.sampler != "grid":
            # Two draws may look the same.
            name = f"{name}-t{number}"
        return Setting(name, params, number, self._folders(name))

    def base_setting(self) -> Setting:
        """The base as it stands, by the same seeds."""
        name = f"{self.spec.name}-{BASE_NAME}"
        return Setting(name, None, None, self._folders(name))

    def _folders(self, name: str) -> dict[int, RunFolder]:
        several = len(self.seeds) > 1
        return {seed: RunFolder(self.folder / RUNS / (f"{name}-s{seed}" if several else name)) for seed in self.seeds}

    def run_of(self, setting: Setting, seed: int) -> dict[str, Any]:
        """The YAML of a setting's run with a seed."""
        folder = setting.runs[seed]
        return trial_run(self.spec, self.base, setting.params, name=folder.name, seed=seed, folder=folder.path)

    def report(self, setting: Setting, step: int, value: float) -> bool:
        """Tell what an evaluation of a setting's first run said; whether the setting should be ended early."""
        import optuna

        if setting.number is None or self.spec.pruning is None:
            return False
        frozen = self.optuna.get_trials(deepcopy=False)[setting.number]
        trial = optuna.trial.Trial(self.optuna, frozen._trial_id)
        if step not in frozen.intermediate_values:
            trial.report(value, step)
        return trial.should_prune()

    def tell(self, setting: Setting, state: str, value: float | None = None) -> None:
        """Close a setting.

        Args:
            setting: Which.
            state: ``complete``, ``pruned`` or ``failed``.
            value: Of a complete one.
        """
        import optuna

        states = optuna.trial.TrialState
        known = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
        if setting.number is not None:
            self.optuna.tell(setting.number, value, state=known[state])

    def outcomes(self) -> list[Outcome]:
        """How every setting that was begun stands, in the order in which they were."""
        found = []
        for trial in self.optuna.get_trials(deepcopy=False):
            if len(trial.params) < len(self.spec.space):
                continue
            setting = self.setting(trial.params, trial.number)
            found.append(self.outcome(setting, _STATES.get(trial.state.name, "running")))
        return found

    def outcome_of_base(self) -> Outcome:
        """How the base as it stands did."""
        setting = self.base_setting()
        results = [folder.result() for folder in setting.runs.values()]
        if any(result and "error" in result for result in results):
            return self.outcome(setting, "failed")
        return self.outcome(setting, "complete" if all(results) else "running")

    def outcome(self, setting: Setting, state: str) -> Outcome:
        """How a setting did that is in a state: what its runs left."""
        results = {seed: folder.result() or {} for seed, folder in setting.runs.items()}
        values = {seed: float(result["value"]) for seed, result in results.items() if "value" in result}
        if state == "pruned" and not values:
            seed, folder = next(iter(setting.runs.items()))
            evaluations = [e for e in folder.evaluations() if self.spec.metric in e.metrics]
            values = {seed: evaluations[-1].metrics[self.spec.metric]} if evaluations else {}
        error = next((result["error"] for result in results.values() if "error" in result), None)
        return Outcome(setting, state, values, error)


_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def _draw(trial: "optuna.Trial", dimension: Dimension) -> Any:
    if dimension.values:
        return trial.suggest_categorical(dimension.name, list(dimension.values))
    if dimension.is_whole:
        step = 1 if dimension.log else int(dimension.step or 1)
        return trial.suggest_int(
            dimension.name, int(dimension.low or 0), int(dimension.high or 0), step=step, log=dimension.log
        )
    return trial.suggest_float(
        dimension.name, float(dimension.low or 0), float(dimension.high or 0), step=dimension.step, log=dimension.log
    )


def _grid_sampler() -> Any:
    """Optuna's sampler of grids, for ask and tell."""
    import optuna

    class Grid(optuna.samplers.GridSampler):
        """One that stops no loop of Optuna's, as there is none."""

        def after_trial(self, *_: Any, **__: Any) -> None:
            """Nothing."""

    return Grid


def _require_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ImportError(HOW_TO_GET) from error
