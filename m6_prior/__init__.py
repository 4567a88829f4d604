"""M6: tokenizer, transformer and cached generation of the prior over words and codes."""

from m6_prior.config import M6Config
from m6_prior.generation import SampledCodes, sample_codes
from m6_prior.losses import TextToImageLoss, text_to_image_loss
from m6_prior.model import M6Model, M6Output
from m6_prior.tokenizer import M6Tokenizer

__all__ = [
    "M6Config",
    "M6Model",
    "M6Output",
    "M6Tokenizer",
    "SampledCodes",
    "TextToImageLoss",
    "sample_codes",
    "text_to_image_loss",
]
