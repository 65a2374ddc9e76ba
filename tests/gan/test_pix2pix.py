"""Proof for litgen/gan/pix2pix.py: losses by hand, who sees what, who moves."""

import dataclasses
import inspect

import pytest
import torch
from torch import Tensor, nn

from litgen.gan import pix2pix
from litgen.gan.patch import PatchCritic
from litgen.gan.pix2pix import Terms
from litgen.gan.translator import Translator
from litgen.training import play


def pair(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return conditions of two channels, and targets and images of three."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(3, channels, 16, 16, generator=generator, dtype=torch.float64)
        for channels in (2, 3, 3)
    )  # type: ignore[return-value]


def test_distance_by_loop() -> None:
    """eq:p2p-l1: a mean over pixels and channels, image by image, its own sign for each pixel."""
    _, target, image = pair()
    expected = []
    for t, i in zip(target, image, strict=True):
        each = [
            abs(a - b) for a, b in zip(t.flatten().tolist(), i.flatten().tolist(), strict=True)
        ]
        expected.append(sum(each) / len(each))
    found = pix2pix.distance(target, image)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert found.std() > 0


@pytest.mark.parametrize(("weight", "adversarial"), [(10.0, 1.0), (0.0, 2.0), (3.0, 0.0)])
def test_objective_by_hand(weight: float, adversarial: float) -> None:
    """eq:p2p-objective: -log D over places and pairs, plus the weighted distance."""
    _, target, image = pair()
    logits = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    fooling = -torch.sigmoid(logits).log().mean()
    expected = adversarial * fooling + weight * (target - image).abs().mean()
    found = pix2pix.objective(logits, target, image, Terms(weight, adversarial))
    torch.testing.assert_close(found, expected, check_dtype=False, rtol=1e-6, atol=1e-6)
    without = pix2pix.objective(None, target, image, Terms(weight, adversarial))
    torch.testing.assert_close(without, weight * (target - image).abs().mean())


def seeing(images: Tensor, condition: Tensor | None = None) -> Tensor:
    """Judge as a critic would whose verdict is a known function of both images of a pair."""
    found = images.mean(dim=1) * 2
    return found if condition is None else found + condition[:, 0] * images[:, 1]


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("told", [True, False])
def test_critic_loss_by_hand(told: bool, apart: bool) -> None:
    """eq:p2p-value and eq:p2p-untold: -log D(target) - log(1 - D(image)), each with its own
    condition, and no gradient in the image."""
    condition, target, image = pair()
    image.requires_grad_()
    beside = (condition,) if told else ()
    real, fake = torch.sigmoid(seeing(target, *beside)), torch.sigmoid(seeing(image, *beside))
    expected = -real.log().mean() - (1 - fake).log().mean()
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    found = pix2pix.critic_loss(
        lambda *x: weight * seeing(*x), condition, target, image, told, apart
    )
    torch.testing.assert_close(found, expected, check_dtype=False, rtol=1e-5, atol=1e-5)
    slopes = torch.autograd.grad(found, [weight, image], allow_unused=True)
    assert slopes[0].abs() > 0
    assert slopes[1] is None


def test_a_critic_that_is_not_told_cannot_see_a_mismatch() -> None:
    """Targets of other conditions: the untold critic's loss stays, the told one's changes."""
    condition, target, image = pair()
    for told in (True, False):
        first = pix2pix.critic_loss(seeing, condition, target, image, told)
        second = pix2pix.critic_loss(seeing, condition.roll(1, 0), target, image, told)
        assert bool(torch.isclose(first, second)) == (not told)


class Stage:
    """A small game whose batches are counted."""

    def __init__(self, terms: Terms, apart: bool = False):
        torch.manual_seed(0)
        self.translator = Translator(2, 3, (4, 4), dropout=0.0, norm="none")
        self.critic = PatchCritic(5 if terms.told else 3, 4, 1, norm="none")
        self.condition, self.target = (part.float() for part in pair()[:2])
        self.made: list[Tensor] = []
        self.translator.register_forward_hook(lambda m, i, out: self.made.append(out))
        optimizers = [torch.optim.SGD(n.parameters(), 0.1) for n in (self.translator, self.critic)]
        self.players = pix2pix.players(
            self.translator,
            self.critic,
            (optimizers[0], optimizers[1]),
            terms,
            lambda rows: (self.condition[rows], self.target[rows]),
            apart,
        )

    def turns(self, count: int) -> list[str]:
        """Play and return who moved."""
        batches = iter(lambda: torch.arange(3), None)
        return [step.player for step in play(self.players, batches, count)]


def test_a_turn_makes_images_once_and_moves_both() -> None:
    """The critic judges what the translator's move made; each moves its own weights alone."""
    stage = Stage(Terms())
    before = [
        torch.cat([p.detach().flatten() for p in n.parameters()])
        for n in (stage.translator, stage.critic)
    ]
    assert stage.turns(2) == ["translator", "critic"] * 2
    assert len(stage.made) == 2
    for old, network in zip(before, (stage.translator, stage.critic), strict=True):
        new = torch.cat([p.detach().flatten() for p in network.parameters()])
        assert (new - old).abs().max() > 1e-6
    alone = Stage(Terms(adversarial=0.0))
    assert alone.turns(2) == ["translator"] * 2


def weights(network: nn.Module) -> Tensor:
    """Return a copy of all of a network's weights, one after the other."""
    return torch.cat([p.detach().flatten().clone() for p in network.parameters()])


