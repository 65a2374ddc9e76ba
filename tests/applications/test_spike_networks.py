"""Proof for litgen/applications/spike_networks.py: gradients by hand, frequencies, shapes."""

import pytest
import torch

from litgen.applications.spike_networks import SpikeGenerator, straight_through


def test_spikes_go_forth_and_the_probabilities_gradient_comes_back() -> None:
    """The slope of a loss passes as if a spike were its probability. Proves eq:spk-straight."""
    p = torch.tensor([[0.2, 0.7], [0.5, 0.9]], dtype=torch.float64, requires_grad=True)
    uniform = torch.tensor([[0.1, 0.8], [0.6, 0.3]], dtype=torch.float64)
    spikes = straight_through(p, uniform)
    torch.testing.assert_close(spikes, torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64))
    weight = torch.tensor([[1.0, -2.0], [3.0, 0.5]], dtype=torch.float64)
    (weight * spikes.square()).sum().backward()
    torch.testing.assert_close(p.grad, 2 * weight * spikes.detach())


def test_the_gradient_of_a_linear_critic_is_that_of_the_mean() -> None:
    """It is exact there."""
    p = torch.tensor([0.3, 0.6], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([2.0, -1.0], dtype=torch.float64)
    uniform = torch.rand(100, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (straight_through(p.expand(100, 2), uniform) @ weight).mean().backward()
    torch.testing.assert_close(p.grad, weight)


def test_frequencies_are_the_probabilities() -> None:
    """Spikes drawn many times with one code, within five standard errors."""
    torch.manual_seed(0)
    generator = SpikeGenerator(3, [6], neurons=2, bins=5)
    code = generator.draw(1, torch.Generator().manual_seed(1)).repeat(20_000, 1)
    fresh = generator.draw(20_000, torch.Generator().manual_seed(2))
    code[:, 3:] = fresh[:, 3:]
    with torch.no_grad():
        found, p = generator(code), generator.probabilities(code[:1, :3])
    assert set(found.unique().tolist()) == {0.0, 1.0}
    assert (found.mean(dim=0) - p[0]).abs().max() < 5 * 0.5 / 20_000**0.5
    assert p.std() > 0.02


def test_codes_and_shapes() -> None:
    """Normal numbers first, then uniform ones; soft gives probabilities."""
    generator = SpikeGenerator(4, [5, 7], neurons=3, bins=6, soft=True)
    assert generator.code == 4 + 18
    code = generator.draw(2_000, torch.Generator().manual_seed(0))
    assert code.shape == (2_000, 22)
    assert abs(code[:, :4].std().item() - 1) < 0.05
    assert 0 <= code[:, 4:].min() < 0.01 < 0.99 < code[:, 4:].max() <= 1
    with torch.no_grad():
        p = generator(code[:5])
    torch.testing.assert_close(p, generator.probabilities(code[:5, :4]).detach())
    assert p.shape == (5, 3, 6)
    assert [tuple(w.shape) for w in generator.parameters()][::2] == [(5, 4), (7, 5), (18, 7)]


def test_a_probability_of_zero_never_fires() -> None:
    """A uniform number may be 0 itself."""
    spikes = straight_through(torch.tensor([0.0, 1e-9]), torch.zeros(2))
    assert spikes.tolist() == [0.0, 1.0]


def test_probabilities_are_full_precision_and_lie_neuron_by_neuron() -> None:
    """Logits in half precision would leave eight bits; a neuron's bins stand together."""
    torch.manual_seed(1)
    generator = SpikeGenerator(4, [5], neurons=3, bins=6)
    z = torch.randn(7, 4)
    with torch.autocast("cpu", torch.bfloat16):
        p = generator.probabilities(z)
        assert p.dtype == torch.float32
    logits = generator.net(z).detach()
    found = generator.probabilities(z).detach()
    for neuron in range(3):
        expected = torch.sigmoid(logits[:, 6 * neuron : 6 * neuron + 6])
        torch.testing.assert_close(found[:, neuron], expected)


@pytest.mark.usefixtures("unchecked")
def test_other_sizes_are_refused() -> None:
    """Codes and uniform numbers."""
    with pytest.raises(ValueError, match="a code has 22 numbers, got 21"):
        SpikeGenerator(4, [5], 3, 6)(torch.zeros(2, 21))
    with pytest.raises(ValueError, match="a code has 22 numbers, got 23"):
        SpikeGenerator(4, [5], 3, 6)(torch.zeros(2, 23))
    with pytest.raises(ValueError, match=r"got shapes \(\(2,\), \(3,\)\)"):
        straight_through(torch.zeros(2), torch.zeros(3))
