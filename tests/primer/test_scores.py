"""Proof for litgen/primer/scores.py; the chapter is book/primer/networks.md.

The judges are scikit-learn, loops over examples, and cases whose answer is known.
"""

from collections.abc import Callable

import pytest
import torch
from sklearn import metrics
from torch import Tensor

from litgen.primer import scores
from tests import oracles

Draw = Callable[..., Tensor]


@pytest.fixture
def said(normal: Draw) -> tuple[Tensor, Tensor]:
    """Return labels and logits of 300 examples and 4 classes, half right or so."""
    label = torch.arange(300) % 4
    logits = normal(300, 4)
    logits[torch.arange(300), label] += 1
    return label, logits


def test_accuracy_and_confusion_are_those_of_scikit_learn(said: tuple[Tensor, Tensor]) -> None:
    """eq:net-accuracy; rows are true classes, columns what was said."""
    label, logits = said
    expected = metrics.accuracy_score(label, logits.argmax(1))
    assert 0.3 < expected < 0.9
    assert scores.accuracy(label, logits).item() == pytest.approx(expected)
    theirs = torch.from_numpy(metrics.confusion_matrix(label, logits.argmax(1)))
    assert torch.equal(scores.confusion(label, logits), theirs)
    assert not torch.equal(theirs, theirs.T)


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_reliability_is_a_loop_over_examples(bins: int, said: tuple[Tensor, Tensor]) -> None:
    """eq:net-reliability and eq:net-ece, example by example, bin by bin."""
    label, logits = said
    found = scores.reliability(label, logits, bins)
    count, confidence, accuracy = oracles.reliability_by_loops(label, logits, bins)
    torch.testing.assert_close(found.images.to(count), count)
    torch.testing.assert_close(found.confidence, confidence)
    torch.testing.assert_close(found.accuracy, accuracy)
    gaps = [n * abs(a - c) for n, a, c in zip(count, accuracy, confidence, strict=True)]
    expected = sum(gaps) / 300
    assert expected > 0.01
    torch.testing.assert_close(scores.calibration_error(found), expected)


def test_a_bin_holds_its_upper_edge() -> None:
    """eq:net-reliability: confidence 1 is in the last bin, and exactly 1/2 in the first of two."""
    logits = torch.tensor([[0.0, 0.0], [200.0, 0.0], [0.0, 200.0]]).double()
    found = scores.reliability(torch.tensor([0, 0, 0]), logits, bins=2)
    assert found.images.tolist() == [1, 2]
    assert found.confidence.tolist() == [0.5, 1]
    assert found.accuracy.tolist() == [1, 0.5]
    assert scores.calibration_error(found).item() == pytest.approx((0.5 + 2 * 0.5) / 3)


def test_labels_drawn_from_the_prediction_are_calibrated(
    normal: Draw, generator: torch.Generator
) -> None:
    """eq:net-ece goes to 0 when the classifier's probabilities are the truth, and only then."""
    logits = 2 * normal(40_000, 5)
    label = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    assert scores.calibration_error(scores.reliability(label, logits)) < 0.012
    assert scores.calibration_error(scores.reliability(label, 3 * logits)) > 0.1


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("score", [scores.accuracy, scores.confusion, scores.reliability])
def test_scores_refuse_what_does_not_fit(score: Callable[..., object]) -> None:
    """Other numbers of labels than rows, nothing at all, NaN, no bins."""
    with pytest.raises(ValueError, match="2 labels do not fit 3 rows"):
        score(torch.tensor([0, 1]), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="0 labels do not fit 0 rows"):
        score(torch.zeros(0).long(), torch.zeros(0, 4))
    with pytest.raises(ValueError, match="not numbers"):
        score(torch.tensor([0]), torch.full((1, 4), float("nan")))
    with pytest.raises(ValueError, match="bins must be positive, got 0"):
        scores.reliability(torch.tensor([0]), torch.zeros(1, 4), bins=0)
