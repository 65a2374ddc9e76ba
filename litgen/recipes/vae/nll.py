"""Train a VAE with 50 latents for the test likelihood of binarised digits.

Chapter: book/vae/convolutional.md.  Proof: tests/recipes/test_vae_evolution.py.
Reference: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders" (2016), table 1, whose
protocol this is: one stochastic layer of 50 units, pixels drawn anew from Bernoulli(grey value)
each time an image is seen, 5,000 importance samples. The test images are binarised once. The full
config has a residual convolutional network, the reduced one a dense network and one epoch.
"""

from litgen.recipes.vae.digits import Config, data, evaluate, restore, sample, train

__all__ = ["CPU", "GPU", "Config", "data", "evaluate", "restore", "sample", "train"]

CPU = Config(
    network="dense",
    hidden=(400,),
    latent=50,
    epochs=1,
    batch_size=128,
    learning_rate=5e-3,
    test_images=250,
    samples=100,
)
GPU = Config(
    network="residual",
    hidden=(32, 3),
    latent=50,
    epochs=120,
    batch_size=250,
    learning_rate=1e-3,
    test_images=10_000,
    samples=5_000,
)
