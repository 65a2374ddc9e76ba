"""Proof for litgen/runs.py, on a tiny recipe in a package of its own."""

import dataclasses
import datetime
import importlib
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import filelock
import pytest
import safetensors.torch
import torch
from torch import Tensor

from litgen import digest, profiles, recipes, runs
from litgen.data.sources import ImageSet, Record
from litgen.recipes.vae import digits

NAME = "tiny/recipe"
CPU_FILE, GPU_FILE = "tiny-recipe-cpu.safetensors", "tiny-recipe-gpu.safetensors"

PACKAGE = {
    "__init__.py": "",
    "maths.py": "def half(x):\n    return x / 2\n",
    "lone.py": "x = 1\n",
    "recipe.py": '''
        """A recipe that trains in no time."""

        import dataclasses
        import os

        import torch

        from litgen.runs import Run
        from tinyrecipes import maths


        @dataclasses.dataclass(frozen=True)
        class Config:
            """What it depends on."""

            steps: int = 3
            widths: tuple = (2, 3)


        CPU = Config()
        GPU = Config(steps=30)
        RECORDS = [{"name": "dots", "split": "train", "checksum": "c0ffee", "stand_in": False}]
        DURING = []  # called in the middle of a training


        def data(config):
            return ("dots",)


        def train(config, seed, device):
            with open(os.environ["TRAININGS"], "a") as log:
                log.write(f"{config.steps} {seed} {device}\\n")
            for action in DURING:
                action()
            weight = maths.half(torch.full((2, 3), float(config.steps + seed), device=device))
            return Run(
                tensors={"model.weight": weight, "examples.x": torch.arange(4)},
                metrics={"loss_nats": float(weight.mean())},
                history={"loss_nats": [3.0, 2.0]},
                data=[dict(record) for record in RECORDS],
            )
    ''',
}


class Dots:
    """Stands for litgen.data.dots: a data set that is there, or is stood in for."""

    CHECKSUM: dict[str, str]

    def __init__(self) -> None:
        self.CHECKSUM = {"train": "c0ffee"}
        self.at_hand = "c0ffee"

    def load(self, split: str) -> Any:
        """Return what is at hand."""
        return SimpleNamespace(record=SimpleNamespace(checksum=self.at_hand))


def inject(folder: Path, setattr: Callable[[object, str, Any], None]) -> Any:
    """Put the tiny recipe in the place of litgen's; used here and by other processes."""
    module = importlib.import_module("tinyrecipes.recipe")
    dots = Dots()

    def load(name: str) -> Any:
        if name != NAME:
            raise ValueError(f"unknown recipe {name!r}; there are: {NAME}")
        return module

    setattr(recipes, "names", lambda: [NAME])
    setattr(recipes, "load", load)
    setattr(runs, "_data_module", {"dots": dots}.__getitem__)
    setattr(digest, "PACKAGE", folder / "tinyrecipes")
    return SimpleNamespace(module=module, dots=dots, folder=folder / "tinyrecipes")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Return a recipe, its data, its folder, the folders of runs and the log of trainings."""
    for name, text in PACKAGE.items():
        path = tmp_path / "code" / "tinyrecipes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip())
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("LITGEN_RUNS", str(tmp_path / "published"))
    monkeypatch.setenv("TRAININGS", str(tmp_path / "trainings"))
    found = inject(tmp_path / "code", monkeypatch.setattr)
    found.cache = tmp_path / "cache" / "runs"
    found.published = tmp_path / "published"
    found.log = tmp_path / "trainings"
    found.edit = lambda old, new: edit(found.folder / "maths.py", old, new)
    yield found
    for name in [n for n in sys.modules if n.split(".")[0] == "tinyrecipes"]:
        del sys.modules[name]


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that is there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def trainings(tiny: Any) -> list[str]:
    """Return one line a training: steps, seed, device."""
    return tiny.log.read_text().splitlines() if tiny.log.exists() else []


def publish(tiny: Any, folder: Path | None = None) -> runs.Run:
    """Leave a GPU run where the book keeps them, and no trace of its training."""
    run = runs.train(NAME, "gpu", config=tiny.module.GPU)
    folder = folder or tiny.published
    folder.mkdir(parents=True, exist_ok=True)
    runs.save(run, folder / GPU_FILE)
    tiny.log.unlink()
    return run


def full(seed: int = 0) -> runs.Run:
    """Return a run with everything a run may hold."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        "model.net.0.weight": torch.randn(5, 4, generator=generator).half(),
        "model.net.0.bias": torch.randn(5, generator=generator).half(),
        "model.steps": torch.tensor(7),
        "modelling.trap": torch.ones(1),
        "examples.x": torch.randint(0, 2, (6, 9), generator=generator).to(torch.uint8),
        "snapshots.mean": torch.randn(2, 3, 2, generator=generator).half(),
    }
    return runs.Run(
        tensors,
        {"test_nll_nats": 101.25, "zero": 0.0, "tiny": 1e-300},
        {"train_loss_nats": [3.5, 2.25, -1e-7], "empty": []},
        [{"name": "mnist", "split": "test", "checksum": "ab", "stand_in": False}],
        {
            **{"recipe": "vae/digits", "profile": "gpu", "seed": 3, "digest": "0123456789abcdef"},
            **{"config": {"hidden": [2, 3], "data": "mnist", "mixed": True, "note": None}},
            **{"device": 'a "GPU", é', "seconds": 12.5, "date": "2026-02-03T04:05:06+00:00"},
            **{"sources": {"litgen": "aa"}, "versions": {}, "commit": "", "peak_memory_bytes": 1},
        },
    )


