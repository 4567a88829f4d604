"""Stage two: M6 learns to continue a title with the codes of its picture (paper, section 4.1)."""

from __future__ import annotations

import random

import torch
from PIL import Image
from torch import Tensor, nn

from m6_prior import M6Config, M6Model, M6Tokenizer
from m6_prior.losses import text_to_image_loss
from pipelines import TextToImagePipeline
from recipes.config import StageTwoConfig, build
from recipes.data import PictureStore
from recipes.pictures import to_sheet
from vqgan import VQGAN

SHEET_PROMPTS = (
    "军旅风迷彩高跟鞋", "红色波点连衣裙", "蓝色条纹T恤", "绿色格纹双肩背包",
    "黄色碎花雨伞", "粉色纯色手提包", "黑色商务西服", "紫色北欧沙发",
)  # fmt: skip


class StageTwo:
    """Trains the prior on codes made once by stage one; see recipes.loop.Task."""

    name = "stage two"

    def __init__(
        self,
        config: StageTwoConfig,
        vqgan: VQGAN,
        tokenizer: M6Tokenizer,
        train: tuple[PictureStore, Tensor],
        validation: tuple[PictureStore, Tensor],
    ) -> None:
        self.config, self.vqgan, self.tokenizer = config, vqgan, tokenizer
        (self.store, self.codes), (self.validation_store, self.validation_codes) = train, validation
        self.num_samples = len(self.store)
        height, width = self.codes.shape[1:]
        sizes = {"vocab_size": len(tokenizer), "codebook_size": vqgan.config.codebook_size}
        fields = {**config.model, **sizes, "code_height": height, "code_width": width}
        torch.manual_seed(config.loop.seed)
        self.model: M6Model = M6Model(build(M6Config, fields, "stage_two.model"))

    def trained(self) -> dict[str, list[tuple[str, nn.Parameter]]]:
        return {"loss": list(self.model.named_parameters())}

    def _losses(self, model: nn.Module, texts: list[str], codes: Tensor) -> dict[str, Tensor]:
        device = next(model.parameters()).device
        input_ids, attention_mask = (x.to(device) for x in self.tokenizer.batch(texts, allow_empty=True))
        codes = codes.long().flatten(1).to(device)
        output = model(input_ids, attention_mask, codes)
        losses = text_to_image_loss(output, input_ids, attention_mask, codes, self.config.text_weight)
        return {
            "loss": losses.loss,
            "text_loss": losses.text_loss,
            "code_loss": losses.code_loss,
            "code_accuracy": losses.code_accuracy,
        }

    def losses(self, indices: Tensor, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        rng = random.Random(int(torch.randint(1 << 62, (1,), generator=generator)))
        texts = self.store.texts(indices, rng)
        texts = ["" if rng.random() < self.config.text_drop else text for text in texts]
        return self._losses(self.model, texts, self.codes[indices])

    def validate(self, model: nn.Module) -> dict[str, float]:
        rng = random.Random(0)
        totals: dict[str, float] = {}
        for part in torch.arange(len(self.validation_store)).split(32):
            losses = self._losses(model, self.validation_store.texts(part, rng), self.validation_codes[part])
            for key, value in losses.items():
                totals[f"validation_{key}"] = totals.get(f"validation_{key}", 0.0) + float(value) * len(part)
        return {key: value / len(self.validation_store) for key, value in totals.items()}

    def pipeline(self, model: nn.Module) -> TextToImagePipeline:
        assert isinstance(model, M6Model)
        return TextToImagePipeline(self.vqgan, model, self.tokenizer, **self.config.sampling)

    def picture(self, model: nn.Module) -> Image.Image:
        prompts = [p for p in SHEET_PROMPTS if not self.tokenizer.unknown_words(p)] or self.validation_store.texts(
            torch.arange(min(8, len(self.validation_store))), random.Random(0)
        )
        generators = [torch.Generator().manual_seed(i) for i in range(len(prompts))]
        pixels = self.pipeline(model)(prompts, generator=generators, output_type="pt", progress=False).images
        return to_sheet(pixels.mul(2).sub(1), columns=4)
