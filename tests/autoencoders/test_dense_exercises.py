"""Solutions of book/autoencoders/dense.md, and what proves them."""

import math

import torch
from torch import Tensor

from litgen.autoencoders import linear
from litgen.density.pca import principal_angles


def spread(seed: int = 0, dims: int = 6) -> Tensor:
    """Return a covariance with eigenvalues far from each other."""
    generator = torch.Generator().manual_seed(seed)
    slant = torch.linalg.qr(torch.randn(dims, dims, generator=generator, dtype=torch.float64)).Q
    values = torch.tensor([9.0, 5.0, 3.0, 1.0, 0.5, 0.2], dtype=torch.float64)
    return slant * values @ slant.T


def error_without_a_code(x: Tensor) -> Tensor:
    """Return the mean squared error of the best constant image."""
    return (x - x.mean(dim=0)).square().sum(dim=1).mean()


def test_no_code_loses_the_whole_variance() -> None:
    """The best constant has the error of eq:ae-minimum with nothing kept; others have more."""
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 2
    found = error_without_a_code(x)
    torch.testing.assert_close(found, linear.lowest_error(linear.moments(x).covariance, 0))
    assert (x - x.mean(dim=0) - 0.1).square().sum(dim=1).mean() > found


def turned_error(covariance: Tensor, angle: float) -> Tensor:
    """Return the error with u1 and u3 kept, u3 turned towards u2."""
    u, _ = linear.principal_directions(covariance, 3)
    turned = math.cos(angle) * u[:, 2] + math.sin(angle) * u[:, 1]
    decoder = torch.stack([u[:, 0], turned], dim=1)
    return linear.mean_error(decoder.T, decoder, covariance)


def test_the_wrong_eigenvectors_are_a_saddle() -> None:
    """No slope by autograd; downhill by the known amount when turned."""
    covariance = spread()
    u, values = linear.principal_directions(covariance, 3)
    decoder = u[:, [0, 2]].clone().requires_grad_()
    encoder = u[:, [0, 2]].T.clone().requires_grad_()
    slopes = torch.autograd.grad(
        linear.mean_error(encoder, decoder, covariance), (encoder, decoder)
    )
    assert max(slope.abs().max().item() for slope in slopes) < 1e-10
    falls = turned_error(covariance, 0.0) - turned_error(covariance, 0.3)
    torch.testing.assert_close(falls, (values[1] - values[2]) * math.sin(0.3) ** 2)


def axes_from_codes(decoder: Tensor, code_covariance: Tensor) -> Tensor:
    """Return PCA's axes, the largest variance first, from a trained linear autoencoder."""
    basis, triangle = torch.linalg.qr(decoder)
    _, vectors = torch.linalg.eigh(triangle @ code_covariance @ triangle.T)
    return basis @ vectors.flip(1)


def test_axes_come_back() -> None:
    """Whatever basis the code had: the eigenvectors, up to sign."""
    covariance = spread()
    u, _ = linear.principal_directions(covariance, 3)
    generator = torch.Generator().manual_seed(4)
    mixed = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    decoder, encoder = u @ mixed.inverse(), mixed @ u.T
    found = axes_from_codes(decoder, encoder @ covariance @ encoder.T)
    torch.testing.assert_close((found * u).sum(dim=0).abs(), torch.ones(3, dtype=torch.float64))


def penalised_pair(covariance: Tensor, latent: int, kappa: float) -> tuple[Tensor, Tensor]:
    """Return encoder and decoder where error plus kappa times all squared weights is least."""
    generator = torch.Generator().manual_seed(0)
    shape = len(covariance), latent
    decoder = torch.randn(*shape, generator=generator, dtype=covariance.dtype).requires_grad_()
    encoder = torch.randn(*shape[::-1], generator=generator, dtype=covariance.dtype)
    pair = [encoder.requires_grad_(), decoder]
    optimizer = torch.optim.LBFGS(pair, max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        penalty = kappa * (pair[0].square().sum() + pair[1].square().sum())
        loss = linear.mean_error(*pair, covariance) + penalty
        loss.backward()
        return loss

    optimizer.step(closure)
    return pair[0].detach(), pair[1].detach()


def test_the_penalty_ties_encoder_and_decoder() -> None:
    """At the minimum each is the other's transpose, and the span is still PCA's."""
    covariance = spread()
    encoder, decoder = penalised_pair(covariance, 2, 0.1)
    torch.testing.assert_close(encoder, decoder.T, atol=1e-3, rtol=0)
    u, _ = linear.principal_directions(covariance, 2)
    assert principal_angles(u, decoder).max() < 1e-3
    assert decoder.abs().max() > 0.1
