"""A student's first weights, taken from its teacher as far as the two fit."""

import logging
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from tahoe_distill.models import Tx1Config, Tx1Model

log = logging.getLogger(__name__)

# What must agree, beside the width, for a part of the teacher to mean the same in the student.
_BLOCK = ("num_attention_heads", "intermediate_size", "use_glu", "hidden_act")
_VALUES = ("value_act", "value_norm")
_HEADS = {
    "expression_decoder": ("expression_head_layers", "expression_head_act"),
    "mvc_decoder": ("mvc_query_act", "mvc_scaled"),
}
# Rows of the gene table that are held in float32 at once.
_ROWS = 8192


@torch.no_grad()
def initialise_from_teacher(student: Tx1Model, teacher: Tx1Model, tokens: Tensor | None = None) -> list[str]:
    """Give a student the weights of its teacher where they fit, in place; the rest stays as it is.

    Where the widths agree, the student takes the teacher's gene table, encoders, evenly spaced blocks, final norm and
    those heads that it has, and its square projection starts as the identity. Where they differ it takes the gene
    table alone, reduced by a truncated SVD. No random number is drawn.

    Args:
        student: A fresh ``Tx1Model``.
        teacher: The ``Tx1Model`` to take from, in any floating dtype; float32 is computed in.
        tokens: (vocab_size of the student,) int64, the teacher's token of each row of the student's gene table;
            ``None`` where both have the same vocabulary.

    Returns:
        List of str: what was taken from where, and what was not, a part each.

    Raises:
        ValueError: When there is not one teacher's token for each row.
    """
    tokens = _check_tokens(student, teacher, tokens)
    report = [_gene_table(student, teacher, tokens)]
    if student.config.hidden_size == teacher.config.hidden_size:
        report += [_inputs(student, teacher), *_blocks_and_outputs(student, teacher)]
    else:
        report.append(
            f"all else: from scratch, the widths differ ({student.config.hidden_size}, the teacher has "
            f"{teacher.config.hidden_size})"
        )
    for line in report:
        log.info("student from teacher: %s", line)
    return report


def taken_layers(layers: int, teacher_layers: int) -> list[int]:
    """Which of the teacher's blocks each of the student's starts as: evenly spaced, the last one being the last.

    Examples:
        >>> taken_layers(4, 12)
        [2, 5, 8, 11]
    """
    return [max(round((layer + 1) * teacher_layers / layers) - 1, 0) for layer in range(layers)]


