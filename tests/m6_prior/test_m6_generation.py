"""Laws of sampling: caches, seeds, guidance, limits."""

from __future__ import annotations

import pytest
import torch
from m6_tiny import make_codes, make_texts, tiny_model

from m6_prior import M6Model, sample_codes
from m6_prior.generation import Generation, Sampling, choose


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def pad_texts(input_ids, mask, width=16):
    """To the width at which generation runs texts, so that the same sums are made."""
    more = width - input_ids.shape[1]
    return torch.nn.functional.pad(input_ids, (0, more)), torch.nn.functional.pad(mask, (0, more))


def step_logits(model, input_ids, mask, codes, guidance_scale=1.0, given=0):
    """Conditional logits (B, N - given, K) of generation, forced along `codes`."""
    prompt_of = torch.arange(len(input_ids))
    with torch.inference_mode():
        walk = Generation(model, Sampling(1, 1.0, 1.0, guidance_scale), input_ids, mask, prompt_of)
        walk.codes[:] = codes
        logits = [walk.start(given)[0], *(walk.predict(i)[0] for i in range(given + 1, codes.shape[1]))]
    return torch.stack(logits, 1)


@pytest.mark.parametrize(("batch", "guidance_scale"), [(1, 1.0), (1, 2.0), (3, 2.0)])
def test_cached_logits_equal_uncached_exactly(model, batch, guidance_scale):
    input_ids, mask = make_texts(*(5, 0, 9)[:batch])
    codes = make_codes(batch)
    cached = step_logits(model, input_ids, mask, codes, guidance_scale)
    with torch.no_grad():
        uncached = model(*pad_texts(input_ids, mask), codes).code_logits
    torch.testing.assert_close(cached, uncached, rtol=0, atol=1e-5)
    if torch.backends.cpu.get_cpu_capability() == "AVX2":  # elsewhere kernels may round by the number of rows
        assert torch.equal(cached, uncached)


@pytest.mark.parametrize("given", [0, 1, 2, 7, 19])
def test_given_codes_are_cached_as_if_drawn_one_by_one(model, given):
    input_ids, mask = make_texts(5, 3)
    codes = make_codes(2)
    one_by_one = step_logits(model, input_ids, mask, codes)
    at_once = step_logits(model, input_ids, mask, codes, given=given)
    torch.testing.assert_close(at_once, one_by_one[:, given:], rtol=0, atol=1e-5)


def test_sampled_codes_equal_those_of_the_uncached_model(model):
    input_ids, mask = make_texts(5)
    sampled = sample_codes(model, input_ids, mask, top_k=8, temperature=0.9, generators=seeded(3)).codes.flatten(1)
    generator, codes = seeded(3)[0], torch.zeros(1, 20, dtype=torch.long)
    for i in range(20):
        with torch.no_grad():
            logits = model(input_ids, mask, codes).code_logits[:, i]
        uniform = torch.rand(1, 24, generator=generator, dtype=torch.float64)
        codes[:, i] = choose(logits, uniform, Sampling(8, 1.0, 0.9, 1.0))
    assert torch.equal(sampled, codes)


def test_same_seed_same_codes_at_any_batch_size_and_beside_any_neighbours(model):
    settings = {"top_k": 12, "top_p": 0.95, "guidance_scale": 2.0}
    input_ids, mask = make_texts(4, 10, 1, 7, 2)
    together = sample_codes(model, input_ids, mask, generators=seeded(0, 1, 2, 3, 4), **settings)
    for i, words in enumerate((6, 12, 3, 9, 4)):
        alone = sample_codes(
            model, input_ids[i : i + 1, :words], mask[i : i + 1, :words], generators=seeded(i), **settings
        )
        assert torch.equal(alone.codes[0], together.codes[i])
        torch.testing.assert_close(alone.log_likelihood[0], together.log_likelihood[i])
    pair = sample_codes(
        model, input_ids[:2], mask[:2], num_images_per_prompt=2, generators=seeded(0, 9, 8, 1), **settings
    )
    assert torch.equal(pair.codes[0], together.codes[0]) and torch.equal(pair.codes[3], together.codes[1])


