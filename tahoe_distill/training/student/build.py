"""Building a student: its configuration, its drug token, its first weights, its processor; all without Composer."""

import logging
import os
from collections.abc import Mapping, Set
from typing import Any

import torch
from torch import Tensor

from tahoe_distill.cells import with_symbols
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model, Tx1Processor
from tahoe_distill.models.processing_tx1 import VOCAB_FILE
from tahoe_distill.objectives import ObjectiveSet
from tahoe_distill.training.student.gene_means import GeneMeans, place_genes, table_means
from tahoe_distill.training.student.initialisation import initialise_from_teacher
from tahoe_distill.training.student.spec import DRUG_FIELDS, TOKEN_FIELDS, StudentSpec

log = logging.getLogger(__name__)

_INHERITED = (
    "vocab_size",
    "num_bins",
    "pad_value",
    "pad_token_id",
    "cls_token_id",
    "context_length",
    "hidden_act",
    "masked_attention",
    "pooling",
    "standard_scale_outputs",
    "max_value",
)
# Taken over too where the teacher's weights are, so that they mean the same.
_INHERITED_WITH_WEIGHTS = (
    "use_glu",
    "layer_norm_eps",
    "gene_norm",
    "value_act",
    "value_norm",
    "expression_head_layers",
    "expression_head_act",
    "mvc_query_act",
    "mvc_scaled",
)


def student_config(
    spec: str | Mapping[str, Any] | StudentSpec,
    teacher_config: Tx1Config | None,
    *,
    defaults: Mapping[str, Any] | None = None,
    vocab: GeneVocab | None = None,
) -> Tx1Config:
    """Configuration of a student, whose embeddings lie in the teacher's space unless ``projection_dim`` is given.

    Args:
        spec: Preset name; a mapping of :class:`Tx1Config` fields, optionally with ``preset``, ``init``, ``genes`` and
            ``drug_token``; ``{"path": FOLDER}`` to carry on from an exported student; or a :class:`StudentSpec`.
        teacher_config: The teacher's configuration, whose tokens and bins the student takes over; ``None`` without
            a teacher.
        defaults: Fields to fill in where neither the spec nor the teacher has them.
        vocab: The student's vocabulary where it is not the teacher's.

    Raises:
        ValueError: For an unknown preset or field, a folder with another vocabulary, or a drug token that the teacher
            lacks.
        FileNotFoundError: When ``path`` is no exported student.
    """
    spec = StudentSpec.read(spec)
    if spec.path is not None:
        return _exported_config(spec.path, teacher_config, vocab)
    settings = {**(defaults or {}), **_inherited(spec, teacher_config)}
    if vocab is not None:
        settings.update(zip(TOKEN_FIELDS, (len(vocab), vocab["<pad>"], vocab["<cls>"])))
    if spec.drug_token:
        settings.update(_drug_settings(teacher_config, vocab))
    if teacher_config is not None:
        settings["projection_dim"] = teacher_config.embedding_size
    if spec.fields.get("encoder") == "set" and "vocab_size" in settings:
        # Serving reads all genes of a cell; how many training shows is the collator's to say.
        settings["context_length"] = settings["vocab_size"]
    return Tx1Config(**{**settings, **spec.fields})


def check_width(spec: StudentSpec, config: Tx1Config, teacher_config: Tx1Config | None) -> None:
    """Refuse a student that is wider than its teacher, which is nearly always the preset of another teacher.

    Without attention the width is that of a gene's vector, and may be anything.

    Args:
        spec: The run's :class:`StudentSpec`.
        config: The student's configuration.
        teacher_config: The teacher's, ``None`` where it is not known.

    Raises:
        ValueError: When it is wider and ``allow_wider`` is not set.
    """
    if teacher_config is None or spec.path is not None or spec.allow_wider or config.encoder == "set":
        return
    if config.hidden_size > teacher_config.hidden_size:
        raise ValueError(
            f"the student is {config.hidden_size} wide, its teacher {teacher_config.hidden_size}: choose a smaller "
            "preset or model.student.hidden_size, or set model.student.allow_wider: true if that is meant"
        )


def check_encoder(config: Tx1Config, objectives: ObjectiveSet, *, sees_masks: bool) -> None:
    """Refuse objectives that read what a student without attention has not.

    Args:
        config: The student's configuration.
        objectives: The run's.
        sees_masks: Whether the student is to be shown masked cells.

    Raises:
        ValueError: With the objective, what it needs, and the way out.
    """
    if config.encoder != "set":
        return
    for key, objective in objectives.objectives.items():
        for need in sorted(objective.needs & {"hidden", "expression", "mvc"}):
            raise ValueError(
                f"model.objectives.{key} needs the student's {need!r}, and a student with encoder: set has no layers "
                "and no heads: remove the objective (those on cell embeddings, and gene, train it), or set "
                "model.student.encoder: transformer"
            )
    if sees_masks:
        raise ValueError(
            "model.student_sees_masks is on, and a student with encoder: set reads whole cells: leave it out"
        )


def _inherited(spec: StudentSpec, teacher_config: Tx1Config | None) -> dict[str, Any]:
    if teacher_config is None:
        return {}
    same_width = spec.fields.get("hidden_size", Tx1Config().hidden_size) == teacher_config.hidden_size
    names = _INHERITED + (_INHERITED_WITH_WEIGHTS if spec.init == "teacher" and same_width else ())
    return {name: getattr(teacher_config, name) for name in names}


def _drug_settings(teacher_config: Tx1Config | None, vocab: GeneVocab | None) -> dict[str, Any]:
    if teacher_config is None or teacher_config.num_drugs is None:
        raise ValueError(
            "model.student.drug_token is set, but there is no teacher with a drug token; load one that has it with "
            "model.teacher.use_chem: true, or remove drug_token"
        )
    settings = {name: getattr(teacher_config, name) for name in DRUG_FIELDS}
    return settings if vocab is None else {**settings, "drug_token_id": vocab["<drug>"]}


