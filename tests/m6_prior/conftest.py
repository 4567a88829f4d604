from __future__ import annotations

import pytest
from m6_tiny import tiny_model

from m6_prior import M6Model


@pytest.fixture(scope="session")
def model() -> M6Model:
    return tiny_model()
