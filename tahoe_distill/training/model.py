"""The ComposerModel: a frozen teacher, a student, and the objectives between them."""

from collections.abc import Mapping
from typing import Any

import torch
from composer.models import ComposerModel
from torch import Tensor, nn
from torchmetrics import Metric

from tahoe_distill.data.batch import DRUG_IDS, CellView, check_drugs, student_view, teacher_view
from tahoe_distill.metrics import build_metrics
from tahoe_distill.models import GeneVocab, SetEncoder, Tx1Block, Tx1Config, Tx1Processor
from tahoe_distill.naming import check_keys
from tahoe_distill.objectives import Outputs, Shapes, build_objectives
from tahoe_distill.training.classifier import check_teacher
from tahoe_distill.training.forward import forward_flops, forward_model
from tahoe_distill.training.metric_inputs import given_to_metrics, metric_inputs
from tahoe_distill.training.student.build import (
    build_student,
    check_encoder,
    check_width,
    student_config,
    student_processor,
)
from tahoe_distill.training.student.gene_cells import gene_means
from tahoe_distill.training.student.gene_means import GeneMeans
from tahoe_distill.training.student.pruning import teacher_tokens, token_lookup
from tahoe_distill.training.student.spec import StudentSpec
from tahoe_distill.training.student.vocabulary import student_vocabulary
from tahoe_distill.training.teacher_provider import TeacherProvider, teacher_provider

_MODEL_KEYS = ("student", "teacher", "objectives", "vocab", "student_sees_masks", "init_device")


