"""The one training loop: train > step > forward-backward, with EMA, schedule, validation, checkpoints and resume.

What is trained is a Task. A run killed at any moment resumes from its last checkpoint to the same losses.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from recipes.config import LoopConfig
from recipes.data import batch_indices
from recipes.optimizers import build_optimizer


class Task(Protocol):
    """What the loop needs to know of a thing to train."""

    name: str
    model: nn.Module  # averaged, validated and exported
    num_samples: int

    def trained(self) -> dict[str, list[tuple[str, nn.Parameter]]]:
        """The named parameters that each loss trains: {"loss": [...], "discriminator_loss": [...]}."""

    def losses(self, indices: Tensor, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        """Scalars of one batch; the keys of `trained` are minimised, the rest are only logged."""

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
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


class Run:
    """State of one training run in `directory`: checkpoint `last.pt`, `log.jsonl`, TensorBoard, `samples/`."""

    def __init__(self, task: Task, config: LoopConfig, directory: Path) -> None:
        self.task, self.config, self.directory = task, config, directory
        directory.mkdir(parents=True, exist_ok=True)
        self.step, self.elapsed = 0, 0.0
        self.trained = {key: [(n, p) for n, p in named if p.requires_grad] for key, named in task.trained().items()}
        rates = (config.learning_rate, config.muon_learning_rate, config.weight_decay)
        self.optimizers = {key: build_optimizer(named, *rates) for key, named in self.trained.items()}
        self.base_rates = {key: [g["lr"] for g in opt.param_groups] for key, opt in self.optimizers.items()}
        self.ema = AveragedModel(task.model, avg_fn=self._average)
        self.started = time.monotonic()
        self.checkpoint = directory / "last.pt"
        if self.checkpoint.is_file():
            self._load()

    def _average(self, averaged: Tensor, current: Tensor, count: Any) -> Tensor:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        return averaged.lerp(current, 1 - decay)

    @property
    def progress(self) -> float:
        share = self.step / self.config.steps
        if self.config.minutes > 0:
            share = max(share, (self.elapsed + time.monotonic() - self.started) / (60 * self.config.minutes))
        return min(share, 1.0)

    def train_step(self, progress: float) -> dict[str, float]:
        config = self.config
        generator = torch.Generator().manual_seed(config.seed * 7_919 + self.step)
        torch.manual_seed(config.seed * 7_919 + self.step)
        indices = batch_indices(self.task.num_samples, config.batch_size, self.step, config.seed)
        self.task.model.train()
        losses = self.task.losses(indices, generator, progress)
        share = learning_rate_share(progress, config)
        for position, (key, optimizer) in enumerate(self.optimizers.items()):
            if key not in losses:
                continue
            parameters = [p for _, p in self.trained[key]]
            losses[key].backward(inputs=parameters, retain_graph=position + 1 < len(self.optimizers))
            nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            for group, rate in zip(optimizer.param_groups, self.base_rates[key], strict=True):
                group["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.ema.update_parameters(self.task.model)
        return {key: float(value.detach()) for key, value in losses.items()}

    def save(self) -> None:
        self.elapsed += time.monotonic() - self.started
        self.started = time.monotonic()
        state = {
            "step": self.step,
            "elapsed": self.elapsed,
            "model": self.task.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": {key: optimizer.state_dict() for key, optimizer in self.optimizers.items()},
            "others": {key: [p.detach() for _, p in named] for key, named in self.trained.items() if key != "loss"},
        }
        save_atomically(state, self.checkpoint)

    def _load(self) -> None:
        try:
            state = torch.load(self.checkpoint, weights_only=True)
        except Exception as error:
            raise ValueError(f"{self.checkpoint} cannot be read ({error}); delete it to start this stage again") from None
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.task.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for key, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][key])
        with torch.no_grad():
            for key, values in state["others"].items():
                for (_, parameter), value in zip(self.trained[key], values, strict=True):
                    parameter.copy_(value)

    def validate(self, log: dict[str, float]) -> dict[str, float]:
        averaged = self.ema.module.eval()
        with torch.no_grad():
            figures = self.task.validate(averaged)
            sheet = self.task.picture(averaged)
        if sheet is not None:
            (self.directory / "samples").mkdir(exist_ok=True)
            sheet.save(self.directory / "samples" / f"{self.step:07d}.png")
        row = {"step": self.step, "minutes": (self.elapsed + time.monotonic() - self.started) / 60, **log, **figures}
        with (self.directory / "log.jsonl").open("a") as file:
            file.write(json.dumps({k: round(v, 5) for k, v in row.items()}) + "\n")
        return figures


def train(task: Task, config: LoopConfig, directory: Path) -> nn.Module:
    """Trains (or resumes) `task` and returns its averaged model in eval mode."""
    from torch.utils.tensorboard import SummaryWriter

    run = Run(task, config, directory)
    writer = SummaryWriter(str(directory / "tensorboard"))
    next_validation = run.progress + config.validate_share if run.step else 0.0
    last_save, speed, means = time.monotonic(), 0.0, {}
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn())
    console = Console()
    with Progress(*columns, console=console, refresh_per_second=1) as bar:
        line = bar.add_task(task.name, total=1.0, completed=run.progress)
        while (progress := run.progress) < 1.0:
            began = time.monotonic()
            losses = run.train_step(progress)
            means = {k: 0.98 * means.get(k, v) + 0.02 * v for k, v in losses.items()}
            now = config.batch_size / (time.monotonic() - began)
            speed = now if speed == 0.0 else 0.95 * speed + 0.05 * now
            bar.update(line, completed=progress, description=f"{task.name} loss {means['loss']:.4f} {speed:.1f} samples/s")
            if progress >= next_validation:
                next_validation += config.validate_share
                figures = run.validate(means)
                for key, value in {**means, **figures, "samples_per_second": speed}.items():
                    writer.add_scalar(f"{task.name}/{key}", value, run.step)
                shown = " ".join(f"{k} {v:.4g}" for k, v in {**means, **figures}.items())
                console.print(f"{task.name} step {run.step} ({100 * progress:.0f} %, {speed:.1f} samples/s) {shown}")
            if time.monotonic() - last_save > 60 * config.save_minutes:
                run.save()
                last_save = time.monotonic()
    run.validate(means)
    run.save()
    writer.close()
    return run.ema.module.eval()
