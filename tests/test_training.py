"""Proof for litgen/training.py; the chapter is book/vae/elbo.md."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from litgen import training
from litgen.training import Minibatches, Player, half_rounded, mixed_precision, play

Draw = Callable[..., Tensor]
CPU = torch.device("cpu")


def ones() -> Iterator[Tensor]:
    """Yield the same small batch for ever."""
    return itertools.repeat(torch.ones(4, 1))


def player(
    name: str, module: nn.Module, loss: Callable[[Tensor], Tensor], moves: int = 1
) -> Player:
    """Return a player who moves a module by plain gradient descent."""
    return Player(name, torch.optim.SGD(module.parameters(), lr=0.1), loss, moves)


def test_one_player_reaches_the_least_squares_solution() -> None:
    """Closed form: a model fitted to the constant 1 at x = 1 gives 1."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    solo = player("model", model, lambda x: (model(x) - 1).square().mean())
    first, *_, last = play([solo], ones(), turns=200)
    assert first.loss > 1e-3
    assert last.loss < 1e-10


def test_play_is_gradient_descent(normal: Draw) -> None:
    """A loop by hand with autograd.grad gives the same losses and weights; batches go in order."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1).double()
    weight, bias = (p.detach().clone().requires_grad_() for p in model.parameters())
    batches = [normal(5, 3) for _ in range(6)]
    solo = player("model", model, lambda x: (model(x) - x.sum(1, True)).square().mean())
    steps = list(play([solo], iter(batches), turns=6))
    for turn, x in enumerate(batches):
        loss = (nn.functional.linear(x, weight, bias) - x.sum(1, True)).square().mean()
        by_weight, by_bias = torch.autograd.grad(loss, [weight, bias])
        with torch.no_grad():
            weight -= 0.1 * by_weight
            bias -= 0.1 * by_bias
        assert steps[turn].turn == turn
        assert steps[turn].player == "model"
        torch.testing.assert_close(steps[turn].loss, loss.detach(), rtol=1e-12, atol=0)
    assert len(steps) == 6
    assert len({step.loss.item() for step in steps}) == 6
    torch.testing.assert_close(list(model.parameters()), [weight, bias], rtol=1e-12, atol=0)


def test_gradients_do_not_accumulate() -> None:
    """With a learning rate of 0 every move sees the same gradient, and not twice of it."""
    model = nn.Linear(1, 1)
    still = Player("model", torch.optim.SGD(model.parameters(), lr=0.0), lambda x: model(x).sum())
    for _ in play([still], ones(), turns=3):
        torch.testing.assert_close(
            [p.grad for p in model.parameters()], [torch.tensor([[4.0]]), torch.tensor([4.0])]
        )


def test_it_yields_after_the_update() -> None:
    """The caller sees the moved weights and the loss before the move, and stops when it likes."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    solo = player("model", model, lambda x: model(x).square().mean())
    game = play([solo], ones(), turns=1000)
    torch.testing.assert_close(next(game).loss, torch.tensor(1.0))
    torch.testing.assert_close(model.weight.item(), 0.8)
    torch.testing.assert_close(next(game).loss, torch.tensor(0.64))
    torch.testing.assert_close(model.weight.item(), 0.64)


def test_the_loss_is_detached() -> None:
    """A kept loss must not keep the graph of its step alive."""
    model = nn.Linear(1, 1)
    step = next(play([player("model", model, lambda x: model(x).sum())], ones(), turns=1))
    assert isinstance(step.loss, Tensor)
    assert not step.loss.requires_grad
    assert step.loss.grad_fn is None


def test_a_player_leaves_the_others_alone() -> None:
    """The critic's moves change neither the generator's weights nor its gradients."""
    generator, critic = nn.Linear(1, 1), nn.Linear(1, 1)
    before = [p.detach().clone() for p in generator.parameters()]
    mover = player("critic", critic, lambda z: critic(generator(z)).mean(), moves=3)
    steps = list(play([mover], ones(), turns=2))
    assert [step.turn for step in steps] == [0, 0, 0, 1, 1, 1]
    assert all(p.grad is None for p in generator.parameters())
    torch.testing.assert_close([p.data for p in generator.parameters()], before, rtol=0, atol=0)


def test_a_players_move_keeps_the_others_gradients() -> None:
    """What stood in the generator's .grad before the critic's move stands there after it."""
    generator, critic = nn.Linear(1, 1), nn.Linear(1, 1)
    for p in generator.parameters():
        p.grad = torch.full_like(p, 3.0)
    next(play([player("critic", critic, lambda z: critic(generator(z)).mean())], ones(), turns=1))
    for p in generator.parameters():
        torch.testing.assert_close(p.grad, torch.full_like(p, 3.0), rtol=0, atol=0)


