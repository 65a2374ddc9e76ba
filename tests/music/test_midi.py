"""Proof for litgen/music/midi.py: bytes written by hand, and music21 as a reader."""

import re
import warnings

import pytest
import torch

from litgen.data import chorales, sources
from litgen.music import encoding, midi
from litgen.scores import Note, Score
from tests.test_scores import KEY, document, note


def test_a_file_byte_by_byte() -> None:
    """Header, tempo and key in the first track, delta times in groups of seven bits."""
    soprano = (Note(60, 0, 8), Note(62, 8, 4), Note(62, 20, 12))
    score = Score("x", (soprano, (Note(48, 0, 32),)), (0,), 0, 40, -3)
    first = (
        "00 ff5103 07a120  00 ff5902 fd 00  00 ff03 07 736f7072616e6f  00 c0 34"
        "00 903c50  8360 803c00  00 903e50  8170 803e00"  # 480 and 240 ticks
        "8360 903e50  8550 803e00  8360 ff2f00"  # 480 of silence, 720, 480 to the end
    )
    second = "00 ff03 04 616c746f  00 c1 34  00 913050  8f00 813000  8360 ff2f00"
    tracks = [bytes.fromhex(text.replace(" ", "")) for text in (first, second)]
    expected = b"MThd\0\0\0\6\0\1\0\2\1\xe0"
    for track in tracks:
        expected += b"MTrk" + len(track).to_bytes(4, "big") + track
    assert midi.written(score, tempo=120) == expected
    tempo = midi.written(score).split(b"\xff\x51\x03")[1][:3]
    assert int.from_bytes(tempo, "big") == 60_000_000 // 80
    tempo = midi.written(score, 70).split(b"\xff\x51\x03")[1][:3]
    assert int.from_bytes(tempo, "big") == 857_143  # microseconds, rounded
    assert midi.written(score) == midi.written(score, midi.TEMPO)
    assert round(60_000_000 / 70) == int.from_bytes(
        midi.written(score, 70).split(b"\xff\x51\x03")[1][:3], "big"
    )


def test_what_midi_cannot_say_is_refused() -> None:
    """Tempo, channels and pitches have limits, which are allowed themselves."""
    score = Score("x", ((Note(127, 0, 8), Note(0, 8, 8)),) * 9, (0,), 0, 16, 0)
    for tempo in (4, 1000):
        assert midi.written(score, tempo).startswith(b"MThd")
    assert b"voice 5" in midi.written(score)
    for tempo in (3, 1001):
        with pytest.raises(
            ValueError, match=f"tempo must be 4 to 1000 quarters a minute, got {tempo}"
        ):
            midi.written(score, tempo)
    with pytest.raises(ValueError, match="x has 10 voices; there are 9 channels"):
        midi.written(Score("x", ((),) * 10, (0,), 0, 0, 0))
    for pitch in (-1, 128):
        with pytest.raises(ValueError, match=f"voice 1 has pitch {pitch}, which is not in 0..127"):
            midi.written(Score("x", ((), (Note(pitch, 0, 8),)), (0,), 0, 8, 0))


