"""What a result depends on, as one hash: code without comments, docstrings and formatting.

Chapter: book/contributing.md.  Proof: tests/test_digest.py.

The hash must be the same on every supported Python, so it is made of tokens: syntax trees change
from version to version. f-strings, which newer tokenizers take apart, enter as their source text.
"""

import ast
import hashlib
import io
import json
import keyword
import tokenize
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

__all__ = ["closure", "combine", "imported", "normalized", "sources"]

PACKAGE = Path(__file__).parent
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
PREFIXED = ("FSTRING", "TSTRING")  # strings that Python 3.12 and 3.14 began to take apart
OPENING = {getattr(tokenize, f"{prefix}_START", -1) for prefix in PREFIXED}
CLOSING = {getattr(tokenize, f"{prefix}_END", -1) for prefix in PREFIXED}


def normalized(source: str) -> str:
    """Return the logical lines of a module without what cannot change a result.

    Dropped: comments, blank lines, statements that are only a string (docstrings), the width of
    the indentation, line breaks in brackets, the kind of quotes, a formatter's trailing commas.

    Raises:
        SyntaxError: the source is no Python.
    """
    ast.parse(source)  # tokens alone do not tell
    lines: list[str] = []
    line: list[tuple[int, str]] = []
    for kind, text in _tokens(source.replace("\r\n", "\n")):
        if kind == tokenize.INDENT:
            lines.append(">")
        elif kind == tokenize.DEDENT:
            lines.append("<")
        elif kind == tokenize.NEWLINE:
            if any(kind != tokenize.STRING or "f" in _prefix(text) for kind, text in line):
                lines.append(" ".join(_without_trailing_commas([text for _, text in line])))
            line = []
        else:
            line.append((kind, text))
    return "\n".join(lines)


def imported(source: str, module: str = "") -> set[str]:
    """Return the dotted names that a source may import, itself named ``module``.

    Raises:
        SyntaxError: the source is no Python.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


def closure(names: Iterable[str], without: Collection[str] = ()) -> dict[str, Path]:
    """Return the litgen modules that importing ``names`` runs, by name, with their files.

    Args:
        names: dotted names; what is not litgen's, or is no module, is passed over.
        without: modules and packages that are left out, and not followed.
    """
    found: dict[str, Path] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        parts = name.split(".")
        prefixes = {".".join(parts[:i]) for i in range(1, len(parts) + 1)}
        if parts[0] != PACKAGE.name or name in found or prefixes & set(without):
            continue
        path = PACKAGE.joinpath(*parts[1:])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file.is_file():
            found[name] = file
            inside = f"{name}.__init__" if path.is_dir() else name
            todo += [*imported(file.read_text("utf8"), inside), ".".join(parts[:-1])]
    return dict(sorted(found.items()))


def sources(files: dict[str, Path]) -> dict[str, str]:
    """Return the hash of each module's normalized source."""
    return {name: combine(normalized(path.read_text("utf8"))) for name, path in files.items()}


def combine(*parts: object) -> str:
    """Return one hash of plain values (text, numbers, lists, dictionaries), 16 hex digits."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tokens(source: str) -> Iterator[tuple[int, str]]:
    """Yield kinds and texts; strings without their quotes' style, f-strings whole."""
    rows = source.split("\n")
    depth, begin = 0, (0, 0)
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type in OPENING:
                begin = begin if depth else token.start
                depth += 1
            if not depth and token.type not in SILENT:
                plain = token.type == tokenize.STRING and "f" not in _prefix(token.string)
                yield token.type, ascii(ast.literal_eval(token.string)) if plain else token.string
            if token.type in CLOSING:
                depth -= 1
                if not depth:
                    yield tokenize.STRING, _between(rows, begin, token.end)
    except tokenize.TokenError as error:
        raise SyntaxError(str(error)) from None


def _prefix(string: str) -> str:
    return string[: min(string.find(q) for q in "'\"" if q in string)].lower()


def _between(rows: list[str], begin: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the text from one (row, column) to another; rows count from 1."""
    if begin[0] == end[0]:
        return rows[begin[0] - 1][begin[1] : end[1]]
    middle = rows[begin[0] : end[0] - 1]
    return "\n".join([rows[begin[0] - 1][begin[1] :], *middle, rows[end[0] - 1][: end[1]]])


def _without_trailing_commas(texts: list[str]) -> list[str]:
    """Drop a formatter's commas, no others: (x,) is no (x), a[x,] no a[x], but f(x,) is f(x)."""
    kept: list[str] = []
    commas, lambdas = [0], [0]  # in each open bracket
    for before, text in zip(["", *texts], texts, strict=False):
        if text in ("(", "[", "{"):
            value = before[-1:].isalnum() or before[-1:] in tuple("_)]}'\"")
            value = value and before not in (*keyword.kwlist, "match", "case")
            needed = text != "{" and (text == "(") != value  # a tuple or a subscript
            commas.append(0 if needed else 1)
            lambdas.append(0)
        elif text == "lambda":
            lambdas[-1] += 1
        elif text == ":" and lambdas[-1]:
            lambdas[-1] -= 1
        elif text == ",":
            commas[-1] += not lambdas[-1]  # those between arguments make no tuple
        elif text in (")", "]", "}"):
            if kept[-1:] == [","] and commas[-1] > 1:
                kept.pop()
            commas.pop()
            lambdas.pop()
        kept.append(text)
    return kept
