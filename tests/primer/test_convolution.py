"""Proof for litgen/primer/convolution.py; the chapter is book/primer/convolution.md.

The judges: sums written out term by term, torch's own layers, matrices made of basis vectors, and
counts of simulated detections.
"""

import itertools
import math
from collections.abc import Callable

import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.primer import convolution
from tests import oracles

Draw = Callable[..., Tensor]
GEOMETRIES = [
    pytest.param(stride, padding, dilation, id=f"stride{stride}-pad{padding}-dilation{dilation}")
    for stride, padding, dilation in itertools.product((1, 2, 3), (0, 1, 2), (1, 2))
]


@pytest.mark.parametrize(("stride", "padding", "dilation"), GEOMETRIES)
def test_conv2d_is_the_sum_over_windows(
    normal: Draw, stride: int, padding: int, dilation: int
) -> None:
    """eq:conv-definition: six loops over outputs, windows, channels and the kernel's places."""
    x, kernel = normal(2, 3, 8, 9), normal(4, 3, 3, 2)
    found = convolution.conv2d(x, kernel, stride, padding, dilation)
    expected = torch.stack(
        [oracles.convolve_window(image, kernel, stride, padding, dilation) for image in x]
    )
    assert expected.std() > 1
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("stride", "padding", "dilation"), GEOMETRIES)
def test_conv2d_is_what_torch_computes(
    normal: Draw, stride: int, padding: int, dilation: int
) -> None:
    """eq:conv-definition against F.conv2d."""
    x, kernel = normal(3, 2, 9, 7), normal(5, 2, 2, 3)
    expected = F.conv2d(x, kernel, None, stride, padding, dilation)
    torch.testing.assert_close(convolution.conv2d(x, kernel, stride, padding, dilation), expected)


def test_conv2d_steps_by_one_without_padding_unless_told(normal: Draw) -> None:
    """The defaults."""
    x, kernel = normal(1, 1, 5, 6), normal(1, 1, 3, 3)
    torch.testing.assert_close(convolution.conv2d(x, kernel), F.conv2d(x, kernel))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_output_size_counts_windows(stride: int, padding: int, dilation: int, kernel: int) -> None:
    """eq:conv-output-size: slide a window until it no longer fits."""
    for size in range(5, 12):
        last = dilation * (kernel - 1)
        windows = [
            start
            for start in range(0, size + 2 * padding, stride)
            if start + last < size + 2 * padding
        ]
        if not windows:
            with pytest.raises(ValueError, match=f"spans {last + 1} pixels does not fit into"):
                convolution.output_size(size, kernel, stride, padding, dilation)
        else:
            found = convolution.output_size(size, kernel, stride, padding, dilation)
            assert found == len(windows)
    assert convolution.output_size(7, 3) == 5


@pytest.mark.parametrize(
    "bad", [(0, 3, 1, 0, 1), (5, 0, 1, 0, 1), (5, 3, 0, 0, 1), (5, 3, 1, -1, 1), (5, 3, 1, 0, 0)]
)
def test_impossible_geometries_are_named(bad: tuple[int, ...]) -> None:
    """The message shows all five numbers."""
    size, kernel, stride, padding, dilation = bad
    wanted = f"size {size}, kernel {kernel}, stride {stride}, dilation {dilation} must be positive"
    with pytest.raises(ValueError, match=f"{wanted} and padding {padding}"):
        convolution.output_size(*bad)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 3), (2, 4)])
def test_circular_convolution_is_torch_with_circular_padding(
    normal: Draw, kernel: tuple[int, int]
) -> None:
    """The value by F.pad's circular mode and F.conv2d."""
    x, weights = normal(2, 3, 7, 6), normal(4, 3, *kernel)
    rows, columns = kernel
    up, left = rows // 2, columns // 2
    padded = F.pad(x, [left, columns - 1 - left, up, rows - 1 - up], mode="circular")
    torch.testing.assert_close(convolution.circular_conv2d(x, weights), F.conv2d(padded, weights))


