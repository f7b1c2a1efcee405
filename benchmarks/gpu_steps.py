"""Whole distillation steps for `gpu.py`: live and from a cache, beside their parts, and what their data costs."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import train_step

# Processes that collate while a step runs, as configs/base.yaml has them.
WORKERS = 8


def rows(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows of ``gpu.py``'s table.

    Args:
        args: Its command line.
    """
    own = step_arguments(args)
    with tempfile.TemporaryDirectory() as folder:
        parts, step = train_step.build(own, Path(folder))
        run = train_step.configuration(own, Path(folder))
        medians = {}
        for name, part in parts.items():
            part(1)
            train_step.reset_peak(own.device)
            medians[name] = statistics.median(part(own.batches))
            row = {"what": name, "context": own.context, "lengths": "quickstart's cells", "attention": "sdpa"}
            row |= {"cells": own.batch, "cells/s": own.batch / medians[name], "peak GB": train_step.peak(own.device)}
            if name == train_step.STEP:
                row["TFLOP/s"] = step.flops / medians[name] / 1e12
            yield row
        start = time.perf_counter()
        batches = train_step.collated(run, own, None)
        collating = (time.perf_counter() - start) / max(len(batches), 1)
        parts_alone = medians[train_step.TEACHER] + medians[train_step.STUDENT]
        share = collating / WORKERS / medians[train_step.STEP]
        yield {
            "what": "reading and collating a batch, one process",
            "cells": own.batch,
            "cells/s": own.batch / collating,
            "data": f"{share:.1%} of a step with {WORKERS} workers",
        }
        yield {"what": "the step beyond its parts", "data": f"{medians[train_step.STEP] / parts_alone - 1:.1%}"}


def step_arguments(args: argparse.Namespace) -> argparse.Namespace:
    """The command line of ``train_step.py`` for this machine."""
    gpu = args.device == "cuda"
    return argparse.Namespace(
        adata=None,
        vocab=None,
        teacher="nano" if args.tiny else "70m",
        student="tiny" if args.tiny else "small",
        context=min(args.contexts),
        batch=4 if args.tiny else 64,
        batches=2 if args.tiny else 8,
        threads=1,
        device="gpu" if gpu else "cpu",
        precision="amp_bf16" if gpu else "fp32",
        json=None,
    )
