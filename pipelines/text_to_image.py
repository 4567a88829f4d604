"""Text to image (paper, section 4.1): a prompt -> codes, drawn by the prior -> a picture, by the VQGAN.

Shapes: B pictures (prompts x num_images_per_prompt), h w code grid, N = h x w codes, H W pixels.

The names and the order of arguments are those of diffusers' pipelines; diffusers itself is not needed here.
"""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from PIL import Image
from torch import Tensor

from m6_prior import M6Model, M6Tokenizer, sample_codes
from pipelines.model_folder import read_index, replacing, write_index
from pipelines.sampling import DEFAULT_TOP_K, SamplingDefaults, make_generators
from vqgan import VQGAN

T = TypeVar("T")

OUTPUT_TYPES = ("pil", "np", "pt")

# (pipe, step, step_count, {"codes": (B, step + 1) int64}): after code number `step` of `step_count` is drawn
StepCallback = Callable[[Any, int, int, dict[str, Tensor]], object]


class UnknownWordsWarning(UserWarning):
    """A prompt has words outside the vocabulary."""


@dataclass(frozen=True)
class TextToImageOutput:
    """B pictures, those of one prompt next to each other."""

    images: Any  # list of PIL pictures; "np" (B, H, W, 3) or "pt" (B, 3, H, W), float32 in [0, 1]
    codes: Tensor  # (B, h, w) int64
    scores: Tensor  # (B,) log p(codes | prompt) in nats, without guidance, temperature and top-k


class StreamedPictures(NamedTuple):
    """Pictures while they are drawn: white where codes are to come."""

    share_done: float  # of the codes, in (0, 1]
    images: list[Image.Image]
    output: TextToImageOutput | None = None  # the finished output, in the last one


