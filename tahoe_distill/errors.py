"""Whatever ends a run or a command, as one paragraph: what was found, what was expected, what to do."""

import errno
import os
import re
import tempfile
import traceback
from pathlib import Path

_HERE = Path(__file__).parent
_FULL_DISKS = (errno.ENOSPC, errno.EDQUOT)
# Kinds of which this project's own messages tell all there is; of any other it says where it arose as well.
_SPOKEN = (ValueError, OSError, ImportError, RuntimeError)
WANTS_KEY = (
    "Weights & Biases wants a key: set WANDB_API_KEY, run `wandb login`, set WANDB_MODE=offline, or take loggers.wandb "
    "out"
)
# Text of an error of a library -> what to say of it. The first that fits counts.
_KNOWN: tuple[tuple[str, str], ...] = (
    (
        r"(?i)(no ?api.?key|api_key not configured|not logged in|wandb login|API key must be)",
        f"{WANTS_KEY} ({{error}})",
    ),
    (
        r"(?i)No space left on device|Disk quota exceeded|"
        # What torch says where a checkpoint's file cannot grow.
        r"PytorchStreamWriter failed writing|inline_container\.cc.*unexpected pos",
        "the disk is full ({error}): free some space, or name folders on another disk, and start again; what was "
        "finished is kept",
    ),
    (
        r"(?i)CUDA out of memory",
        "the GPU's memory is full: lower device_train_microbatch_size (auto finds one where there is no FSDP), "
        "collator.max_length, or use fsdp_config ({error})",
    ),
    (
        r"Error\(s\) in loading state_dict",
        "the weights in the checkpoint are not those of this model ({error}): give it the settings it was trained "
        "with, or start afresh in another folder",
    ),
    (
        r"(?i)(Connection closed by peer|Connection reset by peer|Broken pipe).*|.*gloo.*",
        "another process of this run ended first; its own message says why ({error})",
    ),
)


def paragraph(error: BaseException) -> str:
    """What to tell a user of an error, in one paragraph.

    A message of this project says all there is. One of a library is told as that of the library, since the setting that
    led to it may have another name there.
    """
    text = _message(error)
    if is_spoken(error) and not _is_systems(error):
        return (error.strerror or text) if isinstance(error, OSError) else text
    for pattern, known in _KNOWN:
        if re.search(pattern, text):
            return known.format(error=_beginning(text))
    library = None if is_spoken(error) or isinstance(error, OSError) else library_of(error)
    return text if library is None else f"{library} could not go on: {text} ({type(error).__name__})"


def rest(error: BaseException, option: str) -> str:
    """Where to find the rest of an error's story; where no user could have foreseen it, that is kept in a file.

    Args:
        error: The error.
        option: The option that shows it at once, such as ``--traceback``.
    """
    told = is_spoken(error) or any(re.search(pattern, _message(error)) for pattern, _ in _KNOWN)
    place = None if told else traceback_file(error)
    return f"({option} shows the rest)" if place is None else f"(the rest is in {place}; {option} shows it here)"


def from_worker(text: str) -> str | None:
    """The message of an error that a loader's worker raised, without the traceback that PyTorch puts around it.

    Args:
        text: An error's text.

    Returns:
        The worker's own message, or ``None`` where the text is no worker's.
    """
    if not text.startswith("Caught ") or "Original Traceback" not in text:
        return None
    # Its last lines are `module.Error: message`, where the message may have lines of its own.
    raised = re.split(r"\n(?=[\w.]+(?:Error|Exception|Interrupt)\b)", text)[-1]
    return raised.partition(": ")[2].strip() or raised.strip()


def library_of(error: BaseException) -> str | None:
    """The package in whose code an error arose, or ``None`` for one without a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return None
    path = Path(frames[-1].filename)
    if _HERE in path.parents:
        return f"tahoe_distill (line {frames[-1].lineno} of {path.relative_to(_HERE.parent)})"
    parts = path.parts
    return parts[parts.index("site-packages") + 1] if "site-packages" in parts else "Python"


def traceback_file(error: BaseException) -> str | None:
    """Keep an error's traceback in a temporary file, since what led to it may have taken hours; return its path."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="distill-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.writelines(traceback.format_exception(type(error), error, error.__traceback__))
            return file.name
    except OSError:
        return None  # The disk may be full: the paragraph is what counts.


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that a disk, or a user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in _FULL_DISKS


def is_spoken(error: BaseException) -> bool:
    """Whether the message was written for a user: this project's own kinds, or what its code raises of common ones."""
    if type(error).__module__.startswith("tahoe_distill"):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, _SPOKEN) and bool(frames) and _HERE in Path(frames[-1].filename).parents


def _is_systems(error: BaseException) -> bool:
    """Whether an error has the system's own words, and not those of whoever raised it."""
    return isinstance(error, OSError) and error.errno is not None and error.strerror == os.strerror(error.errno)


def _message(error: BaseException) -> str:
    worker = from_worker(str(error))
    if worker is not None:
        return worker
    if isinstance(error, KeyError):
        return f"missing key {error}"
    if is_full_disk(error):
        place = getattr(error, "filename", None)
        return f"{os.strerror(errno.ENOSPC)}{f': {place}' if place else ''}"
    return str(error).strip() or type(error).__name__


def _beginning(text: str) -> str:
    lines = text.strip().splitlines()
    # Of a list its first line is a heading.
    return " ".join(line.strip() for line in lines[: 2 if lines[0].endswith(":") else 1])[:300]
