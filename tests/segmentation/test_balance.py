"""Proof for litgen/segmentation/balance.py: counts by hand, and optima found without it."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from litgen.segmentation import balance

Draw = Callable[..., Tensor]


def test_frequencies_by_hand() -> None:
    """eq:segnet-frequency: images without a class do not count for it."""
    labels = torch.tensor([[[0, 0, 0], [0, 1, 1]], [[0, 0, 0], [0, 0, 2]], [[0, 0, 0], [1, 0, 2]]])
    found = balance.frequencies(labels, 3)
    torch.testing.assert_close(found, torch.tensor([13 / 18, 3 / 12, 2 / 12]))
    torch.testing.assert_close(found, balance.frequencies(labels.to(torch.uint8), 3))


def test_weights_are_median_over_frequency() -> None:
    """eq:segnet-weight: numpy's median, of odd and even numbers of classes."""
    for values in ([0.5, 0.1, 0.02], [0.5, 0.1, 0.02, 0.3]):
        found = balance.median_weights(torch.tensor(values, dtype=torch.float64))
        np.testing.assert_allclose(found.numpy(), np.median(values) / np.array(values))


def test_classes_of_every_image_get_equal_shares(generator: torch.Generator) -> None:
    """eq:segnet-weight: weight times pixels is the same for all classes if all images show all."""
    labels = torch.multinomial(
        torch.tensor([0.6, 0.3, 0.08, 0.02]), 4 * 600, replacement=True, generator=generator
    ).view(4, 20, 30)
    weights = balance.median_weights(balance.frequencies(labels, 4))
    shares = torch.stack([weights[c] * (labels == c).sum() for c in range(4)])
    torch.testing.assert_close(shares, shares[:1].expand(4))
    assert weights.min() < 1 < weights.max()


def test_the_loss_by_sums(normal: Draw) -> None:
    """eq:segnet-loss: pixel by pixel, with weights, divided by the number of pixels alone."""
    logits, weights = normal(2, 3, 2, 4), normal(3).exp()
    labels = torch.tensor([[[0, 1, 2, 0], [1, 1, 0, 2]], [[2, 2, 2, 2], [0, 0, 1, 0]]])
    expected = []
    for image, truth in zip(logits.tolist(), labels.tolist(), strict=True):
        total = 0.0
        for row in range(2):
            for column in range(4):
                pixel = [image[c][row][column] for c in range(3)]
                true = truth[row][column]
                norm = math.log(sum(math.exp(v) for v in pixel))
                total += weights[true].item() * (norm - pixel[true])
        expected.append(total / 8)
    found = balance.balanced_cross_entropy(logits, labels, weights)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert found.std() > 0.02


def test_weights_tilt_the_optimum(normal: Draw) -> None:
    """eq:segnet-tilt: the best logits for labels of known shares, found by scipy's minimiser."""
    shares = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    weights = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64)
    labels = torch.repeat_interleave(torch.arange(3), (shares * 10).round().long()).view(1, 1, 10)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        logits = torch.from_numpy(values).requires_grad_()
        spread = logits.view(1, 3, 1, 1).expand(1, 3, 1, 10)
        found = balance.balanced_cross_entropy(spread, labels, weights).sum()
        found.backward()
        assert logits.grad is not None
        return found.item(), logits.grad.numpy()

    best = scipy.optimize.minimize(loss, normal(3).numpy(), jac=True, tol=1e-12)
    expected = weights * shares / (weights * shares).sum()
    found = torch.from_numpy(best.x).softmax(dim=0)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.usefixtures("unchecked")
def test_bad_labels_and_weights_are_refused() -> None:
    """The message names what is wrong."""
    labels = torch.tensor([[[0, 1], [1, 3]]])
    with pytest.raises(ValueError, match=r"labels reach from 0 to 3, classes are 0\.\.2"):
        balance.frequencies(labels, 3)
    with pytest.raises(ValueError, match=r"labels reach from -1"):
        balance.frequencies(labels - 1, 3)
    with pytest.raises(ValueError, match=r"no image shows the classes \[2\]"):
        balance.frequencies(labels, 4)
    with pytest.raises(ValueError, match=r"logits are \(1, 3, 2, 3\), labels \(1, 2, 2\)"):
        balance.balanced_cross_entropy(torch.zeros(1, 3, 2, 3), labels, torch.ones(3))
    with pytest.raises(ValueError, match=r"logits are \(2, 4, 2, 2\), labels \(1, 2, 2\)"):
        balance.balanced_cross_entropy(torch.zeros(2, 4, 2, 2), labels, torch.ones(4))
    with pytest.raises(ValueError, match=r"3 weights for 4 classes"):
        balance.balanced_cross_entropy(torch.zeros(1, 4, 2, 2), labels, torch.ones(3))
