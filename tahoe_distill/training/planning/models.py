"""How large a run's models are, what a cell costs them, and how much memory a device needs."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tahoe_distill.cache.collator import CachedCollator
from tahoe_distill.data.batch import GENE_IDS, MASKED, SHOWN, TARGET
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model
from tahoe_distill.objectives import ObjectiveSet, Outputs
from tahoe_distill.teacher.published import published
from tahoe_distill.training.forward import forward_flops, forward_model
from tahoe_distill.training.model import TahoeDistillModel

_WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}
# Adam keeps two moments beside a weight and its gradient, all of them float32.
_STATES = 4
_PROBED = 2


class PublishedTeacher:
    """One of Tahoe-x1's sizes by its published dimensions, for a teacher that is not on this disk.

    A ``TeacherProvider`` without weights.

    Args:
        size: ``70m``, ``1b`` or ``3b``.
    """

    fingerprint = "00" * 32
    processor = model = None
    available = frozenset({"cell", "genes", "hidden", "expression", "mvc"})

    def __init__(self, size: str):
        self.config: Tx1Config = published(size)
        self.embedding_size = self.config.embedding_size
        genes = (f"ENSG{number:011d}" for number in range(self.config.vocab_size - 3))
        tokens = {token: number for number, token in enumerate(["<pad>", "<cls>", "<eoc>", *genes])}
        self.vocab = GeneVocab(tokens)
        with torch.device("meta"):
            self.weightless = Tx1Model(self.config)

    def check(self, objectives: ObjectiveSet, *, sees_masks: bool) -> None:
        """Nothing to refuse: a live model has every output."""

    def check_loader(self, collator: Tx1Collator | CachedCollator, columns: list[str], *, where: str) -> None:
        """Nothing to refuse."""

    def forward(self, batch: Mapping[str, Any], *, needs: frozenset[str], sees_masks: bool) -> Outputs:
        """Not to be called.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("a teacher known by its published dimensions has no weights to run")

    def flops(self, cells: int, length: int, *, needs: frozenset[str]) -> int:
        """Floating-point operations of its part of a training step."""
        return forward_flops(self.weightless, cells, length, needs=needs)


@dataclass(frozen=True, kw_only=True)
class Models:
    """A run's models in numbers.

    Args:
        teacher: Parameters of the live teacher, 0 without one.
        teacher_bytes: What its weights take, at its dtype.
        student: Trainable parameters.
        outside_table: Those of them that are not the gene table.
        length: Tokens of a cell, its genes at most.
        teacher_flops: Floating-point operations of the teacher for a cell of that length.
        student_flops: Likewise of the student, forward and backward.
        states: Bytes of the student's weights, gradients and optimizer.
        activations: Bytes that a cell of that length takes until its backward pass, or in the teacher where that is
            more.
        from_published: Whether the teacher's dimensions are the published ones, its files being elsewhere.
    """

    teacher: int
    teacher_bytes: int
    student: int
    outside_table: int
    length: int
    teacher_flops: int
    student_flops: int
    states: int
    activations: int
    from_published: bool

    def memory(self, cells: int, devices: int) -> int:
        """Bytes on each device for a microbatch of ``cells``, the student's states shared out over ``devices``."""
        return self.teacher_bytes + self.states // devices + cells * self.activations


def build_model(run: Mapping[str, Any]) -> TahoeDistillModel:
    """The run's model; a teacher that would have to be fetched is known by its published dimensions alone.

    Raises:
        ValueError: As the model does, and for a teacher that is neither here nor published.
    """
    section = {key: value for key, value in run["model"].items() if key != "name"}
    teacher = section.get("teacher")
    size = teacher.get("size") if isinstance(teacher, Mapping) else None
    if isinstance(teacher, Mapping) and not teacher.get("cache") and is_elsewhere(str(teacher.get("source"))):
        section["teacher"] = PublishedTeacher(str(size))
    return TahoeDistillModel(**section)


def is_elsewhere(source: str) -> bool:
    """Whether a teacher is named by a hub repository or an address, and so would have to be fetched."""
    return not os.path.exists(source) and "/" in source


