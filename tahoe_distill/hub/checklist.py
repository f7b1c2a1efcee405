"""What a model folder must have before it is published; each failure is told by name."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open

import tahoe_distill.models as models_package
from tahoe_distill.hub.card import card_of_folder
from tahoe_distill.hub.evaluation_card import evaluation_results, read_evaluation
from tahoe_distill.hub.folder import (
    CARD_FILE,
    CODE_FILES,
    CONFIG_FILE,
    HYPERPARAMETERS_FILE,
    METRICS_FILE,
    PREPROCESSOR_FILE,
    VOCAB_FILE,
    is_classifier,
    is_number,
    read_record,
    strays,
    weight_files,
)
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1ForCellClassification, Tx1Model

_SECRET_KEY = re.compile(r"(^|_)(token|api_key|apikey|password|secret|access_key)$", re.IGNORECASE)
# Whatever the setting is called: a name and password before a host, a signed address, and tokens by their prefix.
_SECRET_TEXT = re.compile(
    r"://[^/\s:@]*:[^/\s@]+@|[?&](X-Amz-Signature|X-Goog-Signature|sig|token|access_token)=[^&\s]"
    r"|\b(hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|AKIA[A-Z0-9]{16}|sk-[\w-]{20,}|xox[abp]-[\w-]{10,})"
)


class IncompleteFolderError(ValueError):
    """A folder that is not fit to be published."""


def require_complete(folder: str | os.PathLike[str]) -> None:
    """Run every check.

    Args:
        folder: A model folder.

    Raises:
        IncompleteFolderError: With the name and the finding of each check that failed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise IncompleteFolderError(f"{folder} is no folder; expected one that an export wrote")
    problems = failed_checks(folder)
    if problems:
        listed = "; ".join(f"[{name}] {problem}" for name, problem in problems.items())
        raise IncompleteFolderError(f"{folder} is not fit to be published, {len(problems)} checks failed: {listed}")


def failed_checks(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Name and finding of each check that ``folder`` fails."""
    problems = {}
    for name, check in CHECKS.items():
        try:
            check(Path(folder))
        except (ValueError, OSError, SafetensorError) as error:
            problems[name] = str(error)
        except (AttributeError, KeyError, TypeError, RuntimeError) as error:
            problems[name] = f"a record is not laid out as an export writes it ({error!r}); export the student again"
    return problems


def _check_card(folder: Path) -> None:
    path = folder / CARD_FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not re.match(r"---\n.*?\n---\n", text, re.DOTALL):
        found = "a file without a YAML head" if text else "nothing"
        raise ValueError(f"expected a model card {CARD_FILE}, found {found}; write it with card_of_folder")
    card_of_folder(folder)
    evaluated = [metric for result in evaluation_results(read_evaluation(folder)) for metric in result["metrics"]]
    known = {**read_record(folder, METRICS_FILE), **{metric["name"]: metric["value"] for metric in evaluated}}
    _check_same_metrics(text, known)


def _check_same_metrics(card: str, metrics: dict[str, Any]) -> None:
    """Refuse a card with other numbers than the record: whichever was changed, one of the two would be wrong."""
    head = yaml.safe_load(card.split("---\n")[1])
    results = [result for index in head.get("model-index") or () for result in index["results"]]
    for told in (metric for result in results for metric in result["metrics"]):
        if told["name"] not in metrics or metrics[told["name"]] != told["value"]:
            raise ValueError(
                f"{CARD_FILE} says {told['name']} = {told['value']}, the record beside it says "
                f"{metrics.get(told['name'], 'nothing of it')}; one of them was changed after the export: put back "
                "what the run measured, or write the card anew with card_of_folder"
            )


def _check_hyperparameters(folder: Path) -> None:
    if not read_record(folder, HYPERPARAMETERS_FILE):
        raise ValueError(f"{HYPERPARAMETERS_FILE} is empty; export from a training run, which records its settings")


def _check_metrics(folder: Path) -> None:
    metrics = read_record(folder, METRICS_FILE)
    if not metrics:
        raise ValueError(f"{METRICS_FILE} is empty; give the run an eval_loader, so that it measures something")
    wrong = [f"{name} = {value!r}" for name, value in metrics.items() if not is_number(value)]
    if wrong:
        raise ValueError(f"{METRICS_FILE}: expected finite numbers, found {', '.join(wrong)}")


def _check_config(folder: Path) -> None:
    kind = read_record(folder, CONFIG_FILE).get("model_type")
    if kind != Tx1Config.model_type:
        raise ValueError(f"{CONFIG_FILE}: expected model_type '{Tx1Config.model_type}', found {kind!r}")
    _config(folder)


def _check_weights(folder: Path) -> None:
    kind = Tx1ForCellClassification if is_classifier(read_record(folder, CONFIG_FILE)) else Tx1Model
    with torch.device("meta"):
        model = kind(_config(folder))
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = _tensor_shapes(folder)
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    shapes = [
        f"{name}: {found[name]} in the weights, {expected[name]} in {CONFIG_FILE}"
        for name in sorted(expected.keys() & found.keys())
        if found[name] != expected[name]
    ]
    parts = {"missing": missing, "unexpected": extra, "of another shape": shapes}
    wrong = [f"{kind}: {', '.join(names[:5])} ({len(names)} in all)" for kind, names in parts.items() if names]
    if wrong:
        raise ValueError(f"the weights do not fit {CONFIG_FILE}; {'; '.join(wrong)}; export the model again")


def _tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by name, from the heads of the files; a truncated file is noticed by its reader."""
    paths = weight_files(folder)
    if not paths:
        raise ValueError("expected model.safetensors, found no weights; export the model again")
    shapes = {}
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                shapes.update({name: tuple(file.get_slice(name).get_shape()) for name in file.keys()})  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path.name} is truncated or damaged ({error}); export the model again") from error
    return shapes


