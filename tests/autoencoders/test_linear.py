"""Proof for litgen/autoencoders/linear.py: autograd, scikit-learn's PCA, brute force over data."""

import itertools
import math

import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from litgen.autoencoders import linear


def data(count: int = 40, dims: int = 6, seed: int = 0) -> Tensor:
    """Return data with unlike variances along slanted directions, far from the origin."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(2.0, 0.3, dims, dtype=torch.float64)
    x = torch.randn(count, dims, generator=generator, dtype=torch.float64) * scale
    slant = torch.randn(dims, dims, generator=generator, dtype=torch.float64)
    return x @ torch.linalg.qr(slant).Q + torch.arange(dims)


def matrices(dims: int = 6, latent: int = 2, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return an encoder and a decoder."""
    generator = torch.Generator().manual_seed(seed)
    encoder = torch.randn(latent, dims, generator=generator, dtype=torch.float64)
    return encoder, torch.randn(dims, latent, generator=generator, dtype=torch.float64)


def test_moments_are_sums_over_data() -> None:
    """Mean and 1/N covariance, by loops."""
    x = data()
    found = linear.moments(x)
    rows = x.tolist()
    mean = [sum(row[i] for row in rows) / len(rows) for i in range(6)]
    for i, j in itertools.product(range(6), repeat=2):
        term = sum((row[i] - mean[i]) * (row[j] - mean[j]) for row in rows) / len(rows)
        assert found.covariance[i, j].item() == pytest.approx(term, abs=1e-12)
    assert found.mean.tolist() == pytest.approx(mean)


