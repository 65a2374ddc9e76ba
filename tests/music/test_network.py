"""Proof for litgen/music/network.py: layers by hand, and what a change of a token can reach."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from litgen.music import gibbs, hearing
from litgen.music.network import DeepBach, DenseVoice, RecurrentVoice
from tests.music.test_hearing import SIZES, random_tokens

OFFSETS = (-5, -2, -1, 0, 1, 2, 4)
ROW = tuple(range(-3, 4))


def net(kind: str = "dense", seed: int = 0) -> DeepBach:
    """Return a small network in double precision with sizeable weights."""
    torch.manual_seed(seed)
    offsets = OFFSETS if kind == "dense" else ROW
    model = DeepBach(SIZES, 4, offsets, kind, dims=3, hidden=5).double()
    for parameter in model.parameters():
        parameter.data *= 2
    return model


def piece(chains: int = 6, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens, metre and fermatas."""
    tokens = random_tokens(chains, seed=seed)
    metre = ((torch.arange(14) + torch.arange(chains)[:, None]) % 4).long()
    fermata = torch.rand(chains, 14, generator=torch.Generator().manual_seed(seed)) < 0.4
    return tokens, metre, fermata


def extras_by_hand(metre: Tensor, fermata: Tensor, t: int, offsets: tuple[int, ...]) -> Tensor:
    """Return fermatas of the slots, nothing outside, then the place's metre."""
    rows = []
    for c in range(len(metre)):
        held = [float(0 <= t + d < 14 and bool(fermata[c, t + d])) for d in offsets]
        rows.append(held + [float(metre[c, t] == m) for m in range(4)])
    return torch.tensor(rows, dtype=torch.float64)


def vectors(voice: DenseVoice | RecurrentVoice, symbols: Tensor) -> Tensor:
    """Return the rows of the table, those of the second voice after those of the first."""
    table = voice.ear.table.weight
    assert table.shape == (2 * 4 + 2 * 6, 3)
    first, second = symbols[..., 0], symbols[..., 1]
    return torch.cat([table[first], table[second + 8]], dim=-1)


def test_dense_logits_are_two_hidden_layers_over_the_window() -> None:
    """eq:bach-network with functions of torch, for both voices and some places."""
    model, (tokens, metre, fermata) = net(), piece()
    for voice, t in ((0, 0), (1, 6), (0, 13)):
        at = torch.full((6, 1), t)
        symbols = hearing.context(tokens, voice, at, OFFSETS)[:, 0]
        part = model.voices[voice]
        x = vectors(part, symbols).flatten(1)
        x = torch.cat([x, extras_by_hand(metre, fermata, t, OFFSETS)], dim=1)
        a, b, c = part.net[0], part.net[2], part.net[4]
        h = F.linear(x, a.weight, a.bias).relu()
        h = F.linear(h, b.weight, b.bias).relu()
        expected = F.linear(h, c.weight, c.bias)
        found = model(tokens, metre, fermata, voice, at)
        assert found.shape == (6, 1, SIZES[voice])
        torch.testing.assert_close(found[:, 0], expected)
        assert found.std() > 0.05


def test_recurrent_logits_read_both_sides_towards_the_place() -> None:
    """eq:bach-recurrent: two recurrences cell by cell, nearest step last, and a middle."""
    model, (tokens, metre, fermata) = net("recurrent"), piece()
    part, t = model.voices[1], 5
    symbols = hearing.context(tokens, 1, torch.full((6, 1), t), ROW)[:, 0]
    x = vectors(part, symbols)

    def last(lstm: torch.nn.LSTM, order: list[int]) -> Tensor:
        """Return the second layer's output after the last step, from cells."""
        inputs = [x[:, j] for j in order]
        for layer in range(2):
            cell = torch.nn.LSTMCell(inputs[0].shape[1], 5).double()
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            for name in names:
                getattr(cell, name).data = getattr(lstm, f"{name}_l{layer}").data
            state = torch.zeros(6, 5).double(), torch.zeros(6, 5).double()
            outputs = []
            for step in inputs:
                state = cell(step, state)
                outputs.append(state[0])
            inputs = outputs
        return inputs[-1]

    now = torch.cat([x[:, 3], extras_by_hand(metre, fermata, t, ROW)], dim=1)
    sides = last(part.before, [0, 1, 2]), last(part.after, [6, 5, 4])
    h = torch.cat([sides[0], part.middle[0](now).relu(), sides[1]], dim=1)
    expected = part.joined[2](part.joined[0](h).relu())
    found = model(tokens, metre, fermata, 1, torch.full((6, 1), t))[:, 0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["dense", "recurrent"])
def test_no_network_sees_its_own_token(kind: str) -> None:
    """eq:bach-mask: whatever stands at a place, its law stays, though held steps follow."""
    model, (tokens, metre, fermata) = net(kind), piece()
    tokens[:3, :, 7:10] = 0  # held after the place
    for voice, size in enumerate(SIZES):
        at = torch.full((6, 1), 6)
        seen = model(tokens, metre, fermata, voice, at)
        for value in range(size):
            changed = tokens.clone()
            changed[:, voice, 6] = value
            assert torch.equal(model(changed, metre, fermata, voice, at), seen)
        for other, step in ((1 - voice, 6), (voice, 7), (voice, 5)):
            changed = tokens.clone()
            changed[:, other, step] = (tokens[:, other, step] + 1) % SIZES[other]
            apart = (model(changed, metre, fermata, voice, at) - seen).abs().amax(dim=(1, 2))
            assert apart.min() > 1e-9


