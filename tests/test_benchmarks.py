"""Prove that the benchmarks compute the ratios they print, and race equal things."""

import contextlib
import dataclasses
import json
import warnings

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import gan, harness
from benchmarks.harness import Contender, Options

SHORT = Options(rounds=2, seconds=0.0)


class Clock:
    """A clock that moves only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def contender(self, name: str, seconds, units: int = 1) -> Contender:
        """Return somebody whose n-th piece of work takes seconds(n)."""
        done = 0

        def work() -> int:
            nonlocal done
            self.now += seconds(done)
            self.log.append(name)
            done += 1
            return units

        return Contender(name, work)


@pytest.fixture(scope="module")
def vae_step():
    """Return the module, where its peers are installed."""
    pytest.importorskip("pythae")
    pytest.importorskip("torchvision")
    from benchmarks import vae_step

    return vae_step


@pytest.fixture(scope="module")
def pixels():
    """Return random bytes: five batches."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (640, 784), generator=generator, dtype=torch.uint8)


def test_rates_are_units_per_second():
    """Three units in a quarter of a second are twelve a second."""
    clock = Clock()
    racers = [clock.contender("a", lambda _: 0.25, units=3), clock.contender("b", lambda _: 0.5)]
    rates = harness.race(racers, rounds=3, seconds=1.0, clock=clock)
    assert rates == {"a": [12.0] * 3, "b": [2.0] * 3}


def test_first_work_of_a_slice_is_not_counted():
    """A slow first piece changes nothing."""
    clock = Clock()
    slow_start = clock.contender("a", lambda n: 100.0 if n == 0 else 0.5)
    assert harness.race([slow_start], 1, 1.0, clock) == {"a": [2.0]}


def test_rounds_interleave_and_rotate():
    """Everyone goes first once."""
    clock = Clock()
    racers = [clock.contender(name, lambda _: 1.0) for name in "abc"]
    harness.race(racers, rounds=3, seconds=1.0, clock=clock)
    assert "".join(clock.log[::2]) == "abcbcacab"


def test_ratio_survives_a_machine_that_slows_down():
    """Rates fall a hundredfold; ratios are taken within rounds."""
    rates = {
        "ours": [300.0, 30.0, 3.3],
        "slow peer": [150.0, 10.0, 1.0],
        "fast peer": [200.0, 20.0, 2.0],
    }
    found = harness.compare(rates, "ours", ["slow peer", "fast peer"])
    assert found == {"best_peer": "fast peer", "ratio": 1.5, "spread": [1.5, 1.65]}


def test_best_peer_is_the_best_by_its_median():
    """One lucky round makes no best peer."""
    rates = {"ours": [4.0, 4.0, 4.0], "steady": [2.0, 2.0, 2.0], "lucky once": [9.0, 1.0, 1.0]}
    found = harness.compare(rates, "ours", ["lucky once", "steady"])
    assert found["best_peer"] == "steady"
    assert found["ratio"] == 2.0


def test_slower_is_below_one():
    """The ratio is ours over theirs, not the reverse."""
    assert harness.compare({"ours": [1.0], "peer": [4.0]}, "ours", ["peer"])["ratio"] == 0.25


def test_settings_hold_inside_a_slice_and_are_undone():
    """Each contender runs in its own settings and leaves none behind."""
    seen = []

    @contextlib.contextmanager
    def around():
        seen.append("in")
        yield
        seen.append("out")

    def work() -> int:
        seen.append(torch.get_float32_matmul_precision())
        return 1

    before = torch.get_float32_matmul_precision()
    harness.race([Contender("a", work, around), Contender("b", work, harness.as_shipped)], 1, 0.0)
    assert seen[0] == "in"
    assert seen[-1] != before
    assert "out" in seen
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("rounds", [0, -1])
def test_no_rounds_is_an_error(rounds):
    """A race without rounds has no median."""
    with pytest.raises(ValueError, match=f"rounds must be positive, got {rounds}"):
        harness.race([Contender("a", lambda: 1)], rounds, 1.0)


def test_repeated_names_are_an_error():
    """Two contenders of one name would share a list of rates."""
    with pytest.raises(ValueError, match="names repeat"):
        harness.race([Contender("a", lambda: 1), Contender("a", lambda: 1)], 1, 1.0)


