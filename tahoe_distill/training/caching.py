"""From a run's configuration to a cache of what its teacher says."""

import contextlib
import logging

import torch
from composer.core.precision import Precision, get_precision_context
from composer.utils import dist
from composer.utils.device import get_device
from omegaconf import OmegaConf
from tqdm import tqdm

from tahoe_distill.cache.read import NEVER
from tahoe_distill.cache.record import (
    PRECISIONS,
    STORABLE,
    CacheRecord,
    seen_by_teacher,
    shards_digest,
    vocabulary_digest,
)
from tahoe_distill.cache.write import Split, begin, finish, write_parts
from tahoe_distill.objectives import Outputs
from tahoe_distill.objectives.positions import pool_shared
from tahoe_distill.settings import plain
from tahoe_distill.training.dataloader import read_sections
from tahoe_distill.training.model import TahoeDistillModel
from tahoe_distill.training.rank_zero import on_rank_zero

log = logging.getLogger(__name__)

# Ranks wait for the slowest one's last part.
_PATIENCE_SECONDS = 24 * 3600


def write_cache(config, folder, precision="float16", store=(), views=1, part_cells=8192, progress=True):
    """Run the teacher of a configuration over its shards and write what it says.

    Under a launcher every process writes its share. A run that was interrupted is carried on by the same call.

    Args:
        config: The run's configuration, as a mapping.
        folder: Where the cache goes: ``train``, ``eval`` and ``cache.json``.
        precision: Number format of the outputs, ``float16`` or ``float32``.
        store: Outputs to keep beside the cell embedding and what the objectives read, of ``STORABLE``.
        views: How often each training cell is collated: with random genes, masks or augmentation each view is another.
        part_cells: Cells written, and redone after a kill, at once.
        progress: Show a progress bar.

    Returns:
        The :class:`CacheRecord`.

    Raises:
        ValueError: When the configuration has no teacher, or objectives that no cache can serve.
        FileExistsError: When the folder holds something else.
    """
    _check(precision, store, views, part_cells)
    config = OmegaConf.to_container(OmegaConf.create(config, flags={"allow_objects": True}), resolve=True)
    device = get_device(None)
    dist.initialize_dist(device, timeout=_PATIENCE_SECONDS)
    model = _model(config)
    stored = ("cell", *(field for field in STORABLE if field in model.objectives.teacher_needs | set(store)))
    splits = list(_splits(config, views, part_cells))
    record = _record(config, model, splits, stored, precision)
    left = on_rank_zero(lambda: begin(folder, record, model.teacher.processor), "process 0 failed")
    if not left:
        log.warning("%s is whole already; nothing to do", folder)
        return record
    output = _TeacherForward(model, frozenset(stored), device, config.get("precision"))
    rank, world = dist.get_global_rank(), dist.get_world_size()
    for split in splits:
        total = _cells(split, rank, world)
        with tqdm(total=total, unit=" cells", desc=split.name, disable=not progress or rank > 0) as bar:
            write_parts(folder, split, output, record, rank, world, bar.update)
    # The index lists the parts of all.
    dist.barrier()
    on_rank_zero(lambda: finish(folder, splits), "process 0 failed")
    return record


def _check(precision, store, views, part_cells):
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; found {precision!r}")
    unknown = sorted(set(store) - set(STORABLE))
    if unknown:
        raise ValueError(f"store may name {', '.join(STORABLE)}; found {', '.join(unknown)}")
    if views < 1 or part_cells < 1:
        raise ValueError(f"views and part_cells must be 1 or more; found {views} and {part_cells}")


def _model(config):
    """The run's model, which knows what its objectives read and whether its teacher sees masks."""
    section = {name: value for name, value in (config.get("model") or {}).items() if name != "name"}
    teacher = section.get("teacher")
    if isinstance(teacher, dict):
        section["teacher"] = {name: value for name, value in teacher.items() if name != "cache"}
    if not section.get("teacher") or section["teacher"] == {}:
        raise ValueError("model.teacher names no teacher; give it a source, such as tahoebio/Tahoe-x1")
    model = TahoeDistillModel(**section)
    for key, objective in model.objectives.objectives.items():
        for need in sorted(objective.teacher_needs - {"cell", *STORABLE}):
            raise ValueError(
                f"model.objectives.{key} reads {need!r} of the teacher, and no cache keeps {NEVER[need]}: remove the "
                "objective, or train with the live teacher"
            )
    return model


def _splits(config, views, part_cells):
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
        cells, collate = read_sections(loader["dataset"], collator, batch_cells, loader.get("vocab"))
        workers = loader.get("num_workers", 2)
        yield Split(name, cells, collate, batch_cells, workers, views if name == "train" else 1, part_cells)


def _eval_loaders(section):
    if not section:
        return {}
    if isinstance(section, dict):
        return {"eval": section}
    return {f"eval-{loader.get('label', number)}": loader for number, loader in enumerate(section)}


def _record(config, model, splits, stored, precision):
    seen = [seen_by_teacher(split.collator) for split in splits]
    odd = [split.name for split, settings in zip(splits, seen) if settings["num_bins"] != seen[0]["num_bins"]]
    if odd:
        raise ValueError(f"the collators of {splits[0].name} and {odd[0]} have different num_bins")
    teacher = plain(config["model"]["teacher"])
    options = {"source": teacher} if isinstance(teacher, str) else teacher
    architecture = model.teacher.config.to_dict()
    architecture.pop("transformers_version", None)
    return CacheRecord(
        teacher={
            "fingerprint": model.teacher.fingerprint,
            "source": options["source"],
            "options": {name: options.get(name) for name in ("size", "use_chem", "revision")},
            "dtype": options.get("dtype", "float32"),
            "config": architecture,
        },
        collator={split.name: settings for split, settings in zip(splits, seen)},
        vocabulary=vocabulary_digest(model.vocab),
        stored=stored,
        sees_masks=model.teacher_sees_masks,
        precision=precision,
        splits={
            split.name: {"cells": split.dataset.num_samples, "views": split.views, "data": shards_digest(split.dataset)}
            for split in splits
        },
    )


def _cells(split, rank, world):
    """Cells of a split that fall to one process."""
    return sum(stop - start for number, (_, _, start, stop) in enumerate(split.parts()) if number % world == rank)


class _TeacherForward:
    """The teacher's outputs to a collated batch, on its device and in the run's precision."""

    def __init__(self, model, stored, device, precision):
        self.teacher = model.teacher
        self.sees_masks = model.teacher_sees_masks
        self.stored = stored
        self.device = device
        self.precision = None if precision is None else Precision(precision)

    def __call__(self, batch):
        batch = self.device.batch_to_device({name: value for name, value in batch.items() if torch.is_tensor(value)})
        with get_precision_context(self.precision) if self.precision else contextlib.nullcontext():
            outputs = self.teacher.forward(batch, self.stored, self.sees_masks)
        if "pooled" not in self.stored:
            return outputs
        with torch.inference_mode():
            pooled = torch.stack([pool_shared(layer.float(), outputs.seen) for layer in outputs.hidden], dim=1)
        return Outputs(**{**vars(outputs), "pooled": pooled, "hidden": None})
