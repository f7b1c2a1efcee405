"""Cells in, vectors out: everything a user of a student calls."""

from tahoe_distill.lazy import hand_out

# Ways to compute. Here, where the command line reads it without importing torch.
BACKENDS = ("torch", "compile", "int8", "onnx", "onnx-int8")

# Name -> module that defines it.
_PUBLIC = {
    "CellEncoder": "tahoe_distill.models",
    "Options": "tahoe_distill.embedding.options",
    "TahoePreprocessor": "tahoe_distill.embedding.preprocessor",
    "check_determinism": "tahoe_distill.embedding.determinism",
    "decode": "tahoe_distill.embedding.decoding",
    "embed": "tahoe_distill.embedding.in_memory",
    "embed_file": "tahoe_distill.embedding.files",
    "examine": "tahoe_distill.embedding.doctor",
    "export_onnx": "tahoe_distill.embedding.backends",
    "load_student": "tahoe_distill.embedding.loading",
}

__all__ = ["BACKENDS", *_PUBLIC]
__getattr__, __dir__ = hand_out(__name__, _PUBLIC)
