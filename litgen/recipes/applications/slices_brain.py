"""The same with slices of one real head: no augmentation, bent, made, both, at one size.

Chapter: book/applications/medical.md.  Proof: tests/recipes/test_applications_slices.py.

The head is an average of many, and there is one: what is learned from two slabs of it is tested
on the slab between them. That says nothing of other heads.
"""

import dataclasses

from litgen.recipes.applications import slices
from litgen.recipes.applications.slices import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(slices.CPU, name="brain", sizes=(8,), extras=False, turns=60)
GPU = dataclasses.replace(slices.GPU, name="brain", sizes=(8,), extras=False)
