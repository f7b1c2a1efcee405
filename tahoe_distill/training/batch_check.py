"""Before the first batch: do the loaders give what the objectives and the teacher's provider will read?"""

from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader

from tahoe_distill.cache.collator import CachedCollator
from tahoe_distill.data.batch import check_drugs
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.training.model import TahoeDistillModel
from tahoe_distill.training.teacher_provider import TeacherProvider


def check_loaders(model: TahoeDistillModel, train_loader: DataLoader, eval_loaders: Mapping[str, DataLoader]) -> None:
    """Check the loaders of a run against its model; loaders of another kind than ``tahoe_mds`` are left alone.

    Args:
        model: The run's model.
        train_loader: Loader of the training cells.
        eval_loaders: Loaders of the evaluations by their labels.

    Raises:
        ValueError: With what is missing, who needs it, and the setting to change.
    """
    for where, loader in {"train_loader": train_loader, **eval_loaders}.items():
        _check_batches(loader, where)
        collator = getattr(loader, "collate_fn", None)
        if not isinstance(collator, (CachedCollator, Tx1Collator)):
            continue
        settings = collator.settings if isinstance(collator, CachedCollator) else collator
        _check_tokens(model, settings, where)
        _check_masks(model, settings, where)
        _check_packing(model, settings, where)
        dataset: Any = loader.dataset
        columns = dataset.shards[0].column_names
        _check_columns(model, settings, columns, where)
        if model.teacher is not None:
            model.teacher.check_loader(collator, columns, where=where)
            _check_means(model, model.teacher, settings, where)


def _check_batches(loader: DataLoader, where: str) -> None:
    """Refuse a loader that gives no batch: it would train nothing, for ever or for no time at all, or score 0.0."""
    if not hasattr(loader, "__len__") or len(loader):
        return
    dataset: Any = loader.dataset
    cells = len(dataset)
    if not cells:
        raise ValueError(f"{where} has no cells for this process: prepare more, or use fewer processes")
    setting = "global_train_batch_size" if where == "train_loader" else "device_eval_batch_size"
    raise ValueError(
        f"{where} gives no batch: it has {cells:,} cells a process, a batch is of {loader.batch_size:,}, and drop_last "
        f"leaves out what is not full; lower {setting} to {cells:,} or less a process, or set {where}.drop_last: false"
    )


def _check_tokens(model: TahoeDistillModel, settings: Tx1Collator, where: str) -> None:
    if settings.vocab.tokens != model.vocab.tokens:
        raise ValueError(
            f"{where} numbers genes by another vocabulary ({len(settings.vocab)} tokens) than the model "
            f"({len(model.vocab)} tokens): prepare the shards with the teacher's vocab.json, and name it with "
            f"{where}.vocab"
        )
    bins = model.student.config.num_bins
    if settings.do_binning and settings.num_bins != bins:
        raise ValueError(f"{where}.collator.num_bins is {settings.num_bins}, the model's is {bins}; make them the same")
    if not settings.do_binning and model.student.gene_set_encoder is not None:
        raise ValueError(
            f"{where}.collator.do_binning is off, and a student with encoder: set reads bins: set it to true, or set "
            "model.student.encoder: transformer"
        )
    check_drugs(settings.use_chem_token, model.student.config, model.teacher_config)


def _check_masks(model: TahoeDistillModel, settings: Tx1Collator, where: str) -> None:
    readers = [key for key, objective in model.objectives.objectives.items() if "masks" in objective.needs]
    if readers and not settings.do_mlm:
        raise ValueError(
            f"model.objectives.{readers[0]} predicts masked genes, and {where} masks none: set "
            f"{where}.collator.do_mlm: true, or remove the objective"
        )


def _check_packing(model: TahoeDistillModel, settings: Tx1Collator, where: str) -> None:
    """Refuse to leave out padding that a model counts, and masks that a kernel for packed cells cannot express."""
    if not settings.packing:
        return
    teacher = None if model.teacher is None else model.teacher.model
    models = {
        "model.student": (model.student, model.student_sees_masks),
        "model.teacher": (teacher, model.teacher_sees_masks),
    }
    for name, (network, sees_masks) in models.items():
        if network is None:
            continue
        config = network.config
        if config.pooling == "avg-pool":
            raise ValueError(
                f"{where}.packing leaves padding out, and {name} has pooling: avg-pool, which counts it: remove packing"
            )
        rule = config.masked_attention and sees_masks and settings.do_mlm
        if rule and config._attn_implementation == "flash_attention_2":
            raise ValueError(
                f"{where}.packing: flash_attention_2 cannot express the rule of {name} that a masked gene is seen by "
                "itself alone; set attn_implementation: flex_attention, or remove packing"
            )


def _check_columns(model: TahoeDistillModel, settings: Tx1Collator, columns: list[str], where: str) -> None:
    for key, objective in model.objectives.objectives.items():
        column = objective.column
        if column is None or column in settings.reserve_keys:
            continue
        if column in columns:
            raise ValueError(
                f"model.objectives.{key} reads the column {column!r}, which {where} does not pass on: add it to "
                f"{where}.collator.reserve_keys"
            )
        raise ValueError(
            f"model.objectives.{key} reads the column {column!r}, which the shards of {where} do not have (they have "
            f"{', '.join(sorted(columns))}): prepare them with --keep {column}, or remove the objective"
        )


def _check_means(model: TahoeDistillModel, teacher: TeacherProvider, settings: Tx1Collator, where: str) -> None:
    """Means that were taken beforehand are over all that the teacher saw, so the student must see the same."""
    if "pooled" not in model.objectives.teacher_needs or "hidden" in teacher.available:
        return
    reasons = {
        f"{where}.collator.student_max_length": settings.student_max_length is not None,
        "model.student.genes": model.student_vocab is not model.vocab,
        "the teacher's drug token": settings.use_chem_token and model.student.config.num_drugs is None,
    }
    for reason, found in reasons.items():
        if found:
            raise ValueError(
                f"hidden with `grain: coarse` compares means over the same genes; the cache's are over all that the "
                f"teacher saw, and the student sees fewer ({reason}): train with the live teacher, or remove the "
                "objective"
            )
