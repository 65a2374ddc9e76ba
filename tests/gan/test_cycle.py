"""Proof for litgen/gan/cycle.py: losses by hand, who is moved by what, and what is compared."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from litgen.gan import cycle
from litgen.gan.buffer import ImageBuffer
from litgen.gan.cycle import Objective, Translators, UnpairedBatches
from litgen.training import play
from tests import oracles

Normal = Callable[..., Tensor]


class Scaled(nn.Module):
    """A translator that multiplies; it counts the images that pass."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))
        self.calls: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        """Return the product."""
        self.calls.append(len(x))
        return self.factor * x


class Meaned(nn.Module):
    """A critic: an image's mean, times a weight, at two places."""

    def __init__(self, weight: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, 2) values."""
        self.seen.append(x.detach().clone())
        value = self.weight * x.flatten(1).mean(dim=1)
        return torch.stack([value, 2 * value], dim=1)


def test_the_critics_loss_by_hand(normal: Normal) -> None:
    """eq:cycle-critic: half a mean square each, whatever the sizes; nothing to see is refused."""
    real, fake = normal(3, 2, 2), normal(5, 2, 2)
    by_hand = sum((v - 1) ** 2 for v in real.flatten().tolist()) / 12 / 2
    by_hand += sum(v**2 for v in fake.flatten().tolist()) / 20 / 2
    assert cycle.critic_loss(real, fake).item() == pytest.approx(by_hand)
    for empty in ((real[:0], fake), (real, fake[:0])):
        with pytest.raises(ValueError, match="need some of both"):
            cycle.critic_loss(*empty)


def test_the_best_critic_is_a_share(normal: Normal) -> None:
    """eq:cycle-best-critic: on four places, p / (p + q) has no slope, and its loss is known."""
    p, q = normal(2, 4).softmax(dim=1)
    values = (p / (p + q)).requires_grad_()

    def loss(d: Tensor) -> Tensor:
        each = [cycle.critic_loss(d[i : i + 1], d[j : j + 1]) for i in range(4) for j in range(4)]
        return (torch.outer(p, q).flatten() * torch.stack(each)).sum()

    best = loss(values)
    (slope,) = torch.autograd.grad(best, values)
    torch.testing.assert_close(slope, torch.zeros(4).double())
    assert best.item() == pytest.approx((p * q / (p + q)).sum().item() / 2)
    for _ in range(20):
        assert loss(values.detach() + 0.1 * normal(4)) > best


def test_fooling_is_being_taken_for_data(normal: Normal) -> None:
    """eq:cycle-fool: one number an image, 0 where every patch is taken for data."""
    values = normal(3, 2, 4)
    by_hand = [np.mean([(v - 1) ** 2 for v in part.flatten().tolist()]) for part in values]
    assert cycle.fooling_loss(values).tolist() == pytest.approx(by_hand)
    assert cycle.fooling_loss(torch.ones(2, 3)).tolist() == [0, 0]


def test_distance_is_a_mean_of_absolute_differences(normal: Normal) -> None:
    """eq:cycle-loss, eq:cycle-identity: by a loop over pixels, one number an image."""
    x, other = normal(2, 3, 2, 2), normal(2, 3, 2, 2)
    by_hand = [
        sum(abs(a - b) for a, b in zip(u.flatten().tolist(), v.flatten().tolist(), strict=True))
        / 12
        for u, v in zip(x, other, strict=True)
    ]
    assert cycle.distance(x, other).tolist() == pytest.approx(by_hand)
    assert by_hand[0] != pytest.approx(by_hand[1])


@pytest.mark.usefixtures("unchecked")
def test_distance_refuses_to_broadcast() -> None:
    """Torch would compare one image with many."""
    with pytest.raises(ValueError, match=r"shapes \(2, 1\) and \(1, 1\)"):
        cycle.distance(torch.zeros(2, 1), torch.zeros(1, 1))


def test_what_is_made_and_from_what(normal: Normal) -> None:
    """eq:cycle-made: with G = 2x and F = 3x everything says by which way it came."""
    x, y = normal(2, 1, 2, 2), normal(2, 1, 2, 2)
    nets = Translators(Scaled(2.0), Scaled(3.0))
    found = cycle.made(nets, x, y, Objective())
    expected = {
        "fake_y": 2 * x,
        "fake_x": 3 * y,
        "back_x": 6 * x,
        "back_y": 6 * y,
        "same_y": 2 * y,
        "same_x": 3 * x,
    }
    for name, value in expected.items():
        torch.testing.assert_close(getattr(found, name), value)
    assert nets.there.calls == nets.back.calls == [4, 2], "translation and identity share a pass"


def test_what_is_not_weighed_is_not_made(normal: Normal) -> None:
    """Without cycle or identity the networks do not run for them."""
    x, y = normal(2, 1, 2, 2), normal(2, 1, 2, 2)
    for objective, calls in ((Objective(cycle=0.0), [4]), (Objective(identity=0.0), [2, 2])):
        nets = Translators(Scaled(2.0), Scaled(3.0))
        found = cycle.made(nets, x, y, objective)
        assert nets.there.calls == nets.back.calls == calls
        assert (found.back_x is None) == (objective.cycle == 0)
        assert (found.same_y is None) == (objective.identity == 0)
        torch.testing.assert_close(found.fake_y, 2 * x)


def test_noise_goes_on_the_way_back_alone(normal: Normal) -> None:
    """The critic sees the translation without it; each direction has noise of its own."""
    x, y = normal(2, 1, 2, 2), normal(2, 1, 2, 2)
    draws = iter([normal(2, 1, 2, 2), normal(2, 1, 2, 2)])
    kept: list[Tensor] = []

    def noise(like: Tensor) -> Tensor:
        kept.append(next(draws))
        assert like.shape == kept[-1].shape
        return kept[-1]

    nets = Translators(Scaled(2.0), Scaled(3.0))
    found = cycle.made(nets, x, y, Objective(noise=0.5), noise)
    torch.testing.assert_close(found.fake_y, 2 * x)
    torch.testing.assert_close(found.back_x, 3 * (2 * x + 0.5 * kept[0]))
    torch.testing.assert_close(found.back_y, 2 * (3 * y + 0.5 * kept[1]))
    cycle.made(nets, x, y, Objective(noise=0.0), noise)
    assert len(kept) == 2, "an objective without noise draws none"


def test_the_papers_weights() -> None:
    """Lambda is 10, the identity counts half of it, and there is no noise."""
    assert Objective() == Objective(cycle=10.0, identity=5.0, noise=0.0)


def test_the_objective_by_hand(normal: Normal) -> None:
    """eq:cycle-objective: six terms with three weights; identities have none to pay."""
    x, y = normal(3, 1, 2, 2), normal(3, 1, 2, 2)
    objective = Objective(cycle=7.0, identity=3.0)
    found = cycle.made(Translators(Scaled(2.0), Scaled(0.25)), x, y, objective)
    judged = normal(3, 2), normal(3, 2)
    loss = cycle.translators_loss(found, x, y, *judged, objective)
    for i in range(3):
        ax, ay = x[i].abs().mean().item(), y[i].abs().mean().item()
        by_hand = sum(((d[i] - 1) ** 2).mean().item() for d in judged)
        by_hand += 7 * (abs(0.5 - 1) * ax + abs(0.5 - 1) * ay)
        by_hand += 3 * (abs(0.25 - 1) * ax + abs(2 - 1) * ay)
        assert loss[i].item() == pytest.approx(by_hand)
    same = cycle.made(Translators(nn.Identity(), nn.Identity()), x, y, objective)
    done = torch.ones(3, 2).double()
    assert cycle.translators_loss(same, x, y, done, done, objective).tolist() == [0, 0, 0]
    for wrong in ({"cycle": -1.0}, {"identity": -1.0}, {"noise": -0.1}):
        with pytest.raises(ValueError, match="must not be negative"):
            Objective(**wrong)


def started(normal: Normal) -> tuple[Translators, nn.ModuleDict, list[Tensor], list]:
    """Return a small game: networks, the batches that it will see, and its players."""
    nets = Translators(Scaled(2.0), Scaled(3.0))
    critics = nn.ModuleDict({"x": Meaned(0.5), "y": Meaned(-0.7)})
    batches = [normal(2, 3, 1, 2, 2) for _ in range(2)]
    optimizers = tuple(torch.optim.SGD(n.parameters(), 0.1) for n in (nets, critics))
    movers = cycle.players(
        nets, critics, optimizers, (Tensor.detach, Tensor.detach), Objective(4.0, 2.0)
    )
    return nets, critics, batches, movers


def test_who_moves_by_what(normal: Normal) -> None:
    """eq:cycle-turns: losses of both moves by hand; nobody moves the others' weights."""
    nets, critics, batches, movers = started(normal)
    x, y = batches[0]
    steps = play(movers, iter(batches), 1)
    first = next(steps)
    m = lambda t: t.flatten(1).mean(dim=1)  # noqa: E731
    judged_y = torch.stack([-0.7 * m(2 * x), -1.4 * m(2 * x)], dim=1)
    judged_x = torch.stack([0.5 * m(3 * y), 1.0 * m(3 * y)], dim=1)
    by_hand = ((judged_y - 1) ** 2).mean() + ((judged_x - 1) ** 2).mean()
    by_hand = by_hand + 4 * 5 * (x.abs().mean() + y.abs().mean())
    by_hand = by_hand + 2 * (2 * x.abs().mean() + 1 * y.abs().mean())
    torch.testing.assert_close(first.loss, by_hand)
    assert first.player == "translators"
    assert nets.there.factor.item() != 2
    assert critics["x"].weight.item() == 0.5
    assert critics["y"].weight.item() == -0.7
    made_before = len(nets.there.calls)
    moved = nets.there.factor.item(), nets.back.factor.item()
    second = next(steps)
    x2, y2 = batches[1]
    assert len(nets.there.calls) == made_before, "the critics are shown what is made already"
    expected = 0.0
    for weight, real, fake in ((-0.7, y2, 2 * x), (0.5, x2, 3 * y)):
        real_values = torch.stack([weight * m(real), 2 * weight * m(real)])
        fake_values = torch.stack([weight * m(fake), 2 * weight * m(fake)])
        expected += ((real_values - 1) ** 2).mean().item() / 2 + (fake_values**2).mean().item() / 2
    assert second.loss.item() == pytest.approx(expected)
    assert (nets.there.factor.item(), nets.back.factor.item()) == moved
    assert critics["x"].weight.item() != 0.5
    assert critics["y"].weight.item() != -0.7


