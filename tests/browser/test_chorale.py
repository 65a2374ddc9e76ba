"""The page's piano roll hears, writes and rewrites a chorale as litgen does.

The widget is shown on a page of its own, so that no site and no run need be there.
"""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from litgen import notebook
from litgen.music import encoding, midi, network
from litgen.music.encoding import RANGES, Grid, alphabet, encode
from litgen.scores import Note, Score
from tests.browser.visits import eventually, stop_the_clock

pytestmark = pytest.mark.browser

STATIC = Path(__file__).parents[2] / "book" / "_static"
ADDRESS = "http://127.0.0.1/chorale/"
PAGE = """<!DOCTYPE html><html lang="en" data-theme="light"><title>A chorale</title>
<link rel="stylesheet" href="litgen.css">
<body style="color: {ink}; background: {ground}; font: 16px sans-serif">
<main><h1>A chorale</h1>
<figure data-widget="chorale" data-payload="p" data-src="payload.js"><div>still</div>
</figure></main>
<script src="tinynet.js"></script><script src="litgen.js"></script></body></html>"""
SOUND = """class Parameter {
  constructor() { this.events = []; }
  setValueAtTime(value, at) { this.events.push([value, at]); }
  linearRampToValueAtTime(value, at) { this.events.push([value, at]); }
}
window.heard = { tones: [], closed: 0 };
window.AudioContext = class {
  constructor() {
    this.destination = { speaker: true };
    window.sound = this;
    this.currentTime = 5;
  }
  createGain() {
    return { gain: new Parameter(), connect(to) { this.to = to; } };
  }
  createOscillator() {
    const tone = { frequency: {}, connect(to) { this.to = to; } };
    tone.start = (at) => { tone.on = at; };
    tone.stop = (at) => { tone.off = at; };
    heard.tones.push(tone);
    return tone;
  }
  close() { heard.closed += 1; }
};"""
NO_SOUND = "delete window.AudioContext; delete window.webkitAudioContext;"
OFFSETS = (-16, -4, -2, -1, 0, 1, 2, 3, 8)


def pieces() -> list[Grid]:
    """Return two chorales: one with rests, an upbeat and held notes, and one of quarters."""
    voices = (
        (Note(60, 0, 8, True), Note(62, 8, 4), Note(62, 12, 4), Note(81, 32, 40)),
        (Note(53, 4, 4), Note(60, 8, 64)),
        (Note(48, 0, 40),),
        (Note(64, 0, 2), Note(36, 2, 6), Note(40, 8, 64)),
    )
    first = Score("first", voices, (0, 8, 40), 8, 72, -3)
    rows = [[Note(low + (5 * i) % 12, 8 * i, 8, i == 7) for i in range(8)] for low, _ in RANGES]
    second = Score("second", tuple(map(tuple, rows)), (0, 32), 0, 64, 2)
    return [encode(first), encode(second)]


def brain() -> network.DeepBach:
    """Return a network of random weights, halves as pages have them."""
    sizes = [alphabet(v).size for v in range(4)]
    made = network.DeepBach(sizes, 4, OFFSETS, dims=3, hidden=16)
    draw = torch.Generator().manual_seed(5)
    for weight in made.parameters():
        spread = 2 / max(1, weight.shape[-1]) ** 0.5 if weight.dim() > 1 else 0.3
        drawn = torch.randn(weight.shape, generator=draw) * spread
        weight.data = drawn.half().float()
    return made


@pytest.fixture(scope="module")
def model() -> network.DeepBach:
    """Return the network."""
    return brain()


def payload(made: network.DeepBach) -> dict[str, Any]:
    """Return what a chapter gives the page."""
    voices = [
        {"table": notebook.encoded(one.ear.table.weight), "net": notebook.layers_of(one.net)}
        for one in made.voices
    ]
    described = [
        encoding.described(g, n) for g, n in zip(pieces(), ("first", "second"), strict=True)
    ]
    net = {
        "voices": voices,
        "dims": 3,
        "bases": made.voices[0].ear.bases.tolist(),
        "sizes": list(made.sizes),
        "offsets": list(OFFSETS),
        "metres": 4,
    }
    rest = {"lows": [low for low, _ in RANGES], "tempo": midi.TEMPO, "temperature": 1.0}
    return {"model": net, "pieces": described, **rest}


