"""What a run tells: the progress line, `log.jsonl`, TensorBoard, and a stop when a loss is no number any more."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from torch import Tensor


def time_left(seconds: float) -> str:
    """41 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Report:
    """Collects the losses of the steps and writes them as means; they stay on the device until then.

    `first_step` and `first_progress`: where this start of the run goes on.
    """

    def __init__(self, name: str, directory: Path, batch_size: int, first_step: int, first_progress: float) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.name, self.batch_size, self.first_progress = name, batch_size, first_progress
        self.log = directory / "log.jsonl"
        self._forget_rows_after(first_step)
        self.writer = SummaryWriter(str(directory / "tensorboard"), purge_step=first_step + 1)
        self.console = Console()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
        self.bar = Progress(*columns, console=self.console, refresh_per_second=1)
        self.line = self.bar.add_task(name, total=1.0)
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.num_steps, self.loss, self.speed = 0, math.nan, 0.0
        self.started = self.began = time.monotonic()

    def _forget_rows_after(self, step: int) -> None:
        """A killed run may have logged steps that are done again now, or half a row."""
        if self.log.is_file():
            lines = self.log.read_text("utf-8").splitlines()
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
            self.log.write_text("".join(f"{line}\n" for line in kept), "utf-8")

    def __enter__(self) -> Report:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        self.writer.close()

    def add(self, losses: dict[str, Tensor]) -> None:
        """Scalars of one step."""
        self.num_steps += 1
        for key, value in losses.items():
            self.sums[key] = self.sums[key] + value if key in self.sums else value
            self.counts[key] = self.counts.get(key, 0) + 1

    def means(self) -> dict[str, float]:
        """Means since the last `write`, and the speed; raises ValueError where a loss is no number any more."""
        means = {key: float(total) / self.counts[key] for key, total in self.sums.items()}
        for key, value in means.items():
            if not math.isfinite(value):
                raise ValueError(f"{self.name}: {key} is {value}; lower the recipe's learning rates for this loop")
        if self.num_steps:
            means["samples_per_second"] = self.num_steps * self.batch_size / (time.monotonic() - self.began)
        return means

    def write(
        self, step: int, minutes: float, progress: float, means: dict[str, float], figures: dict[str, float]
    ) -> None:
        """One row of the log; where there are validation figures, one line on the console too."""
        numbers = {"minutes": minutes, **means, **figures}
        if means or figures:
            row = {"step": step, **{key: float(f"{value:.7g}") for key, value in numbers.items()}}
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        for key, value in {**means, **figures}.items():
            self.writer.add_scalar(key, value, step)
        now = time.monotonic()
        left = (now - self.started) * (1 - progress) / max(progress - self.first_progress, 1e-9)
        if means:
            self.loss, self.speed = means.get("loss", math.nan), means["samples_per_second"]
        state = f"{self.name} loss {self.loss:.4f}, {self.speed:.1f} samples/s, {time_left(left)} left"
        self.bar.update(self.line, completed=progress, description=state)
        if figures:
            others = {key: value for key, value in means.items() if key not in ("loss", "samples_per_second")}
            shown = " ".join(f"{key} {value:.4g}" for key, value in {**others, **figures}.items())
            self.console.print(f"step {step} ({100 * progress:.0f} %) {state}: {shown}", highlight=False)
        self.sums, self.counts, self.num_steps, self.began = {}, {}, 0, time.monotonic()