class TextToImagePipeline:
    """Draws pictures for prompts.

    vqgan, prior, tokenizer: the parts; put in eval mode.
    top_k (64, or all codes of a smaller codebook), top_p, temperature, guidance_scale: what calls default to.
    Raises ValueError for parts that do not fit together and for defaults out of range.
    """

    def __init__(
        self,
        vqgan: VQGAN,
        prior: M6Model,
        tokenizer: M6Tokenizer,
        *,
        top_k: int | None = None,
        top_p: float = 1.0,
        temperature: float = 1.0,
        guidance_scale: float = 1.0,
    ) -> None:
        check_parts(vqgan, prior, tokenizer)
        self.vqgan, self.prior, self.tokenizer = vqgan.eval(), prior.eval(), tokenizer
        top_k = min(DEFAULT_TOP_K, prior.config.codebook_size) if top_k is None else top_k
        self.defaults = SamplingDefaults(top_k, top_p, temperature, guidance_scale)
        self.defaults.check(prior.config.codebook_size)
        self._blank_codes: Tensor | None = None

    # ---- folders and devices

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> TextToImagePipeline:
        """Reads a folder that save_pretrained wrote; float32, on the CPU.

        Raises ValueError, naming the path and the fix, when anything is missing, truncated or foreign.
        """
        folder = Path(directory)
        sampling = read_index(folder)
        vqgan, prior = VQGAN.from_pretrained(folder / "vqgan"), M6Model.from_pretrained(folder / "prior")
        tokenizer = M6Tokenizer.from_pretrained(folder / "tokenizer")
        known = {field.name for field in fields(SamplingDefaults)}
        if unknown := sorted(set(sampling) - known):
            raise ValueError(
                f"model folder {folder} has sampling defaults {', '.join(unknown)} of another version"
            )
        try:
            return cls(vqgan, prior, tokenizer, **sampling)
        except ValueError as error:
            raise ValueError(f"model folder {folder}: {error}") from None

    def save_pretrained(self, directory: str | Path, dtype: torch.dtype | None = None) -> None:
        """Writes the model as a folder, the whole of it or nothing.

        dtype: of the stored weights; torch.float16 halves the files, and what is read back is float32 again.
        Raises ValueError when `directory` holds anything but a model, which is replaced.
        """
        with replacing(directory) as folder:
            self.vqgan.save_pretrained(folder / "vqgan", dtype=dtype)
            self.prior.save_pretrained(folder / "prior", dtype=dtype)
            self.tokenizer.save_pretrained(folder / "tokenizer")
            write_index(folder, asdict(self.defaults))

    def to(self, device: torch.device | str) -> TextToImagePipeline:
        self.vqgan.to(device)
        self.prior.to(device)
        return self

    @property
    def device(self) -> torch.device:
        return self.prior.device

    # ---- a prompt to pictures

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        num_images_per_prompt: int = 1,
        top_k: int | None = None,
        top_p: float | None = None,
        temperature: float | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        seed: int | None = None,
        output_type: str = "pil",
        codes: Tensor | None = None,
        progress: bool = True,
        callback_on_step_end: StepCallback | None = None,
    ) -> TextToImageOutput:
        """Draws num_images_per_prompt pictures a prompt. The same seed gives the same picture in any batch.

        generator: a list of one a picture; or a single one, which seeds the pictures when there are several.
        seed: picture i gets seed + i. With neither, torch's global generator seeds the pictures.
        codes: (B, n) or (B, rows, w) int64, first codes of each picture in reading order, kept as they are.
        progress: a bar over the codes on stderr. callback_on_step_end: called after every code that is drawn.
        Raises ValueError for an empty or too long prompt, for one of unknown words only, and for settings out
        of range. Warns of unknown words beside known ones.
        """
        # 1. Settings: what the call does not say is the model's default
        given = {"top_k": top_k, "top_p": top_p, "temperature": temperature, "guidance_scale": guidance_scale}
        changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        settings = replace(self.defaults, **changes)
        settings.check(self.prior.config.codebook_size)
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"output_type {output_type!r} is unknown; choose {', '.join(OUTPUT_TYPES)}")

        # 2. Words to tokens; the model never learned what an unknown one means, so it does not see it
        prompts = list(prompt) if isinstance(prompt, (list, tuple)) else [prompt]
        self._check_prompts(prompts)
        input_ids, attention_mask = self.tokenizer.batch(prompts)
        attention_mask &= input_ids != self.tokenizer.unk_token_id

        # 3. A source of chance and the codes that are known, for each picture
        if not isinstance(num_images_per_prompt, int) or num_images_per_prompt < 1:
            raise ValueError(f"num_images_per_prompt {num_images_per_prompt!r} must be at least 1")
        count = len(prompts) * num_images_per_prompt
        generators = make_generators(count, generator, seed)
        known = self._check_codes(codes, count)

        # 4. Codes, one after another
        step_count = self.prior.config.num_codes
        with progress_bar(step_count, progress) as show_progress:

            def on_step(step: int, codes_so_far: Tensor) -> None:
                show_progress(step + 1)
                if callback_on_step_end is not None:
                    callback_on_step_end(self, step, step_count, {"codes": codes_so_far})

            sampled = sample_codes(
                self.prior,
                input_ids,
                attention_mask,
                num_images_per_prompt=num_images_per_prompt,
                **asdict(settings),
                generators=generators,
                on_step=on_step,
                codes=known,
            )

        # 5. Pixels
        images = self._to_output(self.decode(sampled.codes), output_type)
        return TextToImageOutput(images, sampled.codes, sampled.log_likelihood)

    def stream(
        self,
        prompt: str | list[str],
        num_images_per_prompt: int = 1,
        top_k: int | None = None,
        top_p: float | None = None,
        temperature: float | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        seed: int | None = None,
        codes: Tensor | None = None,
        every_rows: int = 2,
    ) -> Generator[StreamedPictures, None, None]:
        """The pictures of a call after every few rows of codes, if the reader keeps up, and at the end.

        Arguments and errors are those of a call. The codes are drawn in a thread; leaving the loop stops it.
        """
        if every_rows < 1:
            raise ValueError(f"every_rows {every_rows} must be at least 1")
        width, total = self.prior.config.code_width, self.prior.config.num_codes
        messages: queue.Queue[Tensor | TextToImageOutput | BaseException] = queue.Queue()
        stopped = threading.Event()

        def on_step(_: Any, step: int, step_count: int, state: dict[str, Tensor]) -> None:
            if stopped.is_set():
                raise InterruptedError("nobody is looking any more")
            done = state["codes"].shape[1]
            if done % (every_rows * width) == 0 and done < total:
                messages.put(state["codes"].clone())

        def draw() -> None:
            settings = (num_images_per_prompt, top_k, top_p, temperature, guidance_scale, generator, seed)
            try:
                messages.put(self(prompt, *settings, "pil", codes, False, on_step))
            except BaseException as error:  # raised again where the pictures are awaited
                messages.put(error)

        thread = threading.Thread(target=draw, daemon=True)
        thread.start()
        try:
            while isinstance(message := latest(messages), Tensor):
                yield StreamedPictures(message.shape[1] / total, self.preview(message))
            if isinstance(message, BaseException):
                raise message
            yield StreamedPictures(1.0, message.images, message)
        finally:
            stopped.set()
            thread.join()

    # ---- codes to pictures

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """codes (B, h, w) int64 -> (B, 3, H, W) float32 in [0, 1].

        One picture at a time: in a batch the last bits of a picture would depend on its neighbours.
        """
        pixel_values = [self.vqgan.decode(part) for part in codes.to(self.device).split(1)]
        return torch.cat(pixel_values).float().add(1).div(2)

    @torch.no_grad()
    def preview(self, codes: Tensor) -> list[Image.Image]:
        """Pictures of the first codes (B, n) or (B, h, w) in reading order; what is to come is white."""
        codes = codes.flatten(1).to(self.device)
        height, width = self.prior.config.code_height, self.prior.config.code_width
        done = codes.shape[1]
        if self._blank_codes is None:
            factor = self.vqgan.config.downsampling_factor
            shape = (1, self.vqgan.config.in_channels, height * factor, width * factor)
            white = torch.ones(shape, device=self.device, dtype=next(self.vqgan.parameters()).dtype)
            self._blank_codes = self.vqgan.encode(white).flatten(1)
        rest = self._blank_codes.to(self.device)[:, done:].expand(len(codes), -1)
        images = self.decode(torch.cat([codes, rest], dim=1).view(-1, height, width))
        drawn = (torch.arange(height * width, device=self.device) < done).view(height, width)
        factor = images.shape[-1] // width
        drawn = drawn.repeat_interleave(factor, 0).repeat_interleave(factor, 1)
        return to_pil(images.masked_fill(~drawn, 1.0))

    @staticmethod
    def _to_output(images: Tensor, output_type: str) -> Any:
        if output_type == "pt":
            return images
        return to_pil(images) if output_type == "pil" else images.permute(0, 2, 3, 1).cpu().numpy()

    # ---- what is asked for

    def _check_prompts(self, prompts: list[str]) -> None:
        """ValueError for what cannot be drawn; a warning for words that the model does not know."""
        if not prompts:
            raise ValueError("the list of prompts is empty; give at least one prompt")
        for text in prompts:
            if not isinstance(text, str):
                raise ValueError(f"prompt {text!r} must be a text, not {type(text).__name__}")
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise ValueError(f"prompt {text!r} is not valid Unicode; write it in UTF-8")
            words = self.tokenizer.encode(text)[1:-1]
            unknown = ", ".join(self.tokenizer.unknown_words(text))
            if all(word == self.tokenizer.unk_token_id for word in words):
                raise ValueError(f"prompt {text!r} has no word that the model knows; use other words")
            if unknown:
                warnings.warn(
                    f"prompt {text!r} has words that the model does not know,"
                    f" which cannot change the picture: {unknown}",
                    UnknownWordsWarning,
                    stacklevel=4,
                )

    def _check_codes(self, codes: Tensor | None, count: int) -> Tensor | None:
        """Known codes as (B, n) on the device, or None."""
        if codes is None:
            return None
        config = self.prior.config
        rows_fit = codes.ndim == 2 or (codes.ndim == 3 and codes.shape[2] == config.code_width)
        if len(codes) != count or not rows_fit:
            raise ValueError(
                f"codes {tuple(codes.shape)} must be ({count}, n) or ({count}, rows, {config.code_width}):"
                " the first codes of each picture"
            )
        known = codes.flatten(1).to(self.device, torch.int64)
        if known.shape[1] >= config.num_codes:
            raise ValueError(
                f"codes hold {known.shape[1]} of {config.num_codes} a picture; give fewer, or decode them"
            )
        return known