@pytest.fixture
def show(browser: Any, model: network.DeepBach) -> Iterator[Callable[..., Any]]:
    """Return ``show(script, calm, ink, ground)``, which opens the page; no error may occur."""
    contexts, trouble = [], []
    script = f'litgen.receive("p",{json.dumps(payload(model))});'

    def fresh(
        before: str = SOUND, calm: bool = False, ink: str = "#222222", ground: str = "#ffffff"
    ) -> Any:
        motion = "reduce" if calm else "no-preference"
        context = browser.new_context(
            viewport={"width": 1000, "height": 900}, reduced_motion=motion, accept_downloads=True
        )
        contexts.append(context)
        files = {path.name: path.read_text("utf8") for path in STATIC.glob("*.*s")}
        files["payload.js"] = script
        files[""] = PAGE.format(ink=ink, ground=ground)
        kinds = {"": "text/html", "css": "text/css", "js": "text/javascript"}

        def answer(route: Any) -> None:
            name = route.request.url.removeprefix(ADDRESS)
            kind = kinds[name.rpartition(".")[2] if "." in name else ""]
            route.fulfill(body=files[name], content_type=f"{kind}; charset=utf-8")

        context.route(ADDRESS + "**", answer)
        context.add_init_script(before)
        page = context.new_page()
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda m: trouble.append(m.text) if m.type == "error" else None)
        page.goto(ADDRESS)
        page.locator("figure[data-ready] canvas").wait_for()
        return page

    yield fresh
    for context in contexts:
        context.close()
    assert not trouble


def test_the_laws_are_those_of_the_network(
    show: Callable[..., Any], model: network.DeepBach
) -> None:
    """Every token of every voice at every step of both pieces, to 1e-3; and two temperatures."""
    page = show()
    for i, grid in enumerate(pieces()):
        page.evaluate(f"litgen.widgets.chorale.choose({i})")
        tokens, steps = grid.tokens[None], grid.tokens.shape[1]
        for voice in range(4):
            at = torch.arange(steps)[None]
            logits = model(tokens, grid.metre[None], grid.fermata[None], voice, at)[0].detach()
            assert logits.std() > 0.3
            found = page.evaluate(
                "([v, steps]) => steps.map((t) => litgen.widgets.chorale.probabilities(v, t))",
                [voice, list(range(steps))],
            )
            torch.testing.assert_close(torch.tensor(found), logits.softmax(-1), atol=1e-3, rtol=0)
            cold = page.evaluate(f"litgen.widgets.chorale.probabilities({voice}, 3, 0.5)")
            expected = (logits[3] / 0.5).softmax(-1)
            torch.testing.assert_close(torch.tensor(cold), expected, atol=1e-3, rtol=0)


