"""Proof for litgen/data/paintings.py: a tiny resource file written node by node, and pictures."""

import hashlib
import io
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from litgen.data import packages, paintings, sources


def resource(files: dict[str, tuple[bytes, int]], version: int = 3) -> bytes:
    """Return a Qt resource: a root, folders one below the other, and files in the last of them."""
    folders = paintings.FOLDER.strip("/").split("/")
    names, data, nodes = b"", b"", []
    tail = bytes(8) if version >= 2 else b""

    def named(name: str) -> int:
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        return at

    nodes.append(struct.pack(">IHII", 0, 2, 1, 1) + tail)
    for depth, folder in enumerate(folders, start=1):
        last = depth == len(folders)
        nodes.append(struct.pack(">IHII", named(folder), 2, len(files) if last else 1, depth + 1))
        nodes[-1] += tail
    for name, (content, flags) in files.items():
        body = struct.pack(">I", len(content)) + zlib.compress(content) if flags & 1 else content
        nodes.append(struct.pack(">IHHHI", named(name), flags, 7, 9, len(data)) + tail)
        data += struct.pack(">I", len(body)) + body
    head = 24
    tree = b"".join(nodes)
    starts = (head + len(data) + len(names), head, head + len(data))  # the tree comes last
    return struct.pack(">4s5I", b"qres", version, *starts, 0) + data + names + tree


def picture(values: np.ndarray, mode: str, kind: str = "PNG") -> bytes:
    """Return a picture file with these levels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).convert(mode).save(buffer, kind, lossless=True)
    return buffer.getvalue()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_resource_is_read_back(version: int) -> None:
    """Plain and compressed files, by their whole paths, in the two sizes of a node."""
    files = {"a.webp": (b"plain", 0), "b.webp": (b"packed " * 50, 1), "c": (b"", 0)}
    found = paintings.entries(resource(files, version))
    assert found == {f"{paintings.FOLDER}/{name}": content for name, (content, _) in files.items()}


def test_other_files_are_refused() -> None:
    """Another beginning, cut short, another compression, broken zlib, a circle."""
    whole = resource({"a": (b"plain" * 9, 0), "b": (b"packed" * 9, 1)})
    with pytest.raises(sources.WrongBytes, match=r"x.rcc does not begin with 'qres'"):
        paintings.entries(b"RIFF" + whole[4:], "x.rcc")
    with pytest.raises(sources.WrongBytes, match=r"the resource is no whole Qt resource file"):
        paintings.entries(whole[:-30])
    with pytest.raises(sources.WrongBytes, match=r"image/z compressed with Zstandard"):
        paintings.entries(resource({"z": (b"squeezed", 4)}))
    with pytest.raises(sources.WrongBytes, match="no whole Qt resource file"):
        paintings.entries(whole.replace(zlib.compress(b"packed" * 9)[:4], b"abcd"))
    big = bytearray(whole)
    struct.pack_into(">I", big, 24, 10**6)
    with pytest.raises(sources.WrongBytes, match=r"is cut short at .*/a"):
        paintings.entries(bytes(big))
    circle = bytearray(resource({"a": (b"x" * 200, 0)}))
    (tree,) = struct.unpack_from(">I", circle, 8)
    struct.pack_into(">I", circle, tree + 10, 0)  # the root is its own child
    with pytest.raises(sources.WrongBytes, match="runs in a circle"):
        paintings.entries(bytes(circle))


def test_decoding() -> None:
    """Levels come back as they are; a large picture is halved; what one looks through is white."""
    random = np.random.default_rng(0)
    values = random.integers(0, 256, (6, 9, 3))
    found = paintings.decoded(picture(values, "RGB"), "a", 6)
    torch.testing.assert_close(found, torch.from_numpy(values.astype(np.uint8)).permute(2, 0, 1))
    assert torch.equal(paintings.decoded(picture(values, "RGB"), "a", 100), found)
    ramp = np.broadcast_to(np.arange(0, 240, 4)[:, None, None], (60, 40, 3))
    half = paintings.decoded(picture(ramp, "RGB"), "a", 20)
    assert half.shape == (3, 30, 20)
    inside = half[0, 2:-2, 5].float()
    torch.testing.assert_close(inside, 8.0 * torch.arange(2, 28) + 2, atol=1, rtol=0)
    assert paintings.decoded(picture(ramp.swapaxes(0, 1), "RGB"), "a", 20).shape == (3, 20, 30)
    uneven = np.zeros((5, 8, 3))  # 8 x 3/5 is 4.8
    assert paintings.decoded(picture(uneven, "RGB"), "a", 3).shape == (3, 3, 5)
    see_through = np.concatenate([values, random.integers(0, 2, (6, 9, 1)) * 255], axis=2)
    laid = paintings.decoded(picture(see_through, "RGBA"), "a", 6).permute(1, 2, 0).numpy()
    expected = np.where(see_through[..., 3:] > 0, values, 255)
    np.testing.assert_array_equal(laid, expected)
    grey = paintings.decoded(picture(values[..., 0], "L"), "a", 6)
    for channel in grey:
        np.testing.assert_array_equal(channel.numpy(), values[..., 0])


def test_what_is_no_picture_is_named() -> None:
    """Text, half a picture, a side of nothing."""
    with pytest.raises(sources.WrongBytes, match=r"a.webp is no picture: unknown format"):
        paintings.decoded(b"text", "a.webp", 4)
    whole = picture(np.random.default_rng(1).integers(0, 256, (90, 90, 3)), "RGB")
    with pytest.raises(sources.WrongBytes, match=r"b.png is no picture"):
        paintings.decoded(whole[: len(whole) // 2], "b.png", 4)
    with pytest.raises(ValueError, match="side must be at least 1, got 0"):
        paintings.decoded(whole, "b.png", 0)


def test_a_package_becomes_eight_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is fetched, opened, verified and kept; then nothing is fetched again."""
    random = np.random.default_rng(2)
    levels = [random.integers(0, 256, (5, 7 + i, 3)) for i in range(8)]
    files = {
        f"{work}_background.webp": picture(v, "RGB", "WEBP")
        for work, v in zip(paintings.WORKS.values(), levels, strict=True)
    }
    home = tmp_path / "whole" / Path(paintings.RESOURCE).parent
    home.mkdir(parents=True)
    inside = {"other": (b"o", 0)} | {name: (c, 0) for name, c in reversed(files.items())}
    (home / "details.rcc").write_bytes(resource(inside))
    monkeypatch.setattr(sources, "apt_unpack", lambda name, folder: tmp_path / "whole")
    kept = dict(zip(paintings.PAINTINGS.sha256, files.values(), strict=True))
    assert paintings._bring(tmp_path) == kept
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in kept.items()}
    origins = paintings.PAINTINGS.origins
    monkeypatch.setattr(paintings, "PAINTINGS", packages.FileSet("paintings", sha256, origins))
    monkeypatch.setitem(paintings.CHECKSUM, "train", paintings.identity(kept))
    monkeypatch.delenv("LITGEN_OFFLINE")
    found = paintings.load()
    assert found.names == paintings.NAMES
    for image, values in zip(found.images, levels, strict=True):
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), values)
    record = found.record
    assert (record.source, record.stand_in) == ("Debian package gcompris-qt-data", False)
    assert record.counts == {"train": 8}
    assert found.describe() == "8 paintings, shorter side 5"
    shutil.rmtree(tmp_path / "whole")
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    assert torch.equal(paintings.load().images[3], found.images[3])
    monkeypatch.setitem(paintings.CHECKSUM, "train", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="paintings train has checksum"):
        paintings.load()
    with pytest.raises(sources.DataUnavailable, match=r"the package has no details.rcc"):
        paintings._bring(tmp_path)
    home.mkdir(parents=True)
    (home / "details.rcc").write_bytes(resource({"other": (b"o", 0)}))
    with pytest.raises(sources.DataUnavailable, match=r"details.rcc has no .*Eglise"):
        paintings._bring(tmp_path)


