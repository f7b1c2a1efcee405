"""How good a student is: evaluators, baselines and controls, their record, and the report of it all."""

from tahoe_distill.lazy import hand_out

# Name -> module that defines it.
_PUBLIC = {
    "Bench": "tahoe_distill.evaluation.bench",
    "Columns": "tahoe_distill.evaluation.bench",
    "EVALUATORS": "tahoe_distill.evaluation.run",
    "Evaluation": "tahoe_distill.evaluation.run",
    "Evaluator": "tahoe_distill.evaluation.base",
    "NotEvaluable": "tahoe_distill.evaluation.base",
    "Reading": "tahoe_distill.evaluation.subjects",
    "Scores": "tahoe_distill.evaluation.base",
    "Subject": "tahoe_distill.evaluation.subjects",
    "TeacherVectors": "tahoe_distill.evaluation.run",
    "evaluate": "tahoe_distill.evaluation.run",
    "judge": "tahoe_distill.evaluation.verdict",
    "metric_direction": "tahoe_distill.evaluation.run",
    "read_record": "tahoe_distill.evaluation.record",
    "register_evaluator": "tahoe_distill.evaluation.base",
    "to_record": "tahoe_distill.evaluation.record",
    "write_record": "tahoe_distill.evaluation.record",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = hand_out(__name__, _PUBLIC)
