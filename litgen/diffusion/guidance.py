"""Guidance: push the reverse process towards a class, by a classifier or without one.

Chapter: book/diffusion/guidance.md.  Proof: tests/diffusion/test_guidance.py.
References: Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis" (2021), section 4;
Ho & Salimans, "Classifier-Free Diffusion Guidance" (2022).

Notation: ``scale`` 0 ignores the class, 1 is the conditional model, more than 1 exaggerates it.
(Ho & Salimans' w is scale - 1.)
"""

from collections.abc import Callable

import torch
from torch import Tensor

from litgen.diffusion.ddpm import Model
from litgen.diffusion.schedule import Schedule
from litgen.shapes import Float, Int

__all__ = ["classifier_free", "classifier_guided", "drop_labels", "guided_model"]

LogProb = Callable[[Tensor, Tensor], Tensor]


def classifier_guided(
    noise: Float[Tensor, "batch *dims"],
    x_t: Float[Tensor, "batch *dims"],
    t: Int[Tensor, " batch"],
    schedule: Schedule,
    class_log_prob: LogProb,
    scale: float,
) -> Float[Tensor, "batch *dims"]:
    """Return the noise that guided sampling sees. Implements eq:guidance-classifier.

    Args:
        noise: the unconditional model's prediction.
        x_t: the noisy batch.
        t: times in 1..T.
        schedule: the one that the model was trained with.
        class_log_prob: log p(y | x_t) of the wanted class, one number per example; it must have
            been trained on noisy data.
        scale: of the gradient.
    """
    with torch.enable_grad():
        place = x_t.detach().requires_grad_()
        gradient = torch.autograd.grad(class_log_prob(place, t).sum(), place)[0]
    return noise - scale * (1 - schedule.at(t, x_t)).sqrt() * gradient


def classifier_free(
    unconditional: Float[Tensor, "batch *dims"],
    conditional: Float[Tensor, "batch *dims"],
    scale: float,
) -> Float[Tensor, "batch *dims"]:
    """Return unconditional + scale (conditional - unconditional). Implements eq:guidance-free."""
    return torch.lerp(unconditional, conditional, scale)


def drop_labels(
    labels: Int[Tensor, " batch"],
    uniform: Float[Tensor, " batch"],
    probability: float,
    classes: int,
) -> Int[Tensor, " batch"]:
    """Replace labels by ``classes``, which means "no class", where uniform < probability.

    Raises:
        ValueError: a label outside 0..classes-1, or a probability outside [0, 1].
    """
    _check_labels(labels, classes)
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must lie in [0, 1], got {probability}")
    return torch.where(uniform < probability, classes, labels)


def guided_model(
    network: Callable[[Tensor, Tensor, Tensor], Tensor],
    labels: Int[Tensor, " batch"],
    scale: float,
    classes: int,
) -> Model:
    """Return a model of (x_t, t) that asks the network with and without the class at once.

    Args:
        network: says its prediction, given (x_t, t, labels); label ``classes`` means none.
        labels: the wanted class of each example.
        scale: 0 and 1 cost one evaluation, all others two.
        classes: how many there are.

    Raises:
        ValueError: a label outside 0..classes-1.
    """
    _check_labels(labels, classes)
    none = torch.full_like(labels, classes)

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        if scale in (0, 1):
            return network(x_t, t, none if scale == 0 else labels)
        both = network(torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([none, labels]))
        without, given = both.chunk(2)
        return classifier_free(without, given, scale)

    return model


def _check_labels(labels: Tensor, classes: int) -> None:
    if ((labels < 0) | (labels >= classes)).any():
        raise ValueError(
            f"labels must lie in 0..{classes - 1}, got {int(labels.min())}..{int(labels.max())}"
        )
