"""Train the same RealNVP on pictures of clothes.

Chapter: book/flows/realnvp.md.  Proof: tests/recipes/test_flows_digits.py.
Reference: Xiao, Rasul & Vollgraf, "Fashion-MNIST" (2017); Dinh, Sohl-Dickstein & Bengio (2017).
"""

import dataclasses

from litgen.recipes.flows import digits
from litgen.recipes.flows.digits import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(digits.CPU, data="fashion_mnist")
GPU = dataclasses.replace(digits.GPU, data="fashion_mnist")
