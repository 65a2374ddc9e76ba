"""The in-page models compute what PyTorch computes, and answer mouse, keys, sliders and theme."""

import base64
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from litgen import plotting, runs
from litgen.density import kde, ppca
from litgen.diffusion import ddim, guidance, schedule
from litgen.diffusion.ddpm import denoised
from litgen.diffusion.known import GaussianMixture
from litgen.diffusion.schedule import Schedule
from litgen.flows.coupling import CouplingFlow
from litgen.gan import conditional
from litgen.primer import surfaces
from litgen.recipes import density_protocol
from litgen.recipes.flows import moons as flow_moons
from litgen.recipes.gan import conditional_digits, dcgan
from litgen.recipes.primer import classifier
from litgen.recipes.vae import dcign, plane
from litgen.recipes.words import addresses
from litgen.words import similarity
from tests.browser.visits import (
    CHAPTER,
    SETTLE,
    eventually,
    missing,
    show_theme,
    stop_the_clock,
)

pytestmark = pytest.mark.browser

COMPUTE = "codes => codes.map((z) => [...litgen.widgets['latent-plane'].compute(z)])"


@pytest.fixture(scope="module")
def shared_page(browser: Any, address: str) -> Any:
    """Return one page for the checks that can leave it as they found it."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.goto(address + CHAPTER)
    page.evaluate(SETTLE, True)
    return page


@pytest.fixture
def latent(shared_page: Any) -> Any:
    """Return the latent plane's figure, in the state in which a page opens."""
    figure = started(shared_page, "latent-plane")
    shared_page.evaluate("litgen.widgets['latent-plane'].choose(-0.5, 0.5)")
    return figure


@pytest.fixture
def snapshots(open_page: Callable[..., Any]) -> Any:
    """Return the figure of the training's snapshots on a page of its own."""
    return started(open_page(CHAPTER, formulas=False), "snapshots")


@pytest.fixture
def run(real_data: None) -> runs.Run:
    """Return the run that the chapter shows, from the user's own cache."""
    profile, _ = runs.planned("vae/plane")
    found = runs.find("vae/plane", profile)
    if found is None:
        missing("no fresh run of vae/plane: the site shows an older one; `make book` trains it")
    return found


def started(page: Any, name: str) -> Any:
    """Scroll to an in-page model and wait until it runs."""
    figure = page.locator(f'figure[data-widget="{name}"]')
    figure.scroll_into_view_if_needed()
    page.locator(f'figure[data-widget="{name}"][data-ready] canvas').last.wait_for()
    figure.locator(".litgen-panes").scroll_into_view_if_needed()
    return figure


def picture(canvas: Any) -> np.ndarray:
    """Return a canvas's pixels, (height, width, 4)."""
    data = canvas.evaluate("(canvas) => canvas.toDataURL()").partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
        return np.asarray(opened.convert("RGBA")).astype(int)


