"""Proof for litgen/data/emoji.py: small packages in the real layout, the real pairs, stand-ins."""

import hashlib
import inspect
import io
import json
import tarfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from litgen.data import drawn_faces, emoji, packages, sources

RANDOM = np.random.default_rng(0)
LISTED = [
    ("1f600.png", "Smileys & Emotion", []),
    ("1f44b.png", "People & Body", ["1f44b-1f3fb.png", "1f44b-1f3ff.png"]),
    ("1f469-200d-1f52c.png", "People & Body", []),
    ("1f1e9-1f1ea.png", "Flags", []),
]
NAMES = [n.removesuffix(".png") for first, _, rest in LISTED for n in (first, *rest)]


def archive(path: Path, vendor: str, names: list[str]) -> dict[str, np.ndarray]:
    """Write a package in the real layout; return its pictures by name, before they are halved."""
    pictures = {name: RANDOM.integers(0, 256, (64, 64, 4), np.uint8) for name in names}
    variants = [
        {"image": first, "category": kind, "skin_variations": {v: {"image": v} for v in rest}}
        for first, kind, rest in LISTED
    ]
    with tarfile.open(path, "w:gz", compresslevel=1) as package:
        for name, picture in pictures.items():
            buffer = io.BytesIO()
            Image.fromarray(picture, "RGBA").save(buffer, "PNG")
            for size in ("64", "128"):  # the other size must be left alone
                add(package, f"package/img/{vendor}/{size}/{name}.png", buffer.getvalue())
        add(package, "package/emoji.json", json.dumps(variants).encode())
    return pictures


def add(package: tarfile.TarFile, name: str, content: bytes) -> None:
    """Put one file into an archive."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    package.addfile(info, io.BytesIO(content))


def on_white(picture: np.ndarray, channel: int, row: int, column: int) -> Fraction:
    """Return one pixel of the half-sized picture as an exact fraction, by the rule's words."""
    total = Fraction(0)
    for i in range(2 * row, 2 * row + 2):
        for j in range(2 * column, 2 * column + 2):
            opacity = Fraction(int(picture[i, j, 3]), 255)
            total += int(picture[i, j, channel]) * opacity + 255 * (1 - opacity)
    return total / 4


def test_half_the_size_on_white() -> None:
    """Exact fractions, rounded half up; clear pixels are white whatever their colour."""
    picture = RANDOM.integers(0, 256, (6, 8, 4), np.uint8)
    found = emoji.halved(picture)
    assert found.shape == (3, 3, 4)
    for channel, row, column in np.ndindex(found.shape):
        exact = on_white(picture, channel, row, column)
        assert found[channel, row, column] == int(exact + Fraction(1, 2))
    picture[..., 3] = 0
    assert (emoji.halved(picture) == 255).all()
    half = np.full((2, 2, 4), 255, np.uint8)
    half[0, :, :3] = 254  # a mean of 254.5
    assert (emoji.halved(half) == 255).all()
    with pytest.raises(ValueError, match=r"sides must be even, got \(3, 4\)"):
        emoji.halved(np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"sides must be even, got \(4, 3\)"):
        emoji.halved(np.zeros((4, 3, 4), np.uint8))


def test_packages_are_joined_in_the_order_of_names(tmp_path: Path) -> None:
    """Both vendors in one array, names sorted, variants in their emoji's category."""
    paths = {vendor: tmp_path / f"{vendor}.tgz" for vendor in emoji.VENDORS}
    drawn = {
        vendor: archive(paths[vendor], vendor, names)
        for vendor, names in zip(emoji.VENDORS, (NAMES, NAMES[::-1]), strict=True)
    }
    contents = emoji.joined(paths)
    pictures = np.load(io.BytesIO(contents[emoji.PICTURES]))
    rows = [line.split("\t") for line in contents[emoji.NAMES].decode().splitlines()]
    assert [name for name, _ in rows] == sorted(NAMES)
    kinds = {name: emoji.CATEGORIES[int(kind)] for name, kind in rows}
    assert kinds["1f44b-1f3ff"] == kinds["1f44b"] == "People & Body"
    assert kinds["1f1e9-1f1ea"] == "Flags"
    assert pictures.shape == (len(NAMES), 2, 3, 32, 32)
    for i, (name, _) in enumerate(rows):
        for k, vendor in enumerate(emoji.VENDORS):
            assert np.array_equal(pictures[i, k], emoji.halved(drawn[vendor][name]))


def test_a_picture_without_its_pair_is_named(tmp_path: Path) -> None:
    """Pairs are needed: the message says which character one vendor lacks."""
    paths = {vendor: tmp_path / f"{vendor}.tgz" for vendor in emoji.VENDORS}
    archive(paths["google"], "google", NAMES)
    archive(paths["twitter"], "twitter", NAMES[1:])
    with pytest.raises(sources.DataUnavailable, match="one vendor alone has 1f600"):
        emoji.joined(paths)


