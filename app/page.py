"""The page: a prompt on one side, its pictures on the other. Labels are Chinese, then English."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.generate import Sampling
from app.studio import MAX_PICTURES, Studio, View, ignore_unknown_words

if TYPE_CHECKING:
    from pipelines import TextToImagePipeline

WAITING = 16  # requests in the queue; more are told to come back
KEEP_SECONDS = 24 * 3600  # picture files in the cache
RANDOM = -1  # as a seed: a new one each time
PRIVATE: Any = "private"  # of events that are no part of the API
HEADER = "# M6 文生图\n写一句话，挑一张图 · Type a prompt, pick a picture"
API = """Draws pictures for a Chinese prompt; yields them while they fill, the finished PNG files last.

Each file keeps the prompt, its seed and the settings inside (text chunks `prompt` and `m6`). The same seed
draws the same picture; picture i of several has seed + i. Seed -1 is a new one, told in captions and status.
Returns the pictures with captions and a line of status. Errors tell the value, the limit and the fix.
"""


def build_page(pipe: TextToImagePipeline, model: Path) -> gr.Blocks:
    """The page of a pipeline, not launched. Its endpoint is `/generate`; one request is drawn at a time."""
    ignore_unknown_words()
    studio = Studio(pipe, model)
    with gr.Blocks(title="M6 文生图", analytics_enabled=False, delete_cache=(3600, KEEP_SECONDS)) as page:
        gr.Markdown(HEADER, elem_id="header")
        with gr.Row(equal_height=False, elem_id="desk"):
            with gr.Column(elem_id="ask"):
                prompt = gr.Textbox(
                    label="描述 · Prompt", placeholder="例如：军旅风迷彩高跟鞋", lines=2, max_lines=4,
                    autofocus=True, max_length=studio.max_characters, elem_id="prompt",
                )  # fmt: skip
                with gr.Row(elem_id="actions"):
                    go = gr.Button("生成 · Draw", variant="primary", scale=3, min_width=150, elem_id="go")
                    stop = gr.Button("停止 · Stop", scale=1, min_width=110)
                gr.Examples(
                    studio.examples(), prompt, label="试一试 · Try one", elem_id="examples",
                    cache_examples=False, api_visibility=PRIVATE,
                )  # fmt: skip
            with gr.Column(elem_id="show"):
                gallery = gr.Gallery(
                    label="图片 · Pictures", show_label=False, columns=2, height="auto", object_fit="contain",
                    format="png", buttons=["download", "fullscreen"], interactive=False, type="filepath",
                    elem_id="pictures",
                )  # fmt: skip
                status = gr.Markdown(elem_id="status", label="状态 · Status")
                download = gr.DownloadButton("下载 PNG · Download", interactive=False)
            with gr.Column(elem_id="tune"):
                num_images = gr.Slider(1, MAX_PICTURES, 4, step=1, label="图片数量 · Pictures")
                seed, keep, forget = seed_controls()
                sampling = sampling_controls(studio)
        picked_seed = gr.State(None)
        connect(
            studio,
            [prompt, num_images, seed, *sampling],
            (go, stop),
            (gallery, status, download, picked_seed),
        )
        keep.click(
            lambda number: RANDOM if number is None else number,
            picked_seed,
            seed,
            queue=False,
            api_visibility=PRIVATE,
        )
        forget.click(lambda: RANDOM, None, seed, queue=False, api_visibility=PRIVATE)
    page.queue(max_size=WAITING, default_concurrency_limit=1)
    return page


def seed_controls() -> tuple[gr.Number, gr.Button, gr.Button]:
    with gr.Row(elem_id="seed-row"):
        seed = gr.Number(
            RANDOM, label="种子 · Seed", info="-1 随机 random", precision=0, scale=3, min_width=100,
        )  # fmt: skip
        keep = gr.Button("沿用 Keep", size="md", scale=1, min_width=86)
        forget = gr.Button("随机 Random", size="md", scale=1, min_width=96)
    return seed, keep, forget


def sampling_controls(studio: Studio) -> list[gr.Slider]:
    """top-k, top-p, temperature, guidance, at the model's defaults."""
    defaults = studio.pipe.defaults
    with gr.Accordion("更多设置 · Settings", open=False):
        return [
            gr.Slider(
                1, studio.codebook_size, defaults.top_k, step=1, label="候选码数 · top-k",
                info="越小越稳，越大越多样 · Each code is drawn from so many of the likeliest",
            ),
            gr.Slider(
                0.05, 1.0, defaults.top_p, step=0.05, label="累积概率 · top-p", info="1 为不限 · 1 keeps all",
            ),
            gr.Slider(
                0.1, 2.0, defaults.temperature, step=0.05, label="温度 · Temperature",
                info="高则多样，低则稳妥 · Higher is more varied, lower safer",
            ),
            gr.Slider(
                0.0, max(8.0, defaults.guidance_scale), defaults.guidance_scale, step=0.1,
                label="引导 · Guidance",
                info="紧扣描述的程度，1 为关 · How closely to follow the words; 1 is off",
            ),
        ]  # fmt: skip