def has_label(canvas: Any, codes: Tensor, labels: Tensor) -> bool:
    """Say whether the last class's white disc lies on the median of its codes."""
    own = codes.float()[labels == labels.max()].sort(dim=0).values
    middle = own[len(own) // 2]
    x, y = ((middle * torch.tensor([1, -1]) / plane.EXTENT + 1) * 320).round().int().tolist()
    return bool((picture(canvas)[y - 1 : y + 2, x - 16 : x - 13] == 255).all())


def test_latent_plane_computes_what_pytorch_computes(latent: Any, run: runs.Run) -> None:
    """On 49 codes of the square, every pixel to 1e-4."""
    axis = torch.linspace(-plane.EXTENT, plane.EXTENT, 7)
    codes = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        expected = torch.sigmoid(plane.restore(run).decoder(codes))
    assert expected.std(dim=0).max() > 0.1
    computed = torch.tensor(latent.page.evaluate(COMPUTE, codes.tolist()))
    torch.testing.assert_close(computed, expected, atol=1e-4, rtol=0)


def test_latent_plane_shows_codes_and_digit(latent: Any, run: runs.Run) -> None:
    """The digit is the decoder's, the right way up; the codes are the encoder's."""
    model = plane.restore(run)
    with torch.no_grad():
        codes = model.encoder(run.tensors["examples.x"].float())[0]
        expected = torch.sigmoid(model.decoder(torch.tensor([[-2.9, 1.3]])))[0].view(28, 28)
    latent.page.evaluate("litgen.widgets['latent-plane'].choose(-2.9, 1.3)")
    shown = picture(latent.locator("canvas.digit"))
    assert shown.shape == (28, 28, 4)
    assert expected.std() > 0.1
    assert np.abs(shown[..., :3] - 255 * expected.numpy()[..., None]).max() <= 1
    assert (shown[..., 3] == 255).all()
    assert has_label(latent.locator("canvas").first, codes, run.tensors["examples.label"])


def test_latent_plane_follows_the_mouse(latent: Any) -> None:
    """It moves while the button is down, and only then."""
    digit, text = latent.locator(".digit"), latent.locator("output")
    box = latent.locator("canvas").first.bounding_box()
    mouse = latent.page.mouse

    def at(across: float, down: float) -> tuple[float, float]:
        return box["x"] + across * box["width"], box["y"] + down * box["height"]

    seen = [picture(digit)]
    mouse.move(*at(0.5, 0.5))
    mouse.down()
    places = {(0.5, 0.5): (0, 0), (0.75, 0.25): (1.5, 1.5), (0.1, 0.7): (-2.4, -1.2)}
    for place, expected in places.items():
        mouse.move(*at(*place), steps=3)
        chosen = [float(number) for number in text.inner_text()[5:-1].split(",")]
        assert chosen == pytest.approx(expected, abs=0.03)
        seen.append(picture(digit))
    mouse.up()
    mouse.move(*at(0.9, 0.9))
    assert (picture(digit) == seen[-1]).all()
    assert all((a != b).any() for a, b in itertools.pairwise(seen))


def test_latent_plane_follows_the_keys(latent: Any) -> None:
    """Arrows on the plane, then Tab to each slider; the page itself stays where it is."""
    page, digit, text = latent.page, latent.locator(".digit"), latent.locator("output")
    latent.locator("canvas").first.focus()
    place = page.evaluate("scrollY")
    seen = [picture(digit)]
    for key, expected in (
        ("ArrowRight", "z = (-0.40, 0.50)"),
        ("ArrowUp", "z = (-0.40, 0.60)"),
        ("ArrowLeft", "z = (-0.50, 0.60)"),
        ("ArrowDown", "z = (-0.50, 0.50)"),
        ("Tab", "z = (-0.50, 0.50)"),
        ("End", "z = (3.00, 0.50)"),
        ("Tab", "z = (3.00, 0.50)"),
        ("Home", "z = (3.00, -3.00)"),
    ):
        page.keyboard.press(key)
        assert text.inner_text() == expected
        seen.append(picture(digit))
        assert (seen[-1] != seen[-2]).any() == (key != "Tab")
    assert page.evaluate("scrollY") == place


def test_latent_plane_has_named_sliders(latent: Any) -> None:
    """Each moves its own coordinate."""
    seen = picture(latent.locator(".digit"))
    latent.get_by_role("slider", name="z₁").fill("1.25")
    latent.get_by_role("slider", name="z₂").fill("-2")
    assert latent.locator("output").inner_text() == "z = (1.25, -2.00)"
    assert (picture(latent.locator(".digit")) != seen).any()


@pytest.mark.parametrize("name", ["latent-plane", "snapshots"])
def test_widget_redraws_with_the_theme(shared_page: Any, name: str) -> None:
    """Its axes take the text's colour in both themes."""
    figure = started(shared_page, name)
    canvas = figure.locator("canvas").first

    def frame() -> float:
        return float(picture(canvas)[1, 5:100, :3].mean())

    assert frame() < 100
    show_theme(figure.page, "dark")
    assert eventually(lambda: frame() > 150)
    show_theme(figure.page, "light")
    assert eventually(lambda: frame() < 100)


@pytest.mark.parametrize("name", ["latent-plane", "snapshots"])
def test_widget_takes_the_place_of_its_picture(shared_page: Any, name: str) -> None:
    """The picture goes, the caption stays, and what is drawn has a name."""
    figure = started(shared_page, name)
    assert figure.locator("img").count() == 0
    assert len(figure.locator("figcaption").inner_text()) > 20
    names = figure.locator("canvas").evaluate_all("all => all.map((c) => c.ariaLabel || '')")
    assert len(names) == 2
    assert min(map(len, names)) > 20


def test_works_from_a_disk(browser: Any, site: Path, latent: Any) -> None:
    """Opened as a file, the models run without an error of our scripts, with the same numbers."""
    codes = [[0.3, -1.2], [2.0, 0.5]]
    errors: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto((site / CHAPTER).as_uri())
    page.evaluate(SETTLE, True)
    computed = page.evaluate(COMPUTE, codes)
    assert computed == latent.page.evaluate(COMPUTE, codes)
    assert computed[0] != computed[1]
    assert page.evaluate("litgen.widgets.snapshots.slider.value !== '0'")
    page.close()
    assert not errors


def test_snapshots_start_at_the_end_and_wait(snapshots: Any) -> None:
    """The final state is shown, and nothing moves until someone asks."""
    slider, text = snapshots.get_by_role("slider"), snapshots.locator("output")
    end = slider.get_attribute("max")
    assert slider.input_value() == end != "0"
    _, now, _, all_steps, _ = text.inner_text().split()
    assert now == all_steps
    before = [picture(canvas) for canvas in snapshots.locator("canvas").all()]
    snapshots.page.wait_for_timeout(1300)  # two turns of its timer
    after = [picture(canvas) for canvas in snapshots.locator("canvas").all()]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    assert slider.input_value() == end
    assert snapshots.get_by_role("button").inner_text() == "Play"


def test_snapshots_show_the_runs_own_moments(shared_page: Any, run: runs.Run) -> None:
    """At four places of the slider: the turn, the codes and the decoded plane of that snapshot."""
    snapshots = started(shared_page, "snapshots")
    turns = run.tensors["snapshots.turn"].tolist()
    planes = [
        255 * plotting.tiled(p.float().flatten(0, 1).unsqueeze(1) / 255, columns=len(p), gap=0)
        for p in run.tensors["snapshots.plane"]
    ]
    slider, text = snapshots.get_by_role("slider"), snapshots.locator("output")
    codes, decoded = snapshots.locator("canvas").all()
    labels = run.tensors["examples.label"]

    def nearest() -> int:
        return int(np.argmin([np.abs(picture(decoded)[..., 0] - p).mean() for p in planes]))

    for i in (len(turns) - 1, 0, 4, 9):
        slider.fill(str(i))
        assert eventually(lambda i=i: nearest() == i)
        assert text.inner_text() == f"after {turns[i]} of {turns[-1]} steps"
        assert slider.get_attribute("aria-valuetext") == text.inner_text()
        assert np.abs(picture(decoded)[..., 0] - planes[i]).mean() < 6
        assert has_label(codes, run.tensors["snapshots.mean"][i], labels)


def test_snapshots_play_and_stop_at_the_end(snapshots: Any) -> None:
    """Play goes from the first to the last and stays there; the button and the slider pause it."""
    clock, button = snapshots.page.clock, snapshots.get_by_role("button")
    slider, canvas = snapshots.get_by_role("slider"), snapshots.locator("canvas").first
    stop_the_clock(snapshots.page)
    last = picture(canvas)
    button.click()
    assert (slider.input_value(), button.inner_text()) == ("0", "Pause")
    assert (picture(canvas) != last).any()
    clock.run_for(1900)
    assert slider.input_value() == "3"
    button.click()
    clock.run_for(3000)
    assert (slider.input_value(), button.inner_text()) == ("3", "Play")
    button.click()
    clock.run_for(700)
    assert slider.input_value() == "4"
    slider.fill("7")
    clock.run_for(3000)
    assert (slider.input_value(), button.inner_text()) == ("7", "Play")
    button.click()
    clock.run_for(60_000)
    assert (slider.input_value(), button.inner_text()) == (slider.get_attribute("max"), "Play")
    assert (picture(canvas) == last).all()


def test_snapshots_follow_the_keys(snapshots: Any) -> None:
    """Enter plays and pauses, Tab goes to the slider, arrows step."""
    page, button = snapshots.page, snapshots.get_by_role("button")
    slider, canvas = snapshots.get_by_role("slider"), snapshots.locator("canvas").first
    stop_the_clock(page)
    button.focus()
    page.keyboard.press("Enter")
    assert button.inner_text() == "Pause"
    page.keyboard.press("Space")
    assert (slider.input_value(), button.inner_text()) == ("0", "Play")
    page.keyboard.press("Tab")
    seen = picture(canvas)
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == "1"
    assert (picture(canvas) != seen).any()
    page.keyboard.press("End")
    assert slider.input_value() == slider.get_attribute("max")


# one slider a coordinate ------------------------------------------------------------------------

FACES = "book/density/ppca.html"
DECODE = "codes => codes.map((z) => [...litgen.widgets['code-sliders'].compute(z)])"


@pytest.fixture
def sliders(open_page: Callable[..., Any]) -> Any:
    """Return the figure of the faces' eight sliders on a page of its own."""
    return started(open_page(FACES, formulas=False), "code-sliders")


@pytest.fixture
def decoded() -> Callable[[Tensor], Tensor]:
    """Return the decoder that the chapter shows, fitted anew."""
    train, _ = density_protocol.grey_faces()
    return ppca.fit(train.double(), 8).decode


def test_code_sliders_compute_what_pytorch_computes(
    real_data: None, sliders: Any, decoded: Callable[[Tensor], Tensor]
) -> None:
    """Every pixel of 20 random codes; directions may be turned round, so up to their signs."""
    codes = torch.randn(20, 8, generator=torch.Generator().manual_seed(0)).double()
    basis = torch.cat([torch.zeros(1, 8), torch.eye(8)]).double()
    mean, *steps = torch.tensor(sliders.page.evaluate(DECODE, basis.tolist())).double()
    weight = torch.stack(steps, dim=1) - mean[:, None]
    known = decoded(basis)
    signs = (weight * (known[1:] - known[0]).T).sum(dim=0).sign()
    assert signs.abs().sum() == 8
    computed = torch.tensor(sliders.page.evaluate(DECODE, codes.tolist())).double()
    expected = decoded(codes * signs)
    assert expected.std(dim=0).min() > 0.01
    torch.testing.assert_close(computed, expected, atol=5e-3, rtol=0)


def test_code_sliders_show_the_decoded_face(sliders: Any) -> None:
    """A slider moves its own coordinate; the picture is what the network computes, clamped."""
    canvas, text = sliders.locator("canvas"), sliders.locator("output")
    names = [f"z{n}" for n in "₁₂₃₄₅₆₇₈"]
    assert sliders.get_by_role("slider").count() == len(names)
    assert text.inner_text() == "|z| = 0.00"
    seen = [picture(canvas)]
    for i, name in enumerate(names):
        sliders.get_by_role("slider", name=name).fill("2.5")
        code = [2.5] * (i + 1) + [0.0] * (7 - i)
        assert text.inner_text() == f"|z| = {2.5 * (i + 1) ** 0.5:.2f}"
        grey = 255 * np.array(sliders.page.evaluate(DECODE, [code])[0]).reshape(25, 25)
        seen.append(picture(canvas))
        assert np.abs(seen[-1][..., :3] - grey.clip(0, 255)[..., None]).max() <= 1
        assert (seen[-1][..., 3] == 255).all()
        assert (seen[-1] != seen[-2]).any()
    sliders.get_by_role("button", name="Mean").click()
    assert (picture(canvas) == seen[0]).all()
    assert text.inner_text() == "|z| = 0.00"


def test_code_sliders_draw_codes_from_the_prior(sliders: Any) -> None:
    """200 random codes: mean 0 and variance 1 in every coordinate, within five errors."""
    button, inputs = sliders.get_by_role("button", name="Draw a code"), sliders.locator("input")
    button.click()
    first = picture(sliders.locator("canvas"))
    button.click()
    assert (picture(sliders.locator("canvas")) != first).any()
    draw = """(figure) => Array.from({ length: 200 }, () => {
      figure.querySelectorAll("button")[1].click();
      return [...figure.querySelectorAll("input")].map((slider) => +slider.value);
    })"""
    codes = np.array(sliders.evaluate(draw))
    assert codes.shape == (200, inputs.count())
    assert np.abs(codes.mean(axis=0)).max() < 5 / 200**0.5
    assert np.abs(codes.var(axis=0) - 1).max() < 5 * (2 / 200) ** 0.5
    assert np.abs(np.corrcoef(codes.T) - np.eye(8)).max() < 5 / 200**0.5


def test_code_sliders_follow_the_keys_and_have_names(sliders: Any) -> None:
    """Tab goes from slider to slider and to the buttons; the picture says what it is."""
    page, text = sliders.page, sliders.locator("output")
    sliders.locator("input").first.focus()
    page.keyboard.press("End")
    assert text.inner_text() == "|z| = 3.00"
    for _ in range(8):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert text.inner_text() == "|z| = 0.00"
    assert len(sliders.locator("canvas").get_attribute("aria-label")) > 20
    assert sliders.locator("img").count() == 0
    assert len(sliders.locator("figcaption").inner_text()) > 20


# word-map ----------------------------------------------------------------------------------------

WORDS = "book/words/skipgram.html"
NEIGHBOURS = "([word, count]) => litgen.widgets['word-map'].neighbours(word, count)"


@pytest.fixture(scope="module")
def words_page(browser: Any, address: str) -> Any:
    """Return the chapter of words, shared by the checks that leave it as they found it."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page.goto(address + WORDS)
    page.evaluate(SETTLE, True)
    return page


@pytest.fixture
def word_map(words_page: Any) -> Any:
    """Return the map of words, in the state in which a page opens."""
    figure = started(words_page, "word-map")
    words_page.evaluate("litgen.widgets['word-map'].choose('war')")
    return figure


def shown_neighbours(figure: Any) -> list[str]:
    """Return the words of the list, nearest first."""
    return [button.inner_text() for button in figure.locator("ol button").all()]


def test_word_map_finds_the_neighbours_that_pytorch_finds(word_map: Any, real_data: None) -> None:
    """For five words, among the two thousand: cosines to what a byte a number can hold."""
    profile, _ = runs.planned("words/addresses")
    found = runs.find("words/addresses", profile)
    if found is None:
        missing("no fresh run of words/addresses: the site shows an older one")
    vectors = addresses.restore(found)
    words = vectors.vocabulary.words[:2_000]
    unit = similarity.normalized(vectors.centres[:2_000])
    for word in ("war", "gold", "the", "children", "treaty"):
        cosine = unit @ unit[words.index(word)]
        best = cosine.topk(11).indices.tolist()[1:]
        answer = word_map.page.evaluate(NEIGHBOURS, [word, 10])
        values = [value for _, value in answer]
        assert values == sorted(values, reverse=True)
        expected = [cosine[words.index(other)].item() for other, _ in answer]
        assert values == pytest.approx(expected, abs=0.01)
        assert min(expected) > cosine[best[-1]].item() - 0.01
        assert len({other for other, _ in answer} & {words[i] for i in best}) >= 8


def test_word_map_searches(word_map: Any) -> None:
    """Typing a word chooses it; one that is not there is said, and the list stays."""
    field, text = word_map.get_by_role("searchbox", name="word"), word_map.locator("output")
    before = shown_neighbours(word_map)
    field.fill("Gold ")
    assert text.inner_text().startswith("gold, word ")
    after = shown_neighbours(word_map)
    assert len(after) == 10
    assert after != before
    field.fill("zebra")
    assert text.inner_text() == "zebra: not among these 2000 words"
    assert shown_neighbours(word_map) == after


def test_word_map_follows_mouse_and_keys(word_map: Any) -> None:
    """A neighbour's button, the arrow keys and a click on the map choose another word."""
    canvas, text = word_map.locator("canvas"), word_map.locator("output")
    seen = [text.inner_text()]
    nearest = shown_neighbours(word_map)[0]
    word_map.locator("ol button").first.click()
    seen.append(text.inner_text())
    assert seen[-1].startswith(f"{nearest}, ")
    canvas.focus()
    place = word_map.page.evaluate("scrollY")
    word_map.page.keyboard.press("ArrowRight")
    seen.append(text.inner_text())
    word_map.page.keyboard.press("ArrowUp")
    assert text.inner_text() == seen[-2]
    assert word_map.page.evaluate("scrollY") == place
    picture_before = picture(canvas)
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 0.1, "y": box["height"] * 0.5})
    seen.append(text.inner_text())
    assert (picture(canvas) != picture_before).any()
    assert len(set(seen)) == 4


