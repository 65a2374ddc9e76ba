"""Proof for litgen/gan/voxel_rules.py: accuracies by hand, steps counted."""

import pytest
import torch

from litgen.gan import losses
from litgen.gan.voxel_rules import Gate, accuracy
from litgen.training import Player, play


def test_accuracy_by_hand() -> None:
    """eq:vox-accuracy: each batch counts half, whatever its size; a logit of 0 is half right."""
    real, fake = torch.tensor([1.0, 2.0, -1.0, 0.5]), torch.tensor([-1.0, 3.0])
    assert accuracy(real, fake).item() == pytest.approx(0.5 * 3 / 4 + 0.5 * 1 / 2)
    assert accuracy(real, -fake).item() == pytest.approx(0.5 * 3 / 4 + 0.5 * 1 / 2)
    assert accuracy(real.abs(), -fake.abs()).item() == 1
    assert accuracy(-real.abs(), fake.abs()).item() == 0
    assert accuracy(torch.zeros(3), torch.zeros(2)).item() == 0.5
    assert accuracy(torch.tensor([1.0, 1.0, -1.0]), torch.tensor([-1.0])).item() == pytest.approx(
        0.5 * 2 / 3 + 0.5
    )
    for pair in ((real, fake[:0]), (real[:0], fake)):
        with pytest.raises(ValueError, match="need some of both"):
            accuracy(*pair)


def test_accuracy_keeps_no_graph() -> None:
    """Logits of a critic that learns: what the gate remembers has no gradient."""
    real, fake = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    assert not accuracy(real, fake).requires_grad


def played(threshold: float, right: list[float]) -> tuple[Gate, list[float]]:
    """Play turns in which the critic is right that often; return where its weight stood."""
    weight = torch.nn.Parameter(torch.tensor(1.0))
    gate = Gate(torch.optim.SGD([weight], lr=0.25), threshold)
    seen = iter(right)

    def loss(batch: torch.Tensor) -> torch.Tensor:
        share = next(seen)
        signs = torch.where(torch.arange(10) < round(10 * share), 1.0, -1.0)
        watched = gate.watching(lambda real, fake: (real.mean() - fake.mean()) * 0 + weight)
        return watched(signs, -signs)

    player = Player("critic", gate, loss)
    steps = play([player], iter(lambda: torch.zeros(1), 1), len(right))
    return gate, [weight.item() for _ in steps]


def test_the_critic_waits_above_the_threshold() -> None:
    """eq:vox-gate: at the threshold it still moves; above, it waits; the count is kept."""
    gate, weights = played(0.8, [0.5, 0.8, 0.9, 1.0, 0.7])
    assert weights == [0.75, 0.5, 0.5, 0.5, 0.25]
    assert (gate.taken, gate.asked) == (3, 5)
    assert played(1.0, [1.0, 1.0])[1] == [0.75, 0.5]
    assert played(0.0, [1.0, 0.5, 0.0])[1] == [1.0, 1.0, 0.75]
    gate.seen = torch.tensor(0.801)
    gate.step()
    assert (gate.taken, gate.asked) == (3, 6), "a thousandth above the threshold is above"


def test_the_loss_is_passed_through() -> None:
    """What is watched returns what it would have returned."""
    gate = Gate(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0))
    assert gate.threshold == 0.8
    real, fake = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.5, -1.0, 2.0])
    found = gate.watching(losses.discriminator_loss)(real, fake)
    torch.testing.assert_close(found, losses.discriminator_loss(real, fake))
    assert gate.seen.item() == pytest.approx(0.5 * (2 / 3 + 1 / 3))


def test_a_checkpoint_keeps_state_and_counts() -> None:
    """Another gate goes on where this one stood, momentum included."""
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    gates = [Gate(torch.optim.Adam([w], lr=0.1)) for w in weights]
    weights[0].grad = torch.tensor([1.0, -2.0])
    gates[0].step()
    gates[0].seen = torch.ones(())
    gates[0].step()
    gates[1].load_state_dict(gates[0].state_dict())
    assert (gates[1].taken, gates[1].asked) == (1, 2)
    for gate in gates:
        assert gate.param_groups is gate.optimizer.param_groups, "rates are set through the gate"
    state = gates[1].optimizer.state[weights[1]]["exp_avg"]
    torch.testing.assert_close(state, torch.tensor([0.1, -0.2]))


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_is_a_share(threshold: float) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=f"between 0 and 1, got {threshold}"):
        Gate(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0), threshold)