# Run ---------------------------------------------------------------------------------------------


def test_a_training_leaves_matrix_products_as_they_were(tiny: Any) -> None:
    """Configured while it lasts, and set back after it, also after one that breaks off."""
    seen = []
    tiny.module.DURING.append(lambda: seen.append(torch.get_float32_matmul_precision()))
    runs.train(NAME, "cpu", config=tiny.module.CPU)
    assert seen[0] != torch.get_float32_matmul_precision() == "highest"
    tiny.module.DURING.append(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runs.train(NAME, "cpu", config=tiny.module.CPU)
    assert torch.get_float32_matmul_precision() == "highest"


def test_part_gives_a_state_dict_in_single_precision() -> None:
    """Names lose their prefix, floats are widened, whole numbers stay; no other part slips in."""
    part = full().part("model")
    assert set(part) == {"net.0.weight", "net.0.bias", "steps"}
    assert part["net.0.weight"].dtype == torch.float32
    assert part["steps"].dtype == torch.int64
    torch.testing.assert_close(part["net.0.bias"], full().tensors["model.net.0.bias"].float())
    assert full().part("examples")["x"].dtype == torch.uint8
    assert full().part("nothing") == {}


def test_describe_names_profile_data_device_duration_and_date() -> None:
    """A stand-in is shouted, and no run hides one."""
    run = full()
    assert not run.stand_in
    assert run.describe() == 'GPU profile, mnist; a "GPU", é, 12 s, 2026-02-03'
    run.data.append({"name": "dots", "split": "a", "checksum": "", "stand_in": True})
    assert run.stand_in
    assert "dots (STAND-IN)" in run.describe()
    run.data.clear()
    assert "no data" in run.describe()


# save and load -----------------------------------------------------------------------------------


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Every tensor bit by bit, every number, every word; the file holds nothing else."""
    run = full()
    run.tensors["model.turned"] = torch.arange(6.0).view(2, 3).T  # not contiguous
    runs.save(run, tmp_path / "a.safetensors")
    loaded = runs.load(tmp_path / "a.safetensors")
    assert loaded.tensors.keys() == run.tensors.keys()
    for name, tensor in run.tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded.tensors[name], tensor, rtol=0, atol=0)
    assert (loaded.metrics, loaded.history, loaded.data, loaded.provenance) == (
        *(run.metrics, run.history, run.data, run.provenance),
    )
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_run_is_a_safetensors_file_that_others_can_read(tmp_path: Path) -> None:
    """Read by the format's own definition: 8 bytes of length, JSON, numbers."""
    path = tmp_path / "a.safetensors"
    run = full()
    runs.save(run, path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert json.loads(header["__metadata__"]["metrics"]) == run.metrics
    place = header["model.net.0.bias"]
    begin, end = place["data_offsets"]
    assert (place["dtype"], place["shape"]) == ("F16", [5])
    raw = content[8 + length + begin : 8 + length + end]
    assert raw == run.tensors["model.net.0.bias"].numpy().tobytes()


def test_a_run_larger_than_the_limit_is_not_written(tmp_path: Path) -> None:
    """What lay there before stays whole."""
    path = tmp_path / "a.safetensors"
    run = full()
    runs.save(run, path)
    before = path.read_bytes()
    run.tensors["model.large"] = torch.zeros(runs.LIMIT // 2 + 1, dtype=torch.float16)
    with pytest.raises(
        ValueError, match=r"a\.safetensors would hold 4,1\d\d,\d{3} bytes, more tha"
    ):
        runs.save(run, path)
    assert path.read_bytes() == before
    assert runs.LIMIT == 4 * 1024 * 1024
    run.tensors["model.large"] = torch.zeros(runs.LIMIT // 2 - 2048, dtype=torch.float16)
    runs.save(run, path)
    assert before != path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("where", ["serialising", "writing", "renaming"])
def test_a_failed_save_leaves_the_old_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A full disk in the middle harms neither the file nor the folder."""
    path = tmp_path / "a.safetensors"
    runs.save(full(), path)
    before = path.read_bytes()

    def full_disk(*arguments: Any, **keywords: Any) -> int:
        raise OSError(28, "No space left on device")

    def half_written(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        return full_disk()

    targets = {"serialising": (safetensors.torch, "save"), "renaming": (os, "replace")}
    if where == "writing":
        monkeypatch.setattr(Path, "write_bytes", half_written)
    else:
        monkeypatch.setattr(*targets[where], full_disk)
    with pytest.raises(OSError, match="No space left"):
        runs.save(full(1), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def header_of(**changes: str | None) -> bytes:
    """Return a run file whose header's parts are replaced, or left out where they are None."""
    run = full()
    parts = {"litgen": run.provenance, "metrics": {}, "history": {}, "data": run.data}
    header = {name: json.dumps(part) for name, part in parts.items()} | changes
    kept = {name: text for name, text in header.items() if text is not None}
    return safetensors.torch.save(run.tensors, kept)


def provenance_without(field: str) -> str:
    """Return a run's provenance that lacks something."""
    return json.dumps({k: v for k, v in full().provenance.items() if k != field})


def bad_files(trap: Path) -> dict[str, bytes]:
    """Return contents that are no run, by what is wrong with them."""
    good = header_of()
    zipped = io.BytesIO()
    torch.save({"model.weight": Trap(trap)}, zipped)
    legacy = io.BytesIO()
    torch.save({"model.weight": Trap(trap)}, legacy, _use_new_zipfile_serialization=False)
    length = int.from_bytes(good[:8], "little")
    files = {
        "empty": b"",
        "random": bytes(torch.randint(0, 256, (5000,), dtype=torch.uint8).tolist()),
        "zeros": bytes(4096),
        "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "html": b"<!doctype html><title>404</title>" * 9,
        "pickle": pickle.dumps(Trap(trap)),
        "torch.save": zipped.getvalue(),
        "old torch.save": legacy.getvalue(),
        "no header": safetensors.torch.save(full().tensors),
        "foreign header": safetensors.torch.save(full().tensors, {"format": "pt"}),
        "longer": good + b"more",
        "header not JSON": good[:8] + b"x" * length + good[8 + length :],
        "header too long": (2**40).to_bytes(8, "little") + good[8:],
        "pickle in the header": header_of(litgen=pickle.dumps(Trap(trap), 0).decode()),
        "data is no list": header_of(data="{}"),
        "record is no dictionary": header_of(data="[1]"),
        "record without a flag": header_of(data='[{"name": "mnist"}]'),
        "provenance is a list": header_of(litgen="[]"),
        "provenance is null": header_of(litgen="null"),
        "provenance is empty": header_of(litgen="{}"),
    }
    for field in ("recipe", "profile", "seed", "digest", "config", "sources", "device"):
        files[f"no {field}"] = header_of(litgen=provenance_without(field))
    for part in runs.PARTS:
        files[f"without {part}"] = header_of(**{part: None})
        files[f"broken {part}"] = header_of(**{part: '{"a": '})
        files[f"wrong {part}"] = header_of(**{part: '"text"'})
    for end in (1, 7, 8, 9, 8 + length // 2, 8 + length, 9 + length, len(good) - 1):
        files[f"cut at {end}"] = good[:end]
    return files


@pytest.mark.parametrize("wrong", bad_files(Path()))
def test_what_is_no_run_is_said_in_one_line(tmp_path: Path, wrong: str) -> None:
    """Cut short, foreign, broken, poisoned: BadRun names the file, and nothing is unpickled."""
    path, trap = tmp_path / "some run.safetensors", tmp_path / "trapped"
    path.write_bytes(bad_files(trap)[wrong])
    with pytest.raises(runs.BadRun) as caught:
        runs.load(path)
    assert "some run.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not trap.exists()


def test_the_trap_would_have_sprung(tmp_path: Path) -> None:
    """The pickles above are dangerous: a loader that unpickles creates the file."""
    files = bad_files(tmp_path / "trapped")
    pickle.loads(files["pickle"])
    assert (tmp_path / "trapped").exists()
    (tmp_path / "trapped").unlink()
    torch.load(io.BytesIO(files["torch.save"]), weights_only=False)
    assert (tmp_path / "trapped").exists()


def test_header_of_makes_good_runs(tmp_path: Path) -> None:
    """Unchanged, it is a run: what is wrong in the files above is what their names say."""
    (tmp_path / "a").write_bytes(header_of())
    assert runs.load(tmp_path / "a").provenance == full().provenance


def test_a_missing_file_is_another_error(tmp_path: Path) -> None:
    """Neither a missing file nor a folder is a bad run."""
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(FileNotFoundError, match="no run at"):
            runs.load(path)


# train -------------------------------------------------------------------------------------------


def test_train_saves_and_does_not_train_again(tiny: Any) -> None:
    """The run in memory and the run in the cache are the same, and the second call reads it."""
    run = runs.train(NAME, "cpu")
    assert trainings(tiny) == ["3 0 cpu"]
    torch.testing.assert_close(run.part("model")["weight"], torch.full((2, 3), 1.5))
    again = runs.train(NAME, "cpu")
    assert trainings(tiny) == ["3 0 cpu"]
    for name, tensor in run.tensors.items():
        torch.testing.assert_close(again.tensors[name], tensor, rtol=0, atol=0)
    assert again.metrics == run.metrics == {"loss_nats": 1.5}
    assert again.data == run.data
    assert again.provenance == json.loads(json.dumps(run.provenance))
    stored = runs.load(tiny.cache / CPU_FILE)
    assert stored.provenance == again.provenance


def test_an_unfinished_training_of_other_code_is_named_and_left(
    tiny: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of this recipe, profile and seed; those of others, and of this very training, are not."""
    folder = tiny.cache.parent / "unfinished"
    folder.mkdir(parents=True)
    start = CPU_FILE.removesuffix(".safetensors")
    own = runs._checkpoint(NAME, "cpu", 0).name
    others = [f"{start}-seed1-0123.pt", f"x-{start}-0123.pt", own, own.replace(".pt", ".part.pt")]
    for name in [f"{start}-0123.pt", *others]:
        (folder / name).write_bytes(b"")
    runs.train(NAME, "cpu")
    said = capsys.readouterr().err
    assert (
        said == f"litgen: {start}-0123.pt is of other code, data or torch, and not gone on with\n"
    )
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{start}-0123.pt", *others[:2]]
    )


def test_floats_are_kept_in_half_precision(tiny: Any) -> None:
    """Weights are halved, whole numbers are not."""
    run = runs.train(NAME, "cpu")
    assert run.tensors["model.weight"].dtype == torch.float16
    assert run.tensors["examples.x"].dtype == torch.int64


def test_provenance_is_complete(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who, with what, where, how long, how large, with which versions, on which data, when."""
    tiny.module.DURING.append(lambda: time.sleep(0.05))
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    p = runs.train(NAME, "cpu", seed=4).provenance
    assert json.loads(json.dumps(p))["config"] == {"steps": 3, "widths": [2, 3]}
    assert (p["recipe"], p["profile"], p["seed"]) == (NAME, "cpu", 4)
    assert p["device"] == profiles.hardware(torch.device("cpu"))
    assert 0.05 <= p["seconds"] < 30
    assert 10 * 2**20 < p["peak_memory_bytes"] < 2**40
    assert p["versions"]["torch"] == torch.__version__
    assert p["versions"]["python"].startswith("{}.{}.".format(*sys.version_info[:2]))
    assert set(p["versions"]) >= {"python", "torch", "numpy"}
    assert set(p["sources"]) == {"tinyrecipes", "tinyrecipes.recipe", "tinyrecipes.maths"}
    assert p["digest"] == runs.expected_digest(NAME, "cpu", 4)
    assert isinstance(p["commit"], str)
    date = datetime.datetime.fromisoformat(p["date"])
    assert before <= date <= datetime.datetime.now(datetime.UTC)


def test_train_writes_nothing_elsewhere(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not into the current, the home or the temporary folder; into another one on demand."""
    for name in ("here", "home", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))

    def files(folder: Path) -> set[str]:
        return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}

    before = files(tmp_path)
    runs.train(NAME, "cpu")
    new = files(tmp_path) - before
    assert {f"cache/runs/{CPU_FILE}", "trainings"} <= new
    assert {path for path in new if not path.startswith("cache/runs/")} == {"trainings"}
    before = files(tmp_path)
    runs.train(NAME, "cpu", folder=tmp_path / "out" / "deep")
    new = files(tmp_path) - before
    assert f"out/deep/{CPU_FILE}" in new
    assert all(path.startswith("out/deep/") for path in new)
    assert len(trainings(tiny)) == 2
    assert not list(tmp_path.rglob("*.part"))


def test_another_config_is_trained_and_not_saved(tiny: Any) -> None:
    """For tests and for looking: the store never holds a run of a config that no recipe names."""
    config = dataclasses.replace(tiny.module.CPU, steps=7)
    run = runs.train(NAME, "gpu", config=config)
    assert trainings(tiny) == ["7 0 cpu"]
    assert run.provenance["profile"] == "gpu"
    assert run.provenance["config"]["steps"] == 7
    assert not tiny.cache.exists() or not list(tiny.cache.glob("*.safetensors"))
    assert not runs.is_fresh(run)


def test_train_refuses_what_it_does_not_know(tiny: Any) -> None:
    """The message lists what there is; nothing is written."""
    with pytest.raises(ValueError, match="unknown recipe 'vae/nothing'; there are: tiny/recipe"):
        runs.train("vae/nothing", "cpu")
    for call in (runs.train, runs.expected_digest):
        with pytest.raises(Exception, match=r"tpu") as caught:
            call(NAME, "tpu")  # type: ignore[arg-type]
        assert "cpu" in str(caught.value)
    assert not tiny.cache.exists()


def test_gpu_without_a_gpu_is_a_clear_error(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is trained on the CPU instead."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="needs a GPU"):
        runs.train(NAME, "gpu")
    monkeypatch.setenv("LITGEN_PROFILE", "gpu")
    with pytest.raises(RuntimeError, match="needs a GPU"):
        runs.get(NAME)
    assert trainings(tiny) == []
    assert not tiny.cache.exists()


def test_a_failed_training_leaves_the_old_run_and_frees_the_lock(tiny: Any) -> None:
    """An interrupted training is as if it had not been."""
    runs.train(NAME, "cpu")
    before = (tiny.cache / CPU_FILE).read_bytes()
    tiny.edit("/ 2", "/ 4")

    def interrupt() -> None:
        raise KeyboardInterrupt

    tiny.module.DURING.append(interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        runs.train(NAME, "cpu")
    assert caught.value.__traceback__ is not None  # it would keep a forgotten lock alive
    assert (tiny.cache / CPU_FILE).read_bytes() == before
    with filelock.FileLock(tiny.cache / f"{CPU_FILE}.lock", timeout=0):
        pass
    tiny.module.DURING.clear()
    assert runs.is_fresh(runs.train(NAME, "cpu"))


# fresh and stale ---------------------------------------------------------------------------------


def test_prose_keeps_a_run_fresh(tiny: Any) -> None:
    """Comments, docstrings, blank lines, a module that nobody imports: no retraining."""
    runs.train(NAME, "cpu")
    tiny.edit("def half(x):\n", '# why\ndef half(\n    x,\n):\n    """Halve."""\n\n')
    edit(tiny.folder / "recipe.py", "A recipe that trains", "The recipe that trains")
    edit(tiny.folder / "lone.py", "1", "2")
    (tiny.folder / "new.py").write_text("x = 2\n")
    assert runs.find(NAME, "cpu") is not None
    runs.train(NAME, "cpu")
    assert len(trainings(tiny)) == 1


def change_source(tiny: Any) -> None:
    """Edit a function that the recipe uses."""
    tiny.edit("/ 2", "/ 4")


def change_recipe(tiny: Any) -> None:
    """Edit the recipe itself."""
    edit(tiny.folder / "recipe.py", "[3.0, 2.0]", "[3.0, 2.5]")


def change_import(tiny: Any) -> None:
    """Import one more module."""
    tiny.edit("def", "from tinyrecipes import lone\ndef")


def change_config(tiny: Any) -> None:
    """Change a hyper-parameter."""
    tiny.module.CPU = dataclasses.replace(tiny.module.CPU, widths=(2, 4))


def change_data(tiny: Any) -> None:
    """Replace the data set, as a new edition of it would."""
    tiny.dots.CHECKSUM = {"train": "decaf"}
    tiny.module.RECORDS[0]["checksum"] = "decaf"


def change_splits(tiny: Any) -> None:
    """Read another split as well."""
    tiny.dots.CHECKSUM = {"train": "c0ffee", "test": "decaf"}
    tiny.module.RECORDS.append(tiny.module.RECORDS[0] | {"split": "test", "checksum": "decaf"})


CHANGES = [change_source, change_recipe, change_import, change_config, change_data, change_splits]


@pytest.mark.parametrize("change", CHANGES)
def test_what_can_change_a_result_makes_its_run_stale(
    tiny: Any, change: Callable[[Any], None]
) -> None:
    """A stale run is not found; the next call trains again, once, and then it is fresh."""
    old = runs.train(NAME, "cpu")
    change(tiny)
    assert not runs.is_fresh(old)
    assert not runs.is_fresh(runs.load(tiny.cache / CPU_FILE))
    assert runs.find(NAME, "cpu") is None
    new = runs.train(NAME, "cpu")
    assert new.provenance["digest"] != old.provenance["digest"]
    assert runs.is_fresh(new)
    runs.train(NAME, "cpu")
    assert len(trainings(tiny)) == 2


def test_seeds_have_runs_of_their_own(tiny: Any) -> None:
    """Seed 1 neither replaces nor serves as seed 0."""
    zero, one = runs.train(NAME, "cpu"), runs.train(NAME, "cpu", seed=1)
    assert zero.provenance["digest"] != one.provenance["digest"]
    assert zero.metrics != one.metrics
    found = [runs.find(NAME, "cpu", seed) for seed in (0, 1, 2)]
    assert [run and run.provenance["seed"] for run in found] == [0, 1, None]
    assert len(trainings(tiny)) == 2


def test_a_run_under_another_name_is_not_used(
    tiny: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file may be copied by hand: recipe, profile and seed inside it must be the asked ones."""
    runs.train(NAME, "cpu")
    tiny.published.mkdir()
    (tiny.published / GPU_FILE).write_bytes((tiny.cache / CPU_FILE).read_bytes())
    (tiny.cache / GPU_FILE).write_bytes((tiny.cache / CPU_FILE).read_bytes())
    assert runs.find(NAME, "gpu") is None
    (tiny.cache / "tiny-recipe-cpu-seed5.safetensors").write_bytes(
        (tiny.cache / CPU_FILE).read_bytes()
    )
    assert runs.find(NAME, "cpu", 5) is None
    foreign = full()
    runs.save(foreign, tiny.cache / CPU_FILE)
    capsys.readouterr()
    assert runs.find(NAME, "cpu") is None
    said = capsys.readouterr().err
    assert f"{CPU_FILE} is a run of vae/digits" in said
    assert said.count("\n") == 1


def test_a_damaged_run_is_passed_over_and_trained_anew(
    tiny: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says so."""
    runs.train(NAME, "cpu")
    path = tiny.cache / CPU_FILE
    path.write_bytes(path.read_bytes()[:-3])
    capsys.readouterr()
    assert runs.find(NAME, "cpu") is None
    said = capsys.readouterr().err
    assert CPU_FILE in said
    assert "not used" in said
    assert said.count("\n") == 1
    assert runs.is_fresh(runs.train(NAME, "cpu"))
    assert runs.load(path).metrics == {"loss_nats": 1.5}


def test_an_edit_during_the_training_makes_the_run_stale(tiny: Any) -> None:
    """What ran is what was imported, not what lies there when the training ends."""
    tiny.module.DURING.append(lambda: tiny.edit("/ 2", "/ 4"))
    before = runs.expected_digest(NAME, "cpu")
    run = runs.train(NAME, "cpu")
    assert run.provenance["digest"] == before
    assert not runs.is_fresh(run)
    assert runs.status()[0]["cpu"] == "stale"


# stand-ins ---------------------------------------------------------------------------------------


def test_a_stand_in_run_is_fresh_only_while_the_data_are_missing(tiny: Any) -> None:
    """Where the real data can be had again, they are used."""
    tiny.module.RECORDS[0].update(checksum="5tand1n", stand_in=True)
    tiny.dots.at_hand = "5tand1n"
    run = runs.train(NAME, "cpu")
    assert run.stand_in
    assert runs.is_fresh(run)
    assert runs.planned(NAME) == ("cpu", runs.expected_digest(NAME, "cpu"))
    runs.train(NAME, "cpu")
    assert len(trainings(tiny)) == 1
    tiny.dots.at_hand = "another stand-in"
    assert not runs.is_fresh(run)
    tiny.dots.at_hand = "c0ffee"
    assert not runs.is_fresh(run)
    assert runs.find(NAME, "cpu") is None
    tiny.module.RECORDS[0].update(checksum="c0ffee", stand_in=False)
    assert not runs.train(NAME, "cpu").stand_in


@pytest.mark.parametrize("change", [change_source, change_config, change_recipe])
def test_a_stand_in_run_is_as_stale_as_any(tiny: Any, change: Callable[[Any], None]) -> None:
    """Missing data excuse no changed code."""
    tiny.module.RECORDS[0].update(checksum="5tand1n", stand_in=True)
    tiny.dots.at_hand = "5tand1n"
    run = runs.train(NAME, "cpu")
    change(tiny)
    assert not runs.is_fresh(run)


def test_wrong_data_that_do_not_say_so_are_stale(tiny: Any) -> None:
    """Only what is labelled a stand-in may differ from the expected checksum."""
    tiny.module.RECORDS[0].update(checksum="5tand1n", stand_in=False)
    tiny.dots.at_hand = "5tand1n"
    assert not runs.is_fresh(runs.train(NAME, "cpu"))


# get and planned ---------------------------------------------------------------------------------


def test_auto_prefers_a_fresh_published_gpu_run(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Published before cached, GPU before CPU, and without training anything."""
    runs.train(NAME, "cpu")
    publish(tiny, tiny.cache)
    (tiny.cache / GPU_FILE).rename(tiny.cache / "aside")
    publish(tiny)
    capsys.readouterr()
    for word in ("auto", "", None, "gpu"):
        if word is None:
            monkeypatch.delenv("LITGEN_PROFILE", raising=False)
        else:
            monkeypatch.setenv("LITGEN_PROFILE", word)
        assert runs.get(NAME).provenance["profile"] == "gpu"
        assert runs.planned(NAME) == ("gpu", runs.expected_digest(NAME, "gpu"))
    monkeypatch.setenv("LITGEN_PROFILE", "cpu")
    assert runs.get(NAME).provenance["profile"] == "cpu"
    assert runs.planned(NAME) == ("cpu", runs.expected_digest(NAME, "cpu"))
    assert trainings(tiny) == []
    assert capsys.readouterr() == ("", "")
    # a cached GPU run is as good, where none is published
    (tiny.published / GPU_FILE).unlink()
    (tiny.cache / "aside").rename(tiny.cache / GPU_FILE)
    monkeypatch.delenv("LITGEN_PROFILE")
    assert runs.get(NAME).provenance["profile"] == "gpu"
    assert trainings(tiny) == []


def test_the_published_run_comes_before_the_cached_one(tiny: Any) -> None:
    """Both are fresh: the book shows the one that travels with it."""
    run = publish(tiny, tiny.cache)
    run.metrics["loss_nats"] = 77.0
    tiny.published.mkdir()
    runs.save(run, tiny.published / GPU_FILE)
    assert runs.get(NAME).metrics == {"loss_nats": 77.0}


@pytest.mark.parametrize("gpu", [False, True])
def test_auto_never_starts_the_full_config(
    tiny: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gpu: bool,
) -> None:
    """Without a fresh GPU run it says so and trains the reduced config, once."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    publish(tiny)
    change_source(tiny)
    assert runs.planned(NAME) == ("cpu", runs.expected_digest(NAME, "cpu"))
    assert trainings(tiny) == []
    run = runs.get(NAME)
    assert run.provenance["profile"] == "cpu"
    assert trainings(tiny) == ["3 0 cpu"]
    said = capsys.readouterr()
    assert f"no fresh GPU run of {NAME}" in said.out
    assert said.err == ""
    assert runs.get(NAME).provenance["digest"] == run.provenance["digest"]
    assert trainings(tiny) == ["3 0 cpu"]
    assert capsys.readouterr().out == ""


def test_cpu_trains_the_reduced_config_whatever_is_published(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LITGEN_PROFILE=cpu proves what this machine can do."""
    publish(tiny)
    monkeypatch.setenv("LITGEN_PROFILE", "cpu")
    assert runs.get(NAME, seed=2).provenance["profile"] == "cpu"
    assert trainings(tiny) == ["3 2 cpu"]


def test_gpu_trains_the_full_config_on_a_gpu(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And keeps it in the cache; the machine's GPU is played by its CPU here."""
    monkeypatch.setenv("LITGEN_PROFILE", "gpu")
    monkeypatch.setattr(profiles, "device_for", lambda profile: torch.device("cpu"))
    assert runs.get(NAME).provenance["config"]["steps"] == 30
    assert trainings(tiny) == ["30 0 cpu"]
    assert (tiny.cache / GPU_FILE).is_file()
    runs.get(NAME)
    assert len(trainings(tiny)) == 1


def test_an_unknown_profile_is_an_error(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable and the choices."""
    monkeypatch.setenv("LITGEN_PROFILE", "tpu")
    for call in (runs.get, runs.planned):
        with pytest.raises(ValueError, match="'tpu' in LITGEN_PROFILE; there are: auto, cpu, gpu"):
            call(NAME)


def test_published_runs_lie_in_the_book(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Beside the package, unless LITGEN_RUNS names another folder."""
    monkeypatch.delenv("LITGEN_RUNS", raising=False)
    root = Path(__file__).resolve().parents[1]
    assert runs.published_folder().resolve() == root / "book" / "runs"
    monkeypatch.setenv("LITGEN_RUNS", str(tmp_path))
    assert runs.published_folder() == tmp_path


# status ------------------------------------------------------------------------------------------


def test_status_tells_fresh_stale_and_missing(tiny: Any) -> None:
    """With what changed, by name, and what the run was."""
    assert runs.status() == [{"recipe": NAME, "cpu": "missing", "gpu": "missing", "details": {}}]
    runs.train(NAME, "cpu")
    publish(tiny)
    (row,) = runs.status()
    assert (row["cpu"], row["gpu"]) == ("fresh", "fresh")
    assert row["details"]["cpu"]["changed"] == []
    assert row["details"]["gpu"]["metrics"] == {"loss_nats": 15.0}
    assert row["details"]["gpu"]["bytes"] == (tiny.published / GPU_FILE).stat().st_size
    assert set(row["details"]["cpu"]) >= {"device", "seconds", "date"}
    json.dumps(row)
    tiny.module.CPU = dataclasses.replace(tiny.module.CPU, steps=4)
    (row,) = runs.status()
    assert (row["cpu"], row["gpu"]) == ("stale", "fresh")
    assert row["details"]["cpu"]["changed"] == ["config"]
    change_source(tiny)
    (row,) = runs.status()
    assert (row["cpu"], row["gpu"]) == ("stale", "stale")
    assert row["details"]["cpu"]["changed"] == ["tinyrecipes.maths", "config"]
    assert row["details"]["gpu"]["changed"] == ["tinyrecipes.maths"]


def test_status_names_changed_data_and_new_imports(tiny: Any) -> None:
    """What is neither code nor config is the data."""
    runs.train(NAME, "cpu")
    change_data(tiny)
    assert runs.status()[0]["details"]["cpu"]["changed"] == ["data"]
    runs.train(NAME, "cpu")
    change_import(tiny)
    assert runs.status()[0]["details"]["cpu"]["changed"] == [
        "tinyrecipes.lone",
        "tinyrecipes.maths",
    ]


def test_status_prefers_the_fresh_one_of_two(tiny: Any) -> None:
    """A stale published run beside a fresh cached one: fresh; a damaged one counts as missing."""
    old = publish(tiny)
    change_source(tiny)
    publish(tiny, tiny.cache)
    assert runs.status()[0]["gpu"] == "fresh"
    assert runs.find(NAME, "gpu") is not None
    tiny.published.joinpath(GPU_FILE).write_bytes((tiny.cache / GPU_FILE).read_bytes())
    runs.save(old, tiny.cache / GPU_FILE)
    assert runs.status()[0]["gpu"] == "fresh"
    for folder in (tiny.cache, tiny.published):
        (folder / GPU_FILE).write_bytes(b"")
    assert runs.status()[0]["gpu"] == "missing"


# several processes, and none ---------------------------------------------------------------------

PROGRAM = """
import os, sys, time
from pathlib import Path

sys.path[:0] = [{tests!r}, {code!r}]
from tests.test_runs import NAME, inject
from litgen import runs

tiny = inject(Path({code!r}), setattr)
{action}
run = runs.train(NAME, "cpu")
print(run.provenance["digest"], run.provenance["date"], flush=True)
"""


Start = Callable[[str, Path], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tiny: Any) -> Iterator[Start]:
    """Start another process that trains the tiny recipe; what it prints goes into a file."""
    root, code = str(Path(__file__).parents[1]), str(tiny.folder.parent)
    started: list[subprocess.Popen[bytes]] = []

    def process(action: str, said: Path) -> "subprocess.Popen[bytes]":
        program = PROGRAM.format(tests=root, code=code, action=action)
        command = [sys.executable, "-u", "-W", "error", "-c", program]
        with said.open("wb") as out:
            started.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT))
        return started[-1]

    yield process
    for other in started:
        other.kill()
        other.wait()


def wait_for(text: str, *files: Path) -> None:
    """Return when one of the files holds a text."""
    end = time.monotonic() + 60
    while not any(text in file.read_text() for file in files):
        assert time.monotonic() < end, [file.read_text() for file in files]
        time.sleep(0.02)


def test_two_processes_train_once(tiny: Any, start: Start, tmp_path: Path) -> None:
    """The second waits, says so, and takes the first one's result."""
    files = [tmp_path / "one.txt", tmp_path / "two.txt"]
    stop = dedent(f"""
        def hold():
            while not Path({str(tmp_path / "go")!r}).exists():
                time.sleep(0.02)
        tiny.module.DURING.append(hold)
    """)
    both = [start(stop, file) for file in files]
    wait_for("another process is training", *files)
    (tmp_path / "go").touch()
    assert [p.wait(timeout=60) for p in both] == [0, 0], [f.read_text() for f in files]
    said = [file.read_text().splitlines() for file in files]
    assert sorted(map(len, said)) == [1, 2]
    assert said[0][-1] == said[1][-1]
    assert trainings(tiny) == ["3 0 cpu"]
    assert runs.find(NAME, "cpu") is not None


def test_a_killed_training_harms_nobody(tiny: Any, start: Start, tmp_path: Path) -> None:
    """Killed while half of the new run is written: the old one is whole, the next call trains."""
    runs.train(NAME, "cpu")
    before = (tiny.cache / CPU_FILE).read_bytes()
    change_source(tiny)
    stop = dedent("""
        def half_written(self, content):
            with self.open("wb") as file:
                file.write(content[: len(content) // 2])
            print("now")
            time.sleep(60)
        Path.write_bytes = half_written
    """)
    said = tmp_path / "said.txt"
    other = start(stop, said)
    wait_for("now", said)
    lock = filelock.FileLock(tiny.cache / f"{CPU_FILE}.lock")
    with pytest.raises(filelock.Timeout):
        lock.acquire(timeout=0)
    other.send_signal(signal.SIGKILL)
    assert other.wait(timeout=10) == -signal.SIGKILL
    assert (tiny.cache / CPU_FILE).read_bytes() == before
    assert len(runs.load(tiny.cache / CPU_FILE).tensors) == 2
    assert len(list(tiny.cache.glob("*.part"))) == 1
    assert runs.find(NAME, "cpu") is None
    assert runs.is_fresh(runs.train(NAME, "cpu"))
    names = {p.name for p in tiny.cache.iterdir()}
    assert names - {f"{CPU_FILE}.lock"} == {CPU_FILE}


# the real recipes --------------------------------------------------------------------------------


def blots(count: int, split: str) -> ImageSet:
    """Return a few random 8x8 images in MNIST's format."""
    generator = torch.Generator().manual_seed(len(split))
    images = torch.randint(0, 256, (count, 1, 8, 8), generator=generator).to(torch.uint8)
    labels: Tensor = torch.randint(0, 10, (count,), generator=generator)
    about = Record("blots", "drawn", "none", "none", f"blots-{split}", {split: count}, True)
    return ImageSet(images, labels, about)


@pytest.mark.parametrize("recipe", ["vae/digits", "vae/plane"])
def test_the_recipes_run_through_the_gpu_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recipe: str
) -> None:
    """With a tiny config on the CPU: what comes out can be saved, loaded and restored."""
    sets = {"train": blots(96, "train"), "test": blots(64, "test")}
    monkeypatch.setitem(digits.LOADERS, "mnist", sets.__getitem__)
    module = recipes.load(recipe)
    config = dataclasses.replace(
        module.CPU, hidden=(16, 8), epochs=2, batch_size=16, test_images=64, samples=3, mixed=False
    )
    run = runs.train(recipe, "gpu", seed=1, config=config)
    path = tmp_path / "run.safetensors"
    runs.save(run, path)
    loaded = runs.load(path)
    assert loaded.provenance["profile"] == "gpu"
    assert loaded.provenance["recipe"] == recipe
    assert "litgen.vae.elbo" in loaded.provenance["sources"]
    assert "litgen.runs" not in loaded.provenance["sources"]
    assert {r["split"]: r["checksum"] for r in loaded.data} == {
        "train": "blots-train",
        "test": "blots-test",
    }
    assert loaded.stand_in
    assert "STAND-IN" in loaded.describe()
    assert not runs.is_fresh(loaded)
    x = loaded.tensors["examples.x"].float()
    one, two = module.restore(run).encoder(x)[0], module.restore(loaded).encoder(x)[0]
    assert one.std() > 1e-3
    torch.testing.assert_close(one, two, rtol=0, atol=0)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_has_a_digest_and_plain_configs(name: str) -> None:
    """It needs no data and no training, differs by config and seed, and configs survive JSON."""
    module = recipes.load(name)
    found = {
        runs.expected_digest(name, profile, seed) for profile in ("cpu", "gpu") for seed in (0, 1)
    }
    assert len(found) == (2 if module.CPU == module.GPU else 4)
    for config in (module.CPU, module.GPU):
        plain = dataclasses.asdict(config)
        assert json.loads(json.dumps(plain)).keys() == plain.keys()
        assert all(hasattr(runs._data_module(n), "CHECKSUM") for n in module.data(config))