def test_word_map_works_from_a_disk(browser: Any, site: Path, word_map: Any) -> None:
    """Opened as a file it finds the same neighbours, without an error of our scripts."""
    errors: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((site / WORDS).as_uri())
    page.evaluate(SETTLE, True)
    started(page, "word-map")
    expected = word_map.page.evaluate(NEIGHBOURS, ["gold", 10])
    assert page.evaluate(NEIGHBOURS, ["gold", 10]) == expected
    page.close()
    assert not errors


# book/primer/optimisation.md: paths of optimisers on a surface ---------------------------------

DESCENT = "book/primer/optimisation.html"
RULES: dict[str, Callable[[list[Tensor], float], torch.optim.Optimizer]] = {
    "gradient descent": lambda x, rate: torch.optim.SGD(x, rate),
    "heavy ball": lambda x, rate: torch.optim.SGD(x, rate, momentum=0.9),
    "Nesterov": lambda x, rate: torch.optim.SGD(x, rate, momentum=0.9, nesterov=True),
    "RMSProp": lambda x, rate: torch.optim.RMSprop(x, rate),
    "Adam": lambda x, rate: torch.optim.Adam(x, rate),
}


@pytest.fixture
def descent(open_page: Callable[..., Any]) -> Any:
    """Return the figure of the surface on a page of its own."""
    return started(open_page(DESCENT, formulas=False), "descent")


