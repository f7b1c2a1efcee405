"""What one command reads, all read: every format, by ids and by symbols, from layers and raw, with the same result."""

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from tahoe_distill.cells import human_symbols
from tahoe_distill.cli.main import main
from tahoe_distill.embedding import check_determinism, embed, examine
from tahoe_distill.evaluation import Columns, evaluate
from tahoe_distill.hub.export import write_model_folder
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model, Tx1Processor
from tests.helpers.cell_files import KINDS, write_cells
from tests.helpers.tiny_student import randomised

SYMBOL_OF = {gene: symbol for symbol, gene in human_symbols().items()}
GENES = sorted(SYMBOL_OF)[:40]
VOCAB = GeneVocab({name: number for number, name in enumerate(["<pad>", "<cls>", *GENES[:-5]])})
COMMANDS = ("prepare", "embed", "doctor", "evaluate")
# What the cells call their genes, and where their counts are.
CASES = {
    **{kind: (kind, "ids", ()) for kind in KINDS},
    **{f"{kind}, symbols": (kind, "symbols", ()) for kind in KINDS},
    "versions": ("csr", "versions", ()),
    "spelled otherwise": ("zarr", "spelled", ()),
    "own table": ("10x 3", "own", ("--symbols", "TABLE")),
    "layer": ("csc", "ids", ("--layer", "counts")),
    "raw": ("zarr", "symbols", ("--layer", "raw")),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of a tiny model that knows no symbol itself."""
    torch.manual_seed(0)
    config = Tx1Config(
        vocab_size=len(VOCAB), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, context_length=64
    )
    model = randomised(config, 0.1)
    folder = tmp_path_factory.mktemp("model") / "hf"
    write_model_folder(model, Tx1Processor(VOCAB, max_length=64), folder)
    return folder


def make_cells(names="ids"):
    """60 cells of two kinds; ``names`` says what stands in ``var_names`` (and, for 10x, in the file's names)."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, 60)
    counts = rng.poisson(rng.gamma(0.5, 3.0, (2, len(GENES)))[kinds]).astype(np.float32)
    counts[:, 0] += 1
    adata = anndata.AnnData(
        sparse.csr_matrix(counts), obs=pd.DataFrame({"kind": kinds.astype(str)}, index=map(str, range(60)))
    )
    symbols = [SYMBOL_OF[gene] for gene in GENES]
    adata.var_names = {
        "ids": GENES,
        "symbols": symbols,
        "versions": [f"{gene}.{number}" for number, gene in enumerate(GENES)],
        "spelled": [f" GRCh38_{symbol.upper()} " for symbol in symbols],
        "own": [f"MY{number}" for number in range(len(GENES))],
    }[names]
    adata.var["gene_name"] = adata.var_names.tolist()
    return adata


def write_case(case, folder):
    """Cells of a case, and the arguments that go with them."""
    kind, names, options = CASES[case]
    adata = make_cells(names)
    if "counts" in options:
        adata.layers["counts"], adata.X = adata.X.tocsc(), adata.X * 0
    if "raw" in options:
        adata.raw = adata
        adata = adata[:, :3].copy()
    (folder / "table.csv").write_text("".join(f"MY{number},{gene}\n" for number, gene in enumerate(GENES)))
    arguments = [str(folder / "table.csv") if option == "TABLE" else option for option in options]
    return write_cells(adata, folder, kind), arguments


def run(command, path, arguments, model, folder):
    """The exit code of a command over the file at ``path``, which writes to ``folder``."""
    here = {
        "prepare": [path, "--vocab", model / "vocab.json", "--out", folder / "shards", "--quiet"],
        "embed": ["--model", model, "--adata", path, "--out", folder / f"out{'.zarr' if path.is_dir() else '.h5ad'}"],
        "doctor": [path, "--model", model, "--no-estimate"],
        "evaluate": [
            "--student",
            model,
            "--teacher",
            model,
            "--adata",
            path,
            "--reference",
            path,
            "--label-key",
            "kind",
            "--only",
            "fidelity",
        ],
    }[command]
    return main([command, *map(str, here), *arguments])


@pytest.fixture(scope="module")
def expected(model, tmp_path_factory):
    """What the commands make of an h5ad with ids: the index of the shards, the vectors, and the doctor's findings."""
    folder = tmp_path_factory.mktemp("expected")
    path = write_cells(make_cells(), folder, "csr")
    assert run("prepare", path, [], model, folder) == run("embed", path, [], model, folder) == 0
    findings = {finding.topic: finding for finding in examine(path, model, estimate=False)}
    index = (folder / "shards" / "train" / "index.json").read_bytes()
    return index, anndata.read_h5ad(folder / "out.h5ad").obsm["X_tx1"], findings


@pytest.mark.filterwarnings("ignore:.*not unique", "ignore:Writing zarr v2")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_every_format(command, case, model, expected, tmp_path, capsys):
    path, arguments = write_case(case, tmp_path)
    index, vectors, findings = expected
    code = run(command, path, arguments, model, tmp_path)
    printed = capsys.readouterr()
    if command == "evaluate" and case.startswith("10x") or command == "evaluate" and case == "own table":
        # The cells are read; labels are what a 10x file cannot hold.
        assert code == 1 and "no obs column 'kind'" in printed.err
        return
    assert code == 0, printed.err
    if command == "prepare":
        assert (tmp_path / "shards" / "train" / "index.json").read_bytes() == index
    elif command == "embed":
        read = anndata.read_zarr if path.is_dir() else anndata.read_h5ad
        out = read(tmp_path / f"out{'.zarr' if path.is_dir() else '.h5ad'}")
        np.testing.assert_array_equal(out.obsm["X_tx1"], vectors)
        assert out.uns["X_tx1"]["genes_matched"] == 35 and list(out.obs_names) == [str(cell) for cell in range(60)]
        assert not list(tmp_path.glob(".*"))
    elif command == "doctor":
        assert "35 of 40 genes are in the vocabulary (87.5 %)" in printed.out
        assert findings["values"].text in printed.out and findings["coverage"].text in printed.out
    else:
        assert "60 held-out cells" in printed.out


@pytest.mark.parametrize("names", ["ids", "symbols"])
def test_cells_in_memory(names, model, expected):
    adata = make_cells(names)
    found = embed(adata, model, copy=True)
    np.testing.assert_array_equal(found.obsm["X_tx1"], expected[1])
    assert found.uns["X_tx1"]["genes_by_symbol"] == (35 if names == "symbols" else 0)
    assert {finding.topic: finding.level for finding in examine(adata, model, estimate=False)}["genes"] == "ok"
    assert max(way.difference for way in check_determinism(adata, model, cells=8, processes=False)) < 1e-6
    pair = (Tx1Model.from_pretrained(model).eval(), Tx1Processor.from_pretrained(model))
    columns = Columns(label="kind")
    found = evaluate(pair, pair, adata, reference=adata, columns=columns, only=["fidelity"], baselines=False)
    assert found.values["student"]["fidelity/knn_overlap_10"] == 1


def test_genes_of_raw_cannot_be_written_beside_those_of_var(model):
    adata = make_cells()
    adata.raw = adata
    adata = adata[:, :3].copy()
    with pytest.raises(ValueError, match="layer 'raw' has genes of its own"):
        embed(adata, model, layer="raw", genes=True)
    embed(adata, model, layer="raw")
    assert adata.obsm["X_tx1"].shape == (60, 16)


def test_a_10x_file_is_embedded_into_an_h5ad_alone(model, tmp_path, capsys):
    path = write_cells(make_cells(), tmp_path, "10x 3")
    assert main(["embed", "--model", str(model), "--adata", str(path), "--out", str(path), "--overwrite"]) == 1
    assert "cells.h5 is no AnnData; expected an output that ends with .h5ad, found cells.h5" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_symbols_that_nobody_knows(command, model, tmp_path, capsys):
    path = write_cells(make_cells("own"), tmp_path, "csr")
    try:
        code = run(command, path, [], model, tmp_path)
    except SystemExit as stopped:
        code = stopped.code
    printed = capsys.readouterr()
    assert code == 1 and "none of the 40 genes is in the vocabulary" in printed.out + printed.err
    assert "The names look like gene symbols: name a table of them" in printed.out + printed.err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cells.h5ad"]
