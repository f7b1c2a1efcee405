"""Embed the cells of an h5ad or zarr file with a student or a converted teacher."""

import anndata

from ..embedding import embed

EXAMPLE = "tahoe-distill embed --model runs/quickstart/hf --adata cells.h5ad --out embedded.h5ad"


def add_arguments(parser):
    """Add the arguments of `tahoe-distill embed`."""
    parser.add_argument("--model", required=True, help="folder or hub id of an exported model")
    parser.add_argument("--adata", required=True, help="h5ad with raw counts")
    parser.add_argument("--out", required=True, help="h5ad to write")
    parser.add_argument("--key-added", default="X_tx1")


def run(args):
    """Embed and write."""
    adata = anndata.read_h5ad(args.adata)
    embed(adata, args.model, key_added=args.key_added, progress=True)
    adata.write_h5ad(args.out)
