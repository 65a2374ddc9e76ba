"""Proof for litgen/music/encoding.py: a grid written by hand, and every chorale there and back."""

import re

import pytest
import torch

from litgen import scores
from litgen.data import chorales, sources
from litgen.music import encoding
from litgen.music.encoding import HOLD, REST, Alphabet, alphabet, decode, encode
from litgen.scores import Note, Score


def mine() -> Score:
    """Return two bars with a pickup of a quarter: rests, a long note, a fermata."""
    voices = (
        (Note(60, 0, 8), Note(62, 8, 4), Note(62, 12, 4), Note(81, 24, 16, True)),
        (Note(53, 4, 4), Note(60, 8, 32)),
        (Note(48, 0, 40),),
        (Note(64, 0, 2), Note(36, 2, 6, True), Note(40, 8, 24)),
    )
    return Score("mine", voices, (0, 8, 24), 8, 40, 2)


def test_a_grid_written_by_hand() -> None:
    """eq:music-grid: a token where a note or rest begins, holds while it goes on."""
    grid = encode(mine())
    s, a, t, b = (alphabet(v).token for v in range(4))
    expected = [
        [s(60), 0, 0, 0, s(62), 0, s(62), 0, REST, 0, 0, 0, s(81), 0, 0, 0, 0, 0, 0, 0],
        [REST, 0, a(53), 0, a(60), *[0] * 15],
        [t(48), *[0] * 19],
        [b(64), b(36), 0, 0, b(40), *[0] * 11, REST, 0, 0, 0],
    ]
    assert grid.tokens.tolist() == expected
    assert grid.metre.tolist() == [0, 1, 2, 3] * 5
    assert grid.bar.tolist() == [0] * 4 + [1] * 8 + [2] * 8
    assert grid.fermata.tolist() == [False] * 12 + [True] * 8
    assert grid.active.all()
    assert (grid.unit, grid.sharps) == (2, 2)
    fine = encode(mine(), unit=1)
    assert fine.tokens[:, ::2].tolist() == expected
    assert (fine.tokens[:, 1::2] == HOLD).all()
    assert fine.metre.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] * 5
    assert torch.equal(fine.bar[::2], grid.bar)
    assert torch.equal(fine.fermata[1::2], grid.fermata)
    assert fine.unit == 1


def test_a_pickup_that_is_no_whole_beat_ends_on_a_beat() -> None:
    """An eighth before the bar stands where an eighth before a beat stands; and a 16th."""
    score = Score("x", ((Note(60, 0, 18),), (), (), ()), (0, 2), 2, 18, 0)
    assert encode(score).metre.tolist() == [3, 0, 1, 2, 3, 0, 1, 2, 3]
    score = Score("x", ((Note(60, 0, 20),), (), (), ()), (0, 4), 4, 20, 0)
    assert encode(score).metre.tolist() == [2, 3, 0, 1, 2, 3, 0, 1, 2, 3]
    assert decode(encode(score), "x") == score


def test_thirty_seconds_need_the_finer_grid() -> None:
    """It is chosen where it is needed, and only there."""
    short = Score("x", ((Note(60, 0, 3), Note(62, 3, 1)), (), (), ()), (0,), 0, 4, 0)
    assert encode(short).unit == 1
    assert decode(encode(short), "x") == short
    last = Score("x", ((Note(60, 0, 3),), (), (), ()), (0,), 0, 4, 0)
    barred = Score("x", ((Note(60, 0, 8),), (), (), ()), (0, 3), 0, 8, 0)
    upbeat = Score("x", ((Note(60, 0, 8),), (), (), ()), (0, 8), 1, 16, 0)
    odd = Score("x", ((Note(60, 0, 2),), (), (), ()), (0,), 0, 3, 0)
    assert [encode(one).unit for one in (last, barred, upbeat, odd)] == [1] * 4
    assert decode(encode(last), "x") == last
    for score, unit in ((short, 2), (mine(), 3), (mine(), 4), (mine(), 0)):
        with pytest.raises(ValueError, match=f"does not fit steps of {unit} 32nds"):
            encode(score, unit=unit)


def test_decoding_gives_the_notes_back() -> None:
    """All but the fermatas of lower voices; a name of its own; padding is left out."""
    score, grid = mine(), encode(mine())
    lower = tuple(tuple(n._replace(fermata=False) for n in v) for v in score.voices[1:])
    expected = Score("decoded", (score.voices[0], *lower), (0, 8, 24), 8, 40, 2)
    assert decode(grid) == expected
    assert decode(encoding.padded(grid, 3, 5)) == expected
    assert decode(encode(score, unit=1)) == expected
    # a rest of one step, and a lower voice's note that begins under the soprano's fermata
    brief = Score(
        "x", ((Note(60, 0, 2), Note(62, 4, 4, True)), (Note(55, 4, 2),), (), ()), (0,), 0, 8, 0
    )
    assert encode(brief).tokens[0].tolist() == [5, REST, 7, 0]
    assert decode(encode(brief), "x") == brief


