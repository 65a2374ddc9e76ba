"""Proof for litgen/data/nuclei.py: small TIFFs, a small image in the real layout, stand-ins."""

import hashlib
import inspect
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from litgen.data import cells, nuclei, packages, sources

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 236, (8, 330))
MASK = RANDOM.integers(0, 184, (8, 330))


def tiff(values: np.ndarray, order: str = "<", bits: int = 16, **changed: int) -> bytes:
    """Return a TIFF in one piece, written field by field; fields may be changed."""
    start = 8 + 2 + 12 * 6 + 4
    fields = {"t256": values.shape[1], "t257": values.shape[0], "t258": bits, "t259": 1}
    fields |= {"t273": start, "t277": 1} | changed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    rows = b""
    for name, value in fields.items():
        short = name in ("t258", "t259", "t277")
        packed = struct.pack(
            order + ("HH" if short else "I"), *((value, 0) if short else (value,))
        )
        rows += struct.pack(order + "HHI", int(name[1:]), 3 if short else 4, 1) + packed
    body = values.astype(f"{order}u{bits // 8}").tobytes()
    return head + struct.pack(order + "H", len(fields)) + rows + b"\0" * 4 + body


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_is_read_back(order: str, bits: int) -> None:
    """Both byte orders, both depths."""
    values = RANDOM.integers(0, 2**bits, (5, 7))
    assert np.array_equal(nuclei.decode_tiff(tiff(values, order, bits), "x.tif"), values)


def test_other_tiffs_are_refused() -> None:
    """Packed, in colour, of other depth, cut short, in pieces, or no TIFF at all."""
    values = RANDOM.integers(0, 200, (5, 7))
    for changed in ({"t259": 5}, {"t277": 3}, {"t258": 32}):
        with pytest.raises(sources.WrongBytes, match=r"x.tif is packed, in colour, or has"):
            nuclei.decode_tiff(tiff(values, **changed), "x.tif")
    whole = tiff(values)
    for content in (whole[:-1], whole[:40], tiff(values).replace(b"\x11\x01", b"\x99\x01")):
        with pytest.raises(sources.WrongBytes, match=r"x.tif is cut short, or a TIFF in several"):
            nuclei.decode_tiff(content, "x.tif")
    with pytest.raises(sources.WrongBytes, match=r"x.tif is no TIFF: it starts with 89504e47"):
        nuclei.decode_tiff(b"\x89PNG" + whole, "x.tif")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a small image in the real layout into LITGEN_DATA, and expect its checksums."""
    folder = tmp_path / "mine" / "nuclei"
    folder.mkdir(parents=True)
    contents = {"img2d.tif": tiff(IMAGE), "mask2d.tif": tiff(MASK)}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("LITGEN_DATA", str(folder.parent))
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(nuclei, "NUCLEI", packages.FileSet("nuclei", sha256, ()))
    for split, columns in (("train", slice(0, 320)), ("test", slice(320, 330))):
        parts = [torch.from_numpy(v[:, columns].astype(np.uint8)) for v in (IMAGE, MASK)]
        found = sources.checksum(parts[0][None, None], parts[1][None])
        monkeypatch.setitem(nuclei.CHECKSUM, split, found)
    return folder


def test_the_left_is_for_training_the_right_for_testing(mine: Path) -> None:
    """Every pixel once, image and mask alike."""
    train, test = nuclei.load("train"), nuclei.load("test")
    whole = torch.cat([train.images, test.images], dim=3)
    assert torch.equal(whole[0, 0].long(), torch.from_numpy(IMAGE))
    assert torch.equal(
        torch.cat([train.cells, test.cells], dim=2)[0].long(), torch.from_numpy(MASK)
    )
    assert train.images.shape == (1, 1, 8, nuclei.CUT)
    record = train.record
    assert (record.source, record.stand_in) == ("files in LITGEN_DATA", False)
    assert "Caicedo" in record.citation
    assert "CC0" in record.licence


def test_another_image_is_refused(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its content's checksum, and by the file's before."""
    monkeypatch.setitem(nuclei.CHECKSUM, "test", "0" * 64)
    with pytest.raises(sources.WrongBytes, match="nuclei test has checksum"):
        nuclei.load("test")
    (mine / "mask2d.tif").write_bytes(tiff(MASK + 1))
    with pytest.raises(sources.WrongBytes, match=r"mask2d.tif has sha256"):
        nuclei.load("train")


def test_drawn_cells_stand_in_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Offline: a square of drawn images, every cell with a number of its own."""
    for split, across in (("train", 5), ("test", 4)):
        found, drawn = nuclei.load(split), cells.load(split)
        assert found.record.stand_in
        assert "standing in for nuclei" in found.record.name
        assert found.images.shape == (1, 1, 64 * across, 64 * across)
        count = sum(each[each > 0].unique().numel() for each in drawn.cells[: across**2])
        assert sorted(found.cells.unique().tolist()) == list(range(count + 1))
        last = slice(64 * (across - 1), None)
        assert torch.equal(found.images[0, :, last, last], drawn.images[across**2 - 1])
        assert torch.equal(found.images[0, :, :64, 64:128], drawn.images[1])
        assert torch.equal(found.cells[0, :64, 64:128] > 0, drawn.cells[1] > 0)
        assert found.record.checksum == sources.checksum(found.images, found.cells)
    assert "STAND-IN: drawn cells in place of nuclei, because nuclei is not at hand" in (
        capsys.readouterr().out
    )


def test_without_a_stand_in_it_fails_clearly() -> None:
    """The message says what was tried and what would help; splits are checked."""
    with pytest.raises(sources.DataUnavailable, match=r"PyPI package stardist 0.9.2.*LITGEN_DATA"):
        nuclei.load("train", stand_in=False)
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        inspect.unwrap(nuclei.load)("validation")  # type: ignore[arg-type]


@pytest.mark.usefixtures("real_data")
def test_the_real_nuclei(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped where they are not at hand. 125 nuclei, brighter than the ground; some touch."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    try:
        parts = [nuclei.load(split, stand_in=False) for split in ("train", "test")]
    except sources.DataUnavailable as reason:
        pytest.skip(str(reason))
    numbers = torch.cat([part.cells for part in parts], dim=2)
    images = torch.cat([part.images for part in parts], dim=3)[:, 0].double()
    assert numbers.shape == (1, 512, 512)
    assert (numbers.unique().numel() - 1, int(numbers.max())) == (125, 183)
    assert images[numbers > 0].mean() > 2 * images[numbers == 0].mean()
    assert int(((numbers > 0) & ~cells.separated(numbers.long())).sum()) > 50
