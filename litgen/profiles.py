"""Two profiles: ``cpu`` runs a recipe's reduced config, ``gpu`` its full one.

Chapter: book/contributing.md.  Proof: tests/test_profiles.py.

This module is an edge: it may look at the environment and at the hardware.
"""

import os
import platform
from typing import Literal

import torch

from litgen.training import cpu_abilities

__all__ = ["Profile", "allowed", "configure", "device_for", "hardware"]

Profile = Literal["cpu", "gpu"]


def allowed() -> tuple[Profile, ...]:
    """Return the profiles that may be shown, best first, as LITGEN_PROFILE asks: auto, cpu or gpu.

    Unset or ``auto``: a published GPU run where a fresh one exists, else the CPU config.

    Raises:
        ValueError: the variable holds another word.
    """
    choices: dict[str, tuple[Profile, ...]] = {
        "auto": ("gpu", "cpu"),
        "cpu": ("cpu",),
        "gpu": ("gpu",),
    }
    word = os.environ.get("LITGEN_PROFILE") or "auto"
    if word not in choices:
        raise ValueError(f"unknown profile {word!r} in LITGEN_PROFILE; there are: auto, cpu, gpu")
    return choices[word]


def device_for(profile: Profile) -> torch.device:
    """Return the device on which a profile trains.

    Raises:
        ValueError: an unknown profile.
        RuntimeError: ``gpu`` on a machine where torch finds none.
    """
    if profile not in ("cpu", "gpu"):
        raise ValueError(f"unknown profile {profile!r}; there are: cpu, gpu")
    if profile == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError("the gpu profile needs a GPU that torch can use, and found none")
    return torch.device("cuda")


def configure() -> None:
    """Let float32 matrix products take the fast path; called by edges, never on import.

    On a GPU this allows TF32. On a CPU products go to oneDNN, which may round to bfloat16 where
    the processor has it; ``python -m benchmarks vae-step --quality`` measures what it does.
    """
    torch.set_float32_matmul_precision("high" if torch.cuda.is_available() else "medium")


def hardware(device: torch.device) -> str:
    """Name a device as provenance does: the GPU's name, or the processor and its threads."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    name = cpu_abilities().get("cpu_name") or platform.machine()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'' if threads == 1 else 's'}"
