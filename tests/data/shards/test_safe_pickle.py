"""Pickles: tensors and arrays come out equal, anything else is refused and never run."""

import io
import pickle

import numpy as np
import pytest
import torch

from tahoe_distill.data.shards.safe_pickle import UnsafePickleError, safe_loads
from tests.helpers.pickles import RunsCode

VALUES = [
    torch.arange(7),
    torch.rand(3, 4),
    torch.rand(4, 6).t(),
    torch.arange(20)[3:9],
    torch.zeros(0),
    torch.tensor(3),
    torch.tensor([True, False]),
    torch.rand(3).bfloat16(),
    np.arange(5),
    np.random.rand(2, 3).astype(np.float32),
    np.asfortranarray(np.random.rand(2, 3)),
    np.zeros((0, 2)),
    np.float32(1.5),
    3,
    2.5,
    "DMSO",
]
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_round_trip(value, protocol):
    found = safe_loads(pickle.dumps(value, protocol=protocol))
    assert type(found) is type(value)
    if isinstance(value, (torch.Tensor, np.ndarray)):
        assert found.dtype == value.dtype and found.shape == value.shape
    assert bool(torch.equal(found, value) if isinstance(value, torch.Tensor) else np.array_equal(found, value))


class RunsInStorage(RunsCode):
    """Hides the same in the blob that a tensor's storage is pickled as."""

    def __reduce__(self):
        buffer = io.BytesIO()
        torch.save(RunsCode(self.path), buffer, _use_new_zipfile_serialization=False)
        return torch.storage._load_from_bytes, (buffer.getvalue(),)


class OutgrowsStorage:
    def __reduce__(self):
        storage = torch.zeros(2).storage()
        return torch._utils._rebuild_tensor_v2, (storage, 0, (1 << 40,), (1,), False, {})


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", [RunsCode, RunsInStorage])
def test_code_is_refused_and_not_run(kind, protocol, tmp_path):
    mark = tmp_path / "ran"
    blob = pickle.dumps(kind(mark), protocol=protocol)
    with pytest.raises(UnsafePickleError):
        safe_loads(blob)
    assert not mark.exists()


def test_refusal_names_what_was_asked_for(tmp_path):
    with pytest.raises(UnsafePickleError, match=r"system"):
        safe_loads(pickle.dumps(RunsCode(tmp_path / "ran")))


@pytest.mark.parametrize(
    "value",
    [{"a": 1}, [torch.zeros(1)], eval, np.array([1, None], dtype=object), np.zeros(1, "M8[s]"), torch.nn.Linear(1, 1)],
    ids=["dict", "list", "eval", "objects", "dates", "module"],
)
def test_other_values_are_refused(value):
    with pytest.raises(UnsafePickleError):
        safe_loads(pickle.dumps(value))


def test_tensor_may_not_outgrow_its_storage():
    with pytest.raises(UnsafePickleError, match="storage of 2 elements"):
        safe_loads(pickle.dumps(OutgrowsStorage()))


@pytest.mark.parametrize("blob", [b"", b"\x80", pickle.dumps(torch.zeros(3))[:-9], bytes(range(64))])
def test_damage_is_refused(blob):
    with pytest.raises(UnsafePickleError, match="damaged"):
        safe_loads(blob)
