"""The pipeline as a true `diffusers.DiffusionPipeline`, for programs that live there.

    from pipelines.diffusers_adapter import M6DiffusionPipeline
    pipe = M6DiffusionPipeline.from_pretrained("models/demo").to("cuda")

The same folder gives the same pixels. Only this module imports diffusers. The parts are no `ModelMixin`s, so
what diffusers asks of those (loading, saving, dtype, moving) is answered here. CPU offload is not offered.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from torch import Tensor

from m6_prior import M6Model, M6Tokenizer
from pipelines.text_to_image import StepCallback, TextToImagePipeline
from vqgan import VQGAN


@dataclass
class M6PipelineOutput(BaseOutput):
    """As pipelines.TextToImageOutput; `output[0]` is the pictures."""

    images: Any
    codes: Tensor
    scores: Tensor


class M6DiffusionPipeline(DiffusionPipeline):
    def __init__(
        self, vqgan: VQGAN, prior: M6Model, tokenizer: M6Tokenizer, sampling: dict[str, Any] | None = None
    ) -> None:
        """sampling: the defaults, as keyword arguments of TextToImagePipeline."""
        super().__init__()
        core = TextToImagePipeline(vqgan, prior, tokenizer, **(sampling or {}))
        self.register_modules(vqgan=vqgan, prior=prior, tokenizer=tokenizer)
        self.register_to_config(sampling=asdict(core.defaults))

    @property
    def core(self) -> TextToImagePipeline:
        """The pipeline that does the work, made of the parts of now."""
        return TextToImagePipeline(self.vqgan, self.prior, self.tokenizer, **self.config.sampling)

    @classmethod
    def from_pretrained(cls, directory: str | Path, dtype: torch.dtype | None = None) -> M6DiffusionPipeline:
        """Reads a folder that either pipeline saved; errors as of TextToImagePipeline.from_pretrained."""
        core = TextToImagePipeline.from_pretrained(directory)
        pipe = cls(core.vqgan, core.prior, core.tokenizer, asdict(core.defaults))
        pipe.register_to_config(_name_or_path=str(directory))
        return pipe if dtype is None else pipe.to(dtype)

    def save_pretrained(self, directory: str | Path, dtype: torch.dtype | None = None) -> None:
        self.core.save_pretrained(directory, dtype)

    def to(self, *args: Any, **kwargs: Any) -> M6DiffusionPipeline:
        """A device, a dtype or both, as in torch.nn.Module.to."""
        self.vqgan.to(*args, **kwargs)
        self.prior.to(*args, **kwargs)
        return self

    @property
    def device(self) -> torch.device:
        return self.core.device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.prior.parameters()).dtype

    def __call__(
        self,
        prompt: str | list[str],
        num_images_per_prompt: int = 1,
        top_k: int | None = None,
        top_p: float | None = None,
        temperature: float | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
    ) -> M6PipelineOutput | tuple[Any, ...]:
        """As TextToImagePipeline's; `set_progress_bar_config(disable=True)` hides the bar."""
        progress = not getattr(self, "_progress_bar_config", {}).get("disable", False)

        def on_step(_: Any, step: int, step_count: int, state: dict[str, Tensor]) -> None:
            if callback_on_step_end is not None:
                callback_on_step_end(self, step, step_count, state)

        output = self.core(
            prompt,
            num_images_per_prompt,
            top_k,
            top_p,
            temperature,
            guidance_scale,
            generator,
            output_type=output_type,
            progress=progress,
            callback_on_step_end=on_step,
        )
        result = M6PipelineOutput(images=output.images, codes=output.codes, scores=output.scores)
        return result if return_dict else result.to_tuple()
