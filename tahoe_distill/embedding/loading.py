"""From whatever a user calls a model to a checked pair of model and processor."""

import contextlib
import copy
import hashlib
import json
import os
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from tahoe_distill.models import Tx1Model, Tx1Processor

# Folder or hub id, pair, or an object with both.
ModelSource: TypeAlias = str | os.PathLike[str] | tuple[Tx1Model, Tx1Processor] | object


def load_student(source: ModelSource) -> tuple[Tx1Model, Tx1Processor]:
    """Load or unpack a student (or a converted teacher) and check that its parts belong together.

    Args:
        source: A folder or hub id (``name/student``, ``name/student@REVISION``) of an exported model, a
            ``(model, processor)`` pair, or an object with ``model`` and ``processor``.

    Returns:
        The model, in eval mode where it was loaded, and its processor.

    Raises:
        ValueError: When it is no Tahoe-x1 model, when the weights are damaged or incomplete, or when the processor
            contradicts the model.
    """
    model, processor = _read(str(source)) if is_path(source) else _unpack(source)
    try:
        processor.check_model(model.config)
    except ValueError as error:
        raise ValueError(f"{source}: {error}" if is_path(source) else str(error)) from error
    return model, processor


def at_size(model: Tx1Model, dim: int | None) -> Tx1Model:
    """A model whose cell embeddings have ``dim`` coordinates, the first ones; it shares its weights with ``model``.

    Args:
        model: A ``Tx1Model``, which is not changed.
        dim: How many; ``None`` for as many as it gives.

    Raises:
        ValueError: When it does not have so many.
    """
    if dim is None:
        return model
    if not 0 < dim <= model.config.whole_embedding_size:
        raise ValueError(
            f"dim must lie in 1 … {model.config.whole_embedding_size}, the width of this model's cell embeddings; "
            f"found {dim}"
        )
    smaller = copy.copy(model)
    smaller.config = copy.deepcopy(model.config)
    smaller.config.truncate_dim = dim
    return smaller


def is_path(source: object) -> bool:
    """Whether ``source`` is a folder, a file or a hub id rather than loaded objects."""
    return isinstance(source, (str, os.PathLike))


def _unpack(source):
    if isinstance(source, (tuple, list)) and len(source) == 2:
        model, processor = source
    elif hasattr(source, "model") and hasattr(source, "processor"):
        model, processor = source.model, source.processor
    else:
        raise ValueError(
            f"model is a {type(source).__name__}; expected the folder or hub id of an exported student, or a "
            "(model, processor) pair"
        )
    if not hasattr(model, "transformer_encoder") or not hasattr(processor, "encode_rows"):
        raise ValueError(
            f"expected a pair of Tx1Model and Tx1Processor, found {type(model).__name__} and "
            f"{type(processor).__name__}; load them with AutoModel and AutoProcessor, in this order"
        )
    return model, processor


def split_revision(source: str) -> tuple[str, str | None]:
    """A folder or hub id, and the revision behind the ``@`` of a hub id; ``None`` for the newest."""
    name, at, revision = source.rpartition("@")
    if not at or os.path.exists(source):
        return source, None
    if not name or not revision:
        raise ValueError(f"{source!r}: expected a hub id and a revision, such as name/student@main")
    return name, revision


def _read(source):
    source, revision = split_revision(source)
    _check_folder(source)
    chosen = {} if revision is None else {"revision": revision}
    try:
        with _no_bar():
            model, info = Tx1Model.from_pretrained(source, output_loading_info=True, **chosen)
    except SafetensorError as error:
        raise ValueError(
            f"{source}: model.safetensors cannot be read ({error}); it is truncated or damaged, so download or export "
            "it again"
        ) from error
    except RuntimeError as error:
        raise ValueError(f"{source}: the weights do not fit config.json: {error}") from error
    wrong = [
        f"{kind.replace('_', ' ')}: {', '.join(sorted(map(str, info[kind])))}"
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info.get(kind)
    ]
    if wrong:
        raise ValueError(f"{source}: the weights do not fit config.json ({'; '.join(wrong)}); export the model again")
    return model.eval(), Tx1Processor.from_pretrained(source, **chosen)


@contextlib.contextmanager
def _no_bar():
    """Without the progress bar that newer transformers show of a second's work."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _check_folder(source):
    """A folder that is there must be ours; anything else is left to the hub."""
    folder = Path(source)
    if not folder.exists():
        if folder.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
            raise ValueError(f"{source}: no such folder; expected an exported student or a hub id such as name/student")
        return
    if not folder.is_dir():
        raise ValueError(f"{source} is a file; expected the folder that holds config.json and model.safetensors")
    missing = [
        name for name in ("config.json", "preprocessor_config.json", "vocab.json") if not (folder / name).exists()
    ]
    if missing:
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise ValueError(
            f"{source} is not an exported Tahoe-x1 model: {', '.join(missing)} missing, found {found}; a release is "
            "turned into such a folder by `tahoe-distill convert`"
        )
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (json.JSONDecodeError, AttributeError) as error:
        raise ValueError(f"{folder / 'config.json'}: expected a JSON object ({error})") from error
    if kind != "tx1":
        raise ValueError(f"{source} holds a model of type {kind!r}; expected 'tx1', a Tahoe-x1 teacher or student")


def weights_fingerprint(model: Tx1Model) -> str:
    """16 hex digits of a model's configuration, wherever it was loaded from, and of every number of every tensor."""
    config = {name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    digest = hashlib.sha256(_canonical(config))
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # As bytes, since NumPy has no bfloat16; a gigabyte takes a second or less.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def processor_fingerprint(processor: Tx1Processor) -> str:
    """16 hex digits of a processor's settings, vocabulary and symbols."""
    vocab = processor.vocab
    return hashlib.sha256(_canonical([processor.to_dict(), vocab.tokens, vocab.symbols])).hexdigest()[:16]


def _canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, default=str).encode()
