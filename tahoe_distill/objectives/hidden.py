"""Hidden objective: chosen layers of the student match chosen layers of its teacher."""

from typing import Any

from torch import Tensor, nn

from tahoe_distill.objectives.base import LearnedMap, Objective, Outputs, Shapes, one_of
from tahoe_distill.objectives.matching import DISTANCES, at_positions, match, pool_shared, shared_positions
from tahoe_distill.objectives.registry import register_objective

GRAINS = ("fine", "coarse")


@register_objective
class Hidden(Objective):
    """Mean over layer pairs of the distance of their hidden states, each student layer through its own learned map.

    Args:
        shapes: Sizes of the models.
        layer_map: Pairs ``[student layer, teacher layer]``; 0 is the input of the first block, ``n`` the output of
            block ``n`` (the last one has been through the final LayerNorm).
        grain: ``fine`` compares each position that both models see, ``coarse`` their mean over those of a cell.
        distance: ``mse`` (mean over dimensions) or ``cosine`` (``1 - cos``).

    Raises:
        ValueError: When a layer does not exist, a pair is not a pair, or a choice is unknown.

    References:
        Layer maps with a linear map each: TinyBERT, https://arxiv.org/abs/1909.10351.
    """

    name = "hidden"
    needs = frozenset({"hidden"})

    def __init__(self, *, shapes: Shapes, layer_map: object, grain: str = "fine", distance: str = "mse"):
        super().__init__(shapes=shapes)
        self.layer_map = _check_layer_map(layer_map, shapes)
        self.grain = one_of(grain, GRAINS, "grain")
        self.distance = one_of(distance, DISTANCES, "distance")
        self.maps = nn.ModuleList()
        if shapes.has_teacher:
            self.maps.extend(LearnedMap(shapes.student_width, shapes.teacher_width) for _ in self.layer_map)

    @property
    def teacher_needs(self) -> frozenset[str]:
        """Whole hidden states, or their means, which a cache can hold."""
        return frozenset({"hidden" if self.grain == "fine" else "pooled"})

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        student_hidden = self._output(student, "hidden", "student")
        if self.grain == "coarse" and teacher is not None and teacher.pooled is not None:
            return self._coarse_from_cache(student, student_hidden, teacher)
        teacher_hidden = self._output(teacher, "hidden", "teacher")
        index, shared = shared_positions(student, teacher)
        terms = [
            self._pair(learned_map(student_hidden[s]).float(), teacher_hidden[t].detach(), index, shared)
            for learned_map, (s, t) in zip(self.maps, self.layer_map, strict=True)
        ]
        return sum(terms) / len(terms)

    def _coarse_from_cache(self, student: Outputs, student_hidden: tuple[Tensor, ...], teacher: Outputs) -> Tensor:
        """Against means over all positions that the teacher saw; training checks that the student sees the same."""
        seen = student.seen.bool()
        terms = [
            match(
                pool_shared(learned_map(student_hidden[s]).float(), seen),
                teacher.pooled[:, t].detach().float(),
                seen.any(dim=1),
                distance=self.distance,
            )
            for learned_map, (s, t) in zip(self.maps, self.layer_map, strict=True)
        ]
        return sum(terms) / len(terms)

    def _pair(self, s: Tensor, t: Tensor, index: Tensor | None, shared: Tensor) -> Tensor:
        t = at_positions(t, index).float()
        if self.grain == "fine":
            return match(s, t, shared, distance=self.distance)
        s, t = pool_shared(s, shared), pool_shared(t, shared)
        return match(s, t, shared.any(dim=1), distance=self.distance)


def _check_layer_map(layer_map: Any, shapes: Shapes) -> list[tuple[int, int]]:
    try:
        pairs = [tuple(pair) for pair in layer_map]
    except TypeError:
        pairs = []
    if not pairs or any(len(pair) != 2 or not all(type(n) is int for n in pair) for pair in pairs):
        raise ValueError(
            f"layer_map must be pairs [student layer, teacher layer] like [[1, 4], [2, 8]]; found {layer_map}"
        )
    for pair in pairs:
        for who, layer, layers in zip(("student", "teacher"), pair, (shapes.student_layers, shapes.teacher_layers)):
            if layers is not None and not 0 <= layer <= layers:
                raise ValueError(
                    f"layer_map {list(pair)}: the {who} has no layer {layer}; it has {layers} blocks, so 0 … {layers} "
                    "(0 is the input of the first block)"
                )
    return pairs
