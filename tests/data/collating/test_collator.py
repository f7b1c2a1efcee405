"""The collator: upstream's values, masks that reach every gene, contexts, both views, and no side effects."""

import copy

import numpy as np
import pytest
import torch
from scipy import sparse

from tahoe_distill.data.batch import EPOCH, SAMPLE, count_cells
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.models.processing_tx1 import GeneVocab

KEYS = ["gene", "expr", "expr_target", "gen_mask"]


def samples_of(lengths, genes=200, seed=0, first=4, **columns):
    """Samples with so many expressed genes each, counts of 1 and more."""
    rng = np.random.default_rng(seed)
    cells = []
    for number, length in enumerate(lengths):
        tokens = np.concatenate([[1], first + np.sort(rng.choice(genes, length, replace=False))]).astype(np.int32)
        counts = np.concatenate([[-2], rng.poisson(3, length) + 1]).astype(np.float32)
        extra = {name: values[number] for name, values in columns.items()}
        cells.append({"genes": tokens, "expressions": counts, "id": number, **extra})
    return cells


@pytest.fixture(scope="module")
def big_vocab():
    names = ["<pad>", "<cls>", "<eoc>", "<drug>", *(f"ENSG{number:011d}" for number in range(300))]
    return GeneVocab({name: number for number, name in enumerate(names)})


def test_order_of_entries_and_padding(big_vocab):
    batch = Tx1Collator(big_vocab, 64, reserve_keys=["id"])(samples_of([5, 9]))
    assert list(batch) == [*KEYS, "lengths", "id"] and batch["lengths"] == [6, 10]
    assert batch["gene"].shape == (2, 10) and batch["gene"].dtype == torch.int64
    assert (batch["gene"][0, 6:] == 0).all() and (batch["expr"][0, 6:] == -2).all()
    assert not batch["gen_mask"][0, 6:].any() and not batch["gen_mask"][:, 0].any()
    assert (batch["expr_target"][:, 0] == -2).all()
    assert (batch["expr"][batch["gen_mask"]] == -1).all()
    assert torch.equal(batch["expr"][~batch["gen_mask"]], batch["expr_target"][~batch["gen_mask"]])


def test_input_is_not_altered(big_vocab):
    samples = samples_of([30, 90, 12])
    before = copy.deepcopy(samples)
    for sample in samples:
        sample["genes"].flags.writeable = sample["expressions"].flags.writeable = False
    collate = Tx1Collator(big_vocab, 40, student_max_length=8, augment={"mix": {"probability": 1.0}})
    first, second = collate(samples), collate(samples)
    lists = {name: first.pop(name) for name in ("lengths", "student_lengths")}
    assert lists == {"lengths": [40, 40, 40], "student_lengths": [8, 8, 8]}
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    for old, new in zip(before, samples):
        assert np.array_equal(old["expressions"], new["expressions"]) and list(old) == list(new)


def test_masked_share_is_exact_and_every_gene_is_reached(big_vocab):
    collate = Tx1Collator(big_vocab, 64, mlm_probability=0.3)
    samples = samples_of([20, 33])
    hits = torch.zeros(2, 34)
    rounds = 600
    for epoch in range(rounds):
        mask = collate([{**sample, EPOCH: epoch} for sample in samples])["gen_mask"]
        assert mask.sum(1).tolist() == [6, 9]
        hits += mask
    # Each gene is masked with the same probability, the last one too; four standard deviations.
    for row, length, masked in ((0, 20, 6), (1, 33, 9)):
        share = masked / length
        bound = 4 * (share * (1 - share) / rounds) ** 0.5
        assert (hits[row, 1 : length + 1] / rounds - share).abs().max() < bound
        assert hits[row, length + 1 :].sum() == 0


def test_list_of_probabilities(big_vocab):
    collate = Tx1Collator(big_vocab, 128, mlm_probability=[0.1, 0.5, 0.9])
    samples = samples_of([100] * 300)
    counts = torch.bincount(collate(samples)["gen_mask"].sum(1), minlength=91)
    assert counts[[10, 50, 90]].sum() == 300 and counts[[10, 50, 90]].min() > 70


def test_context_sample_changes_with_the_epoch_alone(big_vocab):
    collate = Tx1Collator(big_vocab, 32, mlm_probability=0.2)
    samples = [{**sample, SAMPLE: 10 + number} for number, sample in enumerate(samples_of([150, 140, 20]))]
    first = collate(samples)
    assert first["gene"].shape == (3, 32) and (first["gene"][:, 0] == 1).all()
    assert set(first["gene"][0, 1:].tolist()) <= set(samples[0]["genes"].tolist())
    alone = collate(samples[1:2])
    assert torch.equal(first["gene"][1], alone["gene"][0]) and torch.equal(first["gen_mask"][1], alone["gen_mask"][0])
    later = collate([{**sample, EPOCH: 1} for sample in samples])
    assert not torch.equal(first["gene"][0], later["gene"][0])
    other = Tx1Collator(big_vocab, 32, mlm_probability=0.2, seed=18)(samples)
    assert not torch.equal(first["gene"][0], other["gene"][0])


