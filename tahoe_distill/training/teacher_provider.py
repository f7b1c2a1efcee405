"""Where the teacher's outputs come from: the frozen model itself, or a cache of its outputs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from tahoe_distill.cache.collator import CachedCollator
from tahoe_distill.cache.read import cached_teacher, holds_vectors
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model, Tx1Processor
from tahoe_distill.naming import check_keys
from tahoe_distill.objectives import ObjectiveSet, Outputs
from tahoe_distill.teacher import Teacher, load_teacher
from tahoe_distill.teacher.sources import fetch_source, read_vocab
from tahoe_distill.training.forward import LiveTeacher
from tahoe_distill.training.prepared_teacher import PreparedTeacher
from tahoe_distill.training.rank_zero import on_each_node

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What says which teacher it is, and where fetched ones are kept.
_SOURCE_KEYS = ("source", "size", "revision", "cache_dir")
_KEYS = {*_SOURCE_KEYS, "use_chem", "attn_implementation", "dtype", "cache", "shard"}


@runtime_checkable
class TeacherProvider(Protocol):
    """What a run needs of its teacher, wherever the outputs come from."""

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of the teacher's tensors and vocabulary; kept in checkpoints."""

    @property
    def vocab(self) -> GeneVocab:
        """Its vocabulary."""

    @property
    def embedding_size(self) -> int:
        """Width of its cell embeddings."""

    @property
    def available(self) -> frozenset[str]:
        """Fields of :class:`Outputs` that it can give."""

    @property
    def config(self) -> Tx1Config | None:
        """The teacher's dimensions, ``None`` where they are not known."""

    @property
    def processor(self) -> Tx1Processor | None:
        """What reads its cells, ``None`` where it is not known."""

    @property
    def model(self) -> Tx1Model | None:
        """Its weights, for a student to start from; ``None`` where there are only outputs."""

    def check(self, objectives: ObjectiveSet, *, sees_masks: bool) -> None:
        """Refuse objectives that it cannot serve.

        Args:
            objectives: The run's.
            sees_masks: Whether they have the teacher see masked cells.

        Raises:
            ValueError: With the objective and the way out.
        """

    def check_loader(self, collator: Tx1Collator | CachedCollator, columns: list[str], *, where: str) -> None:
        """Refuse a loader whose batches lack what it reads.

        Args:
            collator: The loader's.
            columns: Columns of its shards.
            where: Section of the YAML, such as ``train_loader``, for the message.

        Raises:
            ValueError: With the setting to change.
        """

    def forward(self, batch: Mapping[str, Any], *, needs: frozenset[str], sees_masks: bool) -> Outputs:
        """The teacher's outputs to a batch, without gradients.

        Args:
            batch: Of the ``tahoe_mds`` loader.
            needs: Fields of :class:`Outputs` that are wanted.
            sees_masks: Whether the teacher is shown masked cells.
        """

    def flops(self, cells: int, length: int, *, needs: frozenset[str]) -> int:
        """Floating-point operations of its part of a training step: ``cells`` rows of ``length`` tokens."""


def teacher_provider(spec: str | Mapping[str, Any] | TeacherProvider | None) -> TeacherProvider | None:
    """From ``model.teacher`` in the YAML.

    A teacher that is elsewhere is fetched by the first process of each node.

    Args:
        spec: Source as in :func:`tahoe_distill.load_teacher`; a mapping of its arguments, ``dtype`` (``float32``,
            ``bfloat16`` or ``float16``), ``shard``, to share its weights out over the processes of a node, and
            ``cache``, a folder to read the outputs from instead; a provider, which is handed back; or ``None``. Beside
            shards with embeddings from ``obsm`` as ``cache``, a ``source`` is run for augmented cells.

    Returns:
        The teacher's provider, ``None`` without one.

    Raises:
        ValueError: For an unknown key or dtype, and as ``load_teacher`` does.
        FileNotFoundError: When the source is not there.
    """
    if spec is None or isinstance(spec, TeacherProvider):
        return spec
    arguments = {"source": spec} if isinstance(spec, str) else dict(spec)
    check_keys(arguments, _KEYS, "model.teacher")
    cache = arguments.pop("cache", None)
    shard = bool(arguments.pop("shard", False))
    if cache is not None and shard:
        raise ValueError("model.teacher.shard shares out a live teacher, and cache needs none: remove one of the two")
    if cache is None:
        return LiveTeacher(_loaded(arguments), shard=shard)
    if arguments.get("source") and holds_vectors(cache):
        return PreparedTeacher(_loaded(arguments), cached_teacher(cache, {}))
    return cached_teacher(cache, arguments)


def _loaded(arguments: dict[str, Any]) -> Teacher:
    dtype = arguments.pop("dtype", "float32")
    if dtype not in _DTYPES:
        raise ValueError(f"model.teacher.dtype must be one of {', '.join(_DTYPES)}; found {dtype!r}")
    place, size = _fetched(arguments)
    rest = {key: value for key, value in arguments.items() if key not in _SOURCE_KEYS}
    teacher = load_teacher(place, size, **rest)
    teacher.source = str(arguments["source"])
    teacher.model.to(_DTYPES[dtype])
    return teacher


def teacher_vocab(spec: Mapping[str, Any]) -> GeneVocab:
    """The vocabulary of the teacher that a loader's ``vocab`` names, fetched once on each node.

    Args:
        spec: As in ``model.teacher``; what does not say which teacher it is has no meaning here.

    Raises:
        ValueError: For an unknown key, or where no source is named.
        FileNotFoundError: When the source is not there.
    """
    check_keys(spec, _KEYS, "vocab")
    return read_vocab(*_fetched(spec))


def _fetched(spec: Mapping[str, Any]) -> tuple[Path, str | None]:
    """Where the teacher lies on this node, fetched by its first process, and which size to read there."""
    if not spec.get("source"):
        raise ValueError("the teacher has no source; expected one such as tahoebio/Tahoe-x1, with its size")
    where = {key: spec[key] for key in _SOURCE_KEYS if spec.get(key) is not None}
    place = on_each_node(lambda: fetch_source(**where), "the teacher could not be fetched")
    # What was fetched is of one size; a folder that a user names may hold several.
    return place, where.get("size") if os.path.exists(spec["source"]) else None
