"""Train a small network on noise of every level from 0 to 1, for the page to compute with.

Chapter: book/autoencoders/denoising.md.  Proof: tests/recipes/test_denoising.py.
Reference: Vincent, Larochelle, Bengio & Manzagol, "Extracting and Composing Robust Features with
Denoising Autoencoders" (2008).

The network is not told the level: it has to see it.
"""

from litgen.recipes.autoencoders.denoising import (
    Config,
    data,
    evaluate,
    restore,
    sample,
    train,
)

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = Config(widths=(128,), lowest=0.0, highest=1.0, steps=1_500)
GPU = Config(
    widths=(128, 128), lowest=0.0, highest=1.0, steps=60_000, batch_size=256, test_images=10_000
)
