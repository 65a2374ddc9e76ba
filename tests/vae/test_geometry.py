"""Proof for litgen/vae/geometry.py: maps whose metric, volume and length are known by heart."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence

from litgen.vae import geometry
from litgen.vae.convolutional import TransposedDecoder
from tests import oracles

Draw = Callable[..., Tensor]


def sphere(z: Tensor) -> Tensor:
    """Map latitude and longitude to a sphere of radius 2."""
    latitude, longitude = z.unbind(dim=-1)
    flat = latitude.cos()
    return 2 * torch.stack([flat * longitude.cos(), flat * longitude.sin(), latitude.sin()], -1)


def test_jacobian_is_autograds_row_by_row(normal: Draw) -> None:
    """eq:evo-metric needs J: torch's reverse mode on one code at a time, a decoder's too."""
    net = TransposedDecoder(2, 4, 8).double()
    for function in (sphere, net.net):
        z = normal(4, 2)
        found = geometry.jacobian(function, z)
        for n in range(4):

            def one(code: Tensor, function: Callable[[Tensor], Tensor] = function) -> Tensor:
                return function(code[None])[0]

            expected = torch.autograd.functional.jacobian(one, z[n])
            assert expected.abs().max() > 1e-3
            torch.testing.assert_close(found[n], expected)


def test_metric_of_the_sphere(normal: Draw) -> None:
    """eq:evo-metric: diag(r^2, r^2 cos^2 latitude), known since long ago."""
    z = normal(5, 2)
    expected = torch.diag_embed(torch.stack([4 + 0 * z[:, 0], 4 * z[:, 0].cos() ** 2], dim=-1))
    torch.testing.assert_close(geometry.metric(sphere, z), expected)


def test_metric_measures_small_steps(normal: Draw) -> None:
    """eq:evo-metric: squared distance of two decoded codes, for a map with no right angles."""
    weight = normal(6, 2)

    def function(z: Tensor) -> Tensor:
        return torch.tanh(z @ weight.T)

    z, step = normal(4, 2), 1e-5 * normal(4, 2)
    found = torch.einsum("ni,nij,nj->n", step, geometry.metric(function, z), step)
    expected = (function(z + step) - function(z)).square().sum(dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


def test_volume_element_adds_up_to_the_area() -> None:
    """eq:evo-volume: the sphere's octant of radius 2 has the area 2 pi, by quadrature."""
    half = math.pi / 4

    def element(z: Tensor) -> Tensor:
        return geometry.volume_element(geometry.metric(sphere, z + half))

    assert oracles.integrate_plane(element, half).item() == pytest.approx(2 * math.pi, rel=1e-4)
    assert geometry.volume_element(torch.tensor([[4.0, 1.0], [1.0, 1.0]])).item() == pytest.approx(
        3**0.5
    )
    flat = torch.tensor([[1.0, 1.0], [1.0, 1.0 - 1e-7]])
    assert geometry.volume_element(flat).item() == pytest.approx(0, abs=1e-3)


def test_length_of_a_meridian() -> None:
    """eq:evo-length: a quarter of a great circle of radius 2 is pi long; fewer steps less."""
    lengths = []
    for steps in (2, 5, 1001):
        latitude = torch.linspace(0, math.pi / 2, steps, dtype=torch.float64)
        codes = torch.stack([latitude, torch.full_like(latitude, 0.3)], dim=-1)
        lengths.append(geometry.curve_length(sphere(codes)).item())
    assert lengths == sorted(lengths)
    assert lengths[0] == pytest.approx(2 * math.sqrt(2))
    assert lengths[-1] == pytest.approx(math.pi, rel=1e-6)


def test_length_is_the_integral_of_the_speed(normal: Draw) -> None:
    """eq:evo-length: quadrature of sqrt(dz^T G dz) along a straight line of codes; batches too."""
    start, end = normal(2), normal(2)
    t = torch.linspace(0, 1, 2001, dtype=torch.float64)
    codes = start + t[:, None] * (end - start)
    speed = torch.einsum("i,nij,j->n", end - start, geometry.metric(sphere, codes), end - start)
    expected = torch.trapezoid(speed.sqrt(), t)
    points = sphere(codes)
    torch.testing.assert_close(geometry.curve_length(points), expected, rtol=1e-5, atol=0)
    both = torch.stack([points, 3 * points])
    torch.testing.assert_close(
        geometry.curve_length(both),
        expected * torch.tensor([1.0, 3.0]).double(),
        rtol=1e-5,
        atol=0,
    )


def test_one_point_has_no_length(normal: Draw) -> None:
    """Said with how many there are."""
    with pytest.raises(ValueError, match="a curve needs at least 2 points, got 1"):
        geometry.curve_length(normal(1, 3))


def test_information_is_twice_the_divergence_of_a_small_step(normal: Draw) -> None:
    """eq:evo-information: KL of torch's Bernoulli variables at z and at z + dz."""
    weight = 2 * normal(7, 2)

    def logits(z: Tensor) -> Tensor:
        return torch.sin(z @ weight.T) + 0.5 * z[..., :1]

    z, step = normal(5, 2), 1e-4 * normal(5, 2)
    found = torch.einsum("ni,nij,nj->n", step, geometry.bernoulli_information(logits, z), step) / 2
    here, there = Bernoulli(logits=logits(z)), Bernoulli(logits=logits(z + step))
    expected = kl_divergence(here, there).sum(dim=1)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=0)


def test_information_is_the_mean_hessian_of_the_likelihood(normal: Draw) -> None:
    """eq:evo-information: minus the second derivative of log p(x|z), averaged over all x."""
    weight, z = normal(3, 2), normal(1, 2)
    x = oracles.all_binary(3)

    def log_likelihood(z: Tensor) -> Tensor:
        return Bernoulli(logits=z @ weight.T).log_prob(x).sum(dim=1)

    share = log_likelihood(z[0]).exp()
    hessian = torch.autograd.functional.jacobian(
        lambda z: torch.autograd.functional.jacobian(log_likelihood, z, create_graph=True), z[0]
    )
    expected = -(share[:, None, None] * hessian).sum(dim=0)
    found = geometry.bernoulli_information(lambda z: z @ weight.T, z)
    torch.testing.assert_close(found[0], expected)


def test_laplace_is_exact_for_a_linear_gaussian_model(normal: Draw) -> None:
    """eq:evo-laplace: the log-determinant of the posterior conditioned from the joint Gaussian."""
    weight, scale = normal(5, 2), 0.7
    joint = oracles.JointGaussian(weight, normal(5), scale)
    expected = joint.posterior(normal(1, 5)).covariance_matrix[0].logdet()
    found = geometry.laplace_log_det(weight.T @ weight / scale**2)
    torch.testing.assert_close(found, expected)
    assert geometry.laplace_log_det(torch.zeros(3, 2, 2)).tolist() == [0, 0, 0]
