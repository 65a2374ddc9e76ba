"""Solutions to the exercises of book/vae/convolutional.md, each with its proof."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from litgen import gaussian
from litgen.vae import aggregate, convolutional, geometry

Draw = Callable[..., Tensor]


def steps_of_a_stack(strides: list[int], shift: int) -> int | None:
    """Return by how many places the last map moves; None where the stack is not equivariant."""
    for stride in strides:
        if shift % stride:
            return None
        shift //= stride
    return shift


@pytest.mark.parametrize("strides", [[2, 2], [1, 3], [2, 3]])
def test_strides_divide_the_shift_one_after_the_other(normal: Draw, strides: list[int]) -> None:
    """Against real convolutions without borders: no error exactly where the rule promises none."""
    torch.manual_seed(0)
    stack = nn.Sequential(
        nn.Conv2d(1, 3, 3, strides[0]), nn.ReLU(), nn.Conv2d(3, 2, 3, strides[1])
    )
    stack.double().requires_grad_(False)
    x, total = normal(1, 1, 90, 90), strides[0] * strides[1]
    for shift in range(1, 13):
        error = convolutional.equivariance_error(stack, x, shift, total, border=5)
        promised = steps_of_a_stack(strides, shift)
        assert (promised is not None) == (error < 1e-10)
        assert promised is None or promised == shift // total


def price_of_centre(mean: Tensor) -> Tensor:
    """Return the nats that moving all codes by one vector can save: half its squared length."""
    return 0.5 * mean.mean(dim=0).square().sum()


def test_no_shift_saves_more_than_the_centres(normal: Draw) -> None:
    """The KL before, minus the least KL over a fine line of shifts, in each coordinate."""
    mean, log_var = normal(5, 2) + 0.7, normal(5, 2)
    tried = torch.arange(-2.5, 2.5, 0.01, dtype=torch.float64)[:, None, None]
    best = [
        gaussian.kl_to_standard(
            mean[:, j : j + 1] - tried, log_var[:, j : j + 1].expand(500, 5, 1)
        )
        for j in range(2)
    ]
    saved = gaussian.kl_to_standard(mean, log_var).mean() - sum(
        kl.mean(dim=1).min() for kl in best
    )
    assert saved > 0.1
    assert price_of_centre(mean).item() == pytest.approx(saved.item(), abs=2e-4)


def one_pixel_length(start: float, end: float) -> float:
    """Return the information length between two probabilities of one binary pixel."""
    return 2 * abs(math.asin(math.sqrt(end)) - math.asin(math.sqrt(start)))


def test_length_of_one_pixel_is_an_arc() -> None:
    """Quadrature of the speed along logits, and the polygon of 2 sqrt(p), 2 sqrt(1 - p)."""
    logit = torch.linspace(-3.0, 2.0, 20_001, dtype=torch.float64)
    information = geometry.bernoulli_information(lambda z: z, logit[:, None])[:, 0, 0]
    p = torch.sigmoid(logit)
    expected = one_pixel_length(p[0].item(), p[-1].item())
    assert torch.trapezoid(information.sqrt(), logit).item() == pytest.approx(expected, rel=1e-6)
    circle = 2 * torch.stack([p.sqrt(), (1 - p).sqrt()], dim=-1)
    assert geometry.curve_length(circle).item() == pytest.approx(expected, rel=1e-6)


def relaxed_path(
    decode: Callable[[Tensor], Tensor],
    start: Tensor,
    end: Tensor,
    points: int = 20,
    moves: int = 60,
) -> Tensor:
    """Return codes between two others whose decoded path is short: least sum of squared steps."""
    inner = torch.lerp(start, end, torch.linspace(0, 1, points + 2, dtype=start.dtype)[1:-1, None])
    inner = inner.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([inner], max_iter=moves, line_search_fn="strong_wolfe")

    def path() -> Tensor:
        return torch.cat([start[None], inner, end[None]])

    def closure() -> Tensor:
        optimizer.zero_grad()
        energy = decode(path()).diff(dim=0).square().sum()
        energy.backward()
        return energy

    optimizer.step(closure)
    return path().detach()


def test_the_relaxed_path_is_a_great_circle() -> None:
    """On a sphere the shortest way is known: the angle between the two ends."""

    def sphere(z: Tensor) -> Tensor:
        flat = z[..., 0].cos()
        return torch.stack([flat * z[..., 1].cos(), flat * z[..., 1].sin(), z[..., 0].sin()], -1)

    start, end = torch.tensor([0.9, 0.0]).double(), torch.tensor([0.9, 2.0]).double()
    angle = torch.acos((sphere(start) * sphere(end)).sum()).item()
    straight = torch.lerp(start, end, torch.linspace(0, 1, 22).double()[:, None])
    found = geometry.curve_length(sphere(relaxed_path(sphere, start, end))).item()
    assert geometry.curve_length(sphere(straight)).item() > angle + 0.1
    assert found == pytest.approx(angle, abs=2e-3)


def test_prices_of_scale_and_centre_are_of_one_kind(normal: Draw) -> None:
    """After both are paid the codes have mean 0 and second moment 1, and nothing is left."""
    mean, log_var = 2 * normal(6, 2) + 1, normal(6, 2)
    mean = mean - mean.mean(dim=0)
    scale = aggregate.second_moment(mean, log_var).rsqrt()
    moment = aggregate.second_moment(mean * scale, log_var + 2 * scale.log())
    torch.testing.assert_close(moment, torch.ones(2).double())
    assert price_of_centre(mean * scale).item() == pytest.approx(0, abs=1e-12)
    assert aggregate.price_of_scale(moment).item() == pytest.approx(0, abs=1e-12)
