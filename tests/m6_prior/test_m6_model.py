"""Laws of the transformer: who sees whom, padding, sizes, training."""

from __future__ import annotations

import pytest
import torch
from m6_tiny import make_codes, make_texts, tiny_config, tiny_model

from m6_prior import M6Config, M6Model, M6Output, text_to_image_loss


def test_no_future_code_leaks_into_a_prediction(model):
    input_ids, mask = make_texts(5)
    codes = make_codes(1)
    before = model(input_ids, mask, codes)
    for i in range(20):
        changed = codes.clone()
        changed[0, i] = (changed[0, i] + 1) % 24
        after = model(input_ids, mask, changed)
        assert torch.equal(before.code_logits[:, : i + 1], after.code_logits[:, : i + 1])
        assert torch.equal(before.text_logits, after.text_logits)
        later = (before.code_logits[0, i + 1 :] - after.code_logits[0, i + 1 :]).abs().amax(1)
        assert (later > 1e-6).all(), "every later code must see this one"


def test_no_future_word_leaks_into_a_prediction(model):
    input_ids, mask = make_texts(6)
    before = model(input_ids, mask, make_codes(1))
    for t in range(1, 8):
        changed = input_ids.clone()
        changed[0, t] = (changed[0, t] + 1) % 40
        after = model(changed, mask, make_codes(1))
        assert torch.equal(before.text_logits[:, :t], after.text_logits[:, :t])
        assert (before.text_logits[0, t:] != after.text_logits[0, t:]).any(1).all()
        assert (before.code_logits != after.code_logits).any(2).all(), "every code must see every word"


def test_the_prefix_is_bidirectional_and_the_rest_causal(model):
    input_ids, mask = make_texts(6)
    before = model(input_ids, mask, prefix_length=4)
    for t in range(8):
        changed = input_ids.clone()
        changed[0, t] = (changed[0, t] + 1) % 40
        differs = (before.text_logits != model(changed, mask, prefix_length=4).text_logits).any(2)[0]
        sees = [True] * 8 if t < 4 else [s >= t for s in range(8)]
        assert differs.tolist() == sees, f"word {t}"


