"""Proof for litgen/segmentation/scores.py: scikit-learn, and maps small enough to count."""

import math
import warnings

import pytest
import torch
from sklearn import metrics
from torch import Tensor

from litgen.segmentation import scores


def maps(seed: int, classes: int, absent: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """Draw two maps of 3x7x5 pixels in which the classes are unlike in frequency."""
    draw = torch.Generator().manual_seed(seed)
    weights = torch.rand(2, classes, generator=draw) + 0.05
    weights[:, list(absent)] = 0
    truth = weights[0].multinomial(105, replacement=True, generator=draw).view(3, 7, 5)
    guess = weights[1].multinomial(105, replacement=True, generator=draw).view(3, 7, 5)
    keep = torch.rand(3, 7, 5, generator=draw) < 0.6
    return truth, truth.where(keep, guess)


@pytest.mark.parametrize("absent", [(), (0,), (2, 4)])
@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn(seed: int, absent: tuple[int, ...]) -> None:
    """eq:seg-confusion, eq:seg-pixel-accuracy, eq:seg-mean-accuracy, eq:seg-iou, eq:seg-mean-iou,
    eq:seg-weighted-iou: on random maps, also when classes are absent from both."""
    truth, found = maps(seed, 6, absent)
    counts = scores.confusion(truth, found, 6)
    a, b = truth.flatten().numpy(), found.flatten().numpy()
    expected = metrics.confusion_matrix(a, b, labels=range(6))
    assert counts.tolist() == expected.tolist()
    assert scores.pixel_accuracy(counts) == pytest.approx(metrics.accuracy_score(a, b))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        balanced = metrics.balanced_accuracy_score(a, b)
        each = metrics.jaccard_score(a, b, labels=range(6), average=None, zero_division=0)
    assert scores.mean_accuracy(counts) == pytest.approx(balanced)
    torch.testing.assert_close(
        scores.class_ious(counts).nan_to_num().double(), torch.tensor(each), rtol=1e-6, atol=0
    )
    assert scores.class_ious(counts).isnan().nonzero().flatten().tolist() == list(absent)
    macro = metrics.jaccard_score(a, b, average="macro")
    assert scores.mean_iou(counts) == pytest.approx(macro)
    weighted = metrics.jaccard_score(a, b, average="weighted")
    assert scores.frequency_weighted_iou(counts) == pytest.approx(weighted)


def test_a_class_that_only_the_prediction_has_counts_against_it() -> None:
    """Its intersection over union is 0, without accuracy; one that nobody has is left out."""
    truth = torch.tensor([[0, 0, 1], [1, 1, 1], [0, 0, 0]])
    found = torch.tensor([[0, 0, 1], [1, 1, 2], [0, 0, 0]])
    counts = scores.confusion(truth, found, 4)
    assert counts.tolist() == [[5, 0, 0, 0], [0, 3, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert scores.class_ious(counts).tolist()[:3] == [1, 0.75, 0]
    assert math.isnan(scores.class_ious(counts)[3])
    assert [math.isnan(x) for x in scores.class_accuracies(counts)] == [False, False, True, True]
    assert scores.mean_iou(counts) == pytest.approx(1.75 / 3)
    assert scores.mean_accuracy(counts) == pytest.approx(1.75 / 2)
    assert scores.frequency_weighted_iou(counts) == pytest.approx((5 + 4 * 0.75) / 9)
    assert scores.pixel_accuracy(counts) == pytest.approx(8 / 9)


def test_rows_are_the_truth() -> None:
    """Swapped maps give the transposed counts, and another mean accuracy."""
    truth, found = maps(1, 4)
    counts = scores.confusion(truth, found, 4)
    swapped = scores.confusion(found, truth, 4)
    assert counts.T.tolist() == swapped.tolist() != counts.tolist()
    assert scores.mean_accuracy(counts) != scores.mean_accuracy(swapped)
    assert scores.mean_iou(counts) == pytest.approx(scores.mean_iou(swapped))


def test_counts_of_parts_add_up() -> None:
    """Of three images together: the sum of theirs, not the mean of their scores."""
    truth, found = maps(2, 5)
    parts = [scores.confusion(a, b, 5) for a, b in zip(truth, found, strict=True)]
    counts = scores.confusion(truth, found, 5)
    assert torch.equal(torch.stack(parts).sum(dim=0), counts)
    mean = sum(scores.mean_iou(part) for part in parts) / 3
    assert scores.mean_iou(counts) != pytest.approx(mean, abs=1e-4)


def test_ignored_pixels_do_not_count() -> None:
    """Whatever is predicted there; labels of eight bits are taken as they are."""
    truth, found = maps(3, 4)
    keep = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0)) < 0.7
    void = truth.where(keep, 255).to(torch.uint8)
    counts = scores.confusion(void, found.to(torch.uint8), 4, ignored=255)
    assert torch.equal(counts, scores.confusion(truth[keep], found[keep], 4))


@pytest.mark.parametrize(
    ("truth", "found", "classes", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), 2, r"shape \(2, 3\), the predicted one \(3, 2\)"),
        (torch.tensor([0, 255]), torch.tensor([0, 1]), 2, r"true map has labels \[255\]"),
        (torch.tensor([0, 1]), torch.tensor([-1, 1]), 2, r"predicted map has labels \[-1\]"),
        (torch.tensor([0, 2]), torch.tensor([0, 1]), 2, r"outside 0\.\.1"),
        (torch.zeros(0), torch.zeros(0), 2, "no pixel counts"),
        (torch.zeros(1), torch.zeros(1), 0, "at least one class"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    truth: Tensor, found: Tensor, classes: int, message: str
) -> None:
    """Maps of different size, labels that are no class, nothing to count."""
    with pytest.raises(ValueError, match=message):
        scores.confusion(truth.long(), found.long(), classes)


def test_all_ignored_is_refused() -> None:
    """There is no score of nothing."""
    with pytest.raises(ValueError, match="all of them is ignored"):
        scores.confusion(torch.full((2,), 9), torch.zeros(2).long(), 3, ignored=9)
