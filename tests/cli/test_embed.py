"""`tahoe-distill embed`, through the command's own entry point."""

import re

import anndata
import numpy as np
import pytest

from tahoe_distill.cli.main import main
from tahoe_distill.embedding import embed
from tests.helpers.tiny_student import save_pair, tiny_cells, tiny_pair


@pytest.fixture
def arguments(tmp_path):
    save_pair(tiny_pair(), tmp_path / "student")
    tiny_cells().write_h5ad(tmp_path / "cells.h5ad")
    return [
        "embed", "--model", str(tmp_path / "student"), "--adata", str(tmp_path / "cells.h5ad"), "--out",
        str(tmp_path / "out.h5ad"),
    ]  # fmt: skip


def test_writes_what_the_function_writes(arguments, tmp_path, capsys):
    assert main([*arguments, "--key-added", "mine", "--genes", "--window", "9", "--batch-size", "4"]) == 0
    found = anndata.read_h5ad(tmp_path / "out.h5ad")
    expected = embed(tiny_cells(), tmp_path / "student", genes=True, copy=True)
    np.testing.assert_allclose(found.obsm["mine"], expected.obsm["X_tx1"], atol=1e-6)
    np.testing.assert_allclose(found.varm["mine"], expected.varm["X_tx1"], atol=1e-5)
    printed = capsys.readouterr()
    assert "cell/s" in printed.err
    first, took, place = printed.out.split("; ")
    assert re.fullmatch(r"40 cells, 60 of 70 genes in the vocabulary with 8\d\.\d % of the counts", first), first
    assert re.fullmatch(r"\d+ s \([\d,]+ cells/s\)", took)
    assert place == f"vectors in obsm['mine'] of {tmp_path / 'out.h5ad'}\n"


def test_second_run_needs_overwrite(arguments, capsys):
    assert main(arguments) == 0
    assert main(arguments) == 1
    assert "pass --overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def test_bad_input_is_one_paragraph_and_no_file(arguments, tmp_path, capsys):
    assert main([*arguments, "--device", "cuda:77"]) == 1
    assert main([*arguments, "--batch-size", "-3"]) == 1
    error = capsys.readouterr().err
    assert error.count("error:") == 2 and "Traceback" not in error
    assert not (tmp_path / "out.h5ad").exists()


def test_ctrl_c_says_how_to_carry_on(arguments, monkeypatch, capsys):
    def interrupted(*positional, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr("tahoe_distill.embedding.embed_file", interrupted)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 130 and "carries on" in capsys.readouterr().err
