"""Train DeepBach's four networks on chorales, and count what they have to beat.

Chapter: book/music/deepbach.md.  Proof: tests/recipes/test_music_deepbach.py.
Reference: Hadjeres, Pachet & Nielsen, "DeepBach: a Steerable Model for Bach Chorales Generation"
(2017).

Places are listed once; transposition moves their symbols when a batch is made.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from litgen import checkpoints
from litgen.data import chorales
from litgen.music import baselines, encoding
from litgen.music.encoding import Grid
from litgen.music.gibbs import sample as gibbs_sample
from litgen.music.hearing import sounding
from litgen.music.network import DeepBach, DenseVoice, RecurrentVoice
from litgen.recipes.pictures import curve, one_thread
from litgen.runs import Run
from litgen.scores import Score
from litgen.shapes import Bool, Float, Int, UInt8
from litgen.training import Minibatches, Player, half_rounded, plain_products, play

__all__ = [
    "CPU",
    "GPU",
    "METRES",
    "SIZES",
    "VOICES",
    "Config",
    "Places",
    "Progress",
    "config_of",
    "counted",
    "data",
    "draw",
    "evaluate",
    "fit",
    "grids_of",
    "loss_of",
    "measure",
    "network",
    "places",
    "restore",
    "roll",
    "sample",
    "shifted",
    "train",
]

VOICES = chorales.VOICES
SIZES = tuple(encoding.alphabet(voice).size for voice in range(len(VOICES)))
METRES = 4


@dataclass(frozen=True)
class Config:
    """What a training depends on.

    Attributes:
        kind: "dense" or "recurrent".
        offsets: steps of a 16th that the networks listen to, relative to the token's.
        dims: numbers in a symbol's vector.
        hidden: units of a hidden layer.
        transpose: move chorales by chance, as far as all voices stay in their ranges.
        turns: updates of each voice's network.
        batch_size: places in a step.
        learning_rate: the highest; it rises to it and falls again.
    """

    kind: str = "dense"
    offsets: tuple[int, ...] = (
        *(-16, -12, -8, -6, -5, -4, -3, -2, -1, 0),
        *(1, 2, 3, 4, 5, 6, 8, 12, 16),
    )
    dims: int = 6
    hidden: int = 96
    transpose: bool = True
    turns: int = 700
    batch_size: int = 256
    learning_rate: float = 6e-3


CPU = Config()
GPU = Config(  # the page computes with it too: the networks stay small, the training is longer
    dims=8,
    hidden=128,
    turns=20_000,
    batch_size=512,
    learning_rate=2e-3,
)


class Places(NamedTuple):
    """Every place of one voice in some chorales, as its network is given it, and its token."""

    symbols: UInt8[Tensor, "count slots voices"]
    extras: Bool[Tensor, "count extras"]
    tokens: UInt8[Tensor, " count"]
    down: Int[Tensor, " count"]
    up: Int[Tensor, " count"]


class Progress(NamedTuple):
    """Where a training stands after a turn; losses are detached, one a voice, in nats."""

    turn: int
    model: DeepBach
    losses: tuple[Tensor, ...]


def grids_of(scores: Sequence[Score]) -> list[Grid]:
    """Return chorales on a grid of 16ths; the few that have shorter notes are left out."""
    grids = [encoding.encode(score) for score in scores]
    return [grid for grid in grids if grid.unit == encoding.SIXTEENTH]


def network(config: Config) -> DeepBach:
    """Return the four networks of a config."""
    sizes = config.kind, config.dims, config.hidden
    return DeepBach(SIZES, METRES, config.offsets, *sizes)


def places(model: DeepBach, grids: Sequence[Grid], voice: int) -> Places:
    """List every place of a voice on the CPU, and how far its chorale can be moved.

    Raises:
        ValueError: no chorales.
    """
    if not grids:
        raise ValueError("no chorales to learn from")
    rows: list[tuple[Tensor, ...]] = []
    device = next(model.parameters()).device
    for grid in grids:
        count = grid.tokens.shape[1]
        at = torch.arange(count, device=device)[None]
        told = grid.tokens, grid.metre, grid.fermata
        tokens, metre, fermata = (part[None].to(device) for part in told)
        found = model.inputs(tokens, metre, fermata, voice, at)
        symbols, extras = (part[0].cpu() for part in found)
        down, up = (torch.full((count,), limit) for limit in encoding.room(grid))
        rows.append((symbols.byte(), extras, grid.tokens[voice].byte(), down, up))
    return Places(*(torch.cat(column) for column in zip(*rows, strict=True)))


def shifted(
    found: Places, semitones: Int[Tensor, " count"]
) -> tuple[Int[Tensor, "count slots voices"], Int[Tensor, " count"]]:
    """Return symbols and tokens of places, each moved by its own number of semitones.

    Holds, rests and what is unknown or outside stay as they are. Implements eq:bach-shift.
    """
    symbols, tokens = found.symbols.long(), found.tokens.long()
    symbols = symbols + 2 * semitones[:, None, None] * (symbols >= 4)
    return symbols, tokens + semitones * (tokens >= 2)


def loss_of(
    voice: DenseVoice | RecurrentVoice, found: Places, semitones: Int[Tensor, " count"]
) -> Float[Tensor, " count"]:
    """Return -log p of each place's token in nats. Implements eq:bach-pseudo, term by term."""
    symbols, tokens = shifted(found, semitones)
    logits = voice(symbols, found.extras.float())
    return nn.functional.cross_entropy(logits, tokens, reduction="none")


