"""Upstream's YAMLs as they stand: what is read, what is named in the note, what has to be said besides."""

from pathlib import Path

import pytest
import yaml

from tahoe_distill.cli import distill
from tahoe_distill.cli.upstream import from_upstream, is_upstream
from tahoe_distill.training.run_config import check_run
from tahoe_distill.training.whole_check import check_whole_run

# The sections of upstream's `test_run.yaml`, with fewer cells and local folders.
RUN = """
global_seed: 777
seed: ${{global_seed}}
device_train_batch_size: 8
global_train_batch_size: 8
device_eval_batch_size: 8
device_train_microbatch_size: 8
vocabulary: {{remote: "s3://cells/vocab.json", local: vocab.json}}
model:
  name: tahoex
  d_model: 512
  n_layers: 12
  init_device: cpu
  n_heads: 8
  attn_config: {{attn_impl: flash, attn_type: grouped_query_attention, kv_nheads: 8, attn_pdrop: 0.0}}
  norm_config: {{norm_type: layernorm, eps: 1.0e-5}}
  expression_encoder: {{input_emb_style: continuous, dropout: 0.1, max_value: 512, activation: relu, use_norm: true}}
  mvc: {{arch_style: inner product, query_activation: sigmoid, scaled_dot_product: true}}
collator:
  do_padding: true
  pad_value: -2
  do_mlm: true
  do_binning: true
  mlm_probability: 0.5
  mask_value: -1
  max_length: 32
  sampling: true
  data_style: both
  num_bins: 51
  right_binning: false
  use_junk_tokens: false
train_loader:
  dataset:
    streams: {{tahoe: {{local: {shards}/train}}}}
    download_timeout: 300
    allow_unsafe_types: true
    shuffle: true
    shuffle_seed: ${{global_seed}}
    num_canonical_nodes: 1
  drop_last: false
  num_workers: 0
  pin_memory: false
  prefetch_factor: 4
  persistent_workers: true
valid_loader:
  dataset:
    streams: {{tahoe: {{local: {shards}/val}}}}
    shuffle: false
    shuffle_seed: ${{global_seed}}
    num_canonical_nodes: 1
  drop_last: false
  num_workers: 0
optimizer: {{name: decoupled_adamw, lr: 3.0e-4, betas: [0.9, 0.95], eps: 1.0e-08, weight_decay: 1.0e-05}}
scheduler: {{name: cosine_with_warmup, t_warmup: 0.05dur, t_max: 1dur, alpha_f: 0.1}}
algorithms:
  gradient_clipping: {{clipping_type: norm, clipping_threshold: 1.0}}
  low_precision_layernorm: {{}}
precision: amp_bf16
eval_interval: 1000ba
eval_subset_num_batches: 100
max_duration: 6ep
fsdp_config:
  sharding_strategy: FULL_SHARD
  mixed_precision: DEFAULT
  activation_checkpointing: false
  activation_checkpointing_reentrant: false
  activation_cpu_offload: false
  limit_all_gathers: true
  verbose: true
progress_bar: false
callbacks: {{speed_monitor: {{window_size: 20}}, lr_monitor: {{}}, memory_monitor: {{}}, runtime_estimator: {{}}}}
load_path: s3://cells/ep4-ba104156-rank0.pt
"""


@pytest.fixture
def upstream(shards):
    return yaml.safe_load(RUN.format(shards=shards))


@pytest.fixture
def overrides(small_teacher):
    student = "{hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2}"
    return [f"model.teacher={small_teacher}", f"model.student={student}", "precision=fp32"]


def test_a_whole_run_can_start(upstream, overrides):
    assert is_upstream(upstream)
    run, notes = from_upstream(upstream, overrides)
    assert not is_upstream(run)
    check_run(run, "test_run.yaml")
    assert check_whole_run(run).startswith("the run can start: a student of ")
    assert run["seed"] == 777 and run["eval_loader"]["dataset"]["shuffle_seed"] == 777
    assert run["max_seq_len"] == 32 and run["tokenizer"] == {}
    assert run["train_loader"]["collator"] == run["eval_loader"]["collator"]
    assert run["train_loader"]["collator"]["mlm_probability"] == 0.5
    assert [note.partition(":")[0] for note in notes] == [
        "vocabulary",
        "device_train_batch_size",
        "model.{d_model, n_layers, n_heads, norm_config, attn_config, expression_encoder, mvc, init_device}",
        "load_path",
        "collator.{data_style, use_junk_tokens}",
    ]


def test_a_file_of_the_platform_holds_a_run(upstream, overrides):
    platform = {"name": "tx-70m", "image": "x", "compute": {"gpus": 16}, "command": "composer train.py"}
    run, notes = from_upstream({**platform, "parameters": upstream}, overrides)
    assert run == {**from_upstream(upstream, overrides)[0], "run_name": "tx-70m"}
    assert notes[0] == "name, image, compute, command: of the platform's launcher"


def test_its_data_sections_serve_a_run_of_ours(upstream, run_config):
    """Only the loaders are upstream's, in a YAML that is this project's otherwise."""
    taken = {key: upstream[key] for key in ("global_seed", "collator", "train_loader", "valid_loader")}
    mixed = {**{key: value for key, value in run_config.items() if key != "eval_loader"}, **taken}
    run, notes = from_upstream(mixed)
    assert run["model"] == run_config["model"] and len(notes) == 1
    assert check_whole_run(run).startswith("the run can start")


def test_what_to_distil_has_to_be_said(upstream):
    with pytest.raises(ValueError, match="a pretraining run of upstream's; say what to distil, such as model.teacher"):
        from_upstream(upstream)


def test_two_evaluations_are_one_too_many(upstream, overrides):
    with pytest.raises(ValueError, match="found valid_loader and eval_loader; keep one"):
        from_upstream({**upstream, "eval_loader": upstream["valid_loader"]}, overrides)


def test_a_run_of_ours_is_left_as_it_is(run_config, tmp_path):
    assert not is_upstream(run_config)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(run_config))
    assert distill.read_run(str(path), ["seed=2"]) == (run_config, ["seed=2"])
    with distill._file_of(str(path), run_config) as read:
        assert read == str(path)


def test_llm_foundry_reads_what_was_made_of_it(upstream, overrides, tmp_path, capsys):
    path = tmp_path / "test_run.yaml"
    path.write_text(yaml.safe_dump(upstream))
    run, left = distill.read_run(str(path), overrides)
    assert left == [] and "test_run.yaml is upstream's; without a meaning here:\n  vocab" in capsys.readouterr().err
    with distill._file_of(str(path), run) as read:
        assert yaml.safe_load(Path(read).read_text(encoding="utf-8")) == run
