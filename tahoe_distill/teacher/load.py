"""Load a teacher: read its files, check every tensor, freeze it."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tahoe_distill.models import GeneVocab, Tx1Model, Tx1Processor
from tahoe_distill.teacher.release import CHEM_PREFIX
from tahoe_distill.teacher.sources import Source, read_source

log = logging.getLogger(__name__)

# A teacher's vectors of a cell and of a sample of its genes agree far better; another model's have no direction in
# common.
_LEAST_COSINE = 0.9
# How far the mean lengths may differ, as a share.
_LENGTHS = 0.2


@dataclass
class Teacher:
    """A frozen model and what it needs to read cells.

    Args:
        model: The model, in eval mode, no parameter with a gradient.
        processor: Turns cells into its inputs.
        source: What it was loaded from.
        fingerprint: SHA-256 over its tensors (names, types, shapes, bytes) and vocabulary.
    """

    model: Tx1Model
    processor: Tx1Processor
    source: str
    fingerprint: str


def load_teacher(
    source: str | os.PathLike[str],
    size: str | None = None,
    *,
    use_chem: bool = False,
    attn_implementation: str = "sdpa",
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
) -> Teacher:
    """Load a Tahoe-x1 model strictly, tensor by tensor, and freeze it.

    Args:
        source: A release folder, a Hugging Face repository (``tahoebio/Tahoe-x1``), a Composer checkpoint (``.pt``
            with its release's settings beside it), a transformers folder of this package, an address in S3
            (``s3://bucket/path``) of any of these, or ``tx1-nano``.
        size: Which of a release's sizes: ``70m``, ``1b``, ``3b``.
        use_chem: Keep the drug token and the chemical encoder of a release that has them. Without it exactly the
            ``chem_encoder`` tensors are left out.
        attn_implementation: ``sdpa``, ``eager`` or ``flash_attention_2``.
        revision: Branch, tag or commit of a Hugging Face repository.
        cache_dir: Where downloads are kept.
        device: Where to put the model; by default the CPU.

    Returns:
        A :class:`Teacher`.

    Raises:
        FileNotFoundError: When the source, or one of its files, is missing.
        ValueError: When a tensor is missing, unexpected or of another shape, when a file cannot be read, or when
            ``size`` is needed; the message names each.

    Examples:
        >>> teacher = load_teacher("tahoebio/Tahoe-x1", size="70m")  # doctest: +SKIP
    """
    found = read_source(source, size, use_chem=use_chem, revision=revision, cache_dir=cache_dir)
    tensors = _tensors(found, use_chem)
    # On the meta device: a fresh model of 3 billion parameters would be initialised for nothing.
    with torch.device("meta"):
        model = Tx1Model._from_config(found.config, attn_implementation=attn_implementation)
    _check_tensors(model.state_dict(), tensors, found.place)
    model.load_state_dict(tensors, assign=True)
    model.eval().requires_grad_(False)
    fingerprint = fingerprint_of(tensors, found.processor.vocab)
    log.info("teacher %s: %d parameters, %s", found.place, model.num_parameters(), fingerprint[:12])
    if device is not None:
        model.to(device)
    return Teacher(model, found.processor, str(source), fingerprint)


def source_fingerprint(
    source: str | os.PathLike[str],
    size: str | None = None,
    *,
    use_chem: bool = False,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> str:
    """The fingerprint that :func:`load_teacher` would report, without building the model."""
    found = read_source(source, size, use_chem=use_chem, revision=revision, cache_dir=cache_dir)
    return fingerprint_of(_tensors(found, use_chem), found.processor.vocab)


def _tensors(found: Source, use_chem: bool) -> dict[str, Tensor]:
    """The tensors of a source that its model has."""
    if found.has_drugs and not use_chem:
        return {name: tensor for name, tensor in found.tensors.items() if not name.startswith(CHEM_PREFIX)}
    return found.tensors


def fingerprint_of(tensors: Mapping[str, Tensor], vocab: GeneVocab) -> str:
    """SHA-256, in hexadecimal, over a model's tensors by name and its vocabulary."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    digest.update(json.dumps(vocab.tokens, sort_keys=True).encode())
    return digest.hexdigest()


def _check_tensors(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], place: str) -> None:
    """Raise one error that names every tensor that is missing, unexpected or of another shape."""
    problems = [f"missing {name} {tuple(expected[name].shape)}" for name in expected if name not in found]
    problems += [f"unexpected {name} {tuple(found[name].shape)}" for name in found if name not in expected]
    problems += [
        f"{name} has shape {tuple(found[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    if problems:
        raise ValueError(
            f"{place}: the weights do not fit the settings beside them: {'; '.join(problems)}. "
            "Take weights and settings from one release, or download both again"
        )


def check_agreement(vectors: Tensor, given: Tensor, where: str) -> None:
    """Refuse vectors that a teacher cannot have given.

    Args:
        vectors: (C, e) what the teacher gives to some cells.
        given: (C, e) what is said to be its vectors of these.
        where: What was given, for messages.

    Raises:
        ValueError: When the widths differ, the mean cosine of the two is below 0.9, or their lengths are others, as
            those of vectors that were normalised.
    """
    if vectors.shape != given.shape:
        raise ValueError(
            f"{where} have {given.shape[-1]} coordinates, the teacher's {vectors.shape[-1]}: name the teacher that "
            "gave them, or leave it out"
        )
    vectors, given = vectors.float(), given.float().to(vectors.device)
    cosine = torch.nn.functional.cosine_similarity(vectors, given).mean().item()
    # Not a number is no agreement either.
    if not cosine >= _LEAST_COSINE:
        raise ValueError(
            f"{where} are not what this teacher gives to the same cells (mean cosine {cosine:.3f}, expected "
            f"{_LEAST_COSINE} or more): name the teacher that gave them, or leave it out"
        )
    lengths = vectors.norm(dim=-1).mean().item(), given.norm(dim=-1).mean().item()
    if not 1 - _LENGTHS < lengths[1] / lengths[0] < 1 + _LENGTHS:
        raise ValueError(
            f"{where} have a mean length of {lengths[1]:.3g}, the teacher's of the same cells one of {lengths[0]:.3g}: "
            "embed the cells again at their own length (embed with normalize=False, or --no-normalize), or leave the "
            "vectors out"
        )
