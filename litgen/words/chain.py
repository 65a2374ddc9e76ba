"""A source of text whose pointwise mutual information is known: a chain of words.

Chapter: book/words/skipgram.md.  Proof: tests/words/test_chain.py.

Each word is drawn given the one before it, T ``transition``; words are distributed as pi
``stationary`` everywhere.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from litgen.shapes import Float
from litgen.words.vocabulary import Corpus

__all__ = ["Chain"]


@dataclass(frozen=True, eq=False)
class Chain:
    """A stationary chain of words.

    Attributes:
        transition: row c holds the probabilities of the words that follow c.

    Raises:
        ValueError: the rows are no distributions.
    """

    transition: Float[Tensor, "words words"]

    def __post_init__(self) -> None:
        rows = self.transition.sum(1)
        if (self.transition < 0).any() or not torch.allclose(rows, torch.ones_like(rows)):
            raise ValueError("every row of the transition matrix must be a distribution")

    def stationary(self) -> Float[Tensor, " words"]:
        """Return pi with pi T = pi and sum 1. Implements eq:sgns-stationary.

        It is the one solution of these equations if every word can follow every other in time.
        """
        words = len(self.transition)
        ones = torch.ones(1, words, dtype=self.transition.dtype)
        equations = torch.cat([self.transition.T - torch.eye(words).to(ones), ones])
        right = torch.zeros(words + 1, 1).to(ones)
        right[-1] = 1
        solution: Tensor = torch.linalg.lstsq(equations, right).solution[:, 0]
        return solution

    def pairs(self, window: int) -> Float[Tensor, "words words"]:
        """Return the distribution of (centre, context) when each centre draws a reach 1..window.

        Implements eq:sgns-chain-pairs.

        Raises:
            ValueError: the window is not positive.
        """
        if window < 1:
            raise ValueError(f"the window is {window}, it must be at least 1")
        ahead = torch.diag(self.stationary())
        total = torch.zeros_like(ahead)
        for distance in range(1, window + 1):
            ahead = ahead @ self.transition
            total += (window - distance + 1) * (ahead + ahead.T)
        return total / total.sum()

    def sample(self, documents: int, length: int, generator: torch.Generator) -> Corpus:
        """Draw documents of so many words each, every one from the stationary distribution on."""
        tokens = torch.empty(documents, length, dtype=torch.int64)
        cumulative = self.transition.cumsum(1)
        steps = torch.rand(length, documents, 1, generator=generator, dtype=cumulative.dtype)
        row = self.stationary().cumsum(0).expand(documents, -1)
        for i, uniform in enumerate(steps):
            tokens[:, i] = (uniform > row[:, :-1]).sum(1)
            row = cumulative[tokens[:, i]]
        numbers = torch.arange(documents).repeat_interleave(length)
        return Corpus(tokens.flatten(), numbers)
