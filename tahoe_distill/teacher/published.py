"""Tahoe-x1's sizes as they were published, for estimates before anything is fetched."""

from tahoe_distill.models import Tx1Config
from tahoe_distill.naming import unknown

# Width, layers, heads, context. A model that is loaded takes its dimensions from its own files.
PUBLISHED = {"70m": (512, 12, 8, 1024), "1b": (2048, 24, 16, 2048), "3b": (2560, 32, 20, 2048)}
VOCAB_SIZE = 62_720


def published(size: str) -> Tx1Config:
    """The configuration of one of Tahoe-x1's sizes.

    Args:
        size: ``70m``, ``1b`` or ``3b``.

    Raises:
        ValueError: For another size, with the known ones.
    """
    if size not in PUBLISHED:
        raise ValueError(
            f"{unknown('published size', size, PUBLISHED)}; fetch the teacher with `tahoe-distill fetch` and name its "
            "folder, which says its dimensions"
        )
    width, layers, heads, context = PUBLISHED[size]
    return Tx1Config(
        vocab_size=VOCAB_SIZE,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        context_length=context,
    )
