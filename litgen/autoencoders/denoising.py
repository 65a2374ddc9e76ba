"""Noise, the best answer to it, and the score that the answer holds.

Chapter: book/autoencoders/denoising.md.  Proof: tests/autoencoders/test_denoising.py.
References: Vincent, Larochelle, Bengio & Manzagol, "Extracting and Composing Robust Features with
Denoising Autoencoders" (2008), section 2.3; Robbins, "An Empirical Bayes Approach to Statistics"
(1956); Efron, "Tweedie's Formula and Selection Bias" (2011), section 2; Wiener, "Extrapolation,
Interpolation, and Smoothing of Stationary Time Series" (1949).

Notation: the clean datum is ``x``, the noisy one ``y``; sigma is ``scale``, D(y) is ``denoised``.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "Denoise",
    "climb",
    "denoised",
    "masked",
    "noisy",
    "posterior_covariance",
    "posterior_mean",
    "score",
    "squared_error",
    "wiener",
    "wiener_error",
]

Denoise = Callable[[Float[Tensor, "batch dims"]], Float[Tensor, "batch dims"]]


def noisy(
    x: Float[Tensor, "*shape"], noise: Float[Tensor, "*shape"], scale: float | Tensor
) -> Float[Tensor, "*shape"]:
    """Return x + scale noise, for standard normal noise. Implements eq:dae-noise.

    ``scale`` is the standard deviation, in the units of x; nothing is cut off.
    """
    return x + scale * noise


def masked(
    x: Float[Tensor, "*shape"], uniform: Float[Tensor, "*shape"], share: float
) -> Float[Tensor, "*shape"]:
    """Set a share of the entries to zero: those whose uniform number lies below it.

    Implements eq:dae-masking.

    Raises:
        ValueError: a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of zeros must lie in [0, 1], got {share}")
    return torch.where(uniform < share, torch.zeros_like(x), x)


def squared_error(
    x: Float[Tensor, "batch *dims"], answer: Float[Tensor, "..."]
) -> Float[Tensor, " batch"]:
    """Return the squared distance of an answer from the clean datum, summed over its entries.

    Implements eq:dae-loss: lowest, in the mean over noise, at the posterior mean.

    Raises:
        ValueError: the shapes differ.
    """
    if x.shape != answer.shape:
        raise ValueError(f"clean data {tuple(x.shape)}, answers {tuple(answer.shape)}")
    return (x - answer).square().flatten(1).sum(dim=1)


def posterior_mean(
    y: Float[Tensor, "batch dims"], points: Float[Tensor, "count same_dims"], scale: float
) -> Float[Tensor, "batch dims"]:
    """Return E[x|y] where x is one of some points, all equally likely. Implements eq:dae-points.

    Raises:
        ValueError: a scale that is not positive, or points of other dimensions.
    """
    _check_scale(scale)
    if y.shape[1] != points.shape[1]:
        raise ValueError(f"y has {y.shape[1]} dimensions, the points have {points.shape[1]}")
    log_weight = y @ points.T - 0.5 * points.square().sum(dim=1)  # |y|^2 is the same for all
    return (log_weight / scale**2).softmax(dim=1) @ points


def score(
    y: Float[Tensor, "*batch dims"], denoised: Float[Tensor, "*batch dims"], scale: float
) -> Float[Tensor, "*batch dims"]:
    """Return the gradient of log p_scale at y, given the posterior mean there.

    Implements eq:dae-tweedie, read from right to left.

    Raises:
        ValueError: a scale that is not positive.
    """
    _check_scale(scale)
    return (denoised - y) / scale**2


def denoised(
    y: Float[Tensor, "*batch dims"], score: Float[Tensor, "*batch dims"], scale: float
) -> Float[Tensor, "*batch dims"]:
    """Return the posterior mean at y, given the score of the noisy data there.

    Implements eq:dae-tweedie: one step uphill, as long as the noise's variance.
    """
    return y + scale**2 * score


def posterior_covariance(
    denoise: Denoise, y: Float[Tensor, "batch dims"], scale: float
) -> Float[Tensor, "batch dims dims"]:
    """Return scale^2 times the Jacobian of a denoiser. Implements eq:dae-covariance.

    It is Cov[x|y] if ``denoise`` is the posterior mean; then it is symmetric, without being told.
    """
    jacobian: Tensor = torch.func.vmap(torch.func.jacrev(lambda one: denoise(one[None])[0]))(y)
    return scale**2 * jacobian


def wiener(
    y: Float[Tensor, "batch dims"],
    mean: Float[Tensor, " dims"],
    covariance: Float[Tensor, "same_dims same_dims"],
    scale: float,
) -> Float[Tensor, "batch dims"]:
    """Return the posterior mean of Gaussian data: Wiener's filter. Implements eq:dae-wiener.

    Of all denoisers that are affine, the best for any data of this mean and covariance. Along
    a principal direction it keeps the share eq:dae-gain of the distance from the mean.

    Raises:
        ValueError: a scale that is not positive, or shapes that do not fit.
    """
    if covariance.shape != (len(mean), len(mean)):
        raise ValueError(f"mean of {len(mean)} entries, covariance {tuple(covariance.shape)}")
    return mean + (y - mean) @ _gain(covariance, scale)


def wiener_error(covariance: Float[Tensor, "dims dims"], scale: float) -> Float[Tensor, ""]:
    """Return the mean squared error of Wiener's filter, summed over entries.

    Implements eq:dae-wiener-error; for Gaussian data no denoiser has a smaller one.
    """
    return scale**2 * _gain(covariance, scale).trace()


def climb(
    denoise: Denoise, y: Float[Tensor, "batch dims"], rate: float = 1.0
) -> Iterator[Float[Tensor, "batch dims"]]:
    """Yield y, and then for ever what comes of moving it towards its denoised self.

    Implements eq:dae-climb: gradient ascent on the noisy density, with steps rate scale^2.

    Raises:
        ValueError: a rate outside (0, 1].
    """
    if not 0 < rate <= 1:
        raise ValueError(f"the rate must lie in (0, 1], got {rate}")
    while True:
        yield y
        with torch.no_grad():
            y = y + rate * (denoise(y) - y)


def _gain(covariance: Tensor, scale: float) -> Float[Tensor, "dims dims"]:
    """Return (C + scale^2 I)^-1 C, to be multiplied from the right; it is symmetric."""
    _check_scale(scale)
    eye = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    gain: Tensor = torch.linalg.solve(covariance + scale**2 * eye, covariance)
    return gain


def _check_scale(scale: float) -> None:
    if not scale > 0:
        raise ValueError(f"the noise's standard deviation must be positive, got {scale}")
