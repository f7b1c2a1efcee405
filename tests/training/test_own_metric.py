"""The metric of docs/training.md runs as written, and decides which student is the best."""

import json
import re

import pytest

from tahoe_distill.metrics import METRICS, direction
from tests.helpers import REPOSITORY
from tests.helpers.in_process import train

PAGE = REPOSITORY / "docs/training.md"


@pytest.fixture
def config(run_config, tmp_path, monkeypatch):
    """A run that reads the metric of the page from a file, as the page says."""
    monkeypatch.setattr(METRICS, "registered", dict(METRICS.registered))
    page = PAGE.read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "register_metric" in block)
    (tmp_path / "my_metrics.py").write_text(code)
    run_config["callbacks"]["hf_student"] |= {"verify": False, "best": "eval/worst_cosine"}
    return {**run_config, "code_paths": [str(tmp_path / "my_metrics.py")]}


def test_a_metric_of_ones_own_is_reported_and_picks_the_best(tmp_path, config):
    train(config, tmp_path / "run.yaml")
    metrics = json.loads((tmp_path / "hf/metrics.json").read_text())
    assert metrics["eval/worst_cosine"] <= metrics["eval/cosine"]
    best = json.loads((tmp_path / "hf-best/best.json").read_text())
    assert (best["metric"], best["mode"]) == ("eval/worst_cosine", "max")
    assert best["value"] == metrics["eval/worst_cosine"]


def test_every_metric_is_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    assert all(
        f"| `{name}` | {'higher' if direction(name) == 'max' else 'lower'} |" in page for name in METRICS.names()
    )
