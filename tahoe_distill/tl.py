"""What takes an AnnData and writes into it, under the name that users of scanpy look for it: ``td.tl.embed(adata, …)``.

>>> import tahoe_distill as td
>>> td.tl.embed is td.embed
True
"""

from tahoe_distill.lazy import hand_out

# Name -> module that defines it.
_PUBLIC = {
    "annotate": "tahoe_distill.annotation",
    "decode": "tahoe_distill.embedding",
    "embed": "tahoe_distill.embedding",
}

__all__ = list(_PUBLIC)
__getattr__, __dir__ = hand_out(__name__, _PUBLIC)
