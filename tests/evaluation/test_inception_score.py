"""Proof for litgen/evaluation/inception_score.py: cases known by hand, a loop, torch-fidelity."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from litgen.evaluation.inception_score import inception_score

Draw = Callable[..., Tensor]


def test_score_is_the_formula_by_loops(normal: Draw) -> None:
    """eq:inception-score: sums over samples and classes, one at a time."""
    logits = 2 * normal(5, 3)
    p = [[math.exp(v) / sum(math.exp(u) for u in row) for v in row] for row in logits.tolist()]
    mean = [sum(row[c] for row in p) / 5 for c in range(3)]
    total = sum(row[c] * math.log(row[c] / mean[c]) for row in p for c in range(3)) / 5
    assert inception_score(logits).item() == pytest.approx(math.exp(total), rel=1e-9)


@pytest.mark.parametrize("classes", [2, 7])
def test_sure_and_various_scores_the_number_of_classes(classes: int) -> None:
    """One sample of each class, all sure: the largest value; all the same class: the least."""
    sure = 200 * torch.eye(classes)
    assert inception_score(sure).item() == pytest.approx(classes, rel=1e-6)
    assert inception_score(sure[:1].expand(4, -1)).item() == pytest.approx(1)
    assert inception_score(torch.zeros(5, classes)).item() == pytest.approx(1)
    assert inception_score(sure).dtype == sure.dtype


def test_score_is_torch_fidelitys(normal: Draw) -> None:
    """On the same logits, in one split."""
    metric = pytest.importorskip("torch_fidelity.metric_isc")
    logits = 2 * normal(300, 10)
    theirs = metric.isc_features_to_metric(logits, splits=1, shuffle=False)
    assert inception_score(logits).item() == pytest.approx(
        theirs["inception_score_mean"], rel=1e-9
    )


def test_score_is_torchmetrics(normal: Draw) -> None:
    """Their metric, with a network that returns what it is given."""
    image = pytest.importorskip("torchmetrics.image.inception")
    logits = 2 * normal(60, 5).float()
    with pytest.warns(UserWarning, match="save all extracted features"):
        metric = image.InceptionScore(feature=torch.nn.Identity(), splits=1)
    metric.update(logits)
    with pytest.warns(UserWarning, match="degrees of freedom"):  # of the spread over one split
        theirs = metric.compute()[0].item()
    assert inception_score(logits).item() == pytest.approx(theirs, rel=1e-5)


def test_score_is_two_entropies(normal: Draw) -> None:
    """eq:score-entropies: the log is H(y) - H(y|x), by torch.distributions; never below 1."""
    for scale in (0.1, 1.0, 10.0):
        logits = scale * normal(40, 6)
        given = torch.distributions.Categorical(logits=logits)
        everything = torch.distributions.Categorical(probs=given.probs.mean(dim=0))
        expected = everything.entropy() - given.entropy().mean()
        score = inception_score(logits)
        assert score.log().item() == pytest.approx(expected.item(), rel=1e-6)
        assert 1 < score < 6


@pytest.mark.parametrize(
    "logits", [torch.zeros(0, 3), torch.zeros(3), torch.tensor([[0.0, math.nan]])]
)
def test_bad_input(unchecked: None, logits: Tensor) -> None:
    """No samples, no classes, numbers of a run that diverged."""
    with pytest.raises(ValueError, match="finite logits"):
        inception_score(logits)
