"""What the objectives on cell embeddings share: centring, and the same comparison at several sizes of the vectors."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.objectives.base import LearnedMap, Objective, Outputs, Shapes
from tahoe_distill.objectives.centering import TeacherCenter


class EmbeddingObjective(Objective):
    """Compares cell embeddings, at their own size and at smaller ones nested in it.

    A subclass defines :meth:`compare`. With ``matryoshka`` the term is the mean over the whole vectors and each size of
    its value for the student's first so many coordinates (Kusupati et al., https://arxiv.org/abs/2205.13147).

    Where coordinates are compared and the widths differ, the student's vectors pass through a learned linear map into
    the teacher's space, which is trained and checkpointed and not exported; smaller sizes through the same map, the
    coordinates left out being zero.

    Args:
        shapes: Sizes of the models.
        center: Subtract the teacher's running mean from both first.
        center_momentum: Weight of a new batch in that mean; ``None`` for the mean of all cells so far.
        matryoshka: Sizes below the whole one at which the student's vectors are to be of use too; ``None`` for none.

    Attributes:
        any_width: Whether vectors of any two widths are compared as they are. Then, and behind a map, the teacher's
            stay whole at each size; otherwise they are cut as the student's are.
        map: The learned map, ``None`` where none is needed.

    Raises:
        ValueError: When the widths differ and vectors are compared as they are, but centred, or a size is none.
    """

    needs = frozenset({"cell"})
    any_width = False

    def __init__(
        self,
        *,
        shapes: Shapes,
        center: bool = False,
        center_momentum: float | None = None,
        matryoshka: Sequence[int] | None = None,
    ):
        super().__init__(shapes=shapes)
        self.map = self._map(center)
        width = shapes.student_embedding if shapes.teacher_embedding is None else shapes.teacher_embedding
        self.center = TeacherCenter(width, center_momentum) if center else None
        self.sizes = _check_sizes(matryoshka, shapes.student_embedding)

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The term for vectors of one size: (C, n) of the student, and (C, n) or (C, E) of its teacher -> scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define compare(student, teacher)")

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        return self.at_each_size(self.compare, *self.embeddings(student, teacher))

    def embeddings(self, student: Outputs, teacher: Outputs | None) -> tuple[Tensor, Tensor]:
        """Cell embeddings of both models, (C, E) each in float32, centred where that is wanted.

        Behind a map the student's are (1 + n, C, E): mapped whole, and at each of n smaller sizes.
        """
        s, t = self.student_output(student, "cell"), self.teacher_output(teacher, "cell")
        if self.map is not None:
            width = s.shape[-1]
            s = torch.stack([F.pad(s[:, :size], (0, width - size)) for size in (width, *self.sizes)])
            s = self.map(s).float()
        return (s, t) if self.center is None else self.center(s, t)

    def at_each_size(self, compare: Callable[[Tensor, Tensor], Tensor], s: Tensor, t: Tensor) -> Tensor:
        """The mean of ``compare`` over the whole vectors and each of ``matryoshka``."""
        if self.map is not None:
            return torch.stack([compare(mapped, t) for mapped in s]).mean()
        whole = compare(s, t)
        if not self.sizes:
            return whole
        parts = [compare(s[:, :size], t if self.any_width else t[:, :size]) for size in self.sizes]
        return torch.stack([whole, *parts]).mean()

    def _map(self, center: bool) -> LearnedMap | None:
        student, teacher = self.shapes.student_embedding, self.shapes.teacher_embedding
        if teacher is None or student == teacher:
            return None
        if not self.any_width:
            return LearnedMap(student, teacher)
        if center:
            raise ValueError(
                f"center subtracts the teacher's mean from both models, and the cell embeddings have {student} "
                f"(student) and {teacher} (teacher) coordinates: leave it out, since {self.name} compares each model's "
                f"cells among themselves, or give the student projection_dim: {teacher}"
            )
        return None


def similarities(a: Tensor, b: Tensor) -> Tensor:
    """(C, E) twice -> (C, C) cosines of each of ``a`` with each of ``b``, in float32."""
    # Autocast would round them to bfloat16, where neighbours tie.
    with torch.autocast(a.device.type, enabled=False):
        return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T


def _check_sizes(matryoshka: Sequence[int] | None, width: int) -> list[int]:
    sizes = [] if matryoshka is None else list(matryoshka) if isinstance(matryoshka, Sequence) else [matryoshka]
    if any(type(size) is not int or not 0 < size <= width for size in sizes) or len(set(sizes)) != len(sizes):
        raise ValueError(
            f"matryoshka must be sizes of the student's embedding, each once, in 1 … {width}; found {matryoshka!r}"
        )
    # The whole size is always one.
    return [size for size in sizes if size != width]
