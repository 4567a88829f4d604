"""Loss of text-to-image finetuning: language modelling of the words and of the codes (paper, section 4.1).

Shapes: B batch, T text tokens, N codes, V words.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from m6_prior.model import M6Output


@dataclass(frozen=True)
class TextToImageLoss:
    """Scalars; losses in nats a token."""

    loss: Tensor  # code_loss + text_weight x text_loss: what is minimised
    text_loss: Tensor  # mean over the words and [SEP] of the samples that have words; 0 when none has
    code_loss: Tensor  # mean over all codes
    code_accuracy: Tensor  # share of codes whose most likely prediction is right, without gradient


def text_to_image_loss(
    output: M6Output, input_ids: Tensor, attention_mask: Tensor, codes: Tensor, text_weight: float
) -> TextToImageLoss:
    """output: of M6Model on the same input_ids (B, T), attention_mask (B, T) bool and codes (B, N) or (B, h, w) int64.

    Each word predicts the next up to [SEP]; a sample whose text is empty ([CLS] [SEP]) adds nothing to text_loss.
    Raises ValueError for a negative text_weight or an output without codes.
    """
    if text_weight < 0:
        raise ValueError(f"text_weight {text_weight} must be 0 or more")
    codes = codes.flatten(1)
    if output.code_logits.shape[:2] != codes.shape or not codes.numel():
        raise ValueError(f"code_logits {tuple(output.code_logits.shape)} do not fit codes {tuple(codes.shape)}")
    code_logits = output.code_logits.flatten(0, 1)
    code_loss = F.cross_entropy(code_logits, codes.flatten())
    with torch.no_grad():
        code_accuracy = (code_logits.argmax(-1) == codes.flatten()).float().mean()

    has_words = attention_mask.sum(1, keepdim=True) > 2
    predicted = attention_mask[:, :-1] & attention_mask[:, 1:] & has_words
    targets = input_ids[:, 1:].masked_fill(~predicted, -100)
    total = F.cross_entropy(
        output.text_logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum"
    )
    text_loss = total / predicted.sum().clamp(min=1)
    return TextToImageLoss(code_loss + text_weight * text_loss, text_loss, code_loss, code_accuracy)
