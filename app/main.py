"""The `m6` command. Nothing heavy is imported before a command needs it: `m6 --help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.errors import Commands

HELP = """Chinese text to image after the M6 paper: draw, serve, train, measure.

m6 generate 军旅风迷彩高跟鞋 -n 4 -o shoes.png

m6 serve

m6 train demo        (everything from nothing, 30 minutes on 2 cores)

`m6 COMMAND --help` tells all options. Wrong input ends in one line and exit status 2
(M6_TRACEBACK=1 shows where it was found).
"""

app = typer.Typer(
    name="m6",
    cls=Commands,
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
import_app = typer.Typer(no_args_is_help=True, help="Turn checkpoints of taming or llamagen into VQGAN folders.")
corpus_app = typer.Typer(no_args_is_help=True, help="Make training data: products, drawn with titles.")
app.add_typer(import_app, name="import")
app.add_typer(corpus_app, name="corpus")

Model = Annotated[str, typer.Option(help="A model folder, or demo for the bundled one.", metavar="DIR")]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu, cuda, cuda:1 ...")]


def show_version(wanted: bool) -> None:
    if wanted:
        from app.generate import program_version

        typer.echo(f"m6 {program_version()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of `m6` itself; its help is HELP."""


@app.command()
def generate(
    prompt: Annotated[
        str, typer.Argument(help="What to draw, in Chinese: 红色波点连衣裙.", show_default=False)
    ],
    num_images: Annotated[
        int, typer.Option("--num-images", "-n", help="Pictures, 1 to 64; several make a grid.")
    ] = 1,
    seed: Annotated[
        int | None,
        typer.Option(
            help="The same seed draws the same picture; picture i of several has seed + i.",
            show_default="a new one, printed",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            help="Draw each code from so many of the likeliest, 1 to the codebook's size.",
            show_default="the model's",
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            help="... and of these from the likeliest that hold this share of the probability.",
            show_default="the model's",
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Above 1 more varied, below 1 safer.", show_default="the model's")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(help="How closely to follow the words; 1 is off.", show_default="the model's"),
    ] = None,
    model: Model = "demo",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The PNG file.", show_default="outputs/PROMPT-SEED.png"),
    ] = None,
    each: Annotated[
        bool, typer.Option("--each", help="Beside the grid, save every picture: FILE-1.png, ...")
    ] = False,
    device: Device = "auto",
) -> None:
    """Draw a prompt into a PNG that keeps the prompt, the seed and the settings inside."""
    from app.generate import Sampling
    from app.generate import generate as draw

    sampling = Sampling(top_k, top_p, temperature, guidance)
    written = draw(prompt, num_images, seed, sampling, model, output, each, device)
    last = written.seed + written.num_images - 1
    seeds = f"seed {written.seed}" if written.num_images == 1 else f"seeds {written.seed} to {last}"
    for i, path in enumerate(written.paths):
        typer.echo(f"{path}  ({seeds if i == 0 else f'seed {written.seed + i - 1}'})")


@app.command()
def serve(
    model: Model = "demo",
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen at.")] = 7860,
    password: Annotated[
        str | None,
        typer.Option(
            envvar="M6_PASSWORD",
            help="Asked for at the page (any user name); needed where others can reach it.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Open the page in which designers type a prompt and pick among pictures."""
    from app.serve import serve as open_page

    open_page(model, host, port, password, device)


@import_app.command()
def taming(
    checkpoint: Annotated[Path, typer.Option(help="last.ckpt of a VQ or Gumbel model.", show_default=False)],
    config: Annotated[Path, typer.Option(help="model.yaml beside it.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The VQGAN folder to write.", show_default=False)],
) -> None:
    """Import a VQGAN of taming-transformers. Nothing that the checkpoint's pickle holds is executed."""
    from vqgan.importing import import_taming

    import_taming(checkpoint, config, out)
    typer.echo(f"{out}")


@import_app.command()
def llamagen(
    checkpoint: Annotated[Path, typer.Option(help="vq_ds16_c2i.pt or vq_ds8_c2i.pt.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The VQGAN folder to write.", show_default=False)],
) -> None:
    """Import an image tokenizer of LlamaGen. Nothing that the checkpoint's pickle holds is executed."""
    from vqgan.importing import import_llamagen

    import_llamagen(checkpoint, out)
    typer.echo(f"{out}")


@corpus_app.command()
def products(
    out: Annotated[Path, typer.Argument(help="The folder to make.", show_default=False)],
    count: Annotated[int, typer.Option(help="Pictures.")] = 1000,
    size: Annotated[int, typer.Option(help="Pixels of a side.")] = 128,
    split: Annotated[str, typer.Option(help="train, held_out_pattern, held_out_color or all.")] = "train",
    seed: Annotated[int, typer.Option(help="Of the first picture; picture i has seed + i.")] = 0,
    form: Annotated[str, typer.Option("--format", help="imagefolder or webdataset.")] = "imagefolder",
    processes: Annotated[int, typer.Option(help="Drawing processes; 0 is one a core.")] = 0,
) -> None:
    """Draw product pictures with Chinese titles and their true attributes."""
    from app.products import write_products

    written = write_products(out, count, size, split, seed, form, processes)
    typer.echo(f"{out}  ({written} pictures)")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="demo, or a YAML file.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE ...", help="stage_two.loop.steps=100", show_default=False),
    ] = None,
) -> None:
    """Train a model folder from nothing. Stopped at any moment, the same command goes on where it was."""
    from app.recipe_check import check_models

    check_models(recipe, overrides or [])
    from recipes.train import train as run

    run(recipe, overrides or [])


@app.command("eval")
def evaluate(
    model: Annotated[
        str, typer.Argument(help="A model folder, or demo for the bundled one.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Where the table and the contact sheets go.")] = Path(
        "outputs/eval"
    ),
    count: Annotated[int, typer.Option(help="Pictures a row of the table; 0 is the recipe's.")] = 0,
) -> None:
    """Score a model: a table, and contact sheets to look at. The first time, a judge is trained for it."""
    from app.models import find_model

    if count < 0:
        raise ValueError(f"count {count} must be at least 0")
    folder = find_model(model)
    from recipes.evaluate import evaluate as score

    score(str(folder), str(out), count)


def main(args: list[str] | None = None) -> None:
    app(args, prog_name="m6")
