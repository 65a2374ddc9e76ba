"""Proof for litgen/recipes/applications/vessels.py: the known generator's law, and a tiny game."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from litgen import runs
from litgen.applications.turned import VesselGenerator
from litgen.data import pottery
from litgen.recipes.applications import vessels

TINY = dataclasses.replace(
    vessels.CPU, latent=3, hidden=(6,), critic_hidden=(5,), turns=4, batch_size=10
)


def test_the_hand_has_the_scale_of_its_coins() -> None:
    """The standard deviation of the heads among 32 coins, in half widths of the box."""
    assert pytest.approx(scipy.stats.binom(32, 0.5).std()) == vessels.HAND * 255


def test_normal_codes_tell_the_known_generator_its_shares() -> None:
    """Shares are normal probabilities; classes and the order of a batch are kept."""
    z = torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(12).view(3, 4) % 5
    found = vessels.known_curves(z, labels)
    assert found.shape == (3, 4, 32)
    for i in range(3):
        shares = scipy.stats.norm.cdf(z[i].numpy()).astype(np.float32)
        expected = pottery.curves(pottery.Form(labels[i].numpy(), shares))
        assert found[i].numpy() == pytest.approx(expected, abs=1e-6)


def test_the_known_likelihood_is_that_of_the_data() -> None:
    """Bytes of a set against their own clean curves: scipy's masses of what the hand added."""
    random = np.random.default_rng(2)
    form = pottery.forms(20, random)
    bytes_, clean = pottery.thrown(form, random), pottery.curves(form)
    found = vessels.known_log_prob(torch.from_numpy(bytes_).float() / 255, torch.from_numpy(clean))
    off = bytes_.astype(int) - np.rint(255 * clean).astype(int)
    expected = scipy.stats.binom.logpmf(off + 16, 32, 0.5).sum(axis=1)
    assert np.isfinite(expected).all()
    assert found.numpy() == pytest.approx(expected)


def test_heights_have_the_law_that_drew_them() -> None:
    """Probabilities of all bytes sum to one in each class, and are the frequencies of draws."""
    every = torch.arange(256).to(torch.uint8)
    law = vessels.tall_log_prob(every).exp()
    assert law.shape == (256, 5)
    torch.testing.assert_close(law.sum(dim=0), torch.ones(5).double())
    form = pottery.forms(60_000, np.random.default_rng(3))
    tall = pottery.tall(form)
    for label in range(5):
        counts = np.bincount(tall[form.label == label], minlength=256)
        expected = law[:, label].numpy() * counts.sum()
        kept = expected > 5
        assert counts[expected == 0].sum() == 0
        scaled = expected[kept] * counts[kept].sum() / expected[kept].sum()
        assert scipy.stats.chisquare(counts[kept], scaled).pvalue > 1e-4


def test_what_is_measured() -> None:
    """Radii and height, in shares of the box, in this order."""
    few = pottery.load("test")
    x = vessels.measured(few)
    assert x.shape == (2000, 33)
    assert (255 * x[:, :32]).round().equal(few.profiles.float())
    assert (255 * x[:, 32]).round().equal(few.tall.float())


def test_the_potter_adds_the_hand() -> None:
    """Noise of the known scale about the clean vessel, drawn from the generator given."""
    torch.manual_seed(0)
    network = VesselGenerator(torch.full((5, 33), 0.5), torch.ones(5, 33, 3), (6,))
    draws = torch.Generator().manual_seed(4)
    potter = vessels.Potter(network, draws)
    z, labels = (
        torch.randn(2000, 3, generator=torch.Generator().manual_seed(5)),
        torch.arange(2000) % 5,
    )
    with torch.no_grad():
        off = potter(z, labels) - network(z, labels)
    assert off.std().item() == pytest.approx(vessels.HAND, rel=0.02)
    assert abs(off.mean().item()) < 1e-4


def test_distances_are_root_mean_squares_in_bytes() -> None:
    """A generator that returns one vessel is as far from data as brute force says."""
    few = vessels.measured(pottery.load("test"))[:30]
    one = VesselGenerator(few[:1].expand(5, -1), torch.zeros(5, 33, 3), (4,))
    found = vessels.distances(one, few, many=50)
    expected = [255 * math.sqrt(((row - few[0]) ** 2).double().mean().item()) for row in few]
    assert found["missed"] == pytest.approx(np.mean(expected), rel=0.05, abs=0.05)
    assert found["missed_floor"] < found["missed"]
    assert found["impossible"] > 0


