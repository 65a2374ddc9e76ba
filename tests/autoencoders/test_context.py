"""Proof for litgen/autoencoders/context.py: pixel by pixel loops, autograd, logs of sigmoids."""

import math

import pytest
import torch
from torch import Tensor

from litgen.autoencoders import context


def batch(seed: int = 0, count: int = 3) -> tuple[Tensor, Tensor]:
    """Return images and fills in double precision."""
    generator = torch.Generator().manual_seed(seed)
    x, fill = torch.randn(2, count, 2, 7, 7, generator=generator, dtype=torch.float64)
    return x, fill


HOLE = context.square_hole(7, top=2, left=1, size=3)


def test_a_square_hole_is_where_it_was_asked_for() -> None:
    """Nine missing pixels, rows 2 to 4 and columns 1 to 3."""
    places = {tuple(place) for place in HOLE.nonzero().tolist()}
    assert places == {(row, column) for row in (2, 3, 4) for column in (1, 2, 3)}


@pytest.mark.parametrize(
    ("top", "left", "size"), [(0, 0, 7), (5, 0, 3), (0, 5, 3), (-1, 0, 2), (0, 0, 0)]
)
def test_a_hole_that_does_not_fit_is_refused(top: int, left: int, size: int) -> None:
    """Empty, everything, or out of the image."""
    with pytest.raises(ValueError, match=f"no hole of {size} pixels"):
        context.square_hole(7, top, left, size)


def test_roaming_holes_are_squares_that_come_to_every_place() -> None:
    """Each has size^2 pixels side by side, and all corners are met about equally often."""
    holes = context.roaming_holes(4_000, 6, 4, torch.Generator().manual_seed(0))
    assert holes.shape == (4_000, 6, 6)
    assert bool((holes.sum(dim=(1, 2)) == 16).all())
    counts: dict[tuple[int, int], int] = {}
    for hole in holes:
        rows, columns = hole.any(dim=1).nonzero()[:, 0], hole.any(dim=0).nonzero()[:, 0]
        assert len(rows) == len(columns) == 4 == int(rows[-1] - rows[0]) + 1
        counts[int(rows[0]), int(columns[0])] = counts.get((int(rows[0]), int(columns[0])), 0) + 1
    assert set(counts) == {(row, column) for row in range(3) for column in range(3)}
    assert all(abs(n - 4_000 / 9) < 4 * math.sqrt(4_000 / 9) for n in counts.values())
    with pytest.raises(ValueError, match="no holes of 6 pixels"):
        context.roaming_holes(2, 6, 6, torch.Generator())


@pytest.mark.parametrize(("overlap", "factor"), [(0, 10.0), (1, 10.0), (2, 3.0)])
def test_weights_by_the_distance_from_the_hole(overlap: int, factor: float) -> None:
    """eq:ctx-weights, by each pixel's distance to the nearest missing one."""
    found = context.weights(torch.stack([HOLE, HOLE.T]), overlap, factor)
    for hole, weights in zip((HOLE, HOLE.T), found, strict=True):
        missing = hole.nonzero()
        for row in range(7):
            for column in range(7):
                gap = (missing - torch.tensor([row, column])).abs().amax(dim=1).min().item()
                expected = 1.0 if gap == 0 else factor if gap <= overlap else 0.0
                assert weights[row, column].item() == expected
    torch.testing.assert_close(context.weights(HOLE, overlap, factor), found[0])
    assert torch.equal(context.weights(HOLE), HOLE.float())


def test_weights_refuse_what_has_no_hole() -> None:
    """No missing pixel, or a negative band."""
    with pytest.raises(ValueError, match="no missing pixel"):
        context.weights(torch.stack([HOLE, torch.zeros_like(HOLE)]))
    with pytest.raises(ValueError, match="must not be negative"):
        context.weights(HOLE, -1)
    with pytest.raises(ValueError, match="must not be negative"):
        context.weights(HOLE, 1, -1.0)


def test_cut_and_paste_pixel_by_pixel() -> None:
    """eq:ctx-cut and eq:ctx-paste: what is missing is 0 and marked, what is known stays."""
    x, fill = batch()
    holes = torch.stack([HOLE, HOLE.T, HOLE])
    given, whole = context.cut(x, holes), context.paste(x, fill, holes)
    assert given.shape == (3, 3, 7, 7)
    for i in range(3):
        for row in range(7):
            for column in range(7):
                missing = bool(holes[i, row, column])
                at = (i, slice(0, 2), row, column)
                assert torch.equal(given[at], torch.zeros(2).double() if missing else x[at])
                assert given[i, 2, row, column] == float(missing)
                assert torch.equal(whole[at], fill[at] if missing else x[at])
    torch.testing.assert_close(context.cut(x, HOLE)[0], given[0], rtol=0, atol=0)


