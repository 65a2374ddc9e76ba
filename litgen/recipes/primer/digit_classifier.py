"""Train the book's classifier on handwritten digits.

Chapter: book/primer/convolution.md.  Proof: tests/recipes/test_primer_classifier.py.
Reference: LeCun, Bottou, Bengio & Haffner, "Gradient-Based Learning Applied to Document
Recognition" (1998).
"""

import dataclasses

from litgen.recipes.primer import classifier
from litgen.recipes.primer.classifier import Config, data, evaluate, restore, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "train"]

CPU = dataclasses.replace(classifier.CPU, data="mnist", epochs=1)
GPU = dataclasses.replace(classifier.GPU, data="mnist", flip=False)
