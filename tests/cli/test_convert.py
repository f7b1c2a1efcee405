"""`tahoe-distill convert`: the folder it writes loads without this package and outputs alike."""

import json
import os
import subprocess
import sys

import pytest
import torch

from tahoe_distill import Tx1Model, load_teacher
from tahoe_distill.cli import convert
from tahoe_distill.cli.main import main

# Blocks what a user of the folder need not have, this package first of all.
READER = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"tahoe_distill", "composer", "llmfoundry", "streaming", "anndata", "scanpy"}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
import types
import pandas
import torch
from transformers import AutoConfig, AutoModel, AutoProcessor
folder, output = sys.argv[1:]
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
assert AutoConfig.from_pretrained(folder, trust_remote_code=True).model_type == "tx1"
# Two of the small vocabulary's genes are real: they are found by symbol, a former one too.
cells = types.SimpleNamespace(var=pandas.DataFrame(index=["TSPAN6", "TM4SF6", "TNMD", "TP53"]))
assert processor.match(cells).tolist() == [5, 5, 7, -1]
batch = processor.pad([processor.encode([5, 9, 12, 7], [3.0, 1.0, 8.0, 1.0]), processor.encode([4], [2.0])])
with torch.no_grad():
    torch.save({**batch, "cells": model(**batch).pooler_output}, output)
"""


@pytest.fixture
def out(tmp_path, small_teacher):
    import argparse

    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    convert.run(parser.parse_args(["--source", str(small_teacher), "--out", str(tmp_path / "plain")]))
    return tmp_path / "plain"


def test_folder_loads_without_this_package(out, small_teacher, tmp_path):
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READER, str(out), str(tmp_path / "output.pt")],
        cwd=tmp_path,
        env={name: value for name, value in environment.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = torch.load(tmp_path / "output.pt")
    cells = found.pop("cells")
    with torch.no_grad():
        torch.testing.assert_close(cells, load_teacher(small_teacher).model(**found).pooler_output, rtol=0, atol=1e-6)


def test_folder_is_the_teacher(out, small_teacher):
    teacher = load_teacher(small_teacher)
    assert load_teacher(out).fingerprint == teacher.fingerprint
    state = Tx1Model.from_pretrained(out).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in teacher.model.state_dict().items())
    names = {path.name for path in out.iterdir()}
    assert names >= {"config.json", "model.safetensors", "vocab.json", "preprocessor_config.json", "modeling_tx1.py"}
    assert "gene_symbols.json" in names


def test_a_vocabulary_of_symbols_carries_the_ids_of_its_genes(tmp_path):
    assert main(["convert", "--source", "tx1-nano", "--out", str(tmp_path / "nano")]) == 0
    table = json.loads((tmp_path / "nano" / "gene_symbols.json").read_text())
    assert table["ENSG00000010610"] == "CD4"


def test_bad_input_is_one_paragraph_and_no_folder(tmp_path, small_teacher, capsys):
    assert main(["convert", "--source", "nowhere", "--out", str(tmp_path / "new")]) == 1
    assert not (tmp_path / "new").exists()
    assert "error: nowhere: no such teacher; expected a release folder" in capsys.readouterr().err
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mine").touch()
    assert main(["convert", "--source", str(small_teacher), "--out", str(tmp_path / "old")]) == 1
    assert f"{tmp_path / 'old'} exists" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["mine"]