@pytest.mark.usefixtures("unchecked")
def test_a_mask_of_another_size_is_refused() -> None:
    """Neither the image's size nor the batch's may differ."""
    x, fill = batch()
    for wrong in (HOLE[:5, :5], torch.stack([HOLE, HOLE])):
        with pytest.raises(ValueError, match="hole of shape"):
            context.cut(x, wrong)
        with pytest.raises(ValueError, match="hole of shape"):
            context.paste(x, fill, wrong)


def test_what_is_missing_does_not_reach_the_network() -> None:
    """No pixel of the hole has a gradient through the cut; every other has."""
    x = batch()[0].requires_grad_()
    (grad,) = torch.autograd.grad(context.cut(x, HOLE).square().sum(), x)
    assert torch.equal((grad != 0).all(dim=(0, 1)), ~HOLE)
    assert torch.equal((grad == 0).all(dim=(0, 1)), HOLE)


@pytest.mark.parametrize("overlap", [0, 1])
def test_the_loss_is_the_loop_over_pixels(overlap: int) -> None:
    """eq:ctx-reconstruction, one number an image, summed pixel by pixel."""
    x, fill = batch()
    weights = context.weights(torch.stack([HOLE, HOLE.T, HOLE]), overlap).double()
    found = context.reconstruction_loss(x, fill, weights)
    for i in range(3):
        total, counted = 0.0, 0
        for row in range(7):
            for column in range(7):
                weight = weights[i, row, column].item()
                counted += weight > 0
                for channel in range(2):
                    gap = x[i, channel, row, column] - fill[i, channel, row, column]
                    total += weight * gap.item() ** 2
        assert found[i].item() == pytest.approx(total / (2 * counted), rel=1e-12)
    assert found.std() > 0.05


def test_the_gradient_is_zero_outside_the_hole() -> None:
    """eq:ctx-zero-gradient: exactly 0 beyond hole and band, 2 w (fill - x) / (C n) elsewhere."""
    x, fill = batch()
    fill.requires_grad_()
    for overlap, counted in ((0, 9), (1, 25)):
        weights = context.weights(HOLE, overlap).double()
        loss = context.reconstruction_loss(x, fill, weights).sum()
        (grad,) = torch.autograd.grad(loss, fill)
        beyond = weights == 0
        assert torch.equal(grad[..., beyond], torch.zeros_like(grad[..., beyond]))
        assert bool((grad[..., ~beyond] != 0).all())
        expected = 2 * weights * (fill.detach() - x) / (2 * counted)
        torch.testing.assert_close(grad, expected)
        assert int((~beyond).sum()) == counted


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_has_no_loss() -> None:
    """Images of different shapes must not broadcast."""
    x, fill = batch()
    weights = context.weights(HOLE)
    with pytest.raises(ValueError, match="do not fit"):
        context.reconstruction_loss(x, fill[:1], weights)
    with pytest.raises(ValueError, match="do not fit"):
        context.reconstruction_loss(x, fill, weights[:, :6])


def test_adversarial_losses_are_logs_of_probabilities() -> None:
    """eq:ctx-critic and eq:ctx-fooling, written with the logistic function itself."""
    real, fake = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    says = [1 / (1 + math.exp(-logit)) for logit in real.tolist()]
    claims = [1 / (1 + math.exp(-logit)) for logit in fake[:4].tolist()]
    expected = -sum(math.log(p) for p in says) / 5 - sum(math.log(1 - p) for p in claims) / 4
    assert context.critic_loss(real, fake[:4]).item() == pytest.approx(expected)
    expected_each = torch.tensor([-math.log(p) for p in claims], dtype=torch.float64)
    torch.testing.assert_close(context.fooling_loss(fake[:4]), expected_each)
    nothing = torch.zeros(3)
    assert context.critic_loss(nothing, nothing).item() == pytest.approx(2 * math.log(2))


def test_the_joint_loss_is_a_weighted_mean() -> None:
    """eq:ctx-joint: the share 1 is the first loss, 0 the second, 0.75 lies between."""
    first, second = torch.tensor([[3.0, 1.0], [7.0, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(context.joint_loss(first, second, 1.0), first)
    torch.testing.assert_close(context.joint_loss(first, second, 0.0), second)
    expected = torch.tensor([4.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(context.joint_loss(first, second, 0.75), expected)
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            context.joint_loss(first, second, share)