def walked(surface: str, rule: str, rate: float, start: list[float], steps: int) -> Tensor:
    """Return the path that torch.optim takes."""
    x = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = RULES[rule]([x], rate)
    places = [x.detach().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        surfaces.SURFACES[surface](x).backward()
        optimizer.step()
        places.append(x.detach().clone())
    return torch.stack(places)


def test_paths_are_those_of_pytorch(descent: Any) -> None:
    """All surfaces, optimisers and two learning rates, 150 steps, every place to 1e-4."""
    for surface, rule in itertools.product(surfaces.SURFACES, RULES):
        for rate in (0.003, 0.02):
            expected = walked(surface, rule, rate, [-1.3, 0.7], 150)
            assert (expected[-1] - expected[0]).abs().max() > 0.1
            path = descent.page.evaluate(
                "a => litgen.widgets.descent.compute(...a)",
                [surface, rule, rate, [-1.3, 0.7], 150],
            )
            torch.testing.assert_close(
                torch.tensor(path, dtype=torch.float64), expected, atol=1e-4, rtol=1e-4
            )


def test_descent_says_where_it_ends(descent: Any) -> None:
    """The height in the text is that of PyTorch's path, for each choice that a reader makes."""
    text = descent.locator("output")
    rate, steps = descent.get_by_role("slider").all()
    surface, rule = descent.get_by_role("combobox").all()
    for name, optimizer, exponent, count in (
        ("ravine", "Nesterov", "-1.5", "40"),
        ("rosenbrock", "RMSProp", "-2", "150"),
        ("ravine", "gradient descent", "-0.7", "25"),
    ):
        surface.select_option(name)
        rule.select_option(optimizer)
        rate.fill(exponent)
        steps.fill(count)
        start = {"ravine": [-2.6, 1.2], "rosenbrock": [-1.4, 0.4]}[name]
        path = walked(name, optimizer, 10 ** float(exponent), start, int(count))
        height = surfaces.SURFACES[name](path[-1]).item()
        assert f"after {count} steps" in text.inner_text()
        shown = float(text.inner_text().split("height ")[1].split()[0])
        assert shown == pytest.approx(height, rel=6e-3)


def test_descent_follows_mouse_and_keys(descent: Any) -> None:
    """The start goes where it is dragged or pushed, and stays on the surface."""
    canvas, text = descent.locator("canvas"), descent.locator("output")
    descent.get_by_role("combobox").first.select_option("ravine")
    seen = [picture(canvas)]
    box = canvas.bounding_box()
    mouse = descent.page.mouse
    mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    mouse.down()
    mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"], steps=3)
    mouse.up()
    x, y = (float(v) for v in text.inner_text().split("(")[1].split(")")[0].split(","))
    assert (x, y) == pytest.approx((-1.5, 1.5), abs=0.03)
    seen.append(picture(canvas))
    canvas.focus()
    for key in ("ArrowRight", "ArrowUp"):
        descent.page.keyboard.press(key)
        seen.append(picture(canvas))
    moved = [float(v) for v in text.inner_text().split("(")[1].split(")")[0].split(",")]
    assert moved == pytest.approx([x + 0.1, y + 0.1], abs=0.011)
    assert all((a != b).any() for a, b in itertools.pairwise(seen))
    descent.page.evaluate("litgen.widgets.descent.choose(-99, 99)")
    assert "from (-3.00, 3.00)" in text.inner_text()


def test_descent_plays_and_stops_at_the_end(descent: Any) -> None:
    """Nothing moves until asked; Play goes from the start to the last step and stays there."""
    clock, button = descent.page.clock, descent.get_by_role("button")
    slider = descent.get_by_role("slider", name="steps")
    last = slider.get_attribute("max")
    assert slider.input_value() == last
    stop_the_clock(descent.page)
    clock.run_for(2_000)
    assert slider.input_value() == last
    button.click()
    assert (slider.input_value(), button.inner_text()) == ("0", "Pause")
    clock.run_for(630)
    button.click()
    paused = slider.input_value()
    assert 10 <= int(paused) < 50
    clock.run_for(1_000)
    assert (slider.input_value(), button.inner_text()) == (paused, "Play")
    button.click()
    clock.run_for(60_000)
    assert (slider.input_value(), button.inner_text()) == (last, "Play")


def test_descent_steps_where_motion_is_not_wanted(browser: Any, address: str) -> None:
    """With prefers-reduced-motion a click is one step, and no clock moves anything."""
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(address + DESCENT)
    figure = started(page, "descent")
    button, slider = figure.get_by_role("button"), figure.get_by_role("slider", name="steps")
    stop_the_clock(page)
    assert button.inner_text() == "Step"
    for expected in ("0", "1", "2"):
        button.click()
        page.clock.run_for(2_000)
        assert (slider.input_value(), button.inner_text()) == (expected, "Step")
    context.close()


def test_descent_names_what_left_all_numbers(descent: Any) -> None:
    """A path that diverges is said to, and breaks nothing."""
    descent.get_by_role("combobox").first.select_option("rosenbrock")
    descent.get_by_role("combobox").last.select_option("gradient descent")
    descent.get_by_role("slider", name="learning rate").fill("0")
    assert "beyond all numbers" in descent.locator("output").inner_text()


# classify ----------------------------------------------------------------------------------------

CONVOLUTION = "book/primer/convolution.html"
ANSWER = "pictures => pictures.map((x) => [...litgen.widgets.classify.compute(x)])"
IMAGE = "[...litgen.widgets.classify.image()]"


@pytest.fixture
def classify(open_page: Callable[..., Any]) -> Any:
    """Return the figure of the classifier on a page of its own."""
    return started(open_page(CONVOLUTION, formulas=False), "classify")


@pytest.fixture
def small(real_data: None) -> runs.Run:
    """Return the run whose weights the page has."""
    found = runs.find("primer/classifier", "cpu")
    if found is None:
        missing("no fresh run of primer/classifier in the CPU profile; `make book` trains it")
    return found


def pixels_of(figure: Any) -> Tensor:
    """Return the picture as the page holds it, (28, 28)."""
    return torch.tensor(figure.page.evaluate(IMAGE)).view(28, 28)


def test_classify_computes_what_pytorch_computes(classify: Any, small: runs.Run) -> None:
    """On eight test pictures and on noise, every logit to 1e-4."""
    x = small.tensors["examples.x"][:8].float() / 255
    x = torch.cat([x, torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))])
    with torch.no_grad():
        expected = classifier.restore(small)(x)
    assert expected.std(dim=0).min() > 0.5
    computed = torch.tensor(classify.page.evaluate(ANSWER, x.flatten(1).tolist()))
    torch.testing.assert_close(computed, expected, atol=1e-4, rtol=0)
    probabilities = expected[0].softmax(dim=0)
    shown = [int(text.split()[0]) for text in classify.locator(".share").all_inner_texts()]
    assert shown == pytest.approx((100 * probabilities).tolist(), abs=0.51)
    name = classify.locator(".winner .name").inner_text()
    assert classify.locator("output").inner_text().startswith(name + ", ")


