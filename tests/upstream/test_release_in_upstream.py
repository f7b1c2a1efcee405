"""A release that this package writes loads in upstream's own class, strictly, and answers alike."""

import pytest
import torch

from tahoe_distill import GeneVocab, Tx1Config, Tx1Model, Tx1Processor
from tahoe_distill.teacher.release import write_release
from tests.helpers.oracle import TOKENS, compare, from_hf, perturb


@pytest.mark.parametrize("masked_attention", [True, False])
@pytest.mark.parametrize("mvc_scaled", [True, False])
def test_upstream_loads_what_we_write(upstream, cells, tmp_path, monkeypatch, masked_attention, mvc_scaled):
    torch.manual_seed(0)
    config = Tx1Config(
        vocab_size=44,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        hidden_act="gelu",
        use_glu=True,
        expression_head_layers=2,
        masked_attention=masked_attention,
        mvc_scaled=mvc_scaled,
        context_length=16,
    )
    model = Tx1Model(config).eval()
    perturb(model)
    # Upstream runs such a release without the rule, so nothing may be masked.
    cells = {**cells, "gen_mask": cells["gen_mask"] & (not masked_attention)}
    write_release(model, Tx1Processor(GeneVocab(TOKENS), max_length=16), tmp_path / "tiny-model")
    compare(from_hf(upstream, tmp_path, monkeypatch), model, cells)
