"""What an objective is given and what it must return.

Shapes: C cells, G genes (positions), D width of a model, E width of a cell embedding, K classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

NEEDS = frozenset({"cell", "genes", "hidden", "expression", "mvc", "labels", "masks"})


@dataclass(kw_only=True)
class Outputs:
    """One model's view of a batch and its outputs; ``None`` where none were wanted.

    Args:
        gene_ids: (C, G) int64 tokens that the model saw.
        seen: (C, G) True at tokens, False at padding.
        cell: (C, E) cell embeddings.
        genes: (C, G, D) gene embeddings in context.
        hidden: (C, G, D) each: input of the first block, then the output of each block.
        pooled: (C, L + 1, D): the mean of each of ``hidden`` over the positions seen, where a cache kept no more.
        expression: (C, G) predictions of the expression head.
        mvc: (C, G) predictions of the MVC head.
        masked: (C, G) True at genes whose expression was hidden from the model.
        target: (C, G) measured expression as the heads are to predict it, of hidden genes too.
        index: (C, G) int64, of a student: where each position lies in its teacher's row, negative where it is not
            there; ``None`` where the rows are the same.
    """

    gene_ids: Tensor
    seen: Tensor
    cell: Tensor | None = None
    genes: Tensor | None = None
    hidden: tuple[Tensor, ...] | None = None
    pooled: Tensor | None = None
    expression: Tensor | None = None
    mvc: Tensor | None = None
    masked: Tensor | None = None
    target: Tensor | None = None
    index: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """The sizes of the two models, by which objectives build their learned maps.

    Args:
        student_width: D of the student.
        student_embedding: E of the student's cell embedding.
        student_layers: Blocks of the student.
        teacher_width: D of the teacher, ``None`` without a teacher.
        teacher_embedding: E of the teacher's cell embedding, ``None`` without a teacher.
        teacher_layers: Blocks of the teacher, ``None`` without a teacher.
        num_bins: Expression bins, the zero bin included.
        standard_scale_outputs: Whether the heads predict bins scaled to [-1, 1].
    """

    student_width: int
    student_embedding: int
    student_layers: int
    teacher_width: int | None = None
    teacher_embedding: int | None = None
    teacher_layers: int | None = None
    num_bins: int = 51
    standard_scale_outputs: bool = False

    @property
    def has_teacher(self) -> bool:
        """Whether there is a teacher, live or cached."""
        return self.teacher_embedding is not None


class Objective(nn.Module):
    """One term of the loss.

    A subclass sets ``name`` and ``needs``, takes its settings as keyword arguments beside ``shapes``, and returns a
    scalar from ``forward``. Numbers that may be scheduled are :class:`~.schedules.Scheduled` attributes. Learned maps
    are ordinary submodules: trained and checkpointed with the student, and not exported.

    Attributes:
        name: Its name in the YAML.
        needs: What it reads of the batch and of the models' outputs, out of ``NEEDS``.
        needs_teacher: Whether it compares with a teacher.
        column: Key of the batch that it reads beside the usual ones, if any.
        teacher_fingerprint: The only teacher that it may be given; ``None`` for any.
    """

    name: str = ""
    needs: frozenset[str] = frozenset()
    needs_teacher: bool = True
    column: str | None = None
    teacher_fingerprint: str | None = None

    def __init__(self, *, shapes: Shapes):
        super().__init__()
        self.shapes = shapes

    @property
    def teacher_needs(self) -> frozenset[str]:
        """Fields of the teacher's outputs that it reads."""
        return self.needs - {"labels", "masks"} if self.needs_teacher else frozenset()

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        """The unweighted term.

        Args:
            student: The student's outputs; gradients flow here.
            teacher: The teacher's outputs, ``None`` without a teacher; never gets a gradient.
            batch: The batch as collated.

        Returns:
            Scalar in float32, lower is better; a zero that is connected to the graph where nothing can be compared.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(student, teacher, batch)")

    def student_output(self, outputs: Outputs, field: str) -> Tensor:
        """Field of the student's outputs, in float32.

        Raises:
            ValueError: When the student's outputs lack it.
        """
        return self._output(outputs, field, "student").float()

    def teacher_output(self, outputs: Outputs | None, field: str) -> Tensor:
        """Field of the teacher's outputs, detached, in float32.

        Raises:
            ValueError: When there is no teacher, or its outputs lack the field.
        """
        return self._output(outputs, field, "teacher").detach().float()

    def _output(self, outputs: Outputs | None, field: str, who: str) -> Any:
        value = None if outputs is None else getattr(outputs, field)
        if value is None:
            raise ValueError(
                f"objective {self.name!r} needs {field!r} of the {who}, which was not given; have the {who} return it "
                f"(this objective needs {', '.join(sorted(self.needs))}) or remove the objective"
            )
        return value


class LearnedMap(nn.Linear):
    """Linear map from a student's width to its teacher's: the identity at first where they agree.

    Runs in the precision of its weights or of autocast; callers turn the result to float32.
    """

    def reset_parameters(self) -> None:
        if self.in_features != self.out_features:
            return super().reset_parameters()
        nn.init.eye_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, student width) -> (…, teacher width)."""
        return super().forward(x.to(self.weight.dtype))


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask`` is True; zero, with a gradient of zero, where it is True nowhere.

    Args:
        values: Any shape.
        mask: Boolean of the same shape.
    """
    kept = torch.where(mask, values, torch.zeros_like(values))
    return kept.sum() / mask.sum().clamp(min=1)


def mean_or_zero(values: Tensor) -> Tensor:
    """Mean of ``values``; a zero connected to the graph when there are none (``mean`` would say NaN)."""
    return values.sum() / max(values.numel(), 1)


def one_of(value: object, choices: Iterable[str], name: str) -> str:
    """``value`` if it is one of ``choices``.

    Raises:
        ValueError: Otherwise.
    """
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; found {value!r}")
    return value


def true_or_false(value: object, name: str) -> bool:
    """``value`` if it is ``true`` or ``false``.

    Raises:
        ValueError: Otherwise.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false; found {value!r}")
    return value
