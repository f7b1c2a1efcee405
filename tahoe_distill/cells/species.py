"""What gene names look like: their system, their species, and what to do about it."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

# Ensembl gene ids carry the species in their prefix.
_ENSEMBL = {
    "ENSG": "human",
    "ENSMUSG": "mouse",
    "ENSRNOG": "rat",
    "ENSMMUG": "rhesus macaque",
    "ENSPTRG": "chimpanzee",
    "ENSSSCG": "pig",
    "ENSBTAG": "cow",
    "ENSGALG": "chicken",
    "ENSDARG": "zebrafish",
    "FBgn": "fruit fly",
    "WBGene": "worm",
}
_ENSEMBL_ID = re.compile(r"^(ENS[A-Z]*G|FBgn|WBGene)\d{6,}(\.\d+)?$")
# Human symbols are upper case (MALAT1, C1orf112), mouse and rat symbols capitalised (Malat1).
_HUMAN_SYMBOL = re.compile(r"^[A-Z][A-Z0-9.\-]*$|^C\d+orf\d+$")
_RODENT_SYMBOL = re.compile(r"^[A-Z][a-z0-9][a-zA-Z0-9.\-]*$")


@dataclass(frozen=True)
class GeneNames:
    """What a list of gene names looks like.

    Args:
        system: ``Ensembl ids``, ``gene symbols``, ``Entrez ids`` or ``unknown names``.
        species: ``human``, ``mouse``, …; ``unknown`` where the names do not tell.
        share: Share of the names that fit this description.
        examples: The first few names.
        advice: What to do, in a sentence.
    """

    system: str
    species: str
    share: float
    examples: tuple[str, ...]
    advice: str

    @property
    def is_foreign(self) -> bool:
        """Whether the names look like those of another species."""
        return self.species not in ("human", "unknown")


def describe_genes(names: Iterable[object]) -> GeneNames:
    """Guess system and species of gene names from their shape."""
    texts = [str(name) for name in names]
    kinds = Counter(_kind(text) for text in texts)
    (system, species), count = kinds.most_common(1)[0] if kinds else (("unknown names", "unknown"), 0)
    return GeneNames(system, species, count / max(len(texts), 1), tuple(texts[:3]), _advice(system, species))


def _kind(name: str) -> tuple[str, str]:
    match = _ENSEMBL_ID.match(name)
    if match:
        return "Ensembl ids", _ENSEMBL.get(match[1], "unknown")
    if name.isdigit():
        return "Entrez ids", "unknown"
    if _HUMAN_SYMBOL.match(name):
        return "gene symbols", "human"
    if _RODENT_SYMBOL.match(name):
        return "gene symbols", "mouse"
    return "unknown names", "unknown"


def _advice(system: str, species: str) -> str:
    if species not in ("human", "unknown"):
        return f"The names look like {species} {system}: map them to human orthologues (Ensembl ids) first"
    if system == "gene symbols":
        return "The names look like gene symbols: name a table of them and their Ensembl ids with symbols (--symbols)"
    if system == "Entrez ids":
        return "The names look like Entrez numbers: map them to human Ensembl ids first"
    return "Put human Ensembl ids into var_names, or name the column that holds them with gene_key"