def test_translators_are_moved_along_the_whole_way(normal: Normal) -> None:
    """eq:cycle-turns: slopes by central differences; both ways there and back count for both."""
    nets, _, batches, movers = started(normal)
    x, y = batches[0]

    def loss(factors: Tensor) -> Tensor:
        there, back = factors
        means = (t.flatten(1).mean(dim=1) for t in (there * x, back * y))
        judged = [torch.stack([w * m, 2 * w * m]) for w, m in zip((-0.7, 0.5), means, strict=True)]
        fooled = sum((values - 1).square().mean() for values in judged)
        ax, ay = x.abs().mean(), y.abs().mean()
        round_trip = (there * back - 1).abs() * (ax + ay)
        return fooled + 4 * round_trip + 2 * ((there - 1).abs() * ay + (back - 1).abs() * ax)

    start = torch.tensor([2.0, 3.0], dtype=torch.float64)
    expected = start - 0.1 * oracles.central_difference(loss, start)
    next(play(movers, iter(batches), 1))
    assert nets.there.factor.item() == pytest.approx(expected[0].item(), rel=1e-6)
    assert nets.back.factor.item() == pytest.approx(expected[1].item(), rel=1e-6)


def test_critics_see_through_their_own_buffers(normal: Normal) -> None:
    """The buffer for Y gets what is made in Y, and what it hands on is judged by Y's critic."""
    nets, critics, batches, _ = started(normal)
    got: list[Tensor] = []

    def stands_for(number: float) -> Callable[[Tensor], Tensor]:
        def buffer(images: Tensor) -> Tensor:
            got.append(images)
            return torch.full_like(images, number)

        return buffer

    optimizers = tuple(torch.optim.SGD(n.parameters(), 0.0) for n in (nets, critics))
    movers = cycle.players(
        nets, critics, optimizers, (stands_for(11.0), stands_for(22.0)), Objective()
    )
    list(play(movers, iter(batches), 1))
    torch.testing.assert_close(got[0], 2 * batches[0][0])
    torch.testing.assert_close(got[1], 3 * batches[0][1])
    assert not got[0].requires_grad
    for name, number, real in (("y", 11.0, batches[1][1]), ("x", 22.0, batches[1][0])):
        seen = critics[name].seen[-1]
        torch.testing.assert_close(seen[:3], real)
        assert seen[3:].unique().tolist() == [number]


