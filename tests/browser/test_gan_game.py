"""The game in the page takes PyTorch's steps, and answers its buttons, choices and the theme."""

import base64
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from litgen.blocks import MLP
from litgen.gan import losses, toys
from litgen.gan.game import Rules, adversaries
from litgen.training import play
from tests.browser.visits import SETTLE, eventually, show_theme

pytestmark = pytest.mark.browser

CHAPTER = "book/gan/toy2d.html"
FIGURE = 'figure[data-widget="gan-game"]'
WIDGET = 'litgen.widgets["gan-game"]'


@pytest.fixture
def figure(open_page: Callable[..., Any]) -> Any:
    """Return the figure on a page of its own, running."""
    return started(open_page(CHAPTER, formulas=False))


def started(page: Any) -> Any:
    """Scroll to the figure and wait until it runs."""
    found = page.locator(FIGURE)
    found.scroll_into_view_if_needed()
    page.locator(f"{FIGURE}[data-ready] canvas").last.wait_for()
    return found


def picture(figure: Any) -> np.ndarray:
    """Return the canvas's pixels."""
    data = figure.locator("canvas").evaluate("(c) => c.toDataURL()").partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
        return np.asarray(opened.convert("RGBA")).astype(int)


def control(figure: Any, name: str) -> Any:
    """Return what the label of this name holds."""
    label = figure.locator("label").filter(has_text=re.compile(f"^{name}"))
    return label.locator("select, input")


def flat(net: nn.Module) -> list[list[float]]:
    """Return each layer's weights and then its biases, as the page keeps them."""
    linear = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    return [[*layer.weight.flatten().tolist(), *layer.bias.tolist()] for layer in linear]


