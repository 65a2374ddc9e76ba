"""Pseudo-Gibbs sampling: draw some notes anew given all others, again and again.

Chapter: book/music/deepbach.md.  Proof: tests/music/test_gibbs.py.
Reference: Hadjeres, Pachet & Nielsen, "DeepBach: a Steerable Model for Bach Chorales Generation"
(2017), algorithm 1 and its parallel version; Heckerman, Chickering, Meek, Rounthwaite & Kadie,
"Dependency Networks for Inference, Collaborative Filtering, and Data Visualization" (2000).

    paper                here
    V_i^t                state[:, i, t]: the token of voice i at step t
    batch of notes       block: places of one voice that are drawn at once
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from litgen.shapes import Bool, Float, Int

__all__ = ["Conditional", "Places", "State", "chosen", "draw", "sample"]

State = Int[Tensor, "chains voices steps"]
Places = Int[Tensor, "chains block"]
Conditional = Callable[[Tensor, int, Tensor], Tensor]
"""Maps (state, voice, places) to logits "chains block values" of the tokens at these places."""


def draw(
    logits: Float[Tensor, "*places values"],
    uniform: Float[Tensor, "*places"],
    temperature: float = 1.0,
) -> Int[Tensor, "*places"]:
    """Return values with probabilities in proportion to exp(logits / temperature).

    Implements eq:bach-temperature by the inverse of the distribution function.

    Args:
        logits: unnormalised log-probabilities, in nats; minus infinity forbids a value.
        uniform: a number in [0, 1) for each place.
        temperature: 1 leaves the law as it is, less sharpens it.

    Raises:
        ValueError: a temperature that is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    cumulative = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
    total = cumulative[..., -1:]
    below = (cumulative <= uniform[..., None] * total).sum(dim=-1)
    return below.clamp(max=logits.shape[-1] - 1)


def chosen(
    free: Bool[Tensor, " steps"], chains: int, block: int, generator: torch.Generator
) -> Places:
    """Return ``block`` different free steps for each chain, all equally likely."""
    steps = free.nonzero()[:, 0]
    order = torch.rand(chains, len(steps), generator=generator).argsort(dim=1)
    return steps[order[:, :block].to(steps.device)]


def sample(
    start: State,
    conditional: Conditional,
    rounds: int,
    generator: torch.Generator,
    block: int = 1,
    temperature: float | Callable[[int], float] = 1.0,
    free: Bool[Tensor, "rows columns"] | None = None,
) -> Iterator[State]:
    """Yield the state after every round of a random scan; the start is left alone.

    A round picks one voice for all chains, then ``block`` of its steps in each chain, and draws
    these tokens at once, each given the state before the round. Implements eq:bach-gibbs; with a
    block of one this is Gibbs sampling, with a larger one an approximation. All chains of a call
    share the order of voices.

    Args:
        start: tokens, one chain a row.
        conditional: the law of a voice's tokens given everything else.
        rounds: how many states are yielded.
        generator: draws voices, places and tokens, on the CPU.
        block: places drawn at once.
        temperature: of the draws, or a function of the round, counted from 0.
        free: which places may change; all unless given.

    Raises:
        ValueError: ``free`` of another shape or all False, or a voice with some free places but
            fewer than ``block``.
    """
    chains, voices, steps = start.shape
    if free is None:
        free = torch.ones(voices, steps, dtype=torch.bool, device=start.device)
    if free.shape != (voices, steps):
        raise ValueError(f"free has shape {tuple(free.shape)}, a state {(voices, steps)}")
    counts = free.sum(dim=1).tolist()
    movable = [i for i, count in enumerate(counts) if count]
    if not movable:
        raise ValueError("no place is free")
    if block < 1 or min(counts[i] for i in movable) < block:
        raise ValueError(f"a block of {block} places, but voices have {counts} free ones")
    state, rows = start, torch.arange(chains, device=start.device)[:, None]
    for turn in range(rounds):
        voice = movable[int(torch.randint(len(movable), (), generator=generator))]
        at = chosen(free[voice], chains, block, generator)
        uniform = torch.rand(chains, block, generator=generator).to(start.device)
        warm = temperature(turn) if callable(temperature) else temperature
        state = state.clone()
        state[rows, voice, at] = draw(conditional(state, voice, at), uniform, warm)
        yield state
