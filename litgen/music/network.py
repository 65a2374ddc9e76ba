"""DeepBach's dependency network: for each voice, the law of its token given everything around it.

Chapter: book/music/deepbach.md.  Proof: tests/music/test_network.py.
Reference: Hadjeres, Pachet & Nielsen, "DeepBach: a Steerable Model for Bach Chorales Generation"
(2017): its recurrent networks, and its baseline with dense layers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from litgen.music.gibbs import Conditional
from litgen.music.hearing import context
from litgen.shapes import Bool, Float, Int

__all__ = ["DeepBach", "DenseVoice", "RecurrentVoice"]

Symbols = Int[Tensor, "places slots voices"]
Extras = Float[Tensor, "places extras"]


class _Ear(nn.Module):
    """Vectors of the symbols, a table in which each voice has rows of its own."""

    def __init__(self, sizes: Sequence[int], dims: int):
        super().__init__()
        rows = 2 * torch.tensor(list(sizes))
        self.register_buffer("bases", rows.cumsum(0) - rows, persistent=False)
        self.table = nn.Embedding(int(rows.sum()), dims)

    def forward(self, symbols: Symbols) -> Float[Tensor, "places slots numbers"]:
        """Return the vectors of all voices of a slot, one after the other."""
        bases: Tensor = self.get_buffer("bases")
        vectors: Tensor = self.table(symbols + bases)
        return vectors.flatten(2)


class DenseVoice(nn.Module):
    """Two hidden layers over a window: the law of one voice's token. Implements eq:bach-network.

    Args:
        sizes: of each voice's alphabet, in tokens.
        voice: whose tokens are predicted.
        slots: steps that are listened to.
        extras: further numbers (fermatas, metre).
        dims: numbers in a symbol's vector.
        hidden: units of each hidden layer.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        voice: int,
        slots: int,
        extras: int,
        dims: int = 8,
        hidden: int = 128,
    ):
        super().__init__()
        self.ear = _Ear(sizes, dims)
        self.net = nn.Sequential(
            nn.Linear(slots * len(sizes) * dims + extras, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, sizes[voice]),
        )

    def forward(self, symbols: Symbols, extras: Extras) -> Float[Tensor, "places values"]:
        """Return logits of the tokens."""
        logits: Tensor = self.net(torch.cat([self.ear(symbols).flatten(1), extras], dim=1))
        return logits


