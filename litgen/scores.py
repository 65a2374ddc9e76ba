"""Written music as notes in voices: what families, data sets and files share of a score.

Proof: tests/test_scores.py.
Source: MusicXML 4.0, a W3C Community Group report (2021): files of ``score-partwise``, plain or
packed.

Time is counted in 32nds from the start of the score, pitch in MIDI's semitones (60 is middle C).
A repeated passage is read once, as written; ornaments and grace notes are left out.
"""

import io
import xml.etree.ElementTree as ET
import zipfile
from dataclasses import dataclass, replace
from typing import NamedTuple

__all__ = ["WHOLE", "Note", "Score", "parse_musicxml", "transposed"]

WHOLE = 32
"""32nds in a whole note."""
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


class Note(NamedTuple):
    """One sounding note; notes that are tied together are one."""

    pitch: int
    start: int
    duration: int
    fermata: bool = False


@dataclass(frozen=True)
class Score:
    """Voices of single notes, from the highest to the lowest.

    Attributes:
        name: such as "bwv66.6".
        voices: of each voice its notes in the order of time; between them it rests.
        bars: where each bar starts.
        pickup: length of the first bar where it is cut short, 0 otherwise.
        length: of the whole.
        sharps: of the first key signature; flats are negative.
    """

    name: str
    voices: tuple[tuple[Note, ...], ...]
    bars: tuple[int, ...]
    pickup: int
    length: int
    sharps: int


def transposed(score: Score, semitones: int) -> Score:
    """Return a score moved up; its key signature is the one with the fewest signs."""
    voices = tuple(
        tuple(note._replace(pitch=note.pitch + semitones) for note in voice)
        for voice in score.voices
    )
    sharps = (score.sharps + 7 * semitones + 5) % 12 - 5  # a fifth up is a sharp more
    return replace(score, voices=voices, sharps=score.sharps if semitones == 0 else sharps)


def parse_musicxml(content: bytes, name: str = "score") -> Score:
    """Read a score: each part one voice, one note at a time.

    Args:
        content: of a file ``.musicxml``, ``.xml`` or ``.mxl``.
        name: for messages and for the score.

    Raises:
        ValueError: no MusicXML, chords or several voices in a part, durations that are no whole
            number of 32nds, parts of different length; the message names part and bar.
    """
    root = _root(content, name)
    parts = root.findall("part")
    if not parts:
        raise ValueError(f"{name} has no parts")
    read = [_part(part, f"{name}, part {i}") for i, part in enumerate(parts, start=1)]
    first = read[0]
    for i, other in enumerate(read[1:], start=2):
        if (other.bars, other.length) != (first.bars, first.length):
            raise ValueError(f"{name}: the bars of part {i} are not those of part 1")
    voices = tuple(part.notes for part in read)
    return Score(name, voices, first.bars, first.pickup, first.length, first.sharps)


class _Part(NamedTuple):
    notes: tuple[Note, ...]
    bars: tuple[int, ...]
    pickup: int
    length: int
    sharps: int


def _root(content: bytes, name: str) -> ET.Element:
    """Unpack a file if need be, and parse it."""
    try:
        if content[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                index = ET.fromstring(archive.read("META-INF/container.xml"))
                path = next(e.get("full-path") for e in index.iter() if e.get("full-path"))
                content = archive.read(path or "")
        root = ET.fromstring(content)
    except (ET.ParseError, zipfile.BadZipFile, KeyError, StopIteration) as error:
        raise ValueError(f"{name} is no MusicXML: {error}") from None
    if root.tag != "score-partwise":
        raise ValueError(f"{name} is no score-partwise MusicXML but <{root.tag}>")
    return root


def _part(part: ET.Element, name: str) -> _Part:
    """Read the notes of one part."""
    notes: list[Note] = []
    bars: list[int] = []
    now, divisions, sharps, full, shift, tied = 0, 1, 0, 0, 0, False
    for measure in part.findall("measure"):
        where = f"{name}, bar {measure.get('number')}"
        bars.append(now)
        for item in measure:
            if item.tag == "attributes":
                divisions = int(item.findtext("divisions") or divisions)
                if now == 0:
                    sharps = int(item.findtext("key/fifths") or sharps)
                    full = _nominal(item) or full
                if item.find("transpose") is not None:
                    shift = int(item.findtext("transpose/chromatic") or 0)
                    shift += 12 * int(item.findtext("transpose/octave-change") or 0)
            elif item.tag == "backup" or item.find("chord") is not None:
                raise ValueError(f"{where} has several notes at a time: a part is one voice")
            elif item.tag == "forward" or (item.tag == "note" and item.find("grace") is None):
                duration = _duration(item, divisions, where)
                ties = {tie.get("type") for tie in item.findall("tie")}
                if item.tag == "note" and item.find("rest") is None:
                    fermata = item.find("notations/fermata") is not None
                    note = Note(_pitch(item, where) + shift, now, duration, fermata)
                    held = tied and "stop" in ties and notes[-1].pitch == note.pitch
                    notes.append(_joined(notes.pop(), note) if held else note)
                now += duration
                tied = "start" in ties
    starts = [*bars[1:], now]
    pickup = starts[0] if bars and starts[0] < full else 0
    return _Part(tuple(notes), tuple(bars), pickup, now, sharps)


def _joined(first: Note, second: Note) -> Note:
    """Return two tied notes as one; a fermata over either is over both."""
    duration = first.duration + second.duration
    return first._replace(duration=duration, fermata=first.fermata or second.fermata)


def _nominal(attributes: ET.Element) -> int:
    """Return the length of a bar as the time signature says, 0 where there is none."""
    beats, kind = attributes.findtext("time/beats"), attributes.findtext("time/beat-type")
    if not beats or not kind:
        return 0
    return sum(int(beat) for beat in beats.split("+")) * WHOLE // int(kind)


def _duration(item: ET.Element, divisions: int, where: str) -> int:
    """Return a duration in 32nds."""
    written = int(item.findtext("duration") or 0)
    if written * WHOLE % (4 * divisions):
        raise ValueError(f"{where} has a duration that is no whole number of 32nds")
    return written * WHOLE // (4 * divisions)


def _pitch(note: ET.Element, where: str) -> int:
    """Return a note's pitch in semitones."""
    step, octave = note.findtext("pitch/step"), note.findtext("pitch/octave")
    alter = float(note.findtext("pitch/alter") or 0)
    if step not in STEPS or octave is None or alter % 1:
        raise ValueError(f"{where} has a pitch that is no semitone of the piano")
    return 12 * (int(octave) + 1) + STEPS[step] + int(alter)