def _exported_config(folder: str, teacher_config: Tx1Config | None, vocab: GeneVocab | None) -> Tx1Config:
    config = Tx1Config.from_pretrained(os.path.dirname(exported_file(folder, "config.json")))
    if vocab is not None:
        if config.vocab_size < len(vocab):
            raise ValueError(
                f"the student in {folder} has {config.vocab_size} tokens, its {VOCAB_FILE} {len(vocab)}; the folder is "
                "not as it was exported: export it again"
            )
    elif teacher_config is not None and config.vocab_size != teacher_config.vocab_size:
        raise ValueError(
            f"the student in {folder} has {config.vocab_size} tokens, the teacher "
            f"{teacher_config.vocab_size}; both must share one vocabulary"
        )
    return config


def exported_file(folder: str, name: str) -> str:
    """Path of a file of the exported student that ``path`` names.

    Raises:
        FileNotFoundError: When it is not there.
    """
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"model.student.path: {folder} has no {name}; expected an exported student")
    return path


def build_student(
    spec: str | Mapping[str, Any] | StudentSpec,
    config: Tx1Config,
    needs: Set[str],
    *,
    sees_masks: bool,
    teacher: Tx1Model | None = None,
    tokens: Tensor | None = None,
    found: GeneMeans | None = None,
) -> Tx1Model:
    """A student ready to train, without the heads that no objective trains.

    A trainable parameter that never gets a gradient breaks resumption, so what no gradient reaches is left out or
    frozen. The fingerprints of drugs are given, not learned: they are the teacher's, and frozen.

    Args:
        spec: As in :func:`student_config`.
        config: What that returned.
        needs: What the objectives need (``expression``, ``mvc``, …).
        sees_masks: Whether the student is shown masked cells; otherwise its mask flag stays as it is.
        teacher: The teacher's ``Tx1Model``, which ``init: teacher`` and ``drug_token`` need.
        tokens: As in :func:`initialise_from_teacher`.
        found: What the teacher makes of each gene, for a student without attention that has ``init_cells``.

    Raises:
        ValueError: When the teacher's weights are needed and there are none.
    """
    spec = StudentSpec.read(spec)
    if teacher is None:
        _refuse_what_needs_a_teacher(spec, found)
    if "expression" not in needs:
        config.expression_head_layers = None
    if "mvc" not in needs:
        config.mvc_head = False
    if spec.path is not None:
        log.info("carrying on from the student in %s", spec.path)
        student = Tx1Model.from_pretrained(spec.path, config=config, torch_dtype=torch.float32)
    else:
        student = Tx1Model(config)
    if spec.init == "teacher":
        _take_from_teacher(student, teacher, tokens, found)
    if student.chem_encoder is not None:
        if teacher is not None and teacher.chem_encoder is not None and spec.drug_token:
            student.chem_encoder.embedding.load_state_dict(teacher.chem_encoder.embedding.state_dict())
        student.chem_encoder.embedding.requires_grad_(False)
    if student.flag_encoder is not None and not sees_masks:
        student.flag_encoder.requires_grad_(False)
    return student


def student_processor(
    config: Tx1Config,
    vocab: GeneVocab,
    teacher: Tx1Processor | None,
    *,
    symbols: Mapping[str, str] | None = None,
    drug_to_id: Mapping[str, int] | None = None,
) -> Tx1Processor:
    """The processor that belongs to a student: the teacher's, at the student's context.

    Args:
        config: The student's configuration.
        vocab: Its vocabulary.
        teacher: The teacher's processor; ``None`` without a teacher.
        symbols: Gene symbols (symbol to id) to carry beside those that the vocabulary and this package have.
        drug_to_id: Drug names (name to number), for a student with a drug token; the teacher's when left out.
    """
    settings = {} if teacher is None else teacher.to_dict()
    for name in ("processor_class", "_auto_class", "auto_map", "feature_extractor_type"):
        settings.pop(name, None)
    if config.num_drugs is None:
        settings.update(use_chem_token=False, drug_to_id=None)
    else:
        settings.update(use_chem_token=True, drug_to_id=drug_to_id or settings.get("drug_to_id"))
    settings.update(num_bins=config.num_bins, pad_value=config.pad_value, max_length=config.context_length)
    own = {**(symbols or {}), **vocab.symbols}
    return Tx1Processor(with_symbols(GeneVocab(vocab.tokens, own)), **settings)


def _take_from_teacher(
    student: Tx1Model, teacher: Tx1Model | None, tokens: Tensor | None, found: GeneMeans | None
) -> None:
    if found is None and teacher is not None and student.gene_set_encoder is not None:
        found = table_means(teacher)
    if found is not None:
        place_genes(student, found, tokens)
    elif teacher is not None:
        initialise_from_teacher(student, teacher, tokens)


def _refuse_what_needs_a_teacher(spec: StudentSpec, found: GeneMeans | None) -> None:
    if spec.init == "teacher" and found is None:
        cells = ", or name CACHE/train in init_cells" if spec.fields.get("encoder") == "set" else ""
        raise ValueError(
            "model.student.init: teacher takes the teacher's weights, and this run loads no teacher (there is none, or "
            f"a cache of its outputs); name one under model.teacher.source, or set init: scratch{cells}"
        )
    if spec.drug_token:
        raise ValueError(
            "model.student.drug_token takes the teacher's fingerprints of drugs, and this run loads no teacher (only a "
            "cache of its outputs); name one under model.teacher.source, or carry on from an exported student that "
            "has them with path: FOLDER"
        )
