"""Stage one: a picture to a grid of discrete codes and back."""

from vqgan.config import VQGANConfig
from vqgan.model import VQGAN, VQGANOutput

__all__ = ["VQGAN", "VQGANConfig", "VQGANOutput"]
