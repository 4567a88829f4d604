"""Published VQGANs -> our folder: taming-transformers' checkpoints and LlamaGen's image tokenizers.

The import is exact: the same codes and the same pixels, to float rounding. Both families share our architecture, so
that only names differ. Every tensor is used or is under a prefix named below; anything else is an error.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from os import getpid
from pathlib import Path
from typing import Any

from torch import Tensor

from vqgan.config import VQGANConfig
from vqgan.model import VQGAN
from vqgan.quantizers import MovingAverageQuantizer
from vqgan.unpickling import one_line, read_checkpoint

TAMING_TARGETS = {
    "taming.models.vqgan.VQModel": "vector",
    "taming.models.vqgan.VQNoDiscModel": "vector",
    "taming.models.vqgan.EMAVQ": "ema",
    "taming.models.vqgan.GumbelVQ": "gumbel",
}
TAMING_TRANSFORMER = "taming.models.cond_transformer.Net2NetTransformer"
FIRST_STAGE = "first_stage_model."
# LPIPS and discriminator; a random projection for logging label maps; statistics of the moving averages
TAMING_IGNORED = (
    "loss.", "colorize", "quantize.cluster_size", "quantize.embed_avg", "quantize.embedding.cluster_size",
    "quantize.embedding.embed_avg",
)  # fmt: skip
TRANSFORMER_IGNORED = ("transformer.", "cond_stage_model.", "permuter.")

LLAMAGEN_KEYS = ("ema", "model", "state_dict")  # in the order in which LlamaGen's own evaluation looks
LLAMAGEN_IGNORED = ("quantize.codebook_used",)  # the last codes of training, a statistic
LLAMAGEN_SAMPLE_SIZE = 256
JANUS = "gen_vision_model."
JANUS_IGNORED = ("language_model.", "vision_model.", "aligner.", "gen_head.", "gen_aligner.", "gen_embed.")


def import_taming(checkpoint: str | Path, config: str | Path, out: str | Path) -> None:
    """taming-transformers' `last.ckpt` and `model.yaml` -> a folder that VQGAN.from_pretrained reads.

    VQ, EMA and Gumbel models, alone or as the first stage of a transformer's checkpoint.
    Raises ValueError for files that are missing, broken, foreign or do not fit each other, and for an `out` in use.
    """
    checkpoint, config, out = Path(checkpoint), Path(config), Path(out)
    check_out(out)
    settings = taming_config(config)
    tensors = tensors_of(read_checkpoint(checkpoint), ("state_dict",), checkpoint)
    if any(name.startswith(FIRST_STAGE) for name in tensors):
        tensors = below(tensors, FIRST_STAGE, TRANSFORMER_IGNORED)

    def their_name(name: str) -> str:
        codebook = "quantize.embed.weight" if settings.quantizer == "gumbel" else "quantize.embedding.weight"
        return codebook if name == "quantizer.codebook" else name.replace("quantizer.", "quantize.")

    write(build(settings, tensors, their_name, TAMING_IGNORED, f"{checkpoint} does not fit {config}"), out)


def import_llamagen(checkpoint: str | Path, out: str | Path) -> None:
    """LlamaGen's `vq_ds16_*.pt` or `vq_ds8_*.pt`, or a Janus checkpoint -> a folder for VQGAN.from_pretrained.

    Sizes are told from the shapes of the tensors; codes are looked up by cosine, as LlamaGen does.
    Raises ValueError for a file that is missing, broken or foreign, and for an `out` in use.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    check_out(out)
    tensors = tensors_of(read_checkpoint(checkpoint), LLAMAGEN_KEYS, checkpoint)
    if any(name.startswith(JANUS) for name in tensors):
        tensors = below(tensors, JANUS, JANUS_IGNORED)
    settings = llamagen_config(tensors, checkpoint)
    last = len(settings.channel_multipliers) - 1
    trouble = f"{checkpoint} is no image tokenizer of LlamaGen"
    write(build(settings, tensors, lambda name: llamagen_name(name, last), LLAMAGEN_IGNORED, trouble), out)


