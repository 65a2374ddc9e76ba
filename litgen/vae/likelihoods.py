"""Log-likelihoods of images given a decoder's output: log-probabilities in nats, per example.

Chapter: book/vae/elbo.md.  Proof: tests/vae/test_likelihoods.py.
References: Kingma & Welling, "Auto-Encoding Variational Bayes" (2014), appendix C; Salimans et
al.,
"PixelCNN++" (2017), section 2.1, for the discretised logistic.

Notation: ``x`` holds an image's pixels in its last axis, in [0, 1]; every function sums over that
axis,
so that the leading axes of ``x`` and of the parameters may be batch, or samples and batch.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from litgen import gaussian
from litgen.shapes import Float

__all__ = ["BernoulliLogProb", "bernoulli", "discretized_logistic", "gaussian_pixels"]

HALF_BIN = 1 / 510
"""Half the distance between two of the 256 grey levels, which lie at 0, 1/255, ..., 1."""


def bernoulli(
    x: Float[Tensor, "*#batch pixels"], logits: Float[Tensor, "*#batch pixels"]
) -> Float[Tensor, "*batch"]:
    """Return log p(x) of independent Bernoulli pixels. Implements eq:bernoulli-likelihood.

    A log-probability for x in {0, 1}. Grey values in between are accepted, as they are in the
    usual example, but the number is then no log-probability of anything (book/vae/elbo.md says
    why).

    Raises:
        ValueError: x outside [0, 1] (looked at on the CPU only: elsewhere it would stall the
            device), or another number of pixels than logits.
    """
    _check_pixels(x, logits)
    _check_unit_interval(x)
    log_probs: Tensor = BernoulliLogProb.apply(x, logits)
    return log_probs.sum(dim=-1)


class BernoulliLogProb(torch.autograd.Function):
    """x log s(l) + (1 - x) log(1 - s(l)) of each pixel, with its gradient written by hand.

    Implements eq:bernoulli-gradient; autograd's own way there takes twice the time.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, logits: Tensor) -> Tensor:
        """Return x l + log(1 - s(l)); exp() cannot overflow, log() is never near zero."""
        log_one_minus_p = torch.sigmoid(logits.abs()).log() - logits.relu()
        return torch.addcmul(log_one_minus_p, x, logits)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep the inputs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients l and x - s(l), times what comes from above."""
        x, logits = ctx.saved_tensors
        for_x = (grad * logits).sum_to_size(x.shape) if ctx.needs_input_grad[0] else None
        for_logits = (grad * (x - torch.sigmoid(logits))).sum_to_size(logits.shape)
        return for_x, for_logits


def gaussian_pixels(
    x: Float[Tensor, "*#batch pixels"],
    mean: Float[Tensor, "*#batch pixels"],
    log_scale: Float[Tensor, ""],
) -> Float[Tensor, "*batch"]:
    """Return log N(x; mean, exp(log_scale)^2), a density in nats.

    Implements eq:gaussian-likelihood.

    Args:
        x: images.
        mean: of each pixel.
        log_scale: log of the one standard deviation that all pixels share; make it a parameter,
            and the model learns how much of the image is noise.

    Raises:
        ValueError: another number of pixels than mean.
    """
    _check_pixels(x, mean)
    return gaussian.log_prob(x, mean, (2 * log_scale).expand(x.shape[-1]))


def discretized_logistic(
    x: Float[Tensor, "*#batch pixels"],
    mean: Float[Tensor, "*#batch pixels"],
    log_scale: Float[Tensor, ""],
) -> Float[Tensor, "*batch"]:
    """Return log P(x) of 8-bit pixels under a logistic cut into 256 bins.

    Implements eq:discretized-logistic: the logistic's mass within half a grey level of x; the
    first and last bins reach to minus and plus infinity, so that the 256 probabilities sum to one.

    Args:
        x: images whose values are multiples of 1/255.
        mean: of the logistic, in the units of x.
        log_scale: log of the logistic's scale, in the units of x.

    Raises:
        ValueError: x outside [0, 1] (looked at on the CPU only), or another number of pixels.
    """
    _check_pixels(x, mean)
    _check_unit_interval(x)
    inverse_scale = torch.exp(-log_scale)
    upper = (x - mean + HALF_BIN) * inverse_scale
    lower = (x - mean - HALF_BIN) * inverse_scale
    # log(s(upper) - s(lower)) without cancellation: s(a) - s(b) = s(a) s(-b) (1 - e^(b - a))
    log_width = torch.log(-torch.expm1(-2 * HALF_BIN * inverse_scale))
    inside = logsigmoid(upper) + logsigmoid(-lower) + log_width
    first, last = x < HALF_BIN, x > 1 - HALF_BIN
    edges = torch.where(first, logsigmoid(upper), logsigmoid(-lower))
    return torch.where(first | last, edges, inside).sum(dim=-1)


def _check_pixels(x: Tensor, parameters: Tensor) -> None:
    if x.shape[-1:] != parameters.shape[-1:]:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, the decoder's output {tuple(parameters.shape)}: "
            "the last axis must hold the same pixels"
        )


def _check_unit_interval(x: Tensor) -> None:
    if x.device.type != "cpu" or x.numel() == 0 or torch.compiler.is_compiling():
        return
    low, high = (bound.item() for bound in torch.aminmax(x.detach()))
    if not (low >= 0 and high <= 1):
        raise ValueError(f"x must lie in [0, 1], found values from {low:.4g} to {high:.4g}")
