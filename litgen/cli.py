"""The command line: ``python -m litgen list | data | train | sample | evaluate | runs | share``.

Chapter: book/contributing.md.  Proof: tests/test_cli.py.
"""

import argparse
import contextlib
import importlib
import io
import json
import logging
import pkgutil
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

import torch

from litgen import checkpoints, data, hub, processes, profiles, recipes, runs

__all__ = ["main"]

SMALL_GPU = 16_000_000_000
"""Bytes of memory that a run's training should do with."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a mistake of the user gets one line on stderr and exit status 2.

    Status 3 says that a training's time was up, and that the same command goes on from there.
    """
    logging.basicConfig(format="litgen: %(message)s")
    logging.getLogger("litgen").setLevel(logging.INFO)
    options = _parser().parse_args(arguments)
    try:
        with processes.joined(), _spoken():
            options.command(options)
    except checkpoints.OutOfTime as late:
        print(f"litgen: {late}", file=sys.stderr)
        return 3
    except (ValueError, RuntimeError, OSError, MemoryError, ModuleNotFoundError) as error:
        print(f"litgen: {_said(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("litgen: interrupted", file=sys.stderr)
        return 130
    return 0


def _said(error: Exception) -> str:
    """Return an error in one line; of a GPU's, which is long, what was asked for and what is."""
    line = " ".join(str(error).split())
    if isinstance(error, torch.OutOfMemoryError):
        return "memory is short: " + ". ".join(line.split(". ")[:3]).rstrip(".")
    return line or type(error).__name__


def _spoken() -> AbstractContextManager[object]:
    """Return a context in which only the first of several processes prints."""
    if processes.rank() == 0:
        return contextlib.nullcontext()
    return contextlib.redirect_stdout(io.StringIO())


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error here does."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit status 2."""
        self.exit(2, f"litgen: {message}; {self.prog} --help says more\n")


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser("litgen", description="Small, tested generative models.")
    commands = parser.add_subparsers(required=True, metavar="command")

    add = commands.add_parser("list", help="list the recipes")
    add.set_defaults(command=_list)

    add = commands.add_parser("data", help="fetch and check data sets")
    add.add_argument("name", nargs="*", help="data sets; all of them unless given")
    add.add_argument("--stand-in", action="store_true", help="accept an embedded stand-in")
    add.set_defaults(command=_data)

    add = commands.add_parser("train", help="train a recipe and keep the run")
    _recipe_and_profile(add, "?")
    add.add_argument("--all", action="store_true", help="every recipe without a fresh run")
    add.add_argument(
        "--budget", metavar="TIME", help="stop after 90s, 9m or 1.5h; go on next time"
    )
    add.add_argument("--seed", type=int, default=0)
    add.add_argument("--out", type=Path, help="folder of the run; the cache, or book/runs for gpu")
    add.set_defaults(command=_train)

    add = commands.add_parser("sample", help="draw from a run into a .png or .npy file")
    _recipe_and_profile(add)
    _run_file(add)
    add.add_argument("--count", type=int, default=64)
    add.add_argument("--seed", type=int, default=0)
    add.add_argument("--out", type=Path, default=Path("samples.png"))
    add.set_defaults(command=_sample)

    add = commands.add_parser("evaluate", help="measure a run's weights on the test set")
    _recipe_and_profile(add)
    _run_file(add)
    add.set_defaults(command=_evaluate)

    add = commands.add_parser("runs", help="say of each recipe whether its run is fresh")
    add.add_argument("--json", action="store_true", help="print a list of dictionaries")
    add.add_argument("--check", action="store_true", help="fail if a published run is stale")
    add.set_defaults(command=_runs)

    add = commands.add_parser("share", help="write a run with a model card, or put it on a hub")
    _recipe_and_profile(add)
    _run_file(add)
    to = add.add_mutually_exclusive_group(required=True)
    to.add_argument("--folder", type=Path, help="where to write them")
    to.add_argument("--hub", metavar="OWNER/NAME", help="repository of the hub; needs a token")
    add.set_defaults(command=_share)
    return parser


def _recipe_and_profile(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    parser.add_argument("recipe", nargs=nargs, help="its name, as `litgen list` prints it")
    parser.add_argument("--profile", default="cpu", help="cpu (reduced config) or gpu (full)")


def _run_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run", type=Path, metavar="FILE", help="a run's file or shared folder, fresh or not"
    )


def _list(options: argparse.Namespace) -> None:
    for name in recipes.names():
        print(f"{name:24} {(recipes.load(name).__doc__ or '').splitlines()[0]}")


def _data(options: argparse.Namespace) -> None:
    machinery = {"meshes", "packages", "sources"}
    known = [m.name for m in pkgutil.iter_modules(data.__path__) if m.name not in machinery]
    for name in options.name:
        if name not in known:
            raise ValueError(f"unknown data set {name!r}; there are: {', '.join(known)}")
    for name in options.name or known:
        module = importlib.import_module(f"litgen.data.{name}")
        named = ("train", "test") if options.name else ()  # of a set without known checksums
        for split in module.CHECKSUM or named:
            found = module.load(split, stand_in=options.stand_in)
            mark = " (STAND-IN)" if found.record.stand_in else ""
            print(f"{name:16} {split:6} {found.describe()}  {found.record.source}{mark}")


def _train(options: argparse.Namespace) -> None:
    if (options.recipe is None) != options.all:
        raise ValueError("name one recipe, or say --all")
    names = recipes.by_value() if options.all else [options.recipe]
    recipes.load(names[0])
    profile = _profile(options)
    given = options.budget is not None
    deadline = time.monotonic() + _seconds(options.budget) if given else None
    published = runs.published_folder()
    in_repository = profile == "gpu" and published.parent.is_dir()  # and not an installed wheel
    folder = options.out or (published if in_repository else None)
    failed = []
    for done, name in enumerate(names):
        try:
            run = runs.train(name, profile, options.seed, folder=folder, deadline=deadline)
        except checkpoints.OutOfTime as late:
            raise checkpoints.OutOfTime(f"{name}: {late} ({done} of {len(names)} done)") from None
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            if not options.all or processes.count() > 1:  # the others wait for this one
                raise
            failed.append(name)
            print(f"{name}: {_said(error)}", file=sys.stderr)
        else:
            print(f"{name}: {run.describe()}" + _headline(run) * options.all, flush=True)
            if not options.all:
                print(json.dumps(run.metrics))
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(names)} failed: {', '.join(failed)}")


