"""Proof for litgen/data/chorales.py: a tiny package in the real layout, and the real chorales."""

import hashlib
import inspect
import itertools
import sys
import zipfile
from pathlib import Path

import pytest

from litgen.data import chorales, packages, sources
from litgen.scores import Note, Score
from tests.test_scores import document, note


def score(soprano: list[tuple[int, int, int, bool]], pickup: int = 0) -> Score:
    """Return a score of one voice."""
    return Score("x", (tuple(Note(*row) for row in soprano),), (0,), pickup, 80, 0)


def test_an_opening_is_the_melody_of_the_first_line() -> None:
    """Neither key, nor repeated notes, nor notes off the beat, nor what follows the fermata."""
    plain = score([(60, 0, 8, False), (64, 8, 8, False), (62, 16, 8, True), (70, 24, 8, False)])
    assert chorales.opening(plain) == (4, -2)
    other = score(
        [
            (63, 4, 8, False),
            (63, 12, 4, False),
            (65, 16, 4, False),
            (67, 20, 8, False),
            (65, 28, 16, True),
            (71, 44, 8, False),
        ],
        pickup=12,
    )
    assert chorales.opening(other) == (4, -2)
    late = score([(60, 6, 8, False), (64, 14, 8, False), (69, 18, 4, False)], pickup=6)
    assert chorales.opening(late) == (4,)
    endless = score([(60, 0, 8, False), (64, 8, 8, False), (60, 72, 8, False)])
    assert chorales.opening(endless) == (4, -4)


def test_names_sort_as_numbers() -> None:
    """Not as words do."""
    names = ["bwv10.7", "bwv9.7", "bwv10.12", "bwv100", "bwv120.8-a", "bwv120.8"]
    expected = ["bwv9.7", "bwv10.7", "bwv10.12", "bwv100", "bwv120.8", "bwv120.8-a"]
    assert sorted(names, key=chorales.in_order) == expected


def test_packing_brings_everything_back() -> None:
    """Names, notes, fermatas, bars; a file that is cut short is told."""
    voices = ((Note(60, 0, 8, True), Note(61, 8, 300)), (), (Note(1, 2, 3),))
    whole = (Score("a", voices, (0, 8), 8, 308, -2), Score("b", ((),), (0,), 0, 0, 3))
    content = chorales.packed(whole)
    assert chorales.unpacked(content) == whole
    for broken in (content[:-1], content[:-8], content + bytes(8)):
        with pytest.raises(sources.WrongBytes, match="does not hold as many notes"):
            chorales.unpacked(broken)


def file(first: str, second: str) -> bytes:
    """Write a score of four parts."""
    return document(*([note(first, 2) + note(second, 2)] for _ in range(4)))


FILES = {
    **{f"bwv{k}.6.mxl": file("C4", f"{'DEFGAB'[k % 6]}{4 + k // 6}") for k in range(1, 13)},
    "bwv20.6.xml": file("D4", f"{'DEFGAB'[10 % 6]}{4 + 10 // 6}"),
    "bwv13.1.mxl": document(*([note("C4", 2)] for _ in range(5))),
    "bwv846.mxl": document([note("C4", 2) + note("E4", 2, inside="<chord/>")]),
    "notes.txt": b"nothing",
}


def package(home: Path) -> Path:
    """Write a package's folder, and a wheel of it."""
    folder = home / "music21" / "corpus" / "bach"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(home / "music21.whl", "w") as wheel:
        for name, content in FILES.items():
            (folder / name).write_bytes(content)
            wheel.writestr(f"music21/corpus/bach/{name}", content)
    return home


