"""A fit by Composer's trainer itself, without llm-foundry and without a YAML."""

from composer import Trainer
from torch.utils.data import DataLoader

from tahoe_distill.training.callbacks.distillation import DistillationCallback


def fit(model, batches, *callbacks, **settings):
    """Train on each of ``batches``, of 4 cells, once on the CPU; return the trainer.

    The callback that every run needs is there; ``settings`` go to the trainer.
    """
    settings.setdefault("max_duration", f"{len(batches)}ba")
    trainer = Trainer(
        model=model,
        train_dataloader=DataLoader(batches, batch_size=None),
        callbacks=[DistillationCallback({}), *callbacks],
        device="cpu",
        device_train_microbatch_size=4,
        progress_bar=False,
        accumulate_train_batch_on_tokens=False,
        **settings,
    )
    trainer.fit()
    return trainer
