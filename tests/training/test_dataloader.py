"""The ``tahoe_mds`` loader: upstream's YAML as it stands, unknown keys, streams, and exact resumption."""

import logging
import shutil
import tempfile

import pytest
from llmfoundry.data.dataloader import build_dataloader
from omegaconf import OmegaConf

from tahoe_distill.data.preparing.prepare import prepare_shards
from tahoe_distill.models.processing_tx1 import GeneVocab
from tahoe_distill.training.dataloader import build_tahoe_mds_dataloader, check_loader, recorded_cells

# As upstream's configurations have it, with local folders; the collator's section stands beside the loader's there.
UPSTREAM = """
train_loader:
  name: tahoe_mds
  vocab: {root}/a/vocab.json
  dataset:
    streams:
      tahoe: {{local: {root}/a/train, proportion: 0.75}}
      cellxgene: {{local: {root}/b/train, proportion: 0.25}}
    download_timeout: 300
    allow_unsafe_types: true
    shuffle: true
    shuffle_seed: 777
    num_canonical_nodes: 2
    cache_limit: null
  collator:
    do_padding: true
    pad_value: -2
    do_mlm: true
    do_binning: true
    mlm_probability: [0.15, 0.5]
    mask_value: -1
    max_length: 24
    sampling: true
    data_style: both
    num_bins: 51
    right_binning: false
    use_junk_tokens: false
    reserve_keys: [id, cell_type]
  drop_last: true
  num_workers: 0
  pin_memory: false
  prefetch_factor: 48
  persistent_workers: true
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two prepared sets, ``a`` in the typed format and ``b`` as Tahoe's."""
    import anndata
    import numpy as np
    import pandas as pd
    from scipy import sparse

    root = tmp_path_factory.mktemp("sets")
    names = [f"ENSG{number:011d}" for number in range(50)]
    vocab = GeneVocab({name: number for number, name in enumerate(["<pad>", "<cls>", *names])})
    for number, (name, form) in enumerate((("a", "typed"), ("b", "tahoe"))):
        counts = np.random.default_rng(number).poisson(1.0, (80, 50)).astype(np.float32)
        obs = pd.DataFrame({"cell_type": [f"{name}{row % 3}" for row in range(80)]}, index=map(str, range(80)))
        adata = anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=names))
        adata.write_h5ad(root / f"{name}.h5ad")
        prepare_shards(root / f"{name}.h5ad", root / name, vocab, keep="cell_type", val_fraction=0.1, format=form)
    return root


def config(folder, **changes):
    section = OmegaConf.to_container(OmegaConf.create(UPSTREAM.format(root=folder)))["train_loader"]
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = section
        for parent in parents:
            target = target[parent]
        target[last] = value
    return section


def build(folder, **changes):
    return build_dataloader(config(folder, **changes), None, 8)


def fingerprint(batch):
    return (batch["id"].tolist(), batch["cell_type"], batch["gene"].tolist(), batch["expr"].tolist())


def test_upstreams_yaml_through_the_registry(folder, caplog):
    with caplog.at_level(logging.WARNING):
        spec = build(folder)
    assert "allow_unsafe_types is ignored" in caplog.text
    batches = list(spec.dataloader)
    sources = [name[0] for batch in batches for name in batch["cell_type"]]
    assert len(batches) == 18 and spec.get_num_samples_in_batch(batches[0]) == 8
    assert sources.count("a") / len(sources) == pytest.approx(0.75, abs=0.05)
    assert batches[0]["gene"].shape[1] <= 24 and batches[0]["gen_mask"].any()


def test_whole_configuration_objects_are_accepted(folder):
    section = OmegaConf.create(config(folder))
    del section["name"]
    assert build_tahoe_mds_dataloader(**section, device_batch_size=8, tokenizer=None)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("num_worker", "tahoe_mds has no option 'num_worker': did you mean 'num_workers'"),
        ("dataset__shufle", "dataset has no option 'shufle': did you mean 'shuffle'"),
        ("dataset__streams__tahoe__propotion", "dataset.streams.tahoe has no option 'propotion': did you mean 'propor"),
        ("collator__mlm_probabilty", "collator has no option 'mlm_probabilty': did you mean 'mlm_probability'"),
        ("collator__zzz", "collator has no option 'zzz': expected one of augment"),
    ],
)
def test_unknown_keys_name_the_closest(folder, path, message):
    with pytest.raises(ValueError, match=message):
        build(folder, **{path: 1})


