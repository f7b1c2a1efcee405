"""Guessing the system and species of gene names."""

import pytest

from tahoe_distill.cells import describe_genes


@pytest.mark.parametrize(
    ("names", "system", "species"),
    [
        (["ENSG00000141510", "ENSG00000141510.12"], "Ensembl ids", "human"),
        (["ENSMUSG00000059552"] * 3, "Ensembl ids", "mouse"),
        (["ENSXYZG00000059552"] * 3, "Ensembl ids", "unknown"),
        (["TP53", "MALAT1", "HLA-A", "C1orf112"], "gene symbols", "human"),
        (["Trp53", "Malat1", "Cd8a"], "gene symbols", "mouse"),
        (["7157", "7158"], "Entrez ids", "unknown"),
        (["??", "!"], "unknown names", "unknown"),
        ([], "unknown names", "unknown"),
    ],
)
def test_system_and_species(names, system, species):
    found = describe_genes(names)
    assert (found.system, found.species) == (system, species)
    assert found.advice and found.is_foreign == (species == "mouse")
