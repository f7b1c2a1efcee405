"""Cells of a TileDB-SOMA experiment, in a folder or an object store: CELLxGENE's Census and whatever is written alike.

A source is one string, so that it crosses processes and machines as paths do:
``soma://URI?measurement=…&obs_filter=…``.
"""

import ast
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import numpy as np
import pandas as pd
from scipy import sparse

from tahoe_distill.cells import stores
from tahoe_distill.cells.base import Cells
from tahoe_distill.lazy import needed
from tahoe_distill.naming import check_keys, unknown

SCHEME = "soma://"
JOINID = "soma_joinid"
MEASUREMENT, LAYER = "RNA", "raw"
_SCHEMES = (SCHEME, "s3://")
# What TileDB puts into a folder of a group or an array.
_MARKS = ("__tiledb_group.tdb", "__group", "__schema")
# Columns that name rows, where a table has one of them.
_NAMES = {"obs": ("obs_id",), "var": ("var_id", "feature_id")}
# Rows looked at in each of three places to tell what a matrix holds, and read at a time when all are.
_SAMPLE_ROWS, _STEP_ROWS = 32, 1024
# What TileDB hands over at a time, a column; its own 1 GB would be set aside whatever is asked.
_BUFFER = 1 << 26


@dataclass(frozen=True)
class Address:
    """Where an experiment is, and which of its cells are meant.

    Args:
        uri: Path or URI of the experiment.
        measurement: Name in ``ms``.
        obs_filter: Condition on columns of ``obs``, in Python's notation; ``None`` for all cells.
    """

    uri: str
    measurement: str = MEASUREMENT
    obs_filter: str | None = None

    @classmethod
    def read(cls, source: object) -> "Address":
        """Take a source apart.

        Raises:
            ValueError: When something stands behind the ``?`` that means nothing.
        """
        text = os.fspath(source)  # type: ignore[call-overload]
        if not text.startswith(SCHEME):
            return cls(text)
        uri, _, query = text.removeprefix(SCHEME).partition("?")
        chosen = dict(parse_qsl(query))
        check_keys(chosen, ("measurement", "obs_filter"), text)
        return cls(unquote(uri), **chosen)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder."""
        return "://" not in self.uri

    def __str__(self) -> str:
        chosen = {"obs_filter": self.obs_filter} if self.obs_filter else {}
        uri = os.path.abspath(self.uri) if self.is_local else self.uri.rstrip("/")
        return f"{SCHEME}{quote(uri, safe='/:')}?{urlencode({'measurement': self.measurement, **chosen})}"


def soma_address(uri: str | os.PathLike[str], *, measurement: str | None = None, obs_filter: str | None = None) -> str:
    """A SOMA experiment, and which of its cells, as one string that every reader takes.

    Args:
        uri: Folder or URI of the experiment (``s3://…``), with or without ``soma://``.
        measurement: Name of the measurement; ``RNA`` when left out.
        obs_filter: Condition on columns of ``obs``, such as ``'tissue == "lung" and is_primary_data'``.

    Raises:
        ValueError: When it is no SOMA.
    """
    if not recognises(uri):
        raise ValueError(
            f"{uri}: measurement and obs_filter (--measurement, --obs-filter) are for SOMA experiments; expected a "
            "folder of one, soma://… or s3://…"
        )
    found = Address.read(uri)
    return str(Address(found.uri, measurement or found.measurement, obs_filter or found.obs_filter))


def recognises(source: object) -> bool:
    """Whether a source is a SOMA's URI or a folder that TileDB wrote."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    text = os.fspath(source)
    return text.startswith(_SCHEMES) or (os.path.isdir(text) and any(Path(text, mark).exists() for mark in _MARKS))


def whole_address(source: object) -> str:
    """A source in full, wherever the process stands that reads it."""
    return str(Address.read(source))


def identity(source: object) -> str:
    """16 hex digits that tell a changed experiment from the one that was read; empty where there is none.

    Of a folder the names, sizes and times of all files; elsewhere, where a list costs, the numbers of cells and values.
    """
    address = Address.read(source)
    if address.is_local:
        return stores.identity(address.uri) if os.path.exists(address.uri) else ""
    with _reading(address.uri), _experiment(address) as experiment:
        sizes = [experiment.obs.count]
        if address.measurement in experiment.ms:
            layers = experiment.ms[address.measurement].X
            sizes += [(name, layers[name].shape, layers[name].nnz) for name in sorted(layers)]
    return hashlib.sha256(repr(sizes).encode()).hexdigest()[:16]


def experiment_rows(source: object) -> int:
    """Rows that the ``obs`` of an experiment has room for, whatever the filter."""
    address = Address.read(source)
    with _reading(address.uri), _experiment(address) as experiment:
        return int(experiment.obs.domain[0][1]) + 1


def settings() -> dict[str, Any]:
    """TileDB's settings for the object store that the usual variables of the environment name.

    ``AWS_ENDPOINT_URL_S3``, ``AWS_ENDPOINT_URL`` or ``S3_ENDPOINT_URL`` name another store than Amazon's,
    ``AWS_REGION`` or ``AWS_DEFAULT_REGION`` its region. Without credentials in variables or a file requests are not
    signed. TileDB's own variables, such as ``TILEDB_VFS_S3_NO_SIGN_REQUEST``, have the last word.
    """
    found: dict[str, Any] = {"soma.init_buffer_bytes": _BUFFER}
    endpoint = _first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT_URL")
    if endpoint is not None:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        found |= {"vfs.s3.endpoint_override": parts.netloc, "vfs.s3.scheme": parts.scheme}
        found["vfs.s3.use_virtual_addressing"] = "false"
    region = _first("AWS_REGION", "AWS_DEFAULT_REGION")
    if region is not None:
        found["vfs.s3.region"] = region
    if not _has_credentials():
        found["vfs.s3.no_sign_request"] = "true"
    own = {name: f"TILEDB_{name.replace('.', '_').upper()}" for name in found}
    return {name: value for name, value in found.items() if own[name] not in os.environ}


class SomaCells(Cells):
    """Cells of a SOMA experiment; no more than the asked rows of the matrix are in memory, and a number for each cell.

    Args:
        source: A folder, ``s3://…``, or what :func:`soma_address` gives.
        layer: Layer of ``X``; ``raw`` when left out.
        turned: Of no use here; every reader takes it.

    Raises:
        ValueError: When it is no experiment, or lacks the measurement, the layer or a column, or no cell is meant.
        OSError: When it cannot be reached.
        ImportError: Without tiledbsoma.
    """

    def __init__(self, source: str | os.PathLike[str], layer: str | None = None, turned: Path | None = None):
        self.address = Address.read(source)
        self.where = self.address.uri
        with _reading(self.where):
            self._experiment = _opened(self.address)
        try:
            with _reading(self.where):
                self._open(layer or LAYER)
        except BaseException:
            self._experiment.close()
            raise

    def _open(self, layer: str) -> None:
        experiment, address = self._experiment, self.address
        measurement = _member(experiment.ms, address.measurement, f"{self.where}: ", "measurement")
        array = _member(measurement.X, layer, f"{self.where}: ", f"layer of {address.measurement}")
        if array.soma_type != "SOMASparseNDArray":
            raise ValueError(f"{self.where}: layer {layer!r} is a {array.soma_type}; expected a sparse array of counts")
        self._condition = None if address.obs_filter is None else _condition(address.obs_filter, experiment.obs)
        self.joinids = self._found()
        self._var = _table(measurement.var, "var")
        self.matrix = SomaMatrix(array, self.joinids, self._var.pop(JOINID).to_numpy(), where=self.where)

    def _found(self) -> np.ndarray:
        """(n,) ascending numbers of the cells that are meant."""
        joinids = np.sort(self._read_obs([JOINID])[JOINID].to_numpy())
        if not len(joinids):
            told = f"no cell fits {self.address.obs_filter!r}" if self.address.obs_filter else "there is no cell"
            raise ValueError(f"{self.where}: {told}, of {self._experiment.obs.count:,}; change --obs-filter")
        return joinids

    def _read_obs(self, columns: list[str] | None = None) -> pd.DataFrame:
        try:
            return _table(self._experiment.obs, "obs", columns, value_filter=self._condition)
        except needed("tiledbsoma", "soma").SOMAError as error:
            if self._condition is None:
                raise
            raise ValueError(
                f"{self.where}: obs cannot be filtered by {self.address.obs_filter!r} "
                f"({str(error).splitlines()[0]}); expected columns compared with values of their kind, such as "
                "'tissue == \"lung\" and is_primary_data'"
            ) from error

    @property
    def var(self) -> pd.DataFrame:
        """Table of the genes."""
        return self._var

    @cached_property
    def obs(self) -> pd.DataFrame:
        """Table of the cells that are meant, with their ``soma_joinid``."""
        with _reading(self.where):
            return self._read_obs()

    def obs_column(self, name: str) -> pd.Series:
        """A column of ``obs`` without its index; the other columns stay unread."""
        columns = self._experiment.obs.keys()
        if name not in columns:
            raise ValueError(f"{self.where}: {unknown('column of obs', name, columns)}")
        with _reading(self.where):
            return pd.Series(self._read_obs([name] if name == JOINID else [JOINID, name])[name].array)

    def close(self) -> None:
        """Close the experiment."""
        super().close()
        self._experiment.close()


class SomaMatrix:
    """Rows of a sparse array, by their numbers.

    Args:
        array: The open array, cells by genes.
        rows: (n,) ascending ``soma_joinid`` of the cells.
        columns: (g,) ascending ``soma_joinid`` of the genes.
        where: What it is, for messages.
    """

    storage = "soma"

    def __init__(self, array: Any, rows: np.ndarray, columns: np.ndarray, *, where: str):
        self._array, self._rows, self._columns, self.where = array, rows, columns, where
        self.shape = (len(rows), len(columns))

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows ``start`` to ``stop - 1``, canonical CSR (n, genes).

        Raises:
            ValueError: When a value belongs to no gene.
            OSError: When it cannot be read.
        """
        wanted = self._rows[start:stop]
        shape = (len(wanted), self.shape[1])
        if not len(wanted):
            return sparse.csr_matrix(shape, dtype=np.float32)
        # Neighbours are read as a range, which costs less than one by one.
        are_neighbours = wanted[-1] - wanted[0] == len(wanted) - 1
        coordinates = slice(int(wanted[0]), int(wanted[-1])) if are_neighbours else wanted
        with _reading(self.where):
            found = self._array.read((coordinates,)).tables().concat()
        cells, genes, values = (found.column(place).to_numpy() for place in range(3))
        places = np.searchsorted(self._columns, genes)
        if not np.array_equal(self._columns[np.minimum(places, shape[1] - 1)], genes):
            raise ValueError(f"{self.where}: cells {start} to {stop} have values of genes that var does not name")
        coo = sparse.coo_matrix((values, (np.searchsorted(wanted, cells), places)), shape=shape)
        return coo.tocsr()

    def values(self) -> Iterator[np.ndarray]:
        """All stored values, in pieces."""
        for start in range(0, self.shape[0], _STEP_ROWS):
            yield self.rows(start, min(start + _STEP_ROWS, self.shape[0])).data

    def sample(self) -> np.ndarray:
        """Some of the values that are not zero, from start, middle and end."""
        values = np.concatenate([rows.data for rows in self._looked_at])
        return values[values != 0]

    def width(self) -> int:
        """Values of a row, on average of some."""
        stored = sum(rows.nnz for rows in self._looked_at)
        return max(stored // sum(rows.shape[0] for rows in self._looked_at), 1)

    @cached_property
    def _looked_at(self) -> list[sparse.csr_matrix]:
        count = self.shape[0]
        starts = sorted({0, max(count // 2 - _SAMPLE_ROWS // 2, 0), max(count - _SAMPLE_ROWS, 0)})
        return [self.rows(start, min(start + _SAMPLE_ROWS, count)) for start in starts]

    def close(self) -> None:
        """The experiment is closed as a whole."""


def _opened(address: Address) -> Any:
    soma = needed("tiledbsoma", "soma")
    context = soma.SOMATileDBContext(tiledb_config=settings())
    try:
        found = soma.open(address.uri, context=context)
    except soma.DoesNotExistError as error:
        raise ValueError(
            f"{address.uri}: no such SOMA; expected the folder or URI of an experiment, of CELLxGENE's Census that of "
            "a species (…/soma/census_data/homo_sapiens)"
        ) from error
    if found.soma_type != "SOMAExperiment":
        kind, names = found.soma_type, ", ".join(found) if isinstance(found, Mapping) else ""
        found.close()
        raise ValueError(
            f"{address.uri}: is a {kind}{f' of {names}' if names else ''}; expected a SOMAExperiment, of CELLxGENE's "
            "Census that of a species (…/soma/census_data/homo_sapiens)"
        )
    return found


@contextmanager
def _experiment(address: Address) -> Iterator[Any]:
    found = _opened(address)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Tell what TileDB says as something that could not be read."""
    soma = needed("tiledbsoma", "soma")
    try:
        yield
    except (soma.SOMAError, RuntimeError) as error:
        raise OSError(
            f"{where} cannot be read ({str(error).splitlines()[0]}); look at the network, at AWS_DEFAULT_REGION and "
            "AWS_ENDPOINT_URL, and at the credentials of a store that is not public; a folder may be damaged"
        ) from error


def _member(collection: Any, name: str, where: str, what: str) -> Any:
    if name not in collection:
        raise ValueError(f"{where}{unknown(what, name, collection)}")
    return collection[name]


def _table(frame: Any, kind: str, columns: list[str] | None = None, **chosen: Any) -> pd.DataFrame:
    """A table in the order of its numbers, named by what names its rows."""
    table = frame.read(column_names=columns, **chosen).concat().to_pandas().sort_values(JOINID, ignore_index=True)
    named = [name for name in _NAMES[kind] if name in table]
    table.index = pd.Index(table[named[0] if named else JOINID].astype(str).to_numpy(dtype=object))
    return table


def _condition(text: str, obs: Any) -> str:
    """A filter as TileDB takes it, where a column alone is no condition.

    Raises:
        ValueError: When it is none, or names a column that is not there.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise ValueError(
            f"obs_filter (--obs-filter) {text!r} cannot be read ({error.msg}); expected something like "
            "'tissue == \"lung\" and is_primary_data'"
        ) from error
    columns = set(obs.keys())
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and id(node) not in called and node.id not in columns:
            raise ValueError(f"obs_filter (--obs-filter) {text!r}: {unknown('column of obs', node.id, columns)}")
    return ast.unparse(_spelt_out(tree.body))


def _spelt_out(node: ast.expr) -> ast.expr:
    """A condition in which a column that stands alone is compared with ``True``."""
    if isinstance(node, ast.BoolOp):
        return ast.BoolOp(node.op, [_spelt_out(part) for part in node.values])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ast.UnaryOp(node.op, _spelt_out(node.operand))
    if isinstance(node, ast.BinOp):
        return ast.BinOp(_spelt_out(node.left), node.op, _spelt_out(node.right))
    if isinstance(node, ast.Name):
        return ast.Compare(node, [ast.Eq()], [ast.Constant(True)])
    return node


def _first(*names: str) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _has_credentials() -> bool:
    """Whether variables or a file name somebody."""
    named = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
    file = os.environ.get("AWS_SHARED_CREDENTIALS_FILE", os.path.expanduser("~/.aws/credentials"))
    return _first(*named) is not None or os.path.exists(file)