@pytest.mark.parametrize("prefix_length", [0, 3])
def test_padding_on_either_side_does_not_change_logits(model, prefix_length):
    input_ids, mask = make_texts(4)
    codes = make_codes(1)
    alone = model(input_ids, mask, codes, prefix_length)
    noise = torch.randint(0, 40, (1, 5))
    none = torch.zeros(1, 5, dtype=torch.bool)
    for ids, seen, where in (
        (torch.cat([input_ids, noise], 1), torch.cat([mask, none], 1), slice(0, 6)),
        (torch.cat([noise, input_ids], 1), torch.cat([none, mask], 1), slice(5, 11)),
    ):
        padded = model(ids, seen, codes, prefix_length)
        assert padded.text_logits.isfinite().all()
        torch.testing.assert_close(padded.text_logits[:, where], alone.text_logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(padded.code_logits, alone.code_logits, rtol=0, atol=1e-5)


def test_neighbours_in_a_batch_do_not_change_logits(model):
    input_ids, mask = make_texts(2, 9, 0)
    codes = make_codes(3)
    batch = model(input_ids, mask, codes)
    for i, words in enumerate((4, 11, 2)):
        alone = model(input_ids[i : i + 1, :words], mask[i : i + 1, :words], codes[i : i + 1])
        torch.testing.assert_close(batch.code_logits[i : i + 1], alone.code_logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(batch.text_logits[i : i + 1, :words], alone.text_logits, rtol=0, atol=1e-5)


def test_a_code_step_reads_the_code_before_and_the_code_above(model):
    codes = make_codes(1)
    base = model.embed_codes(codes[:, :-1])
    assert base.shape == (1, 20, 32)
    for i in (0, 3, 14):
        changed = codes.clone()
        changed[0, i] = (changed[0, i] + 1) % 24
        differs = (base != model.embed_codes(changed[:, :-1])).any(2)[0].nonzero()[:, 0].tolist()
        assert differs == [n for n in (i + 1, i + 5) if n < 20]


def test_code_positions_are_two_dimensional(model):
    grid = model.code_positions().view(4, 5, 32)
    torch.testing.assert_close(grid[2, 3] - grid[1, 3], grid[2, 0] - grid[1, 0])
    torch.testing.assert_close(grid[2, 3] - grid[2, 1], grid[0, 3] - grid[0, 1])


def test_words_alone_and_part_of_a_picture_have_their_shapes(model):
    input_ids, mask = make_texts(3, 1)
    words = model(input_ids, mask)
    assert words.text_logits.shape == (2, 5, 40) and words.code_logits.shape == (2, 0, 24)
    assert model(input_ids, mask, make_codes(2, 7)).code_logits.shape == (2, 7, 24)
    whole = model(input_ids, mask, make_codes(2).view(2, 4, 5)).code_logits
    assert torch.equal(whole, model(input_ids, mask, make_codes(2)).code_logits)


def test_words_output_is_tied_and_codes_have_their_own(model):
    names = dict(model.named_parameters())
    assert not [name for name in names if "head" in name and "code" not in name]
    assert names["code_head.weight"] is not names["code_embedding.weight"]
    outer = [name for name, p in names.items() if p.ndim > 1 and ("embed" in name or "head" in name)]
    inner = {name.split(".", 2)[2] for name, p in names.items() if p.ndim > 1 and name not in outer}
    assert inner == {"attention.qkv.weight", "attention.proj.weight", "feed_in.weight", "feed_out.weight"}


def test_presets_have_the_sizes_of_the_paper():
    with torch.device("meta"):
        base = sum(p.numel() for p in M6Model(M6Config.preset("base")).parameters())
        ten = sum(p.numel() for p in M6Model(M6Config.preset("10b")).parameters())
        demo = sum(p.numel() for p in M6Model(M6Config.preset("demo")).parameters())
    assert base == pytest.approx(327e6, rel=0.01)
    assert ten == pytest.approx(10e9, rel=0.03)
    assert demo < 7e6
    assert M6Config.preset("100b").num_experts == 1024
    assert M6Config.preset("demo", codebook_size=64).codebook_size == 64


def test_initial_weights_follow_the_rule():
    torch.manual_seed(0)
    model = M6Model(tiny_config(hidden_size=128))
    assert model.code_embedding.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert model.blocks[0].attention.proj.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert model.blocks[1].feed_out.weight.std().item() == pytest.approx(0.01, rel=0.1)
    torch.manual_seed(0)
    again = M6Model(tiny_config(hidden_size=128))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_loss_falls_in_thirty_steps():
    torch.manual_seed(0)
    model = M6Model(tiny_config())
    input_ids, mask = make_texts(4, 6, 0, 2)
    codes = make_codes(4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        losses.append(text_to_image_loss(model(input_ids, mask, codes), input_ids, mask, codes, 0.1))
        optimizer.zero_grad()
        losses[-1].loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
    assert losses[-1].code_loss < losses[0].code_loss / 2
    assert losses[-1].text_loss < losses[0].text_loss / 2
    assert losses[-1].code_accuracy > losses[0].code_accuracy


def test_losses_are_the_means_that_they_say():
    torch.manual_seed(0)
    input_ids, mask = make_texts(2, 0)
    codes = make_codes(2, 3)
    text_logits, code_logits = torch.randn(2, 4, 40), torch.randn(2, 3, 24)
    loss = text_to_image_loss(M6Output(text_logits, code_logits), input_ids, mask, codes, 0.5)
    text = -sum(text_logits[0, t].log_softmax(-1)[input_ids[0, t + 1]] for t in range(3)) / 3
    code = -sum(code_logits[b, i].log_softmax(-1)[codes[b, i]] for b in range(2) for i in range(3)) / 6
    torch.testing.assert_close(loss.text_loss, text)
    torch.testing.assert_close(loss.code_loss, code)
    torch.testing.assert_close(loss.loss, code + 0.5 * text)
    assert loss.code_accuracy == (code_logits.argmax(-1) == codes).float().mean()


def test_empty_texts_add_no_text_loss_and_no_nan(model):
    input_ids, mask = make_texts(0, 0)
    codes = make_codes(2)
    loss = text_to_image_loss(model(input_ids, mask, codes), input_ids, mask, codes, 0.1)
    assert loss.text_loss == 0 and torch.equal(loss.loss, loss.code_loss)
    loss.loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    model.zero_grad(set_to_none=True)


def test_dropout_acts_in_training_only():
    model = tiny_model(dropout=0.5)
    input_ids, mask = make_texts(4)
    codes = make_codes(1)
    assert torch.equal(model(input_ids, mask, codes).code_logits, model(input_ids, mask, codes).code_logits)
    model.train()
    assert not torch.equal(model(input_ids, mask, codes).code_logits, model(input_ids, mask, codes).code_logits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 30, "num_heads": 4}, "hidden_size 30 must be a multiple of num_heads 4; the next one is 32"),
        ({"codebook_size": 0}, "codebook_size 0 must be at least 1"),
        ({"max_text_length": 1}, "max_text_length 1 must be at least 2"),
        ({"num_segments": 2}, "num_segments 2 must be at least 3"),
        ({"num_layers": 2.5}, "num_layers 2.5 must be a whole number"),
        ({"dropout": 1.0}, "dropout 1.0 must be at least 0 and below 1"),
    ],
)
def test_wrong_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(**changes)


def test_unknown_presets_keys_and_experts_are_refused():
    with pytest.raises(ValueError, match="'huge' is not known; choose one of: demo, base, 10b, 100b"):
        M6Config.preset("huge")
    with pytest.raises(ValueError, match="unknown key 'num_layer'"):
        M6Config.from_dict({"num_layer": 2})
    with pytest.raises(ValueError, match="num_experts 1024: experts are not built yet"):
        M6Model(M6Config.preset("100b"))


def test_wrong_inputs_are_refused(model):
    input_ids, mask = make_texts(4)
    with pytest.raises(ValueError, match=r"codes \(1, 21\) must be \(1, 1 to 20\)"):
        model(input_ids, mask, torch.zeros(1, 21, dtype=torch.long))
    with pytest.raises(ValueError, match="a text of 15 tokens is longer than max_text_length 12"):
        model(*make_texts(13))
    with pytest.raises(ValueError, match="must both be"):
        model(input_ids, mask.long())
    with pytest.raises(ValueError, match="text_weight -1 must be 0 or more"):
        text_to_image_loss(model(input_ids, mask, make_codes(1)), input_ids, mask, make_codes(1), -1)
