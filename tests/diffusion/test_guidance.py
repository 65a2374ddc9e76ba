"""Proof for litgen/diffusion/guidance.py: Bayes' rule and two Gaussians whose answer is known."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from litgen.diffusion import ddim, ddpm, guidance, schedule
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


def test_a_model_that_says_x_or_v_is_guided_alike(normal: Draw) -> None:
    """eq:guidance-classifier: whatever the network says, the guided noise is the same."""
    x_t, t = normal(4, 2), torch.tensor([2, 11, 30, 50])
    whole = DATA.noise(x_t, t, TIMES)
    alpha_bar = TIMES.alpha_bar[t][:, None]
    data = (x_t - (1 - alpha_bar).sqrt() * whole) / alpha_bar.sqrt()
    velocity = alpha_bar.sqrt() * whole - (1 - alpha_bar).sqrt() * data
    expected = guidance.classifier_guided(whole, x_t, t, TIMES, label_log_prob, 2.5)
    assert (expected - whole).abs().max() > 0.1
    said: dict[ddpm.Prediction, Tensor] = {"noise": whole, "x": data, "v": velocity}
    for kind, output in said.items():

        def model(x: Tensor, when: Tensor, output: Tensor = output) -> Tensor:
            assert x is x_t
            assert when is t
            return output

        guided = guidance.classifier_model(model, label_log_prob, TIMES, 2.5, kind)
        torch.testing.assert_close(guided(x_t, t), expected)


def test_the_gradient_is_the_difference_of_two_scores(normal: Draw) -> None:
    """eq:guidance-bayes: by finite differences of the exact posterior, and by Bayes' rule."""
    x_t, t = normal(5, 2), torch.tensor([1, 5, 20, 35, 50])
    found = guidance.class_gradient(x_t, t, label_log_prob)
    for axis in range(2):
        step = 1e-5 * torch.eye(2, dtype=torch.float64)[axis]
        slope = (label_log_prob(x_t + step, t) - label_log_prob(x_t - step, t)) / 2e-5
        torch.testing.assert_close(found[:, axis], slope, rtol=1e-6, atol=1e-8)
    both = [ddpm.score(d.noise(x_t, t, TIMES), t, TIMES) for d in (DATA.component(0), DATA)]
    torch.testing.assert_close(found, both[0] - both[1])


# the ancestral step ------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_a_gaussian_tilted_by_an_exponential_is_shifted(scale: float) -> None:
    """eq:guidance-mean: by quadrature of N(x; mean, variance) exp(scale gradient x)."""
    mean, variance, gradient = 0.4, 0.09, -1.7
    x = torch.linspace(-4, 4, 20_001, dtype=torch.float64)
    density = (Normal(mean, variance**0.5).log_prob(x) + scale * gradient * x).exp()
    density = density / density.sum()
    middle = (density * x).sum()
    one = torch.ones(1, 1, dtype=torch.float64)
    found = guidance.shifted_mean(mean * one, variance * one, gradient * one, scale)
    torch.testing.assert_close(found[0, 0], middle)
    assert (density * (x - middle).square()).sum().item() == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("t", [100, 200, 300])
def test_the_guided_step_is_bayes_rule_for_a_short_step(t: int) -> None:
    """eq:guidance-mean: the mean of q(x_{t-1} | x_t, y), by quadrature over x_{t-1}."""
    times = schedule.linear(1_000)
    data = GaussianMixture(
        torch.tensor([0.4, 0.6]).double(), torch.tensor([[1.2], [-0.8]]).double(), 0.5
    )
    x_t, now = torch.tensor([[-0.3]]).double(), torch.tensor([t])
    signal, spread = times.alpha_bar[t].sqrt(), (1 - times.alpha_bar[t]).sqrt()
    guess = (x_t - spread * data.noise(x_t, now, times)) / signal
    gradient = guidance.class_gradient(
        x_t, now, lambda x, when: data.class_log_prob(x, when, times)[:, 0]
    )
    zero = torch.zeros_like(x_t)
    plain = ddpm.reverse_step(guess, x_t, now, zero, times)
    found = guidance.guided_step(guess, x_t, now, zero, gradient, times, 1.0)
    x = torch.linspace(-5, 5, 40_001, dtype=torch.float64)
    before, alpha = times.alpha_bar[t - 1], times.alpha_bar[t] / times.alpha_bar[t - 1]
    sd = (before * 0.25 + 1 - before).sqrt()
    own = Normal(before.sqrt() * 1.2, sd).log_prob(x)
    exact = (own + Normal(alpha.sqrt() * x, (1 - alpha).sqrt()).log_prob(x_t[0])).softmax(dim=0)
    middle = (exact * x).sum()
    print(middle - plain, middle - found)
    assert (middle - plain).abs() > 2e-3
    assert (middle - found).abs() < 0.02 * (middle - plain).abs()


