"""Inception score: how sure the classes of single samples are, and how various those of all.

Chapter: book/evaluation/metrics.md.  Proof: tests/evaluation/test_inception_score.py.
Reference: Salimans et al., "Improved Techniques for Training GANs" (2016), section 4. The name
belongs to the Inception network; with another classifier's logits it is another number, and has to
be called so.
"""

import math

from torch import Tensor

from litgen.shapes import Float

__all__ = ["inception_score"]


def inception_score(logits: Float[Tensor, "samples classes"]) -> Float[Tensor, ""]:
    """Return exp of the mean of KL(p(y|x) || p(y)). Implements eq:inception-score.

    Between 1 (all samples alike, or no class sure) and the number of classes; its log is the
    difference of eq:score-entropies. p(y) is the mean of the samples' own p(y|x), so few samples
    make it too small.

    Args:
        logits: a classifier's, before the softmax.

    Raises:
        ValueError: no samples, or a logit that is not finite.
    """
    if logits.dim() != 2 or not len(logits) or not logits.isfinite().all():
        raise ValueError(f"finite logits of some samples, got shape {tuple(logits.shape)}")
    log_given = logits.double().log_softmax(dim=1)
    log_all = log_given.logsumexp(dim=0) - math.log(len(logits))
    divergence = (log_given.exp() * (log_given - log_all)).sum(dim=1)
    return divergence.mean().exp().to(logits.dtype)
