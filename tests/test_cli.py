"""Proof for litgen/cli.py: in this process on a tiny recipe, and a few times as users call it."""

import dataclasses
import io
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from litgen import plotting, processes, profiles, recipes, runs
from litgen.cli import main
from litgen.data.sources import ImageSet, Record
from litgen.recipes.vae import digits

ROOT = Path(__file__).parents[1]
TINY = digits.Config(
    hidden=(12,), latent=3, epochs=1, batch_size=16, test_images=48, samples=2, mixed=False
)
FULL = dataclasses.replace(TINY, latent=4)


def blots(split: str) -> ImageSet:
    """Return a few random 8x8 images in MNIST's format."""
    count = {"train": 64, "test": 48}[split]
    generator = torch.Generator().manual_seed(len(split))
    images = torch.randint(0, 256, (count, 1, 8, 8), generator=generator).to(torch.uint8)
    labels: Tensor = torch.randint(0, 10, (count,), generator=generator)
    about = Record("blots", "drawn", "none", "none", f"blots-{split}", {split: count}, False)
    return ImageSet(images, labels, about)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Make the digits tiny, keep published runs apart, and stand in an empty folder."""
    before = torch.get_float32_matmul_precision()
    known = {split: f"blots-{split}" for split in ("train", "test")}
    monkeypatch.setitem(digits.LOADERS, "mnist", blots)
    monkeypatch.setattr(runs, "_data_module", {"mnist": SimpleNamespace(CHECKSUM=known)}.get)
    monkeypatch.setattr(digits, "CPU", TINY)
    monkeypatch.setattr(digits, "GPU", FULL)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("LITGEN_RUNS", str(tmp_path / "published"))
    monkeypatch.setattr(digits, "tqdm", lambda steps, **_: steps)  # no bar on stderr
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    torch.set_float32_matmul_precision(before)


def files(folder: Path) -> dict[str, bytes]:
    """Return everything below a folder, the empty lock files left out."""
    found = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


Said = Callable[..., str]


@pytest.fixture
def ok(capsys: pytest.CaptureFixture[str]) -> Said:
    """Return a call of the command line that must succeed and gives what it printed."""

    def call(*arguments: str) -> str:
        capsys.readouterr()
        status = main(arguments)
        out, errors = capsys.readouterr()
        assert (status, errors) == (0, "")
        return out

    return call


@pytest.fixture
def bad(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Said:
    """Return a call that must fail: status 2, one line on stderr, no new or changed file."""

    def call(*arguments: str) -> str:
        before = files(tmp_path)
        capsys.readouterr()
        assert main(arguments) == 2
        out, errors = capsys.readouterr()
        assert errors.startswith("litgen: ")
        assert errors.count("\n") == 1
        assert errors.endswith("\n")
        assert "Traceback" not in errors
        assert "wrote" not in out
        assert files(tmp_path) == before
        return errors

    return call


# list, data --------------------------------------------------------------------------------------


def test_list_names_every_recipe(ok: Said) -> None:
    """With its first line."""
    lines = ok("list").splitlines()
    assert [line.split()[0] for line in lines] == recipes.names()
    assert "vae/digits" in recipes.names()
    for line in lines:
        name, text = line.split(maxsplit=1)
        assert (recipes.load(name).__doc__ or "").startswith(text)


def test_data_names_size_and_source(ok: Said) -> None:
    """One line a split; a stand-in is labelled, and only there when it is asked for."""
    lines = ok("data", "digits").splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["digits", "train", "1,438"],
        ["digits", "test", "359"],
    ]
    assert "1x8x8  scikit-learn's wheel" in lines[0]
    assert "STAND-IN" not in "".join(lines)
    said = ok("data", "mnist", "digits", "--stand-in")
    shown = [line for line in said.splitlines() if line.startswith("mnist")]
    assert len(shown) == 2
    assert all("1x28x28" in line and line.endswith("(STAND-IN)") for line in shown)


def test_data_that_cannot_be_had(
    bad: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No network and no data: what was tried and what helps; never a silent stand-in."""
    for arguments in (("mnist",), ("fashion_mnist",), ("digits", "mnist"), ()):
        said = bad("data", *arguments)
        assert "LITGEN_OFFLINE forbids" in said
        assert "LITGEN_DATA" in said
    (tmp_path / "file").touch()
    monkeypatch.setenv("LITGEN_DATA", str(tmp_path / "file"))
    assert "is not a folder" in bad("data", "mnist")


