"""Tiny real parts with random weights, made so that words, seeds and settings all change the picture."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from m6_prior import M6Config, M6Model, M6Tokenizer
from pipelines import TextToImagePipeline
from vqgan import VQGAN, VQGANConfig

CODEBOOK_SIZE, SIDE, TEXT_LENGTH = 24, 4, 12


def build_vqgan(codebook_size: int = CODEBOOK_SIZE) -> VQGAN:
    torch.manual_seed(0)
    config = VQGANConfig(
        sample_size=16,
        patch_size=2,
        base_channels=32,
        channel_multipliers=(1, 1),
        num_res_blocks=1,
        attention_resolutions=(),
        mid_attention=False,
        latent_channels=8,
        codebook_size=codebook_size,
        codebook_dim=4,
    )
    vqgan = VQGAN(config)
    torch.nn.init.normal_(vqgan.quantizer.codebook)
    return vqgan.eval()


def build_tokenizer(words: str = "红色高跟鞋蓝色条纹西服", max_length: int = TEXT_LENGTH) -> M6Tokenizer:
    return M6Tokenizer.train([words], 200, max_length=max_length)


def build_prior(vocab_size: int, codebook_size: int = CODEBOOK_SIZE) -> M6Model:
    torch.manual_seed(0)
    config = M6Config(
        vocab_size=vocab_size,
        codebook_size=codebook_size,
        code_height=SIDE,
        code_width=SIDE,
        hidden_size=32,
        num_layers=2,
        num_heads=2,
        max_text_length=TEXT_LENGTH,
        dropout=0.1,
    )
    prior = M6Model(config)
    for parameter in prior.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return prior.eval()


def build_pipe(**sampling: Any) -> TextToImagePipeline:
    tokenizer = build_tokenizer()
    return TextToImagePipeline(build_vqgan(), build_prior(len(tokenizer)), tokenizer, **sampling)


@pytest.fixture
def make_vqgan() -> Callable[..., VQGAN]:
    return build_vqgan


@pytest.fixture
def make_prior() -> Callable[..., M6Model]:
    return build_prior


@pytest.fixture
def make_tokenizer() -> Callable[..., M6Tokenizer]:
    return build_tokenizer


@pytest.fixture
def make_pipe() -> Callable[..., TextToImagePipeline]:
    return build_pipe


@pytest.fixture
def pipe() -> TextToImagePipeline:
    return build_pipe(top_k=16, guidance_scale=1.5)
