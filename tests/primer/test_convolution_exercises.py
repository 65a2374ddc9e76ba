"""Solutions of the exercises in book/primer/convolution.md, and what shows that they are right."""

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litgen.classifier import Classifier
from litgen.primer import convolution
from litgen.primer.receptive_field import Layer, receptive_fields

Draw = Callable[..., Tensor]


def costs(side: int, inputs: int, outputs: int, kernel: int) -> dict[str, tuple[int, int]]:
    """Return (weights, multiplications) of a dense layer and of a convolution that keeps sizes."""
    pixels = side * side
    dense = inputs * pixels * outputs * pixels
    shared = outputs * inputs * kernel * kernel
    return {"dense": (dense, dense), "convolution": (shared, shared * pixels)}


def separated(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Return a column and a row whose product is the kernel; its rank must be one."""
    u, values, v = torch.linalg.svd(kernel)
    if values[1] > 1e-6 * values[0]:
        raise ValueError(f"the kernel's rank is not one: singular values {values.tolist()}")
    return u[:, :1] * values[0], v[:1]


def folded(layer: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Return one convolution with bias that does what both do in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    result = nn.Conv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding
    ).to(factor.dtype)
    before = torch.zeros_like(factor) if layer.bias is None else layer.bias
    with torch.no_grad():
        result.weight.copy_(layer.weight * factor[:, None, None, None])
        result.bias.copy_(norm.bias + (before - norm.running_mean) * factor)
    return result


def dilated_view(depth: int) -> int:
    """Return the receptive field of 3x3 convolutions with dilation 1, 2, 4, ..."""
    layers = [Layer(3, dilation=2**level) for level in range(depth)]
    return receptive_fields(layers)[-1].size


def shift_averaged(model: Classifier, x: Tensor, shifts: list[tuple[int, int]]) -> Tensor:
    """Return class probabilities averaged over shifted copies; what leaves comes in opposite."""
    each = [model(x.roll(shift, dims=(2, 3))).softmax(dim=1) for shift in shifts]
    return torch.stack(each).mean(dim=0)


def test_costs_are_counts() -> None:
    """Exercise 1: of the weights of torch's layers, and of the products that a loop makes."""
    side, inputs, outputs, kernel = 6, 2, 3, 3
    found = costs(side, inputs, outputs, kernel)
    dense = nn.Linear(inputs * side**2, outputs * side**2, bias=False)
    shared = nn.Conv2d(inputs, outputs, kernel, padding=1, bias=False)
    assert found["dense"][0] == found["dense"][1] == dense.weight.numel()
    assert found["convolution"][0] == shared.weight.numel()
    windows = shared(torch.zeros(1, inputs, side, side)).numel()
    assert found["convolution"][1] == windows * inputs * kernel**2
    assert costs(28, 1, 16, 5) == {"dense": (9_834_496, 9_834_496), "convolution": (400, 313_600)}


def test_sobels_kernel_is_a_column_times_a_row(normal: Draw) -> None:
    """Exercise 2: one after the other they do the same; a kernel of rank two is refused."""
    sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=torch.float64)
    column, row = separated(sobel)
    x = normal(2, 1, 7, 8)
    twice = convolution.conv2d(convolution.conv2d(x, column[None, None]), row[None, None])
    expected = F.conv2d(x, sobel[None, None])
    assert expected.std() > 1
    torch.testing.assert_close(twice, expected)
    with pytest.raises(ValueError, match="rank is not one"):
        separated(torch.eye(3).double())


@pytest.mark.parametrize("bias", [False, True])
def test_folding_changes_nothing_in_evaluation_mode(normal: Draw, bias: bool) -> None:
    """Exercise 3: random moments, gains of both signs."""
    torch.manual_seed(0)
    layer, norm = nn.Conv2d(2, 4, 3, 2, 1, bias=bias).double(), nn.BatchNorm2d(4).double().eval()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, -2.0, 0.5, -0.1]))
        norm.bias.copy_(normal(4))
        norm.running_mean.copy_(normal(4))
        norm.running_var.copy_(normal(4).exp())
    x = normal(3, 2, 7, 7)
    expected = norm(layer(x))
    torch.testing.assert_close(folded(layer, norm)(x), expected)


def test_a_maximum_and_a_negative_gain_do_not_commute(normal: Draw) -> None:
    """Exercise 3: with pooling between them folding holds for positive gains alone."""
    layer, norm = nn.Conv2d(1, 2, 3).double(), nn.BatchNorm2d(2).double().eval()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.5, -1.5]))
        norm.bias.copy_(normal(2))
    x = normal(2, 1, 8, 8)
    between, after = norm(F.max_pool2d(layer(x), 2)), F.max_pool2d(folded(layer, norm)(x), 2)
    torch.testing.assert_close(between[:, 0], after[:, 0])
    assert (between - after)[:, 1].abs().min() > 1e-3


def test_dilation_doubles_the_view() -> None:
    """Exercise 4: 2^(n+1) - 1 pixels, where a plain stack sees 2 n + 1."""
    for depth in range(1, 8):
        assert dilated_view(depth) == 2 ** (depth + 1) - 1
        assert receptive_fields([Layer(3)] * depth)[-1].size == 2 * depth + 1


def test_averaging_over_all_shifts_forgets_the_place(normal: Draw) -> None:
    """Exercise 5: exactly, for shifts around the border; the network alone does not."""
    torch.manual_seed(0)
    model = Classifier(width=1, depth=1).double().eval()
    with torch.no_grad():
        model.head.weight.mul_(20)
    x = normal(1, 1, 28, 28).sigmoid()
    moved = x.roll((3, -2), dims=(2, 3))
    every = list(itertools.product(range(28), range(28)))
    averaged, again = (shift_averaged(model, image, every) for image in (x, moved))
    torch.testing.assert_close(averaged, again)
    alone = (model(x).softmax(dim=1) - model(moved).softmax(dim=1)).abs().max()
    assert alone > 1e-4 > 100 * (averaged - again).abs().max()
    torch.testing.assert_close(averaged.sum(dim=1), torch.ones(1).double())
