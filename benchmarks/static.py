"""Students without attention beside a transformer and a ridge regression: fidelity, size of vectors, cells per second.

    python benchmarks/static.py [--batches 1500] [--adata pbmc1k.h5ad --vocab vocab.json]
    python benchmarks/static.py --vocab vocab.json --made-up 100000 200000

All are distilled from tx1-nano on the quickstart's cells by `composer scripts/distill.py`, and compared with it on the
cells held out. With --adata and --vocab, untrained models of the real sizes embed these cells as well, in turns, so
that the ratios hold on a machine that others use. Finished runs are kept in runs/static and not repeated.

With --made-up, static-tiny embeds files of so many synthetic cells of 2,000 genes by `tahoe-distill embed`, and nothing
else is done: whether time grows with the cells and memory does not.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import torch
from anndata.io import sparse_dataset, write_elem
from omegaconf import OmegaConf
from scipy import sparse

from tahoe_distill import Tx1Config, Tx1Model, Tx1Processor, embed, load_teacher
from tahoe_distill.embedding import load_student
from tahoe_distill.evaluation.blood_cells import write_blood_cells
from tahoe_distill.metrics.embeddings import centered_cosine, knn_overlap
from tahoe_distill.models import GeneVocab
from tahoe_distill.training.student.build import student_config

RUN = Path("runs/static")
COMPOSER = Path(sys.executable).with_name("composer")
Settings = dict[str, Any]
Vectors = np.ndarray

OBJECTIVES = {"cosine": {"weight": 1.0, "center": True}, "mse": {"weight": 1.0, "normalize": True}}
MIXED = {"downsample": {"probability": 0.7, "low": 0.3, "high": 1.0}, "mix": {"probability": 0.5}}
NESTED = {"relational": {"tau": 0.1, "matryoshka": [8, 16, 32]}}
SIZES = (8, 16, 32, 64)


def static(preset: str, **objectives: Any) -> Settings:
    """The quickstart with a student without attention, trained by the recipe's objectives and views."""
    return {
        "model.student": {"preset": preset, "init": "teacher", "init_cells": f"{RUN}/shards/train"},
        "model.objectives": {**OBJECTIVES, **objectives},
        "train_loader.collator.augment": MIXED,
        "optimizer.lr": 1.0e-2,
        "global_train_batch_size": 64,
        "device_train_microbatch_size": 64,
    }


STUDENTS: dict[str, Settings] = {
    "transformer, 2 layers of 44": {},
    "static-tiny": static("static-tiny"),
    "static-small": static("static-small"),
    "static-medium": static("static-medium") | {"optimizer.lr": 5.0e-3},
    "static-small, nested": static("static-small", **NESTED),
}


def main() -> None:
    """Train what is not there yet, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=1500, help="batches of a run without attention (%(default)s)")
    parser.add_argument("--only", nargs="+", default=list(STUDENTS), choices=list(STUDENTS), help="students to train")
    parser.add_argument("--adata", help="h5ad with raw counts, for the speed at real sizes")
    parser.add_argument("--vocab", help="vocab.json of the release, likewise")
    parser.add_argument("--cells", type=int, default=500, help="cells a turn of the fast ways (%(default)s)")
    parser.add_argument("--made-up", nargs="+", type=int, help="cells of synthetic files to embed, and nothing else")
    args = parser.parse_args()
    if args.made_up:
        print_growth(args.vocab, args.made_up)
        return
    teacher = load_teacher("tx1-nano")
    if not (RUN / "shards").is_dir():
        write_blood_cells(RUN, teacher.processor.vocab)
    train, held_out = (anndata.read_h5ad(RUN / f"cells/{name}.h5ad") for name in ("train", "held_out"))
    target, given = (vectors(cells, (teacher.model, teacher.processor)) for cells in (held_out, train))
    centre = torch.from_numpy(given.mean(axis=0))
    print_fidelity(args, target, centre, held_out=held_out, others=baselines(train, held_out, given))
    if "static-small" in args.only:
        print_sizes(target, held_out)
        print_contexts(target, held_out)
    if args.adata and args.vocab:
        print_speed(args)


def run_student(name: str, settings: Settings, batches: int) -> tuple[Path, float]:
    """Train a student unless it is there; its folder and the CPU seconds that it took."""
    folder = _folder(name)
    if not (folder / "seconds.json").is_file():
        config = OmegaConf.load("configs/quickstart.yaml")
        own = {"variables": {"run_folder": str(folder), "shards": f"{RUN}/shards"}, **settings}
        if settings:
            own |= {"max_duration": f"{batches}ba", "eval_interval": "1dur"}
        for key, value in own.items():
            OmegaConf.update(config, key, value, merge=False)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / "run.yaml")
        before = _child_seconds()
        with (folder / "log.txt").open("w") as log:
            command = [str(COMPOSER), "scripts/distill.py", "-f", str(folder / "run.yaml")]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)
        if done.returncode:
            raise RuntimeError(f"{name} ended with exit code {done.returncode}; see {folder}/log.txt")
        (folder / "seconds.json").write_text(json.dumps(_child_seconds() - before))
    return folder / "hf", json.loads((folder / "seconds.json").read_text())


def _folder(name: str) -> Path:
    return RUN / name.translate(str.maketrans(" ,", "--"))


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def vectors(cells: anndata.AnnData, model: Any, **options: Any) -> Vectors:
    """Cell embeddings at their own length, (cells, width)."""
    return embed(cells, model, copy=True, normalize=False, **options).obsm["X_tx1"]


def baselines(train: anndata.AnnData, held_out: anndata.AnnData, given: Vectors) -> dict[str, Vectors]:
    """What no student is needed for: a ridge regression from log1p counts to the teacher, and principal components."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import RidgeCV

    x, y = (np.log1p(cells.X.toarray()) for cells in (train, held_out))
    ridge = RidgeCV(alphas=np.logspace(0, 4, 9)).fit(x, given)
    components = PCA(min(30, *x.shape), random_state=0).fit(x)
    return {"ridge from log1p counts": ridge.predict(y), "30 principal components": components.transform(y)}


