"""How far each known factor of the data has a latent of its own: two published scores.

Chapter: book/vae/beta.md.  Proof: tests/evaluation/test_disentanglement.py.
References: Chen et al., "Isolating Sources of Disentanglement in Variational Autoencoders" (2018),
section 4, for the mutual information gap; Kim & Mnih, "Disentangling by Factorising" (2018),
section 4, for the vote; Locatello et al. (2019), appendix C, for bins and thresholds in use.

Notation: ``levels`` holds the value of each factor, as whole numbers from 0, a row for each datum.
"""

import math

import torch
from torch import Tensor

from litgen.shapes import Float, Int

__all__ = ["binned_information", "entropies", "information", "information_gap", "vote_score"]


def entropies(levels: Int[Tensor, "data factors"]) -> Float[Tensor, " factors"]:
    """Return the entropy of each factor in nats, from how often its values occur."""
    shares = [_shares(column) for column in levels.T]
    return torch.stack([torch.special.entr(share).sum() for share in shares])


def information(
    mean: Float[Tensor, "data latent"],
    log_var: Float[Tensor, "data latent"],
    levels: Int[Tensor, "data factors"],
) -> Float[Tensor, "latent factors"]:
    """Return I(z_j; v_k) in nats for codes drawn from N(mean, exp(log_var)) of a random datum.

    Implements eq:beta-information by the trapezoid rule, with two nodes in the narrowest standard
    deviation of a latent, where it is exact to about a millionth.

    Raises:
        ValueError: another number of data in ``levels``.
    """
    _check(mean, levels)
    members = [torch.nn.functional.one_hot(column).to(mean) for column in levels.T]
    found = []
    for centre, sd in zip(mean.T, torch.exp(0.5 * log_var).T, strict=True):
        low, high = (centre - 6 * sd).min().item(), (centre + 6 * sd).max().item()
        nodes = math.ceil(2 * (high - low) / sd.min().item()) + 2
        z = torch.linspace(low, high, nodes, dtype=mean.dtype, device=mean.device)
        density = torch.exp(-0.5 * ((z[:, None] - centre) / sd).square()) / sd
        density = density / math.sqrt(2 * math.pi)
        whole = density.mean(dim=1)
        row = []
        for member in members:
            joint = density @ member / len(mean)  # p(z, level)
            expected = whole[:, None] * member.mean(dim=0)
            row.append((torch.xlogy(joint, joint) - torch.xlogy(joint, expected)).sum())
        found.append(torch.stack(row) * (high - low) / (nodes - 1))
    return torch.stack(found)


def binned_information(
    codes: Float[Tensor, "data latent"], levels: Int[Tensor, "data factors"], bins: int = 20
) -> Float[Tensor, "latent factors"]:
    """Return I(bin of z_j; v_k) in nats, with bins of equal width from the least to the largest.

    Implements eq:beta-binned. A latent of one value only has no information.

    Raises:
        ValueError: another number of data in ``levels``, or no bins.
    """
    _check(codes, levels)
    if bins < 1:
        raise ValueError(f"bins must be positive, got {bins}")
    low, high = codes.aminmax(dim=0)
    width = torch.where(high > low, high - low, 1)
    places = ((codes - low) / width * bins).long().clamp(max=bins - 1)
    rows = []
    for place in places.T:
        row = []
        for column in levels.T:
            count = int(column.max()) + 1
            joint = _shares(place * count + column, bins * count).view(bins, count)
            expected = joint.sum(dim=1, keepdim=True) * joint.sum(dim=0)
            row.append((torch.xlogy(joint, joint) - torch.xlogy(joint, expected)).sum())
        rows.append(torch.stack(row))
    return torch.stack(rows)


def information_gap(
    informed: Float[Tensor, "latent factors"], entropy: Float[Tensor, " factors"]
) -> Float[Tensor, " factors"]:
    """Return each factor's gap between its best two latents, over its entropy; MIG is the mean.

    Implements eq:beta-mig: 1 where one latent tells the factor and no other says anything of it.

    Raises:
        ValueError: fewer than two latents, or a factor that never varies.
    """
    if len(informed) < 2:
        raise ValueError(f"a gap needs at least 2 latents, got {len(informed)}")
    if not bool((entropy > 0).all()):
        raise ValueError(f"every factor must vary; entropies are {entropy.tolist()}")
    best, second = informed.topk(2, dim=0).values
    gap: Tensor = (best - second) / entropy.to(informed)
    return gap


def vote_score(
    codes: Float[Tensor, "data latent"],
    levels: Int[Tensor, "data factors"],
    generator: torch.Generator,
    votes: int = 500,
    group: int = 64,
    least: float = 0.05,
) -> float:
    """Return the accuracy with which the stillest latent tells which factor was held fixed.

    Implements eq:beta-vote: a group of data shares the value of one factor; the latent whose
    variance within the group is the smallest share of its variance in all data casts a vote.
    Half of the votes say which factor each latent stands for, the other half are judged. A random
    guess is right once in as many times as there are factors.

    Args:
        codes: the posterior means.
        levels: values of the factors.
        generator: draws groups.
        votes: for each factor, in each half.
        group: data in a group.
        least: latents whose codes have less variance than this are switched off and cast no votes.

    Raises:
        ValueError: another number of data in ``levels``, or fewer than 1 vote or 2 in a group.
    """
    _check(codes, levels)
    if votes < 1 or group < 2:
        raise ValueError(f"needs at least 1 vote and groups of 2, got {votes} and {group}")
    variance = codes.var(dim=0)
    used = codes[:, variance > least]
    if used.shape[1] == 0:
        return 0.0
    scaled = used / used.std(dim=0)
    halves = []
    for _ in range(2):
        table = [
            _shares(_votes(scaled, column, generator, votes, group), used.shape[1]) * votes
            for column in levels.T
        ]
        halves.append(torch.stack(table, dim=1))
    stands_for = halves[0].argmax(dim=1)
    right = halves[1].gather(1, stands_for[:, None]).sum()
    return float(right / halves[1].sum())


def _votes(
    scaled: Tensor, column: Tensor, generator: torch.Generator, votes: int, group: int
) -> Tensor:
    """Return which latent varies least in each of many groups that share a level."""
    order = column.argsort()
    counts = torch.bincount(column)
    starts = counts.cumsum(dim=0) - counts
    data = torch.randint(len(column), (votes,), generator=generator)
    level = column[data]  # as often as it occurs
    share = torch.rand(votes, group, generator=generator, dtype=torch.float64)
    within = (share * counts[level, None]).long().clamp(max=counts[level, None] - 1)
    members = order[starts[level, None] + within]
    winners: Tensor = scaled[members].var(dim=1).argmin(dim=1)
    return winners


def _shares(column: Tensor, values: int = 0) -> Tensor:
    """Return how often each value occurs, as shares of one."""
    shares: Tensor = torch.bincount(column, minlength=values).double() / len(column)
    return shares


def _check(codes: Tensor, levels: Tensor) -> None:
    if len(codes) != len(levels):
        raise ValueError(f"codes are of {len(codes)} data, levels of {len(levels)}")
