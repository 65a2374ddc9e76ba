"""A store of earlier samples, so that a critic is not shown the newest ones alone.

Chapter: book/gan/cyclegan.md.  Proof: tests/gan/test_buffer.py.
References: Shrivastava et al., "Learning from Simulated and Unsupervised Images through
Adversarial Training" (2017), section 2.3; Zhu, Park, Isola & Efros, "Unpaired Image-to-Image
Translation using Cycle-Consistent Adversarial Networks" (2017), section 4.
"""

from typing import Any

import torch
from torch import Tensor

from litgen import processes, rows
from litgen.shapes import Float

__all__ = ["ImageBuffer", "age_law"]


class ImageBuffer:
    """Up to ``capacity`` images; each new one is handed on, or changes places with a stored one.

    While the store fills, an image is stored and handed on. Once it is full, a fair coin decides:
    the new image is handed on and forgotten, or it takes a random place and the one that stood
    there is handed on. From then on every image is handed on exactly once, some of them late
    (eq:cycle-buffer).

    Where several processes train together, all of them store the same images: those of the whole
    batch go through the buffer, and each process is handed its own rows.

    Args:
        capacity: images that are stored; 0 hands all images on as they come.
        generator: tosses the coins and draws the places, on the CPU.

    Raises:
        ValueError: a negative capacity.
    """

    def __init__(self, capacity: int, generator: torch.Generator):
        if capacity < 0:
            raise ValueError(f"capacity must not be negative, got {capacity}")
        self.capacity, self.generator = capacity, generator
        self.stored: list[Tensor] = []

    def __call__(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return as many images as came, one after the other. Implements eq:cycle-buffer.

        Raises:
            ValueError: images of another shape than those that are stored.
        """
        if not self.capacity:
            return images.detach()
        if self.stored and images.shape[1:] != self.stored[0].shape:
            shapes = tuple(self.stored[0].shape), tuple(images.shape[1:])
            raise ValueError("the buffer stores images of shape {}, got {}".format(*shapes))
        images = processes.gathered(images.detach())
        with rows.alike():
            coins = torch.rand(len(images), generator=self.generator) < 0.5
            places = torch.randint(self.capacity, (len(images),), generator=self.generator)
        shown = []
        for image, late, place in zip(images, coins.tolist(), places.tolist(), strict=True):
            if len(self.stored) < self.capacity:
                self.stored.append(image.clone())
                shown.append(image)
            elif late:
                shown.append(self.stored[place])
                self.stored[place] = image.clone()
            else:
                shown.append(image)
        return processes.share(torch.stack(shown))

    def state_dict(self) -> dict[str, Any]:
        """Return what is stored, for a checkpoint."""
        return {"stored": list(self.stored), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what another one has stored."""
        self.stored = list(state["stored"])
        self.generator.set_state(state["generator"])


def age_law(capacity: int, ages: int) -> Float[Tensor, " ages"]:
    """Return the probabilities that an image shown is 0, 1, 2, ... images old, in doubles.

    Of a buffer that has been full for ever; the mean is ``capacity``. Implements eq:cycle-age.

    Raises:
        ValueError: a negative capacity, or no ages.
    """
    if capacity < 0 or ages < 1:
        raise ValueError(f"capacity must not be negative and ages positive: {capacity}, {ages}")
    law = torch.zeros(ages, dtype=torch.float64)
    law[0] = 0.5 if capacity else 1.0
    if capacity:
        leaving = 1 / (2 * capacity)
        law[1:] = 0.5 * leaving * (1 - leaving) ** torch.arange(ages - 1, dtype=torch.float64)
    return law
