"""Proof for book/_ext/litgen_book/results.py: rows by hand, and the table of a tiny book."""

from pathlib import Path
from typing import Any

from litgen_book import pages, results


def run(recipe: str, profile: str = "cpu", **metrics: float) -> dict[str, Any]:
    """Return what a chapter's result says of a run."""
    about = {"recipe": recipe, "profile": profile, "device": "a | b", "seconds": 7.6}
    return about | {"metrics": metrics}


def test_one_row_a_recipe() -> None:
    """All chapters that show it, config in a word, seconds, device, at most four metrics."""
    many = {name: float(i) for i, name in enumerate("abcdef")}
    found = results.rows(
        {
            "book/one": {"runs": [run("vae/digits", bound_nats=-104.327, rate=25.0)]},
            "book/two": {"runs": []},
            "book/vae/x": {
                "runs": [
                    run("gan/moons", "gpu", **many),
                    run("vae/digits", bound_nats=-104.327, rate=25.0),
                ]
            },
        }
    )
    assert found == [
        "| `vae/digits` reduced, 8 s, a / b | {doc}`/book/one`, {doc}`/book/vae/x` "
        "| bound nats -104.3; rate 25 |",
        "| `gan/moons` full, 8 s, a / b | {doc}`/book/vae/x` | a 0; b 1; c 2; d 3; 2 more |",
    ]


def test_the_page_is_renewed_with_any_result() -> None:
    """`pages` asks for it by this mark; a table that nobody renews would go stale."""
    assert f'"{results.MARK}"' in Path(pages.__file__).read_text("utf8")


def test_the_books_table() -> None:
    """It stands on the results page, and the page in the table of contents."""
    root = Path(__file__).parents[2]
    assert "{run-table}" in (root / "book" / "results.md").read_text("utf8")
    assert "file: book/results" in (root / "_toc.yml").read_text("utf8")