def test_loading_and_half_precision(normal: Normal) -> None:
    """Batches pass through ``load``; losses are float32 whatever networks compute in."""
    nets = Translators(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))
    critics = nn.ModuleDict({name: nn.Conv2d(1, 1, 1) for name in "xy"})
    optimizers = tuple(torch.optim.SGD(n.parameters(), 0.1) for n in (nets, critics))
    draw = torch.Generator().manual_seed(0)
    buffers = ImageBuffer(3, draw), ImageBuffer(3, draw)
    movers = cycle.players(
        nets, critics, optimizers, buffers, Objective(), lambda b: b.float() / 255, mixed=True
    )
    bytes_ = torch.randint(256, (2, 2, 1, 4, 4), generator=draw, dtype=torch.uint8)
    steps = list(play(movers, itertools.repeat(bytes_), 2))
    assert {step.loss.dtype for step in steps} == {torch.float32}
    assert {image.dtype for image in buffers[0].stored} == {torch.float32}
    assert steps[0].loss < 60


def test_networks_compute_in_half_precision_and_losses_do_not() -> None:
    """With ``mixed`` critics return bfloat16 in both moves; squares and means are single."""
    torch.manual_seed(0)
    nets = Translators(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))
    critics = nn.ModuleDict({name: nn.Conv2d(1, 1, 1) for name in "xy"})
    optimizers = tuple(torch.optim.SGD(n.parameters(), 0.1) for n in (nets, critics))
    said: list[Tensor] = []
    for critic in critics.values():
        critic.register_forward_hook(lambda _, __, values: said.append(values.detach()))
    batch = torch.rand(2, 2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for mixed, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        said.clear()
        movers = cycle.players(
            nets, critics, optimizers, (Tensor.detach,) * 2, Objective(0.0, 0.0), mixed=mixed
        )
        first, second = play(movers, itertools.repeat(batch), 1)
        assert {values.dtype for values in said} == {dtype}
        fooled = [(values.double() - 1).square().mean().item() for values in said[:2]]
        assert first.loss.item() == pytest.approx(sum(fooled), rel=1e-6)
        judged = [values.double().chunk(2) for values in said[2:]]
        expected = [((r - 1).square().mean() + f.square().mean()).item() / 2 for r, f in judged]
        assert second.loss.item() == pytest.approx(sum(expected), rel=1e-6)


def test_batches_are_drawn_from_each_domain_by_itself() -> None:
    """Every image of a domain once an epoch, and partners meet no more often than by chance."""
    x, y = torch.arange(60).view(60, 1, 1, 1), torch.arange(60).view(60, 1, 1, 1) + 1000
    batches = UnpairedBatches(x, y, 5, torch.Generator().manual_seed(0))
    taken = torch.stack([next(batches) for _ in range(12)])
    assert taken.shape == (12, 2, 5, 1, 1, 1)
    first, second = taken[:, 0].flatten(), taken[:, 1].flatten()
    assert sorted(first.tolist()) == list(range(60))
    assert sorted(second.tolist()) == list(range(1000, 1060))
    assert (first + 1000 == second).sum() < 8
    again = UnpairedBatches(x, y, 5, torch.Generator().manual_seed(5))
    next(batches)
    again.load_state_dict(batches.state_dict())
    assert next(again).tolist() == next(batches).tolist()
    assert next(iter(again)).tolist() == next(batches).tolist()


def test_both_orders_come_from_the_generator() -> None:
    """Another seed shuffles both domains anew; a batch may be as large as a domain."""
    x = torch.arange(12).view(12, 1, 1, 1)
    orders = [
        next(UnpairedBatches(x, x, 12, torch.Generator().manual_seed(seed))).view(2, 12)
        for seed in (0, 1)
    ]
    for domain in range(2):
        assert sorted(orders[0][domain].tolist()) == list(range(12))
        assert not torch.equal(orders[0][domain], orders[1][domain])


def test_domains_that_cannot_be_matched_are_named() -> None:
    """An empty domain, one that is too small, images of different size."""
    draw = torch.Generator()
    ten, none = torch.zeros(10, 1, 8, 8), torch.zeros(0, 1, 8, 8)
    with pytest.raises(ValueError, match="domain zebra has no images"):
        UnpairedBatches(ten, none, 4, draw, ("horse", "zebra"))
    with pytest.raises(ValueError, match="domain x has no images"):
        UnpairedBatches(none, ten, 4, draw)
    with pytest.raises(ValueError, match="domain y has 10 images, a batch 12"):
        UnpairedBatches(torch.zeros(20, 1, 8, 8), ten, 12, draw)
    with pytest.raises(ValueError, match="horse are 1x8x8, those of zebra 3x8x9: bring them"):
        UnpairedBatches(ten, torch.zeros(10, 3, 8, 9), 4, draw, ("horse", "zebra"))
    for shape in ((3, 8, 8), (1, 9, 8), (1, 8, 9)):
        with pytest.raises(ValueError, match="domain x are 1x8x8, those of y"):
            UnpairedBatches(ten, torch.zeros(10, *shape), 4, draw)
