"""From a run's configuration to a cache of its teacher's outputs."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from composer.core.precision import Precision, get_precision_context
from composer.devices import Device
from composer.utils import dist
from composer.utils.device import get_device
from omegaconf import OmegaConf
from torch import Tensor
from tqdm import tqdm

from tahoe_distill.cache.read import NEVER
from tahoe_distill.cache.record import PRECISIONS, STORABLE, CacheRecord
from tahoe_distill.cache.write import Split, begin, finish, make_record, write_parts
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.locks import held
from tahoe_distill.objectives import Outputs
from tahoe_distill.settings import plain
from tahoe_distill.training.dataloader import read_sections
from tahoe_distill.training.forward import LiveTeacher
from tahoe_distill.training.model import TahoeDistillModel
from tahoe_distill.training.rank_zero import on_rank_zero

log = logging.getLogger(__name__)

# Ranks wait for the slowest one's last part.
_PATIENCE_SECONDS = 24 * 3600


def write_cache(
    config: Mapping[str, Any],
    folder: str | os.PathLike[str],
    *,
    precision: str = "float16",
    store: Sequence[str] = (),
    views: int = 1,
    part_cells: int = 8192,
    cells: int | None = None,
    progress: bool = True,
) -> CacheRecord:
    """Run the teacher of a configuration over its shards and write its outputs.

    Under a launcher every process writes its share. A run that was interrupted is carried on by the same call.

    Args:
        config: The run's configuration.
        folder: Where the cache goes: ``train``, ``eval`` and ``cache.json``.
        precision: Number format of the outputs, ``float16`` or ``float32``.
        store: Outputs to keep beside the cell embedding and what the objectives read, of ``STORABLE``.
        views: How often each training cell is collated: with random genes, masks or augmentation each view is another.
        part_cells: Cells written, and redone after a kill, at once.
        cells: How many cells of each split, in whole parts; ``None`` for all.
        progress: Show a progress bar.

    Raises:
        ValueError: When the configuration has no teacher, or objectives that no cache can serve.
        FileExistsError: When the folder holds something else.
    """
    _check(precision, store, {"views": views, "part_cells": part_cells, "cells": 1 if cells is None else cells})
    config = _resolved(config)
    device = get_device(None)
    dist.initialize_dist(device, timeout=_PATIENCE_SECONDS)
    model = _model(config)
    stored = ("cell", *(field for field in STORABLE if field in model.objectives.teacher_needs | set(store)))
    splits = list(_splits(config, views, part_cells, cells))
    # No cache is named, so the teacher is a live one.
    teacher = cast(LiveTeacher, model.teacher)
    record = make_record(
        _teacher_record(config, teacher),
        model.vocab,
        splits,
        stored=stored,
        sees_masks=model.teacher_sees_masks,
        precision=precision,
    )
    with contextlib.ExitStack() as stack:

        def take() -> bool:
            stack.enter_context(held(folder, "the writing of a teacher cache"))
            return begin(folder, record, teacher.processor)

        if not on_rank_zero(take, "process 0 failed"):
            log.warning("%s is whole already; nothing to do", folder)
            return record
        forward = _TeacherForward(
            teacher, frozenset(stored), sees_masks=record.sees_masks, device=device, precision=config.get("precision")
        )
        _write_share(folder, splits, forward, record=record, progress=progress)
        # The index lists the parts of all.
        dist.barrier()
        on_rank_zero(lambda: finish(folder, splits), "process 0 failed")
    return record


def _write_share(
    folder: str | os.PathLike[str],
    splits: Sequence[Split],
    forward: "_TeacherForward",
    *,
    record: CacheRecord,
    progress: bool,
) -> None:
    """Write the parts of all splits that fall to this process."""
    rank = dist.get_global_rank()
    for split in splits:
        parts = split.share(rank, dist.get_world_size())
        cells = sum(len(part.numbers) for part in parts)
        with tqdm(total=cells, unit=" cells", desc=split.name, disable=not progress or rank > 0) as bar:
            write_parts(folder, split, parts, forward=forward, record=record, progress=bar.update)


def _resolved(config: Any) -> Any:
    """A configuration as plain values, references filled in."""
    # YAML has dates, which OmegaConf takes only where any object is allowed.
    return OmegaConf.to_container(OmegaConf.create(config, flags={"allow_objects": True}), resolve=True)


def _check(precision: str, store: Sequence[str], numbers: Mapping[str, int]) -> None:
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; found {precision!r}")
    unknown = sorted(set(store) - set(STORABLE))
    if unknown:
        raise ValueError(f"store may name {', '.join(STORABLE)}; found {', '.join(unknown)}")
    wrong = [f"{name} {number}" for name, number in numbers.items() if number < 1]
    if wrong:
        raise ValueError(f"{', '.join(numbers)} must be 1 or more; found {', '.join(wrong)}")


def _model(config: Mapping[str, Any]) -> TahoeDistillModel:
    """The run's model, which knows what its objectives read and whether its teacher sees masks.

    The whole model, student and all, so that what the run would refuse is refused before the teacher runs for hours.
    """
    section = {name: value for name, value in (config.get("model") or {}).items() if name != "name"}
    teacher = section.get("teacher")
    if isinstance(teacher, dict):
        section["teacher"] = {name: value for name, value in teacher.items() if name != "cache"}
    if not section.get("teacher"):
        raise ValueError("model.teacher names no teacher; give it a source, such as tahoebio/Tahoe-x1")
    model = TahoeDistillModel(**section)
    for key, objective in model.objectives.objectives.items():
        for need in sorted(objective.teacher_needs - {"cell", *STORABLE}):
            raise ValueError(
                f"model.objectives.{key} reads {need!r} of the teacher, and no cache keeps {NEVER[need]}: remove the "
                "objective, or train with the live teacher"
            )
    return model


def _teacher_record(config: Mapping[str, Any], teacher: LiveTeacher) -> dict[str, Any]:
    """The record's part on the teacher."""
    section = plain(config["model"]["teacher"])
    options = {"source": section} if isinstance(section, str) else section
    architecture = teacher.config.to_dict()
    architecture.pop("transformers_version", None)
    return {
        "fingerprint": teacher.fingerprint,
        "source": options["source"],
        "options": {name: options.get(name) for name in ("size", "use_chem", "revision")},
        "dtype": options.get("dtype", "float32"),
        "config": architecture,
    }


