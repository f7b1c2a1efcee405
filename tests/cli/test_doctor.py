"""`tahoe-distill doctor`: findings and exit codes."""

import argparse
import logging
import re
from functools import partial

import numpy as np
import pytest

from tahoe_distill.cli import doctor
from tahoe_distill.embedding import check_determinism, embed, examine
from tests.helpers.tiny_student import save_pair, tiny_cells, tiny_pair


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return save_pair(tiny_pair(), tmp_path_factory.mktemp("student"))


def spoil(adata, case):
    """Cells with something for the doctor to find."""
    if case == "log1p":
        adata.X = adata.X.multiply(1e4 / adata.X.sum(1)).tocsr().log1p()
    elif case == "negative":
        adata.X.data[3] = -1
    elif case == "nan":
        adata.X.data[3] = np.nan
    elif case == "corrected":
        adata.X.data = adata.X.data + np.linspace(0.1, 40.7, adata.X.nnz, dtype=np.float32) * 3
    elif case == "mouse":
        adata.var_names = [f"ENSMUSG{number:011d}" for number in range(70)]
    elif case == "little coverage":
        adata.X.data[adata.X.indices >= 60] *= 1e4
    elif case == "empty cells":
        adata.X[5] = 0
    elif case == "no known gene":
        adata = adata[:, 60:].copy()
        adata.var_names = [*adata.var_names[:-1], "ENSG00000000001"]
        adata.X[:, -1] = 0
    elif case == "twins":
        adata.X[5] = adata.X[6]
    elif case == "csc":
        adata.X = adata.X.tocsc()
    elif case == "no cells":
        adata = adata[:0].copy()
    return adata


CASES = {
    "counts": ("ok", "values", "raw counts"),
    "log1p": ("ok", "values", "log1p of scaled counts"),
    "corrected": ("warning", "values", "neither counts nor log1p"),
    "negative": ("error", "values", "negative values (1)"),
    "nan": ("error", "values", "NaN"),
    "mouse": ("error", "genes", "mouse Ensembl ids"),
    "little coverage": ("error", "coverage", "too little"),
    "empty cells": ("warning", "empty cells", "1 cells"),
    "no known gene": ("error", "coverage", "0.0 %"),
    "twins": ("warning", "duplicates", "1 cells repeat"),
    "csc": ("note", "storage", "turned around once, through temporary files"),
    "no cells": ("error", "cells", "nothing to embed"),
}


@pytest.mark.parametrize("case", CASES)
def test_findings(case, student, tmp_path):
    spoil(tiny_cells(), case).write_h5ad(tmp_path / "cells.h5ad")
    level, topic, text = CASES[case]
    findings = examine(tmp_path / "cells.h5ad", student, estimate=False)
    assert any(f.level == level and f.topic == topic and text in f.text for f in findings), findings
    assert ("error" in {finding.level for finding in findings}) == (level == "error")


def run(*arguments):
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    return doctor.run(parser.parse_args([str(argument) for argument in arguments]))


def test_command_prints_findings_and_an_estimate(student, tmp_path, capsys):
    tiny_cells().write_h5ad(tmp_path / "cells.h5ad")
    run(tmp_path / "cells.h5ad", "--model", student)
    printed = capsys.readouterr().out
    assert "cells/s" in printed and "above" not in printed and "context" in printed


def test_command_fails_where_embedding_is_meaningless(student, tmp_path, capsys):
    spoil(tiny_cells(), "mouse").write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "cells.h5ad", "--model", student)
    assert stopped.value.code == 1 and "meaningless" in capsys.readouterr().out


def test_determinism_prints_digests(student, tmp_path, capsys, monkeypatch):
    tiny_cells().write_h5ad(tmp_path / "cells.h5ad")
    without = partial(check_determinism, processes=False)
    monkeypatch.setattr("tahoe_distill.embedding.check_determinism", without)
    run("determinism", tmp_path / "cells.h5ad", "--model", student)
    printed = capsys.readouterr().out
    assert "same cell, same vector" in printed and "shuffled" in printed


def test_determinism_says_each_thing_once(student, tmp_path, caplog):
    cells = tiny_cells()
    cells.X[5] = 0
    cells.write_h5ad(tmp_path / "cells.h5ad")
    level = logging.getLogger("tahoe_distill").level
    check_determinism(tmp_path / "cells.h5ad", student, processes=False)
    assert sum("express no gene" in record.message for record in caplog.records) == 1
    embed(tiny_cells()[:1].copy(), student)
    assert logging.getLogger("tahoe_distill").level == level


def test_two_files_are_refused(student):
    with pytest.raises(ValueError, match="expected `doctor FILE`"):
        run("a.h5ad", "b.h5ad", "--model", student)


def test_a_selection_of_genes_is_noticed(student, tmp_path):
    tiny_cells()[:, :20].copy().write_h5ad(tmp_path / "panel.h5ad")
    findings = {finding.topic: finding for finding in examine(tmp_path / "panel.h5ad", student, estimate=False)}
    assert findings["selection"].level == "warning"
    assert re.match(r"20 genes, \d+ a cell: a selection of genes; .* knows 60", findings["selection"].text)
    tiny_cells().write_h5ad(tmp_path / "whole.h5ad")
    assert "selection" not in {finding.topic for finding in examine(tmp_path / "whole.h5ad", student, estimate=False)}


def test_the_estimate_is_measured_with_more_and_more_cells_until_it_took_a_second(student, monkeypatch):
    tried = []
    clock = iter([0.0, 0.001, 0.002, 1.0, 1.001, 1.101, 2.0, 2.001, 2.401, 3.0, 3.01, 4.01])

    def window(engine, cells, drugs=None):
        tried.append(len(cells))

    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    monkeypatch.setattr("tahoe_distill.embedding.engine.Engine.window", window)
    adata = tiny_cells(4000)
    text = {finding.topic: finding.text for finding in examine(adata, student)}["estimate"]
    seconds = int(re.match(r"about (\d+) s on this cpu", text)[1])
    # A tenth of a second for the first, so seven times as many; 0.4 s for those, so twice as many at least; by eights.
    assert tried == [2, 32, 216, 440]
    assert seconds == pytest.approx(4000 / 448, abs=1.5)
