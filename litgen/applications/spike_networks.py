"""A generator of spike trains, and the step through which gradients pass where spikes are drawn.

Chapter: book/applications/neurobiology.md.  Proof: tests/applications/test_spike_networks.py.
References: Molano-Mazon, Onken, Piasini & Panzeri, "Synthesizing realistic neural population
activity patterns using Generative Adversarial Networks" (2018), whose critic sees probabilities;
Bengio, Leonard & Courville, "Estimating or Propagating Gradients Through Stochastic Neurons for
Conditional Computation" (2013), for the straight-through gradient.

The chapter's p_i(t) is ``probabilities``, its u ``uniform``.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from litgen.shapes import Float

__all__ = ["SpikeGenerator", "straight_through"]


def straight_through(
    probabilities: Float[Tensor, "*shape"], uniform: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return spikes, 1 where uniform < probability, with the probabilities' gradient.

    Implements eq:spk-straight. A spike itself has no slope in its probability: it jumps.

    Raises:
        ValueError: other shapes.
    """
    if probabilities.shape != uniform.shape:
        shapes = tuple(probabilities.shape), tuple(uniform.shape)
        raise ValueError(f"one uniform number for each probability, got shapes {shapes}")
    spikes = (uniform < probabilities).to(probabilities)
    return spikes + (probabilities - probabilities.detach())


class SpikeGenerator(nn.Module):
    """A perceptron from a code to one trial: probabilities, and spikes drawn with them.

    Args:
        latent: dimensions of the code that all neurons and bins share.
        hidden: widths.
        neurons: of the population.
        bins: of a trial.
        soft: return probabilities in the place of spikes.

    Attributes:
        code: numbers that one trial takes: ``latent`` normal ones, then a uniform one for each
            neuron and bin.
    """

    def __init__(
        self, latent: int, hidden: Sequence[int], neurons: int, bins: int, soft: bool = False
    ):
        super().__init__()
        self.latent, self.shape, self.soft = latent, (neurons, bins), soft
        self.code = latent + neurons * bins
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([latent, *hidden]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear([latent, *hidden][-1], neurons * bins))

    def probabilities(
        self, z: Float[Tensor, "trials latent"]
    ) -> Float[Tensor, "trials neurons bins"]:
        """Return the probability of a spike in each neuron and bin, given the shared code."""
        p: Tensor = torch.sigmoid(self.net(z).float()).unflatten(1, self.shape)
        return p

    def forward(self, code: Float[Tensor, "trials code"]) -> Float[Tensor, "trials neurons bins"]:
        """Return spikes with a straight-through gradient, or probabilities if ``soft``.

        Raises:
            ValueError: a code of another size.
        """
        if code.shape[1] != self.code:
            raise ValueError(f"a code has {self.code} numbers, got {code.shape[1]}")
        p = self.probabilities(code[:, : self.latent])
        return p if self.soft else straight_through(p, code[:, self.latent :].view_as(p))

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "trials code"]:
        """Return codes, on the generator's device."""
        uniform = self.code - self.latent
        device = generator.device
        z = torch.randn(count, self.latent, generator=generator, device=device)
        u = torch.rand(count, uniform, generator=generator, device=device)
        return torch.cat([z, u], dim=1)
