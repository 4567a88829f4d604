"""Trained parts to answers: a prompt to pictures. The diffusers adapter is in pipelines.diffusers_adapter."""

from pipelines.picture_info import read_picture_info, save_picture, to_grid
from pipelines.sampling import SamplingDefaults
from pipelines.text_to_image import (
    StreamedPictures,
    TextToImageOutput,
    TextToImagePipeline,
    UnknownWordsWarning,
)

__all__ = [
    "SamplingDefaults",
    "StreamedPictures",
    "TextToImageOutput",
    "TextToImagePipeline",
    "UnknownWordsWarning",
    "read_picture_info",
    "save_picture",
    "to_grid",
]
