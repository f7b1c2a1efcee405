"""A live teacher whose vectors of the measured cells are there already, beside the cells."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch

from tahoe_distill.cache.read import CachedTeacher
from tahoe_distill.data.batch import TEACHER
from tahoe_distill.objectives import Outputs
from tahoe_distill.teacher import Teacher, check_agreement
from tahoe_distill.training.forward import LiveTeacher


class PreparedTeacher(LiveTeacher):
    """Reads the vectors of cells as they were measured, and runs the teacher for those that were made of them.

    Augmented cells have no stored vector, and outputs other than cell embeddings are not stored at all.

    Args:
        loaded: The teacher.
        prepared: Its vectors, as shards hold them.

    Raises:
        ValueError: When the vectors cannot be this teacher's: another width, or other tokens.
    """

    def __init__(self, loaded: Teacher, prepared: CachedTeacher):
        super().__init__(loaded)
        if prepared.embedding_size != self.embedding_size:
            raise ValueError(
                f"the vectors beside the cells have {prepared.embedding_size} coordinates, those of {loaded.source} "
                f"{self.embedding_size}: name the teacher that gave them in model.teacher.source, or remove it"
            )
        if prepared.vocab.tokens != self.vocab.tokens:
            raise ValueError(
                f"the shards with vectors number genes by another vocabulary ({len(prepared.vocab)} tokens) than "
                f"{loaded.source} ({len(self.vocab)} tokens): prepare them with this teacher's vocab.json"
            )
        self.prepared = prepared
        # Another student, with the vectors and without: a checkpoint is not to go on with the one for the other.
        self.fingerprint = hashlib.sha256((self.fingerprint + prepared.fingerprint).encode()).hexdigest()
        self._agrees = False

    def forward(self, batch: Mapping[str, Any], *, needs: frozenset[str], sees_masks: bool) -> Outputs:
        """The stored vectors where the batch has them and no more is needed, else the teacher's outputs.

        Raises:
            ValueError: At the first batch with vectors, when they are not what the teacher says.
        """
        if TEACHER not in batch or sees_masks or needs - {"cell"}:
            return super().forward(batch, needs=needs, sees_masks=sees_masks)
        self._check(batch)
        return self.prepared.forward(batch, needs=needs, sees_masks=sees_masks)

    @torch.compiler.disable
    def _check(self, batch: Mapping[str, Any]) -> None:
        if self._agrees:
            return
        found: Any = super().forward(batch, needs=frozenset(), sees_masks=False).cell
        check_agreement(found, batch[TEACHER], "the vectors beside the cells")
        self._agrees = True
