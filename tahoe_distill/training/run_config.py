"""What a run's YAML must say, checked before anything heavy is imported; every problem at once."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tahoe_distill.files import why_not_writable
from tahoe_distill.settings import plain

REQUIRED = {
    "model": "a section such as {name: tahoe_distill, teacher: tx1-nano, student: small}",
    "train_loader": "a section such as {name: tahoe_mds, dataset: {local: shards/train}, collator: {max_length: 1024}}",
    "max_duration": "how long to train, such as 20000ba (batches) or 3ep (epochs)",
    "global_train_batch_size": "the cells of a batch over all processes, such as 256",
    "device_eval_batch_size": "the cells of an evaluation batch on a device, such as 64",
    "optimizer": "a section such as {name: decoupled_adamw, lr: 1.0e-3}",
    "scheduler": "a section such as {name: cosine_with_warmup, t_warmup: 100ba}",
    "max_seq_len": "the teacher's context, such as 1024; llm-foundry wants the key",
    "tokenizer": "an empty section, `tokenizer: {}`: llm-foundry wants the key, cells have no text",
}
_UNITS = "ep (epochs), ba (batches), sp (cells), dur (parts of the run)"
_TIME = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)(ep|ba|sp|tok|dur|iter|sec)")

Check = Callable[[Any], str | None]


class RunConfigError(ValueError):
    """Settings of a run that cannot be right."""


def check_run(run: Mapping, where: str) -> None:
    """Refuse a run whose settings lack something or have values that cannot be meant.

    Args:
        run: The run as llm-foundry will see it: the YAML with its overrides.
        where: The configuration's name, for the message.

    Raises:
        RunConfigError: With a line for each problem: what was found, what was expected.
    """
    run = plain(run)
    problems = [*_missing(run), *_wrong(run), *_without_shards(run)]
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise RunConfigError(f"{where} cannot be run:{lines}")


def _missing(run: Mapping[str, Any]) -> Iterator[str]:
    for key, expected in REQUIRED.items():
        if run.get(key) is None:
            yield f"{key} is {'empty' if key in run else 'missing'}; expected {expected}"
    model = run.get("model")
    if isinstance(model, dict) and model.get("objectives", {"cosine": 1.0}) is None:
        yield "model.objectives is empty; expected at least one objective, such as {cosine: 1.0}"


def _wrong(run: Mapping[str, Any]) -> Iterator[str]:
    for path, check in _CHECKS.items():
        for name, value in _found(run, path):
            problem = check(value)
            if problem:
                yield f"{name}: found {value!r}, expected {problem}"


def _without_shards(run: Mapping[str, Any]) -> Iterator[str]:
    """Loaders whose cells are nowhere: not on this disk, and no remote to fetch them from."""
    for name in ("train_loader", "eval_loader"):
        section = run.get(name)
        for loader in section if isinstance(section, list) else [section]:
            for stream in _local_streams(loader):
                folder = os.path.join(str(stream.get("local") or ""), stream.get("split") or "").rstrip("/")
                if not os.path.isfile(os.path.join(folder, "index.json")):
                    yield (
                        f"{name}.dataset: found no shards in {folder or 'no folder'}, expected an index.json there; "
                        "write them with `tahoe-distill prepare` (the head of a YAML says what it needs), or name a "
                        "remote"
                    )


def _local_streams(loader: Any) -> list[dict[str, Any]]:
    """The streams of a loader that nothing is fetched for; none where it reads a cache of the teacher's outputs."""
    if not isinstance(loader, dict) or loader.get("name") != "tahoe_mds" or loader.get("cache") is not None:
        return []
    dataset = loader.get("dataset")
    if not isinstance(dataset, dict):
        return []
    streams = dataset["streams"].values() if isinstance(dataset.get("streams"), dict) else [dataset]
    return [stream for stream in streams if isinstance(stream, dict) and not stream.get("remote")]


def _found(section: Any, path: str, name: str = "") -> Iterator[tuple[str, Any]]:
    """``(full name, value)`` of what a dotted path leads to; in a list of sections, of each."""
    if isinstance(section, list):
        for number, item in enumerate(section):
            yield from _found(item, path, f"{name}[{number}]")
        return
    key, _, rest = path.partition(".")
    if not isinstance(section, dict) or section.get(key) is None:
        return
    full = f"{name}.{key}" if name else key
    if rest:
        yield from _found(section[key], rest, full)
    else:
        yield full, section[key]


def _section(value: Any) -> str | None:
    return None if isinstance(value, dict) else "a section with keys of its own"


def _some_objectives(value: Any) -> str | None:
    return None if isinstance(value, dict) and value else "at least one objective, such as {cosine: 1.0}"


def _one_of(*known: str) -> Check:
    return lambda value: None if value in known else f"one of {', '.join(known)}"


def _level(value: Any) -> str | None:
    return _one_of("debug", "info", "warning", "error", "critical")(str(value).lower())


