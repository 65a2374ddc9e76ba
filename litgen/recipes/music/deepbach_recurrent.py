"""Train the recurrent networks of DeepBach, half as wide as the paper's so that a run stays small.

Chapter: book/music/deepbach.md.  Proof: tests/recipes/test_music_deepbach.py.
Reference: Hadjeres, Pachet & Nielsen, "DeepBach: a Steerable Model for Bach Chorales Generation"
(2017).

No chapter trains or samples it: its CPU instance shows that it runs, and no more.
"""

import dataclasses

from litgen.recipes.music import deepbach
from litgen.recipes.music.deepbach import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(
    deepbach.CPU, kind="recurrent", offsets=tuple(range(-8, 9)), hidden=32, turns=100
)
GPU = dataclasses.replace(
    deepbach.GPU, kind="recurrent", offsets=tuple(range(-16, 17)), dims=20, hidden=100
)
