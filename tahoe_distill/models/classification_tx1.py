"""A model that says what cells are: a linear map from their embeddings to the logits of labels.

Shapes: C cells, G genes (positions), E width of a cell embedding, K labels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from .configuration_tx1 import Tx1Config
from .modeling_tx1 import Tx1Model, Tx1PreTrainedModel

# transformers 4.51 copies the files that the loaded one names itself, and not those that they name in their turn.
from .packing_tx1 import Packing  # noqa: F401
from .set_encoder_tx1 import SetEncoder  # noqa: F401


@dataclass
class Tx1ClassifierOutput(ModelOutput):
    """What a :class:`Tx1ForCellClassification` returns.

    Args:
        loss: Scalar cross-entropy, when labels are given.
        logits: (C, K); their softmax are the probabilities of ``config.id2label``.
        pooler_output: (C, E) cell embeddings, not normalised.
        hidden_states: As :class:`Tx1Model` returns them, when asked for.
        attentions: Likewise.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class Tx1ForCellClassification(Tx1PreTrainedModel):
    """Cells in, logits of labels out. ``AutoModel`` loads the same folder as the :class:`Tx1Model` inside.

    The map reads embeddings of length 1, as ``embed`` gives them, and runs in float32 whatever the precision of the
    rest. A temperature that calibrates its probabilities is part of its weights.

    Args:
        config: Every dimension; ``id2label`` names the labels.

    Examples:
        >>> config = Tx1Config(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        ...                    id2label={0: "B cell", 1: "T cell", 2: "monocyte"})
        >>> model = Tx1ForCellClassification(config).eval()
        >>> tuple(model(torch.tensor([[1, 4, 5]]), torch.tensor([[-2.0, 3.0, 1.0]])).logits.shape)
        (1, 3)
    """

    def __init__(self, config: Tx1Config):
        super().__init__(config)
        self.tx1 = Tx1Model(config)
        self.classifier = nn.Linear(config.embedding_size, config.num_labels)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.tx1.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.tx1.set_input_embeddings(value)

    def forward(
        self,
        gene_ids: Tensor,
        expression_bins: Tensor,
        attention_mask: Tensor | None = None,
        *,
        drug_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> Tx1ClassifierOutput | tuple:
        """Classify a batch of cells.

        Args:
            gene_ids: (C, G) int64 tokens, as :class:`Tx1Model` reads them.
            expression_bins: (C, G) binned expression.
            attention_mask: (C, G) nonzero at tokens, zero at padding; by default the padding token tells.
            drug_ids: (C,) drug numbers, for a model with a drug token.
            labels: (C,) int64 numbers of the true labels, for a loss; -100 where a cell has none.
            output_hidden_states: Return the hidden states too.
            output_attentions: Return the attention weights too.
            return_dict: ``False`` for a plain tuple.

        Returns:
            A :class:`Tx1ClassifierOutput`.
        """
        shown = bool(output_hidden_states or output_attentions)
        output = self.tx1(
            gene_ids,
            expression_bins,
            attention_mask=attention_mask,
            drug_ids=drug_ids,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            cell_only=not shown,
        )
        logits = self.logits(output.pooler_output)
        result = Tx1ClassifierOutput(
            loss=None if labels is None else nn.functional.cross_entropy(logits, labels),
            logits=logits,
            pooler_output=output.pooler_output,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return result.to_tuple() if return_dict is False else result

    def logits(self, cell: Tensor) -> Tensor:
        """(C, E) cell embeddings of any length -> (C, K) logits in float32 or better."""
        precision = torch.promote_types(cell.dtype, torch.float32)
        # Regression on unit vectors adds and subtracts large numbers, which half precision would round away.
        with torch.autocast(cell.device.type, enabled=False):
            unit = nn.functional.normalize(cell.to(precision), dim=-1)
            return nn.functional.linear(unit, self.classifier.weight.to(precision), self.classifier.bias.to(precision))

    def predict(self, processor: Any, adata: Any, **reading: Any) -> tuple[list[str], np.ndarray]:
        """Label all cells of an AnnData, where this model is and in its precision.

        Args:
            processor: The model's :class:`Tx1Processor`.
            adata: Cells by genes; raw counts or log1p of them.
            **reading: ``layer``, ``gene_key``, ``drug_key`` and ``batch_tokens``, as :meth:`Tx1Model.embed` takes them.

        Returns:
            The most probable label of each cell, and (n_obs, K) float32 probabilities in the order of
            ``config.id2label``.

        Examples:
            >>> labels, probabilities = model.predict(processor, adata)  # doctest: +SKIP
        """
        vectors = self.tx1.embed(processor, adata, **reading)
        with torch.inference_mode():
            probabilities = self.logits(torch.from_numpy(vectors).to(self.device)).softmax(dim=-1).cpu().numpy()
        return [self.config.id2label[number] for number in probabilities.argmax(axis=1).tolist()], probabilities


Tx1ForCellClassification.register_for_auto_class("AutoModelForSequenceClassification")

__all__ = ["Tx1ClassifierOutput", "Tx1ForCellClassification"]