def fit(
    config: Config, grids: Sequence[Grid], seed: int, device: torch.device
) -> Iterator[Progress]:
    """Yield after every turn, in which each voice's network takes one step.

    Args:
        config: networks and pace.
        grids: chorales.
        seed: of weights, batches and transpositions.
        device: where to train.
    """
    torch.manual_seed(seed)  # weights
    model = network(config)
    generator, keys = (torch.Generator().manual_seed(seed + k) for k in (0, 1))
    listed = [places(model, grids, i) for i in range(len(VOICES))]
    listed = [Places(*(part.to(device) for part in found)) for found in listed]
    model.to(device)

    def player(i: int) -> Player:
        """Return who trains the network of a voice."""
        optimizer = torch.optim.Adam(
            model.voices[i].parameters(), config.learning_rate, fused=True
        )

        def loss(rows: Tensor) -> Tensor:
            """Return the mean loss at some places, moved by chance."""
            found = Places(*(part.index_select(0, rows) for part in listed[i]))
            chance = torch.rand(len(rows), generator=keys).to(device)
            moved = found.down + (chance * (found.up - found.down + 1)).long()
            part = model.voices[i]
            assert isinstance(part, DenseVoice | RecurrentVoice)
            return loss_of(part, found, moved * config.transpose).mean()

        return Player(VOICES[i], optimizer, loss)

    players = [player(i) for i in range(len(VOICES))]
    rates = [
        torch.optim.lr_scheduler.OneCycleLR(p.optimizer, config.learning_rate, config.turns)
        for p in players
    ]
    rows = torch.arange(len(listed[0].tokens), device=device)
    batches = Minibatches(rows, config.batch_size, generator)
    memory = checkpoints.current()
    memory.keep(model=model, keys=keys, batches=batches, rates=dict(enumerate(rates)))
    memory.keep(optimizers=dict(enumerate(p.optimizer for p in players)))
    losses: list[Tensor] = []
    game = play(players, batches, memory.turns(config.turns))
    for step in tqdm(game, total=len(VOICES) * config.turns, desc="deepbach", unit="step"):
        rates[len(losses)].step()
        losses.append(step.loss)
        if len(losses) == len(VOICES):
            yield Progress(step.turn, model, tuple(losses))
            losses = []


def train(config: Config, seed: int, device: torch.device) -> Run:
    """Train on all chorales of the training split; keep networks, curves and scores."""
    train_set, test_set = (chorales.load(split) for split in ("train", "test"))
    curves: dict[str, list[Tensor]] = {f"{voice}_nats": [] for voice in VOICES}
    checkpoints.current().keep(curves=curves)
    grids = grids_of(train_set.scores)
    with plain_products(device), one_thread(device):
        for now in fit(config, grids, seed, device):
            for voice, loss in zip(VOICES, now.losses, strict=True):
                curves[f"{voice}_nats"].append(loss)
        half_rounded(now.model)
        held_out = grids_of(test_set.scores)
        metrics = measure(now.model, held_out) | counted(grids, held_out)
    return Run(
        tensors={f"model.{name}": value.cpu() for name, value in now.model.state_dict().items()},
        metrics=metrics
        | {
            "parameters": sum(p.numel() for p in now.model.parameters()),
            "train_chorales": len(grids),
            "test_chorales": len(held_out),
        },
        history={name: curve(values) for name, values in curves.items()},
        data=[
            dataclasses.asdict(part.record)
            | {"name": "chorales", "title": part.record.name, "split": split}
            for split, part in (("train", train_set), ("test", test_set))
        ],
    )


@torch.no_grad()
def measure(model: DeepBach, grids: Sequence[Grid]) -> dict[str, float]:
    """Return accuracies and nats of each voice's tokens in chorales as they were written."""
    model.eval()
    device = next(model.parameters()).device
    found: dict[str, float] = {}
    for i, (name, voice) in enumerate(zip(VOICES, model.voices, strict=True)):
        listed = Places(*(part.to(device) for part in places(model, grids, i)))
        parts = zip(listed.symbols.split(4_096), listed.extras.split(4_096), strict=True)
        logits = torch.cat([voice(s.long(), e.float()) for s, e in parts]).cpu()
        scores = baselines.scores(logits, listed.tokens.long().cpu())
        found |= {f"{name}_{kind}": value for kind, value in scores.items()}
    return found