def test_two_players_move_in_turn_on_fresh_batches() -> None:
    """min_a max_b ab by hand: b answers the a that has just moved; each move takes a batch."""
    a, b = (nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in (1.0, 0.5))
    seen: list[tuple[str, float]] = []

    def loss_of(name: str, sign: float) -> Callable[[Tensor], Tensor]:
        def loss(batch: Tensor) -> Tensor:
            seen.append((name, batch.item()))
            return sign * a * b

        return loss

    players = [
        Player("a", torch.optim.SGD([a], lr=0.1), loss_of("a", 1.0)),
        Player("b", torch.optim.SGD([b], lr=0.1), loss_of("b", -1.0), moves=2),
    ]
    steps = list(play(players, iter(torch.arange(9.0)), turns=3))
    x, y, losses = 1.0, 0.5, []
    for _ in range(3):
        losses.append(x * y)
        x = x - 0.1 * y
        for _ in range(2):
            losses.append(-x * y)
            y = y + 0.1 * x
    assert [step.player for step in steps] == ["a", "b", "b"] * 3
    assert [step.turn for step in steps] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert seen == list(zip(["a", "b", "b"] * 3, map(float, range(9)), strict=True))
    expected = torch.tensor(losses, dtype=torch.float64)
    torch.testing.assert_close(torch.stack([step.loss for step in steps]), expected)
    torch.testing.assert_close(torch.stack([a.data, b.data]), torch.tensor([x, y]).double())


def test_every_parameter_group_is_played() -> None:
    """An optimizer may hold several groups; a parameter in the second one moves as well."""
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    groups = [{"params": m.parameters()} for m in (first, second)]
    before = [p.detach().clone() for m in (first, second) for p in m.parameters()]
    both = Player("both", torch.optim.SGD(groups, lr=0.1), lambda x: (first(x) + second(x)).sum())
    list(play([both], ones(), turns=1))
    after = [p.detach() for m in (first, second) for p in m.parameters()]
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old - 0.4)


def test_unreached_parameters_are_an_error() -> None:
    """A layer that no gradient reaches is a bug in the model; nothing moves before it is said."""
    alive, dead = nn.Linear(1, 1), nn.Linear(1, 1, bias=False)
    before = [p.detach().clone() for p in alive.parameters()]
    broken = player("painter", nn.ModuleList([alive, dead]), lambda x: alive(x).sum())
    with pytest.raises(ValueError, match="painter's loss does not reach 1 of its 3 parameter"):
        next(play([broken], ones(), turns=1))
    torch.testing.assert_close([p.data for p in alive.parameters()], before, rtol=0, atol=0)


def test_a_parameter_that_was_reached_before_must_be_reached_again() -> None:
    """A gradient left over from an earlier step does not hide that this step has none."""
    first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    turn = itertools.count()
    module = nn.ModuleList([first, second])
    fading = player(
        "fading", module, lambda x: (first(x) + (second(x) if next(turn) == 0 else 0)).sum()
    )
    game = play([fading], ones(), turns=2)
    next(game)
    with pytest.raises(ValueError, match="fading's loss does not reach 1 of its 2"):
        next(game)


def test_a_loss_without_any_gradient_is_the_same_error() -> None:
    """A loss that depends on no parameter at all is said in the same words."""
    dead = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="dead's loss does not reach 2 of its 2"):
        next(play([player("dead", dead, lambda x: x.sum())], ones(), turns=1))


def test_a_loss_must_be_one_number() -> None:
    """A forgotten reduction is said with the player and the shape."""
    model = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r"poet's loss has shape \(4, 1\)"):
        next(play([player("poet", model, model)], ones(), turns=1))


def test_every_epoch_is_a_permutation(generator: torch.Generator) -> None:
    """Each row once an epoch, another order in the next one."""
    data = torch.arange(12.0).view(12, 1) * torch.tensor([[1.0, 10.0]])
    batches = Minibatches(data, 4, generator)
    epochs = [torch.cat([next(batches) for _ in range(3)]) for _ in range(3)]
    for epoch in epochs:
        torch.testing.assert_close(epoch[epoch[:, 0].argsort()], data, rtol=0, atol=0)
    orders = {tuple(epoch[:, 0].tolist()) for epoch in [data, *epochs]}
    assert len(orders) == 4


@pytest.mark.parametrize(
    ("count", "size", "batches"), [(11, 4, 2), (12, 4, 3), (4, 4, 1), (5, 1, 5)]
)
def test_a_short_last_batch_is_left_out(
    generator: torch.Generator, count: int, size: int, batches: int
) -> None:
    """All batches have the asked size, and an epoch has as many as fit, without repetition."""
    stream = Minibatches(torch.arange(float(count)), size, generator)
    for _ in range(20):
        epoch = [next(stream) for _ in range(batches)]
        assert [len(batch) for batch in epoch] == [size] * batches
        assert len(set(torch.cat(epoch).tolist())) == size * batches


