"""From the closed form to a trained student: the objectives of a run, and the trainer of transformers."""

import importlib.util
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from tahoe_distill.fitting.rows import Rows
from tahoe_distill.lazy import how_to_install
from tahoe_distill.models import Tx1Model
from tahoe_distill.objectives import ObjectiveSet, Outputs


def require_trainer() -> None:
    """Refuse to begin where the trainer of transformers would not.

    Raises:
        ImportError: With the extra that brings what is missing.
    """
    if importlib.util.find_spec("accelerate") is None:
        raise ImportError(
            f"accelerate is not installed, and transformers trains by it: {how_to_install('fit')}, or give --steps 0 "
            "for the closed form alone"
        )


class Distiller(nn.Module):
    """A student and its objectives, as the trainer of transformers takes a model.

    Args:
        student: The student.
        objectives: Those of the fit; they read cell embeddings.
    """

    def __init__(self, student: Tx1Model, objectives: ObjectiveSet):
        super().__init__()
        self.student = student
        self.objectives = objectives

    def forward(
        self, *, gene_ids: Tensor, expression_bins: Tensor, attention_mask: Tensor, vectors: Tensor
    ) -> dict[str, Tensor]:
        """The loss of a batch, (C, G) cells and the (C, e) vectors that they are to get."""
        out = self.student(gene_ids, expression_bins, attention_mask, cell_only=True)
        seen = attention_mask.bool()
        student = Outputs(gene_ids=gene_ids, seen=seen, cell=out.pooler_output)
        loss, _ = self.objectives(student, Outputs(gene_ids=gene_ids, seen=seen, cell=vectors), {})
        return {"loss": loss}


def refine(
    student: Tx1Model,
    objectives: ObjectiveSet,
    rows: Rows,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    device: str = "auto",
    progress: bool = False,
) -> None:
    """Train a student, in place.

    Args:
        student: The student, as the closed form left it.
        objectives: What to minimise.
        rows: Cells to learn from, and their vectors.
        steps: Batches.
        batch_size: Cells of a batch; no more than there are.
        lr: Learning rate at its highest; it rises over the first 50 batches and falls with a cosine.
        seed: Of the order of the cells.
        device: ``auto`` for a GPU where there is one, or ``cpu``.
        progress: Show a bar.

    Raises:
        ImportError: When accelerate is not installed.
    """
    require_trainer()
    from transformers import Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    with tempfile.TemporaryDirectory() as scratch, _own_random_numbers():
        arguments = TrainingArguments(
            output_dir=scratch, max_steps=steps, per_device_train_batch_size=min(batch_size, len(rows)),
            learning_rate=lr, lr_scheduler_type="cosine", warmup_steps=min(50, steps // 10), weight_decay=0.0,
            adam_beta2=0.98, max_grad_norm=1.0, seed=seed, data_seed=seed, use_cpu=device == "cpu",
            remove_unused_columns=False, dataloader_drop_last=True, dataloader_pin_memory=False,
            save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True,
        )  # fmt: skip
        trainer = Trainer(
            model=Distiller(student, objectives),
            args=arguments,
            train_dataset=rows,
            data_collator=rows.with_vectors,
            callbacks=[_schedules(objectives, progress)],
        )
        # It would print a dictionary of timings.
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    student.eval().cpu()


def _schedules(objectives: ObjectiveSet, progress: bool) -> Any:
    """A callback that moves scheduled numbers along, and the bar."""
    from transformers import TrainerCallback

    class Schedules(TrainerCallback):
        bar: tqdm

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = tqdm(total=state.max_steps, desc="refining", unit="batch", disable=not progress)

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            objectives.step(state.global_step / state.max_steps)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.update()

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    return Schedules()


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """The trainer seeds the whole process; a notebook that calls this gets its own numbers back."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