def _check_vocabulary(folder: Path) -> None:
    read_record(folder, PREPROCESSOR_FILE)
    vocab, rows = GeneVocab.from_file(folder / VOCAB_FILE), _config(folder).vocab_size
    if len(vocab) != rows:
        raise ValueError(
            f"{VOCAB_FILE} has {len(vocab)} tokens, but the gene table has {rows} rows; they belong to different models"
        )


def _check_code(folder: Path) -> None:
    missing = [name for name in CODE_FILES if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing, without which nobody can load the model; export it again")
    own = Path(models_package.__file__).parent
    changed = [name for name in CODE_FILES if (folder / name).read_bytes() != (own / name).read_bytes()]
    if changed:
        raise ValueError(
            f"{', '.join(changed)}: not what this package exports, byte for byte; whoever loads the model runs that "
            "code, so export the student again, or copy the files from tahoe_distill/models/ of the version you trust"
        )
    config = read_record(folder, CONFIG_FILE)
    classes = ("AutoModel", *(["AutoModelForSequenceClassification"] if is_classifier(config) else []))
    lacking = [name for name in classes if name not in config.get("auto_map", {})]
    if lacking:
        raise ValueError(f"{CONFIG_FILE} has no auto_map for {' and '.join(lacking)}; export the model again")


def _check_strays(folder: Path) -> None:
    found = strays(folder)
    if found:
        raise ValueError(f"found {', '.join(found)}, which are no part of a published model; move or delete them")


def _check_secrets(folder: Path) -> None:
    """Settings that look like credentials would be published with the rest."""
    found = sorted(_secrets(read_record(folder, HYPERPARAMETERS_FILE)))
    card = folder / CARD_FILE
    if card.is_file() and (seen := _SECRET_TEXT.search(card.read_text(encoding="utf-8"))) and not found:
        raise ValueError(f"{CARD_FILE} seems to hold credentials ({seen[0][:6]}…); remove them there")
    if found:
        raise ValueError(
            f"{HYPERPARAMETERS_FILE} seems to hold credentials at {', '.join(found)}; remove them there, and give them "
            "to a run by the environment"
        )


def _secrets(value: Any, path: str = "") -> Iterator[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        place = f"{path}.{key}" if path else str(key)
        if isinstance(item, str) and item and (_SECRET_KEY.search(str(key)) or _SECRET_TEXT.search(item)):
            yield place
        yield from _secrets(item, place)


def _config(folder: Path) -> Tx1Config:
    return Tx1Config.from_dict(read_record(folder, CONFIG_FILE))


# Name -> check; a check raises what it found, what it expected and what to do.
CHECKS = {
    "card": _check_card,
    "hyperparameters": _check_hyperparameters,
    "metrics": _check_metrics,
    "config": _check_config,
    "weights": _check_weights,
    "vocabulary": _check_vocabulary,
    "code": _check_code,
    "stray files": _check_strays,
    "secrets": _check_secrets,
}