def test_each_move_is_its_own_networks() -> None:
    """The verdict alone moves the translator, and nothing else; then the critic alone moves."""
    stage = Stage(Terms(weight=0.0))
    batches = iter(lambda: torch.arange(3), None)
    steps = play(stage.players, batches, 1)
    start = weights(stage.translator), weights(stage.critic)
    next(steps)
    between = weights(stage.translator), weights(stage.critic)
    assert (between[0] - start[0]).abs().max() > 1e-7
    assert torch.equal(between[1], start[1])
    next(steps)
    assert torch.equal(weights(stage.translator), between[0])
    assert (weights(stage.critic) - between[1]).abs().max() > 1e-6


def test_the_critic_judges_the_pairs_just_translated() -> None:
    """Not those of the batch that its move is given."""
    stage = Stage(Terms())
    translator, critic = stage.players
    rows, others = torch.tensor([0, 1]), torch.tensor([2, 2])
    with torch.no_grad():
        translator.loss(rows)
        found = critic.loss(others)
        condition, target = stage.condition[rows], stage.target[rows]
        image = stage.translator(condition)
        expected = pix2pix.critic_loss(stage.critic, condition, target, image)
    torch.testing.assert_close(found, expected)


def test_networks_compute_in_half_precision_and_losses_do_not() -> None:
    """With ``mixed`` the critic's logits are bfloat16; what is made of them is single."""
    for mixed, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        stage = Stage(Terms(5.0, mixed=mixed))
        said: list[Tensor] = []
        stage.critic.register_forward_hook(lambda m, i, out, said=said: said.append(out.detach()))
        first, second = play(stage.players, iter(lambda: torch.arange(3), None), 1)
        assert [logits.dtype for logits in said] == [dtype] * 2
        assert stage.made[0].dtype == dtype
        near = (stage.made[0].detach().double() - stage.target).abs().mean()
        expected = -torch.sigmoid(said[0].double()).log().mean() + 5 * near
        assert first.loss.item() == pytest.approx(expected.item(), rel=1e-5)
        real, fake = torch.sigmoid(said[1].double()).chunk(2)
        expected = -real.log().mean() - (1 - fake).log().mean()
        assert second.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    condition, target, image = (part.bfloat16() for part in pair())
    logits = [seeing(part, condition).double() for part in (target, image)]
    expected = -torch.sigmoid(logits[0]).log().mean() - torch.sigmoid(-logits[1]).log().mean()
    found = pix2pix.critic_loss(seeing, condition, target, image, apart=True)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("told", [True, False])
def test_the_players_losses_are_the_formulas(told: bool) -> None:
    """What each player reports is its formula at the weights before its move."""
    stage = Stage(Terms(7.0, told=told))
    translator, critic = stage.players
    rows = torch.arange(3)
    with torch.no_grad():
        image = stage.translator(stage.condition)
        beside = (stage.condition,) if told else ()
        expected = (
            -torch.sigmoid(stage.critic(image, *beside)).log().mean()
            + 7 * (stage.target - image).abs().mean()
        )
        torch.testing.assert_close(translator.loss(rows), expected)
        expected = pix2pix.critic_loss(stage.critic, stage.condition, stage.target, image, told)
        torch.testing.assert_close(critic.loss(rows), expected)


def test_the_critic_s_statistics_may_be_kept_apart() -> None:
    """With batch normalisation two batches give another loss than one; apart is the default of
    nobody, and is passed on."""
    condition, target, image = (part.float() for part in pair())
    torch.manual_seed(0)
    critic = PatchCritic(5, 4, 1, norm="batch")
    losses = [
        pix2pix.critic_loss(critic, condition, target, 3 * image, apart=apart).item()
        for apart in (True, False)
    ]
    assert abs(losses[0] - losses[1]) > 1e-5
    by_default = pix2pix.critic_loss(critic, condition, target, 3 * image).item()
    assert by_default == losses[1]
    calls: list[int] = []
    stage = Stage(Terms(), apart=True)
    stage.critic.register_forward_hook(lambda m, i, out: calls.append(len(out)))
    stage.turns(1)
    assert calls == [3, 3, 3]
    calls.clear()
    stage = Stage(Terms())
    stage.critic.register_forward_hook(lambda m, i, out: calls.append(len(out)))
    stage.turns(1)
    assert calls == [3, 6]
    calls.clear()
    optimizers = stage.players[0].optimizer, stage.players[1].optimizer
    stage.players = pix2pix.players(
        stage.translator,
        stage.critic,
        optimizers,
        Terms(),
        lambda rows: (stage.condition[rows], stage.target[rows]),
    )
    stage.turns(1)
    assert calls == [3, 6]


def test_terms() -> None:
    """The paper's weights; negative ones and none at all are refused."""
    assert dataclasses.astuple(Terms()) == (100.0, 1.0, True, False)
    for weights in ((-1.0, 1.0), (1.0, -1.0), (0.0, 0.0), (-1.0, 3.0), (3.0, -1.0)):
        with pytest.raises(ValueError, match="one must be positive"):
            Terms(*weights)
    with pytest.raises(ValueError, match=r"targets have shape \(1, 3, 4, 4\)"):
        inspect.unwrap(pix2pix.distance)(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5))


def test_nothing_is_computed_for_the_critic_in_the_translator_s_move() -> None:
    """Its weights' gradients stay unset until its own move."""
    stage = Stage(Terms())
    stage.players = stage.players[:1]
    stage.turns(1)
    assert all(p.grad is None for p in stage.critic.parameters())
    assert all(isinstance(m, nn.Module) for m in (stage.translator, stage.critic))