class TahoeDistillModel(ComposerModel):
    """Distils a Tahoe-x1 teacher into a student; without a teacher, pretrains the student.

    The teacher is not a submodule: it gets no gradients, enters no checkpoint and no optimizer, and ``train()`` does
    not reach it. Its fingerprint is a buffer, so that a checkpoint refuses to go on with another teacher.

    Args:
        student: As in :func:`tahoe_distill.training.student.build.student_config`.
        teacher: As in :func:`tahoe_distill.training.teacher_provider.teacher_provider`.
        objectives: ``name: weight`` or ``name: {weight, options…}``.
        vocab: Path of a ``vocab.json``; needed without a teacher.
        student_sees_masks: Show the student masked cells; by default only when an objective needs masks.
        tokenizer: Taken for llm-foundry's sake and ignored; cells have no text.
        init_device: Taken for llm-foundry's sake; the student is always built on the CPU.
        **unknown: Refused by name.

    Raises:
        ValueError: When an argument does not fit, before any training.
    """

    def __init__(
        self,
        student: str | Mapping[str, Any],
        teacher: str | Mapping[str, Any] | TeacherProvider | None = None,
        objectives: Mapping[str, Any] | None = None,
        *,
        vocab: str | None = None,
        student_sees_masks: bool | None = None,
        tokenizer: object = None,
        init_device: str = "cpu",
        **unknown: Any,
    ):
        super().__init__()
        check_keys(unknown, _MODEL_KEYS, "model")
        spec = StudentSpec.read(student)
        # Of no class that torch knows, so that it is no submodule.
        self.teacher = teacher_provider(teacher)
        self.teacher_config = None if self.teacher is None else self.teacher.config
        self.vocab = _vocabulary(vocab, self.teacher)
        self.student_vocab = student_vocabulary(spec, self.vocab)
        pruned = None if self.student_vocab is self.vocab else self.student_vocab
        defaults = _without_teacher_config(self.vocab, self.teacher)
        config = student_config(spec, self.teacher_config, defaults=defaults, vocab=pruned)
        check_width(spec, config, self.teacher_config)
        self.objectives = build_objectives(objectives or {"cosine": 1.0}, _shapes(config, self.teacher))
        self.needs = self.objectives.needs
        self.student_sees_masks = "masks" in self.needs if student_sees_masks is None else student_sees_masks
        # The teacher predicts masked genes only where an objective reads that; otherwise it sees the whole cell.
        self.teacher_sees_masks = "masks" in self.needs and bool(self.objectives.teacher_needs & {"expression", "mvc"})
        check_encoder(config, self.objectives, sees_masks=self.student_sees_masks)
        if self.teacher is not None:
            check_teacher(self.objectives, self.teacher.fingerprint)
            self.teacher.check(self.objectives, sees_masks=self.teacher_sees_masks)
        self.student = build_student(
            spec,
            config,
            self.needs,
            sees_masks=self.student_sees_masks,
            teacher=None if self.teacher is None else self.teacher.model,
            tokens=None if pruned is None else teacher_tokens(self.vocab, pruned),
            found=_gene_means(spec, self.teacher),
        )
        # Composer reads these off each child of the model, not off the model.
        self.student.fsdp_wrap_fn = _is_block
        self.student.activation_checkpointing_fn = _is_block
        self._lookup: Any = None if pruned is None else token_lookup(self.vocab, pruned)
        # The student's token for each of the teacher's; in the checkpoint, so that another pruning is noticed.
        self.student_tokens: Tensor | None
        self.register_buffer("student_tokens", None if self._lookup is None else self._lookup.clone())
        self.teacher_fingerprint: Tensor
        self.register_buffer("teacher_fingerprint", _fingerprint_tensor(self.teacher))
        self._checked_checkpoint = False

    def make_processor(
        self, symbols: Mapping[str, str] | None = None, drug_to_id: Mapping[str, int] | None = None
    ) -> Tx1Processor:
        """The processor that belongs to the student: the teacher's, at the student's context.

        Args:
            symbols: Gene symbols (symbol to id) to carry beside those that the vocabulary and this package have.
            drug_to_id: Drug names (name to number) that the run reads, for a student with a drug token; the teacher's
                when left out.
        """
        teacher = None if self.teacher is None else self.teacher.processor
        config, vocab = self.student.config, self.student_vocab
        return student_processor(config, vocab, teacher, symbols=symbols, drug_to_id=drug_to_id)

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Outputs | None]:
        """Both models' outputs to a batch of the ``tahoe_mds`` loader."""
        self._check_checkpoint()
        check_drugs(DRUG_IDS in batch, self.student.config, self.teacher_config)
        teacher = None
        if self.teacher is not None:
            needs, sees_masks = self.objectives.teacher_needs, self.teacher_sees_masks
            teacher = self.teacher.forward(batch, needs=needs, sees_masks=sees_masks)
        return {"student": self.forward_student(batch), "teacher": teacher}

    def forward_student(self, batch: Mapping[str, Any]) -> Outputs:
        """The student's outputs alone."""
        view, needs = self.student_view(batch), self.needs
        sees_masks, tokens = self.student_sees_masks, self.student_tokens
        return forward_model(self.student, view, needs=needs, sees_masks=sees_masks, tokens=tokens)

    def student_view(self, batch: Mapping[str, Any]) -> CellView:
        """What the student sees of a batch."""
        return student_view(batch, drug_token=self.student.config.num_drugs is not None)

    @torch.compiler.disable
    def _check_checkpoint(self) -> None:
        if self._checked_checkpoint:
            return
        here = _fingerprint_tensor(self.teacher)
        if not torch.equal(self.teacher_fingerprint.cpu(), here):
            raise ValueError(
                f"the checkpoint was trained with a teacher of fingerprint {_hex(self.teacher_fingerprint)}, this run "
                f"has {_hex(here)}; give the run the same teacher, or start afresh in another save_folder"
            )
        if self.student_tokens is not None and not torch.equal(self.student_tokens.cpu(), self._lookup):
            raise ValueError(
                "the checkpoint was trained with other genes than model.student.genes names now; name what it was "
                "trained with, or start afresh in another save_folder"
            )
        self._checked_checkpoint = True

    # Composer takes a mapping too.
    def loss(  # type: ignore[override]
        self, outputs: Mapping[str, Any], batch: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """``total``, each objective's own term, and the plain cosine where there is a teacher."""
        total, terms = self.objectives(outputs["student"], outputs["teacher"], batch)
        losses = {"total": total, **terms}
        teacher = outputs["teacher"]
        if teacher is not None and teacher.cell.shape == outputs["student"].cell.shape:
            with torch.no_grad():
                cosine = torch.nn.functional.cosine_similarity(outputs["student"].cell.float(), teacher.cell.float())
            losses["student_teacher_cosine"] = cosine.mean()
        return losses

    def eval_forward(self, batch: Mapping[str, Any], outputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Both models' outputs, and the loss terms of the batch for the metrics."""
        outputs = self.forward(batch) if outputs is None else outputs
        return {**outputs, "losses": self.loss(outputs, batch)}

    def get_metrics(self, is_train: bool = False) -> dict[str, Metric]:
        """The registered metrics that this run can feed, for evaluation; training logs the loss terms instead."""
        if is_train:
            return {}
        teacher = None if self.teacher is None else self.teacher.embedding_size
        given = given_to_metrics(self.objectives, self.student.config.embedding_size, teacher)
        return build_metrics(self.objectives.objectives, given)

    def update_metric(self, batch: Mapping[str, Any], outputs: Mapping[str, Any], metric: Metric) -> None:
        """Feed one batch's outputs to a metric: what it declares to read."""
        reads: Any = metric.reads
        metric.update(*metric_inputs(reads, outputs, self.objectives))

    def flops_per_batch(self, batch: Mapping[str, Any]) -> int:
        """Floating-point operations of a training step: the student's three passes and the teacher's one."""
        own = self.student_view(batch).gene_ids.shape
        student = 3 * forward_flops(self.student, *own, needs=self.needs)
        if self.teacher is None:
            return student
        given = teacher_view(batch).gene_ids.shape
        return student + self.teacher.flops(*given, needs=self.objectives.teacher_needs)


def _is_block(module: nn.Module) -> bool:
    """Shard and recompute block by block; a set encoder is one."""
    return isinstance(module, (SetEncoder, Tx1Block))


def _vocabulary(path: str | None, teacher: TeacherProvider | None) -> GeneVocab:
    if teacher is not None:
        if path is not None:
            raise ValueError("model.vocab is the teacher's where there is one; remove it")
        return teacher.vocab
    if path is None:
        raise ValueError("without a teacher model.vocab must name a vocab.json (`tahoe-distill prepare` writes one)")
    return GeneVocab.from_file(path)


def _gene_means(spec: StudentSpec, teacher: TeacherProvider | None) -> GeneMeans | None:
    """What the teacher makes of each gene, where the student is to start from that."""
    if spec.init_cells is None or teacher is None:
        return None
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else None
    return gene_means(spec.init_cells, teacher.model, teacher.processor, device=device)


def _without_teacher_config(vocab: GeneVocab, teacher: TeacherProvider | None) -> dict[str, int]:
    """The student's fields that come from the vocabulary and the cached embeddings where no configuration has them."""
    if teacher is not None and teacher.config is not None:
        return {}
    fields = {"vocab_size": len(vocab), "cls_token_id": vocab["<cls>"], "pad_token_id": vocab["<pad>"]}
    return fields if teacher is None else {**fields, "projection_dim": teacher.embedding_size}


def _shapes(student: Tx1Config, teacher: TeacherProvider | None) -> Shapes:
    config = None if teacher is None else teacher.config
    embedding = None if teacher is None else teacher.embedding_size
    return Shapes(
        student_width=student.hidden_size,
        student_embedding=student.embedding_size,
        student_layers=student.num_hidden_layers,
        # Of a teacher known by its embeddings alone nothing but those can be compared, which its provider checks.
        teacher_width=embedding if config is None else config.hidden_size,
        teacher_embedding=embedding,
        teacher_layers=None if config is None else config.num_hidden_layers,
        num_bins=student.num_bins,
        standard_scale_outputs=student.standard_scale_outputs,
    )


def _fingerprint_tensor(teacher: TeacherProvider | None) -> Tensor:
    digest = bytes(32) if teacher is None else bytes.fromhex(teacher.fingerprint)
    return torch.tensor(list(digest), dtype=torch.uint8)


def _hex(tensor: Tensor) -> str:
    return bytes(tensor.cpu().tolist()).hex()[:12]
