"""Proof for litgen/diffusion/guidance.py: Bayes' rule and two Gaussians whose answer is known."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from litgen.diffusion import ddpm, guidance, schedule
from litgen.diffusion.known import GaussianMixture

Draw = Callable[..., Tensor]
TIMES = schedule.linear(50)
DATA = GaussianMixture(
    torch.tensor([0.3, 0.7]).double(), torch.tensor([[1.0, 0.5], [-1.0, 0.2]]).double(), 0.6
)


def label_log_prob(x_t: Tensor, t: Tensor) -> Tensor:
    """Return the exact log p(y = 0 | x_t)."""
    return DATA.class_log_prob(x_t, t, TIMES)[:, 0]


def test_scale_1_is_the_conditional_model(normal: Draw) -> None:
    """eq:guidance-classifier: by Bayes, the guided noise is that of the wanted class alone."""
    x_t, t = normal(5, 2), torch.tensor([1, 5, 20, 35, 50])
    whole, alone = DATA.noise(x_t, t, TIMES), DATA.component(0).noise(x_t, t, TIMES)
    assert (whole - alone).abs().max() > 0.1
    found = guidance.classifier_guided(whole, x_t, t, TIMES, label_log_prob, 1.0)
    torch.testing.assert_close(found, alone)


def test_scale_0_is_the_unconditional_model(normal: Draw) -> None:
    """eq:guidance-classifier, eq:guidance-free: to the bit."""
    x_t, t = normal(5, 2), torch.tensor([1, 5, 20, 35, 50])
    whole, alone = DATA.noise(x_t, t, TIMES), DATA.component(0).noise(x_t, t, TIMES)
    found = guidance.classifier_guided(whole, x_t, t, TIMES, label_log_prob, 0.0)
    assert torch.equal(found, whole)
    assert torch.equal(guidance.classifier_free(whole, alone, 0.0), whole)
    assert torch.equal(guidance.classifier_free(whole, alone, 1.0), alone)


@pytest.mark.parametrize("scale", [0.5, 2.0, 4.0])
def test_guided_score_is_that_of_the_sharpened_law(scale: float, normal: Draw) -> None:
    """eq:guidance-score: the score of q(x_t) p(y|x_t)^scale, by autograd through the judge."""
    x_t, t = normal(4, 2).requires_grad_(), torch.tensor([3, 10, 25, 50])
    total = torch.zeros((), dtype=torch.float64)
    for n in range(4):
        alpha_bar = TIMES.alpha_bar[t[n]]
        spread = (alpha_bar * 0.36 + 1 - alpha_bar).sqrt()
        parts = Normal(alpha_bar.sqrt() * DATA.means, spread).log_prob(x_t[n]).sum(dim=1)
        parts = parts + DATA.weights.log()
        total = total + parts.logsumexp(0) + scale * parts.log_softmax(0)[0]
    expected = torch.autograd.grad(total, x_t)[0]
    place = x_t.detach()
    whole, alone = DATA.noise(place, t, TIMES), DATA.component(0).noise(place, t, TIMES)
    by_classifier = guidance.classifier_guided(whole, place, t, TIMES, label_log_prob, scale)
    torch.testing.assert_close(ddpm.score(by_classifier, t, TIMES), expected)
    by_both = guidance.classifier_free(whole, alone, scale)
    torch.testing.assert_close(ddpm.score(by_both, t, TIMES), expected)


def test_guidance_leaves_no_graph_behind(normal: Draw) -> None:
    """Under no_grad, as samplers run, it still differentiates the classifier, and nothing else."""
    x_t, t = normal(3, 2), torch.tensor([5, 5, 5])
    with torch.no_grad():
        found = guidance.classifier_guided(
            torch.zeros_like(x_t), x_t, t, TIMES, label_log_prob, 2.0
        )
    assert found.abs().min() > 0
    assert not found.requires_grad
    assert not x_t.requires_grad


def test_labels_are_dropped_where_the_draw_is_below(unchecked: None) -> None:
    """The class "none" is one past the last."""
    labels, uniform = torch.tensor([0, 1, 2, 1]), torch.tensor([0.05, 0.5, 0.19, 0.2])
    assert guidance.drop_labels(labels, uniform, 0.2, 3).tolist() == [3, 1, 3, 1]
    assert guidance.drop_labels(labels, uniform, 0.0, 3).tolist() == labels.tolist()


@pytest.mark.parametrize(("scale", "calls"), [(0.0, 1), (1.0, 1), (3.0, 1)])
def test_guided_model_asks_with_and_without_the_class(
    scale: float, calls: int, normal: Draw
) -> None:
    """eq:guidance-free: the mixture of a network's two answers, in one evaluation."""
    asked = []

    def network(x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        asked.append(labels.tolist())
        return x_t * (1 + labels.double()[:, None]) + t.double()[:, None]

    x_t, t, labels = normal(2, 3), torch.tensor([4, 9]), torch.tensor([0, 1])
    found = guidance.guided_model(network, labels, scale, 2)(x_t, t)
    without = 3 * x_t + t[:, None]
    given = x_t * (1 + labels[:, None]) + t[:, None]
    torch.testing.assert_close(found, without + scale * (given - without))
    assert len(asked) == calls
    assert len(asked[0]) == (2 if scale in (0, 1) else 4)


def test_bad_input(unchecked: None) -> None:
    """Unknown classes and impossible probabilities."""
    for label in (-1, 3):
        with pytest.raises(ValueError, match=r"0\.\.2"):
            guidance.guided_model(lambda x, t, y: x, torch.tensor([0, label]), 1.0, 3)
        with pytest.raises(ValueError, match=r"0\.\.2"):
            guidance.drop_labels(torch.tensor([label]), torch.rand(1), 0.1, 3)
    with pytest.raises(ValueError, match="probability"):
        guidance.drop_labels(torch.tensor([1]), torch.rand(1), 1.1, 3)
