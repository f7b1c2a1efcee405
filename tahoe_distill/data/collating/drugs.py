"""Drug names to the numbers that a chemical encoder knows."""

import json
import os

import numpy as np

from tahoe_distill.data.shards.fetch import fetch

NO_DRUG = "<pad>"


class DrugTable:
    """Numbers of drugs.

    Args:
        numbers_by_name: Drug name to number, ``<pad>`` (no or unknown drug) among them.
    """

    def __init__(self, numbers_by_name):
        if NO_DRUG not in numbers_by_name:
            raise ValueError(f"the drug table lacks {NO_DRUG}, the number for cells without a known drug")
        self.numbers_by_name = {str(name): int(number) for name, number in numbers_by_name.items()}

    @classmethod
    def load(cls, source):
        """Read a JSON file: a path, or ``{local, remote}`` where ``local`` is fetched from ``remote`` when absent."""
        path = source if isinstance(source, (str, os.PathLike)) else source.get("local")
        if not isinstance(source, (str, os.PathLike)) and source.get("remote") and not os.path.isfile(path):
            fetch(source["remote"], path)
        with open(path, encoding="utf-8") as file:
            return cls(json.load(file))

    def numbers(self, samples):
        """(C,) int32 drug numbers from the ``drug`` column."""
        names = [str(sample.get("drug", NO_DRUG)) for sample in samples]
        known = self.numbers_by_name
        return np.array([known.get(name, known[NO_DRUG]) for name in names], dtype=np.int32)
