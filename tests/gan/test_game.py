"""Proof for litgen/gan/game.py: the same game written out in plain torch, and broken networks."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from litgen.blocks import MLP
from litgen.gan import losses
from litgen.gan.game import LastGood, Rules, adversaries, both_logits
from litgen.training import play

BATCH, LATENT = 6, 3
Nets = tuple[nn.Module, nn.Module]


class Told(nn.Module):
    """A network that is told a class, and adds an embedding of it to its input."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.net, self.embedding = MLP([inputs, 8, outputs], nn.Tanh), nn.Embedding(4, inputs)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Return the network's answer."""
        answer: Tensor = self.net(x + self.embedding(label))
        return answer


def networks(norm: bool = False, told: bool = False) -> Nets:
    """Return a small generator and critic in doubles."""
    torch.manual_seed(0)
    if told:
        return Told(LATENT, 2).double(), Told(2, 1).double()
    middle = [nn.BatchNorm1d(8)] if norm else []
    critic = nn.Sequential(nn.Linear(2, 8), *middle, nn.LeakyReLU(0.2), nn.Linear(8, 1))
    return MLP([LATENT, 8, 2], nn.Tanh).double(), critic.double()


def optimizers(nets: Nets) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Return the critic's and the generator's Adam, with different rates."""
    generator, critic = nets
    return (
        torch.optim.Adam(critic.parameters(), lr=0.02, betas=(0.5, 0.9)),
        torch.optim.Adam(generator.parameters(), lr=0.01, betas=(0.5, 0.9)),
    )


def drawer(seed: int = 1) -> Callable[[int], Tensor]:
    """Return a seeded source of codes."""
    codes = torch.Generator().manual_seed(seed)
    return lambda count: torch.randn(count, LATENT, generator=codes, dtype=torch.float64)


def batches(seed: int = 2) -> Iterator[Tensor]:
    """Yield data around (2, -1)."""
    numbers = torch.Generator().manual_seed(seed)
    centre = torch.tensor([2.0, -1.0], dtype=torch.float64)
    while True:
        yield centre + torch.randn(BATCH, 2, generator=numbers, dtype=torch.float64)


def weights(net: nn.Module) -> list[Tensor]:
    """Return a copy of all parameters."""
    return [p.detach().clone() for p in net.parameters()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    """Say whether two lists of tensors are equal to the last digit."""
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("moves", [1, 3])
@pytest.mark.parametrize("saturating", [False, True])
def test_the_game_is_algorithm_1_written_out(moves: int, saturating: bool) -> None:
    """eq:game-turns: five turns with labels, detach and zero_grad, to the last digits."""
    ours, theirs = networks(), copy.deepcopy(networks())
    loss = losses.saturating_loss if saturating else losses.generator_loss
    rules = Rules(generator_loss=loss, critic_moves=moves)
    steps = list(play(adversaries(*ours, optimizers(ours), drawer(), rules), batches(), 5))
    assert [step.player for step in steps] == 5 * (moves * ["critic"] + ["generator"])

    (generator, critic), (of_critic, of_generator) = theirs, optimizers(theirs)
    draw, data = drawer(), batches()
    said = []
    for _ in range(5):
        for _ in range(moves):
            x = next(data)
            real, fake = critic(x), critic(generator(draw(BATCH)).detach())
            total = cross_entropy(real, torch.ones_like(real))
            total = total + cross_entropy(fake, torch.zeros_like(fake))
            of_critic.zero_grad()
            total.backward()
            of_critic.step()
            said.append(total.detach())
        next(data)
        fake = critic(generator(draw(BATCH)))
        goal = torch.zeros_like(fake) if saturating else torch.ones_like(fake)
        fooling = cross_entropy(fake, goal) * (-1 if saturating else 1)
        of_generator.zero_grad()
        fooling.backward()
        of_generator.step()
        said.append(fooling.detach())
    for mine, other in zip(ours, theirs, strict=True):
        for a, b in zip(weights(mine), weights(other), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        torch.stack([s.loss for s in steps]), torch.stack(said), rtol=1e-10, atol=1e-12
    )
    assert torch.stack(said).std() > 0.05


def test_nobody_moves_but_the_mover() -> None:
    """eq:game-turns: and the other player's gradients stay what they were, None or not."""
    nets = networks()
    generator, critic = nets
    for parameter in nets[0].parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    before = weights(generator), weights(critic)
    game = play(adversaries(*nets, optimizers(nets), drawer()), batches(), 1)
    assert next(game).player == "critic"
    assert same(weights(generator), before[0])
    assert not any(torch.equal(a, b) for a, b in zip(weights(critic), before[1], strict=True))
    assert all((p.grad == 7).all() for p in generator.parameters() if p.grad is not None)
    middle, pushed = (
        weights(critic),
        [p.grad.clone() for p in critic.parameters() if p.grad is not None],
    )
    assert next(game).player == "generator"
    assert same(weights(critic), middle)
    assert same([p.grad for p in critic.parameters() if p.grad is not None], pushed)
    assert not any(torch.equal(a, b) for a, b in zip(weights(generator), before[0], strict=True))


