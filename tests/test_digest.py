"""Proof for litgen/digest.py."""

import ast
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path
from textwrap import dedent

import pytest

from litgen import digest

ROOT = Path(__file__).parents[1]
OLDEST = (3, 11)

BASE = dedent('''
    """What the module is for."""
    import math
    from os import path, sep

    # a comment
    @staticmethod
    def f(x, y=2.0, *, flag=True):
        """What f does."""
        table = {"a": 1, "b": (x,), "c": [x, y]}
        if x > 0:
            for value in table:
                y += 1
            return f"{x:.3f} {y!r}"
        return g(x, y)[0] - -1


    class A(object):
        size = 3
        name = "it's"
''')

# normalized: what does not count -----------------------------------------------------------------

SAME = {
    "comment": ("# a comment", "# another, longer comment\n#\n"),
    "comment at the end": ("y += 1", "y += 1  # once more"),
    "comment as wide as code": ("size = 3", "size = 3\n  # indented oddly\n"),
    "no comment": ("# a comment\n", ""),
    "module docstring": ('"""What the module is for."""\n', ""),
    "function docstring": ('"""What f does."""', '"""Something\n\n    else."""'),
    "new docstring": ("size = 3", "'''Of all\nsizes.'''\n    size = 3"),
    "docstring in parts": ('"""What f does."""', '"""What""" \' f does.\''),
    "attribute docstring": ("size = 3", 'size = 3\n    """How large."""'),
    "raw docstring": ('"""What f does."""', 'r"""What \\f does."""'),
    "blank lines": ("\n    return g", "\n\n\n    \n    return g"),
    "no blank lines": ("\n\n\nclass", "\nclass"),
    "blanks around operators": ('{x:.3f} {y!r}"', '{x:.3f} {y!r}"   '),
    "blanks in brackets": ("(x, y)[0]", "( x,y ) [ 0 ]"),
    "blanks before a colon": ("if x > 0:", "if  x>0 :"),
    "quotes": ('"a"', "'a'"),
    "triple quotes": ('"a"', '"""a"""'),
    "quotes with an escape": ('"it\'s"', "'it\\'s'"),
    "escapes": ('"a"', r'"\x61"'),
    "raw": ('"a"', 'r"a"'),
    "unicode prefix": ('"a"', 'u"a"'),
    "trailing comma in a dict": ("[x, y]}", "[x, y],}"),
    "trailing comma in a list": ("[x, y]", "[x, y,]"),
    "trailing comma in a call": ("g(x, y)", "g(x, y,)"),
    "trailing comma in a definition": ("flag=True)", "flag=True,)"),
    "trailing comma after one base": ("A(object)", "A(object,)"),
    "line breaks in a call": ("g(x, y)", "g(\n        x,\n        y,\n    )"),
    "line breaks and comments": ("[x, y]", "[  # two\n x,  # first\n\n y\n]"),
    "line break after a backslash": ("x > 0", "x \\\n > 0"),
    "line break in an import": ("path, sep", "(path, sep)".strip("()")),
    "semicolon's newline": ("size = 3\n", "size = 3 \n"),
}


@pytest.mark.parametrize("name", SAME)
def test_form_does_not_count(name: str) -> None:
    """Comments, docstrings, blank lines, quotes and a formatter's line breaks change no result."""
    old, new = SAME[name]
    assert BASE.count(old) >= 1
    edited = BASE.replace(old, new, 1)
    compile(edited, "edited", "exec")
    assert digest.normalized(edited) == digest.normalized(BASE)