@pytest.mark.parametrize("shift", [(1, 0), (0, 1), (2, -3), (-1, 5)])
def test_shift_then_convolve_is_convolve_then_shift(normal: Draw, shift: tuple[int, int]) -> None:
    """eq:conv-equivariance: to the last bit, for every shift; and a dense layer does not."""
    x, kernel = normal(2, 3, 7, 6), normal(4, 3, 3, 3)
    shifted = convolution.circular_conv2d(x.roll(shift, (2, 3)), kernel)
    expected = convolution.circular_conv2d(x, kernel).roll(shift, (2, 3))
    assert (expected - convolution.circular_conv2d(x, kernel)).abs().max() > 0.1
    torch.testing.assert_close(shifted, expected, rtol=0, atol=0)
    dense = normal(42, 42)
    through = lambda image: (image.flatten(2) @ dense).view_as(image)  # noqa: E731
    assert (through(x.roll(shift, (2, 3))) - through(x).roll(shift, (2, 3))).abs().max() > 1


@pytest.mark.parametrize(("stride", "padding", "dilation"), GEOMETRIES)
def test_transposed_convolution_is_the_adjoint(
    normal: Draw, stride: int, padding: int, dilation: int
) -> None:
    """eq:conv-transposed: <A x, y> = <x, A^T y> for random x and y."""
    kernel, x = normal(4, 3, 3, 2), normal(2, 3, 8, 9)
    forward = convolution.conv2d(x, kernel, stride, padding, dilation)
    y = normal(*forward.shape)
    lost = [
        (n + 2 * padding - dilation * (k - 1) - 1) % stride
        for n, k in zip((8, 9), (3, 2), strict=True)
    ]
    if lost[0] != lost[1]:  # a single output_padding serves both axes
        x = x[:, :, : 8 - lost[0], : 9 - lost[1]]
        lost = [0, 0]
        forward = convolution.conv2d(x, kernel, stride, padding, dilation)
    back = convolution.transposed_conv2d(y, kernel, stride, padding, dilation, lost[0])
    assert back.shape == x.shape
    assert (forward * y).sum().abs() > 0.1
    torch.testing.assert_close((forward * y).sum(), (x * back).sum())


@pytest.mark.parametrize(("stride", "padding", "dilation"), GEOMETRIES)
def test_transposed_convolution_is_what_torch_computes(
    normal: Draw, stride: int, padding: int, dilation: int
) -> None:
    """eq:conv-transposed against F.conv_transpose2d, with every output padding."""
    y, kernel = normal(2, 4, 4, 5), normal(4, 3, 3, 4)
    for extra in range(stride):
        expected = F.conv_transpose2d(y, kernel, None, stride, padding, extra, 1, dilation)
        found = convolution.transposed_conv2d(y, kernel, stride, padding, dilation, extra)
        torch.testing.assert_close(found, expected)


def test_its_matrix_is_the_transpose(normal: Draw) -> None:
    """eq:conv-transposed: the two matrices, one basis image at a time."""
    kernel = normal(2, 3, 3, 3)
    down = oracles.matrix_of(lambda x: convolution.conv2d(x[None], kernel, 2, 1), (3, 5, 5))
    up = oracles.matrix_of(
        lambda y: convolution.transposed_conv2d(y[None], kernel, 2, 1), (2, 3, 3)
    )
    assert down.shape == (18, 75)
    torch.testing.assert_close(up, down.T)


def test_transposed_size_undoes_output_size() -> None:
    """eq:conv-transposed-size: with the right output padding every size comes back."""
    for size, kernel, stride, padding, dilation in itertools.product(
        range(7, 13), (2, 3, 4), (1, 2, 3), (0, 1), (1, 2)
    ):
        small = convolution.output_size(size, kernel, stride, padding, dilation)
        geometry = (small, kernel, stride, padding, dilation)
        sizes = [convolution.transposed_size(*geometry, extra) for extra in range(stride)]
        assert sizes.count(size) == 1
        assert sizes[0] == convolution.transposed_size(*geometry)
        assert all(convolution.output_size(n, *geometry[1:]) == small for n in sizes)


def test_transposed_sizes_that_are_impossible() -> None:
    """An output padding that no lost pixel can explain; padding that eats everything."""
    with pytest.raises(ValueError, match=r"output_padding 2 must be in 0\.\.1"):
        convolution.transposed_size(4, 3, 2, 0, 1, 2)
    with pytest.raises(ValueError, match="nothing is left of 1 pixels after padding 2"):
        convolution.transposed_size(1, 3, 1, 2)
    with pytest.raises(ValueError, match="nothing is left of 0 pixels"):
        convolution.transposed_size(0, 3)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 0), (2, 2), (3, 1)])
