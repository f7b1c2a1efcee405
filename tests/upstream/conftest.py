"""The upstream package as oracle: its model on a CPU, with random weights, written as a release."""

import json
import sys

import pytest
import torch
import yaml
from safetensors.torch import save_file

from tests.helpers.flash_attn_stand_in import build_modules
from tests.helpers.oracle import TOKENS, perturb

MODEL = {
    "vocab_size": 40,
    "d_model": 24,
    "n_layers": 3,
    "n_heads": 3,
    "expansion_ratio": 4,
    "norm_scheme": "pre",
    "transformer_activation": "relu",
    "use_glu": False,
    "cell_emb_style": "cls",
    "attn_config": {"attn_impl": "torch", "attn_type": "grouped_query_attention", "kv_nheads": 3, "attn_pdrop": 0.0},
    "norm_config": {"norm_type": "layernorm", "eps": 1.0e-5},
    "expression_encoder": {
        "input_emb_style": "continuous",
        "dropout": 0.1,
        "max_value": 20,
        "activation": "relu",
        "use_norm": True,
    },
    "gene_encoder": {"use_norm": True},
    "mvc": {"arch_style": "inner product", "query_activation": "sigmoid", "scaled_dot_product": True},
    "expression_decoder": {"n_outputs": 1, "n_layers": 1, "activation": "leaky_relu"},
}
COLLATOR = {"pad_token_id": 0, "pad_value": -2, "mask_value": -1, "max_length": 16, "num_bins": 51}


@pytest.fixture
def upstream(monkeypatch, upstream_package):
    """The module of upstream's model, able to run on a CPU while the test lasts."""
    pytest.importorskip("llmfoundry", reason="the oracle needs the train extra")
    attention = pytest.importorskip("llmfoundry.models.layers.attention")
    mpt = pytest.importorskip("llmfoundry.models.mpt.modeling_mpt")
    model = upstream_package.model.model
    modules = build_modules()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(mpt, "bert_padding", modules["flash_attn.bert_padding"], raising=False)
    monkeypatch.setattr(attention, "check_valid_inputs", lambda *tensors, **options: None)
    monkeypatch.setattr(model.TXBlock, "forward", _with_repaired_bias(model.TXBlock.forward))
    return model


def _with_repaired_bias(forward):
    """Upstream 1.0.0 pairs each cell's masked-attention rule with each cell's padding, (1, C, C, G, G), and fails.

    What it means is the rule and the padding of the same cell: the diagonal of the two, (C, 1, G, G).
    """

    def repaired(self, x, attn_bias=None, flash_attn_padding_info=None):
        if attn_bias is not None:
            attn_bias = attn_bias[0].diagonal(dim1=0, dim2=1).permute(2, 0, 1).unsqueeze(1)
        return forward(self, x, attn_bias, flash_attn_padding_info)

    return repaired


@pytest.fixture
def build_oracle(upstream, tmp_path):
    """A function that builds an upstream model from changes to the settings and writes it as a release folder."""
    from omegaconf import OmegaConf

    def build(collator=None, **changes):
        model_config = {**MODEL, **changes}
        model_config = {key: value for key, value in model_config.items() if value is not ...}
        collator_config = {**COLLATOR, **(collator or {})}
        torch.manual_seed(0)
        oracle = upstream.ComposerTX(OmegaConf.create(model_config), OmegaConf.create(collator_config))
        perturb(oracle)
        oracle.eval()
        oracle.model.return_gene_embeddings = True
        folder = tmp_path / "release" / "tiny-model"
        folder.mkdir(parents=True)
        (folder / "vocab.json").write_text(json.dumps(TOKENS))
        (folder / "model_config.yml").write_text(yaml.safe_dump(model_config))
        (folder / "collator_config.yml").write_text(yaml.safe_dump(collator_config))
        save_file(
            {name: tensor.contiguous() for name, tensor in oracle.state_dict().items()}, folder / "model.safetensors"
        )
        return oracle, folder.parent

    return build


@pytest.fixture
def cells():
    """Five cells of 13 positions as upstream batches them: three padded, some genes masked, one cell without."""
    generator = torch.Generator().manual_seed(1)
    genes = torch.stack([torch.randperm(36, generator=generator)[:13] + 4 for _ in range(5)])
    genes[:, 0] = 1
    values = torch.randint(1, 51, (5, 13), generator=generator).float()
    masked = torch.rand(5, 13, generator=generator) < 0.4
    for row, length in enumerate((13, 9, 13, 5, 2)):
        genes[row, length:] = 0
        values[row, length:] = -2
    values[:, 0] = -2
    masked &= genes.gt(1)
    masked[2] = False
    return {"gene": genes, "expr": values.masked_fill(masked, -1), "gen_mask": masked}
