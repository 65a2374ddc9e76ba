"""Train the dense autoencoder on digits with a code of thirty numbers, as the paper of 2006 did.

Chapter: book/autoencoders/dense.md.  Proof: tests/recipes/test_autoencoders_dense.py.
Reference: Hinton & Salakhutdinov (2006), figure 2.
"""

from litgen.recipes.autoencoders.dense import Config, data, evaluate, models, restore, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "models", "restore", "train"]

CPU = Config(data="mnist", latents=(30,), random=())
GPU = Config(
    data="mnist",
    latents=(30,),
    random=(30,),
    hidden=(400, 200),
    steps=40_000,
    batch_size=512,
    learning_rate=1e-3,
)
