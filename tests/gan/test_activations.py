"""Proof for litgen/gan/activations.py: torch's own layer, whose derivatives it must have."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from litgen.gan.activations import PiecewiseLeakyReLU
from litgen.gan.gradient_penalty import gradient_penalty


def critics(normal: Callable[..., Tensor], slope: float) -> list[nn.Sequential]:
    """Return one critic twice: with torch's activation and with ours."""
    nets = [
        nn.Sequential(nn.Linear(3, 8), kind(slope), nn.Linear(8, 8), kind(slope), nn.Linear(8, 1))
        for kind in (nn.LeakyReLU, PiecewiseLeakyReLU)
    ]
    values = [normal(*p.shape) for p in nets[0].parameters()]
    for net in nets:
        net.double()
        with torch.no_grad():
            for parameter, value in zip(net.parameters(), values, strict=True):
                parameter.copy_(value)
    return nets


def test_values_and_gradients_are_torchs(normal: Callable[..., Tensor]) -> None:
    """For both signs, another slope, and a gradient that is not one."""
    x, weight = normal(4, 5), normal(4, 5)
    assert (x > 0).any()
    assert (x < 0).any()
    found = []
    for layer in (nn.LeakyReLU(0.3), PiecewiseLeakyReLU(0.3)):
        at = x.clone().requires_grad_()
        y = layer(at)
        (slope,) = torch.autograd.grad((y * weight).sum(), at)
        found.append((y.detach(), slope))
    for mine, theirs in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(mine, theirs)
    assert PiecewiseLeakyReLU().slope == 0.2


def test_a_penalty_moves_the_weights_alike(normal: Callable[..., Tensor]) -> None:
    """Gradients of the penalty with respect to all weights: what a second derivative is for."""
    theirs, mine = critics(normal, 0.2)
    real, fake = normal(6, 3), normal(6, 3)
    share = normal(6).sigmoid()
    found = []
    for net in (theirs, mine):
        penalty = gradient_penalty(lambda x, net=net: net(x).squeeze(1), real, fake, share).mean()
        weights = list(net.parameters())[::2]  # no bias changes a slope
        found.append(torch.autograd.grad(penalty, weights))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert all(g.abs().max() > 1e-3 for g in found[1])


def test_nothing_flows_into_the_layers_below_twice(normal: Callable[..., Tensor]) -> None:
    """The slope's gradient with respect to x is none at all, not a tensor of zeros."""
    x = normal(5).requires_grad_()
    upstream = normal(5).requires_grad_()
    (slope,) = torch.autograd.grad(PiecewiseLeakyReLU()(x), x, upstream, create_graph=True)
    found = torch.autograd.grad(slope.sum(), [upstream, x], allow_unused=True)
    torch.testing.assert_close(found[0], torch.where(x > 0, 1.0, 0.2).double())
    assert found[1] is None
