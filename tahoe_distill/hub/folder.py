"""What the folder of an exported model holds: the names of its files, and reading its records."""

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tahoe_distill.models import Tx1ForCellClassification
from tahoe_distill.models.processing_tx1 import CONFIDENCE_FILE, SYMBOLS_FILE, VOCAB_FILE
from tahoe_distill.probes import PROBE_FILE

CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
# Copied from this package, so that the folder loads without it.
CODE_FILES = (
    "classification_tx1.py",
    "configuration_tx1.py",
    "modeling_tx1.py",
    "packing_tx1.py",
    "processing_tx1.py",
    "set_encoder_tx1.py",
)
GOLDEN_FILE = "golden.json"
CARD_FILE = "README.md"
HYPERPARAMETERS_FILE = "training_hyperparameters.json"
METRICS_FILE = "metrics.json"
BEST_FILE = "best.json"
# Batches whose weights an averaged student is the mean of.
AVERAGE_FILE = "average.json"
# What `tahoe-distill evaluate` found of this model: its record and its table of cells.
EVALUATION_FILES = ("evaluation.json", "evaluation_cells.csv.gz")

# What the run took, by when and on what; never the same twice, so beside the settings and not among them.
TRAINING_FILE = "training.json"
# Where the hub looks for results of benchmarks.
RESULTS_FOLDER = ".eval_results"

# With the weights and the golden vectors, what every export has; then what a training run adds.
MODEL_FILES = (CONFIG_FILE, PREPROCESSOR_FILE, VOCAB_FILE, *CODE_FILES)
RUN_FILES = (CARD_FILE, HYPERPARAMETERS_FILE, METRICS_FILE)
OPTIONAL_FILES = (
    *(GOLDEN_FILE, SYMBOLS_FILE, BEST_FILE, AVERAGE_FILE, CONFIDENCE_FILE, PROBE_FILE, TRAINING_FILE),
    *EVALUATION_FILES,
    *(".gitattributes", "LICENSE", "NOTICE"),
)
# Lists of versions that earlier pushes wrote; the history of a repository has them.
FORMER_FILES = ("versions.json",)

# In one file or in shards.
_WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
# Every name under which somebody's loader would look for weights.
ANY_WEIGHTS = ("model*.safetensors", "model.safetensors.index.json", "pytorch_model*")
# Figures of the card, and what a user exported for ONNX Runtime.
_ADDITIONS = re.compile(r"[\w.-]+\.(png|jpg|svg|onnx)")


def weight_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The files with the weights, in order; empty where there are none."""
    return sorted(Path(folder).glob(ANY_WEIGHTS[0]))


def strays(folder: str | os.PathLike[str]) -> list[str]:
    """Names of what is no part of a model folder, in order; those of folders end with a slash."""
    return sorted(
        path.name + ("/" if path.is_dir() else "")
        for path in Path(folder).iterdir()
        if not (_is_results(path) if path.is_dir() else _belongs(path.name))
    )


def _is_results(folder: Path) -> bool:
    return folder.name == RESULTS_FOLDER and all(path.suffix == ".yaml" and path.is_file() for path in folder.iterdir())


def _belongs(name: str) -> bool:
    listed = (*MODEL_FILES, *RUN_FILES, *OPTIONAL_FILES, *FORMER_FILES)
    return name in listed or bool(_WEIGHTS.fullmatch(name) or _ADDITIONS.fullmatch(name))


def is_classifier(config: Mapping[str, Any]) -> bool:
    """Whether what a folder's ``config.json`` holds is that of a :class:`Tx1ForCellClassification`."""
    return Tx1ForCellClassification.__name__ in (config.get("architectures") or ())


def read_record(folder: str | os.PathLike[str], name: str) -> dict[str, Any]:
    """Content of a JSON file of a folder.

    Args:
        folder: A model folder.
        name: File name.

    Raises:
        ValueError: When the file is absent, is no JSON, or does not hold an object.
    """
    path = Path(folder) / name
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing; expected a JSON object; export the student again") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: expected a JSON object, found something unreadable ({error}); export the student again"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, found a {type(content).__name__}; export the student again")
    return content


def to_json(content: Any) -> str:
    """JSON text with sorted keys and an end of line, as every record is written."""
    return json.dumps(content, indent=2, sort_keys=True, default=str) + "\n"


def is_number(value: object) -> bool:
    """Whether a value of a record is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