@pytest.mark.parametrize("kind", ["dense", "recurrent"])
def test_many_places_are_asked_at_once(kind: str) -> None:
    """A block of places gets the laws that each place gets alone, in any company."""
    model, (tokens, metre, fermata) = net(kind), piece()
    at = torch.tensor([[3, 0], [6, 13], [1, 2], [9, 8], [4, 4], [13, 12]])
    found = model(tokens, metre, fermata, 0, at)
    assert found.shape == (6, 2, 4)
    for c in range(6):
        for k in range(2):
            one = slice(c, c + 1)
            alone = model(tokens[one], metre[one], fermata[one], 0, at[one, k : k + 1])
            torch.testing.assert_close(found[one, k], alone[:, 0])


def test_metre_and_fermata_are_heard() -> None:
    """A place's own metre; fermatas in every slot, none outside the window."""
    model, (tokens, metre, fermata) = net(), piece()
    at = torch.full((6, 1), 6)
    seen = model(tokens, metre, fermata, 0, at)
    for t in range(14):
        turned, held = metre.clone(), fermata.clone()
        turned[:, t] = (turned[:, t] + 1) % 4
        held[:, t] = ~held[:, t]
        assert torch.equal(model(tokens, turned, fermata, 0, at), seen) is (t != 6)
        assert torch.equal(model(tokens, metre, held, 0, at), seen) is (t - 6 not in OFFSETS)


def test_voices_have_weights_of_their_own() -> None:
    """The loss of one voice moves no other's network."""
    model, (tokens, metre, fermata) = net(), piece()
    model(tokens, metre, fermata, 0, torch.full((6, 1), 6)).square().sum().backward()
    assert all(p.grad is not None for p in model.voices[0].parameters())
    assert all(p.grad is None for p in model.voices[1].parameters())


def test_the_conditional_is_the_network_for_one_metre() -> None:
    """What gibbs.sample asks: the same logits for all chains, without a graph."""
    model, (tokens, metre, fermata) = net(), piece()
    ask = model.conditional(metre[1], fermata[1])
    at = torch.tensor([[3], [6], [1], [9], [4], [13]])
    found = ask(tokens, 1, at)
    expected = model(tokens, metre[1].expand(6, -1), fermata[1].expand(6, -1), 1, at)
    assert torch.equal(found, expected)
    assert not found.requires_grad
    *_, last = gibbs.sample(tokens, ask, 30, torch.Generator().manual_seed(0), block=4)
    assert (last < torch.tensor(SIZES)[:, None]).all()
    assert (last != tokens).any()


def test_defaults_are_the_papers_and_the_pages() -> None:
    """Sizes of the layers unless given."""
    dense, recurrent = DenseVoice(SIZES, 0, 5, 9), RecurrentVoice(SIZES, 0, 5, 9)
    assert dense.net[0].weight.shape == (128, 5 * 2 * 8 + 9)
    assert (recurrent.before.hidden_size, recurrent.before.num_layers) == (200, 2)
    assert (recurrent.after.hidden_size, recurrent.after.num_layers) == (200, 2)
    assert recurrent.middle[0].weight.shape == (200, 2 * 20 + 9)
    both = DeepBach(SIZES, 4, OFFSETS)
    assert isinstance(both.voices[0], DenseVoice)
    assert both.voices[0].net[0].weight.shape == (128, 7 * 2 * 8 + 7 + 4)


def test_what_cannot_be_built_or_asked_is_refused() -> None:
    """The errors name offsets, shapes and ranges."""
    for wrong in ((-1, 1), (0, -1), (0, 0, 1)):
        with pytest.raises(ValueError, match="offsets must rise and have 0 among them"):
            DeepBach(SIZES, 4, wrong)
    with pytest.raises(ValueError, match="kind must be 'dense' or 'recurrent', got 'deep'"):
        DeepBach(SIZES, 4, (0,), "deep")
    with pytest.raises(ValueError, match=r"reads steps in a row, got \[-2, 0, 2\]"):
        DeepBach(SIZES, 4, (-2, 0, 2), "recurrent")
    with pytest.raises(ValueError, match=r"reads steps in a row, got \[-2, -1, 0, 1, 2, 3, 4\]"):
        DeepBach(SIZES, 4, range(-2, 5), "recurrent")
    with pytest.raises(ValueError, match="an odd number of slots, got 4"):
        RecurrentVoice(SIZES, 0, 4, 3)
    with pytest.raises(ValueError, match="got 1"):
        RecurrentVoice(SIZES, 0, 1, 3)
    model, (tokens, metre, fermata) = net(), piece()
    at = torch.zeros(6, 1, dtype=torch.long)
    with pytest.raises(ValueError, match=r"metre \(6, 13\), fermata \(6, 14\)"):
        model(tokens, metre[:, 1:], fermata, 0, at)
    with pytest.raises(ValueError, match=r"metre \(6, 14\), fermata \(5, 14\)"):
        model(tokens, metre, fermata[1:], 0, at)
    for wrong_metre in (metre + 1, metre - 1):
        with pytest.raises(ValueError, match=r"metre must lie in 0..3"):
            model(tokens, wrong_metre, fermata, 0, at)
    with pytest.raises(ValueError, match="3 voices of tokens, 2 alphabets"):
        model(tokens[:, [0, 1, 1]], metre, fermata, 0, at)
    for value in (4, -1):
        tokens[2, 0, 3] = value
        with pytest.raises(ValueError, match=r"tokens must lie below \[4, 6\], voice by voice"):
            model(tokens, metre, fermata, 0, at)
