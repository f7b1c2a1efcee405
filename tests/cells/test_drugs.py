"""Drug names to numbers, the same way wherever cells come from."""

import logging

import anndata
import numpy as np
import pandas as pd
import pytest

from tahoe_distill.cells import DrugTable, open_cells
from tahoe_distill.cells.drugs import cell_drugs
from tahoe_distill.models import GeneVocab, Tx1Processor

TABLE = {"<pad>": 7, "aspirin": 1, "taxol": 2}
VOCAB = GeneVocab({"<pad>": 0, "<cls>": 1, "<drug>": 2, "ENSG00000141510": 3})


@pytest.fixture
def adata():
    obs = pd.DataFrame({"drug": ["taxol", "no such", "aspirin"]}, index=list("abc"))
    return anndata.AnnData(np.ones((3, 1), dtype=np.float32), obs=obs, var=pd.DataFrame(index=["ENSG00000141510"]))


def test_unknown_drugs_count_as_none_and_are_told_of_once(caplog):
    table = DrugTable(TABLE)
    assert table.numbers(["taxol", "no such", "aspirin", "<pad>"]).tolist() == [2, 7, 1, 7]
    assert caplog.text.count("1 drugs are unknown to the model and count as no drug: no such") == 1
    table.numbers(["no such"])
    assert caplog.text.count("no such") == 1
    table.numbers(["nor this"])
    assert "nor this" in caplog.text


def test_a_table_must_know_no_drug():
    with pytest.raises(ValueError, match="lacks <pad>"):
        DrugTable({"aspirin": 1})


def test_cells_and_the_processor_agree(adata, caplog):
    processor = Tx1Processor(VOCAB, use_chem_token=True, drug_to_id=TABLE)
    with open_cells(adata) as cells, caplog.at_level(logging.WARNING):
        assert cell_drugs(cells, processor, "drug").tolist() == [2, 7, 1]
        assert cell_drugs(cells, processor).tolist() == [7, 7, 7]
        assert processor(adata, drug_key="drug")["drug_ids"].tolist() == [2, 7, 1]
        assert processor(adata)["drug_ids"].tolist() == [7, 7, 7]
    assert caplog.text.count("count as no drug: no such") == 2


def test_a_model_without_a_drug_token(adata):
    processor = Tx1Processor(VOCAB)
    with open_cells(adata) as cells:
        assert cell_drugs(cells, processor) is None
        with pytest.raises(ValueError, match="this model has no drug token"):
            cell_drugs(cells, processor, "drug")
    with pytest.raises(ValueError, match="this model has no drug token"):
        processor(adata, drug_key="drug")
