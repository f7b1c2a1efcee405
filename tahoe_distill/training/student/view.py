"""What the student sees of a batch where a drug token comes between it and its teacher."""

import torch

_CUT = ("gene", "expr", "expr_target", "gen_mask")
_COLLATOR = "use_chem_token: true, keep_first_n_tokens: 2 and drug_to_id_path"


def check_drugs(batch, student, teacher):
    """Refuse a batch with a drug token that the teacher does not know, and one without where a model needs it.

    Args:
        batch: A batch of the ``tahoe_mds`` loader; it has ``drug_ids`` where it has a drug token.
        student: The student's configuration.
        teacher: The teacher's, ``None`` where there is none or it is not known.

    Raises:
        ValueError: With the way out.
    """
    if "drug_ids" in batch:
        if teacher is not None and teacher.num_drugs is None:
            raise ValueError(
                "the batch has a drug token, which the teacher would read as a gene: load a teacher that has one with "
                "model.teacher.use_chem: true, or set use_chem_token: false in the loaders' collator"
            )
        return
    asking = [name for name, config in (("student", student), ("teacher", teacher)) if config and config.num_drugs]
    if asking:
        raise ValueError(
            f"the {' and the '.join(asking)} read a drug token, and the batch has no drug_ids: give the loaders' "
            f"collator {_COLLATOR}"
        )


def without_drug(batch):
    """The batch with a student's view that lacks the drug at position 1; what the teacher sees stays.

    Args:
        batch: A batch whose cells have ``<drug>`` at position 1, in the student's view too where it has one.

    Returns:
        A new dict with ``student_gene`` and its companions (C, G - 1), and ``student_index`` (C, G - 1), where in the
        teacher's row they are.
    """
    view = "student_" if "student_gene" in batch else ""
    index = batch.get("student_index")
    if index is None:
        gene = batch["gene"]
        index = torch.arange(gene.shape[1], device=gene.device).expand_as(gene)
    cut = {f"student_{name}": _without_second(batch[f"{view}{name}"]) for name in _CUT if f"{view}{name}" in batch}
    return {**batch, **cut, "student_index": _without_second(index)}


def _without_second(x):
    return torch.cat([x[:, :1], x[:, 2:]], dim=1)
