"""Proof for litgen/gan/conditional.py: tables solved by Newton's method, networks by loops."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from litgen.gan import conditional, losses
from litgen.gan.networks import ConvCritic, ConvGenerator
from tests import oracles

Draw = Callable[..., Tensor]


def table(draw: Draw, classes: int, places: int, spread: float = 1.0) -> Tensor:
    """Return log-probabilities, a law over places in each row."""
    return torch.log_softmax(spread * draw(classes, places), dim=1)


def newton(data: Tensor, samples: Tensor) -> Tensor:
    """Return the logits that minimise the game's loss, one free logit for each entry."""
    logits = torch.zeros_like(data)
    for _ in range(60):
        d = torch.sigmoid(logits)
        step = ((data + samples) * d - data) / ((data + samples) * d * (1 - d))
        logits = logits - step.clamp(-1, 1)
    return logits


def test_the_best_conditional_critic_of_a_table(normal: Draw) -> None:
    """eq:cgan-optimal: Newton's minimiser of eq:cgan-game over a logit for each pair."""
    log_p, log_q = table(normal, 3, 5), table(normal, 3, 5)
    p_labels, q_labels = (torch.log_softmax(normal(3), dim=0) for _ in range(2))
    data, samples = (p_labels[:, None] + log_p).exp(), (q_labels[:, None] + log_q).exp()
    found = conditional.optimal_logits(log_p, log_q, p_labels, q_labels)
    torch.testing.assert_close(found, newton(data, samples))
    assert found.std() > 0.5
    assert (p_labels - q_labels).abs().min() > 0.05


def test_each_class_has_its_own_game_where_labels_have_one_law(normal: Draw) -> None:
    """eq:cgan-optimal, eq:cgan-per-class: no offset; the divergence is the mean of each one's."""
    log_p, log_q = table(normal, 3, 4), table(normal, 3, 4)
    law = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    best = conditional.optimal_logits(log_p, log_q, law.log(), law.log())
    each = []
    for c in range(3):
        row = newton(log_p[c].exp(), log_q[c].exp())
        torch.testing.assert_close(best[c], row)
        middle = (log_p[c].exp() + log_q[c].exp()) / 2
        each.append(sum((a.exp() * (a - middle.log())).sum() / 2 for a in (log_p[c], log_q[c])))
    joint_p, joint_q = law[:, None] * log_p.exp(), law[:, None] * log_q.exp()
    d = torch.sigmoid(best)
    loss = -(joint_p * d.log()).sum() - (joint_q * (1 - d).log()).sum()
    assert float(math.log(2) - loss / 2) == pytest.approx(float(law @ torch.stack(each)))
    assert torch.stack(each).std() > 0.01


def test_other_laws_of_labels_add_a_constant_for_each_class(normal: Draw) -> None:
    """eq:cgan-offset: with equal images in each class, the label alone gives samples away."""
    log_p = table(normal, 3, 4)
    p_labels = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).log()
    q_labels = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()
    found = conditional.optimal_logits(log_p, log_p, p_labels, q_labels)
    expected = torch.tensor([math.log(3), 0.0, math.log(0.2)], dtype=torch.float64)
    torch.testing.assert_close(found, expected[:, None].expand(3, 4))


def test_a_blind_critic_sees_the_mixtures_alone(normal: Draw) -> None:
    """eq:cgan-blind: Newton's minimiser on the sums over classes; swapped classes look alike."""
    log_p, log_q = table(normal, 3, 5), table(normal, 3, 5)
    p_labels, q_labels = (torch.log_softmax(normal(3), dim=0) for _ in range(2))
    data = sum(p_labels[c].exp() * log_p[c].exp() for c in range(3))
    samples = sum(q_labels[c].exp() * log_q[c].exp() for c in range(3))
    assert isinstance(data, Tensor)
    assert isinstance(samples, Tensor)
    found = conditional.blind_logits(log_p, log_q, p_labels, q_labels)
    torch.testing.assert_close(found, newton(data, samples))
    even = torch.full((3,), 1 / 3, dtype=torch.float64).log()
    swapped = conditional.blind_logits(log_p, log_p.roll(1, 0), even, even)
    assert swapped.abs().max() < 1e-14
    told = conditional.optimal_logits(log_p, log_p.roll(1, 0), even, even)
    assert told.abs().max() > 0.5


