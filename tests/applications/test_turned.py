"""Proof for litgen/applications/turned.py: what each player sees, by hand."""

import pytest
import torch

from litgen.applications.turned import SPREAD, VesselCritic, VesselGenerator
from litgen.data import pottery


def test_the_generator_is_linear_at_the_start_and_bends() -> None:
    """eq:pot-generator: mean and weight of the class, plus a network that starts at nothing."""
    torch.manual_seed(0)
    draws = torch.Generator().manual_seed(1)
    mean = torch.rand(4, 9, generator=draws)
    weight = torch.randn(4, 9, 3, generator=draws)
    net = VesselGenerator(mean, weight, (6,)).double()
    z = torch.randn(2, 5, 3, generator=draws).double()
    labels = torch.arange(10).view(2, 5) % 4
    expected = torch.zeros(2, 5, 9).double()
    for i in range(2):
        for j in range(5):
            c = labels[i, j]
            expected[i, j] = mean[c].double() + weight[c].double() @ z[i, j]
    torch.testing.assert_close(net(z, labels), expected)
    first, _, last = net.net
    torch.nn.init.normal_(last.weight)
    torch.nn.init.normal_(last.bias)
    told = torch.eye(4).double()[labels]
    hidden = torch.cat([z, told], dim=2) @ first.weight.T + first.bias
    hidden = hidden / (1 + torch.exp(-hidden))
    expected = expected + SPREAD * (hidden @ last.weight.T + last.bias)
    torch.testing.assert_close(net(z, labels), expected)
    assert {"mean", "weight"} <= {name for name, _ in net.named_parameters()}
    assert first.weight.std() > 0.01, "gradients find no way through layers of zeros"


def test_players_own_their_numbers() -> None:
    """What happens later to the means and weights that they were made from changes nothing."""
    mean, weight = torch.ones(4, 9), torch.ones(4, 9, 3)
    net, critic = VesselGenerator(mean, weight, (6,)), VesselCritic(mean[0], 4, (6,))
    mean.zero_()
    weight.zero_()
    assert (net.mean == 1).all()
    assert (net.weight == 1).all()
    assert (critic.mean == 1).all()


def test_the_unit_is_the_spread_of_the_data() -> None:
    """Numbers of vessels are about so far from their mean, and both players share the unit."""
    vessels = pottery.load("test")
    numbers = torch.cat([vessels.profiles, vessels.tall[:, None]], dim=1).double() / 255
    off = numbers - numbers.mean(dim=0)
    assert off.square().mean().sqrt().item() == pytest.approx(SPREAD, rel=0.5)


@pytest.mark.usefixtures("unchecked")
def test_means_and_weights_must_fit() -> None:
    """The message has both shapes."""
    with pytest.raises(ValueError, match=r"shapes \(\(4, 9\), \(4, 8, 3\)\)"):
        VesselGenerator(torch.zeros(4, 9), torch.zeros(4, 8, 3), (6,))
    for mean, weight in (((4,), (4, 9, 3)), ((4, 9), (4, 9))):
        with pytest.raises(ValueError, match="they do not fit"):
            VesselGenerator(torch.zeros(mean), torch.zeros(weight), (6,))


def test_the_critic_sees_numbers_steps_and_class() -> None:
    """One layer by hand: distances from the mean, differences of radii alone, one-hot classes."""
    torch.manual_seed(0)
    mean = torch.linspace(0.2, 0.8, 5)
    critic = VesselCritic(mean, 2, ()).double()
    layer = critic.net[0]
    x = torch.rand(6, 5, generator=torch.Generator().manual_seed(2)).double()
    labels = torch.arange(6) % 2
    off = (x - mean.double()) / SPREAD
    steps = 4 * (x[:, 1:4] - x[:, 0:3]) / SPREAD
    told = torch.eye(2).double()[labels]
    expected = torch.cat([off, steps, told], dim=1) @ layer.weight[0] + layer.bias
    logits = critic(x, labels)
    assert logits.shape == (6,)
    assert logits.std() > 0.1
    torch.testing.assert_close(logits, expected)


def test_the_critics_rectifiers_leak() -> None:
    """With a hidden layer, by hand: what is negative counts a hundredth; the mean is no weight."""
    torch.manual_seed(1)
    mean = torch.linspace(0.2, 0.8, 5)
    critic = VesselCritic(mean, 2, (7,)).double()
    first, _, last = critic.net
    x = torch.rand(6, 5, generator=torch.Generator().manual_seed(2)).double()
    labels = torch.arange(6) % 2
    off = (x - mean.double()) / SPREAD
    steps = 4 * (x[:, 1:4] - x[:, 0:3]) / SPREAD
    shown = torch.cat([off, steps, torch.eye(2).double()[labels]], dim=1)
    h = shown @ first.weight.T + first.bias
    h = torch.where(h > 0, h, 0.01 * h)
    torch.testing.assert_close(critic(x, labels), h @ last.weight[0] + last.bias)
    assert (h < 0).any()
    assert "mean" in critic.state_dict()
    assert "mean" not in dict(critic.named_parameters())
