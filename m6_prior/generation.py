"""Codes from prompts: prefill once a prompt, then one code a step from a key-value cache (paper, section 4.1).

Shapes: P prompts, B pictures (P x num_images_per_prompt, a prompt's pictures side by side), R rows of the transformer
(B, twice that with guidance, rounded up), T text tokens, N = h x w codes, K codebook, D hidden.

The same seed gives the same picture in any batch: noise comes from the picture's own generator, texts are padded to one
width, and rows are rounded up to ROW_BLOCK (see model.py). Noise belongs to codes, not to ranks, and is drawn for given
codes too: a picture completed from its own first codes with its seed is the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from m6_prior.model import ROW_BLOCK, KVCache, M6Model, additive

TEXT_BLOCK = 8  # texts are padded to the model's longest, rounded up to this
MIN_TEMPERATURE = 1e-6  # below, float32 cannot tell it from greedy

OnStep = Callable[[int, Tensor], object]


@dataclass(frozen=True)
class SampledCodes:
    codes: Tensor  # (B, h, w) int64
    log_likelihood: Tensor  # (B,) float32: log p(all codes | prompt) in nats, without guidance, temperature and top-k


@dataclass(frozen=True)
class Sampling:
    """How a code is drawn. Raises ValueError for each value outside its limits."""

    top_k: int
    top_p: float
    temperature: float
    guidance_scale: float

    def check(self, codebook_size: int) -> None:
        if isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or not 1 <= self.top_k <= codebook_size:
            raise ValueError(
                f"top_k {self.top_k} must be a whole number from 1 to {codebook_size}, the codebook's size"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} must be above 0 and at most 1 (1 keeps all)")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature {self.temperature} must be above 0; use top_k 1 for the most likely codes")
        if not (self.guidance_scale >= 0 and math.isfinite(self.guidance_scale)):
            raise ValueError(f"guidance_scale {self.guidance_scale} must be 0 or more (1 is without guidance)")


def sample_codes(
    model: M6Model,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    num_images_per_prompt: int = 1,
    top_k: int,
    top_p: float = 1.0,
    temperature: float = 1.0,
    guidance_scale: float = 1.0,
    generators: Sequence[torch.Generator],
    on_step: OnStep | None = None,
    codes: Tensor | None = None,
) -> SampledCodes:
    """Draws the codes of P x num_images_per_prompt pictures.

    input_ids (P, T) int64, attention_mask (P, T) bool: of `M6Tokenizer.batch`, each text from [CLS] to [SEP].
    top_k in 1..K, then top_p in (0, 1] of what is left; temperature > 0; guidance_scale >= 0, diffusers' convention
    u + s (c - u), where u is predicted from an empty text; 1.0 runs the prompt alone, at half the cost.
    generators: one a picture; each picture takes K numbers from its own for each of its N codes.
    on_step(step, codes): called after code number `step` is drawn, with codes (B, step + 1) int64.
    codes (B, n) int64: the first n codes of each picture are given, the rest is drawn.

    Raises ValueError for values outside these limits and for weights that predict no numbers.
    """
    sampling = Sampling(top_k, top_p, temperature, guidance_scale)
    sampling.check(model.config.codebook_size)
    if num_images_per_prompt < 1:
        raise ValueError(f"num_images_per_prompt {num_images_per_prompt} must be at least 1")
    pictures = len(input_ids) * num_images_per_prompt
    if len(generators) != pictures:
        raise ValueError(f"{len(generators)} generators for {pictures} pictures; give one a picture")
    if len({id(generator) for generator in generators}) != pictures:
        raise ValueError("a generator is given twice; give each picture its own")
    check_known(codes, pictures, model)
    if model.training and model.config.dropout:
        raise ValueError("the model is in training mode, where dropout is random; call model.eval() first")
    prompt_of = torch.arange(len(input_ids), device=model.device).repeat_interleave(num_images_per_prompt)
    with torch.inference_mode():
        walk = Generation(model, sampling, input_ids.to(model.device), attention_mask.to(model.device), prompt_of)
        walk.run(list(generators), on_step, codes)
    if not bool(walk.log_likelihood.isfinite().all()):
        raise ValueError("the model predicts no numbers (NaN): its weights are broken, train or copy it again")
    grid = (pictures, model.config.code_height, model.config.code_width)
    return SampledCodes(walk.codes.clone().view(grid), walk.log_likelihood.float())


def check_known(codes: Tensor | None, pictures: int, model: M6Model) -> None:
    if codes is None:
        return
    config = model.config
    if codes.ndim != 2 or len(codes) != pictures or codes.shape[1] > config.num_codes:
        raise ValueError(f"known codes {tuple(codes.shape)} must be ({pictures}, 0 to {config.num_codes})")
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < config.codebook_size:
        raise ValueError(
            f"known codes lie in {int(codes.min())}..{int(codes.max())}, the codebook has 0..{config.codebook_size - 1}"
        )


class Generation:
    """One call of `sample_codes`: its cache and its buffers, all allocated here."""

    def __init__(
        self, model: M6Model, sampling: Sampling, input_ids: Tensor, attention_mask: Tensor, prompt_of: Tensor
    ) -> None:
        self.model, self.sampling = model, sampling
        config, device = model.config, model.device
        self.pictures, self.guided = len(prompt_of), sampling.guidance_scale != 1.0
        self.codes = torch.zeros(self.pictures, config.num_codes, dtype=torch.int64, device=device)
        self.log_likelihood = torch.zeros(self.pictures, dtype=torch.float64, device=device)

        input_ids, attention_mask = self.texts(input_ids, attention_mask)
        empty = torch.full_like(prompt_of, len(input_ids) - 1)
        rows = torch.cat([prompt_of, empty]) if self.guided else prompt_of
        picture_of = torch.arange(len(rows), device=device) % self.pictures
        spare = -len(rows) % ROW_BLOCK
        self.prompt_of_row = torch.cat([rows, rows[:1].expand(spare)])
        self.picture_of_row = torch.cat([picture_of, picture_of[:1].expand(spare)])
        self.cache, self.row_mask = self.prefill(input_ids, attention_mask)
        self.step_mask = model.attention_mask(self.row_mask)
        self.code_positions = model.code_positions()

    def texts(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Prompts, and with guidance the empty one ([CLS] [SEP]) below them, padded to one width for all calls."""
        count, width = input_ids.shape
        wide = max(-(-self.model.config.max_text_length // TEXT_BLOCK) * TEXT_BLOCK, width)
        ids = input_ids.new_zeros(count + self.guided, wide)
        mask = attention_mask.new_zeros(count + self.guided, wide)
        ids[:count, :width], mask[:count, :width] = input_ids, attention_mask
        if self.guided:
            first, last = attention_mask[0].int().argmax(), width - 1 - attention_mask[0].flip(0).int().argmax()
            ids[-1, 0], ids[-1, 1] = input_ids[0, first], input_ids[0, last]
            mask[-1, :2] = True
        return ids, mask

    def prefill(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[KVCache, Tensor]:
        """Runs each text once, copies its keys and values to the rows of its pictures.

        Returns the cache and the mask of one-code steps, additive (R, 1, 1, T + N).
        """
        model, config = self.model, self.model.config
        texts, width = input_ids.shape
        positions = model.text_positions(input_ids, attention_mask)
        x = model.embed_text(input_ids, positions)
        short = KVCache(config, texts, width, x)
        model.transform(x, model.attention_mask(model.text_mask(attention_mask, positions, 0, x.dtype)), short)

        rows = len(self.prompt_of_row)
        cache = KVCache(config, rows, width + config.num_codes, x)
        for source, target in ((short.keys, cache.keys), (short.values, cache.values)):
            by_text = source.unflatten(1, (texts, config.num_heads))
            target.unflatten(1, (rows, config.num_heads))[:, :, :, :width] = by_text[:, self.prompt_of_row]
        cache.length = width
        mask = x.new_zeros(rows, 1, 1, width + config.num_codes)
        mask[..., :width] = additive(attention_mask, x.dtype)[self.prompt_of_row, None, None]
        return cache, mask

    def run(self, generators: list[torch.Generator], on_step: OnStep | None, known: Tensor | None) -> None:
        config = self.model.config
        uniform = torch.empty(self.pictures, config.codebook_size, dtype=torch.float64, device=generators[0].device)
        draws = list(zip(uniform.unbind(0), generators, strict=True))
        given = 0 if known is None else known.shape[1]
        if known is not None:
            self.codes[:, :given] = known.to(self.codes.device)
        for row, generator in draws:
            for _ in range(given):
                row.uniform_(generator=generator)
        for step in range(given, config.num_codes):
            conditional, guided = self.predict(step) if step > given else self.start(given)
            for row, generator in draws:
                row.uniform_(generator=generator)
            self.codes[:, step] = choose(guided, uniform.to(guided.device), self.sampling)
            self.add_likelihood(conditional[:, None], self.codes[:, step : step + 1])
            if on_step is not None:
                with torch.inference_mode(False):
                    on_step(step, self.codes[:, : step + 1].clone())
        if given == config.num_codes:
            self.start(given)

    def start(self, given: int) -> tuple[Tensor, Tensor]:
        """Runs the inputs that predict the given codes and the next one; adds the likelihood of the given ones.

        Returns conditional and guided logits (B, K) float32 of code number `given` (of the last if all are given).
        """
        model, most = self.model, self.model.config.num_codes
        count = min(max(given + 1, ROW_BLOCK), most)  # what lies behind code `given` is overwritten later
        x = model.embed_codes(self.codes[:, : count - 1])[self.picture_of_row]
        start = self.cache.length
        mask = self.row_mask[..., : start + count].repeat(1, 1, count, 1)
        mask[..., start:] = additive(torch.ones(count, count, dtype=torch.bool, device=x.device).tril(), mask.dtype)
        x = model.transform(x, model.attention_mask(mask), self.cache)
        self.cache.length = start + given + 1
        if given:
            logits = model.code_head(model.norm(x[: self.pictures, :given])).float()
            self.add_likelihood(logits, self.codes[:, :given])
        return self.guide(x[:, min(given, most - 1)])

    def predict(self, step: int) -> tuple[Tensor, Tensor]:
        """Conditional and guided logits (B, K) float32 of code `step`, from the codes before it."""
        model, width = self.model, self.model.config.code_width
        x = model.code_embedding(self.codes[:, step - 1]) + self.code_positions[step]
        if step >= width:
            x = x + model.above_embedding(self.codes[:, step - width])
        x = x[self.picture_of_row, None]
        x = model.transform(x, self.step_mask[..., : self.cache.length + 1], self.cache)
        return self.guide(x[:, 0])

    def guide(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (R, D) -> conditional and guided logits (B, K) float32."""
        logits = self.model.code_head(self.model.norm(x)).float()
        conditional = logits[: self.pictures]
        if not self.guided:
            return conditional, conditional
        unconditional = logits[self.pictures : 2 * self.pictures]
        return conditional, unconditional + self.sampling.guidance_scale * (conditional - unconditional)

    def add_likelihood(self, logits: Tensor, codes: Tensor) -> None:
        """logits (B, n, K), codes (B, n)."""
        log_p = logits.log_softmax(-1).gather(-1, codes[..., None])
        self.log_likelihood += log_p.sum((1, 2), dtype=torch.float64)


def choose(logits: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """(B, K) logits and (B, K) uniform numbers in [0, 1) -> (B,) int64, by the Gumbel-max trick."""
    values, ids = logits.topk(sampling.top_k)
    values = (values - values[:, :1]) / max(sampling.temperature, MIN_TEMPERATURE)
    if sampling.top_p < 1:
        p = values.softmax(-1)
        values = values.masked_fill(p.cumsum(-1) - p >= sampling.top_p, -torch.inf)
    gumbel = -torch.log(-torch.log(uniform.gather(1, ids)))
    return ids.gather(1, (values + gumbel).argmax(-1, keepdim=True))[:, 0]