def test_the_start_is_each_classes_own_pca() -> None:
    """Covariance of the linear start plus its noise: numpy's in the leading directions."""
    known = pottery.load("test")
    x = vessels.measured(known)
    kept = known.labels != 2
    means, weights = vessels.linear_start(x[kept], known.labels[kept], 4)
    assert not means[2].any()
    assert not weights[2].any()
    for label in (0, 1, 3, 4):
        own = x[known.labels == label].double().numpy()
        assert means[label].numpy() == pytest.approx(own.mean(axis=0), abs=1e-5)
        values, vectors = np.linalg.eigh(np.cov(own.T, bias=True))
        noise = values[:-4].mean()
        found = (weights[label] @ weights[label].T).double().numpy()
        leading = vectors[:, -4:]
        expected = leading @ np.diag(values[-4:] - noise) @ leading.T
        assert found == pytest.approx(expected, abs=1e-5)


def test_how_a_game_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is given what; rates fall along half a cosine; the average by a weighted sum."""
    given: list[tuple] = []
    whole = vessels.adversaries

    def watching(*args):
        given.append(args)
        return whole(*args)

    monkeypatch.setattr(vessels, "adversaries", watching)
    known = pottery.load("test")
    x, labels = vessels.measured(known)[:60], known.labels[:60]
    config = dataclasses.replace(TINY, average=0.8, turns=5, critic_rate=3.0, momentum=0.25)
    weights, rates = [], []
    for now in vessels.fit(config, x, labels, 0):
        averaged = now.generator
        potter, critic, optimizers, _, rules, load = given[0]
        weights.append([p.detach().clone() for p in potter.network.parameters()])
        rates.append([o.param_groups[0]["lr"] for o in optimizers])
    assert averaged is not potter.network
    for net, optimizer in zip((critic, potter), optimizers, strict=True):
        owned = [p for group in optimizer.param_groups for p in group["params"]]
        assert [id(p) for p in owned] == [id(p) for p in net.parameters()]
        assert optimizer.defaults["betas"] == (0.25, 0.99)
    for turn, pair in enumerate(rates, start=1):
        left = (1 + math.cos(math.pi * turn / 5)) / 2
        assert pair == pytest.approx([left * 3 * 5e-4, left * 5e-4], abs=1e-12)
    factors = [0.8**4, *(0.2 * 0.8 ** (5 - t) for t in range(2, 6))]
    for k, found in enumerate(averaged.parameters()):
        expected = sum(f * each[k] for f, each in zip(factors, weights, strict=True))
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(critic.mean, x.mean(dim=0))
    assert rules.penalty is None
    rows = torch.arange(60).repeat(20)
    shown, kinds = load(rows)
    assert torch.equal(shown[:, :-1], x[rows, :-1]), "the hand is in the radii already"
    off = shown[:, -1] - x[rows, -1]
    assert off.std().item() == pytest.approx(vessels.HAND, rel=0.1)
    assert torch.equal(kinds, labels[rows])


def test_a_penalty_is_weighed_and_one_sided(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config's weight, and nothing for slopes below one."""
    heard: list[tuple] = []
    whole = vessels.gradient_penalty.weighted

    def listening(*args):
        heard.append((*args, whole(*args)))
        return heard[-1][-1]

    monkeypatch.setattr(vessels.gradient_penalty, "weighted", listening)
    given: list[tuple] = []
    players = vessels.adversaries
    monkeypatch.setattr(vessels, "adversaries", lambda *a: given.append(a) or players(*a))
    known = pottery.load("test")
    config = dataclasses.replace(TINY, penalty=0.3)
    next(vessels.fit(config, vessels.measured(known), known.labels, 0))
    assert given[0][4].penalty is heard[0][-1]
    assert heard[0][0] == 0.3
    assert heard[0][2] is vessels.gradient_penalty.one_sided_penalty


def test_distances_without_the_last_class() -> None:
    """Only the classes asked for are generated, in turn; known vessels are of these alone."""
    mean = torch.linspace(0.1, 0.5, 5)[:, None].expand(5, 33)
    model = VesselGenerator(mean, torch.zeros(5, 33, 3), (4,))
    held_out = mean[[0, 1, 2, 3, 4]].clone()
    for classes in (4, 5):
        found = vessels.distances(model, held_out, many=50, classes=classes)
        expected = 0.0 if classes == 5 else 255 * 0.1 / 5
        assert found["missed"] == pytest.approx(expected, abs=0.06)
    known = pottery.load("test")
    bottles = vessels.measured(known)[known.labels == vessels.BOTTLE][:50]
    with_them, without = (
        vessels.distances(model, bottles, many=1_000, classes=c)["missed_floor"] for c in (5, 4)
    )
    assert without > 1.2 * with_them


