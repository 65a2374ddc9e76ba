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

from litgen.diffusion.ddpm import Model, Prediction, denoised, posterior
from litgen.diffusion.schedule import Schedule
from litgen.shapes import Float, Int

__all__ = [
    "class_gradient",
    "classifier_free",
    "classifier_guided",
    "classifier_model",
    "drop_labels",
    "guided_model",
    "guided_step",
    "shifted_mean",
    "tempered",
]

LogProb = Callable[[Tensor, Tensor], Tensor]


def class_gradient(
    x_t: Float[Tensor, "batch *dims"], t: Int[Tensor, " batch"], class_log_prob: LogProb
) -> Float[Tensor, "batch *dims"]:
    """Return the gradient of log p(y | x_t) with respect to x_t, in nats a unit of x_t.

    It works under ``no_grad``, where samplers run, and leaves no graph behind.
    """
    with torch.enable_grad():
        place = x_t.detach().requires_grad_()
        return torch.autograd.grad(class_log_prob(place, t).sum(), place)[0]


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
    gradient = class_gradient(x_t, t, class_log_prob)
    return noise - scale * (1 - schedule.at(t, x_t)).sqrt() * gradient


def classifier_model(
    model: Model,
    class_log_prob: LogProb,
    schedule: Schedule,
    scale: float,
    prediction: Prediction = "noise",
) -> Model:
    """Return a model of (x_t, t) that says the guided noise. Implements eq:guidance-classifier.

    Args:
        model: unconditional; says ``prediction``.
        class_log_prob: see `classifier_guided`.
        schedule: the one that the model was trained with.
        scale: of the gradient.
        prediction: what ``model`` says; what is returned always says the noise.
    """

    def guided(x_t: Tensor, t: Tensor) -> Tensor:
        noise = denoised(model(x_t, t), x_t, t, schedule, prediction).noise
        return classifier_guided(noise, x_t, t, schedule, class_log_prob, scale)

    return guided


def shifted_mean(
    mean: Float[Tensor, "batch *dims"],
    variance: Float[Tensor, "batch *ones"],
    gradient: Float[Tensor, "batch *dims"],
    scale: float,
) -> Float[Tensor, "batch *dims"]:
    """Return mean + scale variance gradient, for the ancestral step. Implements eq:guidance-mean.

    Args:
        mean: of the unconditional step.
        variance: of the same step; guidance leaves it alone.
        gradient: of log p(y | x), see `class_gradient`.
        scale: of the gradient.
    """
    return mean + scale * variance * gradient


def guided_step(
    x: Float[Tensor, "batch *dims"],
    x_t: Float[Tensor, "batch *dims"],
    t: Int[Tensor, " batch"],
    noise: Float[Tensor, "batch *dims"],
    gradient: Float[Tensor, "batch *dims"],
    schedule: Schedule,
    scale: float,
) -> Float[Tensor, "batch *dims"]:
    """Return x_{t-1} of the ancestral step with its mean shifted. Implements eq:guidance-mean.

    Args:
        x: the unconditional model's guess of the data.
        x_t: the noisy batch.
        t: times in 1..T; the step at t = 1 has no variance, and no guidance.
        noise: standard normal.
        gradient: of log p(y | x_t), see `class_gradient`.
        schedule: the one that the model was trained with.
        scale: of the gradient.
    """
    mean, variance = posterior(x, x_t, t, schedule)
    return shifted_mean(mean, variance, gradient, scale) + variance.sqrt() * noise


def tempered(
    log_prob: Float[Tensor, " batch"], class_log_prob: Float[Tensor, " batch"], scale: float
) -> Float[Tensor, " batch"]:
    """Return log p(x) + scale log p(y | x), in nats. Implements eq:guidance-tempered.

    Not normalised, unless scale is 0: what it lacks is one constant, the same for every x.
    """
    return log_prob + scale * class_log_prob


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

    Implements eq:guidance-drop.

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

    Implements eq:guidance-free.

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