def taming_config(path: Path) -> VQGANConfig:
    """The yaml of a VQGAN, or of a transformer that names its first stage. Raises ValueError that names the key."""
    import yaml

    try:
        model = yaml.safe_load(path.read_text("utf-8"))["model"]
        if model["target"] == TAMING_TRANSFORMER:
            model = model["params"]["first_stage_config"]
        target, params = model["target"], model["params"]
        ddconfig = params["ddconfig"]
        if not isinstance(ddconfig, dict):
            raise TypeError("ddconfig is no mapping")
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; give the model.yaml that belongs to the checkpoint") from None
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no taming model.yaml: model.params.ddconfig is not there ({error})") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read as YAML ({one_line(error)})") from None
    if target not in TAMING_TARGETS:
        raise ValueError(f"{path}: model target {target!r} cannot be imported; known are {', '.join(TAMING_TARGETS)}")
    # changes that taming's code can make and ours cannot
    for key, wanted, given in (
        ("ddconfig.double_z", False, ddconfig.get("double_z", True)),
        ("ddconfig.resamp_with_conv", True, ddconfig.get("resamp_with_conv", True)),
        ("ddconfig.give_pre_end", False, ddconfig.get("give_pre_end", False)),
        ("remap", None, params.get("remap")),
    ):
        if given != wanted:
            raise ValueError(f"{path}: {key} {given!r} cannot be imported, only {wanted!r}")

    def whole(key: str, values: dict[str, Any]) -> int:
        if type(value := values.get(key)) is not int:
            raise ValueError(f"{path}: {key} {value!r} must be a whole number")
        return value

    def wholes(key: str) -> tuple[int, ...]:
        values = ddconfig.get(key)
        if not isinstance(values, list) or any(type(value) is not int for value in values):
            raise ValueError(f"{path}: ddconfig.{key} {values!r} must be a list of whole numbers")
        return tuple(values)

    dropout = ddconfig.get("dropout", 0.0)
    if not isinstance(dropout, int | float):
        raise ValueError(f"{path}: ddconfig.dropout {dropout!r} must be a number")
    try:
        return VQGANConfig(
            sample_size=whole("resolution", ddconfig),
            in_channels=whole("in_channels", ddconfig),
            out_channels=whole("out_ch", ddconfig),
            base_channels=whole("ch", ddconfig),
            channel_multipliers=wholes("ch_mult"),
            num_res_blocks=whole("num_res_blocks", ddconfig),
            attention_resolutions=wholes("attn_resolutions"),
            dropout=float(dropout),
            latent_channels=whole("z_channels", ddconfig),
            codebook_size=whole("n_embed", params),
            codebook_dim=whole("embed_dim", params),
            quantizer=TAMING_TARGETS[target],
        )
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def llamagen_config(tensors: dict[str, Tensor], origin: Path) -> VQGANConfig:
    """Sizes of an image tokenizer from its tensors' shapes. Raises ValueError that names the tensor."""

    def side(name: str, dimension: int) -> int:
        if name not in tensors or tensors[name].ndim <= dimension:
            raise ValueError(
                f"{origin} is no image tokenizer of LlamaGen: {name} is not there;"
                " a checkpoint of taming-transformers goes through `m6 import taming`"
            )
        return tensors[name].shape[dimension]

    def count(pattern: str) -> int:
        return 1 + max((int(m[1]) for name in tensors if (m := re.match(pattern, name))), default=-1)

    base_channels = side("encoder.conv_in.weight", 0)
    num_levels = count(r"encoder\.conv_blocks\.(\d+)\.")
    widths = [side(f"encoder.conv_blocks.{i}.res.0.conv1.weight", 0) for i in range(max(num_levels, 1))]
    with_attention = [i for i in range(num_levels) if f"encoder.conv_blocks.{i}.attn.0.q.weight" in tensors]
    if base_channels == 0 or any(width % base_channels for width in widths):
        raise ValueError(f"{origin}: channels {widths} of the levels are no multiples of {base_channels}, the first")
    try:
        return VQGANConfig(
            sample_size=LLAMAGEN_SAMPLE_SIZE,
            in_channels=side("encoder.conv_in.weight", 1),
            out_channels=side("decoder.conv_out.weight", 0),
            base_channels=base_channels,
            channel_multipliers=tuple(width // base_channels for width in widths),
            num_res_blocks=count(r"encoder\.conv_blocks\.0\.res\.(\d+)\."),
            attention_resolutions=tuple(LLAMAGEN_SAMPLE_SIZE // 2**i for i in with_attention),
            latent_channels=side("encoder.conv_out.weight", 0),
            codebook_size=side("quantize.embedding.weight", 0),
            codebook_dim=side("quantize.embedding.weight", 1),
            quantizer="cosine",
        )
    except ValueError as error:
        raise ValueError(str(error) if str(origin) in str(error) else f"{origin}: {error}") from None


def llamagen_name(name: str, last_level: int) -> str:
    """Our name of a tensor -> LlamaGen's: its decoder counts levels in the order in which they run."""
    if name == "quantizer.codebook":
        return "quantize.embedding.weight"
    for place, block in enumerate(("block_1", "attn_1", "block_2")):
        name = name.replace(f".mid.{block}.", f".mid.{place}.")
    name = re.sub(r"^encoder\.down\.", "encoder.conv_blocks.", name)
    name = re.sub(r"^decoder\.up\.(\d+)", lambda m: f"decoder.conv_blocks.{last_level - int(m[1])}", name)
    return re.sub(r"(conv_blocks\.\d+)\.block\.", r"\1.res.", name)


def tensors_of(content: Any, keys: tuple[str, ...], origin: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint: under the first of `keys` that is there, or the content itself."""
    if isinstance(content, dict):
        content = next((content[key] for key in keys if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{origin} holds no weights under {' or '.join(keys)}; give the checkpoint of a VQGAN")
    if wrong := sorted(str(k) for k, v in content.items() if not isinstance(k, str) or not isinstance(v, Tensor)):
        raise ValueError(f"{origin} is no checkpoint of a VQGAN: {wrong[0]!r} is no tensor")
    return content


def below(tensors: dict[str, Tensor], prefix: str, ignored: tuple[str, ...]) -> dict[str, Tensor]:
    """Tensors under a prefix, without it; others, unless ignored, keep their names and so count as surplus."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix) or not name.startswith(ignored)
    }


def build(
    config: VQGANConfig,
    tensors: dict[str, Tensor],
    their_name: Callable[[str], str],
    ignored: tuple[str, ...],
    trouble: str,
) -> VQGAN:
    """A model with all its weights from `tensors`. Raises ValueError, which starts with `trouble`, unless all fit."""
    model = VQGAN(config)
    if isinstance(model.quantizer, MovingAverageQuantizer):
        model.quantizer.trained.fill_(True)
    own = {their_name(name): value for name, value in model.state_dict().items() if name != "quantizer.trained"}

    def listed(names: list[str]) -> str:
        return names[0] + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")

    if missing := sorted(own.keys() - tensors.keys()):
        raise ValueError(f"{trouble}: tensor {listed(missing)} is not there")
    surplus = sorted(name for name in tensors.keys() - own.keys() if not name.startswith(ignored))
    if surplus:
        raise ValueError(f"{trouble}: tensor {listed(surplus)} has no place")
    for name, value in own.items():
        if tensors[name].shape != value.shape:
            raise ValueError(f"{trouble}: tensor {name} is {list(tensors[name].shape)}, not {list(value.shape)}")
        if not tensors[name].is_floating_point():
            raise ValueError(f"{trouble}: tensor {name} is {tensors[name].dtype}, not a float")
        value.copy_(tensors[name])
    return model


def check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "is not empty" if out.is_dir() else "is a file"
        raise ValueError(f"output {out} {what}; name a new folder")


def write(model: VQGAN, out: Path) -> None:
    """The folder appears whole, or not at all."""
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.parent / f".{out.name}.{getpid()}"
    try:
        model.save_pretrained(temporary)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
