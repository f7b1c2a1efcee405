"""The model as Hugging Face code: configuration, network, processor. Copied into every exported student."""

from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoProcessor

from .classification_tx1 import Tx1ClassifierOutput, Tx1ForCellClassification
from .configuration_tx1 import Tx1Config
from .modeling_tx1 import CellEncoder, GeneSums, Tx1Block, Tx1GeneEncoder, Tx1Model, Tx1ModelOutput
from .processing_tx1 import GeneVocab, Tx1Processor, bin_expression
from .set_encoder_tx1 import SetEncoder

# With this package imported, the Auto classes load an exported folder without running the code in it.
AutoConfig.register(Tx1Config.model_type, Tx1Config, exist_ok=True)
AutoModel.register(Tx1Config, Tx1Model, exist_ok=True)
AutoModelForSequenceClassification.register(Tx1Config, Tx1ForCellClassification, exist_ok=True)
AutoProcessor.register(Tx1Config, Tx1Processor, exist_ok=True)

__all__ = [
    "CellEncoder",
    "GeneSums",
    "GeneVocab",
    "SetEncoder",
    "Tx1Block",
    "Tx1ClassifierOutput",
    "Tx1Config",
    "Tx1ForCellClassification",
    "Tx1GeneEncoder",
    "Tx1Model",
    "Tx1ModelOutput",
    "Tx1Processor",
    "bin_expression",
]
