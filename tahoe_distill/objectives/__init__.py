"""The terms of the distillation loss: one a file, chosen and weighted under ``model.objectives`` in the YAML."""

from .base import Answers, LearnedMap, Objective, Shapes
from .classification import Classification
from .cosine import Cosine
from .expression import Expression
from .gene import Gene
from .hidden import Hidden
from .kl import KullbackLeibler
from .mse import MeanSquaredError
from .objective_set import ObjectiveSet
from .registry import build_objectives, find_objective, objective_names, register_objective
from .relational import Relational
from .schedules import Schedule, Scheduled, parse_schedule, stage_table

__all__ = [
    "Answers",
    "Classification",
    "Cosine",
    "Expression",
    "Gene",
    "Hidden",
    "KullbackLeibler",
    "LearnedMap",
    "MeanSquaredError",
    "Objective",
    "ObjectiveSet",
    "Relational",
    "Schedule",
    "Scheduled",
    "Shapes",
    "build_objectives",
    "find_objective",
    "objective_names",
    "parse_schedule",
    "register_objective",
    "stage_table",
]
