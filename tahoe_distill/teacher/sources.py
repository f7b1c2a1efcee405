"""From what a user names as teacher to its settings and tensors: folder, hub repository, Composer checkpoint."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Processor
from tahoe_distill.teacher.composer_checkpoint import checkpoint_tensors, read_composer_checkpoint
from tahoe_distill.teacher.download import SIZE_SUFFIX, download, size_message
from tahoe_distill.teacher.published import PUBLISHED
from tahoe_distill.teacher.release import (
    COLLATOR_CONFIG_FILE,
    MODEL_CONFIG_FILE,
    RELEASE_FILES,
    VOCAB_FILE,
    WEIGHTS_FILE,
    config_from_release,
    from_release_name,
    has_drug_token,
    processor_from_release,
    read_settings,
)
from tahoe_distill.teacher.s3 import SCHEME, download_from_s3

BUILT_IN = {"tx1-nano": Path(__file__).parent / "nano"}
INDEX_FILE = "model.safetensors.index.json"
PLAIN_FILES = ("config.json", "preprocessor_config.json", VOCAB_FILE, WEIGHTS_FILE)


@dataclass
class Source:
    """What a teacher is made of.

    Args:
        place: Where it was found, for messages.
        config: The model's dimensions.
        processor: Its processor.
        tensors: Its tensors by their names in :class:`Tx1Model`.
        has_drugs: Whether the tensors of a chemical encoder are among them.
    """

    place: str
    config: Tx1Config
    processor: Tx1Processor
    tensors: dict[str, Tensor]
    has_drugs: bool


def read_source(
    source: str | os.PathLike[str],
    size: str | None = None,
    *,
    use_chem: bool = False,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Source:
    """Find and read a teacher; see :func:`load_teacher` for the arguments.

    Raises:
        FileNotFoundError: When it or one of its files is not there.
        ValueError: When a file cannot be understood, or ``size`` is needed.
    """
    place = fetch_source(source, size, revision=revision, cache_dir=cache_dir)
    if place.is_file():
        return _read_checkpoint(place, use_chem)
    # What was fetched is of one size.
    return _read_folder(place, size if _is_local(source) else None, use_chem)


def fetch_source(
    source: str | os.PathLike[str],
    size: str | None = None,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Where a teacher lies on this disk: fetched whole from the hub or S3 unless it is here already.

    Args:
        source: As for :func:`load_teacher`.
        size: Which of a release's sizes.
        revision: Branch, tag or commit of a Hugging Face repository.
        cache_dir: Where downloads are kept.

    Returns:
        A folder, or a Composer checkpoint.

    Raises:
        FileNotFoundError: When it is neither here nor there.
        ValueError: When ``size`` is needed, or the path is that of another file.
        OSError: When a store does not give it.
    """
    source = os.fspath(source)
    path = Path(source)
    if source in BUILT_IN:
        return BUILT_IN[source]
    if path.is_file() and path.suffix != ".pt":
        raise ValueError(f"{path}: expected a folder or a Composer checkpoint (.pt), found another file")
    if path.exists():
        return path
    if source.startswith(SCHEME):
        return download_from_s3(source, size, cache_dir=cache_dir)
    if source.count("/") == 1 and not source.startswith((".", "/", "~")):
        return download(source, size, revision, cache_dir=cache_dir)
    raise FileNotFoundError(
        f"{source}: no such teacher; expected a release folder, a Composer checkpoint (.pt), a Hugging Face repository "
        f"(owner/name), an address s3://bucket/path or a built-in name ({', '.join(BUILT_IN)})"
    )


def read_vocab(place: Path, size: str | None = None) -> GeneVocab:
    """The vocabulary of a teacher on this disk, its weights unread.

    Args:
        place: As :func:`fetch_source` returns it.
        size: Which of a release's sizes, where the folder holds several.

    Raises:
        FileNotFoundError: When it has none.
        ValueError: When the file is no vocabulary, or ``size`` is needed.
    """
    if place.is_file():
        beside = place.with_name(VOCAB_FILE)
        known = beside.is_file()
        return GeneVocab.from_file(beside) if known else _read_checkpoint(place, use_chem=False).processor.vocab
    folder = place if _is_plain(place) else _choose_size(place, size)
    if not (folder / VOCAB_FILE).is_file():
        raise FileNotFoundError(f"{folder} lacks {VOCAB_FILE}; download the teacher again")
    return GeneVocab.from_file(folder / VOCAB_FILE)


def _is_local(source: str | os.PathLike[str]) -> bool:
    return os.fspath(source) in BUILT_IN or os.path.exists(source)


def _read_folder(folder: Path, size: str | None, use_chem: bool) -> Source:
    if _is_plain(folder):
        return _read_plain(folder, use_chem)
    folder = _choose_size(folder, size)
    missing = [name for name in RELEASE_FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)}; a Tahoe-x1 release has {', '.join(RELEASE_FILES)}. Download it again"
        )
    return _from_release(
        place=str(folder),
        model_config=read_settings(folder / MODEL_CONFIG_FILE),
        collator_config=read_settings(folder / COLLATOR_CONFIG_FILE),
        vocab=GeneVocab.from_file(folder / VOCAB_FILE),
        tensors=_read_safetensors(folder / WEIGHTS_FILE),
        folder=folder,
        use_chem=use_chem,
    )


