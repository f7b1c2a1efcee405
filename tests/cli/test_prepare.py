"""`tahoe-distill prepare`: exit codes, and one clear paragraph for bad input."""

import json
import os

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from tahoe_distill.cli import prepare as command
from tahoe_distill.cli.main import main

GENES = [f"ENSG{number:011d}" for number in range(30)]


@pytest.fixture
def cells(tmp_path):
    """An h5ad and a vocabulary in a folder of their own."""
    counts = np.random.default_rng(0).poisson(1.0, (40, 30)).astype(np.float32)
    obs = pd.DataFrame({"donor": [f"d{row % 4}" for row in range(40)]}, index=map(str, range(40)))
    adata = anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=[*GENES[:-1], "MT-X"]))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "vocab.json").write_text(json.dumps({name: n for n, name in enumerate(["<pad>", "<cls>", *GENES])}))
    return tmp_path


def run(folder, *extra, source="cells.h5ad"):
    return main(
        ["prepare", str(folder / source), "--vocab", str(folder / "vocab.json"), "--out", str(folder / "out"), *extra]
    )


def test_prepares_and_reports(cells, capsys):
    assert run(cells, "--split-by", "donor", "--val-fraction", "0.25", "--keep", "donor") == 0
    text = capsys.readouterr().out
    assert "30 cells for training, 10 for validation, 0 dropped" in text
    assert "29 of 30 genes (index); not matched: MT-X" in text and "of the counts are of genes in" in text
    metadata = json.loads((cells / "out" / "metadata.json").read_text())
    assert metadata["arguments"]["split_by"] == "donor" and metadata["columns"]["donor"] == "str"


def test_progress_bar_counts_cells(cells, capsys):
    assert run(cells) == 0
    assert "40.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "source", "message"),
    [
        (["--keep", "tissue"], "cells.h5ad", "obs has no column 'tissue'; found donor"),
        ([], "absent.h5ad", "found no such file"),
        ([], "vocab.json", "cannot be read as h5ad, zarr or 10x h5"),
        (["--layer", "counts"], "cells.h5ad", "has no layers/counts; found X"),
        (["--min-genes", "100"], "cells.h5ad", "no cell is left for training"),
    ],
)
def test_bad_input_exits_with_one_paragraph(cells, capsys, extra, source, message):
    assert run(cells, *extra, "--quiet", source=source) == 1
    text = capsys.readouterr().err
    assert message in text and "Traceback" not in text
    assert sorted(os.listdir(cells)) == ["cells.h5ad", "vocab.json"]


def test_existing_output(cells, capsys):
    assert run(cells, "--quiet") == 0 and run(cells, "--quiet") == 1
    assert "exists and is not empty; choose another folder, or remove it first" in capsys.readouterr().err


def test_example_is_a_valid_command():
    from tahoe_distill.cli.main import build_parser

    assert build_parser().parse_args(command.EXAMPLE.split()[1:]).split_by == "donor"
