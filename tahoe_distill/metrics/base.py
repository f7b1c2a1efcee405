"""How metrics add up over batches and processes, and the metric of a loss term.

Shapes: C cells, E width of a cell embedding.
"""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class RunningMean(Metric):
    """Base of the metrics that are a mean: a sum in float32 per update, and a count.

    Attributes:
        count: Values taken in so far.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("total", default=torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, values: Tensor) -> None:
        """Take values of any shape into the mean."""
        self.total += values.detach().float().sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        """The mean; 0.0 when nothing was seen."""
        return self.total / self.count.clamp(min=1)


class LossTerm(RunningMean):
    """Mean over cells of one term of the loss.

    Args:
        term: Name of the term, ``total`` for the weighted sum.
    """

    higher_is_better = False
    reads = "terms"

    def __init__(self, term: str, **kwargs):
        super().__init__(**kwargs)
        self.term = term

    def update(self, terms: dict[str, Tensor], cells: int) -> None:
        """Take a batch's terms, each a mean over its ``cells`` cells."""
        self.total += terms[self.term].detach() * cells
        self.count += cells


class EmbeddingPairs(Metric):
    """Base of the metrics of all cells together: keeps the embeddings of both models.

    Memory: 8 bytes a cell and dimension; ``compute_on_cpu=True`` keeps them off the accelerator.
    Every process must see at least one batch before a distributed ``compute``.

    Args:
        max_cells: Keep at most so many cells on each process, evenly spaced over all it saw: every second one, every
            fourth one and so on. All of them when left out. Which are kept depends on their order alone, not on how
            they are split into batches.

    Attributes:
        cells: Cells seen so far.

    Raises:
        ValueError: When ``max_cells`` is not positive.
    """

    full_state_update = False
    student: list[Tensor]
    teacher: list[Tensor]
    cells: Tensor

    def __init__(self, max_cells: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if max_cells is not None and max_cells < 1:
            raise ValueError(f"max_cells must be at least 1, found {max_cells}")
        self.max_cells = max_cells
        self.add_state("student", default=[], dist_reduce_fx="cat")
        self.add_state("teacher", default=[], dist_reduce_fx="cat")
        self.add_state("cells", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, student: Tensor, teacher: Tensor) -> None:
        """Take the embeddings (C, Es) and (C, Et) of both models for the same cells."""
        check_cells(student, teacher)
        # Asking for the number waits for the accelerator, so it is asked for only where it counts.
        seen = 0 if self.max_cells is None else int(self.cells)
        before, step = self._step(seen), self._step(seen + len(student))
        for kept, new in ((self.student, student), (self.teacher, teacher)):
            if step > before and kept:
                kept[:] = [torch.cat(kept)[:: step // before].clone()]
            rows = new.detach().float()[-seen % step :: step]
            # A view would hold on to the whole batch.
            kept.append(rows.clone() if step > 1 else rows)
        self.cells += len(student)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """(C, Es) and (C, Et) of student and teacher, of all updates; (0, 0) each when there were none."""
        if not self.cells:
            return torch.zeros(0, 0, device=self.device), torch.zeros(0, 0, device=self.device)
        student, teacher = dim_zero_cat(self.student), dim_zero_cat(self.teacher)
        # Several processes have kept that many each.
        step = 1 if self.max_cells is None else -(-len(teacher) // self.max_cells)
        return student[::step], teacher[::step]

    def _step(self, cells: int) -> int:
        """The power of two that leaves at most ``max_cells`` of so many cells."""
        step = 1
        while self.max_cells is not None and -(-cells // step) > self.max_cells:
            step *= 2
        return step


def check_cells(student: Tensor, teacher: Tensor) -> None:
    """Refuse embeddings that are not (C, E) each, of the same number of cells.

    Raises:
        ValueError: When they are not.
    """
    if student.dim() != 2 or teacher.dim() != 2 or len(student) != len(teacher):
        raise ValueError(
            f"student and teacher embeddings must both be (cells, width) of the same cells; found "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        )


def check_pair(student: Tensor, teacher: Tensor) -> None:
    """Refuse embeddings that are not (C, E) of the same cells in the same space.

    Raises:
        ValueError: When they are not.
    """
    check_cells(student, teacher)
    if student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher embeddings must lie in the same space, (cells, width) both; found "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        )