def _splits(config: Mapping[str, Any], views: int, part_cells: int, wanted: int | None) -> Iterator[Split]:
    if not config.get("train_loader"):
        raise ValueError("the configuration has no train_loader, whose cells the teacher is to be run on")
    loaders = {"train": config["train_loader"], **_eval_loaders(config.get("eval_loader"))}
    for name, loader in loaders.items():
        missing = [key for key in ("dataset", "collator") if key not in loader]
        if missing:
            raise ValueError(f"the loader of {name} has no {missing[0]}; expected a tahoe_mds loader")
        batch_cells = config.get("device_eval_batch_size") or 64
        collator = {key: value for key, value in loader["collator"].items() if key != "student_max_length"}
        if loader.get("unexp_padding") is not None:
            collator.setdefault("unexp_padding", loader["unexp_padding"])
        cells, collate = read_sections(loader["dataset"], collator, batch_cells, vocab=loader.get("vocab"))
        yield Split(
            name=name,
            dataset=cells,
            collator=cast(Tx1Collator, collate),
            batch_cells=batch_cells,
            workers=loader.get("num_workers", 2),
            views=views if name == "train" else 1,
            part_cells=part_cells,
            cells=wanted,
        )


def _eval_loaders(section: Any) -> dict[str, Mapping[str, Any]]:
    if not section:
        return {}
    if isinstance(section, dict):
        return {"eval": section}
    return {f"eval-{loader.get('label', number)}": loader for number, loader in enumerate(section)}


class _TeacherForward:
    """The teacher's outputs to a collated batch, on its device and in the run's precision."""

    def __init__(
        self,
        teacher: LiveTeacher,
        stored: frozenset[str],
        *,
        sees_masks: bool,
        device: Device,
        precision: str | None,
    ):
        self.teacher = teacher
        self.stored = stored
        self.sees_masks = sees_masks
        self.device = device
        self.precision = None if precision is None else Precision(precision)

    def __call__(self, batch: Mapping[str, Any]) -> Outputs:
        batch = self.device.batch_to_device({name: x for name, x in batch.items() if isinstance(x, Tensor)})
        with get_precision_context(self.precision) if self.precision else contextlib.nullcontext():
            return self.teacher.forward(batch, needs=self.stored, sees_masks=self.sees_masks)