def test_classify_shows_and_moves_test_pictures(classify: Any, small: runs.Run) -> None:
    """The next picture; arrow keys and a drag move it by whole pixels, black comes in."""
    pictures = small.tensors["examples.x"][:2, 0].float() / 255
    torch.testing.assert_close(pixels_of(classify), pictures[0])
    classify.get_by_role("button", name="Next picture").click()
    torch.testing.assert_close(pixels_of(classify), pictures[1])
    canvas = classify.locator("canvas")
    canvas.focus()
    place = classify.page.evaluate("scrollY")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        classify.page.keyboard.press(key)
    expected = torch.zeros(28, 28)
    expected[:-1, 2:] = pictures[1][1:, :-2]
    torch.testing.assert_close(pixels_of(classify), expected)
    assert classify.page.evaluate("scrollY") == place
    box, mouse = canvas.bounding_box(), classify.page.mouse
    step = box["width"] / 28
    mouse.move(box["x"] + 10.5 * step, box["y"] + 10.5 * step)
    mouse.down()
    mouse.move(box["x"] + 8.5 * step, box["y"] + 11.5 * step, steps=4)
    mouse.up()
    mouse.move(box["x"] + 20.5 * step, box["y"] + 20.5 * step)
    back = torch.zeros(28, 28)
    back[1:, :-2] = expected[:-1, 2:]
    torch.testing.assert_close(pixels_of(classify), back)
    shown = picture(canvas)[10::20, 10::20, 0]
    assert np.abs(shown - 255 * back.numpy()).max() <= 1


def test_classify_draws_and_erases_by_mouse_and_keys(classify: Any) -> None:
    """A line appears where the mouse goes, and goes where the eraser does."""
    page, canvas = classify.page, classify.locator("canvas")
    classify.get_by_role("button", name="Clear").click()
    assert pixels_of(classify).abs().max() == 0
    classify.get_by_role("radio", name="draw").check()
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    step = box["width"] / 28
    page.mouse.move(box["x"] + 5.5 * step, box["y"] + 8.5 * step)
    page.mouse.down()
    page.mouse.move(box["x"] + 20.5 * step, box["y"] + 8.5 * step, steps=30)
    page.mouse.up()
    drawn = pixels_of(classify)
    assert (drawn[8, 5:21] > 0.85).all()
    assert drawn[11:].max() == 0
    assert drawn[:, :3].max() == 0
    before = classify.locator("output").inner_text()
    canvas.focus()
    for _ in range(6):
        page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    assert pixels_of(classify)[14, 20] > 0.85
    classify.get_by_role("radio", name="erase").check()
    canvas.focus()
    page.keyboard.press("Space")
    assert pixels_of(classify)[14, 20] == 0
    assert (pixels_of(classify)[8, 5:21] > 0.85).all()
    assert before


# the bandwidth of book/density/kde.md ----------------------------------------------------------


@pytest.fixture
def bandwidth(open_page: Callable[..., Any]) -> Any:
    """Return the figure of the kernels on a page of its own."""
    return started(open_page("book/density/kde.html", formulas=False), "kde")


def test_kernels_are_those_of_python(bandwidth: Any) -> None:
    """Density, training and leave-one-out likelihood at five bandwidths, by litgen.density.kde."""
    points = bandwidth.page.evaluate("[...litgen.widgets.kde.points]")
    data = torch.tensor(points, dtype=torch.float64)[:, None]
    places = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
    for h in (0.02, 0.1, 0.3, 1.0, 2.5):
        found = bandwidth.page.evaluate(
            "([h, x]) => litgen.widgets.kde.compute(h, x)", [h, places.flatten().tolist()]
        )
        expected = kde.log_prob(places, data, h).exp().tolist()
        assert found["density"] == pytest.approx(expected, abs=1e-9)
        assert found["training"] == pytest.approx(kde.log_prob(data, data, h).mean().item())
        assert found["leftOut"] == pytest.approx(kde.leave_one_out(data, h).log_likelihood)


def test_the_bandwidth_follows_its_slider(bandwidth: Any) -> None:
    """It opens at the best one; keys and values move picture, text and what a reader hears."""
    slider, text = bandwidth.get_by_role("slider", name="bandwidth"), bandwidth.locator("output")
    points = bandwidth.page.evaluate("[...litgen.widgets.kde.points]")
    best, value = kde.fit_bandwidth(torch.tensor(points, dtype=torch.float64)[:, None])
    assert f"h = {best:.2f}" in text.inner_text()
    assert f"one left out {value:.2f} nats" in text.inner_text()
    canvas = bandwidth.locator("canvas")
    seen = picture(canvas)
    slider.fill("-3")
    assert text.inner_text().startswith("h = 0.05: training ")
    assert slider.get_attribute("aria-valuetext") == text.inner_text()
    assert (picture(canvas) != seen).any()
    slider.press("ArrowRight")
    assert "h = 0.05" in text.inner_text()
    assert slider.input_value() == "-2.99"
    assert len(canvas.get_attribute("aria-label")) > 20