def test_context_sample_is_uniform(big_vocab):
    collate = Tx1Collator(big_vocab, 32, do_mlm=False)
    sample = samples_of([100])[0]
    hits = torch.zeros(400)
    for epoch in range(500):
        hits[collate([{**sample, EPOCH: epoch}])["gene"][0, 1:]] += 1
    share = hits[torch.from_numpy(sample["genes"][1:].astype(np.int64))] / 500
    assert (share - 0.31).abs().max() < 4.5 * (0.31 * 0.69 / 500) ** 0.5


def test_deterministic_choice_depends_on_the_cell_alone(big_vocab):
    collate = Tx1Collator(big_vocab, 32, do_mlm=False, deterministic=True)
    samples = samples_of([150, 140, 120])
    chosen = collate(samples)["gene"][1]
    shuffled = dict(samples[1], id=77, **{EPOCH: 5, SAMPLE: 99})
    order = np.random.default_rng(0).permutation(140) + 1
    shuffled["genes"] = np.concatenate([[1], samples[1]["genes"][order]])
    shuffled["expressions"] = np.concatenate([[-2], samples[1]["expressions"][order]])
    again = collate([samples[0], shuffled])["gene"][1]
    assert sorted(chosen.tolist()) == sorted(again.tolist())


def test_student_view_is_part_of_the_teachers(big_vocab):
    collate = Tx1Collator(big_vocab, 64, student_max_length=16, mlm_probability=0.4)
    batch = collate(samples_of([100, 40, 9]))
    index, real = batch["student_index"], batch["student_gene"] != 0
    assert index.shape == (3, 16) and real.sum(1).tolist() == [16, 16, 10]
    for name in ("gene", "expr", "expr_target", "gen_mask"):
        taken = batch[name].gather(1, index)
        assert torch.equal(batch[f"student_{name}"][real], taken[real])
    assert (index[~real] == 0).all() and (batch["student_expr"][~real] == -2).all()
    assert all(len(set(row[keep].tolist())) == keep.sum() for row, keep in zip(index, real))
    assert "student_gene" not in Tx1Collator(big_vocab, 64, student_max_length=64)(samples_of([9]))


def test_student_mask_is_not_favoured(big_vocab):
    collate = Tx1Collator(big_vocab, 128, student_max_length=32, mlm_probability=0.5)
    batch = collate(samples_of([127] * 300))
    assert batch["student_gen_mask"][:, 1:].float().mean() == pytest.approx(63 / 127, abs=0.02)


def test_unexpressed_padding(big_vocab):
    batch = Tx1Collator(big_vocab, 64, unexp_padding=True)(samples_of([5, 40]))
    row = batch["gene"][0]
    assert (row != 0).all() and len(set(row.tolist())) == 41 and (row[6:] >= 4).all()
    assert (batch["expr_target"][0, 6:] == 0).all()


def test_columns(big_vocab):
    columns = {"drug": ["DMSO", "x"], "dose": [0.5, 1.0], "teacher_embedding": [np.ones(3, np.float32)] * 2}
    batch = Tx1Collator(big_vocab, 64, reserve_keys=list(columns))(samples_of([3, 4], **columns))
    assert batch["drug"] == ["DMSO", "x"] and batch["dose"].tolist() == [0.5, 1.0]
    assert batch["teacher_embedding"].shape == (2, 3)
    with pytest.raises(ValueError, match="'donor', which the shards do not have; found genes"):
        Tx1Collator(big_vocab, 64, reserve_keys="donor")(samples_of([3]))


def test_drug_token(big_vocab, tmp_path):
    (tmp_path / "drugs.json").write_text('{"<pad>": 0, "DMSO": 3}')
    options = {"use_chem_token": True, "keep_first_n_tokens": 2, "drug_to_id_path": {"local": tmp_path / "drugs.json"}}
    batch = Tx1Collator(big_vocab, 16, **options)(samples_of([4, 50], drug=["DMSO", "unheard of"]))
    assert list(batch) == [*KEYS, "lengths", "drug_ids"] and batch["drug_ids"].tolist() == [3, 0]
    assert (batch["gene"][:, 1] == 3).all() and (batch["expr_target"][:, 1] == -2).all()
    assert not batch["gen_mask"][:, :2].any()


