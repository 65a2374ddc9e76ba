"""Proof for litgen/recipes/density_protocol.py: what the density chapters measure, and in what."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from litgen.data import faces, mnist
from litgen.data.sources import ImageSet, Record
from litgen.recipes import density_protocol as protocol


def images(count: int, side: int, seed: int) -> ImageSet:
    """Return random grey images."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (count, 1, side, side), generator=generator)
    record = Record("noise", "drawn", "none", "none", "none", {"train": count}, True)
    return ImageSet(values.to(torch.uint8), torch.zeros(count, dtype=torch.int64), record)


def test_dequantized_values_stay_within_their_level(generator: torch.Generator) -> None:
    """256 x lies in [grey, grey + 1), and the rest is uniform there."""
    grey = torch.arange(256, dtype=torch.uint8).repeat(200, 1)
    x = protocol.dequantize(grey, generator).double()
    rest = x * 256 - grey
    assert rest.min() >= 0
    assert rest.max() < 1
    assert 1e-4 < scipy.stats.kstest(rest.flatten().numpy(), "uniform").pvalue < 1 - 1e-4
    correlation = np.corrcoef(rest.numpy())  # images have noise of their own
    assert np.abs(correlation - np.eye(200)).max() < 6 / math.sqrt(256)


def test_the_largest_value_stays_below_one(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    """At both ends of what torch.rand can return, a level is not left."""
    for uniform in (0.0, 1 - 2**-24):
        monkeypatch.setattr(torch, "rand", lambda *_a, u=uniform, **_k: torch.full((2,), u))
        x = protocol.dequantize(torch.tensor([0, 255], dtype=torch.uint8), generator)
        assert x.dtype == torch.float32
        assert x[0].item() * 256 == pytest.approx(uniform, abs=2**-15)
        assert 255 / 256 <= x[1].item() < 1


def test_dequantize_draws_from_its_generator_alone() -> None:
    """The same generator gives the same noise, another one other noise; the global seed none."""
    grey = torch.full((3, 5), 7, dtype=torch.uint8)
    state = torch.get_rng_state()
    first, again, other = (
        protocol.dequantize(grey, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.usefixtures("unchecked")
def test_dequantize_refuses_what_is_not_bytes(generator: torch.Generator) -> None:
    """Values in 0..1 would be squeezed into the first level without a word."""
    with pytest.raises(ValueError, match=r"bytes, 0..255, not torch.float32"):
        protocol.dequantize(torch.zeros(2), generator)


def test_bits_are_the_code_length_of_a_density_that_is_flat_in_each_level() -> None:
    """Such a density *is* a distribution over levels: bits are its -log2, by scipy."""
    probability = scipy.stats.binom(255, 0.3).pmf(np.arange(256))
    levels = np.array([[70, 80, 90], [60, 77, 77]])
    log_density = np.log(probability[levels] * 256).sum(axis=1)  # of x in [0, 1)
    found = protocol.bits_per_pixel(torch.from_numpy(log_density), 3)
    expected = -np.log2(probability[levels]).mean(axis=1)
    torch.testing.assert_close(found, torch.from_numpy(expected))
    assert found[0] != found[1]


def test_a_uniform_density_needs_eight_bits() -> None:
    """log p = 0 everywhere: every level costs log2 256."""
    assert protocol.bits_per_pixel(torch.zeros(()), 784).item() == 8


def test_digits_are_the_first_ones_with_fixed_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images in their order, flattened row by row; seed 0 for training and 1 for testing."""
    sets = {"train": images(10_100, 2, 1), "test": images(2_100, 2, 2)}
    monkeypatch.setattr(mnist, "load", sets.__getitem__)
    train, test = protocol.grey_digits()
    check(train, sets["train"], 10_000, 0)
    check(test, sets["test"], 2_000, 1)


def test_faces_are_all_of_them_with_fixed_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 and 20 of them, the same way."""
    sets = {"train": images(80, 25, 3), "test": images(20, 25, 4)}
    monkeypatch.setattr(faces, "load", sets.__getitem__)
    train, test = protocol.grey_faces()
    check(train, sets["train"], 80, 0)
    check(test, sets["test"], 20, 1)


def check(found: Tensor, whole: ImageSet, count: int, seed: int) -> None:
    """Compare with numpy's arithmetic on the same uniform numbers."""
    side = whole.images.shape[-1]
    grey = whole.images[:count].reshape(count, side * side).double().numpy()
    uniform = torch.rand(count, side * side, generator=torch.Generator().manual_seed(seed)).numpy()
    assert found.shape == (count, side * side)
    np.testing.assert_allclose(found.double().numpy(), (grey + uniform) / 256, atol=2**-23)
