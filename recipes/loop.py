"""The one training loop: train > step > forward-backward, with EMA, schedule, validation, checkpoints and resume.

What is trained is a Task. A step is a pure function of the weights, the seed and the step's number, so a run killed at
any moment resumes from its last checkpoint to the same losses (with `minutes`, to the same schedule of wall time).
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from recipes.config import LoopConfig
from recipes.data import batch_indices
from recipes.devices import autocast, choose_device, modules_of
from recipes.optimizers import build_optimizer
from recipes.report import Report


class Task(Protocol):
    """What the loop needs to know of a thing to train.

    The loop moves every module that the task holds to the device, and saves those that hold trained parameters; the
    task puts its batches where its model is.
    """

    name: str
    num_samples: int

    @property
    def model(self) -> nn.Module:
        """What is averaged, validated and exported."""

    def trained(self) -> dict[str, list[tuple[str, nn.Parameter]]]:
        """The named parameters that each loss trains: {"loss": [...], "discriminator_loss": [...]}."""

    def losses(self, indices: Tensor, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        """Scalars of one batch; the keys of `trained` are minimised, the rest are only logged.

        `indices` (B,) int64 and `generator` are on the CPU; `progress` in [0, 1) is the share of the run that is done.
        """

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Figures on the validation set."""

    def picture(self, model: nn.Module) -> Image.Image | None:
        """A sheet of samples to look at."""


def learning_rate_share(progress: float, config: LoopConfig) -> float:
    """Linear warm-up, then linear decay to `final_learning_rate_share`; `progress` in [0, 1]."""
    if progress < config.warmup_share:
        return (progress + 1e-3) / (config.warmup_share + 1e-3)
    rest = (1 - progress) / max(1 - config.warmup_share, 1e-9)
    return config.final_learning_rate_share + (1 - config.final_learning_rate_share) * max(rest, 0.0)


def save_atomically(state: Any, path: Path) -> None:
    """Writes a temporary neighbour, then renames it: `path` is the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ValueError(f"{path} cannot be written ({str(error).splitlines()[0]}); free some space") from None
    os.replace(temporary, path)


class Run:
    """State of one training run in `directory`: checkpoint `last.pt`, `samples/`."""

    def __init__(self, task: Task, config: LoopConfig, directory: Path) -> None:
        self.task, self.config, self.directory = task, config, directory
        self.checkpoint = directory / "last.pt"
        directory.mkdir(parents=True, exist_ok=True)
        self.device = choose_device()
        for module in modules_of(task).values():
            module.to(self.device)
        self.step, self.elapsed, self.started = 0, 0.0, time.monotonic()
        self.parameters = {key: [p for _, p in named if p.requires_grad] for key, named in task.trained().items()}
        rates = (config.learning_rate, config.muon_learning_rate, config.weight_decay)
        self.optimizers = {
            key: build_optimizer([(n, p) for n, p in named if p.requires_grad], *rates)
            for key, named in task.trained().items()
        }
        self.base_rates = {key: [g["lr"] for g in opt.param_groups] for key, opt in self.optimizers.items()}
        self.ema = AveragedModel(task.model, avg_fn=self._average)
        if self.checkpoint.is_file():
            self._load()

    def _average(self, averaged: Tensor, current: Tensor, count: Any) -> Tensor:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        return averaged.lerp(current, 1 - decay)

    @property
    def minutes(self) -> float:
        """Wall time of this run, earlier starts included."""
        return (self.elapsed + time.monotonic() - self.started) / 60

    @property
    def progress(self) -> float:
        """The share of the run that is done: of its steps or, where `minutes` ends it sooner, of its time."""
        share = self.step / self.config.steps
        if self.config.minutes > 0:
            share = max(share, self.minutes / self.config.minutes)
        return min(share, 1.0)

    def train_step(self, progress: float) -> dict[str, Tensor]:
        """One batch; returns its detached losses."""
        seed = self.config.seed * 7_919 + self.step
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        indices = batch_indices(self.task.num_samples, self.config.batch_size, self.step, self.config.seed)
        losses = self._forward_backward(indices, generator, progress)
        self.step += 1
        self.ema.update_parameters(self.task.model)
        return losses

    def _forward_backward(self, indices: Tensor, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        self.task.model.train()
        with autocast(self.config.precision, self.device):
            losses = self.task.losses(indices, generator, progress)
        minimised = [key for key in self.optimizers if key in losses]
        share = learning_rate_share(progress, self.config)
        for key in minimised:
            parameters, optimizer = self.parameters[key], self.optimizers[key]
            losses[key].backward(inputs=parameters, retain_graph=key != minimised[-1])
            nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
            for group, rate in zip(optimizer.param_groups, self.base_rates[key], strict=True):
                group["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return {key: value.detach() for key, value in losses.items()}

    def _saved_modules(self) -> dict[str, nn.Module]:
        trained = {id(p) for parameters in self.parameters.values() for p in parameters}
        modules = modules_of(self.task)
        return {name: m for name, m in modules.items() if any(id(p) in trained for p in m.parameters())}

    def save(self) -> None:
        state = {
            "step": self.step,
            "minutes": self.minutes,
            "modules": {name: module.state_dict() for name, module in self._saved_modules().items()},
            "ema": self.ema.state_dict(),
            "optimizers": {key: optimizer.state_dict() for key, optimizer in self.optimizers.items()},
        }
        save_atomically(state, self.checkpoint)

    def _load(self) -> None:
        remedy = f"delete it to start {self.task.name} again"
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(f"{self.checkpoint} cannot be read ({reason}); {remedy}") from None
        try:
            for name, module in self._saved_modules().items():
                module.load_state_dict(state["modules"][name])
            self.ema.load_state_dict(state["ema"])
            for key, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][key])
            self.step, self.elapsed = state["step"], 60 * state["minutes"]
        except (KeyError, TypeError, RuntimeError, ValueError):
            raise ValueError(f"{self.checkpoint} belongs to another recipe or model; {remedy}") from None

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The task's figures for the averaged model; its sheet goes to `samples/`."""
        averaged = self.ema.module.eval()
        figures = self.task.validate(averaged)
        sheet = self.task.picture(averaged)
        if sheet is not None:
            (self.directory / "samples").mkdir(exist_ok=True)
            sheet.save(self.directory / "samples" / f"{self.step:07d}.png")
        return figures


@torch.enable_grad()  # also when an evaluation, which needs none, trains its judge
def train(task: Task, config: LoopConfig, directory: Path) -> nn.Module:
    """Trains (or resumes) `task` and returns its averaged model in eval mode, on the device it was trained on.

    Raises ValueError for a checkpoint that cannot be read or written, and for a loss that is no number any more.
    """
    run = Run(task, config, directory)
    if run.progress >= 1.0:
        return run.ema.module.eval()
    next_validation = run.progress + config.validate_share if run.step else 0.0
    last_save, validated_step = time.monotonic(), 0
    with Report(task.name, directory, config.batch_size, run.step, run.progress) as report:
        while (progress := run.progress) < 1.0:
            report.add(run.train_step(progress))
            if run.step % config.log_steps:
                continue
            means, figures = report.means(), {}
            if progress >= next_validation:
                next_validation = progress + config.validate_share
                figures, validated_step = run.validate(), run.step
            report.write(run.step, run.minutes, progress, means, figures)
            if time.monotonic() - last_save > 60 * config.save_minutes:
                run.save()
                last_save = time.monotonic()
        means, figures = report.means(), run.validate() if validated_step < run.step else {}
        report.write(run.step, run.minutes, 1.0, means, figures)
        run.save()
    return run.ema.module.eval()