def test_the_kernels_redraw_with_the_theme(bandwidth: Any) -> None:
    """The axis takes the text's colour in both themes."""
    canvas = bandwidth.locator("canvas")

    def axis() -> float:
        return float(picture(canvas)[456, 5:40, :3].mean())

    assert axis() < 100
    show_theme(bandwidth.page, "dark")
    assert eventually(lambda: axis() > 150)


def test_the_kernels_stand_where_the_density_is(bandwidth: Any) -> None:
    """With narrow kernels the thick curve is high at a crowd of points and zero where none is."""
    bandwidth.get_by_role("slider", name="bandwidth").fill("-1.5")
    points = torch.tensor(bandwidth.page.evaluate("[...litgen.widgets.kde.points]"))[:, None]
    shown = picture(bandwidth.locator("canvas"))
    blue = (np.abs(shown[..., :3] - [0, 0x72, 0xB2]).sum(axis=2) < 30) & (shown[..., 3] > 200)
    for x in (-1.5, -0.5, 0.3, 1.2):
        column = round((x + 3.2) / 6.0 * 960)
        expected = 456 * (1 - kde.log_prob(torch.tensor([[x]]), points, 0.2231).exp().item() / 0.8)
        rows = np.flatnonzero(blue[:, column])
        assert rows.size
        assert np.abs(rows - expected).min() < 6


# book/diffusion/ddim.md: paths from noise to data ----------------------------------------------


@pytest.fixture
def paths(open_page: Callable[..., Any]) -> Any:
    """Return the figure of the sampler in the plane on a page of its own."""
    return started(open_page("book/diffusion/ddim.html", formulas=False), "ddim-paths")


def test_paths_are_those_of_python(paths: Any) -> None:
    """Every point of every path, by litgen.diffusion, for four numbers of steps and three etas."""
    asked = "(a) => litgen.widgets['ddim-paths'].compute(...a)"
    setup = paths.page.evaluate("litgen.widgets['ddim-paths'].setup")
    data = GaussianMixture(
        torch.tensor(setup["weights"]).double(),
        torch.tensor(setup["means"]).double(),
        setup["scale"],
    )
    schedule = Schedule(torch.tensor(setup["alphaBar"], dtype=torch.float64))
    generator = torch.Generator().manual_seed(4)
    for steps, eta in itertools.product((1, 7, 16, 50), (0.0, 0.6, 1.5)):
        noise = torch.randn(steps + 1, 6, 2, generator=generator, dtype=torch.float64)
        when = ddim.times(schedule, steps)
        assert paths.page.evaluate(f"litgen.widgets['ddim-paths'].times({steps})") == when
        x = noise[-1]
        expected = [x]
        for k, (t, s) in enumerate(itertools.pairwise(when)):
            at = torch.full((6,), t)
            guess = denoised(data.noise(x, at, schedule), x, at, schedule)
            x = ddim.step(guess, t, s, schedule, eta, noise[k])
            expected.append(x)
        found = paths.page.evaluate(asked, [steps, eta, noise[-1].tolist(), noise[:-1].tolist()])
        torch.testing.assert_close(
            torch.tensor(found, dtype=torch.float64), torch.stack(expected, dim=1)
        )
        assert torch.stack(expected).std(dim=1)[:-1].min() > 0.1


def test_paths_start_at_standard_normal_noise(paths: Any) -> None:
    """Many draws: mean 0, variance 1, no correlation, another seed another draw."""
    draws = "litgen.widgets['ddim-paths'].draws"
    rows = [torch.tensor(paths.page.evaluate(f"{draws}({seed})")) for seed in range(1, 200)]
    found = torch.cat(rows)
    assert found.mean(dim=0).abs().max() < 0.06
    assert (found.T.cov() - torch.eye(2)).abs().max() < 0.08
    assert not torch.equal(rows[0], rows[1])


def test_paths_follow_sliders_button_and_theme(paths: Any) -> None:
    """The text names steps, eta and spread; each control redraws."""
    canvas, text = paths.locator("canvas"), paths.locator("output")
    steps, eta = paths.get_by_role("slider").all()
    seen = [picture(canvas)]
    for slider, value, said in (
        (steps, "3", "3 steps, eta 0.00"),
        (eta, "1", "3 steps, eta 1.00"),
    ):
        slider.fill(value)
        assert said in text.inner_text()
        seen.append(picture(canvas))
    paths.get_by_role("button", name="New noise").click()
    seen.append(picture(canvas))
    show_theme(paths.page, "dark")
    assert eventually(lambda: (picture(canvas) != seen[-1]).any())
    assert all((a != b).any() for a, b in itertools.pairwise(seen))


def test_paths_end_with_the_datas_spread(paths: Any) -> None:
    """The number in the text comes to the truth; with eta 1 and few steps it is too small."""
    steps, eta = paths.get_by_role("slider").all()
    text = paths.locator("output")

    def spread() -> float:
        return float(text.inner_text().split("spread ")[1].split(",")[0])

    truth = float(text.inner_text().split("the data's ")[1])
    steps.fill("1")  # all ends on one spot, the mean of the data
    assert spread() > 3 * truth
    steps.fill("50")
    assert spread() == pytest.approx(truth, rel=0.2)
    steps.fill("16")
    even = spread()
    eta.fill("1")
    assert spread() < even < 1.1 * truth


COUPLING = "book/flows/coupling.html"


@pytest.fixture
def couplings(open_page: Callable[..., Any]) -> Any:
    """Return the figure that pushes a grid through a flow, on a page of its own."""
    return started(open_page(COUPLING, formulas=False), "coupling-grid")


@pytest.fixture
def flow(real_data: None) -> CouplingFlow:
    """Return the flow that the chapter shows, from the user's own cache."""
    profile, _ = runs.planned("flows/moons")
    found = runs.find("flows/moons", profile)
    if found is None:
        missing("no fresh run of flows/moons: the site shows an older one; `make book` trains it")
    return flow_moons.restore(found)