def test_unknown_name_is_one_line(capsys):
    """It names the word and what there is, and exits with 2."""
    assert command.main(["vae-stepp"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    names = (
        "cyclegan-step, dcgan-step, ddpm-train, ddpm-sample, frechet, gan-step, gatys-step, "
        "memory, pix2pix-step, realnvp-train, realnvp-sample, sgns, unet-step, vae-step, "
        "wgan-gp-step"
    )
    assert err == f"benchmarks: unknown benchmark 'vae-stepp'; there are: {names}\n"


def test_without_a_name_the_names_are_listed(capsys):
    """Listing needs no peer installed."""
    assert command.main([]) == 0
    assert capsys.readouterr().out.startswith("cyclegan-step  ")


def test_parameter_counts_are_equal(vae_step):
    """Counted by hand from 784-400-20."""
    counts = vae_step.parameter_counts()
    expected = 784 * 400 + 400 + 400 * 40 + 40 + 20 * 400 + 400 + 400 * 784 + 784
    assert counts == {"example": expected, "pythae": expected, "litgen": expected}


def test_unequal_parameter_counts_are_an_error(vae_step, monkeypatch):
    """An unfair race is refused."""
    monkeypatch.setattr(vae_step, "ExampleVAE", lambda: torch.nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"numbers of parameters differ: .*'example': 8"):
        vae_step.parameter_counts()


def test_step_prints_one_json_line(vae_step, pixels, capsys):
    """A very short run has every key of a long one."""
    harness.print_json(vae_step.step(pixels, SHORT))
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert record["name"] == "vae-step"
    assert record["rounds"] == 2
    assert set(record["peers"]) == {"example-images", "example-tensors", "pythae"}
    assert record["best_peer"] in record["peers"]
    assert {"python", "torch", "pythae"} <= set(record["versions"])
    for part in (record, record["step_only"]):
        for ratio in ("ratio_float32", "ratio_shipped"):
            low, high = part["spread"][ratio]
            assert 0 < low <= part[ratio] <= high
        assert all(rate > 0 for rate in (*part["peers"].values(), *part["litgen"].values()))


def test_nll_line_holds_values_that_agree(vae_step, pixels):
    """The line says how far the values lie apart."""
    record = vae_step.nll(pixels, pixels[:6], SHORT, training_steps=20)
    assert record["name"] == "vae-nll"
    assert set(record["peers"]) == {"pythae-25", "pythae-50", "pythae-100"}
    # few images and few nats of structure: the noise of 100 samples is larger than in a long run
    assert abs(record["difference_nats"]["litgen-float32"]) < 1.5
    assert abs(record["difference_nats"]["litgen-shipped"]) < 1.5
    assert record["nll_nats"]["pythae"] > 100


def test_nll_agrees_with_pythae_image_by_image(vae_step, monkeypatch):
    """Given the same noise, pythae's estimate is ours: it shares no code with litgen."""
    torch.manual_seed(3)
    model = vae_step.digits.build(vae_step.FLOAT32)
    peer = vae_step.copied(model)
    x = (torch.rand(8, 784) < torch.linspace(0.05, 0.95, 8)[:, None]).float()
    noise = torch.randn(100, 20)
    monkeypatch.setattr(peer, "_sample_gauss", lambda mean, std: (mean + std * noise, noise))

    def draw(shape, **_):
        """Hand out the rows of noise in order, as many as are asked for, again and again."""
        nonlocal row
        row += shape[0]
        return noise[(row - shape[0]) % 100 :][: shape[0], None]

    row = 0
    monkeypatch.setattr(torch, "randn", draw)
    ours = torch.tensor([vae_step.litgen_nll(model, one, False) for one in x.split(1)])
    theirs = torch.tensor([vae_step.pythae_nll(peer, one, 100) for one in x.split(1)])
    assert row == 800
    assert ours.std() > 0.5
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_copied_weights_give_pythae_the_same_networks(vae_step):
    """Encoder and decoder, on inputs that vary."""
    model = vae_step.digits.build(vae_step.FLOAT32)
    peer = vae_step.copied(model)
    x, z = torch.rand(5, 784), torch.randn(5, 20)
    encoded = peer.encoder(x)
    mean, log_var = model.encoder(x)
    torch.testing.assert_close(encoded.embedding, mean)
    torch.testing.assert_close(encoded.log_covariance, log_var)
    torch.testing.assert_close(peer.decoder(z).reconstruction, model.decoder(z).sigmoid())
    assert log_var.std() > 0.01


def test_table_is_readable(capsys):
    """A key and its value a line, nested keys indented."""
    harness.print_table({"name": "x", "spread": [1, 2], "peers": {"a": 3.0}})
    assert capsys.readouterr().out.split("\n")[:3] == [
        "name    x",
        "spread  1 .. 2",
        "peers",
    ]


@pytest.mark.parametrize(("configured", "expected"), [(5e-5, "shipped"), (5e-2, "full")])
def test_float32_is_float32(monkeypatch, configured, expected):
    """A configuration that rounds products to bfloat16 is not raced as float32."""
    used = []

    @contextlib.contextmanager
    def note(name):
        used.append(name)
        yield

    monkeypatch.setattr(
        harness, "product_errors", lambda: {"highest": 4e-5, "configured": configured}
    )
    monkeypatch.setattr(harness, "as_shipped", lambda: note("shipped"))
    monkeypatch.setattr(harness, "full_precision", lambda: note("full"))
    with harness.float32():
        assert used == [expected]


def test_product_errors_are_of_float32_size():
    """Not zero, for then nothing was rounded, and far below bfloat16's for torch's own setting."""
    assert 1e-6 < harness.product_errors()["highest"] < 1e-3


# skip-gram with negative sampling ----------------------------------------------------------------

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def sgns():
    """Return the module, where its peer is installed."""
    pytest.importorskip("gensim")
    from benchmarks import sgns

    return sgns


@pytest.fixture(scope="module")
def text(sgns, tmp_path_factory):
    """Return 24,000 random words of 26, frequent and rare, in documents of 3,000."""
    chance = 1 / torch.arange(1, 27)
    drawn = torch.multinomial(chance, 24_000, True, generator=torch.Generator().manual_seed(2))
    words = [2 * LETTERS[i] for i in drawn.tolist()]
    documents = [words[i : i + 3_000] for i in range(0, len(words), 3_000)]
    return sgns.prepare(documents, tmp_path_factory.mktemp("text"), parts=2)


def test_everyone_reads_the_same_words(sgns, text):
    """As lists, as a file and as numbers, nothing lost between parts or at a document's end."""
    for part in (text.whole, *text.parts):
        words = [word for document in part.documents for word in document]
        assert part.file.read_text().split() == words
        assert [text.vocabulary.words[i] for i in part.corpus.tokens.tolist()] == words
        assert len(words) == part.words
        assert max(map(len, part.documents)) <= 10_000  # gensim drops what is beyond
    assert sum(part.words for part in text.parts) == text.whole.words == 24_000
    halves = sgns.halves_of(text.whole.corpus)
    assert torch.cat([half.tokens for half in halves]).equal(text.whole.corpus.tokens)
    assert [len(half.documents) for half in halves] == [12_000, 12_000]


def test_too_few_words_for_the_parts(sgns, tmp_path):
    """Said before anything is cut."""
    with pytest.raises(ValueError, match="5 words cannot be 8 parts"):
        sgns.prepare([["a"] * 5], tmp_path)


@pytest.mark.parametrize("files", [False, True])
def test_gensim_has_the_recipes_settings_and_reads_all(sgns, text, files, caplog):
    """Its settings by its own names; the raw words it counts are the part's."""
    model = sgns.gensim_model(text, workers=1)
    found = model.vector_size, model.window, model.negative, model.sample, model.ns_exponent
    assert found == (100, 5, 5, 1e-3, 0.75)
    assert (model.sg, model.hs, model.alpha, model.min_alpha) == (1, 0, 0.025, 1e-4)
    before = model.wv.vectors.copy()
    with caplog.at_level("INFO", logger="gensim"):
        sgns.gensim_train(model, text.parts[0], 1, files)
    assert "training on 12000 raw words" in caplog.text
    assert abs(model.wv.vectors - before).max() > 1e-4


@pytest.mark.parametrize("passes", ["litgen_passes", "hogwild_passes"])
def test_a_turn_of_litgen_reads_whole_parts(sgns, text, monkeypatch, passes):
    """The raw words it counts are those it gave to training; hogwild reads two parts at once."""
    read = []
    monkeypatch.setattr(
        sgns, "litgen_train", lambda text, vectors, corpus, *_: read.append(len(corpus.tokens))
    )
    counted = getattr(sgns, passes)(text)()
    assert counted == sum(read)
    assert counted == {"litgen_passes": 12_000, "hogwild_passes": 24_000}[passes]


def test_sgns_prints_one_json_line(sgns, text, capsys, monkeypatch):
    """A very short run has every key of a long one; without word2vec's program it says so."""
    monkeypatch.setattr(sgns, "find_program", lambda: None)
    harness.print_json(sgns.speed(text, Options(rounds=1, seconds=0.0)))
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert record["name"] == "sgns"
    assert set(record["peers"]) == set(record["against"]) == {"gensim", "gensim-file"}
    assert record["best_peer"] in record["peers"]
    assert record["word2vec.c"].startswith("not raced")
    assert {"python", "torch", "gensim"} <= set(record["versions"])
    for part in (record, record["wall"]):
        for ratio in ("ratio_float32", "ratio_shipped"):
            low, high = part["spread"][ratio]
            assert 0 < low <= part[ratio] <= high


def test_two_cores_are_given_back(sgns, text):
    """Threads and cores are as before; the best way's ratio is reported."""
    import os

    before = torch.get_num_threads(), os.sched_getaffinity(0)
    record = sgns.two_cores(text, Options(rounds=1, seconds=0.0))
    assert (torch.get_num_threads(), os.sched_getaffinity(0)) == before
    assert record["best"] in record["litgen"]
    rate, peer = record["litgen"][record["best"]], record["peers"][record["best_peer"]]
    assert record["ratio_two_cores"] == pytest.approx(rate / peer, rel=0.01)


def test_shipped_products_are_those_of_the_recipe(sgns, monkeypatch):
    """While the recipe trains after the edges' configuration, torch's setting is this one."""
    before = torch.get_float32_matmul_precision()

    class Seen(Exception):
        """What was set when training began."""

    def look(*_):
        raise Seen(torch.get_float32_matmul_precision())

    corpus = sgns.Corpus(torch.zeros(1).long(), torch.zeros(1).long())
    monkeypatch.setattr(sgns.addresses, "text", lambda _: (None, corpus))
    monkeypatch.setattr(sgns.addresses, "fit", look)
    for name in ("held_pairs", "start"):
        monkeypatch.setattr(sgns.addresses, name, lambda *_: None)
    with harness.as_shipped(), pytest.raises(Seen) as seen:
        sgns.addresses.train(sgns.CONFIG, 0, torch.device("cpu"))
    with sgns.shipped():
        assert str(seen.value) == torch.get_float32_matmul_precision()
    assert torch.get_float32_matmul_precision() == before


def test_the_programs_own_speed_is_charged(sgns, text, tmp_path):
    """12,000 words at 6,000 a second are two seconds; the last figure that it prints counts."""
    program = tmp_path / "word2vec"
    says = "Words/thread/sec: 1.00k  \\rAlpha: 0.1 Words/thread/sec: 6.00k  "
    program.write_text(f"#!/bin/sh\nprintf '{says}'\n")
    program.chmod(0o755)
    clock = sgns.Clock()
    assert sgns.c_passes(text, str(program), clock)() == 12_000
    assert clock.charged == pytest.approx(2.0)
    program.write_text("#!/bin/sh\necho nothing\n")
    with pytest.raises(RuntimeError, match="reports no speed"):
        sgns.c_rate(str(program), text.whole.file)


def test_quality_compares_with_gensim(sgns, text, monkeypatch):
    """Three trainings of everyone, judged on pairs; the difference is ours less gensim's."""
    from types import SimpleNamespace

    pairs = tuple((2 * a, 2 * b) for a, b in zip(LETTERS[:9], LETTERS[9:18], strict=True))
    people = SimpleNamespace(pairs=pairs, scores=torch.arange(9.0))
    monkeypatch.setattr(sgns.word_similarity, "load_pairs", lambda _: people)
    record = sgns.quality(text, epochs=1, seeds=2)
    assert set(record["spearman"]) == {
        "litgen-float32",
        "litgen-shipped",
        "litgen-hogwild",
        "gensim",
    }
    for name, difference in record["difference"].items():
        for judge, value in difference.items():
            ours, theirs = (record["spearman"][who][judge]["mean"] for who in (name, "gensim"))
            assert value == pytest.approx(ours - theirs, abs=2e-4)
            assert len(record["spearman"][name][judge]["seeds"]) == 2


# flows and diffusion -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def realnvp():
    """Return the module, where its peers are installed."""
    for peer in ("FrEIA", "normflows", "nflows", "zuko"):
        pytest.importorskip(peer)
    from benchmarks import realnvp

    return realnvp


@pytest.fixture(scope="module")
def ddpm():
    """Return the module, where its peers are installed."""
    pytest.importorskip("diffusers")
    pytest.importorskip("denoising_diffusion_pytorch")
    from benchmarks import ddpm

    return ddpm


def test_flows_have_equal_parameters(realnvp):
    """Eight couplings 32-128-128-64; FrEIA adds a scale and a shift of each coordinate to each."""
    expected = 8 * (32 * 128 + 128 + 128 * 128 + 128 + 128 * 64 + 64)
    counts = realnvp.parameters(64, 8, 128)
    assert counts.pop("FrEIA") == pytest.approx(expected, rel=0.01)
    assert set(counts.values()) == {expected}


def test_flows_are_densities_and_samplers(realnvp):
    """Every contender's density integrates to one, and it draws as many points as asked."""
    line = torch.linspace(-9, 9, 121)
    grid = torch.cartesian_prod(line, line)
    for name, build in (realnvp.BUILDERS | {"litgen": realnvp.build_litgen}).items():
        torch.manual_seed(0)
        _, log_prob, draw = build(2, 2, 8)
        with torch.no_grad():
            area = log_prob(grid).exp().sum() * 0.15**2
            assert area == pytest.approx(1, abs=0.02), name
            assert draw(5).shape == (5, 2), name


@pytest.mark.parametrize("kind", ["train", "sample"])
def test_realnvp_prints_json_lines(realnvp, capsys, monkeypatch, kind):
    """A very short run has every key of a long one."""
    monkeypatch.setattr(realnvp, "SIZES", {"2-D": (2, 2, 4, 8)})
    for record in realnvp.raced(kind, Options(rounds=1, seconds=0.0)):
        harness.print_json(record)
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert record["name"] == f"realnvp-{kind}"
    assert set(record["peers"]) == {"zuko", "nflows", "normflows", "FrEIA"}
    assert set(record["litgen"]) == {"litgen-float32", "litgen-shipped"}
    assert min(*record["peers"].values(), record["ratio_float32"]) > 0


def test_denoisers_have_equal_parameters(ddpm):
    """To within two per cent; the two of diffusers and litgen's own exactly."""
    counts = ddpm.parameters(ddpm.SIZE)
    assert counts["litgen"] == counts["diffusers"] == counts["diffusers-one-head"]
    assert counts["denoising-diffusion"] == pytest.approx(counts["litgen"], rel=0.02)


@pytest.mark.parametrize("kind", ["train", "sample"])
def test_ddpm_prints_one_json_line(ddpm, capsys, kind):
    """A very short run has every key of a long one; one head is reported beside, not as a peer."""
    size = ddpm.Size(side=8, widths=(8, 8, 8), width=8, blocks=1, batch=2, steps=2)
    for record in ddpm.raced(kind, Options(rounds=1, seconds=0.0), size):
        harness.print_json(record)
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert record["name"] == f"ddpm-{kind}"
    assert set(record["peers"]) == {"diffusers", "denoising-diffusion"}
    assert set(record["against_one_head"]) == {"float32", "shipped"}
    assert min(*record["peers"].values(), *record["one_head"].values()) > 0


@pytest.mark.parametrize("players", ["dense", "strided", "upsampling"])
def test_litgens_players_are_the_peers(players):
    """The same function from the same weights, its gradients, and the same statistics."""
    torch.manual_seed(0)
    theirs = getattr(gan, players)()
    torch.manual_seed(0)
    mine = gan.by_litgen(getattr(gan, players)())
    z = torch.randn(6, gan.LATENT, generator=torch.Generator().manual_seed(1)).double()
    found = []
    for generator, critic in (theirs, mine):
        generator.double(), critic.double()
        for layer in critic.modules():
            if isinstance(layer, torch.nn.Dropout2d):
                layer.p = 0.0
        images = generator(z)
        logits = critic(images)
        parameters = [*generator.parameters(), *critic.parameters()]
        gradients = torch.autograd.grad(logits.square().sum(), parameters)
        buffers = [b.double() for net in (generator, critic) for b in net.buffers()]
        found.append([part.detach() for part in (images, logits, *gradients, *buffers)])
    assert len(found[0]) == len(found[1])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-12)
    assert found[0][1].std() > 1e-3


@pytest.mark.parametrize("penalised", [False, True])
def test_both_games_move_both_players(penalised):
    """Every turn yields, and changes all weights of both networks."""
    built = []

    def build():
        built.append(gan.dense())
        return built[-1]

    game = gan.Game(build, 28, penalised=penalised)
    usual = gan.usual_penalised_game if penalised else gan.usual_game
    for play in (usual(game), gan.litgen_game(game, mixed=False)):
        next(play)
        before = [p.clone() for net in built[-1] for p in net.parameters()]
        next(play)
        after = [p for net in built[-1] for p in net.parameters()]
        moved = [(a != b).any().item() for a, b in zip(before, after, strict=True)]
        assert sum(not m for m in moved) <= penalised  # the critic's last bias cancels out


@pytest.mark.parametrize("penalised", [False, True])
def test_gan_prints_one_json_line(capsys, penalised):
    """A very short run has every key of a long one."""
    game = gan.Game(gan.dense, 28, penalised=penalised)
    for record in gan.raced("gan-step", game, Options(rounds=1, seconds=0.0)):
        harness.print_json(record)
    record = json.loads(capsys.readouterr().out)
    assert set(record["peers"]) == {"usual"}
    assert set(record["litgen"]) == {"litgen-float32", "litgen-shipped"}
    assert min(record["ratio_float32"], record["ratio_shipped"]) > 0
    assert record["parameters"]["critic"] == 784 * 512 + 512 + 512 * 256 + 256 + 256 + 1


def test_frechet_prints_one_json_line(capsys):
    """All four distances agree on a small case."""
    for peer in ("pytorch_fid", "torch_fidelity", "torchmetrics"):
        pytest.importorskip(peer)
    from benchmarks import frechet

    warnings.simplefilter("ignore", DeprecationWarning)  # pytorch-fid calls scipy the old way
    for record in frechet.run(Options(rounds=1, seconds=0.0), count=300, dims=20):
        harness.print_json(record)
    record = json.loads(capsys.readouterr().out)
    assert set(record["seconds"]) == {*frechet.PEERS, "litgen"}
    assert max(record["relative_difference"].values()) < 1e-4
    assert record["values"]["litgen"] > 0.01


# the U-Net ---------------------------------------------------------------------------------------


def test_unets_compute_the_same_function():
    """The usual one's logits are litgen's, weights taken over; a step and inference are raced."""
    pytest.importorskip("segmentation_models_pytorch")
    from benchmarks import unet_step

    nets = unet_step.networks()
    x, y = unet_step.pictures(32)
    torch.testing.assert_close(nets["usual"](x), nets["litgen"](x), rtol=1e-4, atol=1e-4)
    counts = unet_step.parameter_counts()
    assert counts["usual"] == counts["litgen"] == pytest.approx(counts["smp"], rel=0.1)
    for race in (unet_step.step, unet_step.inference):
        record = race(SHORT, side=32)
        assert set(record["peers"]) == {"usual", "smp"}
        assert min(record["peers"].values()) > 0
        assert min(record["litgen"].values()) > 0
    assert unet_step.stepping(nets["usual"], x, y)() == len(x)


def test_what_is_folded_computes_the_same():
    """Inference in litgen's way gives the logits of the network in evaluation mode."""
    from benchmarks import unet_step

    net = unet_step.UNet(1, 2, (4, 6, 8))
    net(torch.randn(4, 1, 16, 16))
    x, _ = unet_step.pictures(32)
    expected = net.eval()(x)
    torch.testing.assert_close(unet_step.folded(net)(x), expected, rtol=1e-4, atol=1e-5)


def test_quality_is_trained_both_ways():
    """Two numbers between 0 and 1, of the same weights at the start."""
    from benchmarks import unet_step

    found = unet_step.quality(steps=2, widths=(4, 6))["mean_iou"]
    assert set(found) == {"float32", "shipped"}
    assert all(0 < value < 1 for value in found.values())


# CycleGAN's turn ---------------------------------------------------------------------------------


def test_both_turns_of_cyclegan_compute_the_same():
    """From equal weights and batches, the translators' losses agree over several turns."""
    from benchmarks import cyclegan_step as race
    from litgen.gan import cycle

    sizes = race.Sizes(side=24, batch=2, width=4, blocks=1, critic_width=4, critic_halvings=2)
    torch.manual_seed(0)
    ours = race.litgen_networks(sizes)
    theirs = race.usual_networks(sizes, ours)
    x = next(race.endless(sizes))[0]
    torch.testing.assert_close(ours[0].there(x), theirs[0][0](x), rtol=1e-4, atol=1e-5)
    batches = [next(race.endless(sizes))] * 6
    usual = [loss.item() for loss in race.usual_turns(sizes, theirs, iter(batches[:3]))]
    turns = race.litgen_turns(ours, iter(batches), mixed=False)
    found = [next(turns).item() / 2 for _ in range(3)]  # the collections average two directions
    assert found == pytest.approx(usual, rel=2e-3)
    assert found[2] < found[0]
    assert cycle.Objective() == cycle.Objective(10.0, 5.0, 0.0)


def test_cyclegan_step_reports_its_ratios():
    """Two races, each with both ratios and the number of weights."""
    from benchmarks import cyclegan_step as race

    small = race.Sizes(side=24, batch=1, width=2, blocks=1, critic_width=2, critic_halvings=2)
    rates = harness.race(race.contenders(small), 2, 0.0)
    assert set(rates) == {"usual", "litgen-float32", "litgen-shipped"}
    found = harness.verdict(rates, ["usual"])
    assert found["ratio_float32"] > 0
    assert found["best_peer"] == "usual"


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_pix2pix_s_two_steps_are_one_game(norm, monkeypatch):
    """From the same weights, without dropout, the usual turn and litgen's end at the same ones."""
    from benchmarks import pix2pix_step

    monkeypatch.setattr(pix2pix_step, "WIDTHS", (3, 4))
    monkeypatch.setattr(pix2pix_step, "CRITIC_WIDTH", 2)
    made = []

    def build(kind):
        torch.manual_seed(3)
        translator = pix2pix_step.Translator(3, 3, (3, 4), dropout=0.0, norm=kind).double()
        made.append((translator, pix2pix_step.PatchCritic(6, 2, 3, kind).double()))
        return made[-1]

    monkeypatch.setattr(pix2pix_step, "build", build)
    pairs = [torch.randn(2, 6, 32, 32, dtype=torch.float64) for _ in range(2)]
    twice = [[pairs[0], pairs[1]], [pairs[0], pairs[0], pairs[1], pairs[1]]]
    monkeypatch.setattr(pix2pix_step, "endless", lambda: iter(twice.pop(0)))
    usual, ours = pix2pix_step.usual(norm), pix2pix_step.litgen(norm, False)
    for game in (usual, ours):
        next(game)
        next(game)
    for theirs, mine in zip(*made, strict=True):
        for a, b in zip(theirs.parameters(), mine.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5)


# style transfer ----------------------------------------------------------------------------------


def small_setting(monkeypatch):
    """Return a setting on stand-ins, small, without deep layers."""
    from benchmarks import gatys_step as race

    monkeypatch.setattr("litgen.data.vgg.WIDTHS", (8, 8, 8, 8, 8))
    return dataclasses.replace(race.setting(32, ("conv1_1", "conv2_1")), style_weight=0.01)


def test_both_descents_of_style_transfer_are_one(monkeypatch):
    """From one start, loss by loss: the usual closure's first three, and litgen's."""
    from benchmarks import gatys_step as race
    from litgen.style import gatys

    given = small_setting(monkeypatch)
    goal = gatys.aim(given.network, given.content, given.style, race.CONTENT, given.style_layers)

    def loss(image):
        alpha = dict.fromkeys(race.CONTENT, 1.0)
        return sum(gatys.losses(given.network, image, goal, alpha, given.shares())).item()

    usual = race.UsualDescent(given)
    assert usual.closure().item() == pytest.approx(loss(given.content), rel=1e-4)
    names = [type(m).__name__ for m in usual.model]
    assert names.count("Conv2d") == 9  # up to conv4_2, and no deeper
    assert usual.step() > 1
    ours = race.litgen_steps(given, mixed=False)
    for _ in range(20):
        image = next(ours)
    assert loss(image) < loss(given.content)
    assert loss(image) == pytest.approx(loss(usual.image.detach()), rel=0.1)
    assert given.shares() == {"conv1_1": 0.005, "conv2_1": 0.005}


def test_gatys_step_reports_ratios_and_losses(monkeypatch):
    """Two sizes; with quality, last losses of all three."""
    from benchmarks import gatys_step as race

    given = small_setting(monkeypatch)
    monkeypatch.setattr(race, "setting", lambda side, layers: given)
    monkeypatch.setattr(race, "EVALUATIONS", 20)
    monkeypatch.setattr(race, "STARTS", 2)
    records = list(race.run(harness.Options(1, 0.0, True)))
    assert len(records) == 2
    for record in records:
        assert record["ratio_float32"] > 0
        assert record["best_peer"] == "usual"
        losses = record["final_loss"]
        sides = {"usual", "litgen-float32", "litgen-shipped"}
        assert set(losses) == {*sides, "each", "usual evaluations"}
        assert losses["usual evaluations"] >= 20
        for side in sides:
            assert len(losses["each"][side]) == 2
            assert losses[side] == pytest.approx(sum(losses["each"][side]) / 2, abs=1e-5)


# memory ------------------------------------------------------------------------------------------


def counted(places, work):
    """Return the most bytes that were on a pretended GPU at once."""
    from benchmarks.pretended import pretended

    with pretended(places):
        work()
    return places.peak


def a_step(batch=7, width=900):
    """Train one layer for a step of Adam."""
    layer = torch.nn.Linear(3, width).to("cuda")
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(batch, 3, device="cuda")).square().mean().backward()
    optimizer.step()


