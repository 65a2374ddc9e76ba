"""Proof for litgen/autoencoders/convolutional.py: torch's layers, Fourier sums, loops."""

import random

import pytest
import torch
from torch import nn

from litgen.autoencoders import convolutional as module
from litgen.autoencoders.convolutional import ConvAutoencoder
from tests import oracles


def test_sizes_are_those_of_torchs_layers() -> None:
    """eq:cae-size, eq:cae-transposed and eq:cae-missing: down and up again, for many settings."""
    chosen = random.Random(0)
    seen = set()
    for _ in range(150):
        kernel, stride = chosen.randint(1, 5), chosen.randint(1, 4)
        padding = chosen.randint(0, (kernel - 1) // 2)
        size = chosen.randint(kernel, 40)
        x = torch.rand(1, 1, size, size)
        down = nn.Conv2d(1, 1, kernel, stride, padding)(x)
        small = module.smaller(size, kernel, stride, padding)
        assert down.shape[-1] == small
        extra = module.missing(size, kernel, stride, padding)
        plain = nn.ConvTranspose2d(1, 1, kernel, stride, padding)(down)
        assert plain.shape[-1] == module.transposed(small, kernel, stride, padding)
        back = nn.ConvTranspose2d(1, 1, kernel, stride, padding, extra)(down)
        assert back.shape[-1] == size == module.transposed(small, kernel, stride, padding, extra)
        seen.add(extra)
    assert seen == {0, 1, 2, 3}


def test_what_comes_out_has_the_size_of_what_went_in() -> None:
    """Any height and width, odd or even, any depth: the same shape, or a refusal that says why."""
    chosen = random.Random(1)
    refused = 0
    for _ in range(60):
        height, width = chosen.randint(1, 37), chosen.randint(1, 37)
        depth, kernel, inputs = chosen.randint(1, 4), chosen.choice((3, 4)), chosen.choice((1, 3))
        channels = [2, 3, 4, 5][:depth]
        if kernel == 4 and min(height, width) < 2**depth:
            with pytest.raises(ValueError, match="too few for a kernel of 4"):
                ConvAutoencoder(height, width, channels, 3, kernel, inputs)
            refused += 1
            continue
        model = ConvAutoencoder(height, width, channels, 3, kernel, inputs)
        x = torch.rand(2, inputs, height, width)
        assert model.encode(x).shape == (2, 3)
        assert model(x).shape == x.shape
    assert 5 < refused < 40


def test_bad_input_is_named() -> None:
    """An image too small, another size than the network's, another kernel."""
    with pytest.raises(ValueError, match="an image of 5 pixels has 1 left before layer 3 of 3"):
        module.sizes(5, 3, 4)
    assert module.sizes(29, 3, 4) == [29, 14, 7, 3]
    assert module.sizes(29, 3, 3) == [29, 15, 8, 4]
    with pytest.raises(ValueError, match=r"a kernel of 5 does not fit into 2 pixels, padded by 1"):
        module.smaller(2, 5)
    with pytest.raises(ValueError, match=r"made for images of \(1, 9, 12\), got \(1, 12, 9\)"):
        ConvAutoencoder(9, 12, (2,))(torch.rand(1, 1, 12, 9))
    for kernel, channels in ((5, (2,)), (4, ()), (4, (0,))):
        with pytest.raises(ValueError, match=f"kernel {kernel}"):
            ConvAutoencoder(9, 9, channels, 2, kernel)


def test_every_weight_is_reached_and_images_are_grey() -> None:
    """Encoder and decoder are used whole; pixels lie between 0 and 1 and vary."""
    torch.manual_seed(0)
    model = ConvAutoencoder(11, 8, (4, 6), 3)
    x = torch.rand(5, 1, 11, 8)
    y = model(x)
    torch.testing.assert_close(y, model.decode(model.encode(x)))
    assert y.min() > 0
    assert y.max() < 1
    assert y.std() > 0
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_the_lattice_is_three_fourier_coefficients() -> None:
    """eq:cae-lattice: power at half the sampling rate, down, across and both, by the FFT."""
    x = torch.rand(4, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    waves = torch.fft.fft2(x) / 48
    expected = sum(waves[:, r, c].abs().square() for r, c in ((3, 0), (0, 4), (3, 4)))
    torch.testing.assert_close(module.lattice_energy(x), expected)
    odd = torch.cat([x, 9 * torch.ones(4, 1, 8, dtype=x.dtype)], dim=1)
    torch.testing.assert_close(module.lattice_energy(odd), expected)
    assert module.lattice_energy(x + 5).allclose(expected)
    with pytest.raises(ValueError, match="at least 2 rows"):
        module.lattice_energy(torch.zeros(1, 8))


@pytest.mark.parametrize(("kernel", "expected"), [(4, 0.0), (3, 19 / 16)])
def test_an_even_kernel_of_ones_makes_no_lattice(kernel: int, expected: float) -> None:
    """eq:cae-lattice by hand: 1, 2, 2 and 4 inputs meet under a kernel of 3, four under 4."""
    ones = torch.ones(9, 9, dtype=torch.float64)
    spread = oracles.transposed_ones(ones, kernel, 2, 1)
    inner = spread[2:-2, 2:-2] if kernel == 4 else spread[2:-3, 2:-3]
    assert module.lattice_energy(inner).item() == pytest.approx(expected)


def test_the_noisy_loss_by_loops() -> None:
    """eq:cae-noisy: sums over pixels and codes; without noise and weight the plain loss."""
    torch.manual_seed(0)
    model = ConvAutoencoder(6, 5, (3,), 2)
    x = torch.rand(4, 1, 6, 5)
    noise = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    found = module.noisy_loss(x, model.encode, model.decode, noise, 0.7)
    for i in range(4):
        z = model.encode(x[i : i + 1])[0]
        image = model.decode((z + noise[i])[None])[0, 0]
        error = sum((x[i, 0, r, c] - image[r, c]).item() ** 2 for r in range(6) for c in range(5))
        expected = error + 0.7 * sum(v**2 for v in z.tolist())
        assert found[i].item() == pytest.approx(expected, rel=1e-5)
    plain = module.noisy_loss(x, model.encode, model.decode, 0 * noise, 0.0)
    torch.testing.assert_close(plain, (model(x) - x).square().sum(dim=(1, 2, 3)))
    assert (found - plain).abs().min() > 1e-5
    with pytest.raises(ValueError, match=r"codes \(4, 2\), noise \(2,\)"):
        module.noisy_loss(x, model.encode, model.decode, noise[0], 0.7)
    with pytest.raises(ValueError, match=r"weight -1\.0"):
        module.noisy_loss(x, model.encode, model.decode, noise, -1.0)