def test_toeplitz_multiplies_as_the_convolution_slides(
    normal: Draw, stride: int, padding: int
) -> None:
    """eq:conv-matrix: the product against F.conv1d, and the matrix against basis vectors."""
    kernel, x = normal(4), normal(9)
    matrix = convolution.toeplitz(kernel, 9, stride, padding)
    expected = F.conv1d(x[None, None], kernel[None, None], None, stride, padding)[0, 0]
    torch.testing.assert_close(matrix @ x, expected)
    columns = oracles.matrix_of(
        lambda v: F.conv1d(v[None, None], kernel[None, None], None, stride, padding), (9,)
    )
    torch.testing.assert_close(matrix, columns)


def test_a_stride_one_matrix_is_constant_along_its_diagonals(normal: Draw) -> None:
    """eq:conv-matrix: the same weights in every row, which is what Toeplitz means."""
    matrix = convolution.toeplitz(normal(3), 7)
    assert matrix.shape == (5, 7)
    torch.testing.assert_close(matrix[1:, 1:], matrix[:-1, :-1], rtol=0, atol=0)
    assert (matrix != 0).sum() == 15


@pytest.mark.parametrize("name", ["conv2d", "circular_conv2d", "transposed_conv2d"])
def test_channels_that_do_not_fit_are_named(unchecked: None, normal: Draw, name: str) -> None:
    """Broadcasting would compute something."""
    kernel = normal(1, 3, 3, 3) if name != "transposed_conv2d" else normal(3, 1, 3, 3)
    with pytest.raises(ValueError, match=r"[xy] has 1 channels, the kernel's \w+ are 3"):
        getattr(convolution, name)(normal(1, 1, 6, 6), kernel)


# the matched filter ------------------------------------------------------------------------------


@pytest.mark.parametrize("sd", [0.5, 1.3])
def test_matched_filter_is_the_log_odds_of_two_gaussians(normal: Draw, sd: float) -> None:
    """eq:conv-matched-filter: scipy's log densities with and without the pattern."""
    pattern, x = normal(3, 4), normal(20, 3, 4)
    kernel, bias = convolution.matched_filter(pattern, sd)
    found = convolution.conv2d(x[:, None], kernel).flatten() + bias
    law = scipy.stats.norm
    expected = law.logpdf(x, pattern, sd).sum((1, 2)) - law.logpdf(x, 0, sd).sum((1, 2))
    assert expected.std() > 1
    torch.testing.assert_close(found, torch.as_tensor(expected))


@pytest.mark.parametrize("sd", [0.7, 2.0])
def test_matched_filter_accuracy_is_the_normal_mass_and_the_frequency(
    normal: Draw, sd: float
) -> None:
    """eq:conv-matched-accuracy: scipy's cdf, and the share of 40,000 simulated decisions."""
    pattern = normal(3, 3) / 2
    found = convolution.matched_filter_accuracy(pattern, sd)
    distance = math.sqrt(sum(v * v for v in pattern.flatten().tolist())) / sd
    assert found == pytest.approx(scipy.stats.norm.cdf(distance / 2))
    assert 0.6 < found < 0.95
    present = torch.arange(40_000) % 2 == 0
    x = sd * normal(40_000, 1, 3, 3) + present[:, None, None, None] * pattern
    kernel, bias = convolution.matched_filter(pattern, sd)
    decided = convolution.conv2d(x, kernel).flatten() + bias > 0
    share = (decided == present).double().mean().item()
    assert share == pytest.approx(found, abs=5 * 0.5 / 200)


@pytest.mark.parametrize("sd", [0.0, -1.0])
def test_noise_needs_a_positive_sd(normal: Draw, sd: float) -> None:
    """Both functions say so."""
    for function in (convolution.matched_filter, convolution.matched_filter_accuracy):
        with pytest.raises(ValueError, match=f"sd must be positive, got {sd}"):
            function(normal(2, 2), sd)
