"""Laws that hold bit for bit are tested on the CPU, also where there is a GPU."""

import pytest
import torch


@pytest.fixture(autouse=True)
def on_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "gpu" not in request.keywords:
        monkeypatch.setattr("recipes.loop.choose_device", lambda: torch.device("cpu"))
