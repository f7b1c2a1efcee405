"""How fast cells are prepared, collated and read, beside upstream's way where the upstream package is installed.

    python benchmarks/data.py --adata cells.h5ad --vocab vocab.json

Each pair is measured in this one process (prepare: one process each), alternately, and the median of several rounds
counts. Without --adata, synthetic cells of a similar kind are used.
"""

import argparse
import copy
import cProfile
import importlib.util
import logging
import os
import platform
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import anndata
import numpy as np
import pandas as pd
import torch
from scipy import sparse

from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.data.preparing.prepare import prepare_shards
from tahoe_distill.data.shards import reader
from tahoe_distill.models.processing_tx1 import GeneVocab
from tahoe_distill.training.dataloader import build_tahoe_mds_dataloader

BATCH = 64


def main() -> None:
    """Run the benchmarks that were asked for."""
    args = _arguments()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}, one thread")
    with tempfile.TemporaryDirectory() as folder:
        path, vocab = _inputs(args, folder)
        samples = _samples(path, vocab, folder)
        print(f"{len(samples)} cells, median {int(np.median([s['genes'].size for s in samples]))} genes\n")
        if "collate" in args.parts:
            for context in (1024, 2048):
                _collate(samples, vocab, context, args)
        if "prepare" in args.parts:
            _prepare(path, vocab, folder, args)
        if "read" in args.parts:
            _read(os.path.join(folder, "samples"), vocab, args)
        if "check" in args.parts:
            _check(os.path.join(folder, "samples"), vocab, args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adata", help="h5ad with raw counts; synthetic cells when left out")
    parser.add_argument("--vocab", help="vocab.json; needed with --adata")
    parser.add_argument("--cells", type=int, default=1000, help="synthetic cells (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, of which the median counts (%(default)s)")
    parser.add_argument("--parts", nargs="+", default=["collate", "prepare", "read", "check"], help="%(default)s")
    parser.add_argument("--profile", action="store_true", help="say where the time of ours goes")
    args = parser.parse_args()
    if args.adata and not args.vocab:
        parser.error("--adata needs --vocab")
    return args


def _inputs(args: argparse.Namespace, folder: str) -> tuple[str, GeneVocab]:
    if args.adata:
        return args.adata, GeneVocab.from_file(args.vocab)
    rng = np.random.default_rng(0)
    names = [f"ENSG{number:011d}" for number in range(20000)]
    vocab = GeneVocab({token: number for number, token in enumerate(["<pad>", "<cls>", *names])})
    rates = rng.lognormal(-2.5, 1.8, len(names))
    counts = rng.poisson(rates * rng.lognormal(0, 0.4, (args.cells, 1))).astype(np.float32)
    path = os.path.join(folder, "synthetic.h5ad")
    cells = anndata.AnnData(sparse.csr_matrix(counts), var=pd.DataFrame(index=names))
    cells.write_h5ad(path, compression="gzip")
    return path, vocab


def _samples(path: str, vocab: GeneVocab, folder: str) -> list[dict[str, Any]]:
    """Samples as the loader hands them to a collator."""
    out = os.path.join(folder, "samples")
    prepare_shards(path, out, vocab, val_fraction=0)
    loader: Any = build_tahoe_mds_dataloader(
        dataset={"local": out, "split": "train"}, collator={"max_length": 64}, device_batch_size=BATCH, num_workers=0
    ).dataloader
    return [loader.dataset[row] for row in range(loader.dataset.size)]


def _collate(samples: list[dict[str, Any]], vocab: GeneVocab, context: int, args: argparse.Namespace) -> None:
    options: dict[str, Any] = {"max_length": context, "mlm_probability": 0.3, "pad_value": -2, "reserve_keys": []}
    ours = Tx1Collator(vocab, **options)
    ways: dict[str, tuple[Callable[[list[Any]], Any], list[Any]]] = {"ours": (ours, samples)}
    if importlib.util.find_spec("tahoe_x1"):
        from tahoe_x1.data import DataCollator

        as_tensors = [
            {"genes": torch.tensor(s["genes"]).long(), "expressions": torch.tensor(s["expressions"])} for s in samples
        ]
        ways["upstream"] = (DataCollator(_UpstreamVocab(vocab), pad_token_id=vocab["<pad>"], **options), as_tensors)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, (collate, cells) in ways.items():
            batches = [copy.deepcopy(cells[at : at + BATCH]) for at in range(0, len(cells) - BATCH + 1, BATCH)]
            began = time.perf_counter()
            for batch in batches:
                collate(batch)
            speeds[name].append(BATCH * len(batches) / (time.perf_counter() - began))
    _report(f"collate, context {context}, {BATCH} cells a batch, masking on", speeds)
    if args.profile:
        _profile(lambda: [ours(samples[at : at + BATCH]) for at in range(0, len(samples) - BATCH + 1, BATCH)])


class _UpstreamVocab(dict):
    """What upstream's collator asks of a vocabulary."""

    def __init__(self, vocab: GeneVocab) -> None:
        super().__init__(vocab.tokens)

    def get_stoi(self) -> "_UpstreamVocab":
        return self


def _prepare(path: str, vocab: GeneVocab, folder: str, args: argparse.Namespace) -> None:
    speeds: dict[str, list[float]] = {"ours": [], "ours, zstd": []}
    if importlib.util.find_spec("datasets"):
        speeds["upstream's way"] = []
    cells = anndata.read_h5ad(path, backed="r").n_obs
    for turn in range(args.rounds):
        for name, compression in (("ours", None), ("ours, zstd", "zstd:1")):
            began = time.perf_counter()
            prepare_shards(path, os.path.join(folder, f"{name}{turn}"), vocab, val_fraction=0, compression=compression)
            speeds[name].append(cells / (time.perf_counter() - began))
        if "upstream's way" in speeds:
            began = time.perf_counter()
            _upstreams_way(path, vocab, os.path.join(folder, f"theirs{turn}"))
            speeds["upstream's way"].append(cells / (time.perf_counter() - began))
    _report("prepare, one process", speeds)
    if args.profile:
        _profile(lambda: prepare_shards(path, os.path.join(folder, "profiled"), vocab, val_fraction=0))


def _upstreams_way(path: str, vocab: GeneVocab, out: str) -> None:
    """A per-cell generator into an Arrow data set, then one MDS sample at a time: the steps that upstream takes."""
    import datasets
    from streaming import MDSWriter

    datasets.disable_progress_bars()

    def cells() -> Iterator[dict[str, Any]]:
        adata = anndata.read_h5ad(path)
        tokens = vocab.gene_tokens(adata.var_names)
        matrix = sparse.csr_matrix(adata.X)
        for row in range(adata.n_obs):
            cell = matrix.getrow(row)
            genes = np.insert(tokens[cell.indices], 0, vocab["<cls>"])
            yield {"id": row, "genes": genes, "expressions": np.insert(cell.data, 0, -2)}

    features = {"id": datasets.Value("int64")}
    features["genes"] = datasets.Sequence(datasets.Value("int64"))
    features["expressions"] = datasets.Sequence(datasets.Value("float32"))
    arrow = datasets.Dataset.from_generator(cells, features=datasets.Features(features), cache_dir=f"{out}.cache")
    arrow.save_to_disk(f"{out}.arrow")
    columns = {"id": "int64", "genes": "pkl", "expressions": "pkl"}
    arrow = datasets.load_from_disk(f"{out}.arrow").with_format("torch")
    with MDSWriter(out=out, columns=columns, compression="zstd", hashes=["sha1", "xxh64"]) as writer:
        for sample in arrow:
            writer.write({**sample, "id": int(sample["id"])})


def _read(shards: str, vocab: GeneVocab, args: argparse.Namespace) -> None:
    for workers in (0, 1, 2):
        loader = build_tahoe_mds_dataloader(
            dataset={"local": shards, "split": "train", "shuffle": True},
            collator={"max_length": 1024, "mlm_probability": 0.3},
            device_batch_size=BATCH,
            num_workers=workers,
            drop_last=True,
        ).dataloader
        speeds = []
        # The first epoch starts the workers and decompresses the shards.
        for _ in range(args.rounds + 1):
            began, cells = time.perf_counter(), 0
            for batch in loader:
                cells += len(batch["gene"])
            speeds.append(cells / (time.perf_counter() - began))
        _report(f"read and collate, context 1024, {workers} workers", {"ours": speeds[1:]})


def _check(shards: str, vocab: GeneVocab, args: argparse.Namespace) -> None:
    """What it costs that each sample is looked at: reading alone, then with collating, with the check and without."""
    loader: Any = build_tahoe_mds_dataloader(
        dataset={"local": shards, "split": "train"},
        collator={"max_length": 1024},
        device_batch_size=BATCH,
        num_workers=0,
    ).dataloader
    dataset = loader.dataset
    rows = range(BATCH * (dataset.size // BATCH))
    ways = {
        "read a cell": lambda: [dataset[row] for row in rows],
        "read and collate, context 1024": lambda: [
            loader.collate_fn([dataset[row] for row in rows[at : at + BATCH]]) for at in range(0, len(rows), BATCH)
        ],
    }
    for title, way in ways.items():
        speeds: dict[str, list[float]] = {"checked": [], "unchecked": []}
        for _ in range(4 * args.rounds):
            for name, check in (("checked", reader.cell_problem), ("unchecked", lambda sample, vocab_size: None)):
                with mock.patch.object(reader, "cell_problem", check):
                    began = time.perf_counter()
                    way()
                speeds[name].append(len(rows) / (time.perf_counter() - began))
        _report(title, speeds)


def _report(title: str, speeds: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    text = ", ".join(f"{name} {speed:,.0f} cells/s" for name, speed in medians.items())
    first, *_, last = medians.values()
    ratio = f": {first / last:.3g} times" if len(medians) > 1 else ""
    print(f"{title}: {text}{ratio}")


def _profile(work: Callable[[], Any]) -> None:
    profile = cProfile.Profile()
    profile.runcall(work)
    pstats.Stats(profile).sort_stats("tottime").print_stats(14)


if __name__ == "__main__":
    main()
