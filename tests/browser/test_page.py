"""The page in a browser: the vectors of Python, genes found as the processor finds them, bad files told of."""

import base64
import gzip
import html
import io
import json
import re

import anndata
import numpy as np
import pytest
import torch
from scipy import sparse

from tahoe_distill import embed
from tahoe_distill.browser import write, write_page
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Processor
from tests.helpers.browser import CHROMIUM, open_page
from tests.helpers.tiny_student import randomised, tiny_cells, tiny_pair, tiny_vocab

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
WHOLE = {"set_pools": ["mean", "attention", "top"], "set_pair_rank": 4, "hidden_act": "gelu", "projection_dim": 12}
# Gives each file to the page as a drop does, and notes what came of it.
DROP = """
const given = JSON.parse(document.getElementById("given").textContent), came = [];
for (const {name, bytes} of given) {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(bytes), (sign) => sign.charCodeAt(0))], name));
  document.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
  const told = () => document.querySelector("#told .notice").className;
  while (/plain/.test(told())) await new Promise((resolve) => setTimeout(resolve, 5));
  const result = page.result, text = document.querySelector("#told").textContent;
  // A picture of nothing is a few thousand signs long.
  const drawn = document.querySelector("canvas").toDataURL().length > 10000;
  came.push(!result ? {text} : {text, drawn, cells: result.cells, csv: page.csv(), groups: Object.keys(result.groups),
    npy: btoa(Array.from(page.npy(), (byte) => String.fromCharCode(byte)).join("")), points: result.points});
}
document.body.append(Object.assign(document.createElement("pre"), {id: "came", textContent: JSON.stringify(came)}));
"""


