"""Train the DCGAN of gan/dcgan on drawn faces in colour, whose attributes are known.

Chapter: book/gan/faces.md.  Proof: tests/recipes/test_gan_dcgan.py.
Reference: Radford, Metz & Chintala (2016), section 6.3.2.
"""

import dataclasses

from litgen.recipes.gan import dcgan
from litgen.recipes.gan.dcgan import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = dataclasses.replace(
    dcgan.CPU,
    data="drawn_faces",
    channels=3,
    side=32,
    turns=600,
    batch_size=20,
    learning_rate=6e-3,
)
GPU = dataclasses.replace(dcgan.GPU, data="drawn_faces", channels=3, side=32, widths=(192, 128))
