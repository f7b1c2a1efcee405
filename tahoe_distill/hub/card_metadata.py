"""The YAML head of a model card: what the hub reads of it, model-index metrics included."""

import re

import yaml

from tahoe_distill.hub.comparison import is_number

# Teachers whose weights are published under the Apache License 2.0; of another teacher the licence is not known here.
_APACHE_TEACHERS = ("tahoebio/", "tx1-nano")


def teacher_source(hyperparameters):
    """The recorded name, hub id or folder of the teacher, or ``None``."""
    teacher = (hyperparameters.get("model") or {}).get("teacher")
    return teacher.get("source") if isinstance(teacher, dict) else teacher


def has_apache_teacher(hyperparameters):
    """Whether the recorded teacher is one whose weights are under the Apache License 2.0."""
    return str(teacher_source(hyperparameters) or "").startswith(_APACHE_TEACHERS)


def metadata(title, hyperparameters, metrics):
    """The card's YAML head, fences included.

    Args:
        title: Name of the model.
        hyperparameters: The run's configuration, as recorded.
        metrics: Metric name to value, as recorded.
    """
    if has_apache_teacher(hyperparameters):
        licence = {"license": "apache-2.0"}
    else:
        licence = {"license": "other", "license_name": "licence-of-the-teacher"}
    head = {
        "library_name": "transformers",
        **licence,
        "pipeline_tag": "feature-extraction",
        "tags": ["single-cell", "biology", "tahoe-x1", "distillation"],
    }
    teacher = str(teacher_source(hyperparameters) or "")
    # Any other relative path with one slash would look like a repository too.
    if re.fullmatch(r"tahoebio/[\w.-]+", teacher):
        head["base_model"] = teacher
    results = _results(metrics)
    if results:
        head["model-index"] = [{"name": title, "results": results}]
    return "---\n" + yaml.safe_dump(head, sort_keys=False, allow_unicode=True) + "---\n"


def _results(metrics):
    """One model-index result per evaluation set: the part of a metric's name before its last slash."""
    groups = {}
    for name, value in sorted(metrics.items()):
        # YAML's .nan and .inf are refused by the hub.
        if is_number(value):
            label, _, metric = name.rpartition("/")
            groups.setdefault(label or "eval", []).append({"type": metric, "name": name, "value": value})
    return [
        {
            "task": {"type": "feature-extraction", "name": "Cell embedding"},
            "dataset": {"type": re.sub(r"[^\w.-]+", "-", label), "name": label},
            "metrics": found,
        }
        for label, found in groups.items()
    ]
