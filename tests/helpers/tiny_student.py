"""A tiny student and a few dozen cells, some of them above its context."""

import anndata
import numpy as np
import pandas as pd
import torch
from scipy import sparse

from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model, Tx1Processor

GENES = [f"ENSG{number:011d}" for number in range(60)]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "max_length": 32}


def tiny_vocab(drug=False):
    special = ["<pad>", "<cls>", "<eoc>", *(["<drug>"] if drug else [])]
    return GeneVocab({token: number for number, token in enumerate([*special, *GENES])})


def randomised(config, scale):
    """A model with every tensor perturbed: zeros and ones, as biases and norms start with, hide faults.

    A fresh model ignores expression altogether: without biases the value encoder only scales its input, and the norm
    after it takes that away.
    """
    model = Tx1Model(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


def tiny_pair(drug=False, seed=0, **settings):
    """A model with every tensor random, and its processor."""
    vocab = tiny_vocab(drug)
    torch.manual_seed(seed)
    if drug:
        settings = {"num_drugs": 4, "drug_fingerprint_dim": 8, "drug_token_id": vocab["<drug>"], **settings}
    model = randomised(Tx1Config(vocab_size=len(vocab), **{**SMALL, **settings}), 0.1)
    chem = {"use_chem_token": True, "drug_to_id": {"aspirin": 1, "ibuprofen": 2}} if drug else {}
    return model, Tx1Processor(vocab, max_length=32, **chem)


def tiny_cells(count=40, seed=0):
    """Counts of 70 genes, 60 of them known: cells with 1 to 60 genes."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(3.0, (count, 70)) * (rng.random((count, 70)) < rng.uniform(0.05, 1.0, (count, 1)))
    counts[:, 0] += 1
    names = [*GENES, *(f"ENSG9{number:010d}" for number in range(10))]
    obs = pd.DataFrame({"drug": ["aspirin", "no such drug"] * (count // 2)}, index=[f"cell{i}" for i in range(count)])
    return anndata.AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=names))


def save_pair(pair, folder):
    """Save model and processor as an exported folder; return it."""
    for part in pair:
        part.save_pretrained(folder)
    return folder