def _headline(run: runs.Run) -> str:
    """Return the first metric, for the end of a line."""
    return "".join(f"; {name} {value:.4g}" for name, value in [*run.metrics.items()][:1])


def _seconds(text: str) -> float:
    """Return the seconds of a duration: a number, then s, m or h.

    Raises:
        ValueError: it is none, or is not above zero.
    """
    number, unit = text[:-1], {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        value = float(number) * (unit or 0)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"--budget must be a time such as 90s, 9m or 1.5h, got {text!r}")
    return value


def _sample(options: argparse.Namespace) -> None:
    module = recipes.load(options.recipe)
    if options.count < 1:
        raise ValueError(f"--count must be positive, got {options.count}")
    if options.out.suffix not in (".png", ".npy"):
        raise ValueError(f"--out must end in .png or .npy, got {options.out.name!r}")
    if not hasattr(module, "sample"):
        raise ValueError(f"{options.recipe} makes no images; it has nothing to sample")
    run = _run(options)
    images = module.sample(run, options.count, torch.Generator().manual_seed(options.seed))
    if options.out.suffix == ".png" and images.dim() != 4:
        raise ValueError(f"{options.recipe} draws no images: let --out end in .npy")
    part = options.out.with_name(f".{options.out.name}.part")
    try:
        _write_images(images, part, options.out.suffix)
        part.replace(options.out)
    finally:
        part.unlink(missing_ok=True)
    print(f"wrote {options.count} samples to {options.out}")


def _write_images(images: torch.Tensor, path: Path, suffix: str) -> None:
    import numpy

    with path.open("wb") as file:
        if suffix == ".npy":
            numpy.save(file, images.numpy())
        else:
            from litgen import plotting  # matplotlib is an extra

            plotting.save_grid(images, file)


def _evaluate(options: argparse.Namespace) -> None:
    module = recipes.load(options.recipe)
    run = _run(options)
    print(json.dumps(module.evaluate(run, profiles.device_for(_profile(options)))))


def _run(options: argparse.Namespace) -> runs.Run:
    """Return the run in the given file or folder, or else the fresh one in the store."""
    profile = _profile(options)
    if options.run:
        inside = options.run / hub.FILE
        return _run_in(inside if inside.is_file() else options.run, options.recipe)
    run = runs.find(options.recipe, profile)
    if run is None:
        raise RuntimeError(
            f"no fresh {options.profile} run of {options.recipe}; "
            f"python -m litgen train {options.recipe} --profile {options.profile} makes one"
        )
    return run


def _run_in(path: Path, recipe: str) -> runs.Run:
    """Load a run that may be of another day: its network must still fit the recipe."""
    run = runs.load(path)
    if run.provenance["recipe"] != recipe:
        raise runs.BadRun(f"{path.name} is a run of {run.provenance['recipe']}, not of {recipe}")
    try:
        recipes.load(recipe).restore(run)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise runs.BadRun(f"{path.name} does not fit today's {recipe}: {error}") from None
    return run


def _share(options: argparse.Namespace) -> None:
    run = _run(options)
    if options.folder:
        print(f"wrote {hub.pack(run, options.folder)}")
    else:
        print(f"put at {hub.publish(run, options.hub)}")


def _profile(options: argparse.Namespace) -> profiles.Profile:
    if options.profile == "cpu":
        return "cpu"
    if options.profile == "gpu":
        return "gpu"
    raise ValueError(f"unknown profile {options.profile!r}; there are: cpu, gpu")


def _runs(options: argparse.Namespace) -> None:
    rows = runs.status()
    if options.json:
        print(json.dumps(rows, indent=1))
    for row in [] if options.json else rows:
        print(f"{row['recipe']:24} cpu {row['cpu']:8} gpu {row['gpu']}")
        for profile, detail in row["details"].items():
            changed = f", changed: {', '.join(detail['changed'])}" if detail["changed"] else ""
            metric = next(iter(detail["metrics"].items()), ("", 0.0))
            print(
                f"    {profile}: {detail['device']}, {detail['seconds']:.0f} s, "
                f"{detail['date'][:10]}, {metric[0]} {metric[1]:.2f}, "
                f"{detail['bytes'] / 2**20:.1f} MiB{_memory(detail['peak_memory_bytes'])}{changed}"
            )
    stale = [row["recipe"] for row in rows if row["gpu"] == "stale"]
    if options.check and stale:
        raise RuntimeError(f"stale, train again or remove: {', '.join(stale)}")


def _memory(peak: int) -> str:
    """Say how much memory a training took, and whether that is more than small GPUs have."""
    said = f", peak {peak / 1e9:.1f} GB" if peak else ""
    return said + f" (ABOVE {SMALL_GPU / 1e9:.0f} GB)" * (peak > SMALL_GPU)
