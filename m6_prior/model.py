"""The M6 transformer over [prefix][words][codes] (paper, sections 3.2 and 4.1), single-device code.

Shapes: B batch, T text tokens, N codes, h w code grid (N = h x w), L = T + N, D hidden, H heads, V words, K codebook.

The first `prefix_length` text positions see each other (the paper's masked text); later words and the codes are causal
and see the prefix. Words and codes share no ids. Word output is tied to the word embedding; codes have an embedding
and an output of their own.

A step that predicts code i reads: the embedding of code i-1 (a learned start at i = 0), the embedding of code i-w, the
one directly above (zero in the first row), and the row and column of the code it predicts. The last two are ours: the
paper does not say how positions of codes are embedded.
Deviations: pre-norm blocks; no experts yet; no image patches yet (segment 0 is theirs).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from m6_prior.config import M6Config

PREFIX_SEGMENT, TEXT_SEGMENT = 1, 2
MASKED = -3e4  # finite in float16, and exp(MASKED) is exactly 0: a row without keys gives no NaN
ROW_BLOCK = 4  # products of fewer rows round otherwise on CPU; with it, cached equals uncached to the last bit
WEIGHTS_NAME, CONFIG_NAME = "model.safetensors", "config.json"


@dataclass(frozen=True)
class M6Output:
    """Unnormalised log-probabilities."""

    text_logits: Tensor  # (B, T, V); [:, t] predicts word t + 1
    code_logits: Tensor  # (B, N, K); [:, i] predicts code i; N = 0 without codes


class KVCache:
    """Keys and values of all layers, allocated once: (num_layers, rows x H, positions, D / H) each."""

    def __init__(self, config: M6Config, rows: int, positions: int, like: Tensor) -> None:
        shape = (config.num_layers, rows * config.num_heads, positions, config.head_size)
        self.keys, self.values = like.new_empty(shape), like.new_empty(shape)
        self.layers = list(zip(self.keys.unbind(0), self.values.unbind(0), strict=True))
        self.length = 0  # positions filled


class Attention(nn.Module):
    def __init__(self, config: M6Config) -> None:
        super().__init__()
        self.num_heads, self.head_size = config.num_heads, config.head_size
        self.scale = config.head_size**-0.5
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, mask: Tensor, cached: tuple[Tensor, Tensor, int] | None = None) -> Tensor:
        """x (B, L, D); mask: of `M6Model.attention_mask`; cached: keys and values (B x H, positions, D / H) and the
        position from which x fills them; they are read up to the end of x."""
        batch, length, hidden = x.shape
        heads = self.qkv(x).view(batch, length, 3, self.num_heads, self.head_size).permute(2, 0, 3, 1, 4)
        q, k, v = heads.reshape(3, batch * self.num_heads, length, self.head_size).unbind(0)
        if cached is not None:
            keys, values, start = cached
            end = start + length
            keys[:, start:end] = k
            values[:, start:end] = v
            k, v = keys[:, :end], values[:, :end]
        if x.is_cuda:
            q, k, v = (part.view(batch, self.num_heads, -1, self.head_size) for part in (q, k, v))
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:  # 1.5 x faster than SDPA in training on CPU
            queries = q.repeat(1, ROW_BLOCK, 1) if length == 1 and cached else q
            scores = torch.baddbmm(mask, queries, k.transpose(1, 2), alpha=self.scale)
            out = torch.bmm(scores.softmax(-1), v)[:, :length].view(batch, self.num_heads, length, self.head_size)
        return self.proj(out.transpose(1, 2).reshape(batch, length, hidden))


class Block(nn.Module):
    def __init__(self, config: M6Config) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(config.hidden_size)
        self.attention = Attention(config)
        self.norm_feed_forward = nn.LayerNorm(config.hidden_size)
        self.feed_in = nn.Linear(config.hidden_size, config.inner_size)
        self.feed_out = nn.Linear(config.inner_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor, cached: tuple[Tensor, Tensor, int] | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.norm_attention(x), mask, cached))
        return x + self.dropout(self.feed_out(F.gelu(self.feed_in(self.norm_feed_forward(x)))))


class M6Model(nn.Module):
    """See the file's header. Built in float32 with normal(0, 0.02) weights, seeded by torch's global generator."""

    def __init__(self, config: M6Config) -> None:
        super().__init__()
        if config.num_experts:
            raise ValueError(f"num_experts {config.num_experts}: experts are not built yet; set num_experts to 0")
        self.config = config
        hidden = config.hidden_size
        self.word_embedding = embedding(config.vocab_size, hidden)
        self.text_position_embedding = embedding(config.max_text_length, hidden)
        self.segment_embedding = embedding(config.num_segments, hidden)
        self.code_embedding = embedding(config.codebook_size, hidden)
        self.above_embedding = embedding(config.codebook_size, hidden)
        self.row_embedding = embedding(config.code_height, hidden)
        self.column_embedding = embedding(config.code_width, hidden)
        self.start_embedding = nn.Parameter(torch.zeros(hidden))
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(hidden)
        self.code_head = nn.Linear(hidden, config.codebook_size, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """normal(0, 0.02); outputs of the residual branches smaller by sqrt(2 x layers), as in GPT-2."""
        if self.start_embedding.is_meta:  # normal_ on the meta device imports sympy: seconds before a picture
            return
        residual = 0.02 / (2 * self.config.num_layers) ** 0.5
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=residual if name.endswith(("proj.weight", "feed_out.weight")) else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        nn.init.normal_(self.start_embedding, std=0.02)

    @property
    def device(self) -> torch.device:
        return self.start_embedding.device

    # ---- the walk: embed, transform, predict

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, codes: Tensor | None = None, prefix_length: int = 0
    ) -> M6Output:
        """input_ids (B, T) int64; attention_mask (B, T) bool, False on padding; codes (B, N) or (B, h, w) int64, the
        first N of a picture in reading order, or None; prefix_length: text positions that attend in both directions.

        Raises ValueError when a text or the codes are longer than the config allows, or shapes do not fit.
        """
        positions = self.text_positions(input_ids, attention_mask)
        x = self.embed_text(input_ids, positions, prefix_length)
        mask = self.text_mask(attention_mask, positions, prefix_length, x.dtype)
        num_words = input_ids.shape[1]
        if codes is not None:
            codes = codes.flatten(1)
            self.check_codes(codes, len(input_ids))
            x = torch.cat([x, self.embed_codes(codes[:, :-1])], dim=1)
            mask = full_mask(mask, attention_mask, codes.shape[1])
        x = self.norm(self.transform(x, self.attention_mask(mask)))
        text_logits = F.linear(x[:, :num_words], self.word_embedding.weight)
        return M6Output(text_logits, self.code_head(x[:, num_words:]))

    def text_positions(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, T) int64, counted from the first word; padding takes no position of its own."""
        if input_ids.shape != attention_mask.shape or input_ids.ndim != 2 or attention_mask.dtype != torch.bool:
            raise ValueError(
                f"input_ids {tuple(input_ids.shape)} and attention_mask {tuple(attention_mask.shape)} "
                f"{attention_mask.dtype} must both be (B, T), the mask bool"
            )
        positions = attention_mask.cumsum(1).sub_(1).clamp_(min=0)
        if input_ids.shape[1] > self.config.max_text_length and int(positions.max()) >= self.config.max_text_length:
            raise ValueError(
                f"a text of {int(positions.max()) + 1} tokens is longer than max_text_length "
                f"{self.config.max_text_length}; shorten it"
            )
        return positions

    def embed_text(self, input_ids: Tensor, positions: Tensor, prefix_length: int = 0) -> Tensor:
        """(B, T, D)."""
        x = self.word_embedding(input_ids) + self.text_position_embedding(positions)
        if prefix_length:
            segments = torch.where(positions < prefix_length, PREFIX_SEGMENT, TEXT_SEGMENT)
            return self.dropout(x + self.segment_embedding(segments))
        return self.dropout(x + self.segment_embedding.weight[TEXT_SEGMENT])

    def code_positions(self) -> Tensor:
        """(h x w, D): row, column and segment of each code, in reading order."""
        grid = self.row_embedding.weight[:, None] + self.column_embedding.weight
        return grid.flatten(0, 1) + self.segment_embedding.weight[TEXT_SEGMENT]

    def embed_codes(self, codes: Tensor) -> Tensor:
        """codes (B, n) int64, the first n of a picture -> (B, n + 1, D): the inputs that predict codes 0 to n."""
        batch, count = codes.shape
        width = self.config.code_width
        x = torch.cat([self.start_embedding.expand(batch, 1, -1), self.code_embedding(codes)], dim=1)
        x = x + self.code_positions()[: count + 1]
        if count >= width:
            x = torch.cat([x[:, :width], x[:, width:] + self.above_embedding(codes[:, : count + 1 - width])], dim=1)
        return self.dropout(x)

    def check_codes(self, codes: Tensor, batch: int) -> None:
        most = self.config.num_codes
        if codes.ndim != 2 or len(codes) != batch or not 1 <= codes.shape[1] <= most:
            raise ValueError(f"codes {tuple(codes.shape)} must be ({batch}, 1 to {most})")

    def attention_mask(self, mask: Tensor) -> Tensor:
        """Additive (B, 1, L, keys) -> what the blocks take: on CPU (B x H, L, keys), made once for all."""
        if mask.is_cuda:
            return mask.to(self.norm.weight.dtype)
        return mask.expand(-1, self.config.num_heads, -1, -1).flatten(0, 1)

    def transform(self, x: Tensor, mask: Tensor, cache: KVCache | None = None) -> Tensor:
        """The blocks: (B, L, D) -> (B, L, D). With a cache, x continues it and mask covers all it then holds."""
        if cache is None:
            for block in self.blocks:
                x = block(x, mask)
            return x
        for block, (keys, values) in zip(self.blocks, cache.layers, strict=True):
            x = block(x, mask, (keys, values, cache.length))
        cache.length += x.shape[1]
        return x

    @staticmethod
    def text_mask(attention_mask: Tensor, positions: Tensor, prefix_length: int, dtype: torch.dtype) -> Tensor:
        """(B, 1, T, T), additive: causal over real words, both ways inside the prefix."""
        count = attention_mask.shape[1]
        seen = torch.ones(count, count, dtype=torch.bool, device=attention_mask.device).tril()
        if prefix_length:
            seen = seen | (positions < prefix_length)[:, None]
        seen = seen & attention_mask[:, None]
        return additive(seen, dtype)[:, None]

    # ---- files

    def save_pretrained(self, directory: str | Path, dtype: torch.dtype | None = None) -> None:
        """Writes config.json and model.safetensors, each under a temporary name first; dtype: of the stored weights."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().to("cpu", dtype).contiguous() for name, value in self.state_dict().items()}
        temporary = directory / f"{WEIGHTS_NAME}.tmp"
        save_file(weights, temporary, metadata={"format": "pt"})
        self.config.save(directory / f"{CONFIG_NAME}.tmp")
        os.replace(temporary, directory / WEIGHTS_NAME)
        os.replace(directory / f"{CONFIG_NAME}.tmp", directory / CONFIG_NAME)

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> M6Model:
        """Reads what `save_pretrained` wrote, as float32, in eval mode.

        Raises ValueError that names the file and what is wrong with it: missing, truncated, foreign.
        """
        config = M6Config.load(Path(directory) / CONFIG_NAME)
        path = Path(directory) / WEIGHTS_NAME
        if not path.is_file():
            raise ValueError(f"{path} is not there: the model folder is incomplete, copy it again")
        try:
            weights = load_file(path)
        except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} cannot be read ({error}): truncated or foreign, copy it again") from None
        with torch.device("meta"):
            model = cls(config)
        wanted = {name: value.shape for name, value in model.state_dict().items()}
        for name in [*wanted, *weights]:
            if name not in weights or name not in wanted or weights[name].shape != wanted[name]:
                found = tuple(weights[name].shape) if name in weights else "nothing"
                need = tuple(wanted[name]) if name in wanted else "nothing"
                raise ValueError(
                    f"{path} does not fit {CONFIG_NAME}: {name} is {found} in the file, {need} in the model"
                )
        model.load_state_dict({name: value.float() for name, value in weights.items()}, strict=True, assign=True)
        return model.eval()


def embedding(count: int, hidden: int) -> nn.Embedding:
    """Not initialised: M6Model.reset_parameters does that."""
    return nn.Embedding.from_pretrained(torch.empty(count, hidden), freeze=False)


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `seen`, MASKED elsewhere."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, MASKED)


def full_mask(text_mask: Tensor, attention_mask: Tensor, count: int) -> Tensor:
    """(B, 1, T, T) -> (B, 1, T + count, T + count): codes see all real words and the codes before them."""
    batch, _, words, _ = text_mask.shape
    mask = text_mask.new_full((batch, 1, words + count, words + count), MASKED)
    mask[:, :, :words, :words] = text_mask
    mask[:, :, words:, :words] = additive(attention_mask, text_mask.dtype)[:, None, None]
    mask[:, :, words:, words:].masked_fill_(torch.ones_like(mask[0, 0, words:, words:], dtype=torch.bool).tril(), 0)
    return mask
