"""The terms of the distillation loss: one a file, chosen and weighted under ``model.objectives`` in the YAML."""

from tahoe_distill.objectives.base import LearnedMap, Objective, ObjectiveSet, Outputs, Shapes
from tahoe_distill.objectives.classification import Classification
from tahoe_distill.objectives.cosine import Cosine
from tahoe_distill.objectives.expression import Expression
from tahoe_distill.objectives.gene import Gene
from tahoe_distill.objectives.hidden import Hidden
from tahoe_distill.objectives.kl import KullbackLeibler
from tahoe_distill.objectives.mse import MeanSquaredError
from tahoe_distill.objectives.registry import build_objectives, find_objective, objective_names, register_objective
from tahoe_distill.objectives.relational import Relational
from tahoe_distill.objectives.schedules import Schedule, Scheduled, parse_schedule, stage_table

__all__ = [
    "Outputs",
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
