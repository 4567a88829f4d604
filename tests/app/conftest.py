"""One tiny model with random weights a session: real parts, written and read as any model is."""

from pathlib import Path

import pytest

PROMPT = "红色高跟鞋"
SIZE = 32  # pixels; 4 x 4 codes
CODES = 16


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from corpus.titles import all_words
    from m6_prior import M6Config, M6Model, M6Tokenizer
    from pipelines import TextToImagePipeline
    from vqgan import VQGAN, VQGANConfig

    torch.manual_seed(0)
    config = VQGANConfig(
        sample_size=SIZE,
        base_channels=32,
        channel_multipliers=(1, 1),
        num_res_blocks=1,
        attention_resolutions=(),
        mid_attention=False,
        patch_size=4,
        latent_channels=32,
        codebook_size=CODES,
        codebook_dim=4,
    )
    vqgan = VQGAN(config)
    tokenizer = M6Tokenizer.train(all_words(), vocab_size=1000, max_length=16)
    height, width = config.code_grid
    prior = M6Model(
        M6Config(
            vocab_size=len(tokenizer),
            codebook_size=CODES,
            code_height=height,
            code_width=width,
            hidden_size=32,
            num_layers=2,
            num_heads=2,
            max_text_length=16,
        )
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    TextToImagePipeline(vqgan, prior, tokenizer, top_k=8, guidance_scale=2.0).save_pretrained(folder)
    return folder
