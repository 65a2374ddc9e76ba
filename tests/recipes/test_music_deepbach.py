"""Proof for litgen/recipes/music: deepbach.py, deepbach_recurrent.py, on composed cadences."""

import collections
import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from litgen import runs
from litgen.data import chorales
from litgen.data.sources import DataUnavailable
from litgen.music import encoding, hearing
from litgen.recipes.music import deepbach as recipe
from litgen.recipes.music import deepbach_recurrent

CPU = torch.device("cpu")
TINY = dataclasses.replace(
    recipe.CPU, offsets=(-4, -1, 0, 1, 2), dims=3, hidden=6, turns=6, batch_size=16
)


@pytest.fixture(autouse=True)
def cadences(monkeypatch: pytest.MonkeyPatch) -> dict[str, chorales.ScoreSet]:
    """Put the composed cadences in the chorales' place."""
    reason = DataUnavailable("a test")
    made = {split: chorales._standing_in(split, reason) for split in ("train", "test")}
    counts = {"train": 6, "test": 4}
    made = {k: dataclasses.replace(v, scores=v.scores[: counts[k]]) for k, v in made.items()}
    monkeypatch.setattr(chorales, "load", lambda split="train": made[split])
    return made


def grids(split: str = "train") -> list[encoding.Grid]:
    """Return the cadences on the grid."""
    return recipe.grids_of(chorales.load(split).scores)


def test_a_seed_reproduces_a_run_to_the_bit() -> None:
    """Same seed, same tensors, metrics and curves; another seed, others."""
    first = recipe.train(TINY, 1, CPU)
    torch.rand(7)
    again, other = recipe.train(TINY, 1, CPU), recipe.train(TINY, 2, CPU)
    torch.testing.assert_close(first.tensors, again.tensors, rtol=0, atol=0)
    assert first.metrics == again.metrics
    assert first.history == again.history
    assert first.history["alto_nats"] != other.history["alto_nats"]


def test_places_are_what_the_network_is_given() -> None:
    """eq:bach-mask for every step of every chorale, its own token, and its chorale's room."""
    torch.manual_seed(0)
    model, pieces = recipe.network(TINY), grids()[:2]
    for voice in (0, 3):
        found = recipe.places(model, pieces, voice)
        assert len(found.tokens) == sum(g.tokens.shape[1] for g in pieces)
        start = 0
        for grid in pieces:
            steps = grid.tokens.shape[1]
            part = slice(start, start + steps)
            at = torch.arange(steps)[None]
            symbols = hearing.context(grid.tokens[None], voice, at, TINY.offsets)[0]
            assert torch.equal(found.symbols[part].long(), symbols)
            assert torch.equal(found.tokens[part].long(), grid.tokens[voice])
            assert set(found.down[part].tolist()) == {encoding.room(grid)[0]}
            assert set(found.up[part].tolist()) == {encoding.room(grid)[1]}
            start += steps
    with pytest.raises(ValueError, match="no chorales"):
        recipe.places(model, [], 0)


def test_moving_symbols_is_moving_the_chorale() -> None:
    """eq:bach-shift: moved symbols and tokens are those of the transposed grid, with rests."""
    model, grid = recipe.network(TINY), grids()[0]
    tokens = grid.tokens.clone()
    tokens[:, 4:8] = torch.tensor([encoding.REST, encoding.HOLD, encoding.HOLD, encoding.HOLD])
    grid = dataclasses.replace(grid, tokens=tokens)
    down, up = encoding.room(grid)
    assert down < 0 < up
    for voice in range(4):
        found = recipe.places(model, [grid], voice)
        for k in (down, -1, 0, up):
            moved = recipe.places(model, [encoding.transposed(grid, k)], voice)
            symbols, moved_tokens = recipe.shifted(found, torch.full((len(found.tokens),), k))
            assert torch.equal(symbols, moved.symbols.long())
            assert torch.equal(moved_tokens, moved.tokens.long())


def test_the_loss_is_the_negative_log_probability_of_each_token() -> None:
    """eq:bach-pseudo, place by place, from the network's answer to a whole grid, transposed."""
    torch.manual_seed(0)
    model, grid = recipe.network(TINY), grids()[1]
    k = encoding.room(grid)[1]
    moved = encoding.transposed(grid, k)
    steps = grid.tokens.shape[1]
    for voice in range(4):
        found = recipe.places(model, [grid], voice)
        losses = recipe.loss_of(model.voices[voice], found, torch.full((steps,), k))
        ask = model.conditional(moved.metre, moved.fermata)
        logits = ask(moved.tokens[None], voice, torch.arange(steps)[None])[0]
        for t in range(steps):
            p = logits[t].softmax(0)[moved.tokens[voice, t]].item()
            assert losses[t].item() == pytest.approx(-math.log(p), rel=1e-4)
        assert losses.std() > 0.01