def test_densities_may_have_any_number_of_axes(normal: Draw) -> None:
    """A grid of places in the plane gives the same logits as the list of its places."""
    log_p, log_q = normal(2, 3, 4), normal(2, 3, 4)
    laws = torch.log_softmax(normal(2), dim=0), torch.log_softmax(normal(2), dim=0)
    for function in (conditional.optimal_logits, conditional.blind_logits):
        flat = function(log_p.flatten(1), log_q.flatten(1), *laws)
        torch.testing.assert_close(function(log_p, log_q, *laws).flatten(-2), flat)


def test_bayes_splits_the_best_logits(normal: Draw) -> None:
    """eq:cgan-factor: log p(y|x)/q(y|x) + log p(x)/q(x), each from sums of the joint table."""
    log_p, log_q = table(normal, 3, 5), table(normal, 3, 5)
    laws = [torch.log_softmax(normal(3), dim=0) for _ in range(2)]
    joint = [
        law.exp()[:, None] * rows.exp() for law, rows in zip(laws, (log_p, log_q), strict=True)
    ]
    place = [part.sum(dim=0) for part in joint]
    posterior = [part / total for part, total in zip(joint, place, strict=True)]
    expected = (posterior[0] / posterior[1]).log() + (place[0] / place[1]).log()
    torch.testing.assert_close(conditional.optimal_logits(log_p, log_q, *laws), expected)
    blind = conditional.blind_logits(log_p, log_q, *laws)
    torch.testing.assert_close(blind, (place[0] / place[1]).log())
    assert (posterior[0] / posterior[1]).log().std() > 0.3


def test_softmax_posteriors_make_the_best_critic_a_projection(normal: Draw) -> None:
    """eq:cgan-posteriors, eq:cgan-projection: Gaussians of one variance, features x and one."""
    centres, moved = normal(3, 2), normal(3, 2)
    x, labels = normal(40, 2), torch.arange(40) % 3
    even = torch.full((3,), 1 / 3, dtype=torch.float64).log()

    def log_density(at: Tensor) -> Tensor:
        """Return log N(x; centre, I) for each class."""
        return torch.stack([Normal(c, 1.0).log_prob(x).sum(dim=1) for c in at])

    log_p, log_q = log_density(centres), log_density(moved)
    exact = conditional.optimal_logits(log_p, log_q, even, even)[labels, torch.arange(40)]
    # log p(y|x) is the softmax of centre . x - |centre|^2 / 2: linear in (x, 1)
    rows = [torch.cat([c, -c.square().sum(1, keepdim=True) / 2], dim=1) for c in (centres, moved)]
    features = torch.cat([x, torch.ones(40, 1, dtype=torch.float64)], dim=1)
    partition = [torch.logsumexp(features @ r.T, dim=1) for r in rows]
    blind = conditional.blind_logits(log_p, log_q, even, even)
    vectors = (rows[0] - rows[1])[labels]
    found = conditional.project(features, vectors, blind - partition[0] + partition[1])
    torch.testing.assert_close(found, exact)
    assert exact.std() > 0.5


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_no_law_is_better_for_a_classifiers_reward(normal: Draw, weight: float) -> None:
    """eq:cgan-auxiliary: no slope is left in free logits, and every other law scores worse."""
    log_p, labels = table(normal, 3, 6), torch.log_softmax(normal(3), dim=0)
    joint = labels.exp()[:, None] * log_p.exp()
    posterior = (joint / joint.sum(dim=0)).log()
    found = conditional.auxiliary_law(log_p, labels, weight)

    def loss(free: Tensor) -> Tensor:
        """Return KL(q||p) minus the reward, summed over classes, for q a softmax."""
        log_q = torch.log_softmax(free, dim=1)
        return (log_q.exp() * (log_q - log_p - weight * posterior)).sum()

    free = found.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(free), free)
    assert slope.abs().max() < 1e-12
    for _ in range(20):
        assert loss(found + 0.1 * normal(3, 6)) > loss(found)
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(3, dtype=torch.float64))
    gain = (found.exp() * posterior).sum(dim=1) - (log_p.exp() * posterior).sum(dim=1)
    assert (gain > 0.01).all()  # nearer to what the classifier is sure of
    torch.testing.assert_close(conditional.auxiliary_law(log_p, labels, 0.0), log_p)


