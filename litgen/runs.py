"""The store of trained runs: look one up, train it where it is missing, save and load it.

Chapter: book/contributing.md.  Proof: tests/test_runs.py.

A run is one safetensors file: weights, a small evaluation batch and snapshots in half precision;
history, metrics and provenance as JSON in its header. Nothing in it is ever unpickled. The digest
says what the run depends on: the recipe's source and the litgen source it imports, its config, its
seed, its data. Modules that store, draw or fetch do not count; data enter by the checksum of their
content.
"""

import dataclasses
import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy
import safetensors.torch
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from torch import Tensor

from litgen import checkpoints, digest, processes, profiles
from litgen.data import sources

__all__ = [
    "BadRun",
    "Run",
    "expected_digest",
    "find",
    "get",
    "is_fresh",
    "load",
    "planned",
    "published_folder",
    "save",
    "status",
    "stored",
    "train",
]

STORAGE = (
    *("litgen.data", "litgen.runs", "litgen.checkpoints"),
    *("litgen.profiles", "litgen.plotting", "litgen.cli"),
)
LIMIT = 4 * 2**20
PARTS = {"litgen": dict, "metrics": dict, "history": dict, "data": list}
FIELDS = ("recipe", "profile", "config", "seed", "device", "seconds", "date", "sources", "digest")
RECORD = {"name", "split", "checksum", "stand_in"}


class BadRun(ValueError):
    """A run file that cannot be used: cut short, of another recipe, or no run at all."""