def test_cells_without_genes(big_vocab):
    batch = Tx1Collator(big_vocab, 16, mlm_probability=0.5)(samples_of([0, 3]))
    assert batch["gene"].shape == (2, 4) and torch.isfinite(batch["expr_target"]).all()
    assert not batch["gen_mask"][0].any()


def test_augmented_counts_are_binned_afterwards(big_vocab):
    samples = samples_of([60] * 20)
    thinning = {"downsample": {"probability": 1.0, "low": 0.3, "high": 0.3}}
    plain = Tx1Collator(big_vocab, 128, do_binning=False)(samples)["expr_target"]
    thinned = Tx1Collator(big_vocab, 128, do_binning=False, augment=thinning)(samples)["expr_target"]
    assert thinned.clamp(min=0).sum() / plain.clamp(min=0).sum() == pytest.approx(0.3, abs=0.04)
    binned = Tx1Collator(big_vocab, 128, augment=thinning)(samples)["expr_target"]
    assert binned.max() == 50 and torch.equal(binned > 0, thinned > 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"do_padding": False}, "do_padding"),
        ({"log_transform": True}, "exclude each other"),
        ({"mlm_probability": 1.5}, "between 0 and 1, found 1.5"),
        ({"mlm_probability": []}, "between 0 and 1"),
        ({"keep_first_n_tokens": 40}, "keep_first_n_tokens"),
        ({"student_max_length": 1}, "student_max_length"),
        ({"num_bins": 2}, "num_bins"),
        ({"use_chem_token": True}, "keep_first_n_tokens of 2"),
        ({"use_chem_token": True, "keep_first_n_tokens": 2}, "needs drug_to_id_path"),
        ({"drug_to_id_path": "x"}, "use_chem_token is off"),
        ({"augment": {"mix": {"probability": 0.1}}, "reserve_keys": ["teacher_embedding"]}, "no stored teacher"),
    ],
)
def test_bad_options(big_vocab, options, message):
    with pytest.raises(ValueError, match=message):
        Tx1Collator(big_vocab, 32, **options)


class UpstreamVocab(dict):
    def get_stoi(self):
        return self


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"right_binning": True},
        {"do_binning": False, "log_transform": True},
        {"do_binning": False},
        {"num_bins": 11},
    ],
    ids=lambda options: "-".join(options) or "default",
)
def test_equal_to_upstream_on_real_cells(real_data, options, upstream_package):
    import anndata

    vocab = GeneVocab.from_file(real_data / "tahoe_x1_vocab.json")
    adata = anndata.read_h5ad(real_data / "pbmc1k.h5ad")[:128]
    tokens, matrix = vocab.gene_tokens(adata.var_names), sparse.csr_matrix(adata.X)
    samples = []
    for row in range(matrix.shape[0]):
        cell = matrix.getrow(row)
        expressions = np.insert(cell.data, 0, -2).astype(np.float32)
        samples.append({"genes": np.insert(tokens[cell.indices], 0, vocab["<cls>"]), "expressions": expressions})
    # Truncation instead of sampling, and no mask: what upstream leaves to chance is not compared.
    common = {"max_length": 1024, "pad_value": -2, "do_mlm": False, "sampling": False, **options}
    theirs = upstream_package.data.DataCollator(UpstreamVocab(vocab.tokens), pad_token_id=vocab["<pad>"], **common)
    ours = Tx1Collator(vocab, **common)
    for start in range(0, len(samples), 32):
        part = samples[start : start + 32]
        tensors = [{name: torch.tensor(value) for name, value in sample.items()} for sample in part]
        found, expected = ours(part), theirs(tensors)
        for name in KEYS:
            assert found[name].dtype == expected[name].dtype, name
            assert torch.equal(found[name], expected[name]), name


def test_rows_are_padded_to_a_multiple(big_vocab):
    samples = samples_of([5, 9, 30])
    options = {"student_max_length": 12, "seed": 3}
    plain = Tx1Collator(big_vocab, 40, **options)(samples)
    batch = Tx1Collator(big_vocab, 40, **options, pad_to_multiple_of=8, packing=True)(samples)
    assert batch["gene"].shape == (3, 32) and batch["student_gene"].shape == batch["student_index"].shape == (3, 12)
    assert batch["lengths"] == plain["lengths"] == [6, 10, 31] and batch["student_lengths"] == [6, 10, 12]
    assert batch.pop("packed") == [True] * 3 and count_cells(batch) == 3
    for name, tensor in plain.items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(batch[name][:, : tensor.shape[1]], tensor), name
    fills = {"gene": 0, "expr": -2, "expr_target": -2, "gen_mask": False}
    assert all((batch[name][:, 31:] == fill).all() for name, fill in fills.items())
    with pytest.raises(ValueError, match="pad_to_multiple_of must be at least 1, found 0"):
        Tx1Collator(big_vocab, 40, pad_to_multiple_of=0)
