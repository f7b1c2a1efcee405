"""The page of a student: its weights and vocabulary, the script that reads and embeds cells, in one HTML file."""

import base64
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor, nn

from tahoe_distill.cells import with_symbols
from tahoe_distill.embedding import load_student
from tahoe_distill.embedding.loading import ModelSource, is_path
from tahoe_distill.evaluation.page import page
from tahoe_distill.files import finished_folder
from tahoe_distill.models import Tx1Model, Tx1Processor
from tahoe_distill.models.modeling_tx1 import inference
from tahoe_distill.models.processing_tx1 import GENE_ID_COLUMNS, SYMBOL_COLUMNS
from tahoe_distill.models.set_encoder_tx1 import SetEncoder

# What browsers were seen to bear: weights in base64 are one string of the page, and a file is read into memory whole.
MOST_WEIGHTS, MOST_FILE = 200_000_000, 400_000_000
ACTIVATIONS = ("gelu", "relu", "silu", "tanh")
PAGE_FILE = "index.html"
# In the order in which they need each other; the first is another project's (see NOTICE).
_SCRIPTS = ("jsfive.js", "genes.js", "encoder.js", "reading.js", "view.js")


def write_page(model: ModelSource, out: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a page that embeds cells with a student, in any browser, without a server and without a network.

    Args:
        model: A student without attention (``encoder: set``), as :func:`tahoe_distill.embed` takes it.
        out: Folder to write ``index.html`` to.
        overwrite: Replace a folder that exists.

    Returns:
        The page.

    Raises:
        ValueError: When the student cannot be shown: it pays attention, has a drug token, reads a part of a cell's
            genes, or has more than 200 MB of weights.
        FileExistsError: When ``out`` exists and ``overwrite`` is off.
    """
    pair = load_student(model)
    _check(*pair)
    content = model_data(*pair)
    name = Path(str(model)).resolve().name if is_path(model) else "a student"
    with finished_folder(out, overwrite) as folder:
        (folder / PAGE_FILE).write_text(_html(content, name), encoding="utf-8")
    return Path(out) / PAGE_FILE


def model_data(model: Tx1Model, processor: Tx1Processor) -> dict[str, Any]:
    """All that the page's script needs of a student: what depends on a gene or a bin alone is tabulated.

    Args:
        model: A student without attention.
        processor: Its processor.

    Returns:
        Settings as plain values; arrays as ``{"shape": …, "base64": …}`` of float32, little-endian.
    """
    config, encoder = model.config, _encoder(model)
    # The symbols that `embed` knows too.
    vocab = with_symbols(processor.vocab)
    with inference(model):
        tables = {**_tables(model, encoder), **_head(encoder, config.embedding_size)}
    return {
        "tokens": {name: number for name, number in vocab.tokens.items() if not name.startswith("<")},
        "symbols": vocab.symbols,
        "naming": vocab.naming,
        "columns": {"ids": GENE_ID_COLUMNS, "symbols": SYMBOL_COLUMNS},
        "bins": config.num_bins,
        "rightBinning": processor.right_binning,
        # As the processor has them, so that no bin falls on the other side of an edge.
        "grades": torch.linspace(0, 1, config.num_bins - 1, dtype=torch.float32).tolist(),
        "pools": list(config.set_pools),
        "topFrom": (1 - config.set_top_share) * encoder.values.top,
        "pairs": config.set_pair_rank or 0,
        "blocks": config.num_hidden_layers,
        "activation": config.hidden_act,
        "epsilon": config.layer_norm_eps,
        "mostBytes": MOST_FILE,
        "tensors": {name: _packed(tensor) for name, tensor in tables.items()},
    }


def _check(model: Tx1Model, processor: Tx1Processor) -> None:
    config = model.config
    if model.gene_set_encoder is None:
        raise ValueError(
            "a page embeds with a student without attention (encoder: set), and this one is a transformer: fit one "
            "with tahoe-distill fit, or serve this one with tahoe-distill embed"
        )
    if config.num_drugs is not None:
        raise ValueError("a page knows no drugs, and this student has a drug token: choose one without")
    if not processor.do_binning:
        raise ValueError("a page bins the counts, and this student's processor does not (do_binning is off)")
    genes = sum(not token.startswith("<") for token in processor.vocab.tokens)
    if processor.max_length < genes + len(processor.special_tokens):
        raise ValueError(
            f"a page shows a student all genes of a cell, and this one reads {processor.max_length} at most of "
            f"{genes:,}: set max_length of its processor and context_length of its model to {len(processor.vocab)}"
        )
    if config.hidden_act not in ACTIVATIONS:
        raise ValueError(f"a page knows the activations {', '.join(ACTIVATIONS)}; this student has {config.hidden_act}")
    size = 4 * (len(processor.vocab) * config.hidden_size + model.num_parameters())
    if size > MOST_WEIGHTS:
        raise ValueError(
            f"a page holds {MOST_WEIGHTS // 10**6} MB of weights at most, and this student has {size // 10**6} MB: "
            "prune it to the genes of your cells (tahoe-distill specialise), or choose a smaller one"
        )


def _encoder(model: Tx1Model) -> SetEncoder:
    encoder: Any = model.gene_set_encoder
    return encoder


def _tables(model: Tx1Model, encoder: SetEncoder) -> dict[str, Tensor]:
    """Vectors and scores of the genes, and what each bin does to them."""
    factors = encoder.values(torch.arange(model.config.num_bins, dtype=torch.float32, device=model.device))
    tables = {
        "genes": model.gene_encoder(torch.arange(model.config.vocab_size, device=model.device)),
        "scale": factors @ encoder.values.scales(),
        "shift": factors @ encoder.values.shifts(),
    }
    if encoder.gene_weight is not None and encoder.bin_weight is not None:
        tables["geneScore"], tables["binScore"] = encoder.gene_weight.weight[:, 0], encoder.bin_weight(factors)[:, 0]
    if encoder.pair_weight is not None:
        tables["pairWeight"] = factors[:, 0] + encoder.pair_weight(factors)[:, 0]
    return tables


def _head(encoder: SetEncoder, width: int) -> dict[str, Tensor]:
    """The maps behind the statistics, those to the embedding cut to its first ``width`` coordinates."""
    found: dict[str, Tensor] = {}
    for name, module in encoder.head.named_modules():
        if isinstance(module, (nn.Linear, nn.LayerNorm)):
            rows = slice(width if name in ("linear", "out_proj") else None)
            found |= {f"{name}.weight": module.weight[rows], f"{name}.bias": module.bias[rows]}
    return found


def _packed(tensor: Tensor) -> dict[str, Any]:
    array = np.ascontiguousarray(tensor.detach().float().cpu().numpy(), dtype="<f4")
    return {"shape": list(array.shape), "base64": base64.b64encode(array.tobytes()).decode("ascii")}


def _html(content: dict[str, Any], name: str) -> str:
    here = files("tahoe_distill.browser")
    texts = {script: here.joinpath(script).read_text(encoding="utf-8") for script in (*_SCRIPTS, "view.html")}
    # Inside a page the end of a script is its first `</script`, even in a string.
    code = "\n".join(texts[script].replace("</script", "<\\/script") for script in _SCRIPTS)
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    blocks = [
        Markup(texts["view.html"]),
        Markup(f'<script type="application/json" id="student">{data}</script>'),
        Markup(f"<script>{code}</script>"),
    ]
    lead = f"Drop cells on this page: the student {name} gives each a vector. Nothing leaves your machine."
    return page("Cell embeddings", blocks, lead=lead)
