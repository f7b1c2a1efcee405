"""Before the first batch: do the loaders give what the objectives and the teacher's provider will read?"""

from tahoe_distill.cache.collator import CachedCollator
from tahoe_distill.cache.read import CachedTeacher
from tahoe_distill.cache.record import vocabulary_digest
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.data.schema import TEACHER
from tahoe_distill.training.student.view import check_drugs


def check_loaders(model, train_loader, eval_loaders):
    """Check the loaders of a run against its model; loaders of another kind than ``tahoe_mds`` are left alone.

    Args:
        model: The :class:`TahoeDistillModel`.
        train_loader: PyTorch loader of the training cells.
        eval_loaders: PyTorch loaders of the evaluations by their labels.

    Raises:
        ValueError: With what is missing, who needs it, and the setting to change.
    """
    for where, loader in {"train_loader": train_loader, **eval_loaders}.items():
        collator = getattr(loader, "collate_fn", None)
        if isinstance(collator, CachedCollator):
            settings = collator.settings
        elif isinstance(collator, Tx1Collator):
            settings = collator
        else:
            continue
        _check_tokens(model, settings, where)
        _check_masks(model, settings, where)
        columns = loader.dataset.shards[0].column_names
        _check_columns(model, settings, columns, where)
        if isinstance(model.teacher, CachedTeacher):
            _check_cache(model.teacher, collator, settings, columns, where)
            _check_means(model, settings, where)


def _check_tokens(model, settings, where):
    if vocabulary_digest(settings.vocab) != vocabulary_digest(model.vocab):
        raise ValueError(
            f"{where} numbers genes by another vocabulary ({len(settings.vocab)} tokens) than the model "
            f"({len(model.vocab)} tokens): prepare the shards with the teacher's vocab.json, and name it with "
            f"{where}.vocab"
        )
    bins = model.student.config.num_bins
    if settings.do_binning and settings.num_bins != bins:
        raise ValueError(f"{where}.collator.num_bins is {settings.num_bins}, the model's is {bins}; make them the same")
    drugs = {"drug_ids": None} if settings.use_chem_token else {}
    check_drugs(drugs, model.student.config, getattr(model.teacher, "config", None))


def _check_masks(model, settings, where):
    readers = [key for key, objective in model.objectives.objectives.items() if "masks" in objective.needs]
    if readers and not settings.do_mlm:
        raise ValueError(
            f"model.objectives.{readers[0]} predicts masked genes, and {where} masks none: set "
            f"{where}.collator.do_mlm: true, or remove the objective"
        )


def _check_columns(model, settings, columns, where):
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


def _check_cache(teacher, collator, settings, columns, where):
    if teacher.record is None:
        if TEACHER not in columns:
            raise ValueError(
                f"model.teacher.cache names shards with a teacher's embeddings, and {where} reads shards without: "
                f"point {where}.dataset at the same shards, or prepare these with --teacher-key"
            )
        if settings.augment is not None:
            raise ValueError(
                f"{where}.collator.augment makes new cells, for which no teacher's embedding is stored: remove it, or "
                "train with a live teacher"
            )
        return
    if not isinstance(collator, CachedCollator):
        raise ValueError(
            f"the teacher's outputs are in a cache and {where} does not read it: set {where}.cache to its folder of "
            "this split, or remove model.teacher.cache"
        )
    if collator.record.fingerprint != teacher.record.fingerprint:
        raise ValueError(
            f"{where}.cache is another cache ({collator.record.fingerprint[:12]}) than model.teacher.cache "
            f"({teacher.record.fingerprint[:12]}); name one cache in both"
        )


def _check_means(model, settings, where):
    """Cached means are over all that the teacher saw, so the student must see the same."""
    if "pooled" not in model.objectives.teacher_needs:
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
