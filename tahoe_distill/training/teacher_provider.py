"""Where the teacher's outputs come from: the frozen model itself, or a cache of what it said."""

import torch

from tahoe_distill.cache.read import cached_teacher
from tahoe_distill.naming import check_keys
from tahoe_distill.teacher import load_teacher
from tahoe_distill.training.forward import forward_flops, forward_model

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_KEYS = {"source", "size", "use_chem", "attn_implementation", "dtype", "revision", "cache"}


class LiveTeacher:
    """The frozen model, run once a batch under inference mode.

    Args:
        loaded: What :func:`tahoe_distill.load_teacher` returned.

    Attributes:
        config: The teacher's dimensions.
        processor: What reads its cells.
        vocab: Its vocabulary.
        embedding_size: Width of its cell embeddings.
        fingerprint: SHA-256, in hexadecimal, of its tensors and vocabulary.
    """

    def __init__(self, loaded):
        self.vocab = loaded.processor.vocab
        self.embedding_size = loaded.model.config.embedding_size
        self.model = loaded.model
        self.config = loaded.model.config
        self.processor = loaded.processor
        self.fingerprint = loaded.fingerprint

    def check(self, objectives, sees_masks):
        """Nothing to refuse: a live model has every output."""

    def forward(self, batch, needs, sees_masks):
        """The teacher's outputs to a batch, of whole cells or of masked ones."""
        self._place(batch["gene"].device)
        masked = batch["gen_mask"] if sees_masks else None
        values = batch["expr" if sees_masks else "expr_target"]
        # Inference mode inside a compiled forward breaks torch 2.7's tracing; there it would save nothing either.
        with torch.no_grad() if torch.compiler.is_compiling() else torch.inference_mode():
            return forward_model(self.model, batch["gene"], values, masked, batch.get("drug_ids"), needs)

    @torch.compiler.disable
    def _place(self, device):
        if self.model.device != device:
            self.model.to(device)

    def flops(self, cells, length, needs):
        """Floating-point operations of its part of a training step."""
        return forward_flops(self.model, cells, length, needs)


def teacher_provider(spec):
    """From ``model.teacher`` in the YAML.

    Args:
        spec: Source as in :func:`tahoe_distill.load_teacher`; a mapping of its arguments, ``dtype`` (``float32``,
            ``bfloat16`` or ``float16``) and ``cache``, a folder to read the outputs from instead; or ``None``.

    Returns:
        The teacher's provider, ``None`` without one.

    Raises:
        ValueError: For an unknown key or dtype, and as ``load_teacher`` does.
        FileNotFoundError: When the source is not there.
    """
    if spec is None:
        return None
    arguments = {"source": spec} if isinstance(spec, str) else dict(spec)
    check_keys(arguments, _KEYS, "model.teacher")
    cache = arguments.pop("cache", None)
    return _live(arguments) if cache is None else cached_teacher(cache, arguments)


def _live(arguments):
    dtype = arguments.pop("dtype", "float32")
    if dtype not in _DTYPES:
        raise ValueError(f"model.teacher.dtype must be one of {', '.join(_DTYPES)}; found {dtype!r}")
    teacher = load_teacher(**arguments)
    teacher.model.to(_DTYPES[dtype])
    return LiveTeacher(teacher)