@dataclasses.dataclass
class Run:
    """What a training leaves.

    Attributes:
        tensors: weights (``model.*``), an evaluation batch (``examples.*``), ``snapshots.*``.
        metrics: headline numbers, with their unit in the name (``test_nll_nats``).
        history: curves, one list of numbers each.
        data: the provenance of each data set that was read (``data.sources.Record`` as a dict).
        provenance: filled by the store: recipe, profile, config, seed, device, seconds, peak
            memory, package versions, commit, date, digest.
    """

    tensors: dict[str, Tensor]
    metrics: dict[str, float]
    history: dict[str, list[float]]
    data: list[dict[str, Any]]
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors below ``prefix.``, floats in single precision: a state dict."""
        start = prefix + "."
        found = {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}
        return {k: v.float() if v.is_floating_point() else v for k, v in found.items()}

    @property
    def stand_in(self) -> bool:
        """Whether any data set was replaced by a stand-in."""
        return any(record["stand_in"] for record in self.data)

    @property
    def titles(self) -> str:
        """Name the data sets for a caption; a stand-in is said to be one."""
        named = [
            r.get("title", r["name"]) + (" (STAND-IN)" if r["stand_in"] else "") for r in self.data
        ]
        return ", ".join(dict.fromkeys(named))

    def describe(self) -> str:
        """Return the line that captions print: profile, data, device, duration, date."""
        p = self.provenance
        return (
            f"{p['profile'].upper()} profile, {self.titles or 'no data'}; {p['device']}, "
            f"{p['seconds']:.0f} s, {p['date'][:10]}"
        )


def published_folder() -> Path:
    """Return the folder of published GPU runs: LITGEN_RUNS, or book/runs beside the package."""
    return Path(os.environ.get("LITGEN_RUNS") or Path(__file__).parents[1] / "book" / "runs")


def get(recipe: str, seed: int = 0) -> Run:
    """Return a recipe's run in the profile that LITGEN_PROFILE asks for, training it if need be.

    A fresh published GPU run comes first (profiles ``auto`` and ``gpu``), then the cache, then a
    training. A miss never starts the full config on a machine without a GPU: ``auto`` says so and
    runs the reduced one.

    Raises:
        ValueError: an unknown recipe or profile.
        RuntimeError: LITGEN_PROFILE=gpu on a machine without a GPU, and no fresh run.
    """
    allowed = profiles.allowed()
    for profile in allowed:
        run = find(recipe, profile, seed)
        if run is not None:
            return run
    if allowed == ("gpu", "cpu"):
        print(f"litgen: no fresh GPU run of {recipe}; training its reduced CPU config")
    return train(recipe, allowed[-1], seed)


def find(recipe: str, profile: profiles.Profile, seed: int = 0) -> Run | None:
    """Return the fresh run of a recipe, published or cached, or None."""
    folders = [published_folder()] if profile == "gpu" else []
    for folder in [*folders, _cache()]:
        path = folder / _file_name(recipe, profile, seed)
        run = _usable(path, recipe, profile, seed) if path.is_file() else None
        if run is not None and is_fresh(run):
            return run
    return None


def planned(recipe: str, seed: int = 0) -> tuple[profiles.Profile, str]:
    """Return the profile and the digest of the run that ``get`` would return, without training."""
    allowed = profiles.allowed()
    profile = next((p for p in allowed if find(recipe, p, seed) is not None), allowed[-1])
    return profile, expected_digest(recipe, profile, seed)


def is_fresh(run: Run) -> bool:
    """Return whether training this run's recipe now would give this run.

    A run on a stand-in is fresh only as long as the real data cannot be had.
    """
    p = run.provenance
    if p["digest"] == expected_digest(p["recipe"], p["profile"], p["seed"]):
        return True
    module = _module(p["recipe"])
    config = _config(module, p["profile"])
    code = digest.sources(_code(module))
    if not run.stand_in or p["digest"] != _digest(code, config, p["seed"], _checksums(run.data)):
        return False
    return all(
        _data_module(record["name"]).load(record["split"]).record.checksum == record["checksum"]
        for record in run.data
    )


def train(
    recipe: str,
    profile: profiles.Profile,
    seed: int = 0,
    config: Any = None,
    folder: Path | None = None,
    deadline: float | None = None,
) -> Run:
    """Train a recipe, save the run and return it; a second process waits and takes the result.

    From time to time the state of the training is written to the cache. One that was interrupted
    goes on from there, and ends with the run that it would have given. Several processes that
    `torchrun` has started train as one; the first of them writes that state and the run.

    Args:
        recipe: its name.
        profile: which of the recipe's configs, and which device.
        seed: of weights, batches and noise.
        config: another config of the recipe's type, for a tiny run; such a run is not saved.
        folder: where to save; the user's cache unless given.
        deadline: `time.monotonic` seconds after which the training stops where it is.

    Raises:
        ValueError: an unknown recipe or profile.
        RuntimeError: no GPU for the gpu profile.
        OutOfTime: the deadline has passed; the next call goes on.
    """
    module = _module(recipe)
    if config is not None:
        with checkpoints.opened(checkpoints.Memory()):
            return _train_now(recipe, module, profile, config, seed, torch.device("cpu"))
    device = profiles.device_for(profile)
    path = (folder or _cache()) / _file_name(recipe, profile, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if processes.count() > 1:
        return _train_together(recipe, profile, seed, device, path, deadline)
    with _only_one(path):
        run = _usable(path, recipe, profile, seed) if path.is_file() else None
        if run is None or not is_fresh(run):
            memory = _memory(recipe, profile, seed, deadline)
            with checkpoints.opened(memory):
                run = _train_now(recipe, module, profile, _config(module, profile), seed, device)
            save(run, path)
            memory.forget()
    return run


def _train_together(
    recipe: str,
    profile: profiles.Profile,
    seed: int,
    device: torch.device,
    path: Path,
    deadline: float | None,
) -> Run:
    """Train in all processes; the first one alone looks for a fresh run and saves the new one."""
    module = _module(recipe)
    run = None
    with _only_one(path) if processes.rank() == 0 else nullcontext():
        if processes.rank() == 0 and path.is_file():
            run = _usable(path, recipe, profile, seed)
            run = run if run is not None and is_fresh(run) else None
        run = processes.agreed(run)
        if run is None:
            memory = _memory(recipe, profile, seed, deadline)
            with checkpoints.opened(memory):
                run = _train_now(recipe, module, profile, _config(module, profile), seed, device)
            if processes.rank() == 0:
                save(run, path)
            memory.forget()
        return processes.agreed(run)


def _memory(
    recipe: str, profile: profiles.Profile, seed: int, deadline: float | None
) -> checkpoints.Memory:
    """Return the memory of a training; say what is left of one of other code, data or torch."""
    path = _checkpoint(recipe, profile, seed)
    start = path.name.rpartition("-")[0]
    for other in path.parent.glob(f"{start}-*.pt"):
        name = other.name.split(".")[0]
        if processes.rank() == 0 and name != path.stem and name.rpartition("-")[0] == start:
            said = "is of other code, data or torch, and not gone on with"
            print(f"litgen: {other.name} {said}", file=sys.stderr)
    return checkpoints.Memory(path, deadline)


def save(run: Run, path: Path) -> None:
    """Write a run whole or not at all.

    Raises:
        ValueError: the file would be larger than a published run may be.
    """
    header = {
        "litgen": json.dumps(run.provenance),
        "metrics": json.dumps(run.metrics),
        "history": json.dumps(run.history),
        "data": json.dumps(run.data),
    }
    content = safetensors.torch.save({k: v.contiguous() for k, v in run.tensors.items()}, header)
    if len(content) > LIMIT:
        raise ValueError(f"{path.name} would hold {len(content):,} bytes, more than {LIMIT:,}")
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load(path: Path) -> Run:
    """Read a run file.

    Raises:
        BadRun: the file is cut short, holds a pickle, or is no run; the message names it.
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no run at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        parts = {name: json.loads(header[name]) for name in PARTS}
    except (SafetensorError, OSError, ValueError) as error:
        raise BadRun(
            f"{path.name} is no run or is damaged: {str(error).splitlines()[0]}"
        ) from None
    except KeyError as error:
        raise BadRun(f"{path.name} is no run: its header lacks {error}") from None
    if wrong := _wrong(parts):
        raise BadRun(f"{path.name} is no run: its header lacks {wrong}")
    return Run(tensors, parts["metrics"], parts["history"], parts["data"], parts["litgen"])