def test_an_unknown_data_set(bad: Said) -> None:
    """The message lists those that exist; the others are not fetched first."""
    for name in ("cifar", "sources", "../mnist", "MNIST", ""):
        said = bad("data", "digits", name)
        assert f"unknown data set {name!r}" in said
        listed = said.split("there are: ")[1].split(", ")
        assert listed == sorted(listed)
        assert {"animals", "brain", "emoji", "furniture", "heads", "spikes"} <= set(listed)


# train -------------------------------------------------------------------------------------------


def test_train_keeps_the_run_in_the_cache(ok: Said, tmp_path: Path) -> None:
    """It says profile, data, device and metrics, and does not train twice."""
    first = ok("train", "vae/digits")
    assert first.startswith("vae/digits: CPU profile, blots; ")
    metrics = json.loads(first.splitlines()[-1])
    run = runs.load(tmp_path / "cache" / "runs" / "vae-digits-cpu.safetensors")
    assert run.metrics == metrics
    assert run.provenance["config"]["latent"] == 3
    before = files(tmp_path)
    assert ok("train", "vae/digits") == first
    assert files(tmp_path) == before
    assert list(Path.cwd().iterdir()) == []


def test_train_takes_seed_and_folder(ok: Said, tmp_path: Path) -> None:
    """Another seed is another run, beside the first one."""
    ok("train", "vae/digits", "--seed", "2", "--out", "out/deep")
    assert set(files(tmp_path)) == {"here/out/deep/vae-digits-cpu-seed2.safetensors"}
    run = runs.load(Path("out/deep/vae-digits-cpu-seed2.safetensors"))
    assert run.provenance["seed"] == 2


