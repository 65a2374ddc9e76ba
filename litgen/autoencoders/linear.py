"""Linear autoencoders: two matrices, one narrow place, and what they can reach at best.

Chapter: book/autoencoders/dense.md.  Proof: tests/autoencoders/test_linear.py.
Reference: Baldi & Hornik, "Neural Networks and Principal Component Analysis: Learning from
Examples Without Local Minima" (1989).

Notation: A is ``encoder``, W ``decoder``, the data's covariance Sigma ``covariance``. Data are
centred: the best offsets do that, whatever A and W are. Errors are sums over pixels.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from litgen.shapes import Float

__all__ = [
    "Moments",
    "alternate",
    "best_decoder",
    "best_encoder",
    "lowest_error",
    "mean_error",
    "moments",
    "principal_directions",
]


class Moments(NamedTuple):
    """Mean and covariance (1/N) of data: all that a linear autoencoder can know of them."""

    mean: Float[Tensor, " dims"]
    covariance: Float[Tensor, "dims dims"]


def moments(x: Float[Tensor, "count dims"]) -> Moments:
    """Return mean and covariance of data.

    Raises:
        ValueError: fewer than two data, or a value that is not finite.
    """
    if x.dim() != 2 or len(x) < 2 or not x.isfinite().all():
        raise ValueError(f"at least 2 finite data of shape (count, dims), got {tuple(x.shape)}")
    mean = x.mean(dim=0)
    centred = x - mean
    return Moments(mean, centred.T @ centred / len(x))


def mean_error(
    encoder: Float[Tensor, "latent pixels"],
    decoder: Float[Tensor, "rows columns"],
    covariance: Float[Tensor, "dims dims"],
) -> Float[Tensor, ""]:
    """Return the mean squared error of W A x on centred data, summed over dimensions.

    Implements eq:ae-linear-error, multiplied out so that no matrix of dims times dims is made.

    Raises:
        ValueError: matrices that do not fit.
    """
    _check(encoder, decoder, covariance)
    seen = encoder @ covariance
    crossed = (seen * decoder.T).sum()
    kept = ((decoder.T @ decoder) * (seen @ encoder.T)).sum()
    return covariance.trace() - 2 * crossed + kept


def best_encoder(decoder: Float[Tensor, "dims latent"]) -> Float[Tensor, "latent dims"]:
    """Return the encoder with the least error for a decoder. Implements eq:ae-best-encoder.

    It does not depend on the data: it finds the nearest point of the decoder's span.
    """
    inverse: Tensor = torch.linalg.pinv(decoder)
    return inverse


def best_decoder(
    encoder: Float[Tensor, "latent pixels"], covariance: Float[Tensor, "dims dims"]
) -> Float[Tensor, "dims latent"]:
    """Return the decoder with the least error for an encoder: the regression of data on codes.

    Implements eq:ae-best-decoder.

    Raises:
        ValueError: matrices that do not fit.
    """
    _check(encoder, encoder.T, covariance)
    seen = encoder @ covariance
    solved: Tensor = torch.linalg.solve(seen @ encoder.T, seen)
    return solved.T


def alternate(
    decoder: Float[Tensor, "dims latent"], covariance: Float[Tensor, "dims dims"]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield encoder and decoder after every round of making each of them the best one.

    Implements eq:ae-power: a round multiplies the decoder's span by the covariance.
    """
    while True:
        encoder = best_encoder(decoder)
        decoder = best_decoder(encoder, covariance)
        yield best_encoder(decoder), decoder


def principal_directions(
    covariance: Float[Tensor, "dims dims"], latent: int
) -> tuple[Float[Tensor, "dims latent"], Float[Tensor, " latent"]]:
    """Return the eigenvectors with the largest eigenvalues, and those, the largest first.

    Raises:
        ValueError: no directions, or more of them than dimensions.
    """
    if not 1 <= latent <= len(covariance):
        raise ValueError(f"1 to {len(covariance)} directions, got {latent}")
    values, vectors = torch.linalg.eigh(covariance.double())
    kept = vectors.flip(1)[:, :latent], values.flip(0)[:latent]
    return kept[0].to(covariance.dtype), kept[1].to(covariance.dtype)


def lowest_error(covariance: Float[Tensor, "dims dims"], latent: int) -> Float[Tensor, ""]:
    """Return the least error of any linear autoencoder. Implements eq:ae-minimum.

    Raises:
        ValueError: a code narrower than 0 or wider than the data.
    """
    if not 0 <= latent <= len(covariance):
        raise ValueError(f"a code has 0 to {len(covariance)} numbers, got {latent}")
    values = torch.linalg.eigvalsh(covariance.double())
    error: Tensor = values[: len(values) - latent].sum()
    return error.to(covariance.dtype)


def _check(encoder: Tensor, decoder: Tensor, covariance: Tensor) -> None:
    """Broadcasting would find an answer for a decoder that was not transposed."""
    dims = covariance.shape[0]
    fits = encoder.dim() == 2 and encoder.shape[1] == dims == covariance.shape[1]
    if not fits or decoder.shape != encoder.T.shape:
        raise ValueError(
            f"encoder {tuple(encoder.shape)}, decoder {tuple(decoder.shape)} and covariance "
            f"{tuple(covariance.shape)} do not fit"
        )
