"""The loop: it learns, it resumes to the same losses however it was stopped, and it says what is wrong."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from toy_task import ToyTask

import recipes.loop as loop
from recipes.config import LoopConfig
from recipes.devices import autocast, has_fast_bf16
from recipes.loop import Run, learning_rate_share, save_atomically, train
from recipes.report import Report, time_left

ROOT = Path(__file__).parent.parent.parent
CONFIG = LoopConfig(steps=60, batch_size=8, learning_rate=0.01, log_steps=5, save_minutes=0.0, ema_decay=0.9)


def rows(directory: Path) -> list[tuple[float, ...]]:
    """The log without what depends on the clock."""
    lines = (directory / "log.jsonl").read_text("utf-8").splitlines()
    clock = ("minutes", "samples_per_second", "noise")
    return [tuple(v for k, v in json.loads(line).items() if k not in clock) for line in lines]


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


class Stopped(Exception):
    pass


def stop_at(task: ToyTask, step: int) -> None:
    """Makes the task break off in the middle of a step."""
    losses, calls = task.losses, iter(range(10_000))

    def breaking(indices: Tensor, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        if next(calls) == step:
            raise Stopped
        return losses(indices, generator, progress)

    task.losses = breaking  # type: ignore[method-assign]


def test_the_loss_falls(tmp_path: Path) -> None:
    task = ToyTask()
    model = train(task, replace(CONFIG, steps=200, save_minutes=1.0), tmp_path)
    first, last = rows(tmp_path)[0], rows(tmp_path)[-1]
    assert last[-1] < 0.1 < first[1]
    assert not model.training
    assert len(list((tmp_path / "samples").glob("*.png"))) == task.num_validations >= 10
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.parametrize("stop", [7, 25, 44])
def test_resume_equals_uninterrupted_bit_for_bit(tmp_path: Path, stop: int) -> None:
    whole = train(ToyTask(), CONFIG, tmp_path / "whole")
    broken = ToyTask()
    stop_at(broken, stop)
    with pytest.raises(Stopped):
        train(broken, CONFIG, tmp_path / "parts")
    assert torch.load(tmp_path / "parts" / "last.pt")["step"] == stop // 5 * 5
    resumed_task = ToyTask()
    resumed = train(resumed_task, CONFIG, tmp_path / "parts")
    assert same(whole, resumed)
    losses = [[row[:4] for row in rows(tmp_path / name) if len(row) > 2] for name in ("whole", "parts")]
    assert losses[0] == losses[1]


def test_the_adversary_and_its_statistics_resume_too(tmp_path: Path) -> None:
    run = Run(ToyTask(), CONFIG, tmp_path)
    for _ in range(40):
        run.train_step(0.7)
    run.save()
    again = Run(ToyTask(), CONFIG, tmp_path)
    assert same(run.task.adversary, again.task.adversary)  # type: ignore[attr-defined]
    for _ in range(3):
        first, second = run.train_step(0.8), again.train_step(0.8)
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_killed_run_resumes_to_the_same_losses(tmp_path: Path) -> None:
    """A process killed by SIGKILL, wherever it is then, perhaps while it saves."""
    script = (
        "import sys, time; sys.path[:0] = [sys.argv[2], sys.argv[3]]\n"
        "from pathlib import Path\nfrom toy_task import ToyTask\n"
        "from recipes.config import LoopConfig\nfrom recipes.loop import train\n"
        f"train(ToyTask(), LoopConfig(**{vars(replace(CONFIG, steps=4000))!r}), Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "killed"), str(ROOT), str(Path(__file__).parent)]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    log, deadline = tmp_path / "killed" / "log.jsonl", time.monotonic() + 600
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not (log.is_file() and log.read_text().count("\n") > 6):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL

    long = replace(CONFIG, steps=4000)
    resumed, whole = Run(ToyTask(), long, tmp_path / "killed"), Run(ToyTask(), long, tmp_path / "whole")
    assert 30 <= resumed.step < 4000
    for _ in range(resumed.step):
        whole.train_step(whole.progress)
    for _ in range(20):
        first, second = whole.train_step(whole.progress), resumed.train_step(resumed.progress)
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = train(ToyTask(), CONFIG, tmp_path)
    task = ToyTask()
    stop_at(task, 0)
    assert same(train(task, CONFIG, tmp_path), first)
    assert task.num_validations == 0


def test_the_average_lags_behind_the_model(tmp_path: Path) -> None:
    run = Run(ToyTask(), replace(CONFIG, ema_decay=0.5), tmp_path)
    run.train_step(0.1)
    before = run.ema.module[0].weight.clone()
    run.train_step(0.1)
    decay = min(0.5, 3 / 12)
    expected = decay * before + (1 - decay) * run.task.model[0].weight  # type: ignore[index]
    torch.testing.assert_close(run.ema.module[0].weight, expected)


def test_the_learning_rate_warms_up_and_decays() -> None:
    config = replace(CONFIG, warmup_share=0.1, final_learning_rate_share=0.02)
    shares = [learning_rate_share(i / 1000, config) for i in range(1001)]
    assert 0 < shares[0] < 0.02
    assert shares[100] == pytest.approx(1.0)
    assert all(a < b for a, b in zip(shares[:100], shares[1:101], strict=True))
    assert all(a > b for a, b in zip(shares[100:-1], shares[101:], strict=True))
    assert shares[-1] == pytest.approx(0.02)
    assert max(abs(a - b) for a, b in zip(shares, shares[1:], strict=False)) < 0.011
    assert learning_rate_share(0.0, replace(config, warmup_share=0.0)) == 1.0


def test_the_optimizers_follow_the_schedule(tmp_path: Path) -> None:
    run = Run(ToyTask(), CONFIG, tmp_path)
    run.train_step(0.6)
    share = learning_rate_share(0.6, CONFIG)
    rates = [group["lr"] for group in run.optimizers["loss"].param_groups]
    assert rates == [share * rate for rate in run.base_rates["loss"]]
    assert {CONFIG.learning_rate, CONFIG.muon_learning_rate} == set(run.base_rates["loss"])


def test_minutes_end_a_run_before_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    timed = replace(CONFIG, steps=1000, minutes=2.0)
    run = Run(ToyTask(), timed, tmp_path)
    assert run.progress == 0.0
    now[0] = 30.0
    assert run.progress == 0.25
    run.step = 500
    assert run.progress == 0.5
    run.save()
    now[0] = 1000.0
    resumed = Run(ToyTask(), timed, tmp_path)
    assert resumed.minutes == 0.5
    now[0] = 1060.0
    assert resumed.progress == 0.75
    now[0] = 1200.0
    assert resumed.progress == 1.0


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_truncated_checkpoint_is_a_value_error(tmp_path: Path, size: int) -> None:
    Run(ToyTask(), CONFIG, tmp_path).save()
    path = tmp_path / "last.pt"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="last.pt cannot be read.*delete it") as caught:
        train(ToyTask(), CONFIG, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_model_is_a_value_error(tmp_path: Path) -> None:
    Run(ToyTask(), CONFIG, tmp_path).save()
    with pytest.raises(ValueError, match="another recipe or model"):
        train(ToyTask(width=9), CONFIG, tmp_path)
    torch.save({"step": 3}, tmp_path / "last.pt")
    with pytest.raises(ValueError, match="another recipe or model"):
        train(ToyTask(), CONFIG, tmp_path)


def test_a_loss_that_is_no_number_stops_the_run_and_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="toy: loss is (nan|inf).*learning rates"):
        train(ToyTask(scale=math.inf), CONFIG, tmp_path)
    assert not (tmp_path / "last.pt").exists()


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    """A file-size limit stands for the full disk."""
    script = (
        "import resource, sys, torch; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\nfrom recipes.loop import save_atomically\n"
        "path = Path(sys.argv[1])\nsave_atomically({'step': 1}, path)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n    save_atomically({'step': 2, 'weights': torch.zeros(100_000)}, path)\n"
        "except ValueError as error:\n    print('refused:', error)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "last.pt"), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "last.pt cannot be written" in done.stdout, done.stderr
    assert torch.load(tmp_path / "last.pt") == {"step": 1}
    assert os.listdir(tmp_path) == ["last.pt"]


def test_saving_replaces_the_whole_file(tmp_path: Path) -> None:
    for step in (1, 2):
        save_atomically({"step": step}, tmp_path / "last.pt")
        assert torch.load(tmp_path / "last.pt") == {"step": step}
    assert os.listdir(tmp_path) == ["last.pt"]


def test_precision_follows_the_hardware() -> None:
    cpu = torch.device("cpu")
    matrix = torch.ones(2, 2)
    for precision, expected in (
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("auto", torch.bfloat16 if has_fast_bf16(cpu) else torch.float32),
    ):
        with autocast(precision, cpu):
            assert (matrix @ matrix).dtype == expected


def test_gradients_are_clipped(tmp_path: Path) -> None:
    """AdamW does not mind the size of a gradient unless it is far below its epsilon."""
    moved = {}
    for clip_norm in (1.0, 1e-14):
        run = Run(ToyTask(), replace(CONFIG, clip_norm=clip_norm), tmp_path / str(clip_norm))
        before = run.task.model[3].bias.clone()  # type: ignore[index]
        run.train_step(0.1)
        moved[clip_norm] = float((run.task.model[3].bias - before).detach().abs().max())  # type: ignore[index]
    assert moved[1e-14] < 1e-4 * moved[1.0]


def test_rows_after_the_checkpoint_and_half_rows_are_dropped(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (5, 10, 15, 20)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + '\n{"step": 25, "lo', "utf-8")
    with Report("toy", tmp_path, batch_size=8, first_step=10, first_progress=0.1) as report:
        report.add({"loss": torch.tensor(2.0)})
        report.add({"loss": torch.tensor(4.0)})
        report.write(15, 0.5, 0.2, report.means(), {})
    steps, losses = zip(*[(row[0], row[1]) for row in rows(tmp_path)], strict=True)
    assert steps == (5, 10, 15) and losses == (1.0, 1.0, 3.0)


@pytest.mark.parametrize(("seconds", "said"), [(41.2, "41 s"), (720, "12 min"), (12_600, "3.5 h")])
def test_time_left_is_said_in_a_fitting_unit(seconds: float, said: str) -> None:
    assert time_left(seconds) == said


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_learns_and_resumes(tmp_path: Path) -> None:
    broken = ToyTask()
    stop_at(broken, 60)
    with pytest.raises(Stopped):
        train(broken, replace(CONFIG, steps=200), tmp_path)
    model = train(ToyTask(), replace(CONFIG, steps=200), tmp_path)
    assert next(model.parameters()).is_cuda
    assert rows(tmp_path)[-1][-1] < 0.1
