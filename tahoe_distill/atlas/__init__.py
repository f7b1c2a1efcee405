"""Many files in, one store of vectors out, by one process or many; kept, shared and checked."""

from tahoe_distill.lazy import hand_out

# Name -> module that defines it.
_PUBLIC = {
    "audit": "tahoe_distill.atlas.auditing",
    "build_index": "tahoe_distill.atlas.index",
    "embed_atlas": "tahoe_distill.atlas.run",
    "register_output": "tahoe_distill.atlas.outputs",
    "search": "tahoe_distill.atlas.searching",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = hand_out(__name__, _PUBLIC)
