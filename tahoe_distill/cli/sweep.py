"""Try settings of a run, each by short runs of its own, and write the run to start with the best of them.

The YAML names a base, the run's, and what to sweep over its keys. Started again, or on another machine that shares the
folder, the same command carries on or joins in. Ready ones are in configs/sweeps; docs/sweeps.md describes them.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from tahoe_distill.sweeps.runs import Base
    from tahoe_distill.sweeps.spec import SweepSpec
    from tahoe_distill.sweeps.study import Study

EXAMPLE = "tahoe-distill sweep -f configs/sweeps/temperature.yaml base=configs/quickstart.yaml --jobs 2 --seeds 3"
# Sections whose keys are those of the run, with dots.
_OF_RUN = ("run", "trial.settings")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add(
        "-f",
        "--file",
        dest="config",
        required=True,
        metavar="YAML",
        help="the sweep, of configs/sweeps or your own",
    )
    add(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="settings of the sweep, or of all its runs",
    )
    add("--jobs", type=int, default=1, metavar="N", help="settings at work at once on this machine (default 1)")
    add(
        "--seeds",
        type=int,
        nargs="+",
        metavar="N",
        help="runs of each setting: how many, or, of several, which",
    )
    add("--check", action="store_true", help="say what would be run, or refuse it, and end")
    add("--figures", choices=("png", "svg"), help="also write each figure of the page as an image")


def run(args: argparse.Namespace) -> None:
    """Work on the study until nothing is left to take; the last one writes what came out."""
    from tahoe_distill.evaluation import metric_direction
    from tahoe_distill.sweeps import Study, Worker
    from tahoe_distill.sweeps.confirm import check_confirm
    from tahoe_distill.sweeps.process import TO_GO_ON
    from tahoe_distill.sweeps.work import ToldToEnd

    spec, base = read_sweep(args.config, args.overrides, args.seeds)
    mode = metric_direction(spec.metric, spec.mode, where="metric")
    if args.check:
        print(_plan(spec, base))
        return
    study = Study(spec, base, mode=mode)
    check_confirm(study)
    _check_runs(study)
    print(_plan(spec, base), flush=True)
    try:
        Worker(study, jobs=args.jobs, say=lambda line: print(line, flush=True)).run()
    except ToldToEnd:
        print("told to end; the same command carries on", file=sys.stderr)
        sys.exit(TO_GO_ON)
    running = [outcome.setting.name for outcome in study.outcomes() if outcome.state == "running"]
    if running:
        print(f"nothing left to take here; {', '.join(running)} at work elsewhere, which writes the results")
        return
    _finish(study, args.figures)


def read_sweep(
    path: str, overrides: Sequence[str] = (), seeds: Sequence[int] | None = None
) -> "tuple[SweepSpec, Base]":
    """A sweep and its base from files.

    Args:
        path: The sweep's YAML.
        overrides: ``key=value``: of the sweep, or, by its first part, of every run.
        seeds: As ``--seeds`` gives them.

    Raises:
        FileNotFoundError: When a file is missing.
        ValueError: For what cannot be meant.
    """
    from omegaconf import OmegaConf

    from tahoe_distill.cli.defaults import merge
    from tahoe_distill.cli.distill import check, read_run
    from tahoe_distill.sweeps.runs import base_of
    from tahoe_distill.sweeps.spec import SweepSpec

    content, of_run = _overridden(check(path, overrides), overrides)
    if seeds is not None:
        content["seeds"] = seeds[0] if len(seeds) == 1 else list(seeds)
    content["run"] = {**(content.get("run") or {}), **of_run}
    spec = SweepSpec.read(content)
    given, _ = read_run(spec.base, ())
    written = OmegaConf.to_container(merge(given), resolve=False)
    if not isinstance(written, dict):
        raise ValueError(f"{spec.base} holds no sections")
    run = {str(key): value for key, value in written.items()}
    unknown_parts = [key for key in of_run if key.partition(".")[0] not in run]
    if unknown_parts:
        from tahoe_distill.naming import check_keys
        from tahoe_distill.sweeps.spec import KEYS

        check_keys([unknown_parts[0].partition(".")[0]], {*KEYS, *run}, "the sweep and its base")
    return spec, base_of(spec, run)


def _overridden(content: dict[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sweep's YAML with its overrides, and those that are settings of every run."""
    import yaml

    from tahoe_distill.sweeps.runs import replaced
    from tahoe_distill.sweeps.spec import KEYS

    of_run: dict[str, Any] = {}
    for override in overrides:
        key, _, text = override.partition("=")
        value = yaml.safe_load(text)
        section = next((name for name in _OF_RUN if key.startswith(f"{name}.")), None)
        if section == "run":
            of_run[key.removeprefix("run.")] = value
        elif section is not None:
            known = content.setdefault("trial", {}).setdefault("settings", {})
            known[key.removeprefix(f"{section}.")] = value
        elif key.partition(".")[0] in KEYS:
            content = replaced(content, {key: value})
        else:
            of_run[key] = value
    return content, of_run


