"""Decode the pickled tensors of Tahoe's own shards without running anything that a pickle names.

A pickle names callables and has them called. Here only the few names that a torch tensor or a NumPy array needs
resolve, each to a function of this file that checks what it is given; any other name is refused by name.
"""

import io
import math
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MAX_BYTES = 1 << 28
_STORAGES = (torch.UntypedStorage, torch.storage.TypedStorage)
_NUMBER_KINDS = "biuf"


class UnsafePickleError(ValueError):
    """A pickle that holds anything but a tensor, an array or a plain number or string, or that is damaged."""


def safe_loads(data: bytes) -> Tensor | np.ndarray | np.generic | int | float | bool | str:
    """Decode one pickled value.

    Args:
        data: The pickle.

    Returns:
        A ``torch.Tensor``, ``numpy.ndarray``, NumPy scalar, ``int``, ``float``, ``bool`` or ``str``.

    Raises:
        UnsafePickleError: For anything else, by name, and for damaged bytes.
    """
    if len(data) > _MAX_BYTES:
        raise UnsafePickleError(f"a pickled value of {len(data)} bytes; at most {_MAX_BYTES} are read")
    try:
        value = _Unpickler(io.BytesIO(data)).load()
    except UnsafePickleError:
        raise
    # A damaged pickle can raise nearly anything; what matters is that it is refused, with its reason.
    except Exception as error:
        raise UnsafePickleError(f"a damaged pickle ({type(error).__name__}: {error})") from error
    value = value.array if isinstance(value, _PendingArray) else value
    if type(value) in (torch.Tensor, np.ndarray, int, float, bool, str) or isinstance(value, (np.number, np.bool_)):
        return value
    raise UnsafePickleError(f"a pickled {type(value).__name__}; only tensors, arrays, numbers and strings are read")


def _open_storage(data: object) -> Any:
    """Stand-in for ``torch.storage._load_from_bytes``, which would unpickle this inner blob without any check."""
    if not isinstance(data, bytes):
        raise UnsafePickleError("a tensor storage that is not bytes")
    storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if not isinstance(storage, _STORAGES):
        raise UnsafePickleError(f"a tensor storage that holds a {type(storage).__name__}")
    return storage


def _build_tensor(
    storage: Any,
    offset: int,
    size: Sequence[int],
    stride: Sequence[int],
    requires_grad: bool = False,
    hooks: object = None,
    metadata: object = None,
) -> Tensor:
    """Stand-in for ``torch._utils._rebuild_tensor_v2`` that keeps the tensor inside its storage."""
    if not isinstance(storage, _STORAGES) or hooks or metadata:
        raise UnsafePickleError("a tensor with hooks, metadata or no storage")
    if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in (offset, *size, *stride)):
        raise UnsafePickleError(f"a tensor of size {size} and stride {stride}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if math.prod(size) else offset - 1
    # A typed storage warns of its deprecation when asked in public.
    held = storage._size() if isinstance(storage, torch.storage.TypedStorage) else storage.size()
    if last >= held:
        raise UnsafePickleError(f"a tensor of size {size} on a storage of {held} elements")
    return torch._utils._rebuild_tensor(storage, offset, tuple(size), tuple(stride))


class _PendingArray:
    """Receives the state that a pickled ``ndarray`` sets, and builds the array from its raw bytes."""

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, np.dtype) or not isinstance(raw, bytes):
            raise UnsafePickleError("an array of Python objects")
        self.array = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C").copy()


def _start_array(cls: object, shape: object, typecode: object) -> _PendingArray:
    if cls is not np.ndarray:
        raise UnsafePickleError("a subclass of ndarray")
    return _PendingArray()


def _number_dtype(name: object, *_: object) -> np.dtype:
    dtype = np.dtype(name) if isinstance(name, str) else None
    if dtype is None or dtype.kind not in _NUMBER_KINDS:
        raise UnsafePickleError(f"an array of type {name}")
    return dtype


def _array_from_buffer(buffer: Any, dtype: np.dtype, shape: tuple[int, ...], order: Any) -> np.ndarray:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


def _scalar(dtype: np.dtype, raw: bytes) -> np.generic:
    return np.frombuffer(raw, dtype)[0]


def _latin1_bytes(text: str, codec: object) -> bytes:
    if codec != "latin1":
        raise UnsafePickleError(f"text in {codec}")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


def _no_hooks() -> dict:
    return {}


_ALLOWED = {
    ("builtins", "bytes"): _empty_bytes,
    ("__builtin__", "bytes"): _empty_bytes,
    ("_codecs", "encode"): _latin1_bytes,
    ("collections", "OrderedDict"): _no_hooks,
    ("torch._utils", "_rebuild_tensor_v2"): _build_tensor,
    ("torch.storage", "_load_from_bytes"): _open_storage,
    ("numpy", "dtype"): _number_dtype,
    ("numpy", "ndarray"): np.ndarray,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _start_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array_from_buffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise UnsafePickleError(f"a pickle that asks for {module}.{name}, which is neither tensor nor array")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: object) -> Any:
        raise UnsafePickleError("a pickle that refers to objects outside itself")
