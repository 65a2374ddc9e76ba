"""Runs on a model hub: a folder of weights and a card, put there and fetched by the hub's client.

Chapter: book/contributing.md.  Proof: tests/test_hub.py.

The client is `huggingface_hub`, which holds the address, the user's token and a cache of its own.
A run on a hub is the run's own file, unchanged, with a card beside it that is written from its
provenance: whoever loads it gets what the book shows, and nothing in it is code.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from litgen import runs

__all__ = ["CARD", "FILE", "card", "load", "pack", "publish"]

FILE = "run.safetensors"
CARD = "README.md"


def card(run: runs.Run) -> str:
    """Return a model card: metadata for the hub, then what the run is, in Markdown."""
    from huggingface_hub import ModelCardData

    p = run.provenance
    about = ModelCardData(
        license="mit",
        library_name="litgen",
        tags=["litgen", p["recipe"].split("/")[0], "pytorch"],
        model_name=f"{p['recipe']} ({p['profile']})",
    )
    measured = "\n".join(f"| `{name}` | {value:.6g} |" for name, value in run.metrics.items())
    data = "\n".join(f"* {_of_data(record)}" for record in run.data) or "* none"
    versions = ", ".join(f"{name} {version}" for name, version in p["versions"].items())
    stand_in = "\n**A stand-in replaced the real data of this run.**\n" if run.stand_in else ""
    return f"""---
{about.to_yaml()}
---

# {p["recipe"]}

{run.describe()}.
{stand_in}
A run of the recipe `litgen/recipes/{p["recipe"]}.py`: weights in half precision, some test
examples, curves, metrics and provenance in one safetensors file.

```
from litgen import hub, recipes

run = hub.load("FOLDER OR NAME OF THIS REPOSITORY")
model = recipes.load("{p["recipe"]}").restore(run)
```

## Measured

| Metric | Value |
|---|---|
{measured}

## Data

{data}

## Provenance

* seed {p["seed"]}, {p["seconds"]:.0f} s on {p["device"]}, {p["date"]}
* {versions}
* commit {p.get("commit") or "unknown"}, digest `{p["digest"]}`
* config `{json.dumps(p["config"])}`
"""


def _of_data(record: dict[str, Any]) -> str:
    """Return title, split, source and licence of a data set."""
    parts = [str(record.get("title", record["name"])), str(record["split"])]
    parts += [str(record[key]) for key in ("source", "licence", "license") if record.get(key)]
    return ", ".join(parts)


def pack(run: runs.Run, folder: Path) -> Path:
    """Write a run and its card into a folder, made if it is not there; return it.

    Raises:
        ValueError: the run lacks its provenance, or would be larger than a run may be.
    """
    if not run.provenance:
        raise ValueError("a run without provenance is not shared: train it through the store")
    folder.mkdir(parents=True, exist_ok=True)
    runs.save(run, folder / FILE)
    (folder / CARD).write_text(card(run), "utf8")
    return folder


def publish(run: runs.Run, name: str, private: bool = False) -> str:
    """Put a run and its card onto the hub, with the user's token; return its address.

    Args:
        run: complete, with its provenance.
        name: of the repository, ``owner/name``; made if it is not there.
        private: whether others may see a repository that is made now.

    Raises:
        ValueError: the name is none, or the run lacks its provenance.
    """
    from huggingface_hub import HfApi

    if name.count("/") != 1 or not all(name.split("/")):
        raise ValueError(f"a repository of a hub is named owner/name, got {name!r}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pack(run, Path(scratch) / "run")
        client = HfApi(library_name="litgen")
        client.create_repo(name, private=private, exist_ok=True)
        said = f"{run.provenance['recipe']}, digest {run.provenance['digest'][:12]}"
        done = client.upload_folder(repo_id=name, folder_path=folder, commit_message=said)
    return str(done)


def load(place: str | Path, revision: str | None = None) -> runs.Run:
    """Return the run in a folder, or the one in a repository of the hub.

    Args:
        place: a folder that `pack` wrote, or ``owner/name`` on the hub.
        revision: branch, tag or commit of the repository; the newest unless given.

    Raises:
        FileNotFoundError: no such folder, and no name of a repository; or the folder has no run.
        BadRun: the file is cut short, holds a pickle, or is no run.
    """
    folder = Path(place)
    if folder.is_dir():
        return runs.load(folder / FILE)
    name = str(place)
    if name.count("/") != 1 or not all(name.split("/")):
        raise FileNotFoundError(f"{name} is no folder, and not the owner/name of a repository")
    from huggingface_hub import hf_hub_download

    return runs.load(Path(hf_hub_download(name, FILE, revision=revision)))
