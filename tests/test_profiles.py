"""Proof for litgen/profiles.py."""

import platform
from collections.abc import Iterator

import pytest
import torch

from litgen import profiles


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """Undo what configure sets for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (None, ("gpu", "cpu")),
        ("", ("gpu", "cpu")),
        ("auto", ("gpu", "cpu")),
        ("cpu", ("cpu",)),
        ("gpu", ("gpu",)),
    ],
)
def test_allowed_is_what_the_variable_asks_for(
    monkeypatch: pytest.MonkeyPatch, word: str | None, expected: tuple[str, ...]
) -> None:
    """Best first; unset and empty are auto."""
    if word is None:
        monkeypatch.delenv("LITGEN_PROFILE", raising=False)
    else:
        monkeypatch.setenv("LITGEN_PROFILE", word)
    assert profiles.allowed() == expected


@pytest.mark.parametrize("word", ["CPU", "tpu", "gpu,cpu", " cpu", "0"])
def test_another_word_is_an_error(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """Never a silent default: the message holds the word, the variable and the choices."""
    monkeypatch.setenv("LITGEN_PROFILE", word)
    with pytest.raises(ValueError, match="LITGEN_PROFILE; there are: auto, cpu, gpu") as caught:
        profiles.allowed()
    assert repr(word) in str(caught.value)


def test_the_device_of_each_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """``cpu`` stays on the CPU even beside a GPU; ``gpu`` without one is an error."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert profiles.device_for("cpu") == torch.device("cpu")
    assert profiles.device_for("gpu") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert profiles.device_for("cpu") == torch.device("cpu")
    with pytest.raises(RuntimeError, match="the gpu profile needs a GPU"):
        profiles.device_for("gpu")


def test_an_unknown_profile_has_no_device(unchecked: None) -> None:
    """Neither has ``auto``, which is a way to choose and no profile."""
    for word in ("auto", "tpu", ""):
        with pytest.raises(ValueError, match=f"unknown profile {word!r}; there are: cpu, gpu"):
            profiles.device_for(word)  # type: ignore[arg-type]


@pytest.mark.parametrize(("gpu", "precision"), [(True, "high"), (False, "medium")])
def test_configure_allows_the_fast_path(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, precision: str
) -> None:
    """TF32 on a GPU and no less; oneDNN on a CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        profiles.configure()
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)


def test_hardware_names_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its threads, on which the seconds depend; by torch's name or the platform's."""
    cpu = torch.device("cpu")
    monkeypatch.setattr(profiles, "cpu_abilities", lambda: {"cpu_name": "A Fine CPU"})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert profiles.hardware(cpu) == "A Fine CPU, 3 threads"
    monkeypatch.setattr(profiles, "cpu_abilities", dict)
    assert profiles.hardware(cpu) == f"{platform.machine()}, 3 threads"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Big GPU at {device}")
    assert profiles.hardware(torch.device("cuda")) == "Big GPU at cuda"
