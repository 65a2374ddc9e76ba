"""Proof for litgen/scores.py: MusicXML written out by hand, and music21 as a reader beside it."""

import io
import re
import warnings
import zipfile
from dataclasses import replace

import pytest

from litgen.scores import Note, Score, parse_musicxml, transposed


def note(pitch: str, duration: int, inside: str = "", after: str = "") -> str:
    """Write a note such as "F[1]4" (a sharp), "B[-1]3" or "rest"."""
    if pitch == "rest":
        sound = "<rest/>"
    else:
        step, alter, octave = re.fullmatch(r"(\w)(?:\[(-?[\d.]+)\])?(\d)", pitch).groups()  # type: ignore[union-attr]
        change = f"<alter>{alter}</alter>" if alter else ""
        sound = f"<pitch><step>{step}</step>{change}<octave>{octave}</octave></pitch>"
    return f"<note>{inside}{sound}<duration>{duration}</duration>{after}</note>"


def document(*parts: list[str], attributes: str = "", divisions: int = 2) -> bytes:
    """Write a score; a part is a list of bars."""
    head = f"<attributes><divisions>{divisions}</divisions>{attributes}</attributes>"
    bodies = []
    for i, bars in enumerate(parts):
        inner = "".join(
            f'<measure number="{k}">{head if k == 1 else ""}{bar}</measure>'
            for k, bar in enumerate(bars, start=1)
        )
        bodies.append(f'<part id="P{i}">{inner}</part>')
    names = "".join(
        f'<score-part id="P{i}"><part-name>p</part-name></score-part>' for i in range(len(parts))
    )
    text = f"<score-partwise><part-list>{names}</part-list>{''.join(bodies)}</score-partwise>"
    return text.encode()


KEY = "<key><fifths>-3</fifths></key><time><beats>3</beats><beat-type>4</beat-type></time>"
TIE = {kind: f'<tie type="{kind}"/>' for kind in ("start", "stop")}
FERMATA = "<notations><fermata/></notations>"


def test_a_score_written_by_hand() -> None:
    """Pickup, key, sharps and flats, rests, ties over the bar, fermatas; grace notes are none."""
    upper = [
        note("C5", 2),
        note("D[1]5", 4) + note("B[-1]4", 2, after=TIE["start"]),
        note("B[-1]4", 1, after=TIE["stop"] + FERMATA) + note("rest", 3) + note("A4", 2),
    ]
    grace = "<note><grace/><pitch><step>C</step><octave>4</octave></pitch></note>"
    lower = [note("C3", 2), grace + note("C3", 6), "<forward><duration>6</duration></forward>"]
    found = parse_musicxml(document(upper, lower, attributes=KEY), "mine")
    voices = (
        (Note(72, 0, 8), Note(75, 8, 16), Note(70, 24, 12, True), Note(69, 48, 8)),
        (Note(48, 0, 8), Note(48, 8, 24)),
    )
    assert found == Score("mine", voices, (0, 8, 32), 8, 56, -3)
    assert parse_musicxml(document(upper)).name == "score"


def test_defaults_and_other_divisions() -> None:
    """No signature: no pickup, no sharps. A part that sounds elsewhere; a whole first bar."""
    bars = [note("C4", 1), note("C4", 2)]
    found = parse_musicxml(document(bars, divisions=8))
    assert (found.bars, found.pickup, found.length, found.sharps) == ((0, 1), 0, 3, 0)
    horn = "<transpose><chromatic>-7</chromatic><octave-change>-1</octave-change></transpose>"
    assert parse_musicxml(document(bars, attributes=horn)).voices[0][0].pitch == 60 - 7 - 12
    whole = [note("C4", 6), note("C4", 6)]
    assert parse_musicxml(document(whole, attributes=KEY)).pickup == 0
    later = f"<attributes>{KEY.replace('-3', '4').replace('>3<', '>4<')}</attributes>"
    changed = parse_musicxml(document([note("C4", 6), later + note("C4", 8)], attributes=KEY))
    assert (changed.sharps, changed.pickup) == (-3, 0)
    sums = "<time><beats>2+1</beats><beat-type>4</beat-type></time>"
    assert parse_musicxml(document([note("C4", 5), note("C4", 6)], attributes=sums)).pickup == 20


