"""A training that tests/test_killed.py kills: says when it begins, and where its run is."""

import dataclasses
import sys
from pathlib import Path

from litgen import checkpoints, runs
from litgen.recipes.vae import shapes


def main(folder: Path) -> None:
    """Train a small network for some seconds, writing the state down every tenth of one."""
    checkpoints.EVERY = 0.1
    shapes.CPU = dataclasses.replace(shapes.CPU, hidden=(16,), steps=1_500, batch_size=16)
    print("begins", flush=True)
    runs.train("vae/shapes", "cpu", folder=folder)
    print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