def set_pair(vocab, **settings):
    """A student without attention, every tensor random, that reads all genes of a cell."""
    torch.manual_seed(3)
    shape = {"hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 16, "context_length": len(vocab)}
    config = Tx1Config(vocab_size=len(vocab), encoder="set", gene_norm=False, **{**WHOLE, **shape, **settings})
    return randomised(config, 0.3), Tx1Processor(vocab, max_length=len(vocab))


def dropped(pair, files, folder):
    """What the page made of some files, ``{name: bytes}``, and the page as the browser left it."""
    path = write_page(pair, folder / "page")
    given = [{"name": name, "bytes": base64.b64encode(content).decode()} for name, content in files.items()]
    before, end, after = path.read_text().rpartition("</body>")
    data = f'<script type="application/json" id="given">{json.dumps(given)}</script>'
    path.write_text(before + data + end + after)
    opened = open_page(path, folder, script=DROP)
    found = re.search(r'<pre id="came">(.*?)</pre>', opened.dom, flags=re.DOTALL)
    assert found, opened.console
    return dict(zip(files, json.loads(html.unescape(found[1])), strict=True)), opened


def h5ad(adata, folder, **options):
    adata.write_h5ad(folder / "written.h5ad", **options)
    return (folder / "written.h5ad").read_bytes()


def table(adata, mark=",", turn=False):
    frame = adata.to_df().T if turn else adata.to_df()
    return frame.to_csv(sep=mark).encode()


def vectors(came):
    return np.load(io.BytesIO(base64.b64decode(came["npy"])))


def expected(adata, pair):
    return embed(adata, pair, copy=True, force=True).obsm["X_tx1"]


@needs_browser
@pytest.mark.shared_data
def test_real_cells_get_the_vectors_of_python(real_data, tmp_path):
    whole = GeneVocab.from_file(real_data / "tahoe_x1_vocab.json")
    cells = {name: anndata.read_h5ad(real_data / f"{name}.h5ad")[:24].copy() for name in ("pbmc_facs", "pbmc1k")}
    known = sorted(set(cells["pbmc_facs"].var_names) & set(whole.tokens))
    vocab = GeneVocab({token: place for place, token in enumerate(["<pad>", "<cls>", *known])})
    pair = set_pair(vocab)
    by_symbol = cells["pbmc_facs"].copy()
    # Capitals forgiven, a genome before the name, and two columns of one gene among them.
    names = by_symbol.var.pop("gene_name").astype(str).to_numpy()
    by_symbol.var_names = [f"GRCh38_{name}" if place % 2 else name.upper() for place, name in enumerate(names)]
    cells["by symbol"] = by_symbol
    cells["logged"] = cells["pbmc1k"].copy()
    cells["logged"].X = cells["logged"].X.log1p()
    files = {f"{name}.h5ad": h5ad(adata, tmp_path, compression="gzip") for name, adata in cells.items()}
    came, opened = dropped(pair, files, tmp_path)
    for name, adata in cells.items():
        found = came[f"{name}.h5ad"]
        np.testing.assert_allclose(vectors(found), expected(adata, pair), atol=1e-5, err_msg=name)
        assert found["cells"] == list(adata.obs_names) and found["drawn"]
    assert came["pbmc_facs.h5ad"]["groups"] == ["cell_type", "lineage"]
    assert opened.requests == [] and opened.console == []


@needs_browser
def test_every_form_of_a_file_gives_the_same_vectors(tmp_path):
    cells, pair = tiny_cells(30), set_pair(tiny_vocab(), truncate_dim=6)
    cells.X = sparse.csr_matrix(cells.X.multiply(np.arange(30)[:, None] != 3))
    doubled = cells[:, [*range(70), 5, 9]].copy()
    doubled.var_names_make_unique(join=".")
    by_column, dense, by_name = cells.copy(), cells.copy(), cells.copy()
    by_column.X, dense.X = sparse.csc_matrix(cells.X), cells.X.toarray()
    by_name.var["gene_ids"] = [f"{name}.7" for name in cells.var_names]
    by_name.var_names = [f"name{place}" for place in range(70)]
    forms = {"rows": cells, "by columns": by_column, "dense": dense, "a column of ids": by_name, "doubled": doubled}
    files = {f"{name}.h5ad": h5ad(adata, tmp_path) for name, adata in forms.items()}
    tables = {"a.csv": table(cells), "b.tsv": table(cells, "\t", turn=True), "c.csv.gz": gzip.compress(table(cells))}
    came, opened = dropped(pair, files | tables, tmp_path)
    for name, adata in forms.items():
        np.testing.assert_allclose(vectors(came[f"{name}.h5ad"]), expected(adata, pair), atol=1e-5, err_msg=name)
    for name in tables:
        np.testing.assert_allclose(vectors(came[name]), expected(cells, pair), atol=1e-5, err_msg=name)
    found = came["a.csv"]
    assert "60 of 70 genes" in found["text"] and "1 cells express none" in found["text"]
    written = np.loadtxt(io.StringIO(found["csv"]), delimiter=",", skiprows=1, usecols=range(1, 7))
    np.testing.assert_allclose(written, vectors(found), atol=1e-7)
    points, whole = np.array(found["points"]), vectors(found)
    left, scale, _ = np.linalg.svd(whole - whole.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(points), np.abs(left[:, :2] * scale[:2]), atol=1e-3)
    assert opened.console == []


@needs_browser
def test_bad_files_are_told_of_in_a_paragraph(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "MOST_FILE", 200_000)
    cells, pair = tiny_cells(), set_pair(tiny_vocab())
    scaled, strange = cells.copy(), cells.copy()
    scaled.X = cells.X.toarray() - 1
    strange.var_names = [f"b{place:04d}" for place in range(70)]
    whole = h5ad(cells, tmp_path)
    files = {
        "scaled.h5ad": (h5ad(scaled, tmp_path), "negative values, so it was scaled"),
        "strange.h5ad": (h5ad(strange, tmp_path), "none of the 70 genes of strange.h5ad is known"),
        "lzf.h5ad": (h5ad(cells, tmp_path, compression="lzf"), "compressed otherwise than by gzip"),
        "short.h5ad": (whole[:3000], "short.h5ad"),
        "text.h5ad": (b"no cells at all", "is no HDF5 file"),
        "cells.h5": (whole, "scanpy.read_10x_h5"),
        "large.csv": (b"a,b\n" * 60_000, "1 MB, and a page reads 1 MB at most"),
        "words.csv": (b"cell,ENSG00000000001\na,many\n", "line 2, field 2: expected a count, found 'many'"),
        "uneven.csv": (b"cell,ENSG00000000001\na,1\nb,1,2\n", "line 3 has 3 fields where line 2 has 2"),
        "broken.csv.gz": (b"\x1f\x8b nothing", "is no gzip file"),
        "<img src=x onerror=alert(1)>.txt": (b"", "expected a table of counts"),
    }
    came, opened = dropped(pair, {name: content for name, (content, _) in files.items()}, tmp_path)
    for name, (_, words) in files.items():
        assert set(came[name]) == {"text"} and words in came[name]["text"], name
    shown = opened.dom.partition('id="told"')[2].partition("</main>")[0]
    assert "&lt;img src=x" in shown and "<img" not in shown


def test_students_that_a_page_cannot_show_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="this one is a transformer: fit one with tahoe-distill fit"):
        write_page(tiny_pair(), tmp_path / "page")
    model, processor = set_pair(tiny_vocab())
    processor.max_length = 20
    with pytest.raises(ValueError, match="this one reads 20 at most of 60"):
        write_page((model, processor), tmp_path / "page")
    monkeypatch.setattr(write, "MOST_WEIGHTS", 1000)
    with pytest.raises(ValueError, match="prune it to the genes of your cells"):
        write_page(set_pair(tiny_vocab()), tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_a_page_that_is_there_is_kept_unless_asked(tmp_path):
    path = write_page(set_pair(tiny_vocab()), tmp_path / "page")
    assert "default-src 'none'" in path.read_text()
    with pytest.raises(FileExistsError):
        write_page(set_pair(tiny_vocab()), tmp_path / "page")
    write_page(set_pair(tiny_vocab()), tmp_path / "page", overwrite=True)