def size_up(model: TahoeDistillModel, run: Mapping[str, Any]) -> Models:
    """Parameters, operations and memory of a run's models.

    Args:
        model: What :func:`build_model` returned.
        run: The run, resolved.
    """
    length = int(run["train_loader"]["collator"]["max_length"])
    provider: Any = model.teacher
    teacher = getattr(provider, "weightless", None) or getattr(provider, "model", None)
    precision = str(run.get("precision", "amp_bf16"))
    trainable = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    table = sum(size for name, size in trainable.items() if "gene_encoder.embedding" in name)
    dtype = (run["model"].get("teacher") or {}).get("dtype", "float32") if _is_mapping(run["model"]) else "float32"
    held = 0 if teacher is None else sum(p.numel() for p in teacher.parameters())
    needs = model.objectives.teacher_needs
    student = saved_bytes(model, _PROBED, length=length, precision=precision) // _PROBED
    return Models(
        teacher=held,
        teacher_bytes=held * _WIDTH[dtype],
        student=sum(trainable.values()),
        outside_table=sum(trainable.values()) - table,
        length=length,
        teacher_flops=0 if teacher is None else provider.flops(1, length, needs=needs),
        student_flops=3 * forward_flops(model.student, 1, length, needs=model.needs),
        states=4 * _STATES * sum(trainable.values()),
        activations=max(student, 0 if teacher is None else _passing(teacher.config, length) * _WIDTH[dtype]),
        from_published=isinstance(provider, PublishedTeacher),
    )


def saved_bytes(model: TahoeDistillModel, cells: int, *, length: int, precision: str) -> int:
    """Bytes that the student keeps for the backward pass of ``cells`` full cells, counted in a real forward pass."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), _precision(precision):
        # Held until the end, or freed memory would be counted once for two tensors.
        outputs = model.forward_student(made_up_batch(model, cells, length))
    total = sum(size for place, size in kept.items() if place not in weights)
    del outputs
    return total


def measured_rate(model: TahoeDistillModel, run: Mapping[str, Any], *, cells: int, steps: int = 3) -> float:
    """Cells per second of the run's step on this machine, on made-up cells of full length.

    Args:
        model: What :func:`build_model` returned; a teacher without weights gets random ones.
        run: The run, resolved.
        cells: Cells a step.
        steps: How many are timed, after one that is not.
    """
    length, device = int(run["train_loader"]["collator"]["max_length"]), _device()
    provider: Any = model.teacher
    teacher = Tx1Model(provider.config).eval() if isinstance(provider, PublishedTeacher) else None
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model.to(device)
    batch = {name: value.to(device) for name, value in made_up_batch(model, cells, length).items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    if teacher is not None:
        teacher.to(device, dtype)
    seconds = []
    for _ in range(steps + 1):
        _wait(device)
        start = time.perf_counter()
        with _precision(str(run.get("precision", "amp_bf16"))):
            given = _teacher_outputs(model, teacher, batch)
            loss, _ = model.objectives(model.forward_student(batch), given, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return cells / (sum(seconds[1:]) / steps)


def made_up_batch(model: TahoeDistillModel, cells: int, length: int) -> dict[str, Tensor]:
    """A batch of the ``tahoe_mds`` loader with ``cells`` cells of ``length`` tokens, all of it seen."""
    config = model.teacher_config or model.student.config
    genes = torch.randint(3, config.vocab_size, (cells, length))
    genes[:, 0] = config.cls_token_id
    values = torch.randint(1, config.num_bins, (cells, length)).float()
    values[:, 0] = config.pad_value
    return {GENE_IDS: genes, SHOWN: values, TARGET: values, MASKED: torch.zeros(cells, length, dtype=torch.bool)}


def _teacher_outputs(model: TahoeDistillModel, teacher: Tx1Model | None, batch: Mapping[str, Any]) -> Any:
    needs, sees_masks = model.objectives.teacher_needs, model.teacher_sees_masks
    if teacher is None:
        return None if model.teacher is None else model.teacher.forward(batch, needs=needs, sees_masks=sees_masks)
    from tahoe_distill.data.batch import teacher_view

    with torch.inference_mode():
        return forward_model(teacher, teacher_view(batch), needs=needs, sees_masks=sees_masks)


def _passing(config: Tx1Config, length: int) -> int:
    """Numbers of a cell that are there at once in a pass without gradients: input, residual, and the widest between."""
    return length * (2 * config.hidden_size + max(3 * config.hidden_size, config.intermediate_size))


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    enabled = name == "amp_bf16"
    with torch.autocast(_device().type, dtype=torch.bfloat16, enabled=enabled):
        yield


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _is_mapping(value: Any) -> bool:
    return isinstance(value.get("teacher"), Mapping)