def test_a_step_takes_what_it_must():
    """Counted by hand: weights, gradients and two moments, of four bytes each, and a little."""
    from benchmarks.pretended import Places

    weights = 4 * (3 * 900 + 900)
    peak = counted(Places(), a_step)
    assert 4 * weights < peak < 6 * weights + 4 * 4 * 7 * 900


@pytest.mark.parametrize("large", [1, 1_000, 10**9])
def test_what_is_not_computed_takes_as_much(large, monkeypatch):
    """Sizes alone give the count of numbers: a layer, convolutions, a game that is evaluated."""
    from benchmarks import memory
    from benchmarks.pretended import Places

    def convolved():
        net = torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 1, 3)
        ).to("cuda", memory_format=torch.channels_last)
        with torch.autocast("cuda", torch.bfloat16):
            out = net(torch.rand(5, 1, 20, 20, device="cuda"))
        out.float().square().sum().backward()

    monkeypatch.setattr(memory, "LARGE", large)
    for work in (a_step, convolved):
        assert counted(memory.Sizes(), work) == counted(Places(), work)


def test_memory_of_a_recipe(monkeypatch):
    """Two turns of a small config, whole; none of it where there is no time; the error's name."""
    from benchmarks import memory
    from litgen import recipes, runs

    module = recipes.load("flows/moons")
    config = dataclasses.replace(module.GPU, couplings=2, hidden=(800,), turns=9, batch_size=500)
    record = memory.measured("flows/moons", config)
    assert record["recipe"] == "flows/moons"
    assert record["stage"] == "whole"
    assert record["turns"] == 2
    assert 0 <= record["estimated_minutes"] < 1
    assert 0 < record["of_which_turns_gb"] <= record["peak_gb"] < 0.1
    late = memory.measured("flows/moons", config, seconds=1e-3)
    assert late["stage"].endswith("cut off after 0 s")
    monkeypatch.setattr(module, "train", lambda *_: runs.Run({}, {}, {}, []))
    monkeypatch.setattr(module, "evaluate", lambda run, device: 1 / 0)
    broken = memory.measured("flows/moons", config)
    assert broken["stage"] == "in evaluation, ZeroDivisionError: division by zero"


