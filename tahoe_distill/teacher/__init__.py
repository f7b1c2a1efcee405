"""The teacher: a released Tahoe-x1, loaded strictly and frozen."""

from tahoe_distill.teacher.load import Teacher, check_agreement, load_teacher

__all__ = ["Teacher", "check_agreement", "load_teacher"]