def test_identity_depends_on_names_bytes_and_order() -> None:
    """Two files that change places, or bytes, are another set."""
    a, b = {"a": b"1", "b": b"2"}, {"b": b"2", "a": b"1"}
    assert len({paintings.identity(x) for x in (a, b, {"a": b"2", "b": b"1"}, {"a": b"1"})}) == 4


def test_drawn_textures_stand_in(capsys: pytest.CaptureFixture[str]) -> None:
    """Offline: eight textures of three colours, the same each time, and said so."""
    found = paintings.load()
    assert "STAND-IN: drawn textures in place of paintings" in capsys.readouterr().out
    assert found.record.stand_in
    assert found.record.name == "drawn textures standing in for paintings"
    assert found.record.checksum == sources.checksum(*found.images)
    assert found.record.checksum.startswith("856eff8460811843")  # on every machine
    assert found.names == tuple(f"texture {i}" for i in range(1, 9))
    for i, image in enumerate(found.images):
        assert image.shape == (3, 256, 256)
        assert len(image.flatten(1).unique(dim=1).T) in (2, 3)
        assert all(not torch.equal(image, other) for other in found.images[:i])
    again, other = paintings.drawn_textures(8), paintings.drawn_textures(8, seed=1)
    assert all(map(torch.equal, again, found.images))
    assert not any(map(torch.equal, other, again))
    assert paintings.drawn_textures(0) == ()
    with pytest.raises(ValueError, match="count must not be negative, got -1"):
        paintings.drawn_textures(-1)


def test_without_a_stand_in_it_fails_clearly() -> None:
    """The message says what was tried and what would help; splits are checked."""
    with pytest.raises(sources.DataUnavailable, match=r"gcompris-qt-data.*LITGEN_DATA"):
        paintings.load(stand_in=False)
    with pytest.raises(ValueError, match="split must be 'train', got 'test'"):
        paintings.load("test")


@pytest.mark.usefixtures("real_data")
def test_the_real_paintings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped where they are not at hand. The night cafe is red, the bridge stands in blue."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    try:
        found = paintings.load(stand_in=False)
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    assert len(found.images) == len(found.names) == 8
    assert all(min(image.shape[1:]) == 256 for image in found.images)
    top = {
        n: i[:, :100].float().mean((1, 2)) for n, i in zip(found.names, found.images, strict=True)
    }
    assert top["night cafe"][0] > top["night cafe"][2] + 30
    assert top["bridge"][2] > top["bridge"][0] + 10
