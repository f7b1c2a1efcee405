"""The terms of the distillation loss: one a file, chosen and weighted under ``model.objectives`` in the YAML."""

from tahoe_distill.objectives.base import LearnedMap, Objective, Outputs, Shapes
from tahoe_distill.objectives.classification import Classification
from tahoe_distill.objectives.contrastive import Contrastive
from tahoe_distill.objectives.cosine import Cosine
from tahoe_distill.objectives.embedding import EmbeddingObjective
from tahoe_distill.objectives.expression import Expression
from tahoe_distill.objectives.gene import Gene
from tahoe_distill.objectives.hidden import Hidden
from tahoe_distill.objectives.kl import KullbackLeibler
from tahoe_distill.objectives.mse import MeanSquaredError
from tahoe_distill.objectives.rank import Rank
from tahoe_distill.objectives.registry import build_objectives, find_objective, objective_names, register_objective
from tahoe_distill.objectives.relational import Relational
from tahoe_distill.objectives.schedules import Schedule, Scheduled, parse_schedule, stage_table
from tahoe_distill.objectives.similarity import SimilarityMSE
from tahoe_distill.objectives.weighted import ObjectiveSet

__all__ = [
    "Outputs",
    "Classification",
    "Contrastive",
    "Cosine",
    "EmbeddingObjective",
    "Expression",
    "Gene",
    "Hidden",
    "KullbackLeibler",
    "LearnedMap",
    "MeanSquaredError",
    "Objective",
    "ObjectiveSet",
    "Rank",
    "Relational",
    "Schedule",
    "Scheduled",
    "Shapes",
    "SimilarityMSE",
    "build_objectives",
    "find_objective",
    "objective_names",
    "parse_schedule",
    "register_objective",
    "stage_table",
]
