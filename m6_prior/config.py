"""Sizes of an M6 model (paper, table 4), as a dataclass that refuses what cannot be built."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

NUM_SEGMENTS = 3  # image patches, masked text, complete text and codes
BERT_VOCAB_SIZE = 21_128  # words of BERT's Chinese vocabulary


@dataclass(frozen=True)
class M6Config:
    """One transformer over [prefix][words][codes].

    Every wrong value raises a ValueError that names the value, the limit and the fix.
    """

    vocab_size: int = BERT_VOCAB_SIZE + 1  # words; the tokenizer's length
    codebook_size: int = 1024  # codes; share no ids with the words
    code_height: int = 16  # rows of codes in a picture
    code_width: int = 16  # codes in a row
    hidden_size: int = 1024
    num_layers: int = 24
    num_heads: int = 16
    feed_forward_size: int | None = None  # None: 4 x hidden_size
    max_text_length: int = 128  # tokens, [CLS] and [SEP] included
    dropout: float = 0.0  # on embeddings and on both residual branches, in training
    num_segments: int = NUM_SEGMENTS
    num_experts: int = 0  # 0: every layer is dense
    expert_interval: int = 2  # with experts: every so many-th layer is sparse

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "dropout" or (field.name == "feed_forward_size" and value is None):
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"{field.name} {value!r} must be a whole number")
            least = {"num_experts": 0, "max_text_length": 2, "num_segments": NUM_SEGMENTS}.get(field.name, 1)
            if value < least:
                raise ValueError(f"{field.name} {value} must be at least {least}")
        if isinstance(self.dropout, bool) or not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout!r} must be at least 0 and below 1")
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of num_heads {self.num_heads}; "
                f"the next one is {-(-self.hidden_size // self.num_heads) * self.num_heads}"
            )

    @property
    def num_codes(self) -> int:
        """Codes of one picture."""
        return self.code_height * self.code_width

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def inner_size(self) -> int:
        """Width of the feed-forward layer."""
        return self.feed_forward_size or 4 * self.hidden_size

    @classmethod
    def preset(cls, name: str, **changes: Any) -> M6Config:
        """A size of the paper's table 4 (`base`, `10b`, `100b`) or the `demo`, with `changes` applied.

        Raises ValueError for a name that is not there and for an unknown field.
        """
        if name not in PRESETS:
            raise ValueError(f"preset {name!r} is not known; choose one of: {', '.join(PRESETS)}")
        return from_fields(PRESETS[name], changes)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> M6Config:
        """Raises ValueError for unknown keys: a newer or foreign config is never half understood."""
        return from_fields(cls(), values)

    def save(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps({"_class_name": "M6Model", **self.to_dict()}, indent=2) + "\n", "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> M6Config:
        """Reads what `save` wrote. Raises ValueError for a missing, broken or foreign file."""
        path = Path(path)
        try:
            values = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{path} is not there: not an M6 model folder") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not JSON ({error}): truncated or foreign, copy the folder again") from None
        if not isinstance(values, dict) or values.pop("_class_name", "M6Model") != "M6Model":
            raise ValueError(f"{path} is not the config of an M6 model")
        try:
            return cls.from_dict(values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def from_fields(base: M6Config, values: dict[str, Any]) -> M6Config:
    known = [field.name for field in fields(M6Config)]
    if unknown := [key for key in values if key not in known]:
        raise ValueError(f"unknown key {', '.join(map(repr, unknown))}; known: {', '.join(known)}")
    return replace(base, **values)


PRESETS: dict[str, M6Config] = {
    "demo": M6Config(
        vocab_size=1200, code_height=12, code_width=12, hidden_size=256, num_layers=6, num_heads=4, max_text_length=32
    ),
    "base": M6Config(vocab_size=BERT_VOCAB_SIZE),
    "10b": M6Config(vocab_size=BERT_VOCAB_SIZE, hidden_size=4096, num_layers=50, num_heads=128),
    "100b": M6Config(vocab_size=BERT_VOCAB_SIZE, num_experts=1024),
}
