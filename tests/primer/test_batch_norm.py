"""Proof for litgen/primer/batch_norm.py; the chapter is book/primer/convolution.md.

The judges: loops over channels with Python's statistics, and torch.nn.BatchNorm2d.
"""

import statistics
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from litgen.primer import batch_norm

Draw = Callable[..., Tensor]


def test_batch_moments_are_those_of_each_channels_numbers(normal: Draw) -> None:
    """eq:conv-batch-moments: the list of a channel's numbers, given to Python's statistics."""
    x = normal(4, 3, 2, 5) * torch.tensor([1.0, 2.0, 0.3]).view(3, 1, 1) + 1.5
    mean, var = batch_norm.batch_moments(x)
    for channel in range(3):
        numbers = x[:, channel].flatten().tolist()
        assert mean[channel].item() == pytest.approx(statistics.fmean(numbers))
        assert var[channel].item() == pytest.approx(statistics.pvariance(numbers))


@pytest.mark.parametrize("training", [True, False])
def test_normalize_is_torchs_layer(normal: Draw, training: bool) -> None:
    """eq:conv-batch-norm: with the batch's moments in training, with the running ones after."""
    layer = nn.BatchNorm2d(3, eps=1e-3).double()
    gain, bias, mean, var = normal(3), normal(3), normal(3), normal(3).exp()
    with torch.no_grad():
        for target, value in zip(
            (layer.weight, layer.bias, layer.running_mean, layer.running_var),
            (gain, bias, mean, var),
            strict=True,
        ):
            target.copy_(value)
    x = 2 * normal(4, 3, 5, 6) + 1
    moments = batch_norm.batch_moments(x) if training else (mean, var)
    expected = layer.train(training)(x).detach()
    found = batch_norm.normalize(x, *moments, gain, bias, eps=1e-3)
    torch.testing.assert_close(found, expected)
    default = nn.BatchNorm2d(3).double()(1e-2 * x).detach()
    small = batch_norm.normalize(
        1e-2 * x,
        *batch_norm.batch_moments(1e-2 * x),
        torch.ones(3).double(),
        torch.zeros(3).double(),
    )
    torch.testing.assert_close(small, default, rtol=1e-9, atol=1e-9)


def test_a_normalised_batch_has_its_gain_and_bias(normal: Draw) -> None:
    """eq:conv-batch-norm: mean bias and standard deviation |gain|, whatever came in."""
    x = 5 * normal(6, 2, 4, 4) - 3
    gain, bias = torch.tensor([1.5, -0.4]).double(), torch.tensor([2.0, -1.0]).double()
    y = batch_norm.normalize(x, *batch_norm.batch_moments(x), gain, bias, eps=0.0)
    torch.testing.assert_close(y.mean(dim=(0, 2, 3)), bias)
    torch.testing.assert_close(y.std(dim=(0, 2, 3), unbiased=False), gain.abs())


def test_running_average_is_torchs(normal: Draw) -> None:
    """eq:conv-running: three batches through torch's layer and through the formula."""
    layer = nn.BatchNorm2d(2, momentum=0.3).double()
    running = (torch.zeros(2).double(), torch.ones(2).double())
    for _ in range(3):
        x = 3 * normal(2, 2, 1, 2) + 1
        layer(x)
        running = batch_norm.running_average(running, x, momentum=0.3)
        torch.testing.assert_close(running[0], layer.running_mean)
        torch.testing.assert_close(running[1], layer.running_var)
    one = nn.BatchNorm2d(2).double()
    one(x)
    default = batch_norm.running_average((torch.zeros(2).double(), torch.ones(2).double()), x)
    torch.testing.assert_close(default[0], one.running_mean)
    torch.testing.assert_close(default[1], one.running_var)


def test_one_number_has_no_variance(normal: Draw) -> None:
    """An error, before anything divides by zero."""
    with pytest.raises(ValueError, match="two numbers a channel, x has 1"):
        batch_norm.running_average((normal(2), normal(2).exp()), normal(1, 2, 1, 1))