def test_samples_for_the_critic_are_made_without_a_gradient() -> None:
    """The generator runs without a graph in the critic's move, and with one in its own."""
    nets = networks()
    seen: list[bool] = []
    nets[0].register_forward_hook(lambda _, inputs, out: seen.append(out.requires_grad))
    rules = Rules(critic_moves=2)
    list(play(adversaries(*nets, optimizers(nets), drawer(), rules), batches(), 2))
    assert seen == [False, False, True, False, False, True]


def test_each_player_goes_downhill_on_its_own_loss() -> None:
    """After many moves alone the critic is right; then the generator, alone, fools it."""
    nets = networks()
    of_critic, of_generator = adversaries(*nets, optimizers(nets), drawer())
    critic_losses = [s.loss.item() for s in play([of_critic], batches(), 150)]
    with torch.no_grad():
        real, fake = nets[1](next(batches())), nets[1](nets[0](drawer()(200)))
    assert critic_losses[-1] < 0.3 < critic_losses[0]
    assert real.mean() > 1 > -1 > fake.mean()
    fooling = [s.loss.item() for s in play([of_generator], batches(), 300)]
    with torch.no_grad():
        fooled = nets[1](nets[0](drawer()(200)))
    assert fooling[-1] < 0.3 < fooling[0]
    assert fooled.mean() > 1


