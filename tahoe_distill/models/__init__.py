"""The model as Hugging Face code: configuration, network, processor. Copied into every exported student."""

from .configuration_tx1 import Tx1Config
from .modeling_tx1 import Tx1Model, Tx1ModelOutput
from .processing_tx1 import GeneVocab, Tx1Processor, bin_expression

__all__ = ["GeneVocab", "Tx1Config", "Tx1Model", "Tx1ModelOutput", "Tx1Processor", "bin_expression"]
