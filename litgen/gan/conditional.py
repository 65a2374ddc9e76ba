"""Tell both players the class: conditional networks, and what their best critic would say.

Chapter: book/gan/conditional.md.  Proof: tests/gan/test_conditional.py.
References: Mirza & Osindero, "Conditional Generative Adversarial Nets" (2014); Miyato & Koyama,
"cGANs with Projection Discriminator" (2018); Odena, Olah & Shlens, "Conditional Image Synthesis
with Auxiliary Classifier GANs" (2017).

Notation: the class y is ``labels``, whole numbers from 0; its one-hot vector e_y is ``shares``,
which may also be spread over several classes. On finite supports, tables have a row for each class
and a column for each place: log p(x|y) is ``log_p``, log p(y) is ``log_p_labels``.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from litgen.gan.networks import SCALE, ConvCritic, ConvGenerator, Norm
from litgen.shapes import Float, Int

__all__ = [
    "ConditionalCritic",
    "ConditionalGenerator",
    "auxiliary_law",
    "blind_logits",
    "one_hot",
    "optimal_logits",
    "project",
]

Reading = Literal["projection", "planes"]


def one_hot(labels: Int[Tensor, " batch"], classes: int) -> Float[Tensor, "batch classes"]:
    """Return a row for each label: 1 in the label's column, 0 elsewhere.

    Raises:
        ValueError: labels that are no whole numbers, or not in 0..classes - 1. (On a GPU, where
            looking would wait for the device, CUDA's own assertion takes its place.)
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"labels are whole numbers, got {labels.dtype}")
    if labels.dim() != 1:
        raise ValueError(f"one label for each example, got shape {tuple(labels.shape)}")
    if labels.device.type == "cpu" and len(labels):
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise ValueError(f"labels go from 0 to {classes - 1}, got {low} to {high}")
    return nn.functional.one_hot(labels.long(), classes).to(torch.get_default_dtype())