def test_the_error_is_that_of_every_datum_with_the_best_offsets() -> None:
    """eq:ae-linear-error and eq:ae-centred: no offsets do better than those that centre."""
    x, (encoder, decoder) = data(), matrices()
    mean, covariance = linear.moments(x)
    found = linear.mean_error(encoder, decoder, covariance)
    errors = [(row - mean - decoder @ (encoder @ (row - mean))).square().sum().item() for row in x]
    assert found.item() == pytest.approx(sum(errors) / len(errors))
    inner = torch.randn(2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    codes = x @ encoder.T + inner
    best = (x - codes @ decoder.T).mean(dim=0)  # the offset of least squares
    again = (x - codes @ decoder.T - best).square().sum(dim=1).mean()
    torch.testing.assert_close(again, found)
    worse = (x - codes @ decoder.T - best - 0.1).square().sum(dim=1).mean()
    assert worse > found


def test_best_encoder_has_no_gradient_left() -> None:
    """eq:ae-best-encoder: autograd finds no slope there, and no encoder nearby is better."""
    covariance = linear.moments(data()).covariance
    _, decoder = matrices()
    encoder = linear.best_encoder(decoder).requires_grad_()
    error = linear.mean_error(encoder, decoder, covariance)
    (slope,) = torch.autograd.grad(error, encoder)
    assert slope.abs().max() < 1e-12
    moved = encoder.detach() + 0.01 * matrices(seed=3)[0]
    assert linear.mean_error(moved, decoder, covariance) > error
    through = decoder @ encoder.detach()
    torch.testing.assert_close(through @ through, through)
    torch.testing.assert_close(through, through.T)


def test_best_decoder_is_the_regression_on_the_codes() -> None:
    """eq:ae-best-decoder: least squares on the data themselves gives the same matrix."""
    x = data()
    mean, covariance = linear.moments(x)
    encoder, _ = matrices()
    found = linear.best_decoder(encoder, covariance)
    solved = torch.linalg.lstsq((x - mean) @ encoder.T, x - mean).solution
    torch.testing.assert_close(found, solved.T)
    assert found.std() > 0.1


@pytest.mark.parametrize("latent", [0, 1, 3, 6])
def test_the_lowest_error_is_pcas(latent: int) -> None:
    """eq:ae-minimum: scikit-learn's PCA reaches it on the data, random matrices never do."""
    x = data()
    covariance = linear.moments(x).covariance
    found = linear.lowest_error(covariance, latent).item()
    if latent == 0:
        assert found == pytest.approx(covariance.trace().item())
        return
    pca = PCA(latent).fit(x.numpy())
    back = torch.from_numpy(pca.inverse_transform(pca.transform(x.numpy())))
    assert found == pytest.approx((x - back).square().sum(dim=1).mean().item(), abs=1e-10)
    for seed in range(20):
        _, decoder = matrices(latent=latent, seed=seed)
        encoder = linear.best_encoder(decoder)
        assert linear.mean_error(encoder, decoder, covariance) >= found - 1e-10


def test_any_change_of_the_codes_basis_leaves_the_error() -> None:
    """eq:ae-gauge: G A and W / G compute the same; the span is what counts."""
    covariance = linear.moments(data()).covariance
    encoder, decoder = matrices()
    basis = torch.tensor([[2.0, 1.0], [-0.5, 0.3]], dtype=torch.float64)
    plain = linear.mean_error(encoder, decoder, covariance)
    turned = linear.mean_error(basis @ encoder, decoder @ basis.inverse(), covariance)
    torch.testing.assert_close(turned, plain)


def test_principal_directions_are_scikit_learns() -> None:
    """The same spans and variances (with 1/N), sorted."""
    x = data()
    directions, variances = linear.principal_directions(linear.moments(x).covariance, 4)
    pca = PCA(4).fit(x.numpy())
    scaled = pca.explained_variance_ * (len(x) - 1) / len(x)
    assert variances.tolist() == pytest.approx(scaled.tolist())
    cosines = (directions * torch.from_numpy(pca.components_).T).sum(dim=0).abs()
    torch.testing.assert_close(cosines, torch.ones_like(cosines))


def test_alternating_is_the_power_method() -> None:
    """eq:ae-power: a round multiplies the span by the covariance; the angle shrinks by a ratio."""
    covariance = linear.moments(data()).covariance
    _, decoder = matrices()
    powered, errors = decoder, []
    rounds = linear.alternate(decoder, covariance)
    for encoder, found in itertools.islice(rounds, 60):
        powered = torch.linalg.qr(covariance @ powered).Q
        outside = torch.linalg.qr(found).Q - powered @ (powered.T @ torch.linalg.qr(found).Q)
        assert outside.abs().max() < 1e-7
        errors.append(linear.mean_error(encoder, found, covariance).item())
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(errors))
    values = torch.linalg.eigvalsh(covariance).flip(0)
    floor = linear.lowest_error(covariance, 2).item()
    ratio = (errors[13] - floor) / (errors[12] - floor)  # an error goes with the angle's square
    assert ratio == pytest.approx((values[2] / values[1]).item() ** 2, rel=0.02)
    assert not math.isclose(ratio, 1, abs_tol=0.05)


def test_bad_input_is_named() -> None:
    """Matrices that do not fit, codes that are too wide, data that are not finite."""
    covariance = linear.moments(data()).covariance
    encoder, _ = matrices()
    with pytest.raises(ValueError, match=r"encoder \(2, 6\), decoder \(2, 6\)"):
        linear.mean_error(encoder, encoder, covariance)
    with pytest.raises(ValueError, match="do not fit"):
        linear.best_decoder(encoder, covariance[:5, :5])
    for latent in (-1, 7):
        with pytest.raises(ValueError, match="0 to 6 numbers"):
            linear.lowest_error(covariance, latent)
    for latent in (0, 7):
        with pytest.raises(ValueError, match="1 to 6 directions"):
            linear.principal_directions(covariance, latent)
    with pytest.raises(ValueError, match="finite data"):
        linear.moments(torch.full((3, 2), torch.nan))
    with pytest.raises(ValueError, match="at least 2"):
        linear.moments(torch.ones(1, 2))
