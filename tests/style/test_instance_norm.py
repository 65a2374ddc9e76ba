"""Proof for litgen/style/instance_norm.py: loops, torch's own layer, one-hot weights."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.style.instance_norm import EPS, blend, instance_norm, modulated, moments

Normal = Callable[..., Tensor]


def test_moments_are_of_each_channel_of_each_picture(normal: Normal) -> None:
    """eq:arb-moments by a loop: the mean, and the root of the mean square around it."""
    x = 2 * normal(3, 4, 5, 6) + normal(3, 4, 1, 1)
    mean, sd = moments(x)
    assert mean.shape == sd.shape == (3, 4, 1, 1)
    for i in range(3):
        for c in range(4):
            values = x[i, c].flatten().tolist()
            m = sum(values) / 30
            v = sum((value - m) ** 2 for value in values) / 30
            assert mean[i, c].item() == pytest.approx(m)
            assert sd[i, c].item() == pytest.approx((v + 1e-5) ** 0.5)
    assert moments(x, 0.5)[1][0, 0].item() == pytest.approx(
        (sd[0, 0].item() ** 2 + 0.49999) ** 0.5
    )
    assert EPS == 1e-5
    with pytest.raises(ValueError, match=r"features without places: \(1, 2, 0, 3\)"):
        moments(torch.zeros(1, 2, 0, 3))
    with pytest.raises(ValueError, match=r"features without places: \(1, 2, 3, 0\)"):
        moments(torch.zeros(1, 2, 3, 0))


def test_it_is_torchs_instance_norm(normal: Normal) -> None:
    """eq:arb-instance-norm, and its gradient, against torch.nn.functional."""
    x = (normal(3, 4, 5, 6) * 3 + 1).requires_grad_()
    found, judge = instance_norm(x), torch.nn.functional.instance_norm(x)
    torch.testing.assert_close(found, judge)
    weight = normal(3, 4, 5, 6)
    slopes = [torch.autograd.grad((weight * y).sum(), x)[0] for y in (found, judge)]
    torch.testing.assert_close(*slopes)
    flat = instance_norm(torch.full((1, 2, 3, 3), 7.0))
    assert torch.equal(flat, torch.zeros(1, 2, 3, 3))
    assert found.std() > 0.9
    coarse = torch.nn.functional.instance_norm(x, eps=0.5)
    torch.testing.assert_close(instance_norm(x, 0.5), coarse)


def test_contrast_and_brightness_are_forgotten(normal: Normal) -> None:
    """eq:arb-instance-norm: a channel times 3 plus 2 gives the same; one picture's alone."""
    x = normal(2, 3, 6, 6)
    changed = x.clone()
    changed[1] = 3 * x[1] + 2
    torch.testing.assert_close(instance_norm(changed), instance_norm(x), rtol=1e-4, atol=1e-4)


def test_gains_and_biases_set_the_moments(normal: Normal) -> None:
    """eq:arb-conditional: the bias is the mean, the gain the deviation, picture by picture."""
    x, gain, bias = normal(3, 4, 8, 8), normal(3, 4), normal(3, 4)
    y = modulated(x, gain, bias)
    torch.testing.assert_close(y.mean((2, 3)), bias)
    torch.testing.assert_close(y.std((2, 3), correction=0), gain.abs(), rtol=1e-4, atol=0)
    layer = torch.nn.InstanceNorm2d(4, affine=True).double()
    layer.weight.data, layer.bias.data = gain[0], bias[0]
    torch.testing.assert_close(modulated(x, gain[:1], bias[:1]), layer(x))
    torch.testing.assert_close(y[:1], layer(x[:1]))


def test_slopes_go_through_the_moments(normal: Normal) -> None:
    """eq:arb-conditional: the slopes in features, gains and biases are those of torch's layer."""
    x, weight = (normal(3, 4, 5, 6) * 3 + 1).requires_grad_(), normal(3, 4, 5, 6)
    gain, bias = normal(1, 4).requires_grad_(), normal(1, 4).requires_grad_()
    judge = torch.nn.functional.instance_norm(x, weight=gain[0], bias=bias[0])
    found = modulated(x, gain, bias)
    for one in (x, gain, bias):
        slopes = [
            torch.autograd.grad((weight * y).sum(), one, retain_graph=True)[0]
            for y in (found, judge)
        ]
        torch.testing.assert_close(*slopes)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(2, 4), (3, 5), (4, 4)])
def test_styles_that_do_not_fit(shape: tuple[int, int]) -> None:
    """Another count of rows or of channels is named, for gain and for bias."""
    x, right, wrong = torch.rand(3, 4, 5, 5), torch.ones(3, 4), torch.ones(shape)
    with pytest.raises(ValueError, match=rf"gain has shape \({shape[0]}, {shape[1]}\)"):
        modulated(x, wrong, right)
    with pytest.raises(ValueError, match=rf"bias has shape \({shape[0]}, {shape[1]}\)"):
        modulated(x, right, wrong)


def test_one_hot_weights_pick_rows_and_blends_are_lines(normal: Normal) -> None:
    """eq:arb-blend: the unit weights give the styles, others the weighted sums, term by term."""
    styles = normal(3, 7)
    torch.testing.assert_close(blend(styles, torch.eye(3).double()), styles)
    weights = torch.tensor([[0.25, 0.75, 0.0], [1.5, 0.0, -0.5]]).double()
    found = blend(styles, weights)
    for row, w in zip(found, weights.tolist(), strict=True):
        torch.testing.assert_close(row, w[0] * styles[0] + w[1] * styles[1] + w[2] * styles[2])


@pytest.mark.usefixtures("unchecked")
def test_weights_that_do_not_fit() -> None:
    """Too few, or a sum that is not 1."""
    styles = torch.rand(3, 7)
    with pytest.raises(ValueError, match="2 weights for 3 styles"):
        blend(styles, torch.tensor([[0.5, 0.5]]))
    with pytest.raises(ValueError, match=r"weights sum to \[1.1"):
        blend(styles, torch.tensor([[0.5, 0.5, 0.1]]))


def test_a_blend_of_styles_is_linear_in_a_layer_only(normal: Normal) -> None:
    """eq:arb-blend: one norm's output is linear in the style, a rectifier behind it is not."""
    x, gain, bias = normal(1, 3, 6, 6), normal(2, 3), normal(2, 3)
    half = torch.tensor([[0.5, 0.5]]).double()
    mixed = modulated(x, blend(gain, half), blend(bias, half))
    both = [modulated(x, gain[i : i + 1], bias[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(mixed, (both[0] + both[1]) / 2)
    assert (mixed.relu() - (both[0].relu() + both[1].relu()) / 2).abs().max() > 0.1