def test_a_one_hot_row_names_its_class() -> None:
    """Entry by entry, for each kind of whole number."""
    for dtype in (torch.long, torch.int32, torch.int16):
        found = conditional.one_hot(torch.tensor([2, 0, 3], dtype=dtype), 4)
        assert found.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
        assert found.is_floating_point()
    assert conditional.one_hot(torch.zeros(0, dtype=torch.long), 4).shape == (0, 4)


def small_generator(norm: str = "none", scale: float = 3.0) -> conditional.ConditionalGenerator:
    """Return a generator in double precision whose weights are not near zero."""
    torch.manual_seed(4)
    made = conditional.ConditionalGenerator(3, 4, (5, 2), side=8, norm=norm, scale=scale)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.4)
    return made.double()


def test_a_class_is_a_bias_of_the_first_layer(normal: Draw) -> None:
    """eq:cgan-concat: the same network with the class's column, scaled, in the bias."""
    made, z = small_generator(), normal(6, 3)
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    found = made(z, labels)
    weight, bias = (p.detach() for p in made.body.stages[0][0].parameters())
    for i, label in enumerate(labels.tolist()):
        plain = ConvGenerator(3, (5, 2), side=8, norm="none").double()
        state = made.body.state_dict()
        state["stages.0.0.weight"] = weight[:, :3].clone()
        state["stages.0.0.bias"] = bias + 3.0 * weight[:, 3 + label]
        plain.load_state_dict(state)
        torch.testing.assert_close(plain(z[i : i + 1]), found[i : i + 1])
    assert (found[2] - made(z[2:3], torch.tensor([2]))[0]).abs().max() > 0.05