def test_every_row_is_as_likely_to_be_left_out(generator: torch.Generator) -> None:
    """Over 4,000 epochs of 3 rows in batches of 2, each row stays out a third of the time."""
    stream = Minibatches(torch.arange(3.0), 2, generator)
    seen = torch.stack([next(stream) for _ in range(4000)])
    left_out = torch.stack([(seen != row).all(dim=1) for row in range(3)]).double().mean(dim=1)
    assert ((left_out - 1 / 3).abs() < 6 * math.sqrt(2 / 9 / 4000)).all()


def test_minibatches_repeat_with_the_generator() -> None:
    """The same seed gives the same batches, another one others; the global seed has no say."""
    data = torch.arange(100.0)

    def drawn(seed: int) -> Tensor:
        torch.manual_seed(seed + 100)
        stream = Minibatches(data, 10, torch.Generator().manual_seed(seed))
        torch.manual_seed(3)
        return torch.stack([next(stream) for _ in range(20)])

    torch.testing.assert_close(drawn(1), drawn(1), rtol=0, atol=0)
    assert (drawn(1) != drawn(2)).any()


@pytest.mark.parametrize("size", [0, -1, 6])
def test_a_batch_size_must_fit(generator: torch.Generator, size: int) -> None:
    """The error names both numbers; the whole data set as one batch is allowed."""
    with pytest.raises(ValueError, match=f"batch_size is {size}, the data have 5 examples"):
        next(Minibatches(torch.zeros(5), size, generator))
    assert len(next(Minibatches(torch.zeros(5), 5, generator))) == 5


@pytest.mark.parametrize("abilities", [{"avx512_bf16": True}, {"amx_bf16": True}])
def test_mixed_precision_multiplies_in_bfloat16_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch, abilities: dict[str, bool]
) -> None:
    """On hardware that says so, a layer's output is bfloat16 and its weights stay float32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities, raising=False)
    layer = nn.Linear(2, 2)
    with mixed_precision(CPU):
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
    assert layer.weight.dtype == torch.float32
    assert layer(torch.ones(1, 2)).dtype == torch.float32


def test_mixed_precision_changes_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unwanted, on slow hardware, or on a device that is neither CPU nor CUDA: no autocast."""
    layer = nn.Linear(2, 2)

    def untouched(context: object) -> bool:
        assert isinstance(context, nullcontext)
        with context:
            return layer(torch.ones(1, 2)).dtype == torch.float32

    fast, slow = {"avx512_bf16": True, "amx_bf16": True}, {"avx512_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: fast, raising=False)
    assert untouched(mixed_precision(CPU, wanted=False))
    assert untouched(mixed_precision(torch.device("meta")))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: slow, raising=False)
    assert untouched(mixed_precision(CPU))
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert untouched(mixed_precision(CPU))


@pytest.mark.parametrize("supported", [True, False])
def test_mixed_precision_on_cuda_asks_for_real_support(
    monkeypatch: pytest.MonkeyPatch, supported: bool
) -> None:
    """A GPU that only emulates bfloat16 keeps float32."""
    asked: list[bool] = []

    def is_bf16_supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return supported

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    monkeypatch.setattr(torch, "autocast", lambda device, dtype: (device, dtype))
    context = mixed_precision.__wrapped__(torch.device("cuda"))  # type: ignore[attr-defined]
    assert asked == [False]
    if supported:
        assert context == ("cuda", torch.bfloat16)
    else:
        assert isinstance(context, nullcontext)


def test_half_rounding_keeps_what_half_precision_holds() -> None:
    """Parameters and buffers by numpy's halves; whole numbers stay; all dtypes stay."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model(torch.randn(8, 3))
    model[1].num_batches_tracked.fill_(2049)  # a whole number that half precision lacks
    before = {k: v.clone() for k, v in model.state_dict().items()}
    half_rounded(model)
    changed = 0
    for name, value in model.state_dict().items():
        old = before[name].numpy()
        assert value.dtype == before[name].dtype
        if value.is_floating_point():
            expected = torch.from_numpy(old.astype("float16").astype("float32"))
            changed += int((value != before[name]).any())
        else:
            assert value == 2049
            expected = before[name]
        torch.testing.assert_close(value, expected, rtol=0, atol=0)
    assert changed >= 4, "weight, bias, running mean and running variance all had digits to lose"
    assert all(p.requires_grad and p.grad_fn is None for p in model.parameters())


def test_the_module_says_what_it_exports() -> None:
    """Every public name is there."""
    assert all(hasattr(training, name) for name in training.__all__)


def test_plain_products_are_torchs_own_and_undone():
    """On the CPU only, and also when what is inside fails."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with training.plain_products(torch.device("cuda")):
            assert torch.get_float32_matmul_precision() == "medium"
        with training.plain_products(torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == "highest"
        with pytest.raises(KeyError), training.plain_products(torch.device("cpu")):
            raise KeyError
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