def test_train_on_a_gpu_goes_into_the_book(
    ok: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or where --out says; the machine's GPU is played by its CPU here."""
    monkeypatch.setattr(profiles, "device_for", lambda profile: torch.device("cpu"))
    assert ok("train", "vae/digits", "--profile", "gpu").startswith("vae/digits: GPU profile")
    ok("train", "vae/digits", "--profile", "gpu", "--out", "out")
    assert set(files(tmp_path)) == {
        "published/vae-digits-gpu.safetensors",
        "here/out/vae-digits-gpu.safetensors",
    }
    run = runs.load(tmp_path / "published" / "vae-digits-gpu.safetensors")
    assert run.provenance["config"]["latent"] == 4


def test_train_all_says_one_line_a_recipe(
    ok: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Name, run and headline; a second call trains nothing and says the same."""
    monkeypatch.setattr(recipes, "by_value", lambda: ["vae/digits"])
    said = ok("train", "--all", "--budget", "5m")
    assert re.fullmatch(r"vae/digits: CPU profile, blots; .*; test_nll_nats \d+\.?\d*\n", said)
    monkeypatch.setattr(digits, "train", None)
    assert ok("train", "--all") == said
    assert not list((tmp_path / "cache" / "unfinished").glob("*"))


def test_train_all_goes_on_after_one_that_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are trained; the failed ones are named at the end, with status 2."""
    monkeypatch.setattr(recipes, "by_value", lambda: ["vae/plane", "vae/digits"])

    def fail(*_: object) -> None:
        raise RuntimeError("no luck\nat all")

    monkeypatch.setattr(recipes.load("vae/plane"), "train", fail)
    assert main(["train", "--all"]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("vae/digits: CPU profile, ")
    assert said.err.splitlines() == [
        "vae/plane: no luck at all",
        "litgen: 1 of 2 failed: vae/plane",
    ]


def test_train_all_where_the_gpus_memory_is_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, with what was asked for and what there is; the next recipe is trained."""
    monkeypatch.setattr(profiles, "device_for", lambda profile: torch.device("cpu"))
    monkeypatch.setattr(recipes, "by_value", lambda: ["vae/plane", "vae/digits"])

    def short(*_: object) -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of "
            "15.77 GiB of which 3.00 GiB is free. Of the allocated memory 12 GiB is allocated by "
            "PyTorch.\nSee documentation for Memory Management"
        )

    monkeypatch.setattr(recipes.load("vae/plane"), "train", short)
    assert main(["train", "--all", "--profile", "gpu", "--budget", "9m"]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("vae/digits: GPU profile, ")
    assert said.err.splitlines() == [
        "vae/plane: memory is short: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a "
        "total capacity of 15.77 GiB of which 3.00 GiB is free",
        "litgen: 1 of 2 failed: vae/plane",
    ]


def test_one_of_several_processes_does_not_go_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait in the training that failed here; the starter ends them all."""
    tried = []

    def fail(name: str, *_: object, **__: object) -> None:
        tried.append(name)
        raise MemoryError

    monkeypatch.setattr(recipes, "by_value", lambda: ["vae/plane", "vae/digits"])
    monkeypatch.setattr(runs, "train", fail)
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "rank", lambda: 0)
    assert main(["train", "--all"]) == 2
    assert tried == ["vae/plane"]


def test_train_within_a_budget(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Status 3 as long as it is not done; every call goes on; the run is the unbroken one's."""
    for calls in range(1, 20):
        status = main(["train", "vae/digits", "--budget", "0.000001s", "--out", "broken"])
        said = capsys.readouterr()
        if status == 0:
            break
        assert status == 3
        assert f"vae/digits: out of time at turn {calls}; the next call goes on" in said.err
        assert "(0 of 1 done)" in said.err
        assert len(list((tmp_path / "cache" / "unfinished").iterdir())) == 1
        assert not list(Path("broken").glob("*.safetensors"))
    assert calls == 64 // 16
    assert not list((tmp_path / "cache" / "unfinished").iterdir())
    main(["train", "vae/digits", "--out", "whole"])
    broken, whole = (
        runs.load(Path(f) / "vae-digits-cpu.safetensors") for f in ("broken", "whole")
    )
    torch.testing.assert_close(broken.tensors, whole.tensors, rtol=0, atol=0)
    assert (broken.metrics, broken.history) == (whole.metrics, whole.history)
    assert (broken.provenance["resumed"], whole.provenance["resumed"]) == (calls - 1, 0)


@pytest.mark.parametrize("text", ["", "9", "m", "-1s", "0s", "nans", "infh", "9 minutes"])
def test_a_budget_that_is_no_time(bad: Said, text: str) -> None:
    """Refused before anything is trained."""
    assert "--budget must be a time" in bad("train", "vae/digits", f"--budget={text}")


def test_train_needs_a_recipe_or_all(bad: Said) -> None:
    """One of both, not both."""
    assert "name one recipe, or say --all" in bad("train")
    assert "name one recipe, or say --all" in bad("train", "vae/digits", "--all")


def test_what_is_worth_most_is_trained_first() -> None:
    """All recipes, each once; those first that are named first."""
    order = recipes.by_value()
    assert sorted(order) == recipes.names()
    assert tuple(order[: len(recipes.FIRST)]) == recipes.FIRST


def test_train_into_no_folder(bad: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file where the folder should be, or a folder that may not be written."""
    Path("file").write_text("mine")
    assert "file" in bad("train", "vae/digits", "--out", "file")
    assert "file" in bad("train", "vae/digits", "--out", "file/deeper")
    Path("folder/vae-digits-cpu.safetensors").mkdir(parents=True)
    bad("train", "vae/digits", "--out", "folder")

    def refuse(self: Path, *arguments: Any, **keywords: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(digits, "train", None)  # nothing is trained before that is known
    assert "Permission denied" in bad("train", "vae/digits", "--out", "locked")


def test_a_full_disk_leaves_nothing_half_written(
    bad: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither half a run nor half a picture."""

    def full_disk(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    assert "No space left" in bad("train", "vae/digits")


def test_interrupting_is_no_error_of_litgen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, the shell's status for it, no traceback."""

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(digits, "train", interrupt)
    assert main(["train", "vae/digits"]) == 130
    assert capsys.readouterr().err == "litgen: interrupted\n"


# sample, evaluate --------------------------------------------------------------------------------


def drawn(run: runs.Run, count: int, seed: int) -> Tensor:
    """Return what the recipe draws."""
    return digits.sample(run, count, torch.Generator().manual_seed(seed))


def test_samples_as_numbers_and_as_a_picture(ok: Said, tmp_path: Path) -> None:
    """The .npy holds the recipe's samples, the .png the same in grey; files are replaced."""
    ok("train", "vae/digits")
    run = runs.find("vae/digits", "cpu")
    assert run is not None
    assert ok("sample", "vae/digits", "--count", "5", "--seed", "3", "--out", "a.npy") == (
        "wrote 5 samples to a.npy\n"
    )
    found = np.load("a.npy")
    assert found.shape == (5, 1, 8, 8)
    torch.testing.assert_close(torch.from_numpy(found), drawn(run, 5, 3), rtol=0, atol=0)
    assert found.std() > 1e-3
    Path("samples.png").write_text("an old file")
    assert ok("sample", "vae/digits") == "wrote 64 samples to samples.png\n"
    with Image.open("samples.png") as image:
        pixels = np.asarray(image).astype(float)
    assert pixels.shape == (8 * 9 - 1, 8 * 9 - 1)
    expected = plotting.tiled(drawn(run, 64, 0), columns=8) * 255
    assert np.abs(pixels - expected).max() <= 0.5
    assert sorted(p.name for p in Path.cwd().iterdir()) == ["a.npy", "samples.png"]


def test_evaluate_measures_anew(ok: Said) -> None:
    """The stored weights give the stored metrics."""
    ok("train", "vae/digits")
    said = json.loads(ok("evaluate", "vae/digits"))
    run = runs.find("vae/digits", "cpu")
    assert run is not None
    assert said == pytest.approx(run.metrics, rel=1e-6)


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_a_run_that_is_not_there(bad: Said, ok: Said, command: str) -> None:
    """The message says how to make it; a stale run is no run, a profile no other profile."""
    said = bad(command, "vae/digits")
    assert "no fresh cpu run of vae/digits" in said
    assert "python -m litgen train vae/digits --profile cpu makes one" in said
    ok("train", "vae/digits")
    assert "no fresh gpu run" in bad(command, "vae/digits", "--profile", "gpu")
    digits.CPU = dataclasses.replace(TINY, latent=5)
    assert "no fresh cpu run" in bad(command, "vae/digits")


@pytest.mark.parametrize("out", ["a.jpg", "a", "a.png.txt", ".png", "a.PNG"])
def test_samples_in_no_known_format(bad: Said, ok: Said, out: str) -> None:
    """The message names the two."""
    ok("train", "vae/digits")
    said = bad("sample", "vae/digits", "--out", out)
    assert "--out must end in .png or .npy" in said
    assert repr(out) in said


def test_a_classifier_has_nothing_to_sample(bad: Said) -> None:
    """Said before anything is trained."""
    assert "primer/classifier makes no images" in bad("sample", "primer/classifier")


def test_points_are_no_picture(
    bad: Said, ok: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe that draws points of the plane says so, and writes nothing."""
    ok("train", "vae/digits", "--profile", "cpu")
    monkeypatch.setattr(digits, "sample", lambda run, count, generator: torch.zeros(count, 2))
    out = tmp_path / "points.png"
    line = bad("sample", "vae/digits", "--out", str(out))
    assert "vae/digits draws no images: let --out end in .npy" in line
    assert not out.exists()


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_samples(bad: Said, ok: Said, count: str) -> None:
    """Zero is no count."""
    ok("train", "vae/digits")
    assert f"--count must be positive, got {count}" in bad(
        "sample", "vae/digits", "--count", count
    )


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_samples_that_cannot_be_written(
    bad: Said, ok: Said, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """No folder, a folder of that name, a full disk: an old file stays as it was."""
    ok("train", "vae/digits")
    bad("sample", "vae/digits", "--out", f"missing/a{suffix}")
    Path(f"folder{suffix}").mkdir()
    bad("sample", "vae/digits", "--out", f"folder{suffix}")
    Path("file").touch()
    bad("sample", "vae/digits", "--out", f"file/a{suffix}")
    Path(f"a{suffix}").write_text("mine")

    def full_disk(*arguments: Any, **keywords: Any) -> None:
        arguments[0].write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    monkeypatch.setattr(plotting, "save_grid", lambda images, file: full_disk(file))
    assert "No space left" in bad("sample", "vae/digits", "--out", f"a{suffix}")


# --run -------------------------------------------------------------------------------------------


def test_a_given_run_is_used(ok: Said) -> None:
    """Instead of the store's, of another seed, and though the recipe has moved on."""
    ok("train", "vae/digits")
    ok("train", "vae/digits", "--seed", "1", "--out", ".")
    file = "vae-digits-cpu-seed1.safetensors"
    digits.CPU = dataclasses.replace(TINY, epochs=2)
    ok("sample", "vae/digits", "--run", file, "--count", "3", "--out", "a.npy")
    run = runs.load(Path(file))
    torch.testing.assert_close(torch.from_numpy(np.load("a.npy")), drawn(run, 3, 0))
    said = json.loads(ok("evaluate", "vae/digits", "--run", file))
    assert said == pytest.approx(run.metrics, rel=1e-6)


class Trap:
    """Unpickling this creates a file."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("trapped"),)


def other_runs(good: bytes) -> dict[str, tuple[bytes, str]]:
    """Return files that --run must refuse, with what is said of them."""
    packed = io.BytesIO()
    torch.save({"model": Trap()}, packed)
    damaged = "is no run or is damaged"
    return {
        "cut short": (good[:-5], damaged),
        "cut in its header": (good[:60], damaged),
        "empty": (b"", damaged),
        "pickled": (pickle.dumps(Trap()), damaged),
        "pickled by torch": (packed.getvalue(), damaged),
        "no run": (b"Dear diary,", damaged),
    }


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_a_given_file_that_is_no_run(bad: Said, ok: Said, command: str) -> None:
    """One line that names the file; nothing is unpickled, nothing is written."""
    ok("train", "vae/digits", "--out", ".")
    good = Path("vae-digits-cpu.safetensors").read_bytes()
    for content, expected in other_runs(good).values():
        Path("given.safetensors").write_bytes(content)
        said = bad(command, "vae/digits", "--run", "given.safetensors")
        assert f"given.safetensors {expected}" in said
    assert "no run at missing" in bad(command, "vae/digits", "--run", "missing")
    assert "no run at ." in bad(command, "vae/digits", "--run", ".")
    assert not Path("trapped").exists()


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_a_given_run_that_does_not_fit(
    bad: Said, ok: Said, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another recipe, of another network, of a config with a field that is gone."""
    ok("train", "vae/digits", "--out", ".")
    file = Path("vae-digits-cpu.safetensors")
    said = bad(command, "vae/plane", "--run", str(file))
    assert f"{file} is a run of vae/digits, not of vae/plane" in said
    run = runs.load(file)
    changes: dict[str, Callable[[runs.Run], object]] = {
        "weights": lambda run: run.tensors.pop("examples.x"),
        "shapes": lambda run: run.provenance["config"].update(latent=9),
        "field": lambda run: run.provenance["config"].update(dropout=0.5),
        "network": lambda run: run.provenance["config"].update(network="quantum"),
        "no field": lambda run: run.provenance["config"].pop("hidden"),
    }
    for change in changes.values():
        run = runs.load(file)
        change(run)
        runs.save(run, Path("given"))
        said = bad(command, "vae/digits", "--run", "given")
        assert "given does not fit today's vae/digits" in said


def test_a_given_run_needs_a_known_profile_all_the_same(bad: Said, ok: Said) -> None:
    """And evaluating on a GPU needs one."""
    ok("train", "vae/digits", "--out", ".")
    file = "vae-digits-cpu.safetensors"
    assert "unknown profile" in bad("sample", "vae/digits", "--profile", "x", "--run", file)
    said = bad("evaluate", "vae/digits", "--profile", "gpu", "--run", file)
    assert "needs a GPU" in said


# what no command knows ---------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "sample", "evaluate"])
def test_an_unknown_recipe_or_profile(bad: Said, command: str) -> None:
    """The message lists what there is."""
    for name in ("vae/nothing", "digits", "vae", "../vae/digits", "vae.digits", ""):
        said = bad(command, name)
        assert f"unknown recipe {name!r}" in said
        assert "vae/digits" in said
    for profile in ("tpu", "auto", "CPU", ""):
        said = bad(command, "vae/digits", "--profile", profile)
        assert f"unknown profile {profile!r}; there are: cpu, gpu" in said


def test_training_on_a_gpu_that_is_not_there(bad: Said) -> None:
    """Clear, and nothing is trained on the CPU instead; no folder is made."""
    assert "needs a GPU" in bad("train", "vae/digits", "--profile", "gpu")
    assert not runs.published_folder().exists()


@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["sample"], ["sample", "vae/digits", "--count", "many"]]
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Argparse's own message and status."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


# runs --------------------------------------------------------------------------------------------


def test_runs_as_json(ok: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of dictionaries: recipe, and fresh, stale or missing for each profile."""
    rows = json.loads(ok("runs", "--json"))
    assert [row["recipe"] for row in rows] == recipes.names()
    assert all(row["cpu"] == row["gpu"] == "missing" for row in rows)
    ok("train", "vae/digits")
    monkeypatch.setattr(profiles, "device_for", lambda profile: torch.device("cpu"))
    ok("train", "vae/digits", "--profile", "gpu")
    (row,) = [r for r in json.loads(ok("runs", "--json")) if r["recipe"] == "vae/digits"]
    assert (row["cpu"], row["gpu"]) == ("fresh", "fresh")
    monkeypatch.setattr(digits, "GPU", dataclasses.replace(FULL, latent=5))
    (row,) = [r for r in json.loads(ok("runs", "--json")) if r["recipe"] == "vae/digits"]
    assert (row["cpu"], row["gpu"]) == ("fresh", "stale")
    assert set(row) >= {"recipe", "cpu", "gpu"}


def test_a_release_with_a_stale_run(ok: Said, bad: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """`runs --check` fails where a published run is stale, not where one is missing."""
    ok("runs", "--check")
    monkeypatch.setattr(profiles, "device_for", lambda _: torch.device("cpu"))
    ok("train", "vae/digits", "--profile", "gpu", "--out", os.environ["LITGEN_RUNS"])
    ok("runs", "--check")
    monkeypatch.setattr(digits, "GPU", dataclasses.replace(FULL, epochs=2))
    assert "stale, train again or remove: vae/digits" in bad("runs", "--check")
    assert "gpu: " in ok("runs")


def test_runs_for_people(ok: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a recipe, one a run, with what changed where it is stale."""
    ok("train", "vae/digits")
    said = ok("runs").splitlines()
    line = next(line for line in said if line.startswith("vae/digits"))
    assert line.split() == ["vae/digits", "cpu", "fresh", "gpu", "missing"]
    below = said[said.index(line) + 1]
    assert below.startswith("    cpu: ")
    assert "test_nll_nats" in below
    assert "changed" not in below
    monkeypatch.setattr(digits, "CPU", dataclasses.replace(TINY, latent=5))
    said = ok("runs").splitlines()
    assert any("stale" in line for line in said)
    assert any(line.endswith("changed: config") for line in said)


@pytest.mark.parametrize(
    ("peak", "said"),
    [(16 * 10**9, ", peak 16.0 GB"), (161 * 10**8, ", peak 16.1 GB (ABOVE 16 GB)"), (0, "")],
)
def test_runs_say_how_much_memory_a_training_took(
    ok: Said, monkeypatch: pytest.MonkeyPatch, peak: int, said: str
) -> None:
    """And flag what small GPUs cannot train; unknown is not said."""
    monkeypatch.setattr(runs, "_peak_memory", lambda device: peak)
    ok("train", "vae/digits")
    (line,) = [line for line in ok("runs").splitlines() if line.startswith("    cpu: ")]
    assert line.endswith(" MiB" + said)
    (row,) = [r for r in json.loads(ok("runs", "--json")) if r["recipe"] == "vae/digits"]
    assert row["details"]["cpu"]["peak_memory_bytes"] == peak


# as users call it --------------------------------------------------------------------------------


def shell(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m litgen``."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "litgen", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
    )


def test_the_module_can_be_run(tmp_path: Path) -> None:
    """Status 0 and what there is; status 2 and one line; nothing is left behind."""
    done = shell("runs", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["recipe"] for row in json.loads(done.stdout)] == recipes.names()
    assert {row["cpu"] for row in json.loads(done.stdout)} == {"missing"}
    done = shell("data", "mnist")  # for the first time there, logging is set up for real
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("litgen: MNIST train is not at hand: ")
    assert done.stderr.count("\n") == 1
    assert files(tmp_path) == {}


# share -------------------------------------------------------------------------------------------


def test_share_writes_a_folder_that_others_read(ok: Said, bad: Said, tmp_path: Path) -> None:
    """The run and its card; `evaluate --run` takes the folder; one of two places must be named."""
    pytest.importorskip("huggingface_hub")
    ok("train", "vae/digits")
    assert "out/digits" in ok("share", "vae/digits", "--folder", "out/digits")
    assert "# vae/digits" in Path("out/digits/README.md").read_text("utf8")
    measured = json.loads(ok("evaluate", "vae/digits", "--run", "out/digits"))
    assert measured == json.loads(ok("evaluate", "vae/digits"))
    assert "owner/name" in bad("share", "vae/digits", "--hub", "digits")
    assert "no fresh cpu run of vae/moons" in bad("share", "vae/moons", "--folder", "x")
    with pytest.raises(SystemExit):
        bad("share", "vae/digits")


# several processes -------------------------------------------------------------------------------


def test_only_the_first_process_speaks(ok: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others do the same work in silence."""
    assert ok("list")
    monkeypatch.setattr(processes, "rank", lambda: 1)
    assert ok("list") == ""


def test_a_job_array_trains_one_recipe_a_task(tmp_path: Path) -> None:
    """The scheduler's script, with its number given and `python` watched."""
    watched = tmp_path / "python"
    watched.write_text(
        "#!/bin/bash\n"
        f'if [ "$3" = list ]; then exec {sys.executable} "$@"; fi\n'
        f'echo "$@" >> {tmp_path}/asked\n'
    )
    watched.chmod(0o755)
    script = Path(__file__).parents[1] / "cluster" / "train.sbatch"
    names = recipes.names()
    for task in (1, len(names)):
        env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        env["SLURM_ARRAY_TASK_ID"] = str(task)
        subprocess.run(["bash", str(script)], env=env, check=True, cwd=script.parents[1])
    asked = (tmp_path / "asked").read_text("utf8").splitlines()
    assert asked == [f"-m litgen train {name} --profile gpu" for name in (names[0], names[-1])]
