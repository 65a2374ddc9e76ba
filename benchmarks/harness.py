"""Race contenders in interleaved rounds on one core, count CPU seconds, report ratios.

Proof: tests/test_benchmarks.py.

A machine's speed drifts while others use it: two figures from two moments cannot be compared. Here
every round gives each contender one slice of CPU time, in an order that rotates, and a ratio is
taken within a round; the median over rounds is reported, with the smallest and the largest.
"""

import contextlib
import functools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch

from litgen import profiles

__all__ = [
    "Contender",
    "Options",
    "as_shipped",
    "compare",
    "full_precision",
    "one_core",
    "print_json",
    "print_table",
    "race",
    "steps",
    "verdict",
    "versions",
]


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Multiply float32 matrices in float32: what torch does unless told otherwise."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def as_shipped() -> Iterator[None]:
    """Configure torch as litgen's recipes do when they train, and undo it afterwards."""
    before = torch.get_float32_matmul_precision()
    profiles.configure()
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def product_error() -> float:
    """Return the largest error of a float32 matrix product of a layer's size, as set now."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(128, 784, generator=generator), torch.randn(784, 400, generator=generator)
    return float((a @ b - a.double() @ b.double()).abs().max())


@functools.cache
def product_errors() -> dict[str, float]:
    """Return that error as torch sets it and as litgen's recipes do."""
    with full_precision():
        plain = product_error()
    with as_shipped():
        return {"highest": plain, "configured": product_error()}


@contextlib.contextmanager
def float32() -> Iterator[None]:
    """Configure torch as recipes do as long as products stay float32: errors within four times.

    Where the configuration rounds below that (some processors' bfloat16), leave torch as it is.
    """
    errors = product_errors()
    same = errors["configured"] <= 4 * errors["highest"]
    with as_shipped() if same else full_precision():
        yield


@dataclass(frozen=True)
class Contender:
    """Someone who does the common work.

    Attributes:
        name: said in the report.
        work: does a small piece of the work and returns how many units it was.
        around: the context of every slice; global settings are made and undone there.
    """

    name: str
    work: Callable[[], int]
    around: Callable[[], AbstractContextManager[None]] = full_precision


@dataclass(frozen=True)
class Options:
    """What the command line chose.

    Attributes:
        rounds: how often each contender has its turn.
        seconds: of CPU time in a turn, at least.
        quality: also train for a minute or two and compare what comes out.
    """

    rounds: int = 11
    seconds: float = 0.5
    quality: bool = False


def steps(iterator: Iterator[object]) -> Callable[[], int]:
    """Return work that advances an endless iterator by one: one unit."""

    def work() -> int:
        next(iterator)
        return 1

    return work


def race(
    contenders: Sequence[Contender],
    rounds: int,
    seconds: float,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Return each contender's units a second, one number a round.

    The first half second of a slice of one is not counted, and so in proportion: the others left
    caches cold and memory returned to the system.

    Raises:
        ValueError: no rounds, or two contenders of one name.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be positive, got {rounds}")
    if len({contender.name for contender in contenders}) < len(contenders):
        raise ValueError(f"names repeat: {[contender.name for contender in contenders]}")
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            with contender.around():
                rates[contender.name].append(_rate(contender.work, seconds, clock))
    return rates


def _rate(work: Callable[[], int], seconds: float, clock: Callable[[], float]) -> float:
    start = clock()
    while True:  # not counted
        work()
        if clock() - start >= seconds / 2:
            break
    units, start = 0, clock()
    while True:
        units += work()
        elapsed = clock() - start
        if elapsed >= seconds and elapsed > 0:
            return units / elapsed


def compare(rates: dict[str, list[float]], ours: str, peers: Sequence[str]) -> dict[str, Any]:
    """Return the ratio of our rate to the best peer's, above 1 where we are faster.

    The best peer is the one with the highest median rate. ``ratio`` is the median over rounds of
    the ratio within a round, ``spread`` its smallest and largest value.
    """
    best = max(peers, key=lambda name: statistics.median(rates[name]))
    ratios = [mine / theirs for mine, theirs in zip(rates[ours], rates[best], strict=True)]
    return {
        "best_peer": best,
        "ratio": round(statistics.median(ratios), 3),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def verdict(rates: dict[str, list[float]], peers: list[str]) -> dict[str, Any]:
    """Return litgen's ratios to the best peer, in float32 and as shipped, and all rates."""
    float32 = compare(rates, "litgen-float32", peers)
    shipped = compare(rates, "litgen-shipped", peers)
    return {
        "ratio_float32": float32["ratio"],
        "ratio_shipped": shipped["ratio"],
        "spread": {"ratio_float32": float32["spread"], "ratio_shipped": shipped["spread"]},
        "best_peer": float32["best_peer"],
        "peers": medians(rates, peers),
        "litgen": medians(rates, ["litgen-float32", "litgen-shipped"]),
    }


def medians(rates: dict[str, list[float]], names: Iterable[str]) -> dict[str, float]:
    """Return the named contenders' median rates."""
    return {name: round(statistics.median(rates[name]), 2) for name in names}


def one_core() -> None:
    """Use one thread, and stay on one of the cores this process may use, where the system can."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of the installed ones among the packages."""
    found = {"python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def print_json(record: dict[str, Any]) -> None:
    """Print a result as one line of JSON."""
    print(json.dumps(record), flush=True)


def print_table(record: dict[str, Any], indent: str = "") -> None:
    """Print a result for people: a key and its value a line, nested tables indented."""
    width = max(len(key) for key in record)
    for key, value in record.items():
        if isinstance(value, dict) and value:
            print(f"{indent}{key}")
            print_table(value, indent + "    ")
        elif isinstance(value, list):
            print(f"{indent}{key:{width}}  {' .. '.join(str(item) for item in value)}")
        else:
            print(f"{indent}{key:{width}}  {value}")
    if not indent:
        print(flush=True)
