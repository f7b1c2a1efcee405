"""`TahoePreprocessor`: tokenising alone, for those who call the model themselves."""

import os
from pathlib import Path

from anndata import AnnData
from transformers import BatchFeature

from tahoe_distill.embedding.session import MatchedCells, open_cells
from tahoe_distill.models import GeneVocab, Tx1Processor


class TahoePreprocessor:
    """Turns an AnnData into the tensors of a Tahoe-x1 model.

    Args:
        source: Folder or hub id of an exported model, a ``vocab.json``, a ``GeneVocab`` or a ``Tx1Processor``.
        **settings: Settings of :class:`~tahoe_distill.models.Tx1Processor` to change, such as ``max_length``.

    Raises:
        ValueError: When a setting is unknown.

    Examples:
        >>> from tahoe_distill import TahoePreprocessor
        >>> inputs = TahoePreprocessor("path/to/student").process_adata(adata)  # doctest: +SKIP
        >>> model(**inputs, cell_only=True).pooler_output  # doctest: +SKIP
    """

    def __init__(self, source: str | os.PathLike[str] | GeneVocab | Tx1Processor, **settings: object):
        if isinstance(source, Tx1Processor):
            processor = Tx1Processor(source.vocab, **_settings(source))
        elif isinstance(source, GeneVocab):
            processor = Tx1Processor(source)
        elif Path(source).is_file():
            processor = Tx1Processor(GeneVocab.from_file(str(source)))
        else:
            processor = Tx1Processor.from_pretrained(str(source))
        known = _settings(processor)
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise ValueError(f"unknown settings {', '.join(unknown)}; expected some of {', '.join(sorted(known))}")
        self.processor = Tx1Processor(processor.vocab, **{**known, **settings})

    def process_adata(
        self, adata: AnnData, layer: str | None = None, gene_key: str | None = None, *, drug_key: str | None = None
    ) -> BatchFeature:
        """Tokenise all cells.

        Args:
            adata: Cells by genes; raw counts or log1p of them.
            layer: Layer to read instead of ``X``.
            gene_key: Column of ``var`` with Ensembl ids; found by itself when left out.
            drug_key: Column of ``obs`` with drug names, for a model with a drug token.

        Returns:
            A dict of ``gene_ids`` (C, G) int64, ``expression_bins`` (C, G) float32 and ``attention_mask`` (C, G) int64,
            G the longest of the cells; ``drug_ids`` (C,) too where there is a drug token. ``model(**inputs)`` takes
            it.
        """
        with open_cells(adata, layer) as source:
            cells = MatchedCells(source, self.processor, gene_key=gene_key, drug_key=drug_key)
            cells.check()
            return self.processor.pad(cells.encode(0, cells.n_obs), cells.drug_ids)


def _settings(processor):
    return {name: value for name, value in processor.to_dict().items() if name in _NAMES}


_NAMES = (
    "max_length", "num_bins", "right_binning", "do_binning", "log_transform", "target_sum", "pad_value", "mask_value",
    "use_chem_token", "drug_to_id",
)  # fmt: skip
