"""The section `model.student` of a YAML: a preset, dimensions or a folder, and what is taken from the teacher."""

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tahoe_distill.models import Tx1Config
from tahoe_distill.naming import check_keys

# Width, layers, heads, and rank of the gene table. The table dominates: 62,720 rows x 512 are 32.1 M parameters.
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4},
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4},
    "medium": {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8, "gene_rank": 128},
}
# Without attention: width of a gene's vector, residual blocks of the head and their width, statistics of a cell.
_STATIC = {"encoder": "set", "gene_norm": False, "hidden_act": "gelu", "initializer_range": 0.02}
PRESETS |= {
    "static-tiny": {**_STATIC, "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 64},
    "static-small": {
        **_STATIC, "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 128, "set_pair_rank": 16,
    },
    "static-medium": {
        **_STATIC, "hidden_size": 128, "num_hidden_layers": 2, "intermediate_size": 256, "set_pair_rank": 32,
        "set_pools": ["mean", "attention"],
    },
}  # fmt: skip
INITS = ("scratch", "teacher")

DRUG_FIELDS = ("num_drugs", "drug_fingerprint_dim", "drug_token_id", "drug_act")
TOKEN_FIELDS = ("vocab_size", "pad_token_id", "cls_token_id")
_OWN = {"preset", "path", "init", "init_cells", "genes", "drug_token", "allow_wider"}
_FIELDS = set(inspect.signature(Tx1Config.__init__).parameters) - {"self", "kwargs"} | {"attn_implementation"}
_SETTABLE = _FIELDS - {*TOKEN_FIELDS, *DRUG_FIELDS} | _OWN


@dataclass(frozen=True)
class StudentSpec:
    """The section ``model.student`` of the YAML.

    Args:
        fields: :class:`Tx1Config` fields, those of a preset among them.
        path: Folder of an exported student to carry on from; nothing else is given then.
        init: ``scratch``, or ``teacher`` for first weights from the teacher.
        init_cells: Folder of shards over whose cells a student without attention takes its first gene vectors from the
            teacher's outputs; ``None`` for the teacher's gene table.
        genes: Folder of shards or file of gene ids that the vocabulary is pruned to; ``None`` for the teacher's.
        drug_token: Whether it has the teacher's drug token.
        allow_wider: Whether it may be wider than its teacher.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    path: str | None = None
    init: str = "scratch"
    init_cells: str | None = None
    genes: str | None = None
    drug_token: bool = False
    allow_wider: bool = False

    @classmethod
    def read(cls, spec: "str | Mapping[str, Any] | StudentSpec") -> "StudentSpec":
        """From a preset's name or a mapping; a :class:`StudentSpec` stays as it is.

        Raises:
            ValueError: For an unknown preset, init or field, fields that are not for the user to set, and for ``path``
                with other settings.
        """
        if isinstance(spec, StudentSpec):
            return spec
        given = {"preset": spec} if isinstance(spec, str) else dict(spec)
        if "path" in given:
            extra = ", ".join(sorted(set(given) - {"path"}))
            if extra:
                raise ValueError(f"model.student.path loads a whole student; remove {extra}")
            return cls(path=os.fspath(given["path"]))
        _check(given)
        preset = PRESETS.get(given.pop("preset", ""), {})
        own: dict[str, Any] = {name: given.pop(name, None) for name in sorted(_OWN - {"preset", "path"})}
        return cls(fields={**preset, **given}, **{name: value for name, value in own.items() if value is not None})


def _check(given: Mapping[str, Any]) -> None:
    for name in TOKEN_FIELDS:
        if name in given:
            raise ValueError(
                f"model.student.{name} is that of the vocabulary; remove it, and to have fewer genes give "
                "genes: FOLDER_OF_SHARDS"
            )
    for name in DRUG_FIELDS:
        if name in given:
            raise ValueError(f"model.student.{name} is the teacher's; remove it and give drug_token: true")
    check_keys(given, _SETTABLE, "model.student")
    preset, init = given.get("preset"), given.get("init")
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"unknown student preset {preset!r}; known are {', '.join(PRESETS)}, or give the dimensions")
    if init is not None and init not in INITS:
        raise ValueError(
            f"model.student.init must be scratch (random weights) or teacher (the teacher's, where they fit); found "
            f"{init!r}"
        )
    if given.get("init_cells") is not None and (init != "teacher" or _encoder(given) != "set"):
        raise ValueError(
            "model.student.init_cells are cells for a student without attention to take its gene vectors over: give "
            f"init: teacher and encoder: set (or a static preset) beside it; found init: {init or 'scratch'} and "
            f"encoder: {_encoder(given)}"
        )
    for name in ("drug_token", "allow_wider"):
        if given.get(name) not in (None, True, False):
            raise ValueError(f"model.student.{name} must be true or false; found {given[name]!r}")


def _encoder(given: Mapping[str, Any]) -> str:
    preset = PRESETS.get(given.get("preset") or "", {})
    return given.get("encoder") or preset.get("encoder", "transformer")