def truncated_svd(table: Tensor, rank: int, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The best approximation of a table by one of a lower rank (Eckart and Young).

    Taken from the eigenvectors of the (width, width) matrix of inner products, which is summed over pieces of the
    table: exact, without random numbers, and small beside the table.

    Args:
        table: (n, width) in any floating dtype.
        rank: At most ``width``.
        rows: (m,) int64, the rows that count; all by default.

    Returns:
        ``scores`` (m, rank) and ``basis`` (width, rank) in float32, whose ``scores @ basis.T`` is the approximation;
        the columns of ``basis`` are orthonormal.
    """
    pieces = (torch.arange(len(table)) if rows is None else rows).split(_ROWS)
    gram = torch.zeros(table.shape[1], table.shape[1], dtype=torch.float64)
    for piece in pieces:
        part = _rows(table, piece)
        gram += part.T @ part
    basis = torch.linalg.eigh(gram).eigenvectors[:, -rank:].flip(1).float()
    # An eigenvector may point either way; processes that build the same student must agree.
    basis *= basis.gather(0, basis.abs().argmax(dim=0, keepdim=True)).sign()
    return torch.cat([_rows(table, piece) @ basis for piece in pieces]), basis


def _rows(table: Tensor, rows: Tensor) -> Tensor:
    return table[rows.to(table.device)].to("cpu", torch.float32)


def _check_tokens(student: Tx1Model, teacher: Tx1Model, tokens: Tensor | None) -> Tensor:
    size = student.config.vocab_size
    if tokens is None:
        tokens = torch.arange(teacher.config.vocab_size)
    if len(tokens) != size or tokens.min() < 0 or tokens.max() >= teacher.config.vocab_size:
        raise ValueError(
            f"the student's gene table has {size} rows, but {len(tokens)} of the teacher's "
            f"{teacher.config.vocab_size} tokens were given for them; pass the teacher's token of each row"
        )
    return tokens


def _gene_table(student: Tx1Model, teacher: Tx1Model, tokens: Tensor) -> str:
    encoder, config = student.gene_encoder, student.config
    table = _full_table(teacher.gene_encoder)
    # The row of padding is never trained, and means nothing in the teacher.
    kept = torch.arange(len(tokens)).ne(config.pad_token_id).nonzero().squeeze(1)
    same_width = config.hidden_size == teacher.config.hidden_size
    if same_width:
        _copy_norm(encoder, teacher.gene_encoder)
    if same_width and config.gene_rank is None:
        encoder.embedding.weight[kept] = _rows(table, tokens[kept])
        return f"gene table: {len(kept)} rows of the teacher's"
    rank = encoder.embedding.weight.shape[1]
    if rank > min(len(kept), table.shape[1]):
        return f"gene table: from scratch, {rank} columns cannot be made of the teacher's {table.shape[1]}"
    scores, basis = truncated_svd(table, rank, tokens[kept])
    scale = _scale(scores, config)
    encoder.embedding.weight[kept] = scores / scale
    if encoder.expand is None:
        return f"gene table: the teacher's, reduced to {rank} columns by truncated SVD"
    if not same_width:
        return f"gene table: the teacher's at rank {rank} by truncated SVD, expanded from scratch"
    encoder.expand.weight.copy_(basis * scale)
    return f"gene table: the teacher's at rank {rank} by truncated SVD, expansion included"


def _scale(scores: Tensor, config: Tx1Config) -> Tensor:
    """What brings the scores to the size of a fresh table.

    The LayerNorm behind the table takes the length of a row away, so the forward pass does not need it; but an Adam
    step is as long for a large weight as for a small one, so the length decides how fast a table is learned.
    """
    size = scores.square().mean().sqrt() / (config.initializer_range or 1.0)
    return size if size > 0 else torch.ones(())


def _full_table(encoder: nn.Module) -> Tensor:
    table = encoder.embedding.weight
    return table if encoder.expand is None else table.float() @ encoder.expand.weight.float().T


def _copy_norm(encoder: nn.Module, source: nn.Module) -> None:
    if encoder.enc_norm is not None and source.enc_norm is not None:
        encoder.enc_norm.load_state_dict(source.enc_norm.state_dict())


def _inputs(student: Tx1Model, teacher: Tx1Model) -> str:
    student.flag_encoder.load_state_dict(teacher.flag_encoder.state_dict())
    taken, left = ["mask flag"], []
    differing = _differing(student, teacher, _VALUES)
    if differing:
        left.append(f"expression encoder ({differing})")
    else:
        student.expression_encoder.load_state_dict(teacher.expression_encoder.state_dict())
        taken.append("expression encoder")
    if student.chem_encoder is not None and teacher.chem_encoder is not None:
        student.chem_encoder.load_state_dict(teacher.chem_encoder.state_dict())
        taken.append("chemical encoder")
    return f"the teacher's {', '.join(taken)}" + (f"; from scratch: {', '.join(left)}" if left else "")


def _blocks_and_outputs(student: Tx1Model, teacher: Tx1Model) -> list[str]:
    differing = _differing(student, teacher, _BLOCK)
    if differing:
        return [f"blocks and heads: from scratch, {differing}"]
    mine, theirs = student.transformer_encoder, teacher.transformer_encoder
    chosen = taken_layers(len(mine.layers), len(theirs.layers))
    for layer, source in zip(mine.layers, chosen):
        layer.load_state_dict(theirs.layers[source].state_dict())
    mine.norm.load_state_dict(theirs.norm.state_dict())
    lines = [f"blocks: the teacher's {', '.join(map(str, chosen))} of 0 to {len(theirs.layers) - 1}, and its last norm"]
    return [*lines, *_heads(student, teacher), *_projection(student, teacher)]


def _heads(student: Tx1Model, teacher: Tx1Model) -> Iterator[str]:
    for name, fields in _HEADS.items():
        mine, theirs = getattr(student, name), getattr(teacher, name)
        if mine is None:
            continue
        differing = "the teacher has none" if theirs is None else _differing(student, teacher, fields)
        if differing:
            yield f"{name}: from scratch, {differing}"
        else:
            mine.load_state_dict(theirs.state_dict())
            yield f"{name}: the teacher's"


def _projection(student: Tx1Model, teacher: Tx1Model) -> Iterator[str]:
    mine, theirs = student.projection, teacher.projection
    if mine is None:
        return
    if theirs is not None and mine.weight.shape == theirs.weight.shape:
        mine.load_state_dict(theirs.state_dict())
        yield "projection: the teacher's"
    elif mine.in_features == mine.out_features:
        torch.nn.init.eye_(mine.weight)
        torch.nn.init.zeros_(mine.bias)
        yield "projection: the identity"
    else:
        yield "projection: from scratch"


def _differing(student: Tx1Model, teacher: Tx1Model, fields: Sequence[str]) -> str:
    """The fields in which the two configurations differ, for a message; empty where they agree."""
    pairs = [(name, getattr(student.config, name), getattr(teacher.config, name)) for name in fields]
    return ", ".join(f"{name} is {mine}, the teacher's {theirs}" for name, mine, theirs in pairs if mine != theirs)