def test_the_width_of_the_indentation_does_not_count() -> None:
    """Two blanks, eight or a tab are the same block."""
    levels = [len(line) - len(line.lstrip()) for line in BASE.splitlines()]
    for unit in ("  ", "        ", "\t"):
        lines = [
            unit * (level // 4) + line.lstrip()
            for level, line in zip(levels, BASE.splitlines(), strict=True)
        ]
        edited = "\n".join(lines)
        assert edited != BASE
        assert digest.normalized(edited) == digest.normalized(BASE)


def test_line_ends_do_not_count() -> None:
    """A checkout on Windows has the same digest, and so has a file without a last newline."""
    wanted = digest.normalized(BASE)
    assert digest.normalized(BASE.replace("\n", "\r\n")) == wanted
    assert digest.normalized(BASE.rstrip("\n")) == wanted
    assert digest.normalized(BASE + "\n\n") == wanted
    strings = 'x = """a\nb"""\ny = f"""{x}\n{x}"""\n'
    windows = strings.replace("\n", "\r\n")
    assert digest.normalized(windows) == digest.normalized(strings)


def test_one_element_needs_its_comma_only_in_tuples_and_subscripts() -> None:
    """A formatter adds and removes the others."""
    same = [
        ("f(x,)", "f(x)"),
        ("[x,]", "[x]"),
        ("{x,}", "{x}"),
        ("{x: y,}", "{x: y}"),
        ("f(x)(y,)", "f(x)(y)"),
        ("f[x](y,)", "f[x](y)"),
        ("'{}'.format(x,)", "'{}'.format(x)"),
        ("return_([x,],)", "return_([x])"),
        ("x = [[x,],]", "x = [[x]]"),
        ("f(lambda a, b: a,)", "f(lambda a, b: a)"),
        ("(x, y,)", "(x, y)"),
        ("((x, y,), z,)", "((x, y), z)"),
        ("a[x, y,]", "a[x, y]"),
        ("def f(x,): pass", "def f(x): pass"),
        ("class A(B,): pass", "class A(B): pass"),
    ]
    other = [
        ("(x,)", "(x)"),
        ("y = (x,)", "y = (x)"),
        ("a[x,]", "a[x]"),
        ("a(b)[x,]", "a(b)[x]"),
        ("a[b][x,]", "a[b][x]"),
        ("'abc'[x,]", "'abc'[x]"),
        ("f((x,))", "f((x))"),
        ("f(y, (x,))", "f(y, (x))"),
        ("[(x,)]", "[(x)]"),
        ("x in (y,)", "x in (y)"),
        ("not (y,)", "not (y)"),
        ("(lambda a, b: a,)", "(lambda a, b: a)"),
        ("a[lambda b, c: b,]", "a[lambda b, c: b]"),
        ("(x for x, y in z), 1", "(x for x, y in z)"),
        ("x,", "x"),
        ("f((x, y))", "f(x, y)"),
        ("match (x,):\n case 1: pass", "match (x):\n case 1: pass"),
        ("match x:\n case (1,): pass", "match x:\n case (1): pass"),
        ("def f():\n return (x,)", "def f():\n return (x)"),
    ]
    for one, two in same:
        assert ast.dump(ast.parse(one)) == ast.dump(ast.parse(two)), "the test itself is wrong"
        assert digest.normalized(one) == digest.normalized(two), (one, two)
    for one, two in other:
        assert ast.dump(ast.parse(one)) != ast.dump(ast.parse(two)), "the test itself is wrong"
        assert digest.normalized(one) != digest.normalized(two), (one, two)


# normalized: what counts -------------------------------------------------------------------------

OTHER = {
    "number": ("2.0", "2.1"),
    "number's type": ("2.0", "2"),
    "operator": ("y += 1", "y -= 1"),
    "comparison": ("x > 0", "x >= 0"),
    "sign": ("- -1", "- +1"),
    "name": ("g(x, y)", "h(x, y)"),
    "order": ("g(x, y)", "g(y, x)"),
    "index": ("[0]", "[1]"),
    "tuple": ("(x,)", "(x)"),
    "list to tuple": ("[x, y]", "(x, y)"),
    "string": ('"a"', '"A"'),
    "bytes": ('"a"', 'b"a"'),
    "blank in a string": ('"a"', '"a "'),
    "comment sign in a string": ('"a"', '"a#"'),
    "f-string's text": ('{x:.3f} {y!r}"', '{x:.3f}  {y!r}"'),
    "f-string's name": ("{x:.3f}", "{y:.3f}"),
    "f-string's format": ("{x:.3f}", "{x:.2f}"),
    "f-string's conversion": ("{y!r}", "{y!s}"),
    "f-string or not": ('f"{x', '"{x'),
    "default": ("flag=True", "flag=False"),
    "keyword only": (" *, flag", " flag"),
    "decorator": ("@staticmethod", "@classmethod"),
    "no decorator": ("@staticmethod\n", ""),
    "import": ("from os import path", "from os import pathsep as path"),
    "no import": ("import math\n", ""),
    "in the block or after it": (" return g(x, y)[0] - -1", "     return g(x, y)[0] - -1"),
    "in the loop or after it": ("    return f", "        return f"),
    "statement": ("size = 3", "size = 3; 4"),
    "pass": ("size = 3", "size = 3\n    pass"),
    "base": ("A(object)", "A(list)"),
    "keyword": ("if x > 0", "while x > 0"),
    "string that is a value": ('name = "it\'s"', 'name = "it\'s" "."'),
}


@pytest.mark.parametrize("name", OTHER)
def test_whatever_can_change_a_result_counts(name: str) -> None:
    """Numbers, operators, names, strings, structure: another text, another digest."""
    old, new = OTHER[name]
    assert BASE.count(old) >= 1
    edited = BASE.replace(old, new, 1)
    ast.parse(edited)
    assert digest.normalized(edited) != digest.normalized(BASE)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("if a:\n  b\n  c", "if a:\n  b\nc"),
        ("if a:\n  if b:\n    c\n  d", "if a:\n  if b:\n    c\n    d"),
        ("if a:\n  b\nelse:\n  c", "if a:\n  b\nif not a:\n  c"),
        ("for a in b:\n  c\nelse:\n  d", "for a in b:\n  c\nd"),
        ("a = 'b'", "a = b"),
        ("a = '1'", "a = 1"),
        ("a = 'b c'", "a = 'b' 'c'"),
        ("a.b", "a. _b"),
        ("a = b'x'", "a = 'x'"),
        ("a = '\\n'", "a = r'\\n'"),
        ("a = f'{b}'", "a = '{b}'"),
        ("a = f'{b}'", "a = rf'{b}c'"),
        ("""a = f"{b['x']}" """, """a = f"{b['y']}" """),
        ("a = f'{b:{c}}'", "a = f'{b:{d}}'"),
        ("a = f'{b:>{c}.2}'", "a = f'{b:<{c}.2}'"),
        ("a = f'{{b}}'", "a = f'{b}'"),
        ("a = f'''{b}\n  c'''", "a = f'''{b}\n c'''"),
        ("a = f'{b=}'", "a = f'{b = }'"),
        ("f'{a()}'", "f'{b()}'"),
        ("f'{a()}'", ""),
        ("a = F'{f(1, 2)}' f'{c}'", "a = F'{f(1, 3)}' f'{c}'"),
        ("f(*a)", "f(**a)"),
        ("f(a, *b)", "f(a, b)"),
        ("a = b", "a: b"),
        ("a == b", "a = b"),
        ("a @ b", "a * b"),
        ("a // b", "a / b"),
        ("1_0", "1_1"),
        ("0x10", "0x11"),
        ("1e-5", "1e5"),
        ("1j", "1"),
        ("a = 'é'", "a = 'e'"),
        ("a if b else c", "c if b else a"),
        ("async def f(): pass", "def f(): pass"),
        ("(a := 1)", "a = 1"),
        ("def f(a, /, b): pass", "def f(a, b): pass"),
        ("def f(a: 'x'): pass", "def f(a: 'y'): pass"),
        ("lambda a: b", "lambda b: b"),
        ("x = ...", "x = 0"),
    ],
)
def test_pairs_that_differ(one: str, two: str) -> None:
    """Small programs that compute different things have different normal forms."""
    for source in (one, two):
        compile(source, "", "exec")
    assert digest.normalized(one) != digest.normalized(two)


