"""The arithmetic against PyTorch's own count, and the tables of the document against the arithmetic."""

import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tahoe_distill.costs import PEAK_BF16, TRAINING_FACTOR, cached_bytes, forward_flops, gpu_hours
from tahoe_distill.models import Tx1Config, Tx1Model
from tests.helpers import REPOSITORY

# By release: width, layers, heads, context.
TEACHERS = {"70m": (512, 12, 8, 1024), "1b": (2048, 24, 16, 2048), "3b": (2560, 32, 20, 2048)}
SMALL = Tx1Config(hidden_size=256, num_hidden_layers=4, num_attention_heads=4)
COST = (REPOSITORY / "docs/cost.md").read_text(encoding="utf-8")


def teacher(size):
    width, layers, heads, context = TEACHERS[size]
    return Tx1Config(
        hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, context_length=context
    ), context


@pytest.mark.parametrize("changes", [{}, {"use_glu": True}, {"gene_rank": 4, "projection_dim": 24}])
def test_pytorch_counts_the_same(changes):
    config = Tx1Config(
        vocab_size=50, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, context_length=32, **changes
    )
    config._attn_implementation = "eager"
    model = Tx1Model(config).eval()
    genes = torch.randint(3, 50, (1, 20))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(genes, torch.ones(1, 20))
    assert counter.get_total_flops() == pytest.approx(forward_flops(config, 20), rel=1e-3)


def rows(heading):
    """The table below a heading of the document, as lists of cells."""
    section = COST.partition(heading)[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def number(text):
    return float(re.sub(r"[^\d.]", "", text))


def test_the_table_of_teachers_is_this_arithmetic():
    found = {row[0]: row[1:] for row in rows("## The teacher")}
    assert found.keys() == TEACHERS.keys()
    for size, (context, flops, rate, hours, kilobytes) in found.items():
        config, genes = teacher(size)
        cell = forward_flops(config, genes)
        assert number(context) == genes
        assert number(flops) == pytest.approx(cell / 1e9, rel=0.01)
        assert number(rate) == pytest.approx(0.45 * PEAK_BF16["H200"] / cell, rel=0.02)
        assert number(hours) == pytest.approx(gpu_hours(300e6 * cell, gpu="H200", share=0.45), rel=0.02)
        assert number(kilobytes) == pytest.approx(cached_bytes(config, genes) / 1e3, rel=0.01)


def test_the_step_live_and_cached_is_this_arithmetic():
    step = TRAINING_FACTOR * forward_flops(SMALL, 1024)
    live, cached = (number(row[1]) for row in rows("## Live or cached"))
    assert cached == pytest.approx(step / 1e9, rel=0.01)
    assert live == pytest.approx((step + forward_flops(*teacher("70m"))) / 1e9, rel=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpu": "H400", "share": 0.4}, "found GPU 'H400', expected one of A100"),
        ({"gpu": "H100", "share": 0}, "share 0"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        gpu_hours(1.0, **options)


def test_an_encoder_without_attention_is_refused():
    with pytest.raises(ValueError, match="found encoder 'set', expected a transformer"):
        forward_flops(Tx1Config(encoder="set"), 10)