def _check_runs(study: "Study") -> None:
    """Refuse a run that llm-foundry would, once and before any is started."""
    from tahoe_distill.sweeps.runs import resolve
    from tahoe_distill.training.run_config import check_run

    setting = study.base_setting()
    check_run(resolve(study.run_of(setting, study.seeds[0])), f"a trial of {study.spec.base}")


def _plan(spec: "SweepSpec", base: "Base") -> str:
    seeds, part = spec.seeds_from(base.seed), spec.fraction
    swept = ", ".join(f"{dimension.name} ({', '.join(dimension.all_keys)})" for dimension in spec.space)
    settings = f"{_count(spec.trials, 'setting')} of {swept} by {spec.sampler}"
    extra = " and the base as it stands" if spec.confirm else ""
    return (
        f"{settings}{extra}, {_count(len(seeds), 'run')} each, on {part.batches} of the batches and {part.cells} of "
        f"the cells of {spec.base}; by {spec.metric}, in {spec.out}"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _finish(study: "Study", images: str | None) -> None:
    """Table, best run, other cells, page; by one process."""
    from tahoe_distill.locks import held
    from tahoe_distill.sweeps.confirm import confirm
    from tahoe_distill.sweeps.page import write_page
    from tahoe_distill.sweeps.results import BEST_FILE, TRIALS_FILE, trials_text, write_results

    with held(study.folder / "claims" / "results", "writing the results of a sweep"):
        table, best = write_results(study)
        print(f"\n{trials_text(table)}\n")
        confirmation = confirm(study, best, _judge) if study.spec.confirm else None
        if confirmation is not None:
            print(confirmation.sentence())
        pages = write_page(study, table, best, confirmation=confirmation, images=images)
    names = [TRIALS_FILE, BEST_FILE, *(path.name for path in pages)]
    print(f"written to {study.folder}: {', '.join(names)}")
    print(f"next: composer scripts/distill.py -f {study.folder / BEST_FILE}")


def _judge(students: Sequence[Path], section: Mapping[str, Any]) -> "tuple[Mapping[str, Any], pd.DataFrame]":
    """As `tahoe-distill evaluate` does, by the keys of ``confirm``."""
    from tahoe_distill.cli import evaluate
    from tahoe_distill.evaluation import to_record
    from tahoe_distill.evaluation.record import cell_table

    parser = argparse.ArgumentParser(prog="confirm", exit_on_error=False)
    evaluate.add_arguments(parser)
    words = ["--student", *map(str, students)]
    for key, value in {"only": ["fidelity"], **section}.items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{key.replace('_', '-')}", *map(str, values)]
    args = parser.parse_args(words)
    # The best is held against the base, so nothing else is needed beside them.
    found = evaluate.evaluate_files(args, baselines=False)
    return to_record(found, files=evaluate.describe_inputs(args)), cell_table(found)
