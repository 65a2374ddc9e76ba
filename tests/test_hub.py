"""Proof for litgen/hub.py: a folder there and back, and the client's own signatures."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from litgen import hub, runs

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def run() -> runs.Run:
    """Return a run of three numbers with everything that a store fills in."""
    record = {"name": "mnist", "title": "MNIST", "split": "train", "checksum": "12"}
    provenance = {
        "recipe": "vae/digits",
        "profile": "gpu",
        "config": {"latent": 3},
        "seed": 4,
        "device": "a GPU",
        "seconds": 61.2,
        "peak_memory_bytes": 5,
        "versions": {"python": "3.11", "torch": "2.15"},
        "commit": "abc",
        "date": "2026-02-03T04:05:06+00:00",
        "sources": {},
        "digest": "0123456789abcdef",
    }
    return runs.Run(
        {"model.weight": torch.tensor([1.0, 2, 3]).half()},
        {"test_nll_nats": 86.51234567, "epochs": 3.0},
        {"loss": [2.0, 1.0]},
        [record | {"source": "a site", "stand_in": False}],
        provenance,
    )


def test_a_folder_there_and_back(run: runs.Run, tmp_path: Path) -> None:
    """What is loaded is what was packed, as from a file of the store's own."""
    folder = hub.pack(run, tmp_path / "deep" / "shared")
    assert sorted(path.name for path in folder.iterdir()) == [hub.CARD, hub.FILE]
    for place in (folder, str(folder)):
        found = hub.load(place)
        assert found.metrics == run.metrics
        assert found.provenance == run.provenance
        assert torch.equal(found.tensors["model.weight"], run.tensors["model.weight"])
    runs.save(run, tmp_path / "own.safetensors")
    assert runs.load(tmp_path / "own.safetensors").history == hub.load(folder).history


def test_a_card_says_what_the_run_is(run: runs.Run) -> None:
    """Metadata that the hub's client reads, and numbers, data and provenance for people."""
    text = hub.card(run)
    about = huggingface_hub.ModelCard(text).data
    assert about.license == "mit"
    assert about.library_name == "litgen"
    assert "vae" in about.tags
    assert yaml.safe_load(text.split("---")[1])["model_name"] == "vae/digits (gpu)"
    for part in (
        "| `test_nll_nats` | 86.5123 |",
        "* MNIST, train, a site",
        "seed 4, 61 s on a GPU, 2026-02-03",
        "python 3.11, torch 2.15",
        "commit abc, digest `0123456789abcdef`",
        'config `{"latent": 3}`',
        'recipes.load("vae/digits")',
    ):
        assert part in text
    assert "stand-in" not in text
    run.data[0]["stand_in"] = True
    assert "**A stand-in replaced the real data" in hub.card(run)


def test_publishing_asks_the_client(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes the repository and puts the folder there, by calls that the client takes."""
    calls: list[dict[str, Any]] = []

    def stand_in(name: str) -> Any:
        takes = inspect.signature(getattr(huggingface_hub.HfApi, name))

        def call(*given: Any, **named: Any) -> str:
            bound = takes.bind(*given, **named).arguments
            seen = {"call": name, **{k: v for k, v in bound.items() if k != "self"}}
            if "folder_path" in seen:
                found = hub.load(seen["folder_path"])
                assert found.provenance == run.provenance
                assert (Path(seen["folder_path"]) / hub.CARD).is_file()
            calls.append(seen)
            return "https://hub/someone/digits"

        return call

    for name in ("create_repo", "upload_folder"):
        monkeypatch.setattr(huggingface_hub.HfApi, name, stand_in(name))
    assert hub.publish(run, "someone/digits", private=True) == "https://hub/someone/digits"
    made, put = calls
    assert (made["call"], made["repo_id"], made["private"]) == (
        "create_repo",
        "someone/digits",
        True,
    )
    assert made["exist_ok"]
    assert (put["call"], put["repo_id"]) == ("upload_folder", "someone/digits")
    assert put["commit_message"] == "vae/digits, digest 0123456789ab"
    assert not Path(put["folder_path"]).exists(), "the scratch folder is gone"


def test_loading_asks_the_client(
    run: runs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is no folder is a repository; a revision is passed on."""
    folder = hub.pack(run, tmp_path / "there")
    takes = inspect.signature(huggingface_hub.hf_hub_download)

    def download(*given: Any, **named: Any) -> str:
        bound = takes.bind(*given, **named).arguments
        assert bound["repo_id"] == "someone/digits"
        assert bound["revision"] == "v1"
        return str(folder / bound["filename"])

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.chdir(tmp_path)
    assert hub.load("someone/digits", revision="v1").metrics == run.metrics


def test_what_cannot_be_shared_is_said(run: runs.Run, tmp_path: Path) -> None:
    """No provenance, no name, no folder, a folder without a run, a file that is none."""
    with pytest.raises(ValueError, match="without provenance"):
        hub.pack(runs.Run({}, {}, {}, []), tmp_path)
    for name in ("digits", "a/b/c", "/b", "a/"):
        with pytest.raises(ValueError, match="owner/name"):
            hub.publish(run, name)
        with pytest.raises(FileNotFoundError, match="no folder, and not the owner/name"):
            hub.load(tmp_path / "x" if name == "a/b/c" else name)
    with pytest.raises(FileNotFoundError, match="no run at"):
        hub.load(tmp_path)
    (tmp_path / hub.FILE).write_bytes(b"nothing")
    with pytest.raises(runs.BadRun):
        hub.load(tmp_path)
