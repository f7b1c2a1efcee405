"""A tiny model with random weights everywhere, and a padded batch for it."""

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tahoe_distill import GeneVocab, Tx1Config
from tests.helpers.tiny_student import randomised

TINY = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "value_dropout": 0.0,
    "context_length": 12,
}


@pytest.fixture
def make_model():
    """A function that builds a tiny model with every tensor random, changed by keyword."""

    def make(**changes):
        torch.manual_seed(0)
        return randomised(Tx1Config(**{**TINY, **changes}), 0.3)

    return make


@pytest.fixture
def batch():
    """Three cells of 9, 6 and 2 tokens."""
    generator = torch.Generator().manual_seed(0)
    gene_ids = torch.stack([torch.randperm(26, generator=generator)[:9] + 4 for _ in range(3)])
    bins = torch.randint(1, 51, (3, 9), generator=generator).float()
    mask = torch.arange(9) < torch.tensor([9, 6, 2])[:, None]
    gene_ids[:, 0], bins[:, 0] = 1, -2
    return {
        "gene_ids": gene_ids.masked_fill(~mask, 0),
        "expression_bins": bins.masked_fill(~mask, -2),
        "attention_mask": mask.long(),
    }


@pytest.fixture
def masked(batch):
    """Some genes of each cell, never <cls> or padding."""
    masked = torch.zeros_like(batch["attention_mask"], dtype=torch.bool)
    masked[0, [2, 5, 8]], masked[1, [1, 4]] = True, True
    return masked


@pytest.fixture
def vocab():
    """Thirty tokens: four special ones, then genes."""
    specials = ["<pad>", "<cls>", "<eoc>", "<drug>"]
    genes = [f"ENSG{number:011d}" for number in range(26)]
    return GeneVocab(
        {token: number for number, token in enumerate(specials + genes)}, {"TP53": "ENSG00000000007", "ODD": "ENSG9"}
    )


def flash_stand_in(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **options):
    """Unpadded attention cell by cell, zero at padding, as flash-attn answers: (C, H, G, K) -> (C, G, H, K)."""
    assert attention_mask is None or attention_mask.dim() == 2
    out = torch.zeros_like(query)
    for cell in range(len(query)):
        seen = slice(None) if attention_mask is None else attention_mask[cell].bool()
        q, k, v = (tensor[cell, :, seen] for tensor in (query, key, value))
        out[cell, :, seen] = (q @ k.transpose(1, 2) * scaling).softmax(dim=-1) @ v
    return out.transpose(1, 2), None


@pytest.fixture
def use(monkeypatch):
    """A function that makes a model attend by an implementation."""
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "flash_attention_2", flash_stand_in)

    def choose(model, implementation):
        model.config._attn_implementation = implementation
        return model

    return choose
