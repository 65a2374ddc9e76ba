"""What all proofs share: one thread, a cache of their own, no network, seeded doubles.

Shapes in litgen's signatures are checked at run time while the tests run (see pyproject.toml).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from jaxtyping import config as jaxtyping_config
from torch import Tensor

torch.set_num_threads(1)


@pytest.fixture
def real_data() -> None:
    """Ask for this fixture by name to read real data: the environment then stays as it is."""


@pytest.fixture(autouse=True)
def _apart(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Keep every test off the user's cache, runs and data, and off the network."""
    if "real_data" in request.fixturenames:
        return
    monkeypatch.setenv("LITGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    for name in ("LITGEN_DATA", "LITGEN_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _full_precision() -> None:
    """Start every test with torch's own matrix products, whatever an earlier training set."""
    torch.set_float32_matmul_precision("highest")


@pytest.fixture
def normal() -> Callable[..., Tensor]:
    """Return ``normal(*shape)``: seeded standard normal doubles, never twice the same."""
    generator = torch.Generator().manual_seed(20140416)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def generator() -> torch.Generator:
    """Return a seeded generator for functions that draw."""
    return torch.Generator().manual_seed(7)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switch the run-time shape checks off: errors then come from litgen, as users see them."""
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", False)