class ConditionalGenerator(nn.Module):
    """Codes and classes to images in [-1, 1]: the one-hot class lengthens the code.

    Args:
        latent: dimensions of a code.
        classes: how many there are.
        widths: channels from the coarsest stage on.
        channels: of the image.
        side: height and width of the image.
        norm: of the hidden layers.
        scale: length of the one-hot vector. A code has length sqrt(latent); beside it a class of
            length one is nearly silent at the start.

    Raises:
        ValueError: a scale that is not positive, or what `networks.ConvGenerator` refuses.
    """

    def __init__(
        self,
        latent: int = 64,
        classes: int = 10,
        widths: Sequence[int] = (64, 32),
        channels: int = 1,
        side: int = 28,
        norm: Norm = "batch",
        scale: float = 1.0,
    ):
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        super().__init__()
        self.latent, self.classes, self.scale = latent, classes, scale
        self.body = ConvGenerator(latent + classes, widths, channels, side, norm)

    def forward(
        self, z: Float[Tensor, "batch latent"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels h w"]:
        """Return an image of each class asked for. Implements eq:cgan-concat."""
        return self.blend(z, one_hot(labels, self.classes).to(z))

    def blend(
        self, z: Float[Tensor, "batch latent"], shares: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch channels h w"]:
        """Return images of mixed classes; no training has shown the network any.

        Raises:
            ValueError: codes or shares of another length, or not as many of both.
        """
        if z.shape != (len(shares), self.latent) or shares.shape[1:] != (self.classes,):
            wanted = f"({self.latent} numbers, {self.classes} shares) each"
            raise ValueError(f"{wanted}, got {tuple(z.shape)} and {tuple(shares.shape)}")
        images: Tensor = self.body(torch.cat([z, self.scale * shares], dim=1))
        return images


class ConditionalCritic(nn.Module):
    """Images and classes to one logit each.

    Args:
        classes: how many there are.
        widths: channels of the stages, from the finest on.
        channels: of the image.
        side: height and width of the image.
        norm: of all stages but the first.
        reading: "planes" shows each class as a plane of ones beside the image's channels,
            "projection" adds the product of the last features with a vector learned per class.

    Raises:
        ValueError: an unknown reading, or what `networks.ConvCritic` refuses.
    """

    def __init__(
        self,
        classes: int = 10,
        widths: Sequence[int] = (32, 64),
        channels: int = 1,
        side: int = 28,
        norm: Norm = "batch",
        reading: Reading = "projection",
    ):
        if reading not in ("projection", "planes"):
            raise ValueError(f"unknown reading {reading!r}; there are: projection, planes")
        super().__init__()
        self.classes, self.reading = classes, reading
        planes = classes if reading == "planes" else 0
        self.body = ConvCritic(widths, channels + planes, side, norm)
        if reading == "projection":
            features = widths[-1] * (side // 2 ** len(widths)) ** 2
            self.vectors = nn.Parameter(torch.empty(classes, features))
            nn.init.normal_(self.vectors, std=SCALE)

    def forward(
        self, x: Float[Tensor, "batch channels h w"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return logits, positive for "data of this class"."""
        shares = one_hot(labels, self.classes).to(x)
        if len(shares) != len(x):
            raise ValueError(f"{len(x)} images, {len(shares)} labels")
        if self.reading == "planes":
            planes = shares[:, :, None, None].expand(-1, -1, *x.shape[2:])
            logits: Tensor = self.body(torch.cat([x, planes], dim=1))
            return logits
        features = self.body.features(x)
        return project(features, shares @ self.vectors, self.body.head(features).squeeze(1))


def project(
    features: Float[Tensor, "batch features"],
    vectors: Float[Tensor, "batch features"],
    unconditional: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Return v_y . phi(x) + b(x), a logit for each example. Implements eq:cgan-projection.

    Args:
        features: phi(x).
        vectors: v_y of each example's class.
        unconditional: b(x), the part that knows no class.
    """
    return (features * vectors).sum(dim=1) + unconditional


def optimal_logits(
    log_p: Float[Tensor, "classes *places"],
    log_q: Float[Tensor, "classes *places"],
    log_p_labels: Float[Tensor, " classes"],
    log_q_labels: Float[Tensor, " classes"],
) -> Float[Tensor, "classes *places"]:
    """Return the logits of the best critic that is told the class, in nats.

    Implements eq:cgan-optimal. With the same law of labels on both sides each row is the best
    critic of its own class.

    Args:
        log_p: log p(x|y) of the data.
        log_q: log q(x|y) of the samples.
        log_p_labels: log p(y), how often data have a class.
        log_q_labels: log q(y), how often samples are asked for it.

    Raises:
        ValueError: shapes that do not belong together.
    """
    _check_tables(log_p, log_q, log_p_labels, log_q_labels)
    offset = (log_p_labels - log_q_labels).view(-1, *[1] * (log_p.dim() - 1))
    return log_p - log_q + offset


def blind_logits(
    log_p: Float[Tensor, "classes *places"],
    log_q: Float[Tensor, "classes *places"],
    log_p_labels: Float[Tensor, " classes"],
    log_q_labels: Float[Tensor, " classes"],
) -> Float[Tensor, "*places"]:
    """Return the logits of the best critic that is not told the class. Implements eq:cgan-blind.

    Arguments and errors as for `optimal_logits`.
    """
    _check_tables(log_p, log_q, log_p_labels, log_q_labels)
    shape = (-1, *[1] * (log_p.dim() - 1))
    data = torch.logsumexp(log_p + log_p_labels.view(shape), dim=0)
    return data - torch.logsumexp(log_q + log_q_labels.view(shape), dim=0)


def auxiliary_law(
    log_p: Float[Tensor, "classes places"],
    log_p_labels: Float[Tensor, " classes"],
    weight: float,
) -> Float[Tensor, "classes places"]:
    """Return log q(x|y) of the best generator that a classifier rewards as well.

    Implements eq:cgan-auxiliary: it minimises KL(q||p) - weight * E_q[log p(y|x)] in each class,
    with the data's own posterior p(y|x) as classifier. Weight 0 gives the data's law.

    Args:
        log_p: log p(x|y), summing to one over the places of each row.
        log_p_labels: log p(y).
        weight: of the classifier's term, not negative.

    Raises:
        ValueError: a negative weight, or shapes that do not belong together.
    """
    if weight < 0:
        raise ValueError(f"weight must not be negative, got {weight}")
    _check_tables(log_p, log_p, log_p_labels, log_p_labels)
    posterior = torch.log_softmax(log_p + log_p_labels[:, None], dim=0)
    return torch.log_softmax(log_p + weight * posterior, dim=1)


def _check_tables(log_p: Tensor, log_q: Tensor, p_labels: Tensor, q_labels: Tensor) -> None:
    """Broadcasting a law of labels over places would compute a number, and the wrong one."""
    shapes = [tuple(part.shape) for part in (log_p, log_q, p_labels, q_labels)]
    classes = shapes[0][:1]
    if not (shapes[0] == shapes[1] and classes and shapes[2] == shapes[3] == classes):
        raise ValueError(f"two tables and two laws of their rows are needed, got shapes {shapes}")