def test_the_guided_step_adds_the_posteriors_noise(normal: Draw) -> None:
    """eq:guidance-mean: scale 0 is the plain step; the shift is scale, variance and gradient."""
    x, x_t, noise, gradient = (normal(4, 2) for _ in range(4))
    t = torch.tensor([1, 2, 25, 50])
    plain = ddpm.reverse_step(x, x_t, t, noise, TIMES)
    assert torch.equal(guidance.guided_step(x, x_t, t, noise, gradient, TIMES, 0.0), plain)
    found = guidance.guided_step(x, x_t, t, noise, gradient, TIMES, 3.0)
    beta, bar = TIMES.betas[t - 1], TIMES.alpha_bar
    variance = beta * (1 - bar[t - 1]) / (1 - bar[t])
    torch.testing.assert_close(found - plain, 3 * variance[:, None] * gradient)
    assert torch.equal(found[0], plain[0])


# what is aimed at, and what is reached -----------------------------------------------------------


def test_tempered_is_the_conditional_at_scale_1() -> None:
    """eq:guidance-tempered: normalised by quadrature it is p(x) at 0 and p(x | y) at 1."""
    data = GaussianMixture(
        torch.tensor([0.3, 0.7]).double(), torch.tensor([[1.0], [-1.0]]).double(), 0.6
    )
    x = torch.linspace(-8, 8, 8_001, dtype=torch.float64)
    zero = torch.zeros(len(x), dtype=torch.long)
    log_prob = data.log_prob(x[:, None], zero, TIMES)
    label = data.class_log_prob(x[:, None], zero, TIMES)[:, 0]
    parts = [Normal(m, 0.6).log_prob(x).exp() * w for m, w in ((1.0, 0.3), (-1.0, 0.7))]
    for scale in (0.0, 1.0, 2.5):
        expected = sum(parts) * (parts[0] / sum(parts)) ** scale
        found = guidance.tempered(log_prob, label, scale).exp()
        torch.testing.assert_close(found, expected)
        if scale == 1.0:
            torch.testing.assert_close(found / 0.3, Normal(1.0, 0.6).log_prob(x).exp())


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0, 3.0])
def test_the_guided_sampler_of_two_widths(scale: float) -> None:
    """eq:guidance-widths: class N(0, 0.5^2) in data N(0, 1): DDIM reaches sd 0.5^scale."""
    times = schedule.linear(1_000)
    one, zero = torch.ones(1).double(), torch.zeros(1, 1).double()
    own, whole = GaussianMixture(one, zero, 0.5), GaussianMixture(one, zero, 1.0)

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        return guidance.classifier_free(
            whole.noise(x_t, t, times), own.noise(x_t, t, times), scale
        )

    start = torch.tensor([[-1.0], [0.5], [2.0]]).double()
    *_, x = ddim.trajectory(model, start, times, list(range(1_000, -1, -1)))
    torch.testing.assert_close(x / start, torch.full_like(x, 0.5**scale), rtol=0.02, atol=0)


def test_labels_are_dropped_where_the_draw_is_below(unchecked: None) -> None:
    """eq:guidance-drop: the class "none" is one past the last."""
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