def print_fidelity(
    args: argparse.Namespace,
    target: Vectors,
    centre: torch.Tensor,
    *,
    held_out: anndata.AnnData,
    others: dict[str, Vectors],
) -> None:
    """A row for each student and baseline: size, training, fidelity and pace on the held-out cells."""
    teacher = torch.from_numpy(target)
    print("| student | parameters outside the gene table | CPU s of training | centred cosine | 10-neighbour overlap |")
    print("|---|---|---|---|---|")
    rows = dict(others)
    for name in args.only:
        folder, seconds = run_student(name, STUDENTS[name], args.batches)
        pair = load_student(folder)
        outside = pair[0].num_parameters() - pair[0].gene_table_size
        rows[f"{name} | {outside:,} | {seconds:.0f}"] = vectors(held_out, pair)
    for name, found in rows.items():
        student = torch.from_numpy(np.asarray(found, dtype=np.float32))
        same = student.shape == teacher.shape
        cosine = f"{centered_cosine(student, teacher, centre):.4f}" if same else "-"
        label = name if "|" in name else f"{name} | - | -"
        print(f"| {label} | {cosine} | {knn_overlap(student, teacher):.3f} |", flush=True)


def print_sizes(target: Vectors, held_out: anndata.AnnData) -> None:
    """Neighbours by the first coordinates alone, and by vectors of fewer bits."""
    teacher = torch.from_numpy(target)
    print("\n| 10-neighbour overlap | " + " | ".join(map(str, SIZES)) + " | 64, int8 | 64, binary |")
    print("|---" * (len(SIZES) + 3) + "|")
    for name in ("static-small", "static-small, nested"):
        if not (_folder(name) / "hf").is_dir():
            continue
        pair = load_student(_folder(name) / "hf")
        row = [vectors(held_out, pair, dim=size) for size in SIZES]
        centred = row[-1] - row[-1].mean(axis=0)
        scale = np.abs(row[-1]).max(axis=0) / 127
        # Hamming distance orders as the cosine of signs does.
        row += [np.rint(row[-1] / scale) * scale, np.sign(centred)]
        cells = [f"{knn_overlap(torch.from_numpy(np.asarray(x, np.float32)), teacher):.3f}" for x in row]
        print(f"| {name} | " + " | ".join(cells) + " |")


def print_contexts(target: Vectors, held_out: anndata.AnnData) -> None:
    """What a student makes of a part of a cell's genes, against the teacher that saw all of them."""
    model, processor = load_student(_folder("static-small") / "hf")
    print("\nstatic-small reading so many genes of a cell, 10-neighbour overlap:")
    for room in (32, 64, 128, 256, processor.max_length):
        processor.max_length = room
        found = knn_overlap(torch.from_numpy(vectors(held_out, (model, processor))), torch.from_numpy(target))
        print(f"  {room:>5}  {found:.3f}")