def check_parts(vqgan: VQGAN, prior: M6Model, tokenizer: M6Tokenizer) -> None:
    """Raises ValueError for parts that were not trained together."""
    pairs = (
        ("codebook_size", "vqgan", vqgan.config.codebook_size, "prior", prior.config.codebook_size),
        ("vocab_size", "tokenizer", len(tokenizer), "prior", prior.config.vocab_size),
    )
    for name, first, first_size, second, second_size in pairs:
        if first_size != second_size:
            raise ValueError(
                f"{name} {first_size} of the {first} is not the {second_size} of the {second};"
                " use parts that were trained together"
            )
    if tokenizer.max_length > prior.config.max_text_length:
        raise ValueError(
            f"max_length {tokenizer.max_length} of the tokenizer is above max_text_length"
            f" {prior.config.max_text_length} of the prior; use parts that were trained together"
        )


def latest(messages: queue.Queue[T]) -> T:
    """Waits for a message and drops those that newer ones have overtaken."""
    message = messages.get()
    while not messages.empty():
        message = messages.get()
    return message


def to_pil(images: Tensor) -> list[Image.Image]:
    """(B, 3, H, W) float in [0, 1] -> B pictures."""
    arrays = images.mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


@contextmanager
def progress_bar(total: int, show: bool) -> Iterator[Callable[[int], None]]:
    """Yields the function that sets how much is done, on a bar on stderr that goes when the block ends."""
    if not show:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("codes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("codes", total=total)
        yield lambda done: bar.update(task, completed=done)