class RecurrentVoice(nn.Module):
    """The paper's network: what came, what comes, and what sounds meanwhile, each read apart.

    A recurrent network reads the steps before from far to near, another one the steps after from
    far to near, a dense layer the middle; a last hidden layer joins them. The slots are an odd
    number of steps in a row with the place in their middle. Implements eq:bach-recurrent.

    Args:
        sizes: of each voice's alphabet, in tokens.
        voice: whose tokens are predicted.
        slots: steps that are listened to, an odd number.
        extras: further numbers (fermatas, metre).
        dims: numbers in a symbol's vector.
        hidden: units of each recurrent and dense layer.
        layers: recurrent layers on each side.

    Raises:
        ValueError: an even number of slots.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        voice: int,
        slots: int,
        extras: int,
        dims: int = 20,
        hidden: int = 200,
        layers: int = 2,
    ):
        super().__init__()
        if slots % 2 == 0 or slots < 3:
            raise ValueError(f"a place in the middle needs an odd number of slots, got {slots}")
        self.ear, wide = _Ear(sizes, dims), len(sizes) * dims
        self.before = nn.LSTM(wide, hidden, layers, batch_first=True)
        self.after = nn.LSTM(wide, hidden, layers, batch_first=True)
        self.middle = nn.Sequential(nn.Linear(wide + extras, hidden), nn.ReLU())
        self.joined = nn.Sequential(
            nn.Linear(3 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, sizes[voice])
        )

    def forward(self, symbols: Symbols, extras: Extras) -> Float[Tensor, "places values"]:
        """Return logits of the tokens."""
        x, half = self.ear(symbols), symbols.shape[1] // 2
        past, _ = self.before(x[:, :half])
        future, _ = self.after(x[:, half + 1 :].flip(1))
        now = self.middle(torch.cat([x[:, half], extras], dim=1))
        logits: Tensor = self.joined(torch.cat([past[:, -1], now, future[:, -1]], dim=1))
        return logits


class DeepBach(nn.Module):
    """One network a voice.

    Args:
        sizes: of each voice's alphabet, in tokens.
        metres: positions that a step can have in its beat.
        offsets: steps, relative to a place, that are listened to; 0 among them.
        kind: "dense" or "recurrent".
        dims: numbers in a symbol's vector.
        hidden: units of a hidden layer.

    Raises:
        ValueError: another kind; offsets without 0, out of order or twice; for the recurrent kind
            offsets that are not steps in a row around 0.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        metres: int,
        offsets: Sequence[int],
        kind: str = "dense",
        dims: int = 8,
        hidden: int = 128,
    ):
        super().__init__()
        if 0 not in offsets or list(offsets) != sorted(set(offsets)):
            raise ValueError(f"offsets must rise and have 0 among them, got {list(offsets)}")
        if kind not in ("dense", "recurrent"):
            raise ValueError(f"kind must be 'dense' or 'recurrent', got {kind!r}")
        reach = max(offsets)
        if kind == "recurrent" and list(offsets) != list(range(-reach, reach + 1)):
            raise ValueError(f"a recurrent network reads steps in a row, got {list(offsets)}")
        self.sizes, self.metres, self.offsets = tuple(sizes), metres, tuple(offsets)
        self.register_buffer("limits", torch.tensor(list(sizes))[:, None], persistent=False)
        shape = len(offsets), len(offsets) + metres, dims, hidden
        made = DenseVoice if kind == "dense" else RecurrentVoice
        self.voices = nn.ModuleList(made(sizes, i, *shape) for i in range(len(sizes)))

    def inputs(
        self,
        tokens: Int[Tensor, "chains voices steps"],
        metre: Int[Tensor, "rows columns"],
        fermata: Bool[Tensor, "lines places"],
        voice: int,
        at: Int[Tensor, "chains block"],
    ) -> tuple[Int[Tensor, "chains block slots voices"], Bool[Tensor, "chains block extras"]]:
        """Return what a voice's network is given at some places: symbols, fermatas and metre.

        Args:
            tokens: of all voices; what stands at a place itself is not looked at.
            metre: position of every step in its beat, 0..metres-1.
            fermata: whether a step is under a fermata.
            voice: whose tokens are asked for.
            at: places, in steps.

        Raises:
            ValueError: metre or fermata of another length, or a metre or token out of its range.
        """
        size = (len(tokens), tokens.shape[-1])
        if metre.shape != size or fermata.shape != size:
            raise ValueError(
                f"tokens have {size} chains and steps, metre {tuple(metre.shape)}, "
                f"fermata {tuple(fermata.shape)}"
            )
        if bool(((metre < 0) | (metre >= self.metres)).any()):
            raise ValueError(f"metre must lie in 0..{self.metres - 1}")
        if tokens.shape[1] != len(self.sizes):
            raise ValueError(f"{tokens.shape[1]} voices of tokens, {len(self.sizes)} alphabets")
        if bool(((tokens < 0) | (tokens >= self.get_buffer("limits"))).any()):
            raise ValueError(f"tokens must lie below {list(self.sizes)}, voice by voice")
        where = at[..., None] + torch.tensor(self.offsets, device=at.device)
        inside = (where >= 0) & (where < size[1])
        index = where.clamp(0, size[1] - 1).flatten(1)
        held = fermata.gather(1, index).view(where.shape) & inside
        beat = nn.functional.one_hot(metre.gather(1, at), self.metres).bool()
        symbols = context(tokens, voice, at, self.offsets)
        return symbols, torch.cat([held, beat], dim=-1)

    def forward(
        self,
        tokens: Int[Tensor, "chains voices steps"],
        metre: Int[Tensor, "rows columns"],
        fermata: Bool[Tensor, "lines places"],
        voice: int,
        at: Int[Tensor, "chains block"],
    ) -> Float[Tensor, "chains block values"]:
        """Return logits of a voice's tokens at some places, given all that is not that token."""
        symbols, extras = self.inputs(tokens, metre, fermata, voice, at)
        weight = next(self.parameters())
        flat = symbols.flatten(0, 1), extras.flatten(0, 1).to(weight.dtype)
        logits: Tensor = self.voices[voice](*flat)
        return logits.view(*at.shape, -1)

    def conditional(
        self, metre: Int[Tensor, " steps"], fermata: Bool[Tensor, " steps"]
    ) -> Conditional:
        """Return the function that ``gibbs.sample`` asks, for one metre and its fermatas."""

        def ask(state: Tensor, voice: int, at: Tensor) -> Tensor:
            """Return logits without a graph."""
            chains = len(state)
            with torch.no_grad():
                found: Tensor = self(
                    state, metre.expand(chains, -1), fermata.expand(chains, -1), voice, at
                )
            return found

        return ask