def test_ties_join_equal_pitches_only() -> None:
    """A stop without its start, a start without its stop, and a tie to another pitch."""
    bars = [
        note("C4", 2, after=TIE["start"]) + note("D4", 2, after=TIE["stop"]),
        note("D4", 2, after=TIE["stop"]) + note("D4", 2, after=TIE["start"]) + note("D4", 2),
    ]
    assert [n.start for n in parse_musicxml(document(bars)).voices[0]] == [0, 8, 16, 24, 32]
    three = [
        note("C4", 2, after=TIE["start"] + FERMATA)
        + note("C4", 2, after=TIE["stop"] + TIE["start"])
        + note("C4", 2, after=TIE["stop"])
    ]
    assert parse_musicxml(document(three)).voices == ((Note(60, 0, 24, True),),)


def test_packed_files_are_unpacked() -> None:
    """The container says which of its files is the score."""
    plain = document([note("C4", 4)])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("other.xml", "<nothing/>")
        archive.writestr("inner/score", plain)
        index = '<container><rootfiles><rootfile full-path="inner/score"/></rootfiles></container>'
        archive.writestr("META-INF/container.xml", index)
    assert parse_musicxml(buffer.getvalue()) == parse_musicxml(plain)
    with pytest.raises(ValueError, match="mine is no MusicXML"):
        parse_musicxml(buffer.getvalue()[:90], "mine")


def test_what_cannot_be_read_is_named() -> None:
    """Name, part and bar are in the message."""
    chord = note("C4", 2) + note("E4", 2, inside="<chord/>")
    back = note("C4", 2) + "<backup><duration>2</duration></backup>" + note("E4", 2)
    cases = {
        "is no MusicXML: ": b"not well formed",
        "is no score-partwise MusicXML but <html>": b"<html/>",
        "has no parts": b"<score-partwise/>",
        "part 2, bar 2 has several notes at a time": document(["", ""], ["", chord]),
        "part 1, bar 1 has several notes at a time": document([back]),
        "part 1, bar 1 has a duration that is no whole number of 32nds": document(
            [note("C4", 1)], divisions=3
        ),
        "part 1, bar 2 has a pitch that is no semitone": document(["", note("C[0.5]4", 1)]),
        "the bars of part 3 are not those of part 1": document(
            [note("C4", 1)], [note("C4", 1)], [note("C4", 2)]
        ),
    }
    for message, content in cases.items():
        with pytest.raises(ValueError, match=f"^mine.*{re.escape(message)}"):
            parse_musicxml(content, "mine")


def test_transposing_moves_pitches_and_the_key() -> None:
    """Twelve keys, in the circle of fifths; flats down to five."""
    score = Score("x", ((Note(60, 0, 8), Note(64, 8, 4, True)), ()), (0,), 0, 12, 0)
    keys = {1: -5, 2: 2, 3: -3, 4: 4, 5: -1, 6: 6, 7: 1, -1: 5, -2: -2, 12: 0}
    for semitones, sharps in keys.items():
        found = transposed(score, semitones)
        assert found.sharps == sharps
        assert found.voices == (
            (Note(60 + semitones, 0, 8), Note(64 + semitones, 8, 4, True)),
            (),
        )
        assert (found.bars, found.length, found.name) == ((0,), 12, "x")
    assert transposed(transposed(score, 3), -3) == score
    assert transposed(replace(score, sharps=-7), 0).sharps == -7


@pytest.mark.usefixtures("real_data")
def test_music21_reads_the_same_notes() -> None:
    """Pitches, starts, lengths and fermatas of eight chorales, with its ties joined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        music21 = pytest.importorskip("music21")
        names = ("66.6", "36.4-2", "248.64-s", "432", "299", "111.6", "362", "1.6")
        for name in names:
            path = music21.corpus.getWork(f"bach/bwv{name}")
            theirs = music21.converter.parse(path, forceSource=True, storePickle=False)
            ours = parse_musicxml(path.read_bytes(), name)
            assert len(ours.voices) == len(theirs.parts) > 3
            for part, voice in zip(theirs.parts, ours.voices, strict=True):
                expected = [
                    (n.pitch.midi, float(n.offset), float(n.quarterLength))
                    for n in part.flatten().stripTies(matchByPitch=True).notes
                    if not n.duration.isGrace
                ]
                assert [(n.pitch, n.start / 8, n.duration / 8) for n in voice] == expected
                fermatas = {
                    float(n.offset)
                    for n in part.flatten().notes
                    if any("Fermata" in e.classes for e in n.expressions)
                }
                held = [n for n in voice if n.fermata]
                assert bool(held) == bool(fermatas)
                assert all(
                    any(n.start <= 8 * at < n.start + n.duration for n in held) for at in fermatas
                )
                assert len(held) <= len(fermatas)
            signature = theirs.parts[0].recurse().getElementsByClass("KeySignature").first()
            assert ours.sharps == signature.sharps
            starts = [8 * m.offset for m in theirs.parts[0].getElementsByClass("Measure")]
            assert list(ours.bars) == starts
