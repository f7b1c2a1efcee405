"""What a user of an exported student runs: two lines, in an environment with nothing of training in it.

Usage: ``serving_reader.py {remote,package} FOLDER CELLS.h5ad ANSWERS.npz``
"""

import importlib.util
import json
import sys
from pathlib import Path

import anndata
import numpy as np
import torch


def load(how, folder):
    """Model and processor, by remote code or by the installed package."""
    if how == "remote":
        if importlib.util.find_spec("tahoe_distill"):
            raise SystemExit("tahoe_distill can be imported here; this check is about an environment without it")
        from transformers import AutoModel, AutoProcessor

        model = AutoModel.from_pretrained(folder, trust_remote_code=True)
        return model, AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    from tahoe_distill import Tx1Model, Tx1Processor

    return Tx1Model.from_pretrained(folder), Tx1Processor.from_pretrained(folder)


def classify(how, folder):
    """The classifier in the same folder, by remote code or by the installed package."""
    if how == "remote":
        from transformers import AutoModelForSequenceClassification

        return AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
    from tahoe_distill.models import Tx1ForCellClassification

    return Tx1ForCellClassification.from_pretrained(folder).eval()


def main(how, folder, cells, answers):
    """Embed the cells and answer the folder's golden inputs."""
    training = [name for name in ("composer", "llmfoundry", "streaming", "scanpy") if importlib.util.find_spec(name)]
    if training:
        raise SystemExit(f"{', '.join(training)} can be imported here; a serving environment has none of them")
    torch.set_num_threads(1)
    model, processor = load(how, folder)
    adata = anndata.read_h5ad(cells)
    golden = json.loads((Path(folder) / "golden.json").read_text(encoding="utf-8"))
    inputs = {
        name: torch.tensor(part["values"], dtype=getattr(torch, part["dtype"]))
        for name, part in golden["inputs"].items()
    }
    embedded = model.embed(processor, adata, normalize=False)
    with torch.no_grad():
        found = model(**processor(adata)).pooler_output.numpy()
        golden = model(**inputs).pooler_output.numpy()
        logits = classify(how, folder)(**inputs).logits.numpy()
    np.savez(answers, embedded=embedded, cells=found, golden=golden, logits=logits)


if __name__ == "__main__":
    main(*sys.argv[1:])
