"""The command line: ``python -m litgen list | data | train | sample | evaluate | runs``.

Chapter: book/contributing.md.  Proof: tests/test_cli.py.
"""

import argparse
import importlib
import json
import logging
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

from litgen import data, profiles, recipes, runs

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a mistake of the user gets one line on stderr and exit status 2."""
    logging.basicConfig(format="litgen: %(message)s")
    logging.getLogger("litgen").setLevel(logging.INFO)
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (ValueError, RuntimeError, OSError, ModuleNotFoundError) as error:
        print(f"litgen: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("litgen: interrupted", file=sys.stderr)
        return 130
    return 0


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
    _recipe_and_profile(add)
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
    add.set_defaults(command=_runs)
    return parser


def _recipe_and_profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="its name, as `litgen list` prints it")
    parser.add_argument("--profile", default="cpu", help="cpu (reduced config) or gpu (full)")


def _run_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, metavar="FILE", help="a run's file, fresh or not")


def _list(options: argparse.Namespace) -> None:
    for name in recipes.names():
        print(f"{name:24} {(recipes.load(name).__doc__ or '').splitlines()[0]}")


def _data(options: argparse.Namespace) -> None:
    machinery = {"sources", "packages"}
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
    recipes.load(options.recipe)
    profile = _profile(options)
    published = runs.published_folder()
    in_repository = profile == "gpu" and published.parent.is_dir()  # and not an installed wheel
    folder = options.out or (published if in_repository else None)
    run = runs.train(options.recipe, profile, options.seed, folder=folder)
    print(f"{options.recipe}: {run.describe()}")
    print(json.dumps(run.metrics))


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
    """Return the run in the given file, or else the fresh one in the store."""
    profile = _profile(options)
    if options.run:
        return _run_in(options.run, options.recipe)
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
        return
    for row in rows:
        print(f"{row['recipe']:24} cpu {row['cpu']:8} gpu {row['gpu']}")
        for profile, detail in row["details"].items():
            changed = f", changed: {', '.join(detail['changed'])}" if detail["changed"] else ""
            metric = next(iter(detail["metrics"].items()), ("", 0.0))
            print(
                f"    {profile}: {detail['device']}, {detail['seconds']:.0f} s, "
                f"{detail['date'][:10]}, {metric[0]} {metric[1]:.2f}, "
                f"{detail['bytes'] / 2**20:.1f} MiB{changed}"
            )
