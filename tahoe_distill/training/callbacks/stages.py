"""The ends of a curriculum's stages: what is written there is kept."""

from typing import Any

from composer.callbacks import CheckpointSaver
from composer.core import Event, State

from tahoe_distill.objectives import ObjectiveSet

# A run whose duration is in epochs moves its schedules between these, and its stages end there.
_EVENTS = (Event.BATCH_CHECKPOINT, Event.EPOCH_CHECKPOINT)


def stages_ended(state: State, event: Event) -> list[str]:
    """The scheduled numbers, such as ``tau/relational``, a stage of which ended with the batch before ``event``.

    The end of the run ends none: what is written there is kept in any case.
    """
    before, whole = state.previous_timestamp, state.max_duration
    elapsed = state.get_elapsed_duration()
    if event not in _EVENTS or before is None or whole is None or elapsed is None or elapsed >= 1.0:
        return []
    model: Any = state.model.module if state.is_model_ddp else state.model
    objectives: ObjectiveSet = model.objectives
    return objectives.stages_ended(float(before.get(whole.unit) / whole), float(elapsed))


class StageCheckpoints:
    """Has Composer's saver write a checkpoint at the end of each stage, whatever its interval, and keep it.

    Args:
        saver: The saver, changed in place.
    """

    def __init__(self, saver: CheckpointSaver):
        self.saver = saver
        self.usual: Any = saver.save_interval
        self.kept = False
        saver.save_interval = self.due

    def is_kept(self) -> bool:
        """Whether the checkpoint that was due last is to stay."""
        return self.kept

    def due(self, state: State, event: Event) -> bool:
        """In place of the saver's interval."""
        self.kept = bool(stages_ended(state, event))
        if self.kept and self.saver.last_checkpoint_batch == state.timestamp.batch and self.saver.saved_checkpoints:
            # Written at the end of the batch, which proves to be that of an epoch and a stage: not to be removed.
            self.saver.saved_checkpoints.pop()
        return self.usual(state, event) or self.kept