def test_memory_is_measured_once(monkeypatch, tmp_path):
    """In processes of their own; the second call reads what the first has kept."""
    from benchmarks import memory
    from litgen import recipes

    found = {"recipe": "", "peak_gb": 1.5, "stage": "whole", "turns": 2}
    monkeypatch.setattr(recipes, "names", lambda: ["flows/moons", "gan/ring"])
    monkeypatch.setattr(
        memory, "measured", lambda name: found | {"recipe": name, "peak_gb": float(len(name))}
    )
    first = list(memory.run(SHORT))
    monkeypatch.setattr(memory, "measured", lambda name: 1 / 0)
    assert list(memory.run(SHORT)) == first
    assert [record.get("recipe") for record in first[:2]] == ["flows/moons", "gan/ring"]
    assert first[2]["largest"] == "flows/moons"
    assert first[2]["peak_gb"] == 11.0
    assert (first[2]["recipes"], first[2]["not_whole"]) == (2, 0)


def test_what_stumbles_over_zeros_is_computed(monkeypatch):
    """The second measurement is asked for values; the larger one counts."""
    from benchmarks import memory

    asked = []

    def stumbling(name, computed=False):
        asked.append(computed)
        stage = "whole" if computed else "in training, ValueError: nothing varies"
        return {"recipe": name, "peak_gb": 2.0 + computed, "stage": stage}

    monkeypatch.setattr(memory, "measured", stumbling)
    assert memory._measured("gan/ring")["peak_gb"] == 3.0
    assert asked == [False, True]
    monkeypatch.setattr(memory, "measured", lambda name: {"peak_gb": 1.0, "stage": "whole"})
    assert memory._measured("gan/ring") == {"peak_gb": 1.0, "stage": "whole"}


def test_a_process_that_dies_is_said(monkeypatch):
    """Its record says so, and is not kept."""
    import os

    from benchmarks import memory

    monkeypatch.setattr(memory, "measured", lambda name: os._exit(9))
    record = memory._apart("flows/moons")
    assert record == {"recipe": "flows/moons", "peak_gb": 0.0, "stage": "died, exit status 9"}
    assert memory._kept("flows/moons") is None


def test_launches_and_operations_are_counted():
    """A product of 2 by 3 and 3 by 4 numbers: 48 operations; neither views nor the CPU's."""
    from benchmarks.pretended import pretended

    with pretended() as places:
        left, right = torch.ones(2, 3, device="cuda"), torch.ones(3, 4, device="cuda")
        assert (places.launches, places.operations) == (0, 0)
        (left @ right).T.relu()
        torch.ones(2, 3) @ torch.ones(3, 4)
        assert (places.launches, places.operations) == (2, 48)