@pytest.mark.parametrize(
    "source",
    ["def f(:", "x = (1", "if x:\n    1\n  2", "x = '''a", "x = 'a", "x))", "x = $", "%pip"],
)
def test_what_is_no_python_is_a_syntax_error(source: str) -> None:
    """An open bracket or string, or a dedent to nowhere, is no silent digest."""
    with pytest.raises(SyntaxError):
        digest.normalized(source)


FILES = sorted((ROOT / "litgen").rglob("*.py"))


def undocumented(source: str) -> str:
    """Delete a file's comments, found by the tokenizer, and change its docstrings, by the tree."""
    lines = source.split("\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(
            node
        ):
            first = node.body[0]
            assert first.end_lineno is not None
            blank = " " * first.col_offset + '"Changed."'
            lines[first.lineno - 1 : first.end_lineno] = [blank] + [""] * (
                first.end_lineno - first.lineno
            )
    edited = "\n".join(lines)
    lines = edited.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(edited).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(lines)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_prose_in_real_files_does_not_count_and_numbers_do(path: Path) -> None:
    """Without comments and docstrings every module keeps its form, with another number none."""
    source = path.read_text("utf8")
    form = digest.normalized(source)
    plain = undocumented(source)
    assert plain != source
    assert digest.normalized(plain) == form
    assert digest.normalized("\n# more\n" + source.replace("\n", "\r\n")) == form
    rows = source.encode().split(b"\n")
    numbers = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and type(node.value) in (int, float)
    ]
    for node in numbers[:: max(1, len(numbers) // 3)]:
        row = rows[node.lineno - 1]
        changed = row[: node.col_offset] + b"7 + " + row[node.col_offset :]
        edited = b"\n".join([*rows[: node.lineno - 1], changed, *rows[node.lineno :]]).decode()
        assert digest.normalized(edited) != form, f"{path}:{node.lineno}"


# the same on every Python ------------------------------------------------------------------------

SNIPPETS = [
    BASE,
    'a = f"{b}"\n',
    "a = f\"é{b['ü']!r:>{w}} ñ\" + 'x'\n",
    'a = f"""ä\n  {b:\n}ö\n""" \'\'\n',
    'a = (f"é{x}" f"{y}" "z" rf"\\d{z}")\n',
    "f'{a}' f'{b}'\n",
    "if a:\n    f'{b}'\n    c = f'{d=}'\n",
    "a = f'{{}}' f'{b:{c}{d}}'\n",
    "if a:\n\tb\n\tif c:\n\t\td\n",
    "a = '\\N{GREEK SMALL LETTER ALPHA}é'\n",
    "async def f():\n    async with a as b, c as d: await e\n",
    "match x:\n    case {'a': [1, *_]}: pass\n    case A(b=1,): pass\n",
    "x = 'no newline at the end'",
    "x = [\n  1,  # one\n\n  2,\n]\n# end",
    "if x:\n  pass\n# dedented comment\n  # odd comment\ny = 1\n",
    "x = \\\n  1\n",
    "x = f'{a:%Y-%m-%d}' + f'{b!a}'\n",
    "é = 1; print(f'ü{é}', f\"{é}ü\"); x = f'{é}'\n",
]

PROGRAM = """
import json, runpy, sys
assert not {"torch", "numpy"} & set(sys.modules)
digest = runpy.run_path(sys.argv[1])
sources = json.load(sys.stdin)
print(json.dumps([digest["normalized"](source) for source in sources]))
"""


def interpreters() -> dict[str, str]:
    """Return the other supported Pythons of this machine, by version."""
    names = [f"python3.{minor}" for minor in range(OLDEST[1], 20)]
    found = [path for name in names if (path := shutil.which(name))]
    homes = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found += [str(path) for path in sorted(homes.glob("3.*/bin/python3"))]
    versions: dict[str, str] = {}
    for path in found:
        ask = "import sys; print('%d.%d' % sys.version_info[:2])"
        said = subprocess.run([path, "-c", ask], capture_output=True, text=True)  # shims may fail
        version = said.stdout.strip()
        if said.returncode == 0 and tuple(map(int, version.split("."))) >= OLDEST:
            versions.setdefault(version, path)
    versions.pop("{}.{}".format(*sys.version_info[:2]), None)
    return versions


def test_every_python_gives_the_same() -> None:
    """Tokens differ between versions, above all in f-strings; normal forms must not."""
    others = interpreters()
    if not others:
        pytest.skip(f"no second Python from {OLDEST[0]}.{OLDEST[1]} on is installed here")
    files = [p.read_text("utf8") for p in sorted(ROOT.glob("litgen/**/*.py"))]
    files += [p.read_text("utf8") for p in sorted(ROOT.glob("tests/**/*.py"))]
    assert len(files) > 40
    sources = [*SNIPPETS, *files]
    own = [digest.normalized(source) for source in sources]
    for version, path in others.items():
        done = subprocess.run(
            [path, "-W", "error", "-c", PROGRAM, str(digest.__file__)],
            input=json.dumps(sources),
            capture_output=True,
            text=True,
            cwd="/",
        )
        assert done.returncode == 0, f"Python {version}: {done.stderr}"
        theirs = json.loads(done.stdout)
        for source, mine, other in zip(sources, own, theirs, strict=True):
            assert other == mine, f"Python {version} differs on {source[:80]!r}"


# imported ----------------------------------------------------------------------------------------


def test_imported_names_everything_that_an_import_may_mean() -> None:
    """A name taken from a package may be a module of it; relative ones start at the module."""
    source = dedent("""
        import a.b, c as d
        from e.f import g as h, i
        from . import j
        from .k import l
        from ..m import n
        from .. import o
        def f():
            import p
            if x:
                from q import r
        try: import s
        except ImportError: import t
    """)
    assert digest.imported(source, "one.two.three") == {
        *("a.b", "c", "e.f", "e.f.g", "e.f.i", "one.two", "one.two.j", "one.two.k"),
        *("one.two.k.l", "one.m", "one.m.n", "one", "one.o", "p", "q", "q.r", "s", "t"),
    }
    assert digest.imported("x = 'import a'  # import b\n") == set()
    with pytest.raises(SyntaxError):
        digest.imported("import")


# closure -----------------------------------------------------------------------------------------

MINI = {
    "__init__.py": "",
    "floor.py": "import math\n",
    "deep.py": "from mini.floor import f\n",
    "lone.py": "",
    "late.py": "def f():\n    if 1:\n        from mini.hidden import g\n",
    "hidden.py": "",
    "plain.py": "import mini.deep\n",
    "aliased.py": "from mini import deep as d\n",
    "starred.py": "from mini.deep import *\n",
    "ring_a.py": "from mini import ring_b\n",
    "ring_b.py": "from mini import ring_a\n",
    "family/__init__.py": "from mini import basis\nfrom . import five\n",
    "family/five.py": "",
    "family/one.py": "from . import two\nfrom .three import f\n",
    "family/two.py": "from ..floor import g\n",
    "family/three.py": "from .. import late\n",
    "family/four.py": "",
    "reads.py": "from mini.family import four\nimport os\nimport nowhere.to.be.found\n",
    "sees.py": "from mini.family.four import NUMBER\n",
    "basis.py": "",
    "store/__init__.py": "from mini.family import one\n",
    "store/disk.py": "",
    "user.py": "from mini.store import disk\nfrom mini import store\nfrom mini import floor\n",
}
FAMILY = {"mini", "mini.family", "mini.basis", "mini.family.five"}


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a small package in litgen's place."""
    for name, text in MINI.items():
        path = tmp_path / "mini" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf8")
    monkeypatch.setattr(digest, "PACKAGE", tmp_path / "mini")
    return tmp_path / "mini"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["mini.lone"], {"mini", "mini.lone"}),
        (["mini.deep"], {"mini", "mini.deep", "mini.floor"}),
        (["mini.plain"], {"mini", "mini.plain", "mini.deep", "mini.floor"}),
        (["mini.aliased"], {"mini", "mini.aliased", "mini.deep", "mini.floor"}),
        (["mini.starred"], {"mini", "mini.starred", "mini.deep", "mini.floor"}),
        (["mini.late"], {"mini", "mini.late", "mini.hidden"}),
        (["mini.ring_a"], {"mini", "mini.ring_a", "mini.ring_b"}),
        (["mini.family"], FAMILY),
        (["mini.family.four"], FAMILY | {"mini.family.four"}),
        (["mini.family.two"], FAMILY | {"mini.family.two", "mini.floor"}),
        (
            ["mini.family.one"],
            FAMILY
            | {f"mini.family.{name}" for name in ("one", "two", "three")}
            | {"mini.floor", "mini.late", "mini.hidden"},
        ),
        (["mini.reads"], FAMILY | {"mini.reads", "mini.family.four"}),
        (["mini.sees"], FAMILY | {"mini.sees", "mini.family.four"}),
        (["mini.floor.a_function"], set()),  # whoever imports it names its module as well
        (["os", "torch.nn", "minimal.deep", ""], set()),
        (["mini.no_such_module"], set()),
        ([], set()),
    ],
)
def test_closure_follows_every_kind_of_import(
    mini: Path, names: list[str], expected: set[str]
) -> None:
    """Transitively, inside functions, through packages and relative names, and nothing else."""
    found = digest.closure(names)
    assert set(found) == expected
    assert list(found) == sorted(found)
    for name, path in found.items():
        relative = path.relative_to(mini.parent).with_suffix("").as_posix()
        assert relative.removesuffix("/__init__") == name.replace(".", "/")


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        (["mini.store"], {"mini", "mini.user", "mini.floor"}),
        (["mini.store.disk"], None),
        (["mini.sto"], None),
        (["mini.floor", "mini.store"], {"mini", "mini.user"}),
        (["mini"], set()),
    ],
)
def test_closure_without(mini: Path, without: list[str], expected: set[str] | None) -> None:
    """A package is left out with all that it holds and with what only it imports."""
    everything = set(digest.closure(["mini.user"]))
    assert {"mini.store", "mini.store.disk", "mini.family.one"} <= everything
    if expected is None:
        expected = everything - set(without)
    assert set(digest.closure(["mini.user"], without=without)) == expected