def test_the_first_character_decides() -> None:
    """Skin tones stay together, and man, woman and person with one another."""
    for tone in ("1f3fb", "1f3fd", "1f3ff"):
        assert emoji.held_out(f"1f44b-{tone}") == emoji.held_out("1f44b")
    people = {emoji.held_out(f"{who}-200d-1f52c") for who in ("1f468", "1f469", "1f9d1")}
    assert people == {False}
    many = [emoji.held_out(f"{code:x}") for code in range(0x1F300, 0x1F300 + 1000)]
    assert 0.15 < sum(many) / len(many) < 0.25


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put noise in the layout of the joined file into LITGEN_DATA, and expect its checksums."""
    folder = tmp_path / "mine" / "emoji"
    folder.mkdir(parents=True)
    names = [f"{code:x}" for code in range(0x1F300, 0x1F300 + 20)]
    values = RANDOM.integers(0, 256, (20, 2, 3, 32, 32), np.uint8)
    buffer = io.BytesIO()
    np.save(buffer, values)
    text = "".join(f"{name}\t{i % 10}\n" for i, name in enumerate(names)).encode()
    contents = {emoji.PICTURES: buffer.getvalue(), emoji.NAMES: text}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("LITGEN_DATA", str(folder.parent))
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(emoji, "EMOJI", packages.FileSet("emoji", sha256, ()))
    for split in ("train", "test"):
        kept = [i for i, name in enumerate(names) if emoji.held_out(name) == (split == "test")]
        assert kept
        google, twitter = (torch.from_numpy(values[kept][:, k].copy()) for k in (0, 1))
        categories = torch.tensor([i % 10 for i in kept])
        monkeypatch.setitem(emoji.CHECKSUM, split, sources.checksum(google, twitter, categories))
    return folder


def test_pairs_are_split_by_character(mine: Path) -> None:
    """The checksums, which the fixture computed pair by pair, hold; no pair is in both."""
    train, test = emoji.load("train"), emoji.load("test")
    assert len(train.names) + len(test.names) == 20
    assert not set(train.names) & set(test.names)
    assert len(train.google) == len(train.twitter) == len(train.categories) == len(train.names)
    assert not torch.equal(train.google, train.twitter)
    assert train.record.source == "files in LITGEN_DATA"
    assert "Apache-2.0" in train.record.licence
    assert "CC-BY-4.0" in train.record.licence
    assert f"{len(test.names)} pairs" in test.describe()


def test_other_pictures_are_refused(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their content's checksum, and by the file's before."""
    monkeypatch.setitem(emoji.CHECKSUM, "test", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="emoji test has checksum"):
        emoji.load("test")
    (mine / emoji.NAMES).write_bytes(b"another")
    with pytest.raises(sources.WrongBytes, match=r"names.txt has sha256"):
        emoji.load("train")


def test_drawn_faces_stand_in_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Offline: the same faces, red, green and blue in another order."""
    found = emoji.load("test")
    assert found.record.stand_in
    assert torch.equal(found.google, drawn_faces.load("test").images[: len(found.google)])
    assert torch.equal(found.twitter[:, 0], found.google[:, 2])
    assert torch.equal(found.twitter[:, 1], found.google[:, 0])
    assert torch.equal(found.twitter[:, 2], found.google[:, 1])
    assert len(found.names) == len(found.google) == found.record.counts["test"]
    said = capsys.readouterr().out
    assert "STAND-IN: drawn faces in place of emoji, because emoji is not at hand" in said


def test_without_a_stand_in_it_fails_clearly() -> None:
    """The message says what was tried and what would help; splits are checked."""
    with pytest.raises(sources.DataUnavailable, match=r"emoji-datasource-google.*LITGEN_DATA"):
        emoji.load("train", stand_in=False)
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        inspect.unwrap(emoji.load)("validation")  # type: ignore[arg-type]


@pytest.mark.usefixtures("real_data")
def test_the_real_emoji(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped where they are not at hand. Pairs resemble each other more than strangers do."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    try:
        parts = {split: emoji.load(split, stand_in=False) for split in ("train", "test")}  # type: ignore[arg-type]
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    assert {split: len(part.names) for split, part in parts.items()} == emoji.COUNTS
    firsts = [{name.split("-")[0] for name in part.names} for part in parts.values()]
    assert not firsts[0] & firsts[1]
    google, twitter = parts["test"].google.double(), parts["test"].twitter.double()
    own = (google - twitter).abs().mean()
    others = (google - twitter.roll(1, dims=0)).abs().mean()
    assert own < 0.75 * others
