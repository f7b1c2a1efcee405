"""Symbol tables: the one that ships, and those that users bring."""

import gzip
import subprocess
import sys

import pytest

from tahoe_distill.cells import human_symbols, read_symbols, with_symbols
from tahoe_distill.models import GeneVocab
from tests.helpers import REPOSITORY

IDS = [f"ENSG{number:011d}" for number in range(4)]


def test_the_shipped_table():
    table = human_symbols()
    # Current symbols, previous ones, one that is newer than the annotation.
    for name, gene in {
        "TP53": "ENSG00000141510",
        "CD3E": "ENSG00000198851",
        "H2AZ1": "ENSG00000164032",
        "H2AFZ": "ENSG00000164032",
        "SEPT7": "ENSG00000122545",
        "FIRRM": "ENSG00000000460",
        "PLCXD1": "ENSG00000182378",
    }.items():
        assert table[name] == gene
    # Several genes, several genes' alias, no gene's name, a clone's.
    assert not {"MATR3", "Y_RNA", "CD20", "Trp53", "RP11-34P13.7"} & table.keys()
    assert len(table) > 100_000 and all(gene.startswith("ENSG") and len(gene) == 15 for gene in table.values())
    with pytest.raises(TypeError):
        table["TP53"] = "x"


TABLES = {
    "t.tsv": "ENSG00000000000.3\tA\nENSG00000000001\tB\n",
    "features.tsv": "ENSG00000000000\tA\tGene Expression\nENSG00000000001\tB\tGene Expression\n",
    "t.csv": "symbol,gene_id\nA,ENSG00000000000\nB,ENSG00000000001.2\n",
    "t.json": '{"A": "ENSG00000000000", "B": "ENSG00000000001"}',
    "hgnc.txt": "hgnc_id\tsymbol\tensembl_gene_id\nHGNC:5\tA\tENSG00000000000\nHGNC:6\tB\tENSG00000000001\nHGNC:7\tC\n",
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_tables_of_users(tmp_path, name, packed):
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(TABLES[name].encode()) if packed else TABLES[name].encode())
    assert read_symbols(path) == {"A": IDS[0], "B": IDS[1]} == read_symbols({"A": IDS[0], "B": IDS[1]})


def test_aliases_that_stand_for_one_gene(tmp_path):
    rows = [f"{IDS[0]},A,OLD|BOTH|B", f"{IDS[1]},B,BOTH", f"{IDS[2]},,UNNAMED", f"{IDS[3]},A,"]
    (tmp_path / "t.csv").write_text("\n".join(["ensembl_id,symbol,aliases", *rows]))
    assert read_symbols(tmp_path / "t.csv") == {"A": IDS[0], "B": IDS[1], "OLD": IDS[0], "UNNAMED": IDS[2]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("t.tsv", "A\tB\n", "no row of a symbol and an Ensembl id"), ("t.json", "[1]", "a JSON object .*found a list")],
)
def test_tables_without_pairs(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_symbols(tmp_path / name)


def test_a_vocabulary_takes_the_symbols_of_its_genes():
    vocab = GeneVocab({"<pad>": 0, "<cls>": 1, "ENSG00000141510": 2}, {"OWN": "ENSG00000141510", "GONE": "ENSG9"})
    found = with_symbols(vocab)
    assert found.symbols["TP53"] == found.symbols["OWN"] == "ENSG00000141510" and "GONE" not in found.symbols
    assert set(found.symbols.values()) == {"ENSG00000141510"} and vocab.symbols.keys() == {"OWN", "GONE"}
    own = with_symbols(GeneVocab({"<pad>": 0, "<cls>": 1, "TP53": 2})).symbols
    assert own["ENSG00000141510"] == own["P53"] == "TP53" and set(own.values()) == {"TP53"} and "TP53" not in own


def test_the_table_is_built_by_its_rules_and_always_the_same(tmp_path):
    (tmp_path / "annotation.csv").write_text(f"{IDS[0]},A\n{IDS[1]},B\n{IDS[2]},B\n{IDS[3]},{IDS[3]}\n")
    aliases = ["alias,symbol,ids", f"A,A,{IDS[0]}", f"OLD-A,A,{IDS[0]}", f"Old,A,{IDS[0]}", f"B,A,{IDS[0]}"]
    aliases += [f"TWO,A,{IDS[0]}", f"TWO,C,{IDS[3]}", f"NEW,NEW,{IDS[3]}"]
    (tmp_path / "aliases.csv").write_text("\n".join(aliases))
    written = []
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, REPOSITORY / "scripts/build_symbols.py", "annotation.csv", "--aliases", "aliases.csv",
             "--out", f"{seed}.csv.gz"],
            check=True, cwd=tmp_path, env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)}, capture_output=True,
        )  # fmt: skip
        written.append((tmp_path / f"{seed}.csv.gz").read_bytes())
    assert written[0] == written[1]
    assert read_symbols(tmp_path / "1.csv.gz") == {"A": IDS[0], "OLD-A": IDS[0], "NEW": IDS[3]}


def test_a_vocabulary_of_symbols_is_found_by_ids_and_by_other_symbols_too():
    vocab = with_symbols(GeneVocab({"<pad>": 0, "<cls>": 1, "TP53": 2, "H2AZ1": 3, "MYOWN": 4}))
    names = ["ENSG00000141510", "ENSG00000141510.18", " GRCh38_ensg00000141510 ", "H2AFZ", "MYOWN", "ENSG00000198851"]
    assert vocab.gene_tokens(names).tolist() == [2, 2, 2, 3, 4, -1]
    assert vocab.naming == "gene symbols such as TP53"
    assert GeneVocab({"<pad>": 0, "<cls>": 1, "ENSG00000141510": 2}).naming.startswith("human Ensembl ids such as ENSG")
