"""A tiny real model with random weights, made so that words, seeds and settings all change its pictures."""

from collections.abc import Callable

import pytest
import torch

from m6_prior import M6Config, M6Model, M6Tokenizer
from pipelines import TextToImagePipeline
from vqgan import VQGAN, VQGANConfig

CODEBOOK_SIZE, SIDE, TEXT_LENGTH = 24, 4, 12


def make_vqgan(codebook_size: int = CODEBOOK_SIZE) -> VQGAN:
    torch.manual_seed(0)
    config = VQGANConfig(
        sample_size=16, patch_size=2, base_channels=32, channel_multipliers=(1, 1), num_res_blocks=1,
        attention_resolutions=(), mid_attention=False, latent_channels=8, codebook_size=codebook_size, codebook_dim=4,
    )  # fmt: skip
    vqgan = VQGAN(config)
    torch.nn.init.normal_(vqgan.quantizer.codebook)
    return vqgan.eval()


def make_tokenizer(texts: tuple[str, ...] = ("红色高跟鞋", "蓝色条纹西服")) -> M6Tokenizer:
    return M6Tokenizer.train(texts, 200, max_length=TEXT_LENGTH)


def make_prior(vocab_size: int, codebook_size: int = CODEBOOK_SIZE, max_text_length: int = TEXT_LENGTH) -> M6Model:
    torch.manual_seed(0)
    config = M6Config(
        vocab_size=vocab_size, codebook_size=codebook_size, code_height=SIDE, code_width=SIDE, hidden_size=32,
        num_layers=2, num_heads=2, max_text_length=max_text_length, dropout=0.1,
    )  # fmt: skip
    prior = M6Model(config)
    for parameter in prior.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return prior.eval()


@pytest.fixture
def make_pipe() -> Callable[..., TextToImagePipeline]:
    def make(**sampling: float) -> TextToImagePipeline:
        tokenizer = make_tokenizer()
        return TextToImagePipeline(make_vqgan(), make_prior(len(tokenizer)), tokenizer, **sampling)  # type: ignore[arg-type]

    return make


@pytest.fixture
def pipe(make_pipe: Callable[..., TextToImagePipeline]) -> TextToImagePipeline:
    return make_pipe(top_k=16, guidance_scale=1.5)
