"""A small `flash_attn` for CPUs: what the upstream model calls of it, computed sequence by sequence."""

import importlib.machinery
import types

import torch


def unpad_input(hidden_states, attention_mask):
    """(C, G, …) -> tokens (T, …), their flat positions (T,), sequence borders (C + 1,), longest sequence, lengths."""
    lengths = attention_mask.sum(dim=-1, dtype=torch.int32)
    positions = attention_mask.flatten().nonzero().flatten()
    borders = torch.nn.functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    return index_first_axis(hidden_states.flatten(0, 1), positions), positions, borders, int(lengths.max()), lengths


def index_first_axis(tokens, positions):
    return tokens[positions]


def pad_input(tokens, positions, batch, longest):
    padded = tokens.new_zeros(batch * longest, *tokens.shape[1:])
    padded[positions] = tokens
    return padded.view(batch, longest, *tokens.shape[1:])


def flash_attn_varlen_func(q, k, v, cu_seqlens_q, cu_seqlens_k, softmax_scale=None, causal=False, **options):
    """Attention within each sequence of (T, H, K) queries, keys and values."""
    if causal or options.get("dropout_p") or options.get("window_size", (-1, -1)) != (-1, -1):
        raise NotImplementedError("the stand-in knows plain attention alone")
    out = torch.empty_like(q)
    for first, last in zip(cu_seqlens_q[:-1], cu_seqlens_q[1:]):
        scores = torch.einsum("qhd,khd->hqk", q[first:last], k[first:last]) * (softmax_scale or q.shape[-1] ** -0.5)
        out[first:last] = torch.einsum("hqk,khd->qhd", scores.softmax(dim=-1), v[first:last])
    return out


def build_modules():
    """The stand-in as modules by the names that upstream imports."""
    root = types.ModuleType("flash_attn")
    root.__version__ = "2.7.4"
    root.__path__ = []
    padding = types.ModuleType("flash_attn.bert_padding")
    padding.unpad_input, padding.pad_input, padding.index_first_axis = unpad_input, pad_input, index_first_axis
    interface = types.ModuleType("flash_attn.flash_attn_interface")
    interface.flash_attn_varlen_func = flash_attn_varlen_func
    root.bert_padding, root.flash_attn_interface = padding, interface
    modules = {module.__name__: module for module in (root, padding, interface)}
    for name, module in modules.items():
        module.__spec__ = importlib.machinery.ModuleSpec(name, loader=None)
    return modules
