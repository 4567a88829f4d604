"""`m6 eval`: a table and contact sheets, judged by a classifier that was never trained on a model's pictures."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from corpus.attributes import PATTERNS, Attributes, attribute_sets
from corpus.titles import COLOR_WORDS, write_title
from pipelines import TextToImagePipeline
from recipes.config import EvaluationConfig, load_recipe
from recipes.data import draw_products, to_pixels
from recipes.judge import Judge, load_judge, to_labels
from recipes.pictures import mark, to_sheet
from vqgan import VQGAN

EVALUATION_SEED = 2 << 30
BATCH_SIZE = 32
NUM_FRESH_RENDERS = 360  # at least: for the judge's own score and the ceiling
SPLITS = {
    "train": "seen pairs",
    "held_out_pattern": "held-out category-pattern",
    "held_out_color": "held-out category-colour",
}


def write_full_title(attributes: Attributes, rng: random.Random) -> str:
    """A fresh shop title that says its colour; a title that leaves it open has no one right picture."""
    while True:
        title = write_title(attributes, rng)
        if any(word in title for word in COLOR_WORDS[attributes.color]):
            return title


def summarize(right: Tensor, attributes: list[Attributes]) -> dict[str, float]:
    """(N, 3) bool -> shares right: all three, each one, and all three by pattern."""
    every = right.all(1).float()
    row = {"all": float(every.mean())}
    row |= {n: float(right[:, i].float().mean()) for i, n in enumerate(("category", "color", "pattern"))}
    for pattern in PATTERNS:
        chosen = torch.tensor([a.pattern == pattern for a in attributes])
        if chosen.any():
            row[pattern] = float(every[chosen].mean())
    return row


def judge_renders(judge: Judge, vqgan: VQGAN, count: int, out: Path) -> dict[str, dict[str, float]]:
    """Fresh renders of every combination, and their reconstructions: the judge's own score, and the ceiling."""
    size = vqgan.config.sample_size
    names, images = draw_products(count, "all", size, EVALUATION_SEED)
    attributes = [Attributes(*n) for n in names]
    pixels, truth = to_pixels(images), to_labels(attributes)
    codes = torch.cat([vqgan.encode(part) for part in pixels.split(BATCH_SIZE)])
    restored = torch.cat([vqgan.decode(part) for part in codes.split(BATCH_SIZE)])
    rows = {"true renders": summarize(judge.right(pixels, truth), attributes)}
    right = judge.right(restored, truth)
    rows["reconstructions"] = summarize(right, attributes)
    squares = (restored - pixels).square().mean((1, 2, 3))
    rows["reconstructions"]["psnr"] = float((10 * torch.log10(4 / squares)).mean())
    rows["reconstructions"]["codes_used"] = float(len(codes.unique()))
    shown = torch.stack([pixels[:48], restored[:48]], 1).flatten(0, 1)
    flags = [flag for r in right[:48].all(1).tolist() for flag in (False, not r)]
    mark(to_sheet(shown, 12), flags, 12, size).save(out / "reconstructions.png")
    return rows


def judge_pipeline(judge: Judge, pipe: TextToImagePipeline, split: str, count: int, out: Path) -> dict[str, float]:
    """Pictures of fresh free-form titles at the pipeline's defaults, combinations balanced."""
    rng = random.Random(EVALUATION_SEED + len(split))
    sets = attribute_sets(split)
    attributes = [a for _ in range(-(-count // len(sets))) for a in rng.sample(sets, len(sets))][:count]
    titles = [write_full_title(a, rng) for a in attributes]
    parts: list[Tensor] = []
    for first in track(range(0, count, BATCH_SIZE), f"drawing {SPLITS[split]}"):
        prompts = titles[first : first + BATCH_SIZE]
        generators = [torch.Generator().manual_seed(EVALUATION_SEED + first + i) for i in range(len(prompts))]
        parts.append(pipe(prompts, generator=generators, output_type="pt", progress=False).images)
    pixels = torch.cat(parts).mul(2).sub(1)
    right = judge.right(pixels, to_labels(attributes))
    size = pixels.shape[-1]
    wrong = [not r for r in right[:96].all(1).tolist()]
    mark(to_sheet(pixels[:96], 12), wrong, 12, size).save(out / f"{split}.png")
    (out / f"{split}.titles.txt").write_text("\n".join(titles) + "\n", "utf-8")
    return summarize(right, attributes)


@torch.no_grad()
def evaluate(
    model_dir: str, out_dir: str = "outputs/eval", count: int = 0, config: EvaluationConfig | None = None
) -> dict[str, dict[str, float]]:
    """Scores a model folder, prints the table and writes `metrics.json` and contact sheets to `out_dir`.

    `count`: pictures a row (the recipe's when 0). The judge is trained once and kept in `runs/`.
    """
    config = config or load_recipe("demo").evaluation
    count = count or config.count
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    pipe = TextToImagePipeline.from_pretrained(model_dir)
    judge = load_judge(config.judge)
    rows = judge_renders(judge, pipe.vqgan, max(count, NUM_FRESH_RENDERS), out)
    for split, label in SPLITS.items():
        rows[label] = judge_pipeline(judge, pipe, split, count, out)
    started = time.monotonic()
    pipe("军旅风迷彩高跟鞋", generator=torch.Generator().manual_seed(0), progress=False)
    rows["one picture"] = {"seconds": time.monotonic() - started}
    (out / "metrics.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1), "utf-8")
    print_table(rows)
    return rows


def print_table(rows: dict[str, dict[str, float]]) -> None:
    console = Console(width=130)
    table = Table(title="all three attributes right, and by pattern (%)")
    columns = ("all", "category", "color", "pattern", *PATTERNS)
    for name in ("", *columns):
        table.add_column(name, justify="right")
    for label, row in rows.items():
        if "all" in row:
            table.add_row(label, *(f"{100 * row[c]:.1f}" if c in row else "-" for c in columns))
    console.print(table)
    restored = rows["reconstructions"]
    console.print(
        f"reconstructions: PSNR {restored['psnr']:.2f} dB, {restored['codes_used']:.0f} codes used;"
        f" one picture: {rows['one picture']['seconds']:.2f} s on {torch.get_num_threads()} threads"
    )
