"""Train a DCGAN on handwritten digits.

Chapter: book/gan/dcgan.md.  Proof: tests/recipes/test_gan_dcgan.py.
Reference: Radford, Metz & Chintala (2016).
"""

from litgen.recipes.gan.dcgan import CPU, GPU, Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]
