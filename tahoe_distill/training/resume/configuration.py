"""What a run says now against what it said when its checkpoint was written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tahoe_distill.settings import plain

# A run that goes on with another student, other objectives or other data is another run.
_REFUSED = (
    "model.student",
    "model.objectives",
    "model.vocab",
    "model.student_sees_masks",
    "train_loader.dataset",
    "train_loader.collator",
    "train_loader.name",
    "train_loader.unexp_padding",
    "optimizer.name",
    "seed",
)
# Where things lie, how much is shown, and what llm-foundry works out by itself. The teacher is known by its
# fingerprint, which the checkpoint holds; a loader's vocabulary must be the model's.
_LEFT_ALONE = (
    "variables",
    "run_name",
    "model.teacher",
    "train_loader.cache",
    "train_loader.vocab",
    "train_loader.num_workers",
    "train_loader.prefetch_factor",
    "train_loader.persistent_workers",
    "train_loader.pin_memory",
    "train_loader.timeout",
    "callbacks.distillation",
    "code_paths",
    "loggers",
    "log_config",
    "log_to_console",
    "progress_bar",
    "console_log_interval",
    "python_log_level",
    "dist_timeout",
    "load_path",
    "n_active_params",
    "n_gpus",
    "n_params",
    "n_trainable_params",
    "device_train_batch_size",
    "device_train_grad_accum",
    "merge",
)
_NOTHING = "nothing"


@dataclass(frozen=True)
class Difference:
    """One setting that a run has otherwise than the one whose checkpoint it carries on from.

    Args:
        key: Dotted name of the setting.
        before: Its value in the checkpoint.
        now: Its value now.
        refused: Whether it makes another run of it.
    """

    key: str
    before: Any
    now: Any
    refused: bool

    def __str__(self) -> str:
        return f"{self.key}: {self.before} in the checkpoint, {self.now} now"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """What a run says otherwise than the one whose checkpoint it carries on from, by key.

    Args:
        before: The configuration in the checkpoint.
        now: The run's configuration.
    """
    old, new = dict(_flat(plain(before))), dict(_flat(plain(now)))
    keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key) and not _is_below(key, _LEFT_ALONE))
    return [Difference(key, old.get(key, _NOTHING), new.get(key, _NOTHING), _is_below(key, _REFUSED)) for key in keys]


def require_same_run(found: Sequence[Difference], anyway: Sequence[str], checkpoint: str) -> None:
    """Refuse to carry on where that would be another run.

    Args:
        found: What :func:`differences` found.
        anyway: Keys, or beginnings of keys, that may differ all the same.
        checkpoint: What would be carried on from, for the message.

    Raises:
        ValueError: With a line for each setting that stands in the way.
    """
    wrong = [difference for difference in found if difference.refused and not _is_below(difference.key, anyway)]
    if wrong:
        lines = "".join(f"\n  {difference}" for difference in wrong)
        keys = ", ".join(difference.key for difference in wrong)
        raise ValueError(
            f"{checkpoint} was written by a run with another student, other objectives or other data:{lines}\nGive the "
            "run the settings it had, start afresh in another save_folder, or, if you mean it, set "
            f"callbacks.distillation.resume_anyway=[{keys}]"
        )


def _is_below(key: str, parents: Sequence[str]) -> bool:
    return any(key == parent or key.startswith((f"{parent}.", f"{parent}[")) for parent in parents)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and plain values; an empty section is a value, and None is nothing at all."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else key)
    elif value is not None:
        yield name, value
