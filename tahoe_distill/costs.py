"""What a model costs before anything is run: arithmetic per cell, and bytes of a cached one.

Counted are the matrix products, a multiplication and an addition each as two operations: of all others there are few.
"""

from tahoe_distill.models import Tx1Config

# Dense bfloat16 operations a second, by the makers' data sheets.
PEAK_BF16 = {"A100": 312e12, "H100": 989e12, "H200": 989e12}
# Backward passes compute the gradients of inputs and of weights: twice the forward pass.
TRAINING_FACTOR = 3
# In a teacher cache: a gene's number and its bin.
_CACHED_GENE_BYTES = 4 + 2


def forward_flops(config: Tx1Config, genes: int) -> int:
    """Operations of one forward pass over a cell, to the states of the last layer; heads for expression left out.

    Args:
        config: Of a transformer; a student without attention costs next to nothing.
        genes: Positions of the cell, ``<cls>`` among them.

    Returns:
        Operations, two for each multiplication with its addition.

    Raises:
        ValueError: For an encoder without attention.
    """
    if config.encoder != "transformer":
        raise ValueError(f"found encoder {config.encoder!r}, expected a transformer: the count is that of its blocks")
    width, hidden = config.hidden_size, config.intermediate_size
    feed_forward = (3 if config.use_glu else 2) * width * hidden
    block = genes * (4 * width**2 + feed_forward) + 2 * genes**2 * width
    values = genes * (width**2 + width)
    table = genes * width * (config.gene_rank or 0)
    projection = width * (config.projection_dim or 0)
    return 2 * (config.num_hidden_layers * block + values + table + projection)


def cached_bytes(config: Tx1Config, genes: int, *, precision_bytes: int = 2) -> int:
    """Bytes of a cell in a teacher cache that holds its embedding alone.

    Args:
        config: The teacher's.
        genes: Positions of the cell.
        precision_bytes: Of a value of the embedding: 2 for float16, 4 for float32.
    """
    return genes * _CACHED_GENE_BYTES + precision_bytes * config.embedding_size


def gpu_hours(flops: float, *, gpu: str, share: float) -> float:
    """Hours of one GPU for so many operations.

    Args:
        flops: Operations.
        gpu: A name of ``PEAK_BF16``.
        share: Share of the peak that is reached, above 0 and at most 1.

    Raises:
        ValueError: For a GPU that is not known, or a share that cannot be.
    """
    if gpu not in PEAK_BF16:
        raise ValueError(f"found GPU {gpu!r}, expected one of {', '.join(PEAK_BF16)}")
    if not 0 < share <= 1:
        raise ValueError(f"found the share {share}, expected one above 0 and at most 1")
    return flops / (PEAK_BF16[gpu] * share) / 3600