def test_tokens_without_a_note_before_them_are_silent() -> None:
    """A chain of Gibbs steps may write a hold first, or a rest after a rest."""
    grid = encode(mine())
    grid.tokens[0, 0] = HOLD
    grid.tokens[0, 10] = REST
    assert decode(grid).voices[0] == mine().voices[0][1:]
    grid.tokens[2, 4] = alphabet(2).outside
    with pytest.raises(ValueError, match=r"voice 2, step 4: token 24 is no pitch"):
        decode(grid)


def test_alphabets() -> None:
    """Hold, rest and the range's pitches; one more token for what is outside."""
    assert [alphabet(v).size for v in range(4)] == [27, 24, 24, 31]
    assert [(alphabet(v).low, alphabet(v).high) for v in range(4)] == list(encoding.RANGES)
    letters = Alphabet(50, 52)
    assert (letters.size, letters.outside) == (5, 5)
    assert [letters.token(p) for p in (50, 51, 52)] == [2, 3, 4]
    assert [letters.pitch(t) for t in (2, 3, 4)] == [50, 51, 52]
    for pitch in (49, 53):
        with pytest.raises(ValueError, match=f"pitch {pitch} is not in 50..52"):
            letters.token(pitch)
    for token in (HOLD, REST, 5, -1):
        with pytest.raises(ValueError, match=rf"token {token} is no pitch; pitches are 2\.\.4"):
            letters.pitch(token)
    for voice in (4, -1):
        with pytest.raises(ValueError, match=f"voice must be 0 to 3, got {voice}"):
            alphabet(voice)


def test_scores_that_do_not_fit_are_named() -> None:
    """Too few voices, too high a note, notes that overlap or leave the score."""
    score = mine()

    def with_bass(*notes: Note) -> Score:
        return Score("mine", (*score.voices[:3], notes), score.bars, 8, 40, 0)

    with pytest.raises(ValueError, match="mine has 3 voices, not 4"):
        encode(Score("mine", score.voices[:3], (0,), 0, 40, 0))
    with pytest.raises(ValueError, match=r"mine, voice 3, step 2: pitch 65 is not in 36..64"):
        encode(with_bass(Note(64, 0, 4), Note(65, 4, 4)))
    message = "mine, voice 3: notes overlap or leave the score"
    for notes in (
        (Note(40, 0, 4), Note(40, 2, 4)),
        (Note(40, 0, 42),),
        (Note(40, 0, 0),),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            encode(with_bass(*notes))


def test_moving_a_grid_is_moving_its_notes() -> None:
    """eq:music-transposed: encoding and transposing commute, as far as there is room."""
    grid = encode(mine())
    assert encoding.room(grid) == (0, 0)
    inner = Score(
        "x", ((Note(60, 0, 4),), (), (Note(50, 2, 2),), (Note(60, 0, 4),)), (0,), 0, 4, 0
    )
    grid = encode(inner)
    assert encoding.room(grid) == (-2, 4)
    for k in range(-2, 5):
        found = encoding.transposed(grid, k)
        assert torch.equal(found.tokens, encode(scores.transposed(inner, k)).tokens)
        assert found.sharps == scores.transposed(inner, k).sharps
        assert encoding.room(found) == (-2 - k, 4 - k)
        around = encoding.padded(grid, 2, 1)
        moved = encoding.transposed(around, k)
        assert torch.equal(moved.tokens[:, 2:-1], found.tokens)
        assert torch.equal(moved.tokens[:, :2], around.tokens[:, :2])
        assert encoding.room(around) == (-2, 4)
    for k in (-3, 5):
        with pytest.raises(ValueError, match=rf"{k} semitones are not in -2\.\.4"):
            encoding.transposed(grid, k)
    silent = encode(Score("x", ((),) * 4, (0,), 0, 8, -4))
    assert encoding.room(silent) == (-12, 12)
    assert torch.equal(encoding.transposed(silent, 5).tokens, silent.tokens)
    assert encoding.transposed(silent, 0).sharps == -4


def test_room_is_what_encoding_allows() -> None:
    """One semitone beyond it, the moved score is refused."""
    inner = Score(
        "x",
        ((Note(66, 0, 4),), (Note(64, 0, 4),), (Note(55, 0, 4),), (Note(50, 0, 4),)),
        (0,),
        0,
        4,
        0,
    )
    down, up = encoding.room(encode(inner))
    assert (down, up) == (-7, 10)
    for k in (down, up):
        encode(scores.transposed(inner, k))
    for k in (down - 1, up + 1):
        with pytest.raises(ValueError, match="is not in"):
            encode(scores.transposed(inner, k))


def test_padding_has_tokens_of_its_own() -> None:
    """Each voice's own; the metre counts on, into both sides."""
    grid = encode(mine())
    found = encoding.padded(grid, 3, 2)
    assert torch.equal(found.tokens[:, 3:-2], grid.tokens)
    for part in (slice(0, 3), slice(-2, None)):
        assert found.tokens[:, part].tolist() == [
            [alphabet(v).size] * len(range(25)[part]) for v in range(4)
        ]
        assert not found.active[part].any()
        assert not found.fermata[part].any()
        assert (found.bar[part] == -1).all()
    assert found.metre.tolist() == [1, 2, 3, *[0, 1, 2, 3] * 5, 0, 1]
    assert torch.equal(found.fermata[3:-2], grid.fermata)
    assert torch.equal(found.bar[3:-2], grid.bar)
    assert found.active.sum() == 20
    fine = encoding.padded(encode(mine(), unit=1), 3, 2)
    assert fine.metre[:5].tolist() == [2, 3, 3, 0, 0]
    late = encode(Score("x", ((),) * 4, (0, 4), 4, 12, 0))
    assert encoding.padded(late, 3, 3).metre.tolist() == [3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]
    odd = encoding.cut(encode(mine(), unit=1), 1, 8)  # its first step is half a 16th late
    assert encoding.padded(odd, 0, 0).metre.tolist() == [0, 1, 1, 2, 2, 3, 3]
    for before, after in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match=f"cannot pad by {before} and {after} steps"):
            encoding.padded(grid, before, after)


