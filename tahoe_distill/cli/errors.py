"""Whatever ends a run or a command, as one paragraph: what was found, what was expected, what to do."""

import errno
import re

# Text of an error of a library -> what to say of it. The first that fits counts.
_KNOWN: tuple[tuple[str, str], ...] = (
    (
        r"(?i)(no ?api.?key|not logged in|wandb login|API key must be)",
        "Weights & Biases wants a key: set WANDB_API_KEY, run `wandb login`, set WANDB_MODE=offline, or remove "
        "loggers.wandb ({error})",
    ),
    (
        r"(?i)PytorchStreamWriter failed writing|No space left on device",
        "the disk is full ({error}): free some space, or name folders on another disk, and start again; what was "
        "finished is kept",
    ),
    (
        r"(?i)CUDA out of memory",
        "the GPU's memory is full: lower device_train_microbatch_size (auto finds one where there is no FSDP), "
        "collator.max_length, or use fsdp_config ({error})",
    ),
    (
        r"(?i)(Connection closed by peer|Connection reset by peer|Broken pipe).*|.*gloo.*",
        "another process of this run ended first; its own message says why ({error})",
    ),
)


def paragraph(error: BaseException) -> str:
    """What to tell a user of an error, in one paragraph."""
    text = _message(error)
    for pattern, known in _KNOWN:
        if re.search(pattern, text):
            return known.format(error=_first_line(text))
    return text


def is_expected(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    """Whether an error is one that a paragraph tells whole: of those kinds, or one that is known by its text."""
    return isinstance(error, kinds) or any(re.search(pattern, _message(error)) for pattern, _ in _KNOWN)


def _message(error: BaseException) -> str:
    worker = _from_worker(str(error))
    if worker is not None:
        return worker
    if isinstance(error, KeyError):
        return f"missing key {error}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"No space left on device: {error}"
    return str(error) or type(error).__name__


def _from_worker(text: str) -> str | None:
    """The message of an error that a loader's worker raised, without the traceback that PyTorch puts around it."""
    if not text.startswith("Caught ") or "Original Traceback" not in text:
        return None
    # Its last lines are `module.Error: message`, where the message may have lines of its own.
    raised = re.split(r"\n(?=[\w.]+(?:Error|Exception|Interrupt)\b)", text)[-1]
    return raised.partition(": ")[2].strip() or raised.strip()


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:300]