@pytest.mark.usefixtures("real_data")
def test_music21_plays_the_same_notes() -> None:
    """Pitches, starts and lengths of four chorales, one with 32nds; names, tempo and key."""
    try:
        whole = chorales.load("train", stand_in=False).scores
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    chosen = [*whole[:2], *(s for s in whole if s.name in ("bwv432", "bwv66.6"))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        music21 = pytest.importorskip("music21")
        for score in chosen:
            file = music21.midi.MidiFile()
            file.readstr(midi.written(score, 100))
            assert (file.format, len(file.tracks), file.ticksPerQuarterNote) == (1, 4, 480)
            for voice, track in zip(score.voices, file.tracks, strict=True):
                now, begun, found = 0, {}, []
                for event in track.events:
                    if event.isDeltaTime():
                        now += event.time
                    elif event.isNoteOn():
                        begun[event.pitch] = now
                    elif event.isNoteOff():
                        start = begun.pop(event.pitch)
                        found.append(Note(event.pitch, start // 60, (now - start) // 60))
                    elif str(event.type) == "MetaEvents.SET_TEMPO":
                        assert int.from_bytes(event.data, "big") == 600_000
                assert found == [n._replace(fermata=False) for n in voice]
                assert not begun
                assert now == 60 * score.length
            stream = music21.midi.translate.midiFileToStream(file, quantizePost=False)
            assert len(stream.parts) == 4
            signature = stream.recurse().getElementsByClass("KeySignature").first()
            assert signature.sharps == score.sharps


PART = [note("C5", 2), note("D5", 6), note("E5", 6)]


def test_a_melody_of_ones_own() -> None:
    """Its notes are the soprano's; the lower voices rest. Of four parts the first is taken."""
    grid = midi.read_melody(document(PART, attributes=KEY), "mine")
    token = encoding.alphabet(0).token
    expected = [token(72), 0, 0, 0, token(74), *[0] * 11, token(76), *[0] * 11]
    assert grid.tokens[0].tolist() == expected
    assert grid.tokens[1:, 0].tolist() == [encoding.REST] * 3
    assert (grid.tokens[1:, 1:] == encoding.HOLD).all()
    assert grid.sharps == -3
    assert grid.metre[0] == 0
    low = [note("C1", 2), note("C1", 6), note("C1", 6)]
    four = midi.read_melody(document(PART, low, low, low, attributes=KEY))
    assert torch.equal(four.tokens, grid.tokens)
    upbeat = midi.read_melody(document([note("C5", 1), note("D5", 6)], attributes=KEY))
    assert upbeat.metre[:4].tolist() == [2, 3, 0, 1]
    limits = midi.read_melody(document([note("A3", 2), note("A5", 6)]))
    assert limits.tokens[0, [0, 4]].tolist() == [token(57), token(81)]
    rested = document([note("C5", 2), note("rest", 6)])
    assert midi.read_melody(rested, rests=True).tokens[0, 4] == encoding.REST


def test_melodies_that_do_not_fit_are_told_why() -> None:
    """Range, rests, parts, notes, and files that are none."""
    high = document([note("C6", 2) + note("D6", 2)])
    with pytest.raises(
        ValueError,
        match=re.escape("melody goes from 84 to 86, a soprano from 57 to 81: moved by -27 to -5"),
    ):
        midi.read_melody(high)
    exact = document([note("D4", 2) + note("D6", 2)])
    with pytest.raises(
        ValueError, match=r"from 62 to 86.*: moved by -5 to -5 semitones it would fit"
    ):
        midi.read_melody(exact)
    wide = document([note("C3", 2) + note("D6", 2)])
    with pytest.raises(
        ValueError, match="mine goes from 48 to 86, a soprano from 57 to 81: too wide"
    ):
        midi.read_melody(wide, "mine")
    rested = document([note("C5", 2) + note("D5", 2), note("E5", 2) + note("rest", 2)])
    with pytest.raises(ValueError, match="mine rests at step 12, in bar 2"):
        midi.read_melody(rested, "mine")
    with pytest.raises(ValueError, match="mine has 2 parts; a melody has 1 or 4"):
        midi.read_melody(document(PART, PART), "mine")
    with pytest.raises(ValueError, match="mine has no notes"):
        midi.read_melody(document([note("rest", 2)]), "mine")
    with pytest.raises(ValueError, match="melody is no MusicXML"):
        midi.read_melody(b"MThd")


def test_a_chorale_of_ones_own() -> None:
    """Four parts, each in its range."""
    parts = [[note(p, 4)] for p in ("C5", "E4", "G3", "C3")]
    grid = midi.read_chorale(document(*parts), "mine")
    assert grid.tokens[:, 0].tolist() == [
        encoding.alphabet(v).token(p) for v, p in enumerate((72, 64, 55, 48))
    ]
    with pytest.raises(ValueError, match="mine has 3 parts; a chorale has 4"):
        midi.read_chorale(document(*parts[:3]), "mine")
    with pytest.raises(ValueError, match=r"score, voice 0, step 0: pitch 48 is not in 57\.\.81"):
        midi.read_chorale(document(*reversed(parts)))
    with pytest.raises(ValueError, match="mine is no MusicXML"):
        midi.read_chorale(b"", "mine")