def test_cutting() -> None:
    """Every row is cut; what is not there cannot be."""
    grid = encode(mine())
    found = encoding.cut(grid, 4, 12)
    assert torch.equal(found.tokens, grid.tokens[:, 4:12])
    for row in ("metre", "fermata", "active", "bar"):
        assert torch.equal(getattr(found, row), getattr(grid, row)[4:12])
    assert (found.unit, found.sharps) == (2, 2)
    assert decode(found).length == 16
    for start, stop in ((-1, 4), (4, 4), (3, 21)):
        with pytest.raises(ValueError, match=f"steps {start} to {stop} are not in 0 to 20"):
            encoding.cut(grid, start, stop)


@pytest.mark.usefixtures("real_data")
def test_all_chorales_come_back_note_for_note() -> None:
    """365 of 365: 362 on a grid of 16ths, three on one of 32nds. And the same in other keys."""
    try:
        whole = [
            s for split in ("train", "test") for s in chorales.load(split, stand_in=False).scores
        ]  # type: ignore[arg-type]
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    fine = []
    for i, score in enumerate(whole):
        grid = encode(score)
        back = decode(grid, score.name)
        assert [[n[:3] for n in v] for v in back.voices] == [
            [n[:3] for n in v] for v in score.voices
        ]
        assert back.voices[0] == score.voices[0]
        assert back.bars == score.bars
        assert (back.pickup, back.length, back.sharps) == (
            score.pickup,
            score.length,
            score.sharps,
        )
        fine += [score.name] * (grid.unit == 1)
        if i % 10 == 0:
            for k in encoding.room(grid):
                assert torch.equal(
                    encoding.transposed(grid, k).tokens, encode(scores.transposed(score, k)).tokens
                )
    assert sorted(fine) == ["bwv248.64-s", "bwv36.4-2", "bwv432"]


def test_what_the_page_gets() -> None:
    """Whole numbers by name; only grids as the page draws them."""
    grid = encode(mine())
    assert encoding.described(grid, "a name") == {
        "name": "a name",
        "tokens": grid.tokens.tolist(),
        "sharps": 2,
        "metre": [0, 1, 2, 3] * 5,
        "fermata": [0] * 12 + [1] * 8,
        "bar": [0] * 4 + [1] * 8 + [2] * 8,
    }
    later = encoding.described(encoding.cut(grid, 10, 14), "cut")
    assert (later["bar"], later["metre"]) == ([0, 0, 1, 1], [2, 3, 0, 1])
    for broken in (encoding.padded(grid, 0, 1), encode(mine(), unit=1)):
        with pytest.raises(ValueError, match=rf"x is padded, or its steps of {broken.unit} 32nds"):
            encoding.described(broken, "x")