def print_speed(args: argparse.Namespace) -> None:
    """Cells per second of untrained models with the real vocabulary, and of scanpy's components, in turns."""
    cells, vocab = anndata.read_h5ad(args.adata), GeneVocab.from_file(args.vocab)
    ways: dict[str, tuple[int, Callable[[anndata.AnnData], object]]] = {
        "70m": (8, _embedder("70m", vocab)),
        "small": (64, _embedder("small", vocab)),
        **{name: (args.cells, _embedder(name, vocab)) for name in ("static-tiny", "static-small", "static-medium")},
        "30 components by scanpy": (args.cells, _components),
    }
    pace: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, (count, compute) in ways.items():
            part = cells[:count].copy()
            started = time.process_time()
            compute(part)
            pace[name].append(count / (time.process_time() - started))
    best = {name: max(found) for name, found in pace.items()}
    print(f"\n| {Path(args.adata).name} | cells / CPU s | times the 70m |\n|---|---|---|")
    for name, found in best.items():
        print(f"| {name} | {found:,.1f} | {found / best['70m']:,.0f} |")


def print_growth(vocab_file: str, counts: list[int]) -> None:
    """Seconds and memory of embedding synthetic files, one process each."""
    vocab, folder = GeneVocab.from_file(vocab_file), RUN / "made-up"
    folder.mkdir(parents=True, exist_ok=True)
    for part in _untrained("static-tiny", vocab):
        part.save_pretrained(folder / "student")
    command = [str(COMPOSER.with_name("tahoe-distill")), "embed", "--model", str(folder / "student"), "--overwrite"]
    print("| cells of 2,000 genes | wall s | CPU s | cells / CPU s | most memory, MB |\n|---|---|---|---|---|")
    for count in counts:
        path = folder / f"{count}.h5ad"
        if not path.is_file():
            write_made_up(path, count, [token for token in vocab.tokens if token.startswith("ENSG")][:2000])
        done = subprocess.Popen([*command, "--adata", str(path), "--out", str(folder / "out.h5ad")])
        began = time.perf_counter()
        _, status, used = os.wait4(done.pid, 0)
        if status:
            raise RuntimeError(f"embedding {path} ended with status {status}")
        wall, seconds = time.perf_counter() - began, used.ru_utime + used.ru_stime
        row = [
            f"{count:,}",
            f"{wall:.0f}",
            f"{seconds:.0f}",
            f"{count / seconds:,.0f}",
            f"{used.ru_maxrss / 1024:,.0f}",
        ]
        print(f"| {' | '.join(row)} |", flush=True)


def write_made_up(path: Path, count: int, genes: list[str]) -> None:
    """An h5ad of synthetic cells, a tenth to a half of the genes expressed, written a block at a time."""
    rng, block = np.random.default_rng(0), 10_000
    rates = rng.gamma(0.5, 1.0, len(genes))
    first = anndata.AnnData(sparse.csr_matrix((0, len(genes)), dtype=np.float32), var=pd.DataFrame(index=genes))
    first.write_h5ad(path)
    for start in range(0, count, block):
        size = min(block, count - start)
        depth = rng.uniform(0.2, 1.0, (size, 1)).astype(np.float32)
        counts = sparse.csr_matrix(rng.poisson(rates * depth).astype(np.float32))
        with h5py.File(path, "r+") as file:
            sparse_dataset(file["X"]).append(counts)
    with h5py.File(path, "r+") as file:
        del file["obs"]
        write_elem(file, "obs", pd.DataFrame(index=[f"cell{number}" for number in range(count)]))


def _embedder(name: str, vocab: GeneVocab) -> Callable[[anndata.AnnData], object]:
    pair = _untrained(name, vocab)
    return lambda cells: embed(cells, pair)


def _untrained(name: str, vocab: GeneVocab) -> tuple[Tx1Model, Tx1Processor]:
    teacher = Tx1Config(vocab_size=len(vocab))
    config = teacher if name == "70m" else student_config(name, teacher, vocab=vocab)
    config.expression_head_layers, config.mvc_head = None, False
    torch.manual_seed(0)
    return Tx1Model(config).eval(), Tx1Processor(vocab, max_length=config.context_length)


def _components(cells: anndata.AnnData) -> None:
    import scanpy

    scanpy.pp.normalize_total(cells, target_sum=1e4)
    scanpy.pp.log1p(cells)
    scanpy.pp.pca(cells, n_comps=30)


if __name__ == "__main__":
    main()