def counted(grids: Sequence[Grid], held_out: Sequence[Grid]) -> dict[str, float]:
    """Return the same numbers of a unigram and a Markov table, counted in the first chorales."""
    found: dict[str, float] = {}
    for i, name in enumerate(VOICES):
        for kind, metres in (("unigram", 0), ("markov", METRES)):
            table = tables(grids, i, metres)
            contexts, tokens = _pairs(held_out, i, metres)
            scores = baselines.scores(table[contexts], tokens)
            found |= {f"{kind}_{name}_{score}": value for score, value in scores.items()}
    return found


def tables(
    grids: Sequence[Grid], voice: int, metres: int = METRES
) -> Float[Tensor, "contexts values"]:
    """Return log-probabilities of a voice's tokens after what was heard; of all, with 0 metres."""
    contexts = 2 * SIZES[voice] * metres if metres else 1
    return baselines.log_table(*_pairs(grids, voice, metres), (contexts, SIZES[voice]))


def _pairs(grids: Sequence[Grid], voice: int, metres: int) -> tuple[Tensor, Tensor]:
    """Return contexts and tokens of a voice in all chorales, one after the other."""
    tokens = torch.cat([grid.tokens[voice] for grid in grids])
    if not metres:
        return torch.zeros_like(tokens), tokens
    each = [baselines.before(g.tokens[voice : voice + 1], g.metre, metres)[0] for g in grids]
    return torch.cat(each), tokens


def data(config: Config) -> tuple[str, ...]:
    """Name the data sets that a config reads."""
    return ("chorales",)


def config_of(run: Run) -> Config:
    """Return a run's config; a file's JSON holds tuples as lists."""
    stored = run.provenance["config"]
    return Config(**stored | {"offsets": tuple(stored["offsets"])})


def restore(run: Run) -> DeepBach:
    """Return a run's networks in evaluation mode."""
    model = network(config_of(run))
    model.load_state_dict(run.part("model"))
    return model.eval().requires_grad_(False)


def draw(
    model: DeepBach,
    grid: Grid,
    chains: int,
    rounds: int,
    generator: torch.Generator,
    block: int = 16,
    free: Bool[Tensor, "voices steps"] | None = None,
    temperature: float = 1.0,
) -> Iterator[Int[Tensor, "chains voices steps"]]:
    """Yield a pseudo-Gibbs chain's states: free places begin as noise, the others as written.

    Args:
        model: four networks.
        grid: metre, fermatas, and what is clamped.
        chains: sampled side by side.
        rounds: each of one voice and ``block`` places.
        generator: draws everything.
        block: places drawn at once.
        free: what is sampled; everything unless given.
        temperature: of the draws.
    """
    open_places = torch.ones(grid.tokens.shape, dtype=torch.bool) if free is None else free
    start = grid.tokens.repeat(chains, 1, 1)
    for voice, size in enumerate(SIZES):
        noise = torch.randint(0, size, (chains, start.shape[-1]), generator=generator)
        start[:, voice] = torch.where(open_places[voice], noise, start[:, voice])
    ask = model.conditional(grid.metre, grid.fermata)
    yield start
    yield from gibbs_sample(start, ask, rounds, generator, block, temperature, open_places)


def roll(tokens: Int[Tensor, "chains voices steps"]) -> Float[Tensor, "chains 1 pitches steps"]:
    """Return piano rolls in [0, 1], high notes first: the brighter, the lower the voice."""
    low = min(encoding.alphabet(v).low for v in range(len(VOICES)))
    high = max(encoding.alphabet(v).high for v in range(len(VOICES)))
    image = torch.zeros(len(tokens), high - low + 1, tokens.shape[-1])
    for voice, row in enumerate(sounding(tokens).unbind(dim=1)):
        pitch = row - 2 + encoding.alphabet(voice).low
        chain, step = (row >= 2).nonzero(as_tuple=True)
        image[chain, high - pitch[chain, step], step] = 0.4 + 0.2 * voice
    return image.unsqueeze(1)


def sample(
    run: Run, count: int, generator: torch.Generator
) -> Float[Tensor, "count 1 pitches steps"]:
    """Return piano rolls of four bars without a fermata, after 30 sweeps of sampling."""
    steps = 64
    empty = Grid(
        torch.zeros(len(VOICES), steps, dtype=torch.long),
        torch.arange(steps) % METRES,
        *(torch.zeros(steps, dtype=torch.bool), torch.ones(steps, dtype=torch.bool)),
        torch.arange(steps) // 16,
    )
    *_, last = draw(restore(run), empty, count, 30 * len(VOICES) * steps // 16, generator)
    return roll(last)


def evaluate(run: Run, device: torch.device) -> dict[str, float]:
    """Measure a run's weights on the test chorales anew."""
    held_out = grids_of(chorales.load("test").scores)
    found = run.metrics | measure(restore(run).to(device), held_out)
    return found