def _wrong(parts: dict[str, Any]) -> str:
    """Name what a header's values should hold and do not, or return nothing."""
    for name, kind in PARTS.items():
        if not isinstance(parts[name], kind):
            return f"a {kind.__name__} as {name}"
    if not all(isinstance(record, dict) and record.keys() >= RECORD for record in parts["data"]):
        return f"{', '.join(sorted(RECORD))} of a data set"
    return ", ".join(field for field in FIELDS if field not in parts["litgen"])


def expected_digest(recipe: str, profile: profiles.Profile, seed: int = 0) -> str:
    """Return the digest of a fresh run, computed without training and without the data."""
    module = _module(recipe)
    config = _config(module, profile)
    checksums = {name: _data_module(name).CHECKSUM for name in module.data(config)}
    return _digest(digest.sources(_code(module)), config, seed, checksums)


def status() -> list[dict[str, Any]]:
    """Return one dictionary a recipe: ``fresh``, ``stale`` or ``missing`` for each profile.

    Keys: recipe, cpu, gpu; ``details`` holds for each profile that has a run the parts that
    changed, device, seconds, date, peak memory, metrics and bytes.
    """
    from litgen import recipes

    return [_status(name) for name in recipes.names()]


def _status(recipe: str) -> dict[str, Any]:
    row: dict[str, Any] = {"recipe": recipe, "details": {}}
    profile: profiles.Profile
    for profile in ("cpu", "gpu"):
        row[profile] = "missing"
        for folder in [published_folder(), _cache()] if profile == "gpu" else [_cache()]:
            path = folder / _file_name(recipe, profile, 0)
            run = _usable(path, recipe, profile, 0) if path.is_file() else None
            if run is None or row[profile] == "fresh":
                continue
            fresh = is_fresh(run)
            row[profile] = "fresh" if fresh else "stale"
            row["details"][profile] = {
                "changed": [] if fresh else _changed(recipe, profile, run),
                "device": run.provenance["device"],
                "seconds": run.provenance["seconds"],
                "date": run.provenance["date"],
                "peak_memory_bytes": run.provenance.get("peak_memory_bytes", 0),
                "metrics": run.metrics,
                "bytes": path.stat().st_size,
            }
    return row


def _changed(recipe: str, profile: profiles.Profile, run: Run) -> list[str]:
    """Name what a stale run's digest disagrees about."""
    now = digest.sources(_code(_module(recipe)))
    then = run.provenance["sources"]
    names = [n for n in sorted(now | then) if now.get(n) != then.get(n)]
    config = dataclasses.asdict(_config(_module(recipe), profile))
    if json.loads(json.dumps(config)) != run.provenance["config"]:
        names.append("config")
    return names or ["data"]


