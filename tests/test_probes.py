"""The files of a probe: what is written is read back, and what is damaged is refused."""

import json

import numpy as np
import pytest

from tahoe_distill.probes import PROBE_FILE, Probe, load_probe


@pytest.fixture
def probe():
    rng = np.random.default_rng(0)
    coef, intercept = rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    return Probe(coef, intercept, ("a", "b", "c"), 2.0, "f" * 64, {"column": "kind"})


def test_written_and_read_back(probe, tmp_path):
    probe.save_into(tmp_path)
    found = load_probe(tmp_path)
    assert (found.labels, found.temperature, found.fingerprint) == (probe.labels, 2.0, "f" * 64)
    assert found.record == {"column": "kind"}
    np.testing.assert_array_equal(found.coef, probe.coef)
    np.testing.assert_array_equal(found.intercept, probe.intercept)


def test_probabilities_are_those_of_unit_vectors_at_its_temperature(probe):
    vectors = np.random.default_rng(1).normal(size=(4, 5))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    powers = np.exp((unit @ probe.coef.T + probe.intercept) / 2.0)
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probe.probabilities(vectors), expected, atol=1e-6)
    np.testing.assert_allclose(probe.probabilities(7 * vectors), expected, atol=1e-6)


def test_vectors_of_another_width_or_model_are_refused(probe):
    with pytest.raises(ValueError, match="reads vectors of 5 coordinates, found 4"):
        probe.logits(np.ones((2, 4)))
    with pytest.raises(ValueError, match="fitted on vectors of the model ffffffffffff .*, the student is 0000"):
        probe.require_model("0" * 64, "the student")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 9}, "expected version 1, found 9"),
        ({"id2label": {"0": "a", "2": "b", "3": "c"}}, r"must number the labels from 0, found \[0, 2, 3\]"),
        ({"id2label": {"0": "a", "1": "b"}}, r"needs coef \(2, e\)"),
        ({"temperature": 0.0}, "temperature above 0"),
        ({"fingerprint": None, "id2label": 3}, "damaged or of another version"),
    ],
)
def test_damaged_probes_are_refused(probe, tmp_path, change, message):
    probe.save_into(tmp_path)
    path = tmp_path / PROBE_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        load_probe(tmp_path)


def test_a_folder_without_one_says_how_to_make_one(tmp_path):
    with pytest.raises(ValueError, match="probe.json and probe.safetensors missing; write one with"):
        load_probe(tmp_path)
