"""Proof for litgen/primer/calibration.py; the chapter is book/primer/convolution.md.

The judges: loops over images, scikit-learn, a fine grid of temperatures, and predictions that are
calibrated by construction.
"""

from collections.abc import Callable

import pytest
import sklearn.metrics
import torch
from torch import Tensor

from litgen.primer import calibration

Draw = Callable[..., Tensor]


@pytest.fixture
def case(normal: Draw, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return logits of 400 images and labels drawn from another temperature's softmax."""
    logits = 2 * normal(400, 4)
    labels = torch.multinomial((logits / 1.7).softmax(dim=1), 1, generator=generator)[:, 0]
    return logits, labels


def test_confusion_matrix_is_scikit_learns(case: tuple[Tensor, Tensor]) -> None:
    """eq:conv-confusion: rows are the truth; also with a class that nobody has."""
    logits, labels = case
    predicted = logits.argmax(dim=1)
    expected = sklearn.metrics.confusion_matrix(labels, predicted, labels=range(5))
    found = calibration.confusion_matrix(predicted, labels, 5)
    assert not torch.equal(found, found.T)
    assert found.tolist() == expected.tolist()
    narrow = calibration.confusion_matrix(predicted.to(torch.int16), labels.to(torch.int16), 5)
    assert torch.equal(narrow, found)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_classes_outside_are_named(wrong: int) -> None:
    """They would be counted as another pair of classes."""
    good, bad = torch.tensor([0, 1, 2]), torch.tensor([0, wrong, 1])
    with pytest.raises(ValueError, match=r"predicted lie outside the classes 0\.\.2"):
        calibration.confusion_matrix(bad, good, 3)
    with pytest.raises(ValueError, match=r"labels lie outside the classes 0\.\.2"):
        calibration.confusion_matrix(good, bad, 3)


def loop(probabilities: Tensor, labels: Tensor, bins: int) -> list[list[tuple[float, bool]]]:
    """Sort images into bins, one after the other."""
    found: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        top = max(row)
        index = next(b for b in range(bins) if top <= (b + 1) / bins + 1e-12)
        found[index].append((top, row.index(top) == label))
    return found


@pytest.mark.parametrize("bins", [1, 7, 10])
def test_reliability_and_its_error_by_a_loop(case: tuple[Tensor, Tensor], bins: int) -> None:
    """eq:conv-ece: the definition, bin by bin and image by image."""
    probabilities, labels = case[0].softmax(dim=1), case[1]
    found = calibration.reliability(probabilities, labels, bins)
    total = 0.0
    for b, own in enumerate(loop(probabilities, labels, bins)):
        assert found.images[b] == len(own)
        if own:
            confidence = sum(c for c, _ in own) / len(own)
            accuracy = sum(r for _, r in own) / len(own)
            assert found.confidence[b].item() == pytest.approx(confidence)
            assert found.accuracy[b].item() == pytest.approx(accuracy)
            total += abs(confidence - accuracy) * len(own) / len(labels)
    error = calibration.expected_calibration_error(probabilities, labels, bins)
    assert total > 0.01
    assert error == pytest.approx(total)


def test_certainty_falls_into_the_last_bin_and_an_edge_into_the_lower() -> None:
    """eq:conv-ece: a bin holds its upper edge; ten bins unless told."""
    probabilities = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.8, 0.2]], dtype=torch.float64)
    found = calibration.reliability(probabilities, torch.tensor([0, 1, 1]))
    assert found.images.tolist() == [0, 0, 0, 0, 1, 0, 0, 1, 0, 1]
    assert found.accuracy[-1] == 1
    assert found.confidence[4] == 0.5
    with pytest.raises(ValueError, match="bins must be positive, got 0"):
        calibration.reliability(probabilities, torch.tensor([0, 1, 1]), 0)


def test_calibrated_predictions_have_a_small_error(generator: torch.Generator) -> None:
    """eq:conv-ece: labels drawn from the very probabilities; sharpened ones are far off."""
    logits = 1.5 * torch.randn(40_000, 5, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    assert calibration.expected_calibration_error(logits.softmax(dim=1), labels) < 0.01
    sharp = calibration.expected_calibration_error((3 * logits).softmax(dim=1), labels)
    assert sharp > 0.1


def test_temperature_is_the_best_of_a_fine_grid(case: tuple[Tensor, Tensor]) -> None:
    """eq:conv-temperature: no other temperature gives a smaller cross-entropy."""
    logits, labels = case
    found = calibration.fit_temperature(logits, labels)
    grid = torch.linspace(0.8, 4, 3201, dtype=torch.float64)
    losses = torch.stack(
        [-(logits / t).log_softmax(dim=1)[range(400), labels].mean() for t in grid]
    )
    assert found == pytest.approx(grid[losses.argmin()].item(), abs=1e-3)
    assert 1.2 < found < 2.4
    assert calibration.fit_temperature(3 * logits, labels) == pytest.approx(3 * found, rel=1e-6)


def test_a_temperature_needs_images() -> None:
    """An average over nothing is no number."""
    with pytest.raises(ValueError, match="cannot be fitted to no images"):
        calibration.fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
