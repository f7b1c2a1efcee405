"""The ComposerModel: a frozen teacher, a student, and the objectives between them."""

import torch
from composer.models import ComposerModel

from tahoe_distill.metrics import build_metrics
from tahoe_distill.models import GeneVocab, Tx1Block, Tx1Processor
from tahoe_distill.naming import check_keys
from tahoe_distill.objectives import Shapes, build_objectives
from tahoe_distill.training.forward import forward_flops, forward_model
from tahoe_distill.training.metric_inputs import given_to_metrics, metric_inputs
from tahoe_distill.training.student.build import build_student, check_width, student_config, student_vocabulary
from tahoe_distill.training.student.pruning import teacher_tokens, token_lookup
from tahoe_distill.training.student.spec import StudentSpec
from tahoe_distill.training.student.view import check_drugs, without_drug
from tahoe_distill.training.teacher_provider import LiveTeacher, teacher_provider

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
        student,
        teacher=None,
        objectives=None,
        vocab=None,
        student_sees_masks=None,
        tokenizer=None,
        init_device="cpu",
        **unknown,
    ):
        super().__init__()
        check_keys(unknown, _MODEL_KEYS, "model")
        spec = StudentSpec.read(student)
        provider = teacher_provider(teacher)
        self._teacher = provider
        self.vocab = _vocabulary(vocab, provider)
        teacher_config = None if provider is None else provider.config
        self.student_vocab = student_vocabulary(spec, self.vocab)
        pruned = None if self.student_vocab is self.vocab else self.student_vocab
        config = student_config(spec, teacher_config, _without_teacher_config(self.vocab, provider), pruned)
        check_width(spec, config, teacher_config)
        self.objectives = build_objectives(objectives or {"cosine": 1.0}, _shapes(config, provider))
        self.needs = self.objectives.needs
        if "logits" in self.needs:
            raise ValueError("an objective needs logits, which Tahoe-x1 models lack; give kl num_classes and column")
        self.student_sees_masks = "masks" in self.needs if student_sees_masks is None else student_sees_masks
        # The teacher predicts masked genes only when it is asked for them; otherwise it sees the whole cell.
        self.teacher_sees_masks = "masks" in self.needs and bool(self.objectives.teacher_needs & {"expression", "mvc"})
        if provider is not None:
            provider.check(self.objectives, self.teacher_sees_masks)
        live = provider.model if isinstance(provider, LiveTeacher) else None
        rows = None if pruned is None else teacher_tokens(self.vocab, pruned)
        self.student = build_student(spec, config, self.needs, self.student_sees_masks, live, rows)
        # Composer reads these off each child of the model, not off the model.
        self.student.fsdp_wrap_fn = _is_block
        self.student.activation_checkpointing_fn = _is_block
        self._lookup = None if pruned is None else token_lookup(self.vocab, pruned)
        # The student's token for each of the teacher's; in the checkpoint, so that another pruning is noticed.
        self.register_buffer("student_tokens", None if pruned is None else self._lookup.clone())
        self.register_buffer("teacher_fingerprint", _fingerprint_tensor(provider))
        self._checked_checkpoint = False

    @property
    def teacher(self):
        """The teacher's provider: the frozen model or a cache, ``None`` without a teacher."""
        return self._teacher

    def make_processor(self, symbols=None, drug_to_id=None):
        """The processor that belongs to the student: the teacher's, at the student's context.

        Args:
            symbols: Gene symbols (symbol to id) to carry beside those that the vocabulary has.
            drug_to_id: Drug names (name to number) that the run reads, for a student with a drug token; the teacher's
                when left out.
        """
        config = self.student.config
        processor = None if self._teacher is None else self._teacher.processor
        settings = {} if processor is None else processor.to_dict()
        for name in ("processor_class", "_auto_class", "auto_map", "feature_extractor_type"):
            settings.pop(name, None)
        if config.num_drugs is None:
            settings.update(use_chem_token=False, drug_to_id=None)
        else:
            settings.update(use_chem_token=True, drug_to_id=drug_to_id or settings.get("drug_to_id"))
        settings.update(num_bins=config.num_bins, pad_value=config.pad_value, max_length=config.context_length)
        tokens = self.student_vocab.tokens
        symbols = {**(symbols or {}), **self.student_vocab.symbols}
        vocab = GeneVocab(tokens, {symbol: gene for symbol, gene in symbols.items() if gene in tokens})
        return Tx1Processor(vocab, **settings)

    def forward(self, batch):
        """Both models' outputs to a batch of the ``tahoe_mds`` loader."""
        self._check_checkpoint()
        check_drugs(batch, self.student.config, getattr(self._teacher, "config", None))
        teacher = None
        if self._teacher is not None:
            teacher = self._teacher.forward(batch, self.objectives.teacher_needs, self.teacher_sees_masks)
        return {"student": self._forward_student(batch), "teacher": teacher}

    def _seen_by_student(self, batch):
        """The batch, with a view of the student's own where it has no drug token and its teacher has one."""
        return without_drug(batch) if "drug_ids" in batch and self.student.config.num_drugs is None else batch

    def _forward_student(self, batch):
        batch = self._seen_by_student(batch)
        view = "student_" if "student_gene" in batch else ""
        masked = batch[f"{view}gen_mask"] if self.student_sees_masks else None
        values = batch[f"{view}expr" if self.student_sees_masks else f"{view}expr_target"]
        drugs, tokens = batch.get("drug_ids"), self.student_tokens
        return forward_model(self.student, batch[f"{view}gene"], values, masked, drugs, self.needs, tokens)

    @torch.compiler.disable
    def _check_checkpoint(self):
        if self._checked_checkpoint:
            return
        here = _fingerprint_tensor(self._teacher)
        if not torch.equal(self.teacher_fingerprint.cpu(), here):
            raise ValueError(
                f"the checkpoint was trained with a teacher of fingerprint {_hex(self.teacher_fingerprint)}, this run "
                f"has {_hex(here)}; give the run the same teacher, or start afresh in another save_folder"
            )
        if self._lookup is not None and not torch.equal(self.student_tokens.cpu(), self._lookup):
            raise ValueError(
                "the checkpoint was trained with other genes than model.student.genes names now; name what it was "
                "trained with, or start afresh in another save_folder"
            )
        self._checked_checkpoint = True

    def loss(self, outputs, batch):
        """``total``, each objective's own term, and the plain cosine where there is a teacher."""
        total, terms = self.objectives(outputs["student"], outputs["teacher"], self._seen_by_student(batch))
        losses = {"total": total, **terms}
        teacher = outputs["teacher"]
        if teacher is not None and teacher.cell.shape == outputs["student"].cell.shape:
            with torch.no_grad():
                cosine = torch.nn.functional.cosine_similarity(outputs["student"].cell.float(), teacher.cell.float())
            losses["student_teacher_cosine"] = cosine.mean()
        return losses

    def eval_forward(self, batch, outputs=None):
        """Both models' outputs, and the loss terms of the batch for the metrics."""
        outputs = self.forward(batch) if outputs is None else outputs
        return {**outputs, "losses": self.loss(outputs, batch)}

    def get_metrics(self, is_train=False):
        """The registered metrics that this run can feed, for evaluation; training logs the loss terms instead."""
        if is_train:
            return {}
        teacher = None if self._teacher is None else self._teacher.embedding_size
        given = given_to_metrics(self.objectives, self.student.config.embedding_size, teacher)
        return build_metrics(self.objectives.objectives, given)

    def update_metric(self, batch, outputs, metric):
        """Feed one batch's outputs to a metric: what it declares to read."""
        batch = self._seen_by_student(batch)
        metric.update(*metric_inputs(metric.reads, outputs, batch, objectives=self.objectives))

    def flops_per_batch(self, batch):
        """Floating-point operations of a training step: the student's three passes and the teacher's one."""
        cells, length = batch["gene"].shape
        own = batch.get("student_gene", batch["gene"]).shape[1]
        student = 3 * forward_flops(self.student, cells, own, self.needs)
        if self._teacher is None:
            return student
        return student + self._teacher.flops(cells, length, self.objectives.teacher_needs)


def _is_block(module):
    """Shard and recompute block by block."""
    return isinstance(module, Tx1Block)


def _vocabulary(path, teacher):
    if teacher is not None:
        if path is not None:
            raise ValueError("model.vocab is the teacher's where there is one; remove it")
        return teacher.vocab
    if path is None:
        raise ValueError("without a teacher model.vocab must name a vocab.json (`tahoe-distill prepare` writes one)")
    return GeneVocab.from_file(path)


def _without_teacher_config(vocab, teacher):
    """The student's fields that only the vocabulary and the cached embeddings can tell."""
    if teacher is not None and teacher.config is not None:
        return {}
    fields = {"vocab_size": len(vocab), "cls_token_id": vocab["<cls>"], "pad_token_id": vocab["<pad>"]}
    return fields if teacher is None else {**fields, "projection_dim": teacher.embedding_size}


def _shapes(student, teacher):
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


def _fingerprint_tensor(teacher):
    digest = bytes(32) if teacher is None else bytes.fromhex(teacher.fingerprint)
    return torch.tensor(list(digest), dtype=torch.uint8)


def _hex(tensor):
    return bytes(tensor.cpu().tolist()).hex()[:12]