def _folder(value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        return "the path of a folder"
    reason = None if "://" in value else why_not_writable(value)
    return None if reason is None else f"a folder that can be written to; {reason}"


def _switch(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _whole(least: int) -> Check:
    def check(value: Any) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
        return None if fits else f"a whole number, {least} or more"

    return check


def _microbatch(value: Any) -> str | None:
    return None if value == "auto" or _whole(1)(value) is None else "a whole number, 1 or more, or auto"


def _number(low: float, high: float = float("inf"), *, above: bool = False) -> Check:
    limits = f"{'above' if above else 'from'} {low:g}" + ("" if high == float("inf") else f" to {high:g}")

    def check(value: Any) -> str | None:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = number and (low < value if above else low <= value) and value <= high
        # YAML reads 1e-3 as text: it wants a decimal point.
        hint = "; write it with a decimal point, such as 1.0e-3" if isinstance(value, str) and "e" in value else ""
        return None if fits else f"a number {limits}{hint}"

    return check


def _betas(value: Any) -> str | None:
    inside = _number(0.0, 1.0)
    fits = isinstance(value, list) and all(inside(one) is None and one < 1 for one in value)
    return None if fits and len(value) in (2, 3) else "two numbers from 0 to below 1, such as [0.9, 0.95]"


def _shares(value: Any) -> str | None:
    values = value if isinstance(value, list) else [value]
    inside = _number(0.0, 1.0, above=True)
    fits = bool(values) and all(inside(one) is None and one < 1 for one in values)
    return None if fits else "a number between 0 and 1, or a list of such numbers"


def _duration(*, least: float = 0.0, above: bool = False, parts: bool = True) -> Check:
    example = "such as 20000ba or 3ep" if not parts else "such as 500ba, 1ep or 1dur"

    def check(value: Any) -> str | None:
        found = _TIME.fullmatch(str(value))
        if found is None:
            return f"a number with its unit, {_UNITS}, {example}"
        if found[2] == "dur" and not parts:
            return f"a length of its own, {example}; dur is a part of it"
        if float(found[1]) < least or (above and float(found[1]) == least):
            return f"more than {least:g}{found[2]}, {example}"
        return None

    return check


def _interval(value: Any) -> str | None:
    """Composer takes plain numbers here, for epochs; 0 means never."""
    return None if isinstance(value, int) and not isinstance(value, bool) else _duration()(value)


def _steps(value: Any) -> str | None:
    return None if isinstance(value, int) and not isinstance(value, bool) else _duration(above=True)(value)


_LOADER_CHECKS: dict[str, Check] = {
    "dataset": _section,
    "collator": _section,
    "drop_last": _switch,
    "pin_memory": _switch,
    "persistent_workers": _switch,
    "num_workers": _whole(0),
    "prefetch_factor": _whole(1),
    "timeout": _number(0.0),
    "dataset.shuffle": _switch,
    "dataset.shuffle_seed": _whole(0),
    "dataset.num_canonical_nodes": _whole(1),
    "dataset.keep_zip": _switch,
    "dataset.allow_unsafe_types": _switch,
    "collator.max_length": _whole(2),
    "collator.student_max_length": _whole(2),
    "collator.do_mlm": _switch,
    "collator.do_binning": _switch,
    "collator.do_padding": _switch,
    "collator.log_transform": _switch,
    "collator.sampling": _switch,
    "collator.deterministic": _switch,
    "collator.unexp_padding": _switch,
    "collator.use_chem_token": _switch,
    "collator.right_binning": _switch,
    "collator.num_bins": _whole(3),
    "collator.keep_first_n_tokens": _whole(0),
    "collator.mlm_probability": _shares,
    "collator.seed": _whole(0),
}

_CHECKS: dict[str, Check] = {
    "model": _section,
    "model.objectives": _some_objectives,
    "model.student_sees_masks": _switch,
    "tokenizer": _section,
    "optimizer": _section,
    "optimizer.lr": _number(0.0, above=True),
    "optimizer.weight_decay": _number(0.0),
    "optimizer.betas": _betas,
    "optimizer.eps": _number(0.0, above=True),
    "scheduler": _section,
    "scheduler.t_warmup": _duration(),
    "scheduler.t_max": _duration(above=True),
    "scheduler.alpha_f": _number(0.0, 1.0),
    "train_loader": _section,
    **{f"{loader}.{key}": check for loader in ("train_loader", "eval_loader") for key, check in _LOADER_CHECKS.items()},
    "seed": _whole(0),
    "max_seq_len": _whole(1),
    "max_duration": _duration(above=True, parts=False),
    "eval_interval": _interval,
    "save_interval": _interval,
    "console_log_interval": _steps,
    "eval_subset_num_batches": _whole(-1),
    "train_subset_num_batches": _whole(-1),
    "save_num_checkpoints_to_keep": _whole(-1),
    "global_train_batch_size": _whole(1),
    "device_eval_batch_size": _whole(1),
    "device_train_microbatch_size": _microbatch,
    **dict.fromkeys(
        (
            "accumulate_train_batch_on_tokens",
            "autoresume",
            "eval_first",
            "log_to_console",
            "progress_bar",
            "save_overwrite",
            "save_weights_only",
        ),
        _switch,
    ),
    "fsdp_config": _section,
    "fsdp_config.state_dict_type": _one_of("full", "sharded"),
    "precision": _one_of("fp32", "amp_fp16", "amp_bf16", "amp_fp8"),
    "python_log_level": _level,
    "dist_timeout": _number(0.0, above=True),
    "save_folder": _folder,
    "callbacks": _section,
    "callbacks.hf_student": _section,
    "callbacks.hf_student.save_interval": _interval,
    "callbacks.hf_student.folder": _folder,
    "callbacks.hf_student.overwrite": _switch,
    "callbacks.hf_student.verify": _switch,
    "algorithms": _section,
    "loggers": _section,
}