def test_a_new_import_joins_the_closure_and_a_new_file_does_not(mini: Path) -> None:
    """What counts is what is imported now."""
    before = digest.sources(digest.closure(["mini.deep"]))
    (mini / "newcomer.py").write_text("x = 1\n")
    assert digest.sources(digest.closure(["mini.deep"])) == before
    (mini / "floor.py").write_text("import math\nfrom mini import newcomer\n")
    after = digest.sources(digest.closure(["mini.deep"]))
    assert set(after) - set(before) == {"mini.newcomer"}


def test_sources_change_with_code_and_not_with_comments(mini: Path) -> None:
    """One hash a module, of its normal form; others keep theirs."""
    files = digest.closure(["mini.deep"])
    before = digest.sources(files)
    assert set(before) == set(files)
    (mini / "floor.py").write_text('"""New."""\n\nimport math  # new\n')
    assert digest.sources(files) == before
    (mini / "floor.py").write_text("import cmath\n")
    after = digest.sources(files)
    assert {name for name in before if before[name] != after[name]} == {"mini.floor"}
    (mini / "floor.py").write_bytes(b"import cmath\r\n\r\n")
    assert digest.sources(files) == after


def test_the_recipes_depend_on_their_mathematics() -> None:
    """On the real package: a recipe's closure holds its family and the floor it uses."""
    found = digest.closure(["litgen.recipes.vae.digits"])
    assert {
        *("litgen", "litgen.recipes", "litgen.recipes.vae", "litgen.recipes.vae.digits"),
        *("litgen.vae.elbo", "litgen.gaussian", "litgen.training", "litgen.vae.networks"),
    } <= set(found)
    assert "litgen.recipes.vae.plane" not in found
    assert "litgen.cli" not in found


