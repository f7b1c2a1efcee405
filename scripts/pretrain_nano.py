"""`make nano`: pretrain the built-in teacher tx1-nano on real blood cells and write it in the release format."""

import argparse
import logging
import shutil
import subprocess
from pathlib import Path

import numpy as np
from anndata import AnnData

from tahoe_distill import GeneVocab, Tx1Model, Tx1Processor, embed
from tahoe_distill.data import prepare_shards
from tahoe_distill.evaluation.blood_cells import LABEL_KEY, load_blood_cells
from tahoe_distill.teacher.write_release import write_release

RUN = Path("runs/nano")
COMMAND = ["composer", "scripts/distill.py", "-f", "configs/nano.yaml"]
SPECIALS = ("<pad>", "<cls>", "<eoc>")


def main() -> None:
    """Prepare, pretrain, score, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=str(RUN / "release"), help="release folder to write")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace configs/nano.yaml's")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    shutil.rmtree(RUN, ignore_errors=True)
    cells = load_blood_cells()
    (RUN / "cells").mkdir(parents=True)
    cells.write_h5ad(RUN / "cells/all.h5ad")
    tokens = [*SPECIALS, *sorted(cells.var_names)]
    vocab = GeneVocab({token: number for number, token in enumerate(tokens)})
    prepare_shards([RUN / "cells/all.h5ad"], RUN / "shards", vocab, val_fraction=0.1)
    subprocess.run([*COMMAND, *args.overrides], check=True)
    model = Tx1Model.from_pretrained(RUN / "hf").eval()
    processor = Tx1Processor.from_pretrained(RUN / "hf")
    print(f"{model.num_parameters():,} parameters")
    _score(cells, model, processor)
    write_release(model, processor, Path(args.out))
    print(f"wrote {args.out}")


def _score(cells: AnnData, model: Tx1Model, processor: Tx1Processor) -> None:
    """Label transfer by the model's vectors, and by 30 principal components of log1p counts."""
    from sklearn.decomposition import PCA
    from sklearn.model_selection import ShuffleSplit, cross_validate
    from sklearn.neighbors import KNeighborsClassifier

    embed(cells, (model, processor), key_added="X_nano")
    counts = cells.X.toarray()
    scaled = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    vectors = {
        "tx1-nano": cells.obsm["X_nano"],
        "30 components of log1p(counts)": PCA(30, random_state=0).fit_transform(np.log1p(counts)),
        "30 components of log1p(counts per 10,000)": PCA(30, random_state=0).fit_transform(scaled),
    }
    for name, values in vectors.items():
        splits, scores = ShuffleSplit(5, test_size=0.2, random_state=0), ("accuracy", "f1_macro")
        found = cross_validate(KNeighborsClassifier(10), values, cells.obs[LABEL_KEY], cv=splits, scoring=scores)
        accuracy, f1 = (found[f"test_{score}"].mean() for score in scores)
        print(f"{name}: 10-nearest-neighbour accuracy {accuracy:.3f}, macro-F1 {f1:.3f} (mean of 5 splits)")


if __name__ == "__main__":
    main()