def _train_now(
    recipe: str,
    module: Any,
    profile: profiles.Profile,
    config: Any,
    seed: int,
    device: torch.device,
) -> Run:
    """Train and fill in the provenance."""
    code = digest.sources(_code(module))  # what runs, not what is edited meanwhile
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    before = torch.get_float32_matmul_precision()
    profiles.configure()
    try:
        run: Run = module.train(config, seed, device)
    finally:  # what a caller computes next is the same whether a run was trained or found
        torch.set_float32_matmul_precision(before)
    run.provenance = {
        "recipe": recipe,
        "profile": profile,
        "config": dataclasses.asdict(config),
        "seed": seed,
        "device": profiles.hardware(device) + _times(processes.count()),
        "seconds": round(time.perf_counter() - start + checkpoints.current().seconds, 2),
        "resumed": checkpoints.current().resumed,
        "peak_memory_bytes": _peak_memory(device),
        "versions": _versions(),
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "sources": code,
        "digest": _digest(code, config, seed, _checksums(run.data)),
    }
    run.tensors = {k: stored(v) for k, v in run.tensors.items()}
    return run


def _times(processes: int) -> str:
    return f", {processes} processes" if processes > 1 else ""


def stored(tensor: Tensor) -> Tensor:
    """Return a tensor as a run keeps it: on the CPU, floats in half precision."""
    tensor = tensor.detach().cpu()
    return tensor.half() if tensor.is_floating_point() else tensor


def _digest(
    code: dict[str, str], config: Any, seed: int, checksums: dict[str, dict[str, str]]
) -> str:
    return digest.combine(code, dataclasses.asdict(config), seed, checksums)


def _checksums(records: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for record in records:
        found.setdefault(record["name"], {})[record["split"]] = record["checksum"]
    return found


def _code(module: Any) -> dict[str, Path]:
    return digest.closure([module.__name__], without=STORAGE)


def _module(recipe: str) -> Any:
    from litgen import recipes

    return recipes.load(recipe)


def _data_module(name: str) -> Any:
    return importlib.import_module(f"litgen.data.{name}")


def _config(module: Any, profile: profiles.Profile) -> Any:
    if profile not in ("cpu", "gpu"):
        raise ValueError(f"unknown profile {profile!r}; there are: cpu, gpu")
    return module.CPU if profile == "cpu" else module.GPU


def _cache() -> Path:
    return sources.cache_folder() / "runs"


def _file_name(recipe: str, profile: profiles.Profile, seed: int) -> str:
    suffix = f"-seed{seed}" if seed else ""
    return f"{recipe.replace('/', '-')}-{profile}{suffix}.safetensors"


def _checkpoint(recipe: str, profile: profiles.Profile, seed: int) -> Path:
    """Return where an unfinished training is kept: of this code, config, seed, data and torch."""
    name = _file_name(recipe, profile, seed).removesuffix(".safetensors")
    state = digest.combine(expected_digest(recipe, profile, seed), torch.__version__)
    return sources.cache_folder() / "unfinished" / f"{name}-{state}.pt"


def _usable(path: Path, recipe: str, profile: profiles.Profile, seed: int) -> Run | None:
    """Load a run; one that is damaged or another is said in one line and passed over."""
    try:
        run = load(path)
        found = tuple(run.provenance[name] for name in ("recipe", "profile", "seed"))
        if found != (recipe, profile, seed):
            raise BadRun(
                "{} is a run of {}, {} profile, seed {}, not of {}, {} profile, seed {}".format(
                    path.name, *found, recipe, profile, seed
                )
            )
    except BadRun as error:
        print(f"litgen: {error}; it is not used", file=sys.stderr)
        return None
    return run


def _only_one(path: Path) -> FileLock:
    """Return a held lock, which the system releases when this process dies; say so if it waits."""
    lock = FileLock(path.with_name(path.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"litgen: another process is training {path.stem}; waiting for its result")
        lock.acquire()
    return lock


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def _commit() -> str:
    """Return the commit, with a plus where the tree differs; empty outside a repository."""
    root = Path(__file__).parents[1]
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return described.stdout.strip() if (root / ".git").exists() else ""
