"""Networks of conditional VAEs: every one of them reads the condition beside its other input.

Chapter: book/vae/conditional.md.  Proof: tests/vae/test_conditional_networks.py.
References: Sohn, Lee & Yan (2015), section 4.1; Kingma, Rezende, Mohamed & Welling (2014), M2.

A condition is a vector: a one-hot label, or the pixels that are seen.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.blocks import MLP
from litgen.shapes import Float, Int
from litgen.vae.networks import DenseEncoder

__all__ = ["CVAE", "Decoder", "Encoder", "LearnedPrior", "StandardPrior", "one_hot"]


def one_hot(labels: Int[Tensor, " batch"], classes: int) -> Float[Tensor, "batch classes"]:
    """Return a row for each label: 1 in the label's column, 0 elsewhere.

    Raises:
        ValueError: labels that are no whole numbers, or not in 0..classes - 1. (On a GPU, where
            looking would wait for the device, CUDA's own assertion takes its place.)
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"labels are whole numbers, got {labels.dtype}")
    if labels.dim() != 1:
        raise ValueError(f"one label for each example, got shape {tuple(labels.shape)}")
    if labels.device.type == "cpu" and len(labels):
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise ValueError(f"labels go from 0 to {classes - 1}, got {low} to {high}")
    return nn.functional.one_hot(labels.long(), classes).to(torch.get_default_dtype())


class Encoder(nn.Module):
    """Dense layers from what is generated and what is given to q(z|x, y)."""

    def __init__(self, pixels: int, condition: int, hidden: Sequence[int], latent: int):
        super().__init__()
        self.pixels, self.given = pixels, condition
        self.body = DenseEncoder(pixels + condition, hidden, latent)

    def forward(
        self, x: Float[Tensor, "batch pixels"], condition: Float[Tensor, "batch given"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return (mean, log_var) of q(z|x, y).

        Raises:
            ValueError: an x or a condition of another width, or not as many of both.
        """
        _check_width("x", x, self.pixels)
        _check_width("condition", condition, self.given)
        if len(x) != len(condition):
            raise ValueError(f"{len(x)} examples, {len(condition)} conditions")
        mean, log_var = self.body(torch.cat([x, condition], dim=1))
        return mean, log_var


class LearnedPrior(nn.Module):
    """Dense layers from what is given to p(z|y)."""

    def __init__(self, condition: int, hidden: Sequence[int], latent: int):
        super().__init__()
        self.given = condition
        self.body = DenseEncoder(condition, hidden, latent)

    def forward(
        self, condition: Float[Tensor, "batch given"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return (mean, log_var) of p(z|y).

        Raises:
            ValueError: a condition of another width.
        """
        _check_width("condition", condition, self.given)
        mean, log_var = self.body(condition)
        return mean, log_var


class StandardPrior(nn.Module):
    """N(0, I) whatever is given: the code is independent of the condition."""

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def forward(
        self, condition: Float[Tensor, "batch given"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return (mean, log_var), both zero."""
        zero = condition.new_zeros(len(condition), self.latent)
        return zero, zero


class Decoder(nn.Module):
    """Dense layers from the code and what is given to one number a pixel.

    The first layer is linear in (z, condition) together; the condition's part of it is computed
    once for all codes of an example.
    """

    def __init__(self, latent: int, condition: int, hidden: Sequence[int], pixels: int):
        if not hidden:
            raise ValueError("a decoder needs a hidden layer, got none")
        super().__init__()
        self.latent, self.given = latent, condition
        self.code = nn.Linear(latent, hidden[0])
        self.condition = nn.Linear(condition, hidden[0], bias=False)
        self.rest = nn.Sequential(nn.ReLU(), *MLP([*hidden, pixels]))

    def forward(
        self, z: Float[Tensor, "*samples batch latent"], condition: Float[Tensor, "batch given"]
    ) -> Float[Tensor, "*samples batch pixels"]:
        """Return the likelihood's parameters, one a pixel.

        Raises:
            ValueError: a code or a condition of another width.
        """
        _check_width("z", z, self.latent)
        _check_width("condition", condition, self.given)
        pixels: Tensor = self.rest(self.code(z) + self.condition(condition)).float()
        return pixels

    def stacked(self) -> nn.Sequential:
        """Return the same function of (z, condition) laid end to end, as plain layers."""
        first = nn.Linear(self.latent + self.given, self.code.out_features)
        with torch.no_grad():
            first.weight.copy_(torch.cat([self.code.weight, self.condition.weight], dim=1))
            first.bias.copy_(self.code.bias)
        return nn.Sequential(first, *self.rest)


class CVAE(nn.Module):
    """An encoder, a prior and a decoder that are trained and stored together."""

    def __init__(self, encoder: Encoder, prior: LearnedPrior | StandardPrior, decoder: Decoder):
        super().__init__()
        self.encoder, self.prior, self.decoder = encoder, prior, decoder


def _check_width(name: str, tensor: Tensor, width: int) -> None:
    if tensor.dim() < 2 or tensor.shape[-1] != width:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected (..., {width})")
