"""Drug names to the numbers that a chemical encoder knows."""

import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tahoe_distill.models.processing_tx1 import NO_DRUG, look_up_drugs

if TYPE_CHECKING:
    from tahoe_distill.cells.base import Cells
    from tahoe_distill.models import Tx1Processor


class DrugTable:
    """Numbers of drugs; a drug that is not there counts as none, and is told of once.

    Args:
        numbers_by_name: Drug name to number, ``<pad>`` (no or unknown drug) among them.

    Raises:
        ValueError: When ``<pad>`` is missing.
    """

    def __init__(self, numbers_by_name: Mapping[str, int]):
        if NO_DRUG not in numbers_by_name:
            raise ValueError(f"the drug table lacks {NO_DRUG}, the number for cells without a known drug")
        self.numbers_by_name = {str(name): int(number) for name, number in numbers_by_name.items()}
        self._warned: set[str] = set()

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "DrugTable":
        """Read a JSON object of drug name to number."""
        with open(path, encoding="utf-8") as file:
            return cls(json.load(file))

    def numbers(self, names: Iterable[str]) -> np.ndarray:
        """(n,) int64 numbers of drugs."""
        return look_up_drugs(names, self.numbers_by_name, self._warned)


def cell_drugs(cells: "Cells", processor: "Tx1Processor", drug_key: str | None = None) -> np.ndarray | None:
    """(n_obs,) int64 drug numbers of a source's cells; ``None`` for a model without a drug token.

    Args:
        cells: The source.
        processor: The model's processor.
        drug_key: Column of ``obs`` with drug names; no cell has a drug where left out.

    Raises:
        ValueError: When ``drug_key`` is given to a model without a drug token, or is no column of ``obs``.
    """
    if not processor.use_chem_token:
        if drug_key is not None:
            raise ValueError(f"drug_key {drug_key!r} was given, but this model has no drug token; leave it out")
        return None
    names = [NO_DRUG] * cells.n_obs if drug_key is None else cells.obs_column(drug_key)
    return look_up_drugs(names, processor.drug_to_id)
