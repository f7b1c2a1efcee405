"""The tables of many files as one: which columns there are, of what kind, and each file's rows in that shape."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

# Where a cell came from.
SOURCE_COLUMN, ROW_COLUMN = "tx1_source", "tx1_row"
# Strings that are mostly different are kept as they are, the others as categories.
_MOSTLY = 0.5


class ObsTable:
    """Columns of ``obs`` over all files, gathered one file at a time.

    A column that some files lack is empty there: no category, NaN, or an empty string. Columns of different kinds in
    different files become the kind that holds both.

    Args:
        sources: Paths of the files.
    """

    def __init__(self, sources: Sequence[str]):
        self.sources = list(sources)
        self._kinds: dict[str, set[str]] = {}
        self._values: dict[str, dict[str, None]] = {}
        self._files: dict[str, int] = {}
        self._count = 0

    def see(self, obs: pd.DataFrame) -> None:
        """Take note of one file's table."""
        self._count += 1
        for name in map(str, obs.columns):
            column = obs[name]
            kind = _kind(column)
            self._kinds.setdefault(name, set()).add(kind)
            self._files[name] = self._files.get(name, 0) + 1
            if kind in ("category", "bool"):
                self._values.setdefault(name, {}).update(dict.fromkeys(_categories(column)))

    def kind(self, name: str) -> str:
        """``category``, ``string``, ``bool``, ``int`` or ``float``."""
        kinds, everywhere = self._kinds[name], self._files[name] == self._count
        if kinds == {"bool"}:
            return "bool" if everywhere else "category"
        if kinds <= {"int", "float"}:
            return "int" if kinds == {"int"} and everywhere else "float"
        return "category" if kinds <= {"category", "bool"} else "string"

    def rows(self, obs: pd.DataFrame, source: int, *, start: int) -> pd.DataFrame:
        """Some rows of one file in the shape of all.

        Args:
            obs: The rows.
            source: Number of the file.
            start: Number of the first row in it.
        """
        columns = {name: self._column(name, obs) for name in self._kinds}
        columns[SOURCE_COLUMN] = pd.Categorical.from_codes(np.full(len(obs), source), categories=self.sources)
        columns[ROW_COLUMN] = np.arange(start, start + len(obs), dtype=np.int64)
        index = pd.Index([str(name) for name in obs.index], dtype=object)
        return pd.DataFrame(columns, index=index)

    def _column(self, name: str, obs: pd.DataFrame) -> Any:
        kind = self.kind(name)
        if name not in obs.columns:
            missing: Any = {"category": None, "string": "", "float": np.nan}[kind]
            values = pd.Series([missing] * len(obs), dtype=np.float64 if kind == "float" else object)
        else:
            values = obs[name].reset_index(drop=True)
        if kind == "category":
            return pd.Categorical(_text(values), categories=sorted(self._values[name]))
        if kind == "string":
            return _text(values).fillna("").to_numpy(dtype=object)
        dtypes: dict[str, Any] = {"bool": bool, "int": np.int64, "float": np.float64}
        return values.to_numpy(dtype=dtypes[kind])


def _kind(column: pd.Series) -> str:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_bool_dtype(column.dtype):
        return "category" if column.isna().any() else "bool"
    if pd.api.types.is_integer_dtype(column.dtype):
        return "float" if column.isna().any() else "int"
    if pd.api.types.is_float_dtype(column.dtype):
        return "float"
    return "string" if column.nunique() > _MOSTLY * len(column) else "category"


def _text(values: pd.Series) -> pd.Series:
    """Values as strings, missing ones as ``None``."""
    return values.astype(object).where(values.notna(), None).map(str, na_action="ignore")


def _categories(column: pd.Series) -> list[str]:
    there = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column.dropna().unique()
    return [str(value) for value in there]