def connect(
    studio: Studio,
    inputs: list[Any],
    buttons: tuple[gr.Button, gr.Button],
    outputs: tuple[gr.Gallery, gr.Markdown, gr.DownloadButton, gr.State],
) -> None:
    """What happens on a click: pictures fill, one is picked, its file is downloaded or its seed kept."""
    (go, stop), (gallery, status, download, picked_seed) = buttons, outputs
    seeds = gr.State([])

    def generate(
        prompt: str, num_images: int, seed: int | None, top_k: int, top_p: float, temperature: float,
        guidance_scale: float, progress: gr.Progress = gr.Progress(),  # noqa: B008 (gradio finds it as a default)
    ) -> Iterator[tuple[list[tuple[Any, str]], str, list[int]]]:  # fmt: skip
        sampling = Sampling(int(top_k), top_p, temperature, guidance_scale)
        chosen = None if seed is None or seed == RANDOM else int(seed)
        if complaint := studio.complaint(prompt):
            raise gr.Error(complaint, print_exception=False)
        if unknown := "、".join(studio.unknown(prompt)):
            gr.Warning(f"不在词表中，画不出来 · Words the model does not know, they cannot show: {unknown}")
        progress(0.0, desc="绘制中 · drawing")
        with tempfile.TemporaryDirectory(prefix="m6-page-") as folder:
            try:
                for view in studio.draw(prompt, int(num_images), chosen, sampling, Path(folder)):
                    progress(view.share_done, desc="绘制中 · drawing")
                    captions = [f"种子 {number}" for number in view.seeds]
                    pictures = list(zip(view.pictures, captions, strict=True))
                    yield pictures, describe(view), view.seeds
            except (ValueError, OSError) as error:
                raise gr.Error(str(error), print_exception=False) from error

    def choose(pictures: list[Any] | None, seeds: list[int], index: int) -> tuple[dict[str, Any], int | None]:
        # the path is the gallery's, which gradio has checked to lie in its cache; an event's could be any file's
        if not pictures or not 0 <= index < min(len(pictures), len(seeds)):
            return gr.update(value=None, interactive=False), None
        return gr.update(value=pictures[index][0], interactive=True), seeds[index]

    def pick(
        pictures: list[Any] | None, seeds: list[int], event: gr.SelectData
    ) -> tuple[dict[str, Any], int | None]:
        return choose(pictures, seeds, event.index)

    def pick_first(pictures: list[Any] | None, seeds: list[int]) -> tuple[dict[str, Any], int | None]:
        return choose(pictures, seeds, 0)

    def clear(prompt: str) -> tuple[Any, Any, Any]:
        if studio.complaint(prompt):
            return gr.skip(), gr.skip(), gr.skip()
        return gr.update(value=[], preview=False, selected_index=None), "", gr.update(interactive=False)

    overview: Any = {"fn": clear, "inputs": inputs[0], "outputs": [gallery, status, download], "queue": False,
                     "show_progress": "hidden", "api_visibility": PRIVATE}  # fmt: skip
    options: Any = {
        "fn": generate,
        "inputs": inputs,
        "outputs": [gallery, status, seeds],
        "show_progress_on": status,
        "concurrency_id": "drawing",
        "concurrency_limit": 1,
    }
    go.click(**overview)
    inputs[0].submit(**overview)
    clicked = go.click(**options, api_name="generate", api_description=API)
    entered = inputs[0].submit(**options, api_visibility=PRIVATE)
    for drawn in (clicked, entered):
        drawn.success(
            pick_first,
            [gallery, seeds],
            [download, picked_seed],
            show_progress="hidden",
            api_visibility=PRIVATE,
        )
    stop.click(None, cancels=[clicked, entered], queue=False, api_visibility=PRIVATE)
    gallery.select(
        pick,
        [gallery, seeds],
        [download, picked_seed],
        show_progress="hidden",
        queue=False,
        api_visibility=PRIVATE,
    )


def describe(view: View) -> str:
    """One line under the pictures."""
    first, last = view.seeds[0], view.seeds[-1]
    numbers = f"{first}" if first == last else f"{first} – {last}"
    if view.share_done < 1:
        return f"绘制中 · drawing {100 * view.share_done:.0f} % · 种子 seed {numbers}"
    return f"完成 · done in {view.seconds:.1f} s · 种子 seed {numbers}"
