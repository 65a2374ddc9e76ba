"""Proof for litgen/primer/receptive_field.py; the chapter is book/primer/convolution.md.

The judges: sets of pixels carried through the layers one unit at a time, and the input pixels
that change an output when they are changed.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from litgen.classifier import Classifier
from litgen.primer.receptive_field import Layer, View, geometry, receptive_fields, seen_pixels

Draw = Callable[..., Tensor]
STACKS = {
    "one": [Layer(3)],
    "padded": [Layer(3, 1, 1), Layer(5, 1, 2)],
    "pooled": [Layer(5, 1, 2), Layer(2, 2), Layer(3, 1, 1), Layer(2, 2)],
    "strided": [Layer(3, 2, 1), Layer(3, 2, 1), Layer(3, 1, 0)],
    "dilated": [Layer(3, 1, 1, 1), Layer(3, 1, 2, 2), Layer(3, 2, 4, 4), Layer(2, 3, 0, 3)],
}


def by_sets(layers: list[Layer], unit: int) -> set[int]:
    """Go back layer by layer and collect every place that a unit touches, one by one."""
    places = {unit}
    for layer in reversed(layers):
        places = {
            place * layer.stride - layer.padding + tap * layer.dilation
            for place in places
            for tap in range(layer.kernel)
        }
    return places


@pytest.mark.parametrize("name", STACKS)
def test_views_by_collecting_places(name: str) -> None:
    """eq:conv-receptive-field: the span of the set, its step from unit to unit, its start."""
    layers = STACKS[name]
    views = receptive_fields(layers)
    assert len(views) == len(layers)
    for depth, view in enumerate(views, start=1):
        own, neighbour = (by_sets(layers[:depth], unit) for unit in (0, 1))
        assert view == (max(own) - min(own) + 1, min(neighbour) - min(own), min(own))
        assert list(view.pixels(2, 9)) == [
            p
            for p in range(min(by_sets(layers[:depth], 2)), max(by_sets(layers[:depth], 2)) + 1)
            if 0 <= p < 9
        ]


def test_a_stack_of_nothing_has_no_view() -> None:
    """And one pixel sees itself."""
    assert receptive_fields([]) == []
    assert receptive_fields([Layer(1)]) == [View(1, 1, 0)]


def stack(layers: list[Layer]) -> nn.Sequential:
    """Return convolutions of this geometry with ReLUs, kernels of 2 as maxima."""
    net: list[nn.Module] = []
    channels = 1
    for layer in layers:
        if layer.kernel == 2 and layer.dilation == 1:
            net.append(nn.MaxPool2d(2, layer.stride, layer.padding))
        else:
            net += [nn.Conv2d(channels, 4, *layer), nn.ReLU()]
            channels = 4
    return nn.Sequential(*net)


@pytest.mark.parametrize("name", ["one", "padded", "pooled", "strided"])
def test_gradients_see_what_the_formula_says(name: str, normal: Draw) -> None:
    """eq:conv-receptive-field against pixels with a gradient, and against pixels that matter."""
    torch.manual_seed(0)
    net = stack(STACKS[name]).double()
    assert geometry(net) == STACKS[name]
    x = normal(64, 1, 17, 15)
    y = net(x)
    view = receptive_fields(geometry(net))[-1]
    for row, column in ((0, 0), (1, 0), (y.shape[2] - 1, y.shape[3] // 2)):
        seen = seen_pixels(net, x, row, column)
        expected = torch.zeros(17, 15, dtype=torch.bool)
        rows, columns = view.pixels(row, 17), view.pixels(column, 15)
        expected[rows.start : rows.stop, columns.start : columns.stop] = True
        assert torch.equal(seen, expected)
        with torch.no_grad():
            for pixel in ((0, 0), (3, 4), (8, 8), (16, 14)):
                changed = x.clone()
                changed[:, 0, pixel[0], pixel[1]] += 3
                moved = (net(changed) - y)[:, :, row, column].abs().max() > 0
                assert bool(moved) == bool(expected[pixel])


def test_the_classifier_sees_most_of_the_image(normal: Draw) -> None:
    """eq:conv-receptive-field: 24 of 28 pixels before the linear layers, every 8 pixels one."""
    torch.manual_seed(0)
    model = Classifier(width=4).double().eval()
    layers = geometry(model.layers())
    assert [layer.kernel for layer in layers] == [5, 2, 3, 2, 3, 2]
    view = receptive_fields(layers)[-1]
    assert (view.size, view.jump) == (24, 8)
    seen = seen_pixels(model.stages, normal(64, 1, 28, 28), 1, 1)
    expected = torch.zeros(28, 28, dtype=torch.bool)
    inside = view.pixels(1, 28)
    expected[inside.start : inside.stop, inside.start : inside.stop] = True
    assert torch.equal(seen, expected)


def test_geometry_reads_settings_of_both_kinds() -> None:
    """A tuple and a number mean the same; what has no window is passed over."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, (3, 3), padding=(2, 2), dilation=2),
        nn.BatchNorm2d(2),
        nn.AvgPool2d(3, 2, 1),
        nn.MaxPool2d(2),
        nn.Linear(3, 3),
        nn.Conv2d(1, 1, 7),
    )
    assert geometry(net) == [Layer(3, 1, 2, 2), Layer(3, 2, 1, 1), Layer(2, 2, 0, 1)]


def test_an_oblong_kernel_is_an_error() -> None:
    """One number cannot describe both axes."""
    with pytest.raises(ValueError, match=r"kernel_size differs along the axes: \(3, 5\)"):
        geometry(nn.Sequential(nn.Conv2d(1, 1, (3, 5))))
