"""What tests/recipes/test_together.py runs in each of several processes, and once in one alone."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from litgen import processes, runs
from tests.recipes import test_every_recipe as every


def exact(patch: pytest.MonkeyPatch) -> None:
    """Keep weights as they are, and gradients that are zero but for rounding without effect.

    Half precision would turn the last bits into thousandths, and so would Adam, which moves a
    weight by the learning rate however small its gradient is: a bias before batch normalisation.
    """
    begin = torch.optim.Adam.__init__  # AdamW's too

    def blunt(self: torch.optim.Adam, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        for group in self.param_groups:
            group["eps"] = 1e-2

    patch.setattr(torch.optim.Adam, "__init__", blunt)
    patch.setattr(runs, "stored", lambda tensor: tensor.detach().cpu().clone())
    for name, module in list(sys.modules.items()):
        if name.startswith("litgen.recipes.") and hasattr(module, "half_rounded"):
            patch.setattr(module, "half_rounded", lambda model: None)


def trained(name: str) -> dict[str, Any]:
    """Return what a tiny training leaves: its tensors, and its curves."""
    config = every.tiny(name)
    if hasattr(config, "mixed"):
        config = dataclasses.replace(config, mixed=False)
    run = runs.train(name, "gpu", seed=2, config=config)
    tensors: dict[str, Tensor] = {k: v for k, v in run.tensors.items() if k[:8] != "examples"}
    return {"tensors": tensors, "history": run.history}


def main(folder: Path, names: list[str]) -> None:
    """Train the recipes named, in every process, and write down what each found."""
    patch = pytest.MonkeyPatch()
    every.put_few(patch)
    exact(patch)
    with processes.joined():
        found: dict[str, Any] = {}
        for name in names:
            try:
                found[name] = trained(name)
            except ValueError as error:  # alike in all processes
                found[name] = str(error)
        torch.save(found, folder / f"{processes.count()}-{processes.rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