def test_couplings_compute_what_pytorch_computes(couplings: Any, flow: CouplingFlow) -> None:
    """Forth and back, after every number of layers, within the payload's half precision."""
    points = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    stages = [points]
    for i, layer in enumerate(flow.couplings):
        parts = list(stages[-1].split([1, 1], dim=1))
        parts[1 - i % 2], _ = layer(parts[i % 2], parts[1 - i % 2])
        stages.append(torch.cat(parts, dim=1))
    ask = "([name, x, n]) => x.map((p) => litgen.widgets['coupling-grid'][name](p, n))"
    for count, stage in enumerate(stages):
        found = couplings.page.evaluate(ask, ["forward", points.tolist(), count])
        assert torch.allclose(torch.tensor(found), stage, atol=1e-4, rtol=1e-3)
        back = couplings.page.evaluate(ask, ["inverse", stages[-1].tolist(), count])
        assert torch.allclose(torch.tensor(back), stage, atol=2e-3, rtol=2e-3)
    half = couplings.page.evaluate(ask, ["forward", points.tolist(), 0.5])
    assert torch.allclose(torch.tensor(half), (stages[0] + stages[1]) / 2, atol=1e-4, rtol=1e-3)


def test_couplings_follow_slider_choice_and_button(couplings: Any) -> None:
    """The text counts layers; noise begins at the other end; playing moves the slider."""
    slider = couplings.get_by_role("slider")
    text, canvas = couplings.locator("output"), couplings.locator("canvas")
    assert text.inner_text() == "0 of 8 couplings done"
    first = picture(canvas)
    slider.fill("3")
    assert text.inner_text() == slider.get_attribute("aria-valuetext") == "3 of 8 couplings done"
    assert (picture(canvas) != first).any()
    couplings.get_by_role("combobox").select_option("noise")
    assert slider.input_value() == "8"
    assert text.inner_text() == "0 of 8 couplings undone"
    couplings.get_by_role("button").click()
    assert eventually(lambda: float(slider.input_value()) < 7.5)
    couplings.get_by_role("button").click()
    stopped = slider.input_value()
    couplings.page.wait_for_timeout(200)
    assert slider.input_value() == stopped


# the scale of book/diffusion/guidance.md ---------------------------------------------------------

GUIDED = "book/diffusion/guidance.html"


@pytest.fixture
def guided(open_page: Callable[..., Any]) -> Any:
    """Return the figure of the three Gaussians on a page of its own."""
    return started(open_page(GUIDED, formulas=False), "guided-plane")


def guided_points(scale: float, wanted: int) -> Tensor:
    """Return where litgen's DDIM carries the page's noise, from the chapter's own mixture."""
    noise = torch.randn(300, 2, generator=torch.Generator().manual_seed(3)).half().double()
    angles = torch.tensor([90.0, 210.0, 330.0]).double().deg2rad()
    means = 1.2 * torch.stack([angles.cos(), angles.sin()], dim=1)
    data = GaussianMixture(torch.full((3,), 1 / 3).double(), means, 0.5)
    times = schedule.linear(1_000)

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        return guidance.classifier_free(
            data.noise(x_t, t, times), data.component(wanted).noise(x_t, t, times), scale
        )

    *_, x = ddim.trajectory(model, noise, times, ddim.times(times, 40))
    return x


@pytest.mark.parametrize(("scale", "wanted"), [(0.0, 0), (1.0, 1), (2.5, 0), (8.0, 2)])
def test_guided_plane_computes_what_litgen_computes(
    guided: Any, scale: float, wanted: int
) -> None:
    """The 300 points to 1e-4, at four scales and for every class."""
    found = guided.page.evaluate(
        "([s, c]) => litgen.widgets['guided-plane'].compute(s, c)", [scale, wanted]
    )
    expected = guided_points(scale, wanted)
    assert expected.std(dim=0).min() > 0.05
    torch.testing.assert_close(
        torch.tensor(found).double().view(-1, 2), expected, atol=1e-4, rtol=1e-4
    )


def test_guided_plane_follows_slider_and_class(guided: Any) -> None:
    """The picture changes, and the text says scale, share and spread of the points shown."""
    canvas, text = guided.locator("canvas"), guided.locator("output")
    seen = [picture(canvas)]
    for scale, wanted in ((0.0, 0), (4.0, 0), (4.0, 2)):
        guided.locator("select").select_option(str(wanted))
        guided.locator("input").evaluate(
            "(node, v) => { node.value = v; node.dispatchEvent(new Event('input')); }", scale
        )
        points = guided_points(scale, wanted)
        spread = points.var(dim=0, correction=0).mean().sqrt().item()
        shown = text.inner_text()
        assert shown.startswith(f"scale {scale:.1f}:")
        assert f"of class {wanted};" in shown
        assert f"standard deviation {spread:.2f} " in shown
        seen.append(picture(canvas))
    assert all((a != b).any() for a, b in itertools.pairwise(seen))


def test_guided_plane_reads_on_a_dark_page(guided: Any) -> None:
    """Names and axes take the page's ink; the points keep their colours."""
    page, canvas = guided.page, guided.locator("canvas")
    light = picture(canvas)
    show_theme(page, "dark")
    assert eventually(lambda: bool((picture(canvas) != light).any()))


CONDITIONAL = "book/gan/conditional.html"


@pytest.fixture
def sweep(open_page: Callable[..., Any]) -> Any:
    """Return the conditional generator's figure on a page of its own."""
    return started(open_page(CONDITIONAL, formulas=False), "class-sweep")


@pytest.fixture
def asked_generator(real_data: None) -> conditional.ConditionalGenerator:
    """Return the generator that the chapter shows, from the user's own cache."""
    profile, _ = runs.planned("gan/conditional_digits")
    found = runs.find("gan/conditional_digits", profile)
    if found is None:
        missing("no fresh run of gan/conditional_digits: `make book` trains it")
    return conditional_digits.restore(found).generator


def test_class_sweep_computes_what_pytorch_computes(
    sweep: Any, asked_generator: conditional.ConditionalGenerator
) -> None:
    """Images of whole and of mixed classes, every pixel to 1e-3."""
    z = torch.randn(4, asked_generator.latent, generator=torch.Generator().manual_seed(6))
    shares = torch.eye(10)[[0, 3, 7, 9]]
    shares[1] = (torch.eye(10)[3] + torch.eye(10)[4]) / 2
    with torch.no_grad():
        expected = asked_generator.blend(z, shares).flatten(1)
    assert expected.std(dim=0).max() > 0.3
    found = [
        sweep.page.evaluate("([z, s]) => litgen.widgets['class-sweep'].compute(z, s)", [a, b])
        for a, b in zip(z.tolist(), shares.tolist(), strict=True)
    ]
    torch.testing.assert_close(torch.tensor(found), expected, atol=1e-3, rtol=0)


