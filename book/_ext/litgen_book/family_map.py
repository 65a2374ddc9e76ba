"""The map of families: a figure whose boxes are links, filled in as chapters land.

Proof: tests/book/test_family_map.py.

A box leads to the first chapter of the table of contents that its prefix names; one without a
chapter is drawn dashed, says that it is planned, and is no link. The drawing is 360 units wide, so
that its text is legible on a phone, and its colours are the theme's (litgen.css).
"""

import html
from collections.abc import Callable
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from litgen_book import cards, chapters

__all__ = ["BANDS", "Band", "Box", "chapter_of", "drawing", "plain_lines", "setup"]

WIDTH, MARGIN, HEAD, BOX, GAP = 360, 6, 44, 46, 8


class Box(NamedTuple):
    """One family: its name, what is special about it, and where its chapters are."""

    name: str
    note: str
    prefix: str


class Band(NamedTuple):
    """Families that answer the same question about a point's probability."""

    title: str
    about: str
    boxes: tuple[Box, ...]


BANDS = (
    Band(
        "Exact density",
        "log p(x) is computed as it stands",
        (
            Box("Kernel density", "no training", "book/density/kde"),
            Box("Probabilistic PCA", "one Gaussian", "book/density/ppca"),
            Box("Mixtures", "many Gaussians", "book/density/mixture"),
            Box("Flows", "change of variables", "book/flows/"),
        ),
    ),
    Band(
        "A bound on the density",
        "latent variables, summed out in part",
        (
            Box("VAE", "variational autoencoder", "book/vae/"),
            Box("Diffusion", "a ladder of noise", "book/diffusion/"),
        ),
    ),
    Band(
        "A sampler only",
        "log p(x) is never computed",
        (
            Box("Adversarial networks", "trained by a critic", "book/gan/"),
            Box("Dependency networks", "one part given all others", "book/music/"),
        ),
    ),
    Band(
        "Parts that they share",
        "networks, codes and features",
        (
            Box("Networks in PyTorch", "layers, optimisers", "book/primer/"),
            Box("Judging samples", "distances, two-sample tests", "book/evaluation/"),
            Box("Word vectors", "a bilinear model", "book/words/"),
            Box("Autoencoders", "codes without a prior", "book/autoencoders/"),
            Box("Dense prediction", "one answer a pixel", "book/segmentation/"),
            Box("Style", "statistics of features", "book/style/"),
        ),
    ),
    Band(
        "Put to use",
        "where the answer can be checked",
        (
            Box("Archaeology", "broken vessels", "book/applications/archaeology"),
            Box("Medical imaging", "more slices", "book/applications/medical"),
            Box("Neurobiology", "spike trains", "book/applications/neurobiology"),
        ),
    ),
)


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("family-map", FamilyMap)


def chapter_of(box: Box) -> tuple[str, str] | None:
    """Return page and title of a family's first chapter in the table of contents, or None."""
    return next(
        ((name, title) for name, title, _ in cards.listed() if name.startswith(box.prefix)), None
    )


def plain_lines(site: str) -> list[str]:
    """Return the map as a Markdown list, for pages that cannot draw: the downloaded notebook."""
    lines = []
    for band in BANDS:
        lines.append(f"* **{band.title}**: {band.about}")
        for box in band.boxes:
            found = chapter_of(box)
            name = f"[{box.name}]({site}/{found[0]}.html)" if found else f"{box.name} (planned)"
            lines.append(f"  * {name}: {box.note}")
    return lines


def drawing(link: Callable[[str], str]) -> str:
    """Return the map as an SVG element.

    Args:
        link: turns a page's name into an address as seen from the page that shows the map.
    """
    parts: list[str] = []
    top = MARGIN
    for band in BANDS:
        parts.append(_text(MARGIN, top + 18, band.title, "band"))
        parts.append(_text(MARGIN, top + 35, band.about, "about"))
        top += HEAD
        wide = (WIDTH - 2 * MARGIN - GAP) / 2
        for i, box in enumerate(band.boxes):
            x, y = MARGIN + i % 2 * (wide + GAP), top + i // 2 * (BOX + GAP)
            parts.append(_box(box, x, y, wide, link))
        top += -(-len(band.boxes) // 2) * (BOX + GAP) + GAP
    title = "Families of generative models"
    about = (
        "Five groups of boxes, one box a family; a box with a whole frame leads to its chapter, "
        "a dashed one is planned."
    )
    return (
        f'<svg class="family-map" viewBox="0 0 {WIDTH} {top}" role="group" '
        'aria-labelledby="family-map-title family-map-about">'
        f'<title id="family-map-title">{title}</title>'
        f'<desc id="family-map-about">{about}</desc>{"".join(parts)}</svg>'
    )


def _box(box: Box, x: float, y: float, wide: float, link: Callable[[str], str]) -> str:
    found = chapter_of(box)
    frame = f'<rect x="{x}" y="{y}" width="{wide}" height="{BOX}" rx="5"/>'
    name = _text(x + 9, y + 19, box.name, "name")
    if found is None:
        return f'<g class="planned">{frame}{name}{_text(x + 9, y + 36, "planned", "note")}</g>'
    label = html.escape(f"{box.name}: {found[1].replace('*', '')}", quote=True)
    address = html.escape(link(found[0]), quote=True)
    note = _text(x + 9, y + 36, box.note, "note")
    return f'<a href="{address}" aria-label="{label}">{frame}{name}{note}</a>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{html.escape(text)}</text>'


class FamilyMap(SphinxDirective):
    """The map on a page of the book."""

    def run(self) -> list[nodes.Node]:
        """Draw it with links as seen from this page; a new chapter renews the page."""
        self.env.note_dependency(str(chapters.ROOT / "_toc.yml"))
        here, builder = self.env.docname, self.env.app.builder
        if builder.format != "html":
            return [nodes.paragraph(text="; ".join(plain_lines("")))]
        svg = drawing(lambda page: builder.get_relative_uri(here, page))
        return [nodes.raw("", f'<div class="family-map-frame">{svg}</div>', format="html")]
