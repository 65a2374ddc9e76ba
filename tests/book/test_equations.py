"""Proof for book/_ext/litgen_book/equations.py."""

import re
from pathlib import Path

import pytest
from litgen_book import chapters, equations
from sphinx.errors import ExtensionError

from tests.book.test_pages import build, write

PAGES = {
    "book/one/first.md": "# One\n\n$$\na\n$$ (first)\n\n$$\nb\n$$ (step)\n\n% theory only: step\n",
    "book/two/second.md": (
        "# Two\n\n```{math}\n:label: second-1\n\nb\n```\n\n"
        "````{math}\n:nowrap:\n:label: third\nc\n````\n\n$$\nd\n$$\n\n"
        "By {eq}`first`. $$e$$ (inline) % theory only: inline\n"
    ),
}
CODE = {
    "litgen/one.py": 'def f():\n    """Implements eq:first, and eq:second-1."""\n',
    "litgen/deep/net.py": (
        '"""A module. It may speak of eq:nothing."""\n\n# eq:nothing either\n'
        'class Net:\n    """A net."""\n\n    def forward(self):\n        """Go: eq:third."""\n\n'
        '        def inner():\n            """See eq:first."""\n\n'
        "    async def later(self): pass\n"
    ),
    "tests/test_one.py": 'def test_f():\n    """eq:first: eq:first and eq:second-1."""\n',
    "tests/deep/test_net.py": 'class TestNet:\n    def test_it(self):\n        """eq:third."""\n',
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a tiny book without gaps."""
    write(tmp_path, PAGES | CODE)
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    return tmp_path


def test_labels_are_found_with_their_chapter(root: Path) -> None:
    """Below double dollars and in the directive; in the order of the pages."""
    assert list(equations.labels().items()) == [
        *[("first", "book/one/first"), ("step", "book/one/first")],
        *[("second-1", "book/two/second"), ("third", "book/two/second")],
    ]
    assert equations.theory() == {"step"}
    (root / "book" / "one" / "first.md").write_text(
        "% theory only: a, b-c ,d\n\n% theory only: e\n"
    )
    assert equations.theory() == {"a", "b-c", "d", "e"}


def test_who_names_an_equation_in_a_docstring(root: Path) -> None:
    """Functions, methods and classes, by dotted name, once each; not modules, not comments."""
    net = "litgen/deep/net.py"
    assert equations.named("litgen") == {
        "first": [(net, "Net.forward.inner"), ("litgen/one.py", "f")],
        "second-1": [("litgen/one.py", "f")],
        "third": [(net, "Net.forward")],
    }
    assert equations.named("tests") == {
        "first": [("tests/test_one.py", "test_f")],
        "second-1": [("tests/test_one.py", "test_f")],
        "third": [("tests/deep/test_net.py", "TestNet.test_it")],
    }


def test_a_book_without_gaps_has_no_problems(root: Path) -> None:
    """Each equation is computed and proved, or said to be theory."""
    assert equations.problems() == []


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        (
            "book/three.md",
            "$$\nx\n$$ (new)\n",
            "eq:new in book/three.md has no function that names it and is not marked theory only",
        ),
        (
            "book/three.md",
            "$$\nx\n$$ (new)\n",
            None,
        ),
        (
            "tests/test_one.py",
            'def test_f():\n    """eq:first."""\n',
            "eq:second-1 is computed by f and proved by no test",
        ),
        (
            "book/three.md",
            "% theory only: gone\n",
            "eq:gone is marked theory only and is not labelled",
        ),
        (
            "book/three.md",
            "% theory only: first\n",
            "eq:first is marked theory only and computed",
        ),
        (
            "litgen/two.py",
            'def g():\n    """eq:gone."""\n',
            "litgen/two.py names eq:gone, which no chapter labels",
        ),
        (
            "tests/test_two.py",
            'def test_g():\n    """eq:gone."""\n',
            "tests/test_two.py names eq:gone, which no chapter labels",
        ),
    ],
)
def test_each_gap_is_one_line(root: Path, file: str, text: str, problem: str | None) -> None:
    """It says which equation, where, and what is lacking."""
    write(root, {file: text})
    if problem is None:  # the same page, its equation marked: no gap
        write(root, {file: text + "\n% theory only: new\n"})
        assert equations.problems() == []
    else:
        assert equations.problems() == [problem]


def test_a_theory_equation_needs_no_proof_and_a_proof_no_function(root: Path) -> None:
    """A test may check a step of a derivation."""
    write(root, {"tests/test_two.py": 'def test_g():\n    """eq:step."""\n'})
    assert equations.problems() == []


TABLE = {
    "index.md": (
        "# A book\n\n```{toctree}\n:numbered:\nbook/one/first\nbook/two/second\nbook/table\n```\n"
    ),
    "book/table.md": "# Table\n\n```{equation-table}\n```\n",
    "book/references.bib": "",
}


def test_the_table_leads_from_equation_to_function_to_test(root: Path) -> None:
    """One row each, in the order of the pages, with number, label, links and proofs."""
    write(root, TABLE)
    done = build(root)
    assert done.warnings == ""
    text = (root / "_build" / "html" / "book" / "table.html").read_text("utf8")
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", text, re.DOTALL)
    cells = [
        [
            " ".join(re.sub(r"<[^>]+>", "", cell).split())
            for cell in re.findall(r"<td>(.*?)</td>", row)
        ]
        for row in rows
    ]
    assert [row for row in cells if row] == [
        ["(1.1)", "first", "deep.net.Net.forward.inner, one.f", "tests/test_one.py: test_f"],
        ["(1.2)", "step", "theory only", ""],
        ["(2.1)", "second-1", "one.f", "tests/test_one.py: test_f"],
        ["(2.2)", "third", "deep.net.Net.forward", "tests/deep/test_net.py: TestNet.test_it"],
    ]
    assert 'href="one/first.html#equation-first"' in text
    again = build(root)
    assert again.read == []
    write(root, {"tests/test_two.py": 'def test_more():\n    """eq:third."""\n'})
    write(root, {"litgen/one.py": CODE["litgen/one.py"] + "\n\nx = 1\n"})
    build(root)
    text = (root / "_build" / "html" / "book" / "table.html").read_text("utf8")
    text = re.sub(r"<[^>]+>", "", text)
    assert "tests/deep/test_net.py: TestNet.test_it; tests/test_two.py: test_more" in text


def test_a_gap_fails_the_build(root: Path) -> None:
    """Before anything is read; all gaps at once."""
    write(root, TABLE | {"book/two/third.md": "# 3\n\n$$\nx\n$$ (new)\n\n$$\nx\n$$ (newer)\n"})
    with pytest.raises(ExtensionError, match=r"equations:\neq:new in (?s:.*)\neq:newer in "):
        build(root)


def test_the_book_has_no_gaps() -> None:
    """Every labelled equation of the real book is computed and proved, or marked as theory."""
    assert len(equations.labels()) > 20
    assert equations.problems() == []