def test_together_and_apart_differ_only_by_normalisation(normal: Callable[..., Tensor]) -> None:
    """One pass equals two for a critic without batch normalisation, and mixes moments with one."""
    real, fake = 3 + normal(BATCH, 2), normal(BATCH, 2)
    plain, normed = networks()[1], networks(norm=True)[1]
    for critic, equal in ((plain, True), (normed, False)):
        together, apart = (
            both_logits(critic, real, fake),
            both_logits(critic, real, fake, (), True),
        )
        expected = critic(real), critic(fake)
        for a, b in zip(apart, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        gaps = [(a - b).abs().max().item() for a, b in zip(together, expected, strict=True)]
        assert max(gaps) < 1e-12 if equal else min(gaps) > 1e-3
        both = critic(torch.cat([real, fake]))
        torch.testing.assert_close(torch.cat(together), both, rtol=1e-12, atol=1e-12)
        assert together[0].mean() != together[1].mean()


@pytest.mark.parametrize("apart", [False, True])
def test_the_rules_say_whether_batches_are_shown_apart(apart: bool) -> None:
    """A critic sees one batch of both, or two of one kind each; the generator's move one."""
    nets = networks(norm=True)
    sizes: list[int] = []
    nets[1].register_forward_hook(lambda _, inputs, out: sizes.append(len(inputs[0])))
    list(play(adversaries(*nets, optimizers(nets), drawer(), Rules(apart=apart)), batches(), 1))
    assert sizes == ([BATCH, BATCH, BATCH] if apart else [2 * BATCH, BATCH])


@pytest.mark.parametrize("apart", [False, True])
def test_conditions_go_to_both_players_and_to_the_right_rows(apart: bool) -> None:
    """Batches are places in a set: data and classes are loaded; losses as written out by hand."""
    nets = networks(told=True)
    data, labels = next(batches()), torch.tensor([0, 1, 2, 3, 1, 2])
    order = torch.tensor([5, 3, 0, 1])
    players = adversaries(
        *nets, optimizers(nets), drawer(), Rules(apart=apart), lambda at: (data[at], labels[at])
    )
    generator, critic = nets
    x, told, z = data[order], labels[order], drawer()
    fake = generator(z(4), told)
    expected = losses.discriminator_loss(critic(x, told), critic(fake, told))
    found = players[0].loss(order)
    torch.testing.assert_close(found, expected)
    fooling = losses.generator_loss(critic(generator(z(4), told), told)).mean()
    torch.testing.assert_close(players[1].loss(order), fooling)
    wrong = losses.discriminator_loss(critic(x, told.flip(0)), critic(fake, told))
    assert (wrong - expected).abs() > 1e-3


def test_a_penalty_is_added_once_and_to_the_critic_alone() -> None:
    """It is given the critic with its conditions, the data and the samples."""
    nets = networks(told=True)
    data, labels = next(batches()), torch.tensor([0, 1, 2, 3, 1, 2])
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        seen.append((critic(real), real, fake))
        return 10 * critic(real).square().mean()

    def load(at: Tensor) -> tuple[Tensor, ...]:
        return data[at], labels[at]

    everyone = torch.arange(BATCH)
    plain, priced = (
        adversaries(*nets, optimizers(nets), drawer(), Rules(penalty=p), load)
        for p in (None, penalty)
    )
    at_data = nets[1](data, labels)
    difference = priced[0].loss(everyone) - plain[0].loss(everyone)
    torch.testing.assert_close(difference, 10 * at_data.square().mean())
    assert len(seen) == 1
    told, real, fake = seen[0]
    torch.testing.assert_close(told, at_data)
    assert torch.equal(real, data)
    torch.testing.assert_close(fake, nets[0](drawer()(BATCH), labels))
    assert not fake.requires_grad
    torch.testing.assert_close(priced[1].loss(everyone), plain[1].loss(everyone))
    assert len(seen) == 1


def test_a_games_own_losses_are_played() -> None:
    """Rules say both: an average over logits in another order would change either."""
    nets = networks()
    rules = Rules(lambda real, fake: (real - 2 * fake).mean(), lambda fake: 3 * fake)
    critic_player, generator_player = adversaries(*nets, optimizers(nets), drawer(), rules)
    x, z = next(batches()), drawer()
    expected = (nets[1](x) - 2 * nets[1](nets[0](z(BATCH)))).mean()
    torch.testing.assert_close(critic_player.loss(x), expected)
    expected = 3 * nets[1](nets[0](z(BATCH))).mean()
    torch.testing.assert_close(generator_player.loss(x), expected)


def test_losses_are_computed_in_single_precision_where_networks_are_mixed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In bfloat16 networks give bfloat16 logits; the losses still get float32."""
    monkeypatch.setattr(
        "litgen.gan.game.mixed_precision",
        lambda device, wanted: torch.autocast("cpu", torch.bfloat16, enabled=wanted),
    )
    torch.manual_seed(0)
    generator, critic = MLP([LATENT, 8, 2]), MLP([2, 8, 1])
    seen: list[torch.dtype] = []
    critic.register_forward_hook(lambda _, inputs, out: seen.append(out.dtype))
    got: list[torch.dtype] = []

    def noted(*logits: Tensor) -> Tensor:
        got.extend(part.dtype for part in logits)
        return losses.discriminator_loss(*logits) if len(logits) == 2 else logits[0]

    for mixed in (True, False):
        rules = Rules(noted, noted, mixed=mixed)
        nets = generator, critic
        game = adversaries(*nets, optimizers(nets), lambda n: torch.ones(n, LATENT), rules)
        list(play(game, iter([torch.ones(4, 2)] * 2), 1))
    assert seen == 2 * [torch.bfloat16] + 2 * [torch.float32]
    assert set(got) == {torch.float32}


@pytest.mark.parametrize("moves", [1, 2])
@pytest.mark.parametrize("thrifty", [False, True])
def test_samples_are_shown_in_the_precision_of_the_data(
    moves: int, thrifty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator in bfloat16 makes samples that a penalty can mix with data, however thrifty."""
    monkeypatch.setattr(
        "litgen.gan.game.mixed_precision",
        lambda device, wanted: torch.autocast("cpu", torch.bfloat16, enabled=wanted),
    )
    torch.manual_seed(0)
    nets = MLP([LATENT, 8, 2]), MLP([2, 8, 1])
    seen: list[torch.dtype] = []

    def penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        seen.append(fake.dtype)
        return torch.lerp(real, fake, 0.5).sum() * 0

    rules = Rules(penalty=penalty, mixed=True, thrifty=thrifty, critic_moves=moves)
    game = adversaries(*nets, optimizers(nets), lambda n: torch.ones(n, LATENT), rules)
    list(play(game, iter([torch.ones(4, 2)] * 9), 3))
    assert seen == 3 * moves * [torch.float32]


def watched(nets: Nets) -> tuple[list[Tensor], list[Tensor]]:
    """Return two lists that fill with what the generator makes and what the critic is shown."""
    made: list[Tensor] = []
    shown: list[Tensor] = []
    nets[0].register_forward_hook(lambda _, inputs, out: made.append(out))
    nets[1].register_forward_hook(lambda _, inputs, out: shown.append(inputs[0]))
    return made, shown


def test_a_thrifty_critic_is_shown_the_generators_last_samples() -> None:
    """One move: exactly those that the generator moved by, without a graph."""
    nets = networks()
    made, shown = watched(nets)
    list(play(adversaries(*nets, optimizers(nets), drawer(), Rules(thrifty=True)), batches(), 3))
    assert [m.requires_grad for m in made] == [False, True, True, True]
    critics = [s for s in shown if len(s) == 2 * BATCH]
    assert len(critics) == 3
    assert torch.equal(critics[0][BATCH:], made[0])
    for seen, before in zip(critics[1:], made[1:], strict=False):
        assert torch.equal(seen[BATCH:], before)
        assert not seen.requires_grad
    assert not torch.equal(made[1], made[2])


def test_a_thrifty_critic_with_several_moves_gets_them_all_from_one_pass() -> None:
    """One pass of moves x batch codes a turn, each part shown once, by the newest generator."""
    nets = networks()
    made, shown = watched(nets)
    rules = Rules(thrifty=True, critic_moves=3)
    list(play(adversaries(*nets, optimizers(nets), drawer(), rules), batches(), 2))
    assert [len(m) for m in made] == [3 * BATCH, BATCH, 3 * BATCH, BATCH]
    critics = [s[BATCH:] for s in shown if len(s) == 2 * BATCH]
    for turn in (0, 1):
        parts = {tuple(part.flatten().tolist()) for part in made[2 * turn].split(BATCH)}
        seen = {tuple(part.flatten().tolist()) for part in critics[3 * turn : 3 * turn + 3]}
        assert len(parts) == 3
        assert seen == parts


@pytest.mark.parametrize("moves", [1, 2])
def test_another_batch_size_makes_new_samples(moves: int) -> None:
    """Samples that wait are as many as another batch had, and of no use for this one."""
    nets = networks()
    made, shown = watched(nets)
    rules = Rules(thrifty=True, critic_moves=moves)
    critic_player, generator_player = adversaries(*nets, optimizers(nets), drawer(), rules)
    for player, size in ((critic_player, 4), (generator_player, 4), (critic_player, 6)):
        player.loss(torch.zeros(size, 2, dtype=torch.float64))
    assert [len(m) for m in made] == [4 * moves, 4, 6 * moves]
    assert len(shown[-1]) == 12
    del made[:]
    for size in (4, 6, 6, 4)[4 - 2 * moves :]:  # what is left of another size is thrown away
        critic_player.loss(torch.zeros(size, 2, dtype=torch.float64))
    assert [len(m) for m in made] == ([6, 4] if moves == 1 else [8, 12, 8])


def test_games_with_conditions_and_others_make_fresh_samples() -> None:
    """Thrift is not for conditions: samples of other classes must not be shown as these."""
    data, labels = next(batches()), torch.tensor([0, 1, 2, 3, 1, 2])
    nets = networks(told=True)
    made, _ = watched(nets)
    rules, everyone = Rules(thrifty=True), torch.arange(BATCH)
    game = adversaries(*nets, optimizers(nets), drawer(), rules, lambda at: (data[at], labels[at]))
    list(play(game, iter([everyone] * 4), 2))
    assert len(made) == 4
    nets = networks()
    made, _ = watched(nets)
    list(play(adversaries(*nets, optimizers(nets), drawer()), batches(), 2))
    assert [m.requires_grad for m in made] == [False, True, False, True]


def test_what_cannot_be_played_is_refused(unchecked: None) -> None:
    """Data and samples of different shapes; a critic that never moves."""
    critic = networks()[1]
    with pytest.raises(ValueError, match=r"data have shape \(5, 2\), samples \(4, 2\)"):
        both_logits(critic, torch.zeros(5, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="critic_moves must be at least 1, got 0"):
        Rules(critic_moves=0)


def test_the_last_finite_state_is_kept_exactly() -> None:
    """Looks every third turn; a later change does not reach the copy; restore brings it back."""
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    start = copy.deepcopy(model.state_dict())
    watch = LastGood(model, every=3)
    assert watch.turn == -1
    kept = {}
    for turn in range(7):
        with torch.no_grad():
            model[0].weight += 1
        assert watch.fine(turn, torch.tensor(1.0))
        if turn == 5:
            kept = copy.deepcopy(model.state_dict())
        assert watch.turn == (-1, -1, 2, 2, 2, 5, 5)[turn]
    with torch.no_grad():
        model[0].bias[1] = float("nan")
    assert watch.fine(7, torch.tensor(1.0))  # it does not look in every turn
    assert not watch.fine(8, torch.tensor(1.0))
    assert watch.turn == 5
    sentence = watch.restore()
    assert "state of turn 5" in sentence
    assert "diverged" in sentence
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    assert not torch.equal(kept["0.weight"], start["0.weight"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_a_weight_or_a_running_average_stops_the_game(bad: float) -> None:
    """Whatever is no longer finite; before the first good look the start is kept."""

    def spoil(what: Tensor) -> None:
        with torch.no_grad():
            what.view(-1)[-1] = bad

    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for what in (model[0].weight, model[1].running_var):
        start = copy.deepcopy(model.state_dict())
        watch = LastGood(model, every=1)
        spoil(what)  # type: ignore[arg-type]
        assert not watch.fine(0)
        assert "the start is kept" in watch.restore()
        assert all(torch.equal(start[name], v) for name, v in model.state_dict().items())
    watch = LastGood(model, every=2)
    assert watch.fine(0, torch.tensor(bad))
    assert not watch.fine(1, torch.tensor(1.0), torch.tensor([1.0, bad]))
    assert not watch.look(0, torch.tensor(bad))
    assert watch.look(0, torch.tensor(2.0))
    assert "state of turn 0 is kept" in watch.restore()
    assert watch.look(4, torch.tensor(2.0))
    assert watch.turn == 4


def test_a_diverging_game_is_stopped_and_its_last_good_state_stays() -> None:
    """A learning rate that ruins a game: the weights after it are finite again."""
    nets = networks()
    generator, critic = nets
    ruin = (
        torch.optim.SGD(critic.parameters(), lr=1e200),
        torch.optim.SGD(generator.parameters(), lr=1e200),
    )
    watch = LastGood(nn.ModuleList(nets), every=2)
    stopped = None
    for step in play(adversaries(*nets, ruin, drawer()), batches(), 40):
        if step.player == "generator" and not watch.fine(step.turn, step.loss):
            stopped = step.turn
            break
    assert stopped is not None
    assert stopped < 39
    assert not all(p.isfinite().all() for net in nets for p in net.parameters())
    assert watch.restore().endswith("kept")
    assert all(p.isfinite().all() for net in nets for p in net.parameters())


def test_looking_never_is_refused() -> None:
    """Every must be a count."""
    with pytest.raises(ValueError, match="at least 1, got 0"):
        LastGood(nn.Linear(1, 1), every=0)
