"""How close a student's vectors are to its teacher's."""

import numpy as np


def mean_cosine(student, teacher):
    """Mean cosine similarity of two embeddings of the same cells, (n, e) each.

    All cells of a foundation model share a direction, so this is high for any student; see :func:`centered_cosine`.
    """
    return float(_cosines(np.asarray(student, np.float64), np.asarray(teacher, np.float64)).mean())


def centered_cosine(student, teacher, center=None):
    """Mean cosine after subtracting the teacher's mean embedding from both, (n, e) each.

    Args:
        student: Student's vectors.
        teacher: Teacher's vectors of the same cells.
        center: (e,) what to subtract; the mean of ``teacher`` by default.
    """
    student, teacher = np.asarray(student, np.float64), np.asarray(teacher, np.float64)
    center = teacher.mean(axis=0) if center is None else np.asarray(center, np.float64)
    return float(_cosines(student - center, teacher - center).mean())


def _cosines(a, b):
    if a.shape != b.shape:
        raise ValueError(f"both must hold the same cells in the same space; found {a.shape} and {b.shape}")
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(axis=1), norms, out=np.zeros(len(a)), where=norms > 0)
