"""Tell what a run will take before it is started: cells, models, memory, disk, time; nothing is trained."""

import argparse
import json
from pathlib import Path
from typing import Any

EXAMPLE = "tahoe-distill plan -f configs/70m.yaml --devices 8 --gpu H100 --utilisation 0.4 --dollars 3"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add = parser.add_argument
    add("-f", "--file", dest="config", required=True, help="the run's YAML")
    add("overrides", nargs="*", metavar="key=value", help="settings that replace the YAML's")
    add("--devices", type=int, default=1, help="GPUs, or processes on CPUs (%(default)s)")
    add("--rate", type=float, help="cells per second of one device, as an earlier run said")
    add("--gpu", choices=("A100", "H100", "H200"), help="instead: the device, by its data sheet, in dense bfloat16")
    add("--tflops", type=float, help="instead: peak rate of a device in TFLOP/s, dense, at the run's precision")
    add("--utilisation", type=float, default=0.4, help="share of the peak that the run reaches (%(default)s)")
    add("--measure", action="store_true", help="instead: time some steps of the run's models on this machine")
    add("--dollars", type=float, help="price of one device for an hour")
    add("--json", dest="json_file", help="write all numbers to this file too")


def run(args: argparse.Namespace) -> None:
    """Resolve, refuse what cannot work, and print the estimate.

    Raises:
        ValueError: For a configuration that cannot be run, or numbers that cannot be.
        FileNotFoundError: When the config is missing.
    """
    _check(args)
    from tahoe_distill.cli.defaults import merge, with_defaults
    from tahoe_distill.cli.distill import read_run
    from tahoe_distill.settings import plain
    from tahoe_distill.training.run_config import check_run

    content, own = read_run(args.config, args.overrides)
    config = merge(content, with_defaults(content, own))
    # Shards that a run would need may lie elsewhere, or not be there yet; the plan says what it could not read.
    check_run(config, args.config)
    resolved = plain(config)

    from tahoe_distill.training.planning.estimate import estimate, lines, unusual
    from tahoe_distill.training.planning.models import build_model
    from tahoe_distill.training.whole_check import check_names

    check_names(resolved, elsewhere=True)
    model = build_model(resolved)
    found = estimate(model, resolved, devices=args.devices, **_rate(args, model, resolved))
    for line in lines(found, args.dollars):
        print(line)
    for line in unusual(resolved, found):
        print(f"unusual    {line}")
    if args.json_file:
        from tahoe_distill.files import replace_text

        replace_text(Path(args.json_file), json.dumps(found.record(), indent=2) + "\n")


def _check(args: argparse.Namespace) -> None:
    if args.devices < 1:
        raise ValueError(f"--devices is {args.devices}; expected at least 1")
    for name in ("rate", "tflops", "dollars"):
        value = getattr(args, name)
        if value is not None and value <= 0:
            raise ValueError(f"--{name} is {value:g}; expected a number above 0")
    if not 0 < args.utilisation <= 1:
        raise ValueError(f"--utilisation is {args.utilisation:g}; expected a share, above 0 and at most 1")
    given = [f"--{name}" for name in ("rate", "gpu", "tflops", "measure") if getattr(args, name)]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} are given; expected one of them")


def _rate(args: argparse.Namespace, model: Any, resolved: dict[str, Any]) -> dict[str, Any]:
    from tahoe_distill.costs import PEAK_BF16
    from tahoe_distill.training.planning.models import measured_rate, size_up

    if args.rate:
        return {"rate": args.rate, "rate_from": f"{args.rate:g} a device, as given"}
    peak = PEAK_BF16[args.gpu] if args.gpu else 1e12 * (args.tflops or 0.0)
    if peak:
        sizes = size_up(model, resolved)
        rate = peak * args.utilisation / (sizes.teacher_flops + sizes.student_flops)
        return {"rate": rate, "rate_from": f"{100 * args.utilisation:g} % of {peak / 1e12:g} TFLOP/s a device"}
    if args.measure:
        microbatch = resolved.get("device_train_microbatch_size")
        cells = microbatch if isinstance(microbatch, int) else 8
        return {"rate": measured_rate(model, resolved, cells=cells), "rate_from": "measured on this machine"}
    return {}
