"""Proof for book/_ext/litgen_book/cards.py."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
from litgen_book import cards, chapters

from tests.book.test_pages import BOOK, HEADER, build, edit, write

ABOUT = {
    "summary": "Short.",
    "paper": "one2001",
    "made_possible": "Things.",
    "needs": "*nothing*.",
    "minutes": 45,
}
RECORD = {"name": "mnist", "stand_in": False}
RESULT: dict[str, Any] = {
    "seconds": 7.6,
    "date": "2026-02-03T04:05:06+00:00",
    "runs": [
        {"recipe": "vae/digits", "line": "GPU profile, MNIST; a GPU, 12 s", "data": [RECORD]},
        {"recipe": "vae/plane", "line": "CPU profile, MNIST; a CPU, 3 s", "data": [RECORD]},
    ],
}


def test_a_card_says_what_the_header_and_the_result_say() -> None:
    """Paper, promise, needs, minutes, seconds, date, the run of each recipe, the download."""
    text = "\n".join(cards.card_lines(ABOUT, RESULT))
    for part in ("{cite:t}`one2001`", "Things.", "*nothing*.", "about 45 minutes"):
        assert part in text
    assert "ran in 8 s on 2026-02-03." in text
    assert "`vae/digits`: GPU profile, MNIST; a GPU, 12 s (fresh); `vae/plane`: CPU" in text
    assert "{download-notebook}`" in text
    assert "stand-in" not in text
    assert text.startswith("::::{div} chapter-card\n")
    assert text.count("::::") == 2


def test_a_card_without_runs() -> None:
    """Says where its numbers are from."""
    text = "\n".join(cards.card_lines(ABOUT, RESULT | {"runs": []}))
    assert "cells of this page" in text


def test_a_stand_in_is_shouted() -> None:
    """Whichever run used it."""
    second = RESULT["runs"][1] | {"data": [RECORD, RECORD | {"stand_in": True}]}
    text = "\n".join(cards.card_lines(ABOUT, RESULT | {"runs": [RESULT["runs"][0], second]}))
    assert ":::{warning}" in text
    assert "**a stand-in** made every result" in text


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a book of four chapters, one of them outside the table of contents."""
    for name in ("vae/b", "vae/a", "vaes/c", "vae/unlisted"):
        write(tmp_path, {f"book/{name}.md": f"{HEADER}# The *title* of {name}\n\n## Below\n"})
    contents = (
        "root: index\nparts:\n- caption: One\n  chapters:\n  - file: book/vae/index\n"
        "    sections:\n    - file: book/vae/b\n    - file: book/vae/a\n"
        "- caption: Two\n  chapters:\n  - file: book/vaes/c\n  - file: book/missing\n"
    )
    write(tmp_path, {"_toc.yml": contents, "book/vae/index.md": "# No chapter\n"})
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    return tmp_path


def test_listed_follows_the_table_of_contents(root: Path) -> None:
    """Chapters with a header, in their order; nothing that the book does not show."""
    found = cards.listed()
    assert [name for name, *_ in found] == ["book/vae/b", "book/vae/a", "book/vaes/c"]
    assert [title for _, title, _ in found] == [
        f"The *title* of {name}" for name in ("vae/b", "vae/a", "vaes/c")
    ]
    assert found[0][2]["minutes"] == 5


def test_listed_below_a_folder(root: Path) -> None:
    """Not below one whose name only begins alike."""
    assert [name for name, *_ in cards.listed("book/vae")] == ["book/vae/b", "book/vae/a"]
    assert [name for name, *_ in cards.listed("book/vaes")] == ["book/vaes/c"]
    assert cards.listed("book/nothing") == []


def test_cards_on_pages(tmp_path: Path) -> None:
    """The card at the chapter's head, the list that leads to it; a lacking field is an error."""
    files = {name: text for name, text in BOOK.items() if "deep" not in name}
    files.pop("book/two/figure.md")
    index = BOOK["index.md"].replace("book/two/figure\n", "")
    files |= {"index.md": f"{index}\n```{{chapter-list}} book/empty\n```\n"}
    files["_toc.yml"] = BOOK["_toc.yml"].replace("  - file: book/two/figure\n", "")
    write(tmp_path, files)
    assert build(tmp_path).warnings == ""
    site = tmp_path / "_build" / "html"
    text = html.unescape(re.sub(r"<[^>]+>", "", (site / "book/one/light.html").read_text("utf8")))
    text = " ".join(text.split())
    for part in ("Paper One [2001]", "You need nothing at all.", "about 5 minutes to read"):
        assert part in text
    assert re.search(r"code ran in \d s on 20\d\d-\d\d-\d\d", text)
    index = (site / "index.html").read_text("utf8")
    assert "The light one" in index
    assert "A chapter in one sentence. (" in index
    assert index.count("The chapters of this part are still to come.") == 1
    assert 'href="book/one/light.html"' in index
    edit(tmp_path / "book/one/light.md", "  minutes: 5\n", "")
    edit(tmp_path / "book/one/light.md", "  needs: nothing at all.\n", "")
    with pytest.raises(
        Exception, match=r"book/one/light\.md: its header lacks litgen: needs, min"
    ):
        build(tmp_path)