def test_shares_of_classes_can_be_mixed(normal: Draw) -> None:
    """A whole share is the class itself; half a share of two is neither."""
    made, z = small_generator(), normal(2, 3)
    whole = torch.tensor([[0.0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
    labels = torch.tensor([1, 3])
    torch.testing.assert_close(made.blend(z, whole), made(z, labels))
    half = made.blend(z, whole.mean(dim=0).expand(2, 4))
    assert (half - made(z, labels)).abs().max() > 0.05


def test_the_critic_projects_on_its_classs_vector(normal: Draw) -> None:
    """eq:cgan-projection: features, head and product summed in loops."""
    torch.manual_seed(5)
    critic = conditional.ConditionalCritic(4, (2, 3), side=8, norm="none").double()
    for parameter in critic.parameters():
        nn.init.normal_(parameter, std=0.5)
    x, labels = normal(5, 1, 8, 8), torch.tensor([3, 0, 2, 2, 1])
    found = critic(x, labels).tolist()
    features = critic.body.features(x).tolist()
    weight, bias = critic.body.head[1].weight[0].tolist(), critic.body.head[1].bias.item()
    vectors = critic.vectors.tolist()
    for i, label in enumerate(labels.tolist()):
        own = sum(f * v for f, v in zip(features[i], vectors[label], strict=True))
        head = sum(f * w for f, w in zip(features[i], weight, strict=True)) + bias
        assert found[i] == pytest.approx(own + head, rel=1e-10)
    assert max(found) - min(found) > 0.5
    assert critic.vectors.std() > 0.3


def test_the_critic_sees_the_class_as_a_plane(normal: Draw) -> None:
    """Planes: the same convolutional critic on an image stacked by hand, white where the class."""
    torch.manual_seed(6)
    critic = conditional.ConditionalCritic(
        3, (2, 3), side=8, norm="none", reading="planes"
    ).double()
    for parameter in critic.parameters():
        nn.init.normal_(parameter, std=0.5)
    x, labels = normal(4, 1, 8, 8), torch.tensor([2, 0, 1, 2])
    plain = ConvCritic((2, 3), 4, 8, "none").double()
    plain.load_state_dict(critic.body.state_dict())
    stacked = torch.zeros(4, 4, 8, 8, dtype=torch.float64)
    stacked[:, :1] = x
    for i, label in enumerate(labels.tolist()):
        stacked[i, 1 + label] = 1
    torch.testing.assert_close(critic(x, labels), plain(stacked))
    assert (critic(x, labels) - critic(x, (labels + 1) % 3)).abs().min() > 1e-3
    assert not hasattr(critic, "vectors")


def test_the_vectors_start_small() -> None:
    """As all weights of these players do, with standard deviation 0.02, and not at zero."""
    torch.manual_seed(0)
    critic = conditional.ConditionalCritic(10, (16, 32))
    assert critic.vectors.shape == (10, 32 * 7 * 7)
    assert critic.vectors.std().item() == pytest.approx(0.02, rel=0.02)


def test_a_conditional_critic_sees_what_a_blind_one_cannot(normal: Draw) -> None:
    """eq:cgan-per-class, eq:cgan-blind: swapped Gaussians, by quadrature of their divergence."""
    centres, even = torch.tensor([-1.0, 1.0], dtype=torch.float64), torch.zeros(2).double()
    even = even - math.log(2)

    def log_p(x: Tensor) -> Tensor:
        """Return log N(x; centre, 1) for both classes."""
        return torch.stack([Normal(c, 1.0).log_prob(x) for c in centres])

    def js(x: Tensor) -> Tensor:
        """Return the integrand of the divergence of N(-1, 1) and N(1, 1)."""
        p, q = log_p(x).exp()
        middle = (p + q) / 2
        return (p * (p / middle).log() + q * (q / middle).log()) / 2

    expected = oracles.integrate(js, -10, 10).item()
    x = torch.linspace(-10, 10, 4_001, dtype=torch.float64)
    told = conditional.optimal_logits(log_p(x), log_p(x).flip(0), even, even)
    joint = log_p(x).exp() / 2
    loss = torch.trapezoid(joint * nn.functional.softplus(-told), x).sum()
    loss += torch.trapezoid(joint.flip(0) * nn.functional.softplus(told), x).sum()
    assert math.log(2) - loss.item() / 2 == pytest.approx(expected, rel=1e-9)
    assert 0.3 < expected < math.log(2)
    blind = conditional.blind_logits(log_p(x), log_p(x).flip(0), even, even)
    assert losses.jensen_shannon(blind, blind).item() == pytest.approx(0, abs=1e-15)


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_belong_is_refused(normal: Draw) -> None:
    """Labels of another kind or range, and shapes that broadcasting would accept."""
    for wrong in (torch.zeros(3), torch.zeros(3, dtype=torch.bool)):
        with pytest.raises(ValueError, match="labels are whole numbers, got torch"):
            conditional.one_hot(wrong, 4)
    with pytest.raises(ValueError, match="0 to 3, got 0 to 4"):
        conditional.one_hot(torch.tensor([0, 4]), 4)
    with pytest.raises(ValueError, match="0 to 3, got -1 to 2"):
        conditional.one_hot(torch.tensor([2, -1]), 4)
    with pytest.raises(ValueError, match=r"one label for each example, got shape \(3, 1\)"):
        conditional.one_hot(torch.zeros(3, 1, dtype=torch.long), 4)
    made = small_generator()
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(3, 4\)"):
        made(normal(2, 3), torch.arange(3))
    with pytest.raises(ValueError, match=r"got \(2, 4\) and \(2, 4\)"):
        made(normal(2, 4), torch.arange(2))
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(2, 5\)"):
        made.blend(normal(2, 3), normal(2, 5))
    with pytest.raises(ValueError, match="scale must be positive, got 0"):
        conditional.ConditionalGenerator(scale=0.0)
    for reading in ("projection", "planes"):
        critic = conditional.ConditionalCritic(4, (2,), side=8, reading=reading)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="2 images, 3 labels"):
            critic(torch.zeros(2, 1, 8, 8), torch.arange(3))
    with pytest.raises(ValueError, match="there are: projection, planes"):
        conditional.ConditionalCritic(reading="sum")  # type: ignore[arg-type]
    law = torch.zeros(3)
    for function in (conditional.optimal_logits, conditional.blind_logits):
        with pytest.raises(ValueError, match="two tables and two laws of their rows"):
            function(torch.zeros(3, 4), torch.zeros(3, 4), law, torch.zeros(4))
        with pytest.raises(ValueError, match="two tables"):
            function(torch.zeros(3, 4), torch.zeros(1, 4), law, law)
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        conditional.auxiliary_law(torch.zeros(3, 4), law, -1.0)
    with pytest.raises(ValueError, match="two tables"):
        conditional.auxiliary_law(torch.zeros(3, 4), torch.zeros(4), 1.0)