def test_class_sweep_answers_its_sliders(sweep: Any) -> None:
    """The class slider changes one image and the text, the code slider both pictures."""
    one, all_ = (sweep.locator("canvas").nth(i) for i in (0, 1))
    text, (which, walk) = sweep.locator("output"), (sweep.locator("input").nth(i) for i in (0, 1))
    move = "(node, v) => { node.value = v; node.dispatchEvent(new Event('input')); }"
    start = picture(one), picture(all_)
    which.evaluate(move, 6.25)
    assert text.inner_text() == "0.75 of 6, 0.25 of 7"
    assert (picture(one) != start[0]).any()
    assert (picture(all_) == start[1]).all()
    walk.evaluate(move, 0.4)
    assert (picture(all_) != start[1]).any()
    sweep.page.evaluate("litgen.widgets['class-sweep'].choose(7, 0.4)")
    assert text.inner_text() == "class 7"
    assert (picture(one)[:, :, 0] == picture(all_)[28:56, 56:84, 0]).all()
    sweep.locator("button", has_text="Play class").click()
    assert eventually(lambda: "of" in text.inner_text())
    sweep.locator("button", has_text="Pause").click()


# turntable ---------------------------------------------------------------------------------------

GRAPHICS = "book/vae/dcign.html"


@pytest.fixture
def turntable(open_page: Callable[..., Any]) -> Any:
    """Return the figure of the head that sliders turn on a page of its own."""
    return started(open_page(GRAPHICS, formulas=False), "turntable")


def test_turntable_computes_what_pytorch_computes(real_data: None, turntable: Any) -> None:
    """Every pixel of 20 random codes to 2e-3, and the dials lead from factors to their latents."""
    profile, _ = runs.planned("vae/dcign")
    found = runs.find("vae/dcign", profile)
    if found is None:
        missing("no fresh run of vae/dcign: `make book` trains it")
    z = torch.randn(20, 4, generator=torch.Generator().manual_seed(4))
    expected = dcign.restore(found).decoder(z)
    assert expected.std(dim=0).max() > 0.1
    computed = [
        turntable.page.evaluate("z => litgen.widgets.turntable.compute(z)", c) for c in z.tolist()
    ]
    torch.testing.assert_close(torch.tensor(computed), expected, atol=2e-3, rtol=0)
    codes, factors = (found.tensors[f"examples.{n}"].double() for n in ("code", "factors"))
    for i in range(4):
        slope, offset = np.polyfit(factors[:, i].numpy(), codes[:, i].numpy(), 1)
        for share in (-1.0, 0.5):
            shares = [share if j == i else 0.0 for j in range(4)]
            code = turntable.page.evaluate("s => litgen.widgets.turntable.code(s)", shares)
            assert code[i] == pytest.approx(offset + slope * share, abs=1e-3)


def test_turntable_answers_its_sliders(turntable: Any) -> None:
    """Each slider changes the picture and says its value; the button looks at the front."""
    canvas, text = turntable.locator("canvas"), turntable.locator("output")
    assert turntable.get_by_role("slider").count() == 4
    seen = [picture(canvas)]
    for name, said in (
        ("azimuth", "50°"),
        ("elevation", "35°"),
        ("light", "60°"),
        ("shape", "1.2"),
    ):
        slider = turntable.get_by_role("slider", name=name)
        slider.fill("1")
        assert slider.get_attribute("aria-valuetext") == said
        seen.append(picture(canvas))
        assert (seen[-1] != seen[-2]).any()
        assert (seen[-1][..., 3] == 255).all()
    before = text.inner_text()
    turntable.get_by_role("button", name="Front").click()
    assert text.inner_text() != before
    assert turntable.get_by_role("slider", name="azimuth").get_attribute("aria-valuetext") == "0°"


# book/gan/faces.md: directions in the codes of drawn faces ---------------------------------------

DRAWN_FACES = "book/gan/faces.html"


@pytest.fixture
def directions(open_page: Callable[..., Any]) -> Any:
    """Return the figure of the faces' six directions on a page of its own."""
    return started(open_page(DRAWN_FACES, formulas=False), "face-directions")


@pytest.fixture
def face_generator(real_data: None) -> nn.Module:
    """Return the generator that the chapter shows, from the user's own cache."""
    profile, _ = runs.planned("gan/dcgan_faces")
    found = runs.find("gan/dcgan_faces", profile)
    if found is None:
        missing("no fresh run of gan/dcgan_faces: `make book` trains it")
    return dcgan.restore(found).generator


def test_face_directions_compute_what_pytorch_computes(
    directions: Any, face_generator: nn.Module
) -> None:
    """Four codes, all colours of all pixels to 2e-3."""
    z = torch.randn(4, 20, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        expected = face_generator(z).flatten(1)
    assert expected.std(dim=0).max() > 0.3
    compute = "z => [...litgen.widgets['face-directions'].compute(z)]"
    found = torch.tensor([directions.page.evaluate(compute, row) for row in z.tolist()])
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_face_directions_show_the_face_of_the_code(
    directions: Any, face_generator: nn.Module
) -> None:
    """The picture is that of the chosen code plus amounts of directions; lengths are named."""
    code = "amounts => litgen.widgets['face-directions'].code(amounts)"
    choose = "([i, amounts]) => litgen.widgets['face-directions'].choose(i, amounts)"
    still, amounts = [0.0] * 6, [0.5, -1.0, 0.0, 1.5, -0.5, 1.0]
    directions.page.evaluate(choose, [2, still])
    plain = torch.tensor(directions.page.evaluate(code, still))
    steps = torch.tensor([directions.page.evaluate(code, row) for row in torch.eye(6).tolist()])
    torch.testing.assert_close(
        (steps - plain).norm(dim=1), torch.full((6,), 2.0), rtol=1e-2, atol=0
    )
    directions.page.evaluate(choose, [2, amounts])
    z = plain + torch.tensor(amounts) @ (steps - plain)
    with torch.no_grad():
        expected = 127.5 * (face_generator(z[None])[0].permute(1, 2, 0) + 1)
    shown = picture(directions.locator("canvas.digit"))
    assert shown.shape == (32, 32, 4)
    assert np.abs(shown[..., :3] - expected.numpy()).max() <= 2
    assert f"face 3 of 24, |z| = {z.norm():.2f}" == directions.locator("output").inner_text()


def test_face_directions_answer_sliders_and_buttons(directions: Any) -> None:
    """Each slider changes the picture, a button brings it back, another shows another face."""
    face, text = directions.locator("canvas.digit"), directions.locator("output")
    start = picture(face)
    move = "(node, v) => { node.value = v; node.dispatchEvent(new Event('input')); }"
    assert directions.locator("input").count() == 6
    for slider in directions.locator("input").all():
        before = picture(face)
        slider.evaluate(move, 1.5)
        assert (picture(face) != before).any()
    directions.get_by_role("button", name="Sliders to 0").click()
    assert (picture(face) == start).all()
    directions.get_by_role("button", name="Another face").click()
    assert text.inner_text().startswith("face 2 of 24")
    assert (picture(face) != start).any()