def test_a_temporary_folder_too_long_for_sockets_is_refused(folder, monkeypatch):
    """Workers would write their errors and nothing else, and the run would wait for ever."""
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + 71 * "x")
    with pytest.raises(ValueError, match="76 characters; workers.* takes at most 75. Set TMPDIR to a shorter one"):
        build(folder, num_workers=1)


def test_max_length_is_required(folder):
    section = config(folder)
    del section["collator"]["max_length"]
    with pytest.raises(ValueError, match="collator needs max_length"):
        build_dataloader(section, None, 8)


def test_vocabulary_beside_the_shards(folder):
    section = config(folder, dataset={"local": str(folder / "a"), "split": "train", "shuffle": False})
    del section["vocab"]
    collate = build_dataloader(section, None, 8).dataloader.collate_fn
    assert len(collate.vocab) == 52 and collate.deterministic and collate.seed == 17
    (folder / "a" / "vocab.json").rename(folder / "a" / "hidden.json")
    section = config(folder, dataset={"local": str(folder / "a"), "split": "train"})
    del section["vocab"]
    try:
        with pytest.raises(ValueError, match="no vocab.json in or beside"):
            build_dataloader(section, None, 8)
    finally:
        (folder / "a" / "hidden.json").rename(folder / "a" / "vocab.json")


def test_a_stream_that_is_null_is_left_out(folder):
    batches = build(folder, dataset__streams__cellxgene=None).dataloader
    assert {name[0] for batch in batches for name in batch["cell_type"]} == {"a"}
    check_loader(config(folder, dataset__streams__cellxgene=None), "train_loader")


def test_the_vocabulary_of_the_teacher_where_none_lies_beside_the_shards(shards, small_teacher, small_vocab, tmp_path):
    """As for shards in a store, of which nothing is here yet; ``--check`` and training read the same section."""
    shutil.copytree(shards / "train", tmp_path / "train")
    section = {"dataset": {"local": str(tmp_path / "train")}, "collator": {"max_length": 8}, "num_workers": 0}
    teacher = {"source": str(small_teacher), "dtype": "bfloat16"}
    loader = build_tahoe_mds_dataloader(**section, vocab=teacher, device_batch_size=8).dataloader
    assert loader.collate_fn.vocab.tokens == small_vocab.tokens
    with pytest.raises(ValueError, match="the teacher has no source; expected one such as tahoebio/Tahoe-x1"):
        build_tahoe_mds_dataloader(**section, vocab={"size": "70m"}, device_batch_size=8)
    with pytest.raises(ValueError, match="vocab has no option 'sorce': did you mean 'source'"):
        build_tahoe_mds_dataloader(**section, vocab={"sorce": "x"}, device_batch_size=8)
    # Shards are of the vocabulary that lies beside them.
    (tmp_path / "vocab.json").write_text('{"<pad>": 0, "<cls>": 1, "ENSG00000000001": 2}')
    loader = build_tahoe_mds_dataloader(**section, vocab=teacher, device_batch_size=8).dataloader
    assert len(loader.collate_fn.vocab) == 3


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("resumed_with", [0, 2])
def test_resumption_is_exact(folder, workers, resumed_with):
    """After N batches of the second epoch, a reloaded loader yields what the first would have, the third included."""
    first = build(folder, num_workers=workers, persistent_workers=False).dataloader
    for _ in first:
        pass
    second_epoch = iter(first)
    for _ in range(5):
        next(second_epoch)
    state = first.state_dict()
    expected = [fingerprint(batch) for batch in second_epoch] + [fingerprint(batch) for batch in first]
    again = build(folder, num_workers=resumed_with, persistent_workers=False).dataloader
    again.load_state_dict(state)
    found = [fingerprint(batch) for batch in again] + [fingerprint(batch) for batch in again]
    assert len(found) == 13 + 18 and found == expected


def test_context_and_masks_change_with_the_epoch(folder):
    one = {"local": str(folder / "a"), "split": "train", "shuffle": False}
    loader = build(folder, dataset=one, collator__deterministic=False).dataloader
    first, second = ([fingerprint(batch) for batch in loader] for _ in range(2))
    assert first[0][0] == second[0][0] and first[0][3] != second[0][3]


def test_what_prepare_wrote_of_the_cells_is_found_beside_them(shards):
    found = {"cells": 48, "files": ["cells.h5ad"]}
    assert recorded_cells({"dataset": {"local": str(shards / "train")}}) == found
    assert recorded_cells({"dataset": {"streams": {"a": {"local": str(shards), "split": "train"}}}}) == found
    assert recorded_cells({"dataset": {"remote": "s3://cells/train", "local": str(shards.parent / "no")}}) is None
