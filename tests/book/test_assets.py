"""Proof for book/_ext/litgen_book/assets.py."""

import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from litgen_book import assets, chapters
from sphinx.errors import ExtensionError

from tests.book.test_pages import write

ROOT = Path(__file__).parents[2]
PROJECT = {
    "pyproject.toml": (
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "litgen"\nversion = "0.1.0"\nreadme = "README.md"\n'
        '[tool.setuptools.packages.find]\ninclude = ["litgen*"]\n'
    ),
    "README.md": "# litgen\n",
    "LICENSE": "MIT\n",
    "litgen/__init__.py": "",
    "litgen/kept.py": "x = 1\n",
    "litgen/deep/__init__.py": "",
    "litgen/deep/gone.py": "x = 1\n",
    "tests/test_nothing.py": "",
    "book/intro.md": "",
}


def modules(wheel: Path) -> set[str]:
    """Return the Python files in a wheel."""
    return {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}


def test_the_wheel_is_todays_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the package, nothing that was deleted, built only when the source changed."""
    write(tmp_path, PROJECT)
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    first = assets.wheel()
    assert first.name == "litgen-0.1.0-py3-none-any.whl"
    kept = {"litgen/__init__.py", "litgen/kept.py", "litgen/deep/__init__.py"}
    assert modules(first) == kept | {"litgen/deep/gone.py"}
    assert zipfile.ZipFile(first).read("litgen/kept.py") == b"x = 1\n"
    assert {p.name for p in tmp_path.iterdir()} == {
        *("pyproject.toml", "README.md", "LICENSE", "litgen", "tests", "book", "_build"),
    }
    with monkeypatch.context() as never:
        never.setattr(assets, "_build", lambda folder: pytest.fail("built again"))
        assert assets.wheel() == first
        write(tmp_path, {"book/intro.md": "Prose.", "tests/test_nothing.py": "x = 1"})
        assert assets.wheel() == first
    (tmp_path / "litgen" / "deep" / "gone.py").rename(tmp_path / "litgen" / "deep" / "here.py")
    second = assets.wheel()
    assert modules(second) == kept | {"litgen/deep/here.py"}
    assert not first.exists(), "old wheels do not pile up"


def test_a_wheel_that_cannot_be_built_fails_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the builder said."""
    write(tmp_path, PROJECT)
    monkeypatch.setattr(chapters, "ROOT", tmp_path)

    def fail(command: list[str], **keywords: Any) -> Any:
        return SimpleNamespace(returncode=1, stderr="no setuptools here")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(ExtensionError, match="wheel could not be built:\nno setuptools here"):
        assets.wheel()


def test_mathjax_is_copied_from_its_package(tmp_path: Path) -> None:
    """All that the configuration loads, and the fonts; a second copy changes nothing."""
    target = tmp_path / "_static" / "mathjax"
    assets._mathjax(target)
    files = {p.relative_to(target).as_posix(): p for p in target.rglob("*") if p.is_file()}
    config = (ROOT / "_config.yml").read_text("utf8")
    for part in ("core", "input/tex", "output/chtml", "a11y/assistive-mml"):
        assert part in config
        assert files[f"{part}.js"].stat().st_size > 1000
    assert "startup.js" in files
    assert any(name.endswith("MathJax_Main-Regular.woff") for name in files)
    assert any(name.startswith("input/tex/extensions/") for name in files)
    assert sum(p.stat().st_size for p in files.values()) < 4 * 2**20
    before = {name: p.stat().st_mtime_ns for name, p in files.items() if "fonts" not in name}
    assets._mathjax(target)
    after = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    assert after == set(files)
    assert before


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (None, "http://localhost:8000/"),
        ("", "http://localhost:8000/"),
        ("https://example.org/book", "https://example.org/book/"),
        ("https://example.org/book/", "https://example.org/book/"),
    ],
)
def test_the_site_may_be_published_anywhere(
    monkeypatch: pytest.MonkeyPatch, site: str | None, expected: str
) -> None:
    """LITGEN_SITE replaces the address in _config.yml, with a slash at its end."""
    if site is None:
        monkeypatch.delenv("LITGEN_SITE", raising=False)
    else:
        monkeypatch.setenv("LITGEN_SITE", site)
    config: Any = SimpleNamespace(html_baseurl="http://localhost:8000/", ogp_site_url="")
    config.ogp_site_url = config.html_baseurl
    assets._address(SimpleNamespace(), config)  # type: ignore[arg-type]
    assert config.html_baseurl == config.ogp_site_url == expected


def test_nothing_is_copied_after_a_failed_build_or_for_other_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half built site gets no wheel that makes it look whole."""
    monkeypatch.setattr(assets, "wheel", lambda: pytest.fail("a wheel was built"))
    for error, form in ((ValueError("no"), "html"), (None, "latex")):
        app: Any = SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format=form))
        assets._finish(app, error)
    assert list(tmp_path.iterdir()) == []


def test_finishing_makes_the_site_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MathJax, the wheel, a map of all pages, no half megabyte of icons, no hidden folders."""
    built = tmp_path / "litgen-9-py3-none-any.whl"
    built.write_bytes(b"wheel")
    script = tmp_path / "out" / "_static" / "scripts" / "fontawesome.js"
    script.parent.mkdir(parents=True)
    script.write_text("x" * 10_000)
    monkeypatch.setattr(assets, "wheel", lambda: built)
    app: Any = SimpleNamespace(
        outdir=str(tmp_path / "out"),
        builder=SimpleNamespace(format="html"),
        config=SimpleNamespace(html_baseurl="https://example.org/"),
        env=SimpleNamespace(found_docs={"book/a&b", "index"}),
    )
    assets._finish(app, None)
    assert (tmp_path / "out" / built.name).read_bytes() == b"wheel"
    assert (tmp_path / "out" / ".nojekyll").exists()
    assert len(script.read_text()) < 100
    assert (tmp_path / "out" / "_static" / "mathjax" / "startup.js").is_file()
    pages = ElementTree.parse(tmp_path / "out" / "sitemap.xml").getroot().itertext()
    assert [page for page in pages if page.strip()] == [
        *("https://example.org/book/a&b.html", "https://example.org/index.html"),
    ]
