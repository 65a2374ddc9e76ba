"""The in-page models compute what PyTorch computes, and answer mouse, keys, sliders and theme."""

import base64
import io
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from litgen import plotting, runs
from litgen.density import kde
from litgen.recipes.vae import plane
from tests.browser.visits import CHAPTER, SETTLE, missing, show_theme

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


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait up to 3 s: pictures are decoded in the background."""
    end = time.monotonic() + 3
    while not condition() and time.monotonic() < end:
        time.sleep(0.03)
    return condition()


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
    clock.install()
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
    page.clock.install()
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
