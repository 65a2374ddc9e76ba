"""Proof for litgen/words/blocked.py: pair-by-pair loops over the same windows and negatives."""

import itertools
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from litgen.words import blocked, vocabulary
from litgen.words.blocked import Blocks, Settings
from litgen.words.vocabulary import Corpus

Draw = Callable[..., Tensor]
WORDS, DIMS = 12, 4
SMALL = Settings(window=2, negatives=3, size=4, together=1, shared=5, blocks=2)
UNIFORM = torch.full((WORDS,), 1 / WORDS, dtype=torch.float64)


def corpus_of(*lengths: int, words: int = WORDS) -> Corpus:
    """Return documents of these lengths, of random words."""
    documents = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    tokens = torch.randint(words, (sum(lengths),), generator=torch.Generator().manual_seed(5))
    return Corpus(tokens, documents)


def made(*parts: Tensor) -> Blocks:
    """Return the blocks of one step from tokens, left, right and negatives."""
    return Blocks(*(part[0] for part in blocked.cut(*(part[None] for part in parts))))


def pairs_of(batch: Blocks) -> list[tuple[int, int, int]]:
    """Return (block, centre word, context word) of every true pair, by loops."""
    size = batch.left.shape[1]
    window = (len(batch.tokens) - batch.left.numel()) // 2
    found = []
    reach = zip(batch.left.flatten().tolist(), batch.right.flatten().tolist(), strict=True)
    for i, (left, right) in enumerate(reach):
        for offset in [*range(-left, 0), *range(1, right + 1)]:
            centre, context = (int(batch.tokens[window + i + d]) for d in (0, offset))
            found.append((i // size, centre, context))
    return found


def pairwise_loss(v: Tensor, u: Tensor, batch: Blocks, k: int) -> Tensor:
    """Return the loss of a batch, one pair and one negative after the other."""
    total = torch.zeros((), dtype=torch.float64)
    together = len(batch.left) // len(batch.negatives)
    for block, centre, context in pairs_of(batch):
        total = total - F.logsigmoid(v[centre] @ u[context])
        for negative in batch.negatives[block // together].tolist():
            share = k / batch.negatives.shape[1]
            total = total - share * F.logsigmoid(-v[centre] @ u[negative])
    return total


# the step ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [(16,), (9,), (5, 1, 8), (3,)])
def test_a_step_is_the_loop_over_pairs(
    normal: Draw, generator: torch.Generator, lengths: tuple[int, ...]
) -> None:
    """eq:sgns-shared: autograd through a loop over the same pairs and negatives, exactly."""
    v, u = normal(WORDS, DIMS), normal(WORDS, DIMS)
    batch = next(blocked.blocks_of(corpus_of(*lengths), UNIFORM, SMALL, generator))
    leaves = v.clone().requires_grad_(), u.clone().requires_grad_()
    by_v, by_u = torch.autograd.grad(pairwise_loss(*leaves, batch, k=3), leaves)
    assert by_v.abs().max() > 0.1
    moved_v, moved_u = v.clone(), u.clone()
    blocked.step(moved_v, moved_u, batch, k=3, learning_rate=0.1)
    torch.testing.assert_close(moved_v, v - 0.1 * by_v)
    torch.testing.assert_close(moved_u, u - 0.1 * by_u)


def test_one_negative_a_pair_is_the_plain_loss(normal: Draw) -> None:
    """eq:sgns-shared with one pair and as many shared negatives as k is litgen's own loss."""
    from litgen.words import skipgram

    v, u = normal(WORDS, DIMS), normal(WORDS, DIMS)
    batch = made(
        torch.tensor([7, 2, 3]), torch.tensor([[0]]), torch.tensor([[1]]), torch.tensor([[9, 4]])
    )
    by = skipgram.gradient(v[2], u[3], u[[9, 4]])
    expected_v, expected_u = v.clone(), u.clone()
    expected_v[2] -= 0.5 * by.centre
    expected_u[3] -= 0.5 * by.context
    expected_u[[9, 4]] -= 0.5 * by.negatives
    blocked.step(v, u, batch, k=2, learning_rate=0.5)
    torch.testing.assert_close(v, expected_v)
    torch.testing.assert_close(u, expected_u)


def test_shared_negatives_have_the_right_mean(normal: Draw) -> None:
    """eq:sgns-shared averages to k negatives a pair: all draws of two, with their chances."""
    words, k = 4, 3
    noise = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    v, u = normal(words, DIMS), normal(words, DIMS)
    tokens = torch.tensor([0, 1, 3, 2, 0, 1])
    left, right = torch.tensor([[1, 1], [0, 1]]), torch.tensor([[1, 0], [1, 1]])
    mean_v, mean_u = torch.zeros_like(v), torch.zeros_like(u)
    for drawn in itertools.product(range(words), repeat=2):
        now_v, now_u = v.clone(), u.clone()
        batch = made(tokens, left, right, torch.tensor([drawn, drawn]))
        blocked.step(now_v, now_u, batch, k, learning_rate=0.1)
        chance = noise[list(drawn)].prod()
        mean_v += chance * (v - now_v) / 0.1
        mean_u += chance * (u - now_u) / 0.1
    leaves = v.clone().requires_grad_(), u.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for _, centre, context in pairs_of(made(tokens, left, right, torch.zeros(2, 2).long())):
        total = total - F.logsigmoid(leaves[0][centre] @ leaves[1][context])
        total = total - k * (noise * F.logsigmoid(-leaves[1] @ leaves[0][centre])).sum()
    by_v, by_u = torch.autograd.grad(total, leaves)
    torch.testing.assert_close(mean_v, by_v)
    torch.testing.assert_close(mean_u, by_u)


# windows and blocks ------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 2, 5, 50])
def test_windows_stay_in_their_document(generator: torch.Generator, window: int) -> None:
    """One reach on both sides, 1..window, cut at the document's ends; windows may be long."""
    documents = corpus_of(7, 1, 12, 3).documents
    left, right = blocked.reaches(documents, window, generator)
    starts, ends = [0, 7, 8, 20], [7, 8, 20, 23]
    for i, document in enumerate(documents.tolist()):
        before, after = i - starts[document], ends[document] - 1 - i
        sees = int(left[i]), int(right[i])
        drawn = max(sees)
        assert sees in ((min(r, before), min(r, after)) for r in range(1, window + 1))
        assert drawn <= window
    assert right[7] == left[7] == 0  # a document of one word has no pairs


def test_every_reach_is_as_likely(generator: torch.Generator) -> None:
    """A chi-squared test of 50,000 centres far from both ends."""
    left, right = blocked.reaches(torch.zeros(50_010).long(), 5, generator)
    assert left[5:-5].equal(right[5:-5])
    seen = torch.bincount(left[5:-5], minlength=6)
    assert seen[0] == 0
    assert stats.chisquare(seen[1:].numpy()).pvalue > 1e-3


def test_a_window_is_positive(generator: torch.Generator) -> None:
    """Zero is an error that says so."""
    with pytest.raises(ValueError, match="the window is 0"):
        blocked.reaches(torch.zeros(3).long(), 0, generator)


def test_the_band_is_drawn_place_by_place(generator: torch.Generator) -> None:
    """Row i, column j: place j - window, seen from place i, unless it is i itself."""
    left = torch.randint(4, (3, 6), generator=generator)
    right = torch.randint(4, (3, 6), generator=generator)
    batch = made(torch.zeros(24).long(), left, right, torch.zeros(1, 1).long())
    band = blocked.band_table(3, 6)[batch.seen].view(3, 6, 12)
    for b, i, j in itertools.product(range(3), range(6), range(12)):
        offset = j - 3 - i
        assert bool(band[b, i, j]) == (offset != 0 and -left[b, i] <= offset <= right[b, i])


@pytest.mark.parametrize("lengths", [(1,), (8,), (9,), (16, 3), (5, 30, 1, 2)])
def test_blocks_hold_every_pair_once(lengths: tuple[int, ...]) -> None:
    """Whatever the text's length: the same pairs as a loop over the text with the same reaches."""
    corpus = corpus_of(*lengths)
    left, right = blocked.reaches(corpus.documents, 2, torch.Generator().manual_seed(7))
    expected = [
        (int(corpus.tokens[i]), int(corpus.tokens[i + d]))
        for i in range(len(corpus.tokens))
        for d in [*range(-int(left[i]), 0), *range(1, int(right[i]) + 1)]
    ]
    batches = list(blocked.blocks_of(corpus, UNIFORM, SMALL, torch.Generator().manual_seed(7)))
    found = [pair[1:] for batch in batches for pair in pairs_of(batch)]
    assert found == expected
    assert len(batches) == -(-sum(lengths) // 8)


def test_negatives_are_drawn_from_the_noise(generator: torch.Generator) -> None:
    """eq:sgns-noise in the blocks: a chi-squared test of about 100,000 of them."""
    noise = vocabulary.noise_distribution(torch.arange(1, WORDS + 1) ** 2)
    batches = blocked.blocks_of(corpus_of(80_000), noise, SMALL, generator)
    drawn = torch.cat([batch.negatives.flatten() for batch in batches])
    assert len(drawn) == 100_000
    seen = torch.bincount(drawn, minlength=WORDS).double().numpy()
    assert stats.chisquare(seen, len(drawn) * noise.numpy()).pvalue > 1e-3


# training ----------------------------------------------------------------------------------------


def test_training_steps_along_a_line(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    """The rate falls from the first to the last over all epochs; the work done reaches 1."""
    rates: list[float] = []
    monkeypatch.setattr(blocked, "step", lambda v, u, batch, k, rate, _: rates.append(rate))
    v = torch.zeros(WORDS, DIMS)
    settings = SMALL._replace(learning_rate=0.5, last_learning_rate=0.1)
    keep = torch.ones(WORDS)
    done = list(blocked.epochs(v, v, corpus_of(40), keep, UNIFORM, settings, 3, generator))
    assert done == pytest.approx([(i + 1) / 15 for i in range(15)])
    assert rates == pytest.approx([0.5 - 0.4 * i / 15 for i in range(15)])


def test_training_subsamples_anew_in_every_epoch(
    monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    """Words that are never kept never take part; the others come and go."""
    seen: list[Tensor] = []
    monkeypatch.setattr(blocked, "step", lambda v, u, batch, k, rate, _: seen.append(batch.tokens))
    keep = torch.full((WORDS,), 0.5)
    keep[3] = 0.0
    settings = SMALL._replace(blocks=100, together=4)
    v = torch.zeros(WORDS, DIMS)
    for _ in blocked.epochs(v, v, corpus_of(300), keep, UNIFORM, settings, 2, generator):
        pass
    first, second = seen
    assert not (first == 3).any()
    assert not first.equal(second)


def test_training_pulls_together_what_stands_together(generator: torch.Generator) -> None:
    """Two topics of six words that never meet: cosines within a topic exceed those between."""
    topics = torch.arange(400) % 2
    words = torch.randint(6, (400, 20), generator=generator) + 6 * topics[:, None]
    corpus = Corpus(words.flatten(), torch.arange(400).repeat_interleave(20))
    v = torch.rand(WORDS, DIMS, generator=generator) - 0.5
    u = torch.zeros(WORDS, DIMS)
    settings = SMALL._replace(size=16, shared=16, blocks=1)
    for _ in blocked.epochs(v, u, corpus, torch.ones(WORDS), UNIFORM, settings, 5, generator):
        pass
    unit = v / v.norm(dim=1, keepdim=True)
    cosine, same = unit @ unit.T, torch.arange(WORDS) // 6
    within = same[:, None] == same
    assert cosine[within].min() > cosine[~within].max() + 0.5


def test_bad_input_is_said(generator: torch.Generator) -> None:
    """An empty corpus, k = 0, no window."""
    v, keep = torch.zeros(WORDS, DIMS), torch.ones(WORDS)

    def start(corpus: Corpus, settings: Settings) -> None:
        next(blocked.epochs(v, v, corpus, keep, UNIFORM, settings, 1, generator))

    with pytest.raises(ValueError, match="the corpus is empty"):
        start(Corpus(torch.zeros(0).long(), torch.zeros(0).long()), SMALL)
    with pytest.raises(ValueError, match="0 negatives"):
        start(corpus_of(9), SMALL._replace(negatives=0))
    with pytest.raises(ValueError, match="the window is 0"):
        start(corpus_of(9), SMALL._replace(window=0))


def test_a_window_longer_than_the_text_sees_all_of_it(generator: torch.Generator) -> None:
    """Documented behaviour: no error; each centre is paired with all that its document has."""
    settings = SMALL._replace(window=40)
    batch = next(blocked.blocks_of(corpus_of(3), UNIFORM, settings, generator))
    assert len(pairs_of(batch)) <= 6
    assert batch.left.max() <= 2