# combine -----------------------------------------------------------------------------------------


def test_combine_is_a_hash_of_values_in_order() -> None:
    """16 hex digits; the order of keys does not matter, everything else does."""
    assert re.fullmatch("[0-9a-f]{16}", digest.combine())
    assert digest.combine({"a": 1, "b": 2}) == digest.combine({"b": 2, "a": 1})
    assert digest.combine((1, 2)) == digest.combine([1, 2])
    values: list[tuple[object, ...]] = [
        *[(), (1,), (1, 2), (2, 1), ([1, 2],), ("1",), (1.5,), (None,), (True,), ("é",), ("e",)],
        *[({"a": 1},), ({"a": 2},), ("12",), ("1", "2"), ("",), ({},), ([],), (0,), (False,)],
        *[(1e-3,), (0.0010000000000000002,)],
    ]
    for one, two in itertools.combinations(values, 2):
        assert digest.combine(*one) != digest.combine(*two), (one, two)
    with pytest.raises(TypeError):
        digest.combine(object())


def test_combine_is_reproducible() -> None:
    """It is the sha256 of the values as JSON in ASCII, keys sorted: no hash seed, no locale."""
    text = b'[["a", {"b": [1, null], "c": "\\u00e9"}]]'
    expected = hashlib.sha256(text).hexdigest()[:16]
    assert digest.combine(["a", {"c": "é", "b": [1, None]}]) == expected
