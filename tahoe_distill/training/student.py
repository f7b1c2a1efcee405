"""Building a student: presets, a configuration, or an exported folder to carry on from."""

import inspect
import logging
import os

import torch

from tahoe_distill.data.options import check_keys
from tahoe_distill.models import Tx1Config, Tx1Model

log = logging.getLogger(__name__)

# Width, layers, heads, and rank of the gene table. The table dominates: 62,720 rows x 512 are 32.1 M parameters.
PRESETS = {
    "tiny": {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4},
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4},
    "medium": {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8, "gene_rank": 128},
}

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
_SETTABLE = set(inspect.signature(Tx1Config.__init__).parameters) - {"self", "kwargs"} | {"attn_implementation"}


def student_config(spec, teacher_config, defaults=None):
    """Configuration of a student, answering in the teacher's space unless ``projection_dim`` says otherwise.

    Args:
        spec: Preset name, a mapping of :class:`Tx1Config` fields, optionally with ``preset``, or ``{"path": FOLDER}``
            to carry on from an exported student.
        teacher_config: The teacher's configuration, whose tokens and bins the student takes over; ``None`` without
            a teacher.
        defaults: Fields to fill in when neither the spec nor the teacher says.

    Raises:
        ValueError: For an unknown preset or field, or a folder with another vocabulary than the teacher's.
        FileNotFoundError: When ``path`` is no exported student.
    """
    fields = {"preset": spec} if isinstance(spec, str) else dict(spec)
    if "path" in fields:
        return _exported_config(fields, teacher_config)
    preset = fields.pop("preset", None)
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"unknown student preset {preset!r}; known are {', '.join(PRESETS)}, or give the dimensions")
    check_keys(fields, _SETTABLE, "model.student")
    inherited = {name: getattr(teacher_config, name) for name in _INHERITED} if teacher_config is not None else {}
    settings = {**(defaults or {}), **inherited, **PRESETS.get(preset, {}), **fields}
    if teacher_config is not None and "projection_dim" not in settings:
        settings["projection_dim"] = teacher_config.embedding_size
    return Tx1Config(**settings)


def _exported_config(fields, teacher_config):
    extra = set(fields) - {"path"}
    if extra:
        raise ValueError(f"model.student.path loads a whole student; remove {', '.join(sorted(extra))}")
    if not os.path.isfile(os.path.join(fields["path"], "config.json")):
        raise FileNotFoundError(
            f"model.student.path: {fields['path']} has no config.json; expected an exported student"
        )
    config = Tx1Config.from_pretrained(fields["path"])
    if teacher_config is not None and config.vocab_size != teacher_config.vocab_size:
        raise ValueError(
            f"the student in {fields['path']} has {config.vocab_size} tokens, the teacher "
            f"{teacher_config.vocab_size}; both must share one vocabulary"
        )
    return config


def build_student(spec, config, needs, sees_masks):
    """A student ready to train, without the heads that no objective trains.

    A trainable parameter that never gets a gradient breaks resumption, so what no gradient reaches is left out or
    frozen.

    Args:
        spec: As in :func:`student_config`.
        config: What that returned.
        needs: What the objectives need (``expression``, ``mvc``, …).
        sees_masks: Whether the student is shown masked cells; otherwise its mask flag stays as it is.
    """
    if "expression" not in needs:
        config.expression_head_layers = None
    if "mvc" not in needs:
        config.mvc_head = False
    if not isinstance(spec, str) and "path" in spec:
        log.info("carrying on from the student in %s", spec["path"])
        student = Tx1Model.from_pretrained(spec["path"], config=config, torch_dtype=torch.float32)
    else:
        student = Tx1Model(config)
    if not sees_masks:
        student.flag_encoder.requires_grad_(False)
    return student