def test_each_network_takes_adams_steps_on_its_own_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, rates and batches of the four players; transpositions inside the room, all used."""
    heard: list[Any] = []
    original = recipe.play

    def listen(players: Any, batches: Any, turns: Any) -> Any:
        heard.append((players, batches))
        return original(players, batches, turns)

    moved: list[Tensor] = []
    loss_of = recipe.loss_of

    def noting(voice: Any, found: Any, semitones: Tensor) -> Tensor:
        assert (found.down <= semitones).all()
        assert (semitones <= found.up).all()
        moved.append(semitones)
        return loss_of(voice, found, semitones)

    monkeypatch.setattr(recipe, "play", listen)
    monkeypatch.setattr(recipe, "loss_of", noting)
    config = dataclasses.replace(TINY, turns=40, learning_rate=3e-3)
    seen = list(recipe.fit(config, grids(), 0, CPU))
    players, batches = heard[0]
    assert [p.name for p in players] == list(recipe.VOICES)
    assert batches.batch_size == 16
    assert [now.turn for now in seen] == list(range(40))
    for i, player in enumerate(players):
        owned = [q for group in player.optimizer.param_groups for q in group["params"]]
        assert [id(q) for q in owned] == [id(q) for q in seen[-1].model.voices[i].parameters()]
        assert isinstance(player.optimizer, torch.optim.Adam)
        assert player.optimizer.param_groups[0]["lr"] < 1e-5  # the cycle has come to its end
    found = recipe.places(seen[-1].model, grids(), 0)
    used = set(torch.cat(moved).tolist())
    assert used == set(range(int(found.down.min()), int(found.up.max()) + 1))
    moved.clear()
    list(recipe.fit(dataclasses.replace(config, transpose=False, turns=2), grids(), 0, CPU))
    assert set(torch.cat(moved).tolist()) == {0}


@pytest.mark.parametrize("kind", ["dense", "recurrent"])
def test_the_training_by_hand(kind: str) -> None:
    """eq:bach-pseudo and eq:bach-shift: who is drawn, how far it is moved, each voice's steps."""
    config = dataclasses.replace(TINY, kind=kind, offsets=(-1, 0, 1), turns=4, batch_size=5)
    pieces = grids()[:3]
    torch.rand(3)  # what was drawn before does not matter
    seen = list(recipe.fit(config, pieces, 6, CPU))
    torch.manual_seed(6)
    model = recipe.network(config)
    chance, order = torch.Generator().manual_seed(7), torch.Generator().manual_seed(6)
    adams = [torch.optim.Adam(voice.parameters()) for voice in model.voices]
    cycles = [torch.optim.lr_scheduler.OneCycleLR(a, config.learning_rate, 4) for a in adams]
    places = [(grid, t) for grid in pieces for t in range(grid.tokens.shape[1])]
    drawn = torch.randperm(len(places), generator=order)[:80].view(4, 4, 5).tolist()
    for now, batches in zip(seen, drawn, strict=True):
        assert not any(loss.requires_grad for loss in now.losses)
        for voice, rows in enumerate(batches):
            shares, losses = torch.rand(5, generator=chance).tolist(), []
            for row, share in zip(rows, shares, strict=True):
                grid, t = places[row]
                down, up = encoding.room(grid)
                moved = encoding.transposed(grid, down + int(share * (up - down + 1)))
                one = moved.tokens[None], moved.metre[None], moved.fermata[None]
                law = model(*one, voice, torch.tensor([[t]]))[0, 0].log_softmax(0)
                losses.append(-law[moved.tokens[voice, t]])
            loss = torch.stack(losses).mean()
            assert now.losses[voice].item() == pytest.approx(loss.item(), rel=1e-3)
            adams[voice].zero_grad()
            loss.backward()
            adams[voice].step()
            cycles[voice].step()
    for mine, theirs in zip(model.parameters(), seen[-1].model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_the_rate_rises_to_the_configs_and_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    """One cycle over all turns, for each voice."""
    rates: list[float] = []
    original = torch.optim.lr_scheduler.OneCycleLR.step

    def noting(self: Any, *arguments: Any) -> None:
        rates.append(self.optimizer.param_groups[0]["lr"])
        original(self, *arguments)

    monkeypatch.setattr(torch.optim.lr_scheduler.OneCycleLR, "step", noting)
    config = dataclasses.replace(TINY, turns=20, learning_rate=2e-3)
    list(recipe.fit(config, grids(), 0, CPU))
    one = rates[4::4]
    assert len(rates) == 4 + 4 * 20  # each scheduler takes one as it is made
    assert max(one) == pytest.approx(2e-3, rel=0.05)
    assert one[0] < 2e-4
    assert one[-1] < 2e-4


def test_training_learns() -> None:
    """A hundred turns on cadences: below what counting alone gives, for every voice."""
    config = dataclasses.replace(TINY, turns=150, batch_size=64, learning_rate=1e-2, hidden=24)
    run = recipe.train(config, 0, CPU)
    for voice in recipe.VOICES:
        assert run.metrics[f"{voice}_nats"] < 0.8 * run.metrics[f"unigram_{voice}_nats"]
        line = run.history[f"{voice}_nats"]
        assert line[-1] < 0.7 * line[0]
        assert len(line) == 100


def test_the_metrics_by_hand() -> None:
    """eq:bach-accuracy of all voices from the network's answers to whole grids, in any order."""
    torch.manual_seed(0)
    model, held_out = recipe.network(TINY).eval(), grids("test")
    found = recipe.measure(model, held_out)
    for i, name in enumerate(recipe.VOICES):
        right, notes, nats, count = 0, [0, 0], 0.0, 0
        for grid in held_out:
            steps = grid.tokens.shape[1]
            ask = model.conditional(grid.metre, grid.fermata)
            logits = ask(grid.tokens[None], i, torch.arange(steps)[None])[0]
            truth = grid.tokens[i]
            nats += F.cross_entropy(logits, truth, reduction="sum").item()
            for guess, token in zip(logits.argmax(1).tolist(), truth.tolist(), strict=True):
                right += guess == token
                notes[0] += token != 0 and guess == token
                notes[1] += token != 0
            count += steps
        assert found[f"{name}_token_accuracy"] == pytest.approx(right / count)
        assert found[f"{name}_note_accuracy"] == pytest.approx(notes[0] / notes[1])
        assert found[f"{name}_nats"] == pytest.approx(nats / count, rel=1e-5)
    assert len(found) == 12


def test_the_tables_are_counted_in_training_chorales_and_judged_on_others() -> None:
    """eq:bach-counts: the unigram's cross-entropy by hand; Markov knows more."""
    train, held_out = grids(), grids("test")
    found = recipe.counted(train, held_out)
    for i, name in enumerate(recipe.VOICES):
        tokens = torch.cat([g.tokens[i] for g in train])
        counts = torch.bincount(tokens, minlength=recipe.SIZES[i]).double() + 0.1
        law = counts / counts.sum()
        truth = torch.cat([g.tokens[i] for g in held_out])
        assert found[f"unigram_{name}_nats"] == pytest.approx(-law[truth].log().mean().item())
        best = (truth == int(law.argmax())).double().mean().item()
        assert found[f"unigram_{name}_token_accuracy"] == pytest.approx(best)
        assert found[f"markov_{name}_nats"] < found[f"unigram_{name}_nats"]
        assert recipe.tables(train, i).shape == (2 * recipe.SIZES[i] * 4, recipe.SIZES[i])
    assert len(found) == 24


def test_the_markov_table_knows_the_place_in_the_beat() -> None:
    """eq:bach-counts: tokens after what sounds, held or begun, at 0..3 of a beat; a loop."""
    train, held_out, size = grids(), grids("test"), recipe.SIZES[2]

    def met(pieces: list[encoding.Grid]) -> list[tuple[tuple[int, int, int], int]]:
        pairs = []
        for grid in pieces:
            sounds, begins = -1, 0  # before the piece
            for token, metre in zip(grid.tokens[2].tolist(), grid.metre.tolist(), strict=True):
                pairs.append(((sounds, begins, metre), token))
                sounds, begins = (token, 1) if token else (sounds, 0)
        return pairs

    counts = collections.Counter(met(train))
    totals = collections.Counter(context for context, _ in met(train))
    nats = [
        -math.log((counts[context, token] + 0.1) / (totals[context] + 0.1 * size))
        for context, token in met(held_out)
    ]
    found = recipe.counted(train, held_out)["markov_tenor_nats"]
    assert found == pytest.approx(sum(nats) / len(nats))
    assert {metre for (_, _, metre), _ in met(train)} == {0, 1, 2, 3}


def test_a_run_comes_back(tmp_path: Any) -> None:
    """Config with its tuple, networks as measured, and the same numbers when measured anew."""
    run = recipe.train(TINY, 0, CPU)
    run.provenance = {"config": dataclasses.asdict(TINY) | {"offsets": list(TINY.offsets)}}
    assert recipe.config_of(run) == TINY
    for name, weights in run.tensors.items():
        assert torch.equal(weights, weights.half().to(weights.dtype)), name
    run.tensors = {key: runs.stored(value) for key, value in run.tensors.items()}
    assert all(r["title"] == "composed cadences standing in for chorales" for r in run.data)
    model = recipe.restore(run)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    kept = dict(run.metrics)
    run.metrics = kept | {"alto_nats": -1.0, "bass_note_accuracy": -1.0}
    assert recipe.evaluate(run, CPU) == pytest.approx(kept)
    run.metrics = kept
    counts = recipe.counted(grids("train"), grids("test"))
    assert {name: kept[name] for name in counts} == counts
    other = recipe.counted(grids("test"), grids("train"))
    assert other["markov_alto_nats"] != counts["markov_alto_nats"]
    assert [(r["name"], r["split"]) for r in run.data] == [
        ("chorales", s) for s in ("train", "test")
    ]
    assert run.metrics["parameters"] == sum(p.numel() for p in model.parameters())
    assert (run.metrics["train_chorales"], run.metrics["test_chorales"]) == (6, 4)
    rolls = recipe.sample(run, 2, torch.Generator().manual_seed(0))
    assert rolls.shape[0] == 2
    assert rolls.shape[1] == 1
    assert rolls.shape[3] == 64
    assert 0 <= rolls.min() < rolls.max() <= 1
    assert recipe.data(TINY) == ("chorales",)


def test_what_is_clamped_stays_and_the_rest_begins_as_noise() -> None:
    """The first state is noise in free places; every later one has the same clamped tokens."""
    torch.manual_seed(0)
    model, grid = recipe.network(TINY).eval(), encoding.cut(grids()[0], 0, 32)
    free = torch.ones(4, 32, dtype=torch.bool)
    free[0] = False
    free[2, :16] = False
    states = list(recipe.draw(model, grid, 3, 12, torch.Generator().manual_seed(0), 8, free))
    assert len(states) == 13
    for state in states:
        assert (state[:, ~free] == grid.tokens[~free]).all()
        assert (state < torch.tensor(recipe.SIZES)[:, None]).all()
    assert (states[0][0] != states[0][1])[free].float().mean() > 0.7
    assert (states[0] != states[-1]).any()
    changed = [(a != b).sum(dim=(1, 2)).max().item() for a, b in itertools.pairwise(states)]
    assert max(changed) <= 8
    whole = next(recipe.draw(model, grid, 2, 1, torch.Generator().manual_seed(0)))
    assert (whole[0] != grid.tokens).any(dim=1).all()


def test_what_the_sampler_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds, block and temperature, and their defaults: 16 places, 1, everything free."""
    heard: list[Any] = []

    def listen(*arguments: Any) -> Any:
        heard.append(arguments)
        return iter(())

    monkeypatch.setattr(recipe, "gibbs_sample", listen)
    torch.manual_seed(0)
    model, grid = recipe.network(TINY).eval(), encoding.cut(grids()[0], 0, 32)
    free = torch.ones(4, 32, dtype=torch.bool)
    free[1] = False
    generator = torch.Generator().manual_seed(0)
    assert len(list(recipe.draw(model, grid, 3, 12, generator))) == 1
    list(recipe.draw(model, grid, 2, 5, generator, 8, free, 0.5))
    (_, _, *first), (_, ask, *second) = heard
    assert first[:2] == [12, generator]
    assert first[2:4] == [16, 1.0]
    assert first[4].all()
    assert second[:4] == [5, generator, 8, 0.5]
    assert torch.equal(second[4], free)
    assert heard[1][0].shape == (2, 4, 32)
    at = torch.tensor([[3]])
    expected = model.conditional(grid.metre, grid.fermata)(grid.tokens[None], 2, at)
    assert torch.equal(ask(grid.tokens[None], 2, at), expected)


def test_noise_is_every_token_alike() -> None:
    """The first state of free places: all tokens of the voice's alphabet, holds and rests too."""
    torch.manual_seed(0)
    model, grid = recipe.network(TINY).eval(), encoding.cut(grids()[0], 0, 32)
    first = next(recipe.draw(model, grid, 300, 1, torch.Generator().manual_seed(0)))
    again = next(recipe.draw(model, grid, 300, 1, torch.Generator().manual_seed(0)))
    assert torch.equal(first, again)
    for voice, size in enumerate(recipe.SIZES):
        counts = torch.bincount(first[:, voice].flatten(), minlength=size)
        assert len(counts) == size
        assert counts.min() > 0.75 * 9_600 / size
        assert counts.max() < 1.25 * 9_600 / size


def test_samples_are_four_bars_of_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metre of 16ths, no fermata, 30 sweeps, 16 places a round; the last state."""
    heard: list[Any] = []

    def listen(model: Any, grid: encoding.Grid, *more: Any) -> Any:
        heard.append((model, grid, *more))
        yield torch.zeros(2, 4, 64, dtype=torch.long)
        yield torch.full((2, 4, 64), 5)

    run = recipe.train(TINY, 0, CPU)
    run.provenance = {"config": dataclasses.asdict(TINY) | {"offsets": list(TINY.offsets)}}
    monkeypatch.setattr(recipe, "draw", listen)
    generator = torch.Generator()
    found = recipe.sample(run, 2, generator)
    model, grid, *more = heard[0]
    assert more == [2, 30 * 4 * (64 // 16), generator]
    assert not model.training
    assert grid.tokens.shape == (4, 64)
    assert grid.metre.tolist() == [0, 1, 2, 3] * 16
    assert grid.bar.tolist() == [t // 16 for t in range(64)]
    assert grid.active.all()
    assert not grid.fermata.any()
    assert torch.equal(found, recipe.roll(torch.full((2, 4, 64), 5)))


def test_a_piano_roll_shows_what_sounds() -> None:
    """The brightness of each voice at its pitch, high notes above; a rest is dark."""
    tokens = torch.zeros(1, 4, 3, dtype=torch.long)
    tokens[0, 0] = torch.tensor([2, 0, 1])  # 57, held, rest
    tokens[0, 3, 1] = 2  # 36
    image = recipe.roll(tokens)[0, 0]
    assert image.shape == (81 - 36 + 1, 3)
    expected = torch.zeros(46, 3)
    expected[81 - 57, :2] = 0.4
    expected[81 - 36, 1:] = 1.0
    torch.testing.assert_close(image, expected)


def test_scores_with_shorter_notes_are_left_out(cadences: dict[str, chorales.ScoreSet]) -> None:
    """A 32nd note needs a finer grid; such a chorale is not learned from."""
    score = cadences["train"].scores[0]
    first = score.voices[0][0]
    voice = (
        first._replace(duration=1),
        first._replace(start=1, duration=first.duration - 1),
        *score.voices[0][1:],
    )
    fine = dataclasses.replace(score, voices=(voice, *score.voices[1:]))
    assert encoding.encode(fine).unit == 1
    assert len(recipe.grids_of([score, fine, score])) == 2


def test_the_configs() -> None:
    """Both that the page computes with are dense; the recurrent one reads a bar on each side."""
    assert recipe.CPU.kind == recipe.GPU.kind == "dense"
    full, small = deepbach_recurrent.GPU, deepbach_recurrent.CPU
    assert full.kind == small.kind == "recurrent"
    assert full.offsets == tuple(range(-16, 17))
    for config in (full, recipe.GPU):
        count = sum(p.numel() for p in recipe.network(config).parameters())
        assert 2 * count < runs.LIMIT
    assert 2 * sum(p.numel() for p in recipe.network(recipe.GPU).parameters()) < 10**6
    assert recipe.network(small).voices[0].before.hidden_size == 32
    assert set(recipe.CPU.offsets) <= set(range(-16, 17))
    assert recipe.CPU.offsets == tuple(-d for d in reversed(recipe.CPU.offsets))
    assert recipe.network(dataclasses.replace(TINY, kind="recurrent", offsets=(-1, 0, 1)))