def test_other_seeds_and_other_prompts_give_other_codes(model):
    input_ids, mask = make_texts(4, 6)
    drawn = sample_codes(
        model, input_ids[:1], mask[:1], num_images_per_prompt=2, top_k=24, generators=seeded(0, 1)
    ).codes
    other = sample_codes(model, input_ids[1:], mask[1:], top_k=24, generators=seeded(0)).codes
    assert not torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], other[0])
    assert drawn.shape == (2, 4, 5) and drawn.dtype == torch.int64


def test_guidance_of_one_is_the_plain_conditional_and_never_runs_the_unconditional_half(model, monkeypatch):
    input_ids, mask = make_texts(4, 6, 3)
    rows = []
    transform = M6Model.transform
    monkeypatch.setattr(M6Model, "transform", lambda self, x, *a: rows.append(len(x)) or transform(self, x, *a))
    plain = sample_codes(model, input_ids, mask, top_k=24, guidance_scale=1.0, generators=seeded(0, 1, 2)).codes
    assert rows == [3] + [4] * 20
    rows.clear()
    almost = sample_codes(
        model, input_ids, mask, top_k=24, guidance_scale=1.0 + 1e-12, generators=seeded(0, 1, 2)
    ).codes
    assert rows == [4] + [8] * 20
    assert torch.equal(plain, almost)


def test_guidance_follows_the_formula(model):
    input_ids, mask = make_texts(5)
    empty_ids, empty_mask = make_texts(0)
    codes = make_codes(1)
    with torch.no_grad():
        c = model(input_ids, mask, codes).code_logits
        u = model(empty_ids, empty_mask, codes).code_logits
    for scale in (0.0, 0.5, 3.0):
        with torch.inference_mode():
            walk = Generation(model, Sampling(1, 1.0, 1.0, scale), input_ids, mask, torch.arange(1))
            walk.codes[:] = codes
            guided = torch.stack([walk.start(0)[1], *(walk.predict(i)[1] for i in range(1, 20))], 1)
        torch.testing.assert_close(guided, u + scale * (c - u), rtol=0, atol=1e-4)


def test_top_k_of_one_is_greedy_whatever_the_seed_and_temperature(model):
    input_ids, mask = make_texts(4)
    first = sample_codes(model, input_ids, mask, top_k=1, generators=seeded(0)).codes.flatten(1)
    again = sample_codes(model, input_ids, mask, top_k=1, temperature=9.0, generators=seeded(7)).codes.flatten(1)
    cold = sample_codes(model, input_ids, mask, top_k=24, temperature=1e-30, generators=seeded(5)).codes.flatten(1)
    nucleus = sample_codes(model, input_ids, mask, top_k=24, top_p=1e-9, generators=seeded(5)).codes.flatten(1)
    with torch.no_grad():
        greedy = model(input_ids, mask, first).code_logits.argmax(-1)
    assert torch.equal(first, greedy)
    assert torch.equal(first, again) and torch.equal(first, cold) and torch.equal(first, nucleus)