@pytest.mark.parametrize("way", ["installed", "wheel"])
def test_a_package_becomes_one_small_file(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of four parts, in order; every tenth opening is a test opening; kept afterwards."""
    home = package(tmp_path / "home")
    monkeypatch.delitem(sys.modules, "music21", raising=False)
    monkeypatch.syspath_prepend(str(home) if way == "installed" else str(tmp_path))

    def download(requirement: str, digest: str | None, folder: Path) -> Path:
        assert (requirement, digest) == ("music21==10.5.1", None)
        return home / "music21.whl"

    monkeypatch.setattr(sources, "pip_download", download)
    if way == "installed":
        (home / "music21" / "__init__.py").write_text("raise RuntimeError('imported')")
    else:
        monkeypatch.setattr(chorales.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("LITGEN_OFFLINE")
    content = chorales.made(FILES)
    names = [s.name for s in chorales.unpacked(content)]
    assert names == [f"bwv{k}.6" for k in (*range(1, 13), 20)]
    sha256 = {chorales.FILE: hashlib.sha256(content).hexdigest()}
    wanted = packages.FileSet("chorales", sha256, chorales.CHORALES.origins)
    monkeypatch.setattr(chorales, "CHORALES", wanted)
    whole = chorales.unpacked(content)
    chosen = {"test": (whole[9],), "train": (*whole[:9], *whole[10:])}
    steps = [chorales.opening(s) for s in whole]
    assert len(set(steps[:10])) == 10
    assert steps[12] not in steps[9:10]
    for split, expected in chosen.items():
        monkeypatch.setitem(chorales.CHECKSUM, split, chorales._checksum(expected))
        found = chorales.load(split)  # type: ignore[arg-type]
        assert found.scores == expected
        assert not found.record.stand_in
        assert found.record.checksum == chorales.CHECKSUM[split]
        assert found.record.source == (
            "installed package music21" if way == "installed" else "PyPI package music21 10.5.1"
        )
    assert chorales.load("test").describe() == "1 scores, 8 notes"
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    monkeypatch.setattr(chorales, "made", lambda files: pytest.fail("parsed again"))
    assert len(chorales.load("train", stand_in=False).scores) == 12
    monkeypatch.setitem(chorales.CHECKSUM, "test", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="chorales test has checksum"):
        chorales.load("test")


def test_an_installed_package_serves_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read where it lies; without scores of four parts, or at all, it is no source."""
    home = package(tmp_path / "home")
    (home / "music21" / "__init__.py").write_text("")
    monkeypatch.delitem(sys.modules, "music21", raising=False)
    monkeypatch.syspath_prepend(str(home))
    content = chorales.made(FILES)
    sha256 = {chorales.FILE: hashlib.sha256(content).hexdigest()}
    wanted = packages.FileSet("chorales", sha256, chorales.CHORALES.origins)
    found, source = packages.read(wanted)
    assert found == {chorales.FILE: content}
    assert source == "installed package music21"
    with pytest.raises(sources.DataUnavailable, match="it has no scores of four parts"):
        chorales.made({"notes.mxl": b"", "a.mxl": document([note("C4", 2)])})
    monkeypatch.setattr(chorales.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(sources.DataUnavailable, match="it is not installed"):
        chorales._bring_installed(tmp_path)


def test_composed_cadences_stand_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Offline, with nothing at hand, and said so; or an error where no stand-in is wanted."""
    monkeypatch.setattr(chorales.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(sources.DataUnavailable, match="chorales is not at hand"):
        chorales.load("train", stand_in=False)
    found = {split: chorales.load(split) for split in ("train", "test")}  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert "STAND-IN: composed cadences in place of chorales" in said
    assert [len(found[s].scores) for s in ("train", "test")] == [40, 8]
    record = found["test"].record
    assert record.stand_in
    assert record.name == "composed cadences standing in for chorales"
    assert record.counts == {"train": 40, "test": 8}
    assert record.checksum != found["train"].record.checksum
    both = [one.voices for split in found.values() for one in split.scores]
    assert len(set(both)) == 48
    bottoms = ((57, 81), (53, 74), (48, 69), (36, 64))
    for one in found["train"].scores + found["test"].scores:
        assert one.length == one.voices[0][-1].start + 8 == 128
        for voice, (low, high) in zip(one.voices, bottoms, strict=True):
            assert all(low <= n.pitch <= high for n in voice)
            assert [n.start for n in voice] == list(range(0, 128, 8))
            assert [n.fermata for n in voice] == [False, False, False, True] * 4
        for upper, lower in itertools.pairwise(one.voices):
            assert all(a.pitch >= b.pitch for a, b in zip(upper, lower, strict=True))
        chords = [{v[i].pitch % 12 for v in one.voices} for i in range(16)]
        triads = [{0, 4, 7}, {5, 9, 0}, {7, 11, 2}, {9, 0, 4}, {2, 5, 9}]
        assert all(chord in triads for chord in chords)
    with pytest.raises(ValueError, match="'train' or 'test', got 'all'"):
        inspect.unwrap(chorales.load)("all")  # type: ignore[arg-type]


@pytest.mark.usefixtures("real_data")
def test_the_real_chorales() -> None:
    """365 scores of four voices; no opening is in both splits."""
    try:
        sets = {split: chorales.load(split, stand_in=False) for split in ("train", "test")}  # type: ignore[arg-type]
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    counts = {split: len(one.scores) for split, one in sets.items()}
    assert counts == chorales.COUNTS == {"train": 318, "test": 47}
    openings = {s: {chorales.opening(x) for x in one.scores} for s, one in sets.items()}
    assert not openings["train"] & openings["test"]
    assert abs(len(openings["test"]) / len(openings["train"] | openings["test"]) - 0.1) < 0.01
    whole = sets["train"].scores + sets["test"].scores
    assert len({s.name for s in whole}) == 365
    assert all(len(s.voices) == 4 for s in whole)
    # all four of "O Haupt voll Blut und Wunden" in the St Matthew Passion are on one side
    passion = {"bwv244.15", "bwv244.17", "bwv244.44", "bwv244.54", "bwv244.62"}
    assert passion <= {s.name for s in sets["train"].scores}
    ranges = [
        (
            min(n.pitch for s in whole for n in s.voices[v]),
            max(n.pitch for s in whole for n in s.voices[v]),
        )
        for v in range(4)
    ]
    assert ranges == [(57, 81), (53, 74), (48, 69), (36, 64)]
    for one in whole:
        for voice in one.voices:
            for before, after in itertools.pairwise(voice):
                assert before.start + before.duration <= after.start
            assert voice[-1].start + voice[-1].duration <= one.length
