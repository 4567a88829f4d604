"""Laws of the pipeline: seeds, batches, outputs, callbacks, partial pictures, and what it refuses."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pipelines import TextToImageOutput, TextToImagePipeline, UnknownWordsWarning

PROMPTS = ["红色高跟鞋", "蓝色西服", "条纹鞋"]


def draw(pipe: TextToImagePipeline, prompt: Any = PROMPTS[0], **settings: Any) -> TextToImageOutput:
    return pipe(prompt, **{"output_type": "pt", "progress": False, **settings})


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_the_same_seed_gives_the_same_picture_in_any_batch(pipe: TextToImagePipeline) -> None:
    alone = [draw(pipe, prompt, generator=seeded(7 + i)) for i, prompt in enumerate(PROMPTS)]
    for size in (2, 3):
        together = draw(pipe, PROMPTS[:size], generator=seeded(7, 8, 9)[:size])
        for i in range(size):
            assert torch.equal(together.codes[i], alone[i].codes[0])
            assert torch.equal(together.images[i], alone[i].images[0])
            assert torch.allclose(together.scores[i], alone[i].scores[0], rtol=1e-5)


def test_picture_i_gets_seed_plus_i_side_by_side_with_its_prompt(pipe: TextToImagePipeline) -> None:
    output = draw(pipe, PROMPTS[:2], num_images_per_prompt=2, seed=40)
    assert output.images.shape == (4, 3, 16, 16)
    assert output.codes.shape == (4, 4, 4) and output.scores.shape == (4,)
    for i in range(4):
        alone = draw(pipe, PROMPTS[i // 2], generator=seeded(40 + i)[0])
        assert torch.equal(output.images[i], alone.images[0])


def test_words_seeds_and_settings_change_the_picture(pipe: TextToImagePipeline) -> None:
    codes = draw(pipe, seed=1).codes
    others = [
        draw(pipe, PROMPTS[1], seed=1),
        draw(pipe, seed=2),
        draw(pipe, seed=1, top_k=1),
        draw(pipe, seed=1, top_p=0.2),
        draw(pipe, seed=1, temperature=3.0),
        draw(pipe, seed=1, guidance_scale=4.0),
    ]
    assert not any(torch.equal(codes, other.codes) for other in others)
    assert torch.equal(codes, draw(pipe, seed=1).codes), "a call changed the defaults"


def test_a_call_without_settings_uses_the_defaults(make_pipe: Callable[..., TextToImagePipeline]) -> None:
    settings: dict[str, Any] = {"top_k": 3, "top_p": 0.9, "temperature": 1.3, "guidance_scale": 2.5}
    implied, said = draw(make_pipe(**settings), seed=3), draw(make_pipe(), seed=3, **settings)
    assert torch.equal(implied.images, said.images)


def test_one_generator_seeds_all_pictures_and_is_used_up(pipe: TextToImagePipeline) -> None:
    generator = seeded(5)[0]
    first, second = (draw(pipe, generator=generator, num_images_per_prompt=3).codes for _ in range(2))
    again = draw(pipe, generator=seeded(5)[0], num_images_per_prompt=3).codes
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert len(first.unique(dim=0)) == 3


def test_without_a_seed_the_global_generator_decides(pipe: TextToImagePipeline) -> None:
    torch.manual_seed(3)
    first, second = draw(pipe).codes, draw(pipe).codes
    torch.manual_seed(3)
    assert torch.equal(first, draw(pipe).codes) and not torch.equal(first, second)


def test_the_three_output_types_agree(pipe: TextToImagePipeline) -> None:
    kinds = ("pt", "np", "pil")
    tensors, arrays, pictures = (draw(pipe, PROMPTS, seed=4, output_type=kind).images for kind in kinds)
    assert isinstance(tensors, torch.Tensor) and isinstance(arrays, np.ndarray)
    assert tensors.dtype == torch.float32 and 0 <= float(tensors.min()) < float(tensors.max()) <= 1
    assert arrays.shape == (3, 16, 16, 3) and np.array_equal(arrays, tensors.permute(0, 2, 3, 1).numpy())
    for picture, array in zip(pictures, arrays, strict=True):
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture), (array * 255).round().astype(np.uint8))


def test_the_codes_decode_to_the_pictures(pipe: TextToImagePipeline) -> None:
    output = draw(pipe, PROMPTS, seed=4)
    assert output.codes.dtype == torch.int64
    assert torch.equal(pipe.decode(output.codes), output.images)
    assert not output.images.requires_grad and not output.images.is_inference()


def test_likelier_codes_score_higher(pipe: TextToImagePipeline) -> None:
    safe, wild = draw(pipe, seed=0, top_k=1, guidance_scale=1.0), draw(pipe, seed=0, temperature=50.0)
    assert float(wild.scores[0]) < float(safe.scores[0]) <= 0


def test_the_callback_sees_every_step(pipe: TextToImagePipeline) -> None:
    seen: list[tuple[Any, int, int, torch.Tensor]] = []

    def look(who: Any, step: int, step_count: int, state: dict[str, torch.Tensor]) -> None:
        seen.append((who, step, step_count, state["codes"]))

    output = draw(pipe, PROMPTS[:2], seed=1, callback_on_step_end=look)
    assert [step for _, step, _, _ in seen] == list(range(16))
    for who, step, step_count, codes in seen:
        assert who is pipe and step_count == 16
        assert torch.equal(codes, output.codes.flatten(1)[:, : step + 1])


@pytest.mark.parametrize("given", [1, 4, 7])
def test_known_codes_are_kept_and_a_seed_completes_its_picture(pipe: TextToImagePipeline, given: int) -> None:
    whole = draw(pipe, seed=6)
    known = whole.codes.flatten(1)[:, :given]
    assert torch.equal(draw(pipe, seed=6, codes=known).images, whole.images)
    other = draw(pipe, seed=7, codes=known).codes.flatten(1)
    assert torch.equal(other[:, :given], known) and not torch.equal(other, whole.codes.flatten(1))


def test_known_codes_may_be_rows(pipe: TextToImagePipeline) -> None:
    whole = draw(pipe, seed=6)
    assert torch.equal(draw(pipe, seed=6, codes=whole.codes[:, :2]).images, whole.images)


def test_parts_in_training_mode_draw_without_dropout(pipe: TextToImagePipeline) -> None:
    expected = draw(pipe, seed=1).images
    parts = (pipe.vqgan.train(), pipe.prior.train(), pipe.tokenizer)
    rebuilt = TextToImagePipeline(*parts, top_k=16, guidance_scale=1.5)
    assert torch.equal(draw(rebuilt, seed=1).images, expected)


def test_unknown_words_are_said_and_change_nothing(pipe: TextToImagePipeline) -> None:
    with pytest.warns(UnknownWordsWarning, match="cannot change the picture: 猫, 锟$") as caught:
        output = draw(pipe, "红色猫高跟鞋锟", seed=1)
    assert caught[0].filename == __file__
    assert torch.equal(output.codes, draw(pipe, "红色高跟鞋", seed=1).codes)


def test_known_words_warn_of_nothing(pipe: TextToImagePipeline, recwarn: pytest.WarningsRecorder) -> None:
    draw(pipe, PROMPTS, seed=1)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("prompt", "settings", "message"),
    [
        ("", {}, "empty"),
        ("   ", {}, "empty"),
        (["红色鞋", ""], {}, "empty"),
        ([], {}, "list of prompts is empty"),
        (["红色鞋", 3], {}, "prompt 3 must be a text, not int"),
        (None, {}, "prompt None must be a text"),
        ("红\ud800", {}, "not valid Unicode"),
        ("红" * 11, {}, "13 tokens .* limit is 12"),
        ("猫狗", {}, "'猫狗' has no word that the model knows"),
        ("红色鞋", {"top_k": 0}, "top_k 0 must be .* 1 to 24"),
        ("红色鞋", {"top_k": 25}, "top_k 25 must be .* 1 to 24"),
        ("红色鞋", {"top_k": 2.5}, "top_k 2.5 must be a whole number"),
        ("红色鞋", {"top_p": 0.0}, "top_p 0.0 must be above 0"),
        ("红色鞋", {"top_p": 1.5}, "top_p 1.5"),
        ("红色鞋", {"temperature": 0.0}, "temperature 0.0 must be above 0"),
        ("红色鞋", {"temperature": float("nan")}, "temperature nan must be a number"),
        ("红色鞋", {"guidance_scale": -1.0}, "guidance_scale -1.0"),
        ("红色鞋", {"guidance_scale": "2"}, "guidance_scale '2' must be a number"),
        ("红色鞋", {"num_images_per_prompt": 0}, "num_images_per_prompt 0 must be at least 1"),
        ("红色鞋", {"num_images_per_prompt": 1.5}, "num_images_per_prompt 1.5"),
        ("红色鞋", {"generator": seeded(1, 2)}, "2 generators for 1 pictures"),
        ("红色鞋", {"generator": seeded(1) * 2, "num_images_per_prompt": 2}, "given twice"),
        ("红色鞋", {"generator": seeded(1), "seed": 1}, "give one of them"),
        ("红色鞋", {"seed": -1}, "seed -1 must be a whole number from 0"),
        ("红色鞋", {"seed": 1 << 63}, "must be a whole number from 0"),
        ("红色鞋", {"output_type": "jpg"}, "output_type 'jpg' is unknown; choose pil, np, pt"),
        ("红色鞋", {"codes": torch.zeros(2, 4, dtype=torch.int64)}, r"codes \(2, 4\) must be \(1, n\)"),
        ("红色鞋", {"codes": torch.zeros(1, 2, 5, dtype=torch.int64)}, r"\(1, rows, 4\)"),
        ("红色鞋", {"codes": torch.zeros(1, 16, dtype=torch.int64)}, "16 of 16 a picture"),
        ("红色鞋", {"codes": torch.full((1, 4), 24)}, "24"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    pipe: TextToImagePipeline, prompt: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        draw(pipe, prompt, **settings)
    assert "\n" not in str(caught.value)


def test_the_bar_goes_to_stderr_and_only_when_asked(
    pipe: TextToImagePipeline, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    draw(pipe, seed=1)
    assert capfd.readouterr() == ("", "")
    draw(pipe, seed=1, progress=True)
    out, err = capfd.readouterr()
    assert out == "" and "codes" in err


def test_a_preview_shows_what_is_drawn_and_leaves_the_rest_white(pipe: TextToImagePipeline) -> None:
    codes = draw(pipe, PROMPTS[:2], seed=1).codes
    final = np.stack(list(map(np.asarray, draw(pipe, PROMPTS[:2], seed=1, output_type="pil").images)))
    previews = np.stack(list(map(np.asarray, pipe.preview(codes.flatten(1)[:, :6]))))
    assert previews.shape == final.shape
    assert (previews[:, 8:] == 255).all() and (previews[:, 4:8, 8:] == 255).all()
    assert (previews[:, :4] != 255).any() and (previews[:, 4:8, :8] != 255).any()
    whole = np.stack(list(map(np.asarray, pipe.preview(codes))))
    assert np.array_equal(whole, final)
    assert all((np.asarray(picture) == 255).all() for picture in pipe.preview(codes[:, :0]))


def test_a_stream_ends_in_the_picture_of_a_call(pipe: TextToImagePipeline) -> None:
    pipe.prior.code_head.register_forward_hook(lambda *_: time.sleep(0.02))  # so that the reader keeps up
    *parts, last = pipe.stream(PROMPTS[0], seed=9, every_rows=1)
    shares = [part.share_done for part in parts]
    assert shares[0] == 0.25 and shares == sorted(set(shares)) and last.share_done == 1.0
    called = draw(pipe, seed=9, output_type="pil")
    assert last.output is not None and torch.equal(last.output.codes, called.codes)
    assert last.images[0].tobytes() == called.images[0].tobytes()
    for part in parts:
        assert part.output is None
        done = round(part.share_done * 4)
        expected = pipe.preview(called.codes[:, :done])
        assert part.images[0].tobytes() == expected[0].tobytes() != last.images[0].tobytes()


def test_a_slow_reader_of_a_stream_skips_what_is_overtaken(pipe: TextToImagePipeline) -> None:
    stream = pipe.stream(PROMPTS[0], seed=9, every_rows=1)
    next(stream)
    time.sleep(1.0)
    assert next(stream).share_done == 1.0


def test_leaving_a_stream_stops_the_drawing(pipe: TextToImagePipeline) -> None:
    steps: list[float] = []

    def count(*_: Any) -> None:
        steps.append(time.monotonic())
        time.sleep(0.05)

    pipe.prior.code_head.register_forward_hook(count)
    threads = threading.active_count()
    stream = pipe.stream(PROMPTS[0], seed=9, every_rows=1)
    next(stream)
    stream.close()
    assert threading.active_count() == threads and len(steps) < 16


def test_a_stream_raises_what_a_call_raises(pipe: TextToImagePipeline) -> None:
    with pytest.raises(ValueError, match="empty"):
        list(pipe.stream(""))
    with pytest.raises(ValueError, match="every_rows 0"):
        list(pipe.stream(PROMPTS[0], every_rows=0))