def _from_release(
    *,
    place: str,
    model_config: Mapping[str, Any],
    collator_config: Mapping[str, Any],
    vocab: GeneVocab,
    tensors: Mapping[str, Tensor],
    folder: Path,
    use_chem: bool,
) -> Source:
    tensors = {from_release_name(name): tensor for name, tensor in tensors.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    drug_to_id = _read_drugs(collator_config, folder) if use_chem else None
    return Source(
        place=place,
        config=config_from_release(model_config, collator_config, vocab, use_chem=use_chem, tensor_shapes=shapes),
        processor=processor_from_release(collator_config, vocab, use_chem=use_chem, drug_to_id=drug_to_id),
        tensors=tensors,
        has_drugs=has_drug_token(model_config, collator_config),
    )


def _read_drugs(collator_config: Mapping[str, Any], folder: Path) -> dict[str, int] | None:
    """Drug numbers from the release's own copy of the file that its settings name, where it has one."""
    named = collator_config.get("drug_to_id_path") or {}
    path = folder / Path(named.get("local", "")).name
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object of drug name to number, found a {type(content).__name__}")
    return content


def _choose_size(folder: Path, size: str | None) -> Path:
    if any((folder / name).is_file() for name in RELEASE_FILES):
        _check_size(folder, size)
        return folder
    sizes = {path.name.removesuffix(SIZE_SUFFIX): path for path in sorted(folder.glob(f"*{SIZE_SUFFIX}"))}
    if size is None and len(sizes) == 1:
        return next(iter(sizes.values()))
    if size in sizes:
        return sizes[size]
    if not sizes:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(RELEASE_FILES)}, and has no folder such as 70m{SIZE_SUFFIX} that holds them; "
            "pass a Tahoe-x1 release or a folder written by this package"
        )
    raise ValueError(f"{folder}: {size_message(size, sizes)}")


def _check_size(folder: Path, size: str | None) -> None:
    """Refuse a folder of one release where another of Tahoe's sizes was named."""
    path = folder / MODEL_CONFIG_FILE
    if size not in PUBLISHED or not path.is_file():
        return
    settings = read_settings(path)
    found = settings.get("d_model"), settings.get("n_layers")
    width, layers, *_ = PUBLISHED[size]
    if found != (width, layers):
        raise ValueError(
            f"{folder} holds a model {found[0]} wide with {found[1]} layers, but size {size} is {width} wide with "
            f"{layers}: remove size, or name the folder of {size}"
        )


def _is_plain(folder: Path) -> bool:
    config = folder / "config.json"
    if not config.is_file():
        return False
    try:
        found = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{config}: expected a model configuration in JSON ({error})") from error
    if found != Tx1Config.model_type:
        if any(folder.glob(f"*{SIZE_SUFFIX}/{WEIGHTS_FILE}")):
            return False
        raise ValueError(
            f"{config}: expected model_type {Tx1Config.model_type!r}, found {found!r}; it is another model"
        )
    return True


def _read_plain(folder: Path, use_chem: bool) -> Source:
    needed = PLAIN_FILES[:-1] if (folder / INDEX_FILE).is_file() else PLAIN_FILES
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}; write or download the folder again")
    config, processor = Tx1Config.from_pretrained(folder), Tx1Processor.from_pretrained(folder)
    has_drugs = config.num_drugs is not None
    if use_chem and not has_drugs:
        raise ValueError(f"{folder}: use_chem is set, but this model has no chemical encoder; load it without use_chem")
    if not use_chem:
        config.num_drugs = config.drug_fingerprint_dim = config.drug_token_id = None
        processor.use_chem_token, processor.drug_to_id = False, None
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        tensors.update(_read_safetensors(path))
    return Source(str(folder), config, processor, tensors, has_drugs)


def _weight_files(folder: Path) -> list[Path]:
    """The weights of a transformers folder: one file, or the parts that its index lists."""
    index = folder / INDEX_FILE
    if not index.is_file():
        return [folder / WEIGHTS_FILE]
    names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}, which {INDEX_FILE} lists; download them again")
    return [folder / name for name in names]


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path}: expected safetensors, found an unreadable file ({error}); download it again "
            "(a file of a few bytes is a pointer that git lfs pull replaces)"
        ) from error


def _read_checkpoint(path: Path, use_chem: bool) -> Source:
    content = read_composer_checkpoint(str(path))
    state = content.get("state")
    inside = {**(state if isinstance(state, dict) else {}), **content}
    settings: dict[str, Any] = {}
    missing = []
    for key, name, read in (
        ("model_config", MODEL_CONFIG_FILE, read_settings),
        ("collator_config", COLLATOR_CONFIG_FILE, read_settings),
        ("vocab", VOCAB_FILE, GeneVocab.from_file),
    ):
        beside = path.parent / name
        if beside.is_file():
            settings[key] = read(beside)
        elif isinstance(inside.get(key), dict):
            settings[key] = GeneVocab(inside[key]) if key == "vocab" else inside[key]
        else:
            missing.append(name)
    if missing:
        raise FileNotFoundError(
            f"{path.parent} lacks {', '.join(missing)}; a Composer checkpoint holds weights alone, so put "
            f"{', '.join(RELEASE_FILES[:-1])} of its release beside it"
        )
    tensors = checkpoint_tensors(content, path)
    return _from_release(place=str(path), **settings, tensors=tensors, folder=path.parent, use_chem=use_chem)
