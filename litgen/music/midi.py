"""Scores as MIDI files, and users' MusicXML as grids.

Chapter: book/music/deepbach.md.  Proof: tests/music/test_midi.py.
Source: "Standard MIDI Files 1.0" (1988): format 1, one track a voice.
"""

from litgen import scores
from litgen.music.encoding import RANGES, REST, Grid, encode
from litgen.scores import Note, Score

__all__ = ["NAMES", "TEMPO", "read_chorale", "read_melody", "written"]

NAMES = ("soprano", "alto", "tenor", "bass")
TEMPO = 80
"""Quarters a minute."""
TICKS = 60  # a 32nd: 480 a quarter
CHOIR = 52  # General MIDI's voices
VELOCITY = 80


def written(score: Score, tempo: int = TEMPO) -> bytes:
    """Return a MIDI file of format 1, a track and a channel for each voice.

    Args:
        score: the notes; fermatas are not played.
        tempo: quarters a minute.

    Raises:
        ValueError: a tempo that is not 4 to 1,000, more than 9 voices, or a pitch that MIDI does
            not have.
    """
    if not 4 <= tempo <= 1000:
        raise ValueError(f"tempo must be 4 to 1000 quarters a minute, got {tempo}")
    if len(score.voices) > 9:
        raise ValueError(f"{score.name} has {len(score.voices)} voices; there are 9 channels")
    head = b"\xff\x51\x03" + round(60_000_000 / tempo).to_bytes(3, "big")
    head = b"\0" + head + b"\0\xff\x59\x02" + bytes([score.sharps % 256, 0])
    tracks = [
        (head if voice == 0 else b"") + _track(notes, voice, score.length)
        for voice, notes in enumerate(score.voices)
    ]
    header = [1, len(tracks), 8 * TICKS]
    chunks = [(b"MThd", b"".join(number.to_bytes(2, "big") for number in header))]
    chunks += [(b"MTrk", track) for track in tracks]
    return b"".join(name + len(body).to_bytes(4, "big") + body for name, body in chunks)


def _track(notes: tuple[Note, ...], voice: int, length: int) -> bytes:
    """Return the events of one voice; a note ends before the next one begins."""
    name = (NAMES[voice] if voice < len(NAMES) else f"voice {voice + 1}").encode("ascii")
    out = b"\0\xff\x03" + bytes([len(name)]) + name + bytes([0, 0xC0 + voice, CHOIR])
    events = []
    for note in notes:
        if not 0 <= note.pitch < 128:
            raise ValueError(f"voice {voice} has pitch {note.pitch}, which is not in 0..127")
        events.append((note.start, 1, bytes([0x90 + voice, note.pitch, VELOCITY])))
        events.append((note.start + note.duration, 0, bytes([0x80 + voice, note.pitch, 0])))
    now = 0
    for time, _, message in sorted(events):
        out += _number(TICKS * (time - now)) + message
        now = time
    return out + _number(TICKS * max(0, length - now)) + b"\xff\x2f\x00"


def _number(value: int) -> bytes:
    """Return a number in groups of seven bits, the highest first; all but the last are marked."""
    groups = [value & 127]
    while value := value >> 7:
        groups.append(value & 127 | 128)
    return bytes(reversed(groups))


# -- what users bring ---------------------------------------------------------------------------


def read_chorale(content: bytes, name: str = "score") -> Grid:
    """Read a MusicXML file of four parts, the highest first.

    Raises:
        ValueError: no MusicXML, not four parts, or a voice out of its range.
    """
    score = scores.parse_musicxml(content, name)
    if len(score.voices) != len(RANGES):
        raise ValueError(f"{name} has {len(score.voices)} parts; a chorale has {len(RANGES)}")
    return encode(score)


def read_melody(content: bytes, name: str = "melody", rests: bool = False) -> Grid:
    """Read a MusicXML file's soprano; the three lower voices rest, to be filled in.

    Args:
        content: of a file with one part, or with four, of which the first is taken.
        name: for messages.
        rests: whether the melody may rest.

    Raises:
        ValueError: no MusicXML, another number of parts, a pitch that no soprano of the chorales
            sings (with the shift that would help, if one does), no notes, or a rest.
    """
    score = scores.parse_musicxml(content, name)
    if len(score.voices) not in (1, len(RANGES)):
        raise ValueError(f"{name} has {len(score.voices)} parts; a melody has 1 or 4")
    soprano = score.voices[0]
    if not soprano:
        raise ValueError(f"{name} has no notes")
    (low, high), pitches = RANGES[0], [note.pitch for note in soprano]
    if min(pitches) < low or max(pitches) > high:
        down, up = low - min(pitches), high - max(pitches)
        advice = f"moved by {down} to {up} semitones it would fit" if down <= up else "too wide"
        raise ValueError(
            f"{name} goes from {min(pitches)} to {max(pitches)}, a soprano from {low} to {high}: "
            f"{advice}"
        )
    parts = (soprano, (), (), ())
    alone = Score(name, parts, score.bars, score.pickup, score.length, score.sharps)
    grid = encode(alone)
    resting = (grid.tokens[0] == REST).nonzero().flatten().tolist()
    if resting and not rests:
        raise ValueError(
            f"{name} rests at step {resting[0]}, in bar {1 + int(grid.bar[resting[0]])}"
        )
    return grid
