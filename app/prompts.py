"""What a model makes of a prompt, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m6_prior import M6Tokenizer

MAX_CHARACTERS = 1000  # longer texts are refused unread: no model takes so many


@dataclass(frozen=True)
class PromptWords:
    """num_tokens: of the text alone; max_tokens: that the model takes; unknown: words it has never seen."""

    num_tokens: int
    max_tokens: int
    unknown: list[str]
    any_known: bool


def check_text(prompt: str) -> None:
    """What can be told without a model. Raises ValueError."""
    if not prompt.strip():
        raise ValueError(
            f"the prompt is empty ({prompt!r}); write what the picture shows, such as 红色高跟鞋"
        )
    if any("\ud800" <= character <= "\udfff" for character in prompt):
        raise ValueError("the prompt is not UTF-8 text; set the terminal to UTF-8")
    if len(prompt) > MAX_CHARACTERS:
        raise ValueError(
            f"the prompt has {len(prompt)} characters, the limit is {MAX_CHARACTERS}; shorten it"
        )


def read_prompt(tokenizer: M6Tokenizer, prompt: str) -> PromptWords:
    """Counts and compares only; the pipeline is who refuses a prompt."""
    pieces = tokenizer.tokenize(prompt)
    any_known = any(tokenizer.ids[piece] != tokenizer.unk_token_id for piece in pieces)
    return PromptWords(len(pieces), tokenizer.max_length - 2, tokenizer.unknown_words(prompt), any_known)