def test_notes_and_midi_are_those_of_litgen(show: Callable[..., Any]) -> None:
    """Notes in steps; the saved file byte by byte, also after a bar was rewritten."""
    page = show()
    for i, grid in enumerate(pieces()):
        page.evaluate(f"litgen.widgets.chorale.choose({i})")
        score = encoding.decode(grid)
        for voice, notes in enumerate(score.voices):
            expected = [
                {"pitch": n.pitch, "start": n.start // 2, "duration": n.duration // 2}
                for n in notes
            ]
            assert page.evaluate(f"litgen.widgets.chorale.notes({voice})") == expected
        assert bytes(page.evaluate("litgen.widgets.chorale.midi()")) == midi.written(score)
    page.evaluate("litgen.widgets.chorale.choose(0, 1)")
    page.evaluate("litgen.widgets.chorale.regenerate(1, [0, 1, 2, 3])")
    tokens = torch.tensor(page.evaluate("litgen.widgets.chorale.tokens()"))
    first = pieces()[0]
    changed = Grid(tokens, first.metre, first.fermata, first.active, first.bar, 2, -3)
    assert not torch.equal(tokens, first.tokens)
    written = midi.written(encoding.decode(changed))
    assert bytes(page.evaluate("litgen.widgets.chorale.midi()")) == written
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save as MIDI").click()
    assert waiting.value.suggested_filename == "chorale.mid"
    assert Path(waiting.value.path()).read_bytes() == written


def replayed(
    model: network.DeepBach,
    grid: Grid,
    bar: int,
    voices: list[int],
    numbers: list[float],
    heat: float,
) -> torch.Tensor:
    """Rewrite a bar in PyTorch with the page's uniform numbers."""
    tokens = grid.tokens.clone()
    steps = (grid.bar == bar).nonzero().flatten().tolist()
    places = len(voices) * len(steps)
    draws = iter(numbers)
    for _ in range(10 * places):
        place = int(next(draws) * places)
        voice, step = voices[place % len(voices)], steps[place // len(voices)]
        at = torch.tensor([[step]])
        logits = model(tokens[None], grid.metre[None], grid.fermata[None], voice, at)[0, 0]
        law = (logits.detach() / heat).softmax(0).double()
        tokens[voice, step] = int((law.cumsum(0) <= next(draws)).sum().clamp(max=len(law) - 1))
    return tokens


def test_a_bar_is_rewritten_by_gibbs_sampling(
    show: Callable[..., Any], model: network.DeepBach
) -> None:
    """With the same uniform numbers PyTorch writes the same tokens; only in the bar and voices."""
    page = show()
    grid = pieces()[0]
    numbers = torch.rand(3000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    heat = page.get_by_label("temperature")
    for voices, warmth in (([1, 2, 3], 1.0), ([0], 0.6)):
        heat.fill(str(warmth))
        found = page.evaluate(
            """([voices, numbers]) => {
              litgen.widgets.chorale.choose(0);
              const moved = litgen.widgets.chorale.regenerate(1, voices, () => numbers.shift());
              return [moved, litgen.widgets.chorale.tokens()];
            }""",
            [voices, numbers.tolist()],
        )
        expected = replayed(model, grid, 1, voices, numbers.tolist(), warmth)
        assert found[1] == expected.tolist()
        different = torch.tensor(found[1]) != grid.tokens
        assert found[0] == different.sum() > 5
        rows, steps = different.nonzero().T
        assert set(rows.tolist()) == set(voices)
        assert 4 <= steps.min() <= steps.max() < 20


def test_buttons_rewrite_and_restore(show: Callable[..., Any]) -> None:
    """The chosen voices of the chosen bar; what was there comes back; no voice changes nothing."""
    page = show()
    page.get_by_label("bar", exact=True).fill("3")
    for name in ("alto", "tenor"):
        page.get_by_label(name).uncheck()
    assert not page.get_by_label("soprano").is_checked()
    assert page.get_by_label("bass").is_checked()
    page.get_by_role("button", name="Regenerate this bar").click()
    tokens = torch.tensor(page.evaluate("litgen.widgets.chorale.tokens()"))
    different = tokens != pieces()[0].tokens
    assert different[3, 20:].any()
    assert different.sum() == different[3, 20:].sum()
    output = page.locator("output")
    assert output.inner_text().endswith(f"; {int(different.sum())} tokens changed")
    assert output.inner_text().startswith("bar 3 of 3, ")
    page.get_by_role("button", name="As it was").click()
    assert page.evaluate("litgen.widgets.chorale.tokens()") == pieces()[0].tokens.tolist()
    assert output.inner_text() == "bar 3 of 3, 10 notes"
    page.get_by_label("bass").uncheck()
    page.get_by_role("button", name="Regenerate this bar").click()
    assert page.evaluate("litgen.widgets.chorale.tokens()") == pieces()[0].tokens.tolist()
    assert output.inner_text() == "bar 3 of 3, 10 notes; 0 tokens changed"
    page.get_by_label("piece").select_option("second")
    assert output.inner_text() == "bar 1 of 2, 32 notes"
    assert page.evaluate("litgen.widgets.chorale.tokens()") == pieces()[1].tokens.tolist()


PIXEL = """([step, pitch]) => {
  const canvas = document.querySelector("canvas");
  const steps = litgen.widgets.chorale.tokens()[0].length;
  const [x, y] = [((step + 0.5) / steps) * canvas.width, ((83 - pitch) / 49) * canvas.height];
  return [...canvas.getContext("2d").getImageData(Math.round(x), Math.round(y), 1, 1).data];
}"""
COLOURS = [(0xD5, 0x5E, 0), (0xE6, 0x9F, 0), (0, 0x9E, 0x73), (0, 0x72, 0xB2)]


@pytest.mark.parametrize(("ink", "ground"), [("#222222", "#ffffff"), ("#eeeeee", "#121212")])
def test_every_note_is_drawn_where_it_sounds(
    show: Callable[..., Any], ink: str, ground: str
) -> None:
    """In its voice's colour, in the light and in the dark; nothing where nothing sounds."""
    page = show(ink=ink, ground=ground)
    page.evaluate("litgen.widgets.chorale.choose(1)")
    for voice, notes in enumerate(encoding.decode(pieces()[1]).voices):
        for note in notes:
            found = page.evaluate(PIXEL, [note.start // 2 + 1, note.pitch])
            assert tuple(found[:3]) == COLOURS[voice]
            assert found[3] == 255
    page.evaluate("litgen.widgets.chorale.choose(0, 1)")
    shaded, empty = (page.evaluate(PIXEL, [step, 45]) for step in (10, 30))
    assert empty[3] == 0
    assert 20 < shaded[3] < 40
    assert page.evaluate(PIXEL, [2, 83])[3] > 80  # the fermata's bar on top
    name = page.locator("canvas").get_attribute("aria-label")
    assert name == "Piano roll of first in 3 bars, bar 2 chosen; the arrow keys choose another"


def test_bars_are_chosen_by_keys_and_by_clicks(show: Callable[..., Any]) -> None:
    """Arrow keys stay within the piece; a click chooses the bar below it."""
    page = show()
    canvas, output = page.locator("canvas"), page.locator("output")
    canvas.focus()
    for key, bar in (("ArrowLeft", 1), ("ArrowRight", 2), ("ArrowRight", 3), ("ArrowRight", 3)):
        page.keyboard.press(key)
        assert output.inner_text().startswith(f"bar {bar} of 3")
    box = canvas.bounding_box()
    for step, bar in ((1, 1), (4, 2), (19, 2), (20, 3), (35, 3)):
        canvas.click(position={"x": (step + 0.5) / 36 * box["width"], "y": 30})
        assert output.inner_text().startswith(f"bar {bar} of 3")
    assert page.get_by_label("bar", exact=True).get_attribute("aria-valuetext") == "bar 3 of 3"


def test_a_piece_is_played_from_the_chosen_bar(show: Callable[..., Any]) -> None:
    """Every note from there on is scheduled at its time with its frequency; nothing before."""
    page = show()
    assert page.evaluate("heard.tones.length") == 0
    page.get_by_label("bar", exact=True).fill("2")
    play = page.get_by_role("button", name="Play from this bar")
    play.click()
    tones = page.evaluate(
        """() => heard.tones.map((t) => ({ f: t.frequency.value, on: t.on,
          off: t.off, swell: t.to.gain.events, whole: t.to.to.gain.value, out: t.to.to.to.speaker
        }))"""
    )
    step = 15 / midi.TEMPO
    score = encoding.decode(pieces()[0])
    notes = [n for voice in score.voices for n in voice if n.start >= 8]
    assert len(tones) == len(notes) == 5
    for tone, note in zip(tones, notes, strict=True):
        assert tone["f"] == pytest.approx(440 * 2 ** ((note.pitch - 69) / 12))
        assert tone["on"] == pytest.approx(5.1 + (note.start / 2 - 4) * step)
        assert tone["off"] == pytest.approx(tone["on"] + note.duration / 2 * step)
        times = [at for _, at in tone["swell"]]
        assert times == sorted(times)
        assert times[0] == tone["on"]
        assert times[-1] == pytest.approx(tone["off"])
        assert [value for value, _ in tone["swell"]] == [0, 1, 0.8, 0]
        assert 4 * tone["whole"] <= 0.8  # four voices together do not clip
        assert tone["out"]
    assert page.evaluate("litgen.widgets.chorale.playing()") == 4
    page.evaluate(f"sound.currentTime = 5.1 + {3.5 * step}")
    assert eventually(
        lambda: page.evaluate("litgen.widgets.chorale.playing()") == pytest.approx(7.5)
    )
    page.get_by_role("button", name="Stop").click()
    assert page.evaluate("heard.closed") == 1
    assert page.evaluate("litgen.widgets.chorale.playing()") is None
    assert play.is_visible()
    play.click()
    page.evaluate(f"sound.currentTime = 5.1 + {33 * step}")  # past the end
    assert eventually(lambda: page.evaluate("heard.closed") == 2)
    assert play.is_visible()
    play.click()
    page.get_by_role(
        "button", name="Regenerate this bar"
    ).click()  # what is heard stays what is seen
    assert page.evaluate("heard.closed") == 3


def test_with_reduced_motion_the_line_goes_from_beat_to_beat(show: Callable[..., Any]) -> None:
    """It does not glide."""
    page = show(calm=True)
    page.get_by_role("button", name="Play from this bar").click()
    page.evaluate(f"sound.currentTime = 5.1 + {7.5 * 15 / midi.TEMPO}")
    assert eventually(lambda: page.evaluate("litgen.widgets.chorale.playing()") == 4)


def test_a_browser_without_sound_moves_the_line_and_says_so(show: Callable[..., Any]) -> None:
    """By its own clock; at the end it stops."""
    page = show(before=NO_SOUND)
    stop_the_clock(page)
    page.get_by_role("button", name="Play from this bar").click()
    assert page.get_by_text("This browser makes no sound").is_visible()
    page.clock.run_for(1000)
    assert page.evaluate("litgen.widgets.chorale.playing()") == pytest.approx(
        1 / (15 / midi.TEMPO), abs=0.3
    )
    page.clock.run_for(7000)
    assert page.evaluate("litgen.widgets.chorale.playing()") is None
    assert page.get_by_role("button", name="Play from this bar").is_visible()


def test_nothing_is_too_wide_for_a_phone_and_everything_has_a_name(
    show: Callable[..., Any],
) -> None:
    """At 375 pixels; axe finds nothing."""
    from axe_playwright_python.sync_playwright import Axe

    page = show()
    page.set_viewport_size({"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    found = Axe().run(page, "figure").response["violations"]
    assert not [(v["id"], v["nodes"][0]["html"]) for v in found]


def test_the_payload_is_small(model: network.DeepBach) -> None:
    """Weights travel as halves: two bytes a number, four letters for three bytes."""
    table = payload(model)["model"]["voices"][0]["table"]
    weight = model.voices[0].ear.table.weight
    assert len(base64.b64decode(table)) == 2 * weight.numel()