def test_draws_follow_the_probabilities():
    logits = torch.tensor([[2.0, 0.0, 1.0, -1.0, 1.5]])
    uniform = torch.rand(40_000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for sampling, kept in (
        (Sampling(5, 1.0, 2.0, 1.0), [0, 1, 2, 3, 4]),
        (Sampling(3, 1.0, 1.0, 1.0), [0, 2, 4]),
        (Sampling(5, 0.7, 1.0, 1.0), [0, 4]),
    ):
        chosen = choose(logits.expand(40_000, -1), uniform, sampling)
        share = torch.bincount(chosen, minlength=5) / 40_000
        p = torch.full((5,), -torch.inf)
        p[kept] = logits[0, kept] / sampling.temperature
        torch.testing.assert_close(share, p.softmax(0), rtol=0, atol=0.01)


def test_a_picture_completed_from_its_own_codes_with_its_seed_is_the_same_picture(model):
    input_ids, mask = make_texts(4, 7)
    settings = {"top_k": 20, "guidance_scale": 1.5}
    whole = sample_codes(model, input_ids, mask, generators=seeded(0, 1), **settings)
    for n in (0, 1, 5, 19, 20):
        known = whole.codes.flatten(1)[:, :n]
        again = sample_codes(model, input_ids, mask, generators=seeded(0, 1), codes=known, **settings)
        assert torch.equal(again.codes, whole.codes)
        torch.testing.assert_close(again.log_likelihood, whole.log_likelihood)
    given = make_codes(2, 8)
    forced = sample_codes(model, input_ids, mask, generators=seeded(0, 1), codes=given, **settings).codes.flatten(1)
    assert torch.equal(forced[:, :8], given)


def test_the_likelihood_is_that_of_the_plain_model(model):
    input_ids, mask = make_texts(4, 7)
    sampled = sample_codes(
        model, input_ids, mask, top_k=9, temperature=2.0, guidance_scale=3.0, generators=seeded(0, 1)
    )
    codes = sampled.codes.flatten(1)
    with torch.no_grad():
        log_p = model(input_ids, mask, codes).code_logits.log_softmax(-1).gather(-1, codes[..., None])
    torch.testing.assert_close(sampled.log_likelihood, log_p.sum((1, 2)))


def test_on_step_sees_the_codes_grow_and_its_exception_passes(model):
    input_ids, mask = make_texts(4)
    seen = []
    final = sample_codes(
        model, input_ids, mask, top_k=9, generators=seeded(0), on_step=lambda step, codes: seen.append((step, codes))
    ).codes.flatten(1)
    assert [step for step, _ in seen] == list(range(20))
    assert all(torch.equal(codes, final[:, : step + 1]) for step, codes in seen)
    seen[0][1].add_(1)

    def stop(step, codes):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_codes(model, input_ids, mask, top_k=9, generators=seeded(0), on_step=stop)


def test_a_picture_of_one_or_two_codes_can_be_drawn():
    for height, width in ((1, 1), (2, 1), (1, 2)):
        model = tiny_model(code_height=height, code_width=width)
        codes = sample_codes(model, *make_texts(3), top_k=24, guidance_scale=2.0, generators=seeded(0)).codes
        assert codes.shape == (1, height, width)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_k": 0}, "top_k 0 must be a whole number from 1 to 24"),
        ({"top_k": 25}, "top_k 25 must be a whole number from 1 to 24"),
        ({"top_p": 0.0}, "top_p 0.0 must be above 0 and at most 1"),
        ({"top_p": 1.5}, "top_p 1.5 must be above 0 and at most 1"),
        ({"temperature": 0.0}, "temperature 0.0 must be above 0"),
        ({"temperature": float("nan")}, "temperature nan must be above 0"),
        ({"guidance_scale": -1.0}, "guidance_scale -1.0 must be 0 or more"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt 0 must be at least 1"),
        ({"num_images_per_prompt": 2}, "1 generators for 2 pictures"),
        ({"codes": torch.zeros(1, 21, dtype=torch.long)}, r"known codes \(1, 21\) must be \(1, 0 to 20\)"),
        ({"codes": torch.full((1, 2), 24)}, "known codes lie in 24..24, the codebook has 0..23"),
    ],
)
def test_values_outside_their_limits_are_refused(model, changes, message):
    with pytest.raises(ValueError, match=message):
        sample_codes(model, *make_texts(4), **{"top_k": 5, "generators": seeded(0), **changes})


def test_shared_generators_training_mode_and_broken_weights_are_refused(model):
    generator = seeded(0)[0]
    with pytest.raises(ValueError, match="given twice"):
        sample_codes(model, *make_texts(4, 4), top_k=5, generators=[generator, generator])
    with pytest.raises(ValueError, match="call model.eval"):
        sample_codes(tiny_model(dropout=0.1).train(), *make_texts(4), top_k=5, generators=seeded(0))
    broken = tiny_model()
    with torch.no_grad():
        broken.norm.weight[0] = torch.nan
    with pytest.raises(ValueError, match="predicts no numbers"):
        sample_codes(broken, *make_texts(4), top_k=5, generators=seeded(0))