def test_samples_are_vessels_of_all_classes_in_turn_with_the_hand() -> None:
    """A vessel's class is its number's rest by five; what is off the clean one is the hand."""
    config = dataclasses.replace(TINY, turns=1)
    run = vessels.train(config, 0, torch.device("cpu"))
    run.provenance["config"] = dataclasses.asdict(config)
    model = vessels.restore(run)
    z = torch.randn(200, 3, generator=torch.Generator().manual_seed(7))
    clean = model(z, torch.arange(200) % 5)
    off = vessels.sample(run, 200, torch.Generator().manual_seed(7)) - clean
    assert off.std().item() == pytest.approx(vessels.HAND, rel=0.05)
    assert abs(off.mean().item()) < 3e-3


def test_a_tiny_game(tmp_path: Path) -> None:
    """Both generators come back as they were measured; the one without bottles is another."""
    run = runs.train("applications/vessels", "cpu", seed=1, config=TINY)
    assert set(run.metrics) == {
        f"{name}_{key}"
        for name in ("all", "no_bottle")
        for key in ("missed", "missed_floor", "impossible")
    }
    runs.save(run, tmp_path / "run.safetensors")
    back = runs.load(tmp_path / "run.safetensors")
    assert vessels.evaluate(back, torch.device("cpu")) == pytest.approx(run.metrics)
    both = vessels.restore(back), vessels.without_bottles(back)
    z, labels = torch.randn(5, 3, generator=torch.Generator().manual_seed(6)), torch.arange(5)
    assert (both[0](z, labels) != both[1](z, labels)).any(dim=1).all()
    assert not any(p.requires_grad for p in both[0].parameters())
    assert both[0].mean.sum(dim=1).all()
    assert not both[1].mean[vessels.BOTTLE].any()
    assert not both[1].weight[vessels.BOTTLE].any()
    drawn = vessels.sample(back, 11, torch.Generator().manual_seed(7))
    assert drawn.shape == (11, 33)
    again = vessels.sample(back, 11, torch.Generator().manual_seed(7))
    assert (drawn == again).all()


def test_all_three_distances_by_brute_force() -> None:
    """Nearest neighbours one by one, with the known generator drawn anew in the test."""
    torch.manual_seed(3)
    model = VesselGenerator(0.5 * torch.rand(5, 33), 0.1 * torch.randn(5, 33, 3), (4,)).eval()
    held_out = vessels.measured(pottery.load("test"))[:25]
    found = vessels.distances(model, held_out, many=40, classes=4)
    form = pottery.forms(80, np.random.default_rng(3))
    kept = form.label < 4
    known = np.hstack([pottery.curves(form), pottery.tall(form)[:, None] / 255])[kept][:40]
    z = torch.randn(40, 3, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        made = model(z, torch.arange(40) % 4).double().numpy()

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        rows = [min(math.sqrt(((x - y) ** 2).mean()) for y in b) for x in a]
        return 255 * sum(rows) / len(rows)

    real = held_out.double().numpy()
    assert found["missed"] == pytest.approx(apart(real, made), rel=1e-4)
    assert found["missed_floor"] == pytest.approx(apart(real, known), rel=1e-4)
    assert found["impossible"] == pytest.approx(apart(made, known), rel=1e-4)


def test_games_are_about_training_vessels_and_judged_by_their_own_wares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of them, then all but bottles; test vessels of the wares that were known."""
    train_set, test_set = pottery.load("train"), pottery.load("test")
    played: list[tuple] = []
    judged: list[tuple] = []
    whole = vessels.fit

    def listening(config, x, labels, seed):
        played.append((x, labels, seed))
        return whole(config, x[:50], labels[:50], seed)

    def judging(model, held_out, many=10_000, classes=5):
        judged.append((held_out, classes))
        return {"missed": 1.0}

    monkeypatch.setattr(vessels, "fit", listening)
    monkeypatch.setattr(vessels, "distances", judging)
    run = vessels.train(dataclasses.replace(TINY, turns=1), 8, torch.device("cpu"))
    bottles = train_set.labels == 4
    for (x, labels, seed), some in zip(played, (bottles >= 0, ~bottles), strict=True):
        assert torch.equal(x, vessels.measured(train_set)[some])
        assert torch.equal(labels, train_set.labels[some])
        assert seed == 8
    for (x, classes), some, count in zip(
        judged, (test_set.labels < 5, test_set.labels < 4), (5, 4), strict=True
    ):
        assert torch.equal(x, vessels.measured(test_set)[some])
        assert classes == count
    for name, value in run.tensors.items():
        assert torch.equal(value, value.half().float()), name