@pytest.mark.parametrize("loss", ["non-saturating", "saturating"])
def test_the_page_takes_pytorchs_steps(figure: Any, loss: str) -> None:
    """Three turns from given weights, data and codes: all weights and losses to 1e-9."""
    torch.manual_seed(3)
    generator, critic = MLP([2, 32, 32, 2]).double(), MLP([2, 32, 32, 1], nn.LeakyReLU).double()
    start = [flat(generator), flat(critic)]
    random = torch.Generator().manual_seed(4)
    x, *z = torch.randn(7, 3, 20, 2, generator=random, dtype=torch.float64)
    control(figure, "generator's loss").select_option(loss)
    said = figure.evaluate(
        f"""(_, [nets, x, z]) => {{
          const game = {WIDGET};
          game.load(nets);
          return x.flatMap((batch, i) => [
            game.criticMove(batch, z[2 * i]), game.generatorMove(z[2 * i + 1]),
          ]);
        }}""",
        [
            start,
            [part.flatten().tolist() for part in x],
            [part.flatten().tolist() for part in codes(z)],
        ],
    )
    optimizers = (
        torch.optim.Adam(critic.parameters(), lr=0.004, betas=(0.5, 0.9)),
        torch.optim.Adam(generator.parameters(), lr=0.002, betas=(0.5, 0.9)),
    )
    drawn = iter(codes(z))
    rules = Rules(
        generator_loss=losses.generator_loss if loss[0] == "n" else losses.saturating_loss
    )
    batches = (x[i // 2] for i in range(6))
    game = adversaries(generator, critic, optimizers, lambda count: next(drawn), rules)
    expected = [step.loss.item() for step in play(game, batches, 3)]
    assert said == pytest.approx(expected, abs=1e-9)
    found = figure.evaluate(f"() => {WIDGET}.weights()")
    for mine, theirs, before in zip(found, (generator, critic), start, strict=True):
        for a, b, c in zip(mine, flat(theirs), before, strict=True):
            assert a == pytest.approx(b, abs=1e-9)
            assert np.abs(np.array(b) - np.array(c)).max() > 1e-3


def codes(z: list[Tensor]) -> list[Tensor]:
    """Return six batches of codes."""
    return [part for three in z[:2] for part in three]


def test_nothing_moves_before_someone_asks(figure: Any) -> None:
    """No turn without a click; one turn a click; play and pause; a restart draws other weights."""
    text = figure.locator("output")
    figure.page.wait_for_timeout(200)
    assert text.inner_text().startswith("turn 0: mean D 0.")
    start = figure.evaluate(f"() => {WIDGET}.weights()")
    figure.get_by_role("button", name="One turn").click()
    assert text.inner_text().startswith("turn 1:")
    assert "losses 1." in text.inner_text()
    button = figure.get_by_role("button", name="Play")
    button.focus()
    figure.page.keyboard.press("Enter")
    figure.page.wait_for_function(
        f"() => +document.querySelector('{FIGURE} output').textContent.split(/[ :]/)[1] > 10"
    )
    figure.get_by_role("button", name="Pause").click()
    stopped = text.inner_text()
    figure.page.wait_for_timeout(150)
    assert text.inner_text() == stopped
    figure.get_by_role("button", name="Restart").click()
    assert text.inner_text().startswith("turn 0:")
    assert figure.evaluate(f"() => {WIDGET}.weights()") != start


def test_the_game_learns_the_eight_places(figure: Any) -> None:
    """After 800 turns with the settings that a reader finds: six places or more."""
    figure.evaluate(f"() => {WIDGET}.some(800)")
    samples = torch.tensor(figure.evaluate(f"() => {WIDGET}.samples()")).view(-1, 2)
    modes = toys.eight_gaussians(0.1)
    start = toys.coverage(samples, modes)
    assert start.covered >= 6
    assert start.near > 0.3
    data = torch.tensor(figure.evaluate(f"() => {WIDGET}.data(2000)")).view(-1, 2)
    assert toys.coverage(data, modes).near == pytest.approx(0.989, abs=0.01)
    assert toys.coverage(data, modes).covered == 8


def test_choices_have_names_and_are_followed(figure: Any) -> None:
    """Data sets differ and start anew; the steps a turn are counted by the weights that moved."""
    for name in (
        "data",
        "generator's loss",
        "discriminator's steps a turn",
        "generator's steps a turn",
        "advice",
    ):
        assert control(figure, name).count() == 1, name
    seen = set()
    for name in ("eight places", "two moons", "nine places", "one place", "circle"):
        control(figure, "data").select_option(name)
        assert figure.locator("output").inner_text().startswith("turn 0:")
        points = torch.tensor(figure.evaluate(f"() => {WIDGET}.data(3000)")).view(-1, 2)
        assert points.isfinite().all()
        assert points.abs().max() < 2.2
        seen.add(round(points.square().mean().item(), 2))
    assert len(seen) >= 4
    control(figure, "discriminator's steps").select_option("5")
    before = figure.evaluate(f"() => {WIDGET}.weights()")
    figure.evaluate(f"() => {WIDGET}.some(1)")
    after = figure.evaluate(f"() => {WIDGET}.weights()")
    moved = [
        max(np.abs(np.array(a) - np.array(b)).max() for a, b in zip(*pair, strict=True))
        for pair in zip(before, after, strict=True)
    ]
    assert moved[0] == pytest.approx(0.002, rel=0.02)  # Adam's first step is its rate
    assert 0.008 < moved[1] < 0.03
    plain = picture(figure)
    control(figure, "advice").check()
    assert (picture(figure) != plain).any()


def test_it_redraws_with_the_theme(figure: Any) -> None:
    """The frame has the ink's colour."""

    def ink() -> float:
        return float(picture(figure)[1, 320, :3].mean())

    show_theme(figure.page, "light")
    assert eventually(lambda: ink() < 100)
    show_theme(figure.page, "dark")
    assert eventually(lambda: ink() > 150)


def test_where_motion_is_not_wanted_it_takes_turns_at_once(browser: Any, address: str) -> None:
    """Fifty turns a click, and no animation."""
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(address + CHAPTER)
    page.evaluate(SETTLE, False)
    found = started(page)
    assert found.get_by_role("button", name="Play").count() == 0
    found.get_by_role("button", name="50 turns").click()
    assert found.locator("output").inner_text().startswith("turn 50:")
    page.wait_for_timeout(150)
    assert found.locator("output").inner_text().startswith("turn 50:")
    context.close()
