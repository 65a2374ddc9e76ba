"""Book, package and tests stay one thing: names that point at each other must exist.

And the house rules of who may import what; each is a few lines of ``ast``.
"""

import ast
import fnmatch
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from litgen import digest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "litgen").rglob("*.py"))
MODULES = [p for p in FILES if p.stem not in ("__init__", "__main__")]
NO_FAMILIES = {"recipes", "data"}
FAMILIES = {p.parent.name for p in FILES if p.parent.parent == ROOT / "litgen"} - NO_FAMILIES
FAMILY_MODULES = [p for p in MODULES if p.relative_to(ROOT / "litgen").parts[0] in FAMILIES]
FLOOR = [p for p in MODULES if len(p.relative_to(ROOT / "litgen").parts) == 1] + [
    p for p in MODULES if p.relative_to(ROOT / "litgen").parts[0] == "data"
]
EDGES = {"cli", "runs", "profiles", "notebook", "digest"}  # these may know recipes


def name_of(path: Path) -> str:
    """Return a path relative to the root, for test names and messages."""
    return path.relative_to(ROOT).as_posix()


def each(paths: list[Path]) -> pytest.MarkDecorator:
    """Run a test for every file."""
    return pytest.mark.parametrize("path", paths, ids=name_of)


def documents() -> str:
    """Return the text of all pages of the book."""
    return "\n".join(p.read_text("utf8") for p in sorted((ROOT / "book").rglob("*.md")))


def docstrings(path: Path) -> Iterator[str]:
    """Yield every docstring of a file."""
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def imports_of(path: Path) -> set[str]:
    """Return the first two parts of everything that a litgen module imports, anywhere in it."""
    module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    return {
        ".".join(name.split(".")[:2]) for name in digest.imported(path.read_text("utf8"), module)
    }


# names that point at each other ------------------------------------------------------------------


def test_there_is_something_to_check() -> None:
    """A moved folder must not make all tests below pass."""
    assert {"vae"} <= FAMILIES
    assert not FAMILIES & {"litgen", "data", "recipes"}
    assert len(MODULES) > 15
    assert len(FAMILY_MODULES) >= 4
    assert "$$ (elbo)" in documents()


@each(MODULES)
def test_equation_labels_named_in_docstrings_exist(path: Path) -> None:
    """A docstring that says eq:label is a promise that some chapter has that label."""
    pairs = re.findall(r"\$\$ \(([\w-]+)\)|^:label: ([\w-]+)", documents(), re.MULTILINE)
    defined = {name for pair in pairs for name in pair if name}
    named = set(re.findall(r"\beq:([\w-]+)", path.read_text("utf8")))
    assert named <= defined, f"no chapter labels {sorted(named - defined)}"


@each(sorted((ROOT / "tests").rglob("*.py")))
def test_equation_labels_named_in_tests_exist(path: Path) -> None:
    """The same for docstrings of tests, from which the table of equations is made."""
    if path.name == "test_equations.py":
        return  # it has equations of its own
    pairs = re.findall(r"\$\$ \(([\w-]+)\)|^:label: ([\w-]+)", documents(), re.MULTILINE)
    defined = {name for pair in pairs for name in pair if name}
    named = {label for text in docstrings(path) for label in re.findall(r"\beq:([\w-]*\w)", text)}
    assert named - {"label"} <= defined, f"no chapter labels {sorted(named - defined)}"


@each(FILES)
def test_paths_named_in_docstrings_exist(path: Path) -> None:
    """Chapter: and Proof: lines are links; a moved file must take them along."""
    for text in docstrings(path):
        for named in re.findall(r"\b(?:book|tests|litgen)/[\w/.-]+\.(?:md|py|js|bib)\b", text):
            assert (ROOT / named).is_file(), named


@each(MODULES)
def test_every_module_has_a_proof_that_names_it(path: Path) -> None:
    """``Proof:`` leads to a test, and that test says which module it is about."""
    text = ast.get_docstring(ast.parse(path.read_text("utf8"))) or ""
    assert text.split("\n")[0].endswith((".", ":")) or "|" in text, "opens with one sentence"
    match = re.search(r"Proof: (tests/[\w/]+\.py)\.", text)
    assert match is not None, "its docstring has no Proof: line"
    proof = (ROOT / match[1]).read_text("utf8")
    module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    assert path.name in (ast.get_docstring(ast.parse(proof)) or ""), f"it is not in {match[1]}"
    assert module in digest.imported(proof), f"{match[1]} does not import {module}"


@each(sorted((ROOT / "book" / "_ext").rglob("*.py")))
def test_every_extension_has_a_proof(path: Path) -> None:
    """The same for the Sphinx side."""
    text = ast.get_docstring(ast.parse(path.read_text("utf8"))) or ""
    if path.stem == "__init__":
        return
    proofs = re.findall(r"\btests/[\w/]+\.py\b", text)
    assert proofs, "its docstring has no Proof: line"
    for proof in proofs:
        assert (ROOT / proof).is_file(), proof
    assert path.stem in (ROOT / proofs[0]).read_text("utf8")


@each([p for p in MODULES if p in FAMILY_MODULES])
def test_the_chapter_says_where_its_functions_are(path: Path) -> None:
    """A family's module names a chapter, and that chapter shows or imports the module."""
    text = ast.get_docstring(ast.parse(path.read_text("utf8"))) or ""
    match = re.search(r"Chapter: (book/[\w/]+\.md)", text)
    assert match is not None, "its docstring has no Chapter: line"
    chapter = (ROOT / match[1]).read_text("utf8")
    dotted = name_of(path).removesuffix(".py")
    assert dotted in chapter or dotted.replace("/", ".") in chapter


def test_files_and_definitions_that_the_book_includes_exist() -> None:
    """``literalinclude`` finds its file and its object."""
    for page in sorted((ROOT / "book").rglob("*.md")):
        text = page.read_text("utf8")
        for file, body in re.findall(r"\{literalinclude\} (\S+)\n((?:^:.*\n)*)", text, re.M):
            source = page.parent / file
            assert source.is_file(), f"{page.name}: {file}"
            found = re.search(r"^:pyobject: (\S+)$", body, re.M)
            if found:
                names = found[1].split(".")
                node: ast.AST = ast.parse(source.read_text("utf8"))
                for name in names:
                    inner = [c for c in ast.walk(node) if getattr(c, "name", None) == name]
                    assert inner, f"{page.name}: {file} defines no {found[1]}"
                    node = inner[0]


# who may import whom -----------------------------------------------------------------------------


@each(FAMILY_MODULES)
def test_a_family_imports_no_other_family(path: Path) -> None:
    """What two families need moves down a layer; it is never reached sideways."""
    own = path.relative_to(ROOT / "litgen").parts[0]
    others = {f"litgen.{name}" for name in FAMILIES - {own}}
    assert not imports_of(path) & others


@each(FAMILY_MODULES)
def test_a_family_knows_nothing_above_it(path: Path) -> None:
    """No recipes, no command line, no store of runs, no data, no plots."""
    above = {"recipes", "cli", "runs", "data", "plotting", "notebook", "profiles"}
    assert not imports_of(path) & {f"litgen.{name}" for name in above}


@each(FLOOR)
def test_the_floor_imports_no_family(path: Path) -> None:
    """It carries them."""
    families = {f"litgen.{name}" for name in FAMILIES}
    recipes = set() if path.stem in EDGES else {"litgen.recipes", "litgen.cli"}
    assert not imports_of(path) & (families | recipes)


@each(FILES)
def test_only_plotting_imports_matplotlib(path: Path) -> None:
    """At module level, that is, what annotations need left out; and nobody imports pyplot."""
    tree = ast.parse(path.read_text("utf8"))
    now = [
        n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test))
    ]
    names = digest.imported("\n".join(map(ast.unparse, now)))
    top = {name.split(".")[0] for name in digest.imported(ast.unparse(at_import(now)))}
    assert path.stem == "plotting" or "matplotlib" not in top
    assert not any(name.startswith("matplotlib.pyplot") for name in names)


def at_import(body: list[ast.stmt]) -> ast.Module:
    """Return the statements that run when a module is imported: no bodies of functions."""
    kept = [n for n in body if not isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return ast.Module(kept, [])


@each(FILES)
def test_only_data_and_weights_loaders_import_torchvision(path: Path) -> None:
    """Its import is slow, and a torch without its twin torchvision must still run the rest."""
    tree = ast.parse(path.read_text("utf8"))
    names = {n.split(".")[0] for n in digest.imported(path.read_text("utf8"))}
    strings = {
        str(node.args[0].value).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("import_module")
        and isinstance(node.args[0], ast.Constant)
    }
    allowed = path.parent.name == "data" or "weights" in path.stem
    assert allowed or "torchvision" not in names | strings


def test_the_judges_share_nothing_with_what_they_judge() -> None:
    """tests/oracles.py knows torch, numpy, scipy and the standard library alone."""
    names = digest.imported((ROOT / "tests" / "oracles.py").read_text("utf8"))
    top = {name.split(".")[0] for name in names}
    assert top - {"torch", "numpy", "scipy"} <= {*sys.stdlib_module_names}


def test_training_needs_neither_plots_nor_notebooks_nor_torchvision() -> None:
    """A machine that trains has torch, numpy, safetensors, filelock and tqdm."""
    missing = ("matplotlib", "torchvision", "sklearn", "IPython", "PIL", "scipy", "jaxtyping")
    program = (
        f"import sys\nfor name in {missing}: sys.modules[name] = None\n"
        "import litgen.cli\nfrom litgen import recipes\n"
        "for name in recipes.names(): recipes.load(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


# what a family may not look at -------------------------------------------------------------------


@each(FAMILY_MODULES)
def test_a_family_reads_neither_clock_nor_environment_nor_global_seed(path: Path) -> None:
    """The same arguments give the same result, whatever hour, shell and earlier draws."""
    text = path.read_text("utf8")
    top = {name.split(".")[0] for name in digest.imported(text)}
    assert not top & {"os", "time", "datetime", "random", "platform", "sys", "socket", "secrets"}
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        last = called.split(".")[-1]
        assert last not in ("manual_seed", "seed", "get_rng_state", "default_generator"), called
        draws = r"(rand|randn|randint|randperm|normal|bernoulli|multinomial|poisson)(_like)?_?"
        drawing = re.fullmatch(draws, last) and (called.startswith("torch.") or last.endswith("_"))
        drawing = drawing or last in ("uniform_", "exponential_", "rsample")
        if drawing and not called.startswith("nn.init"):
            assert any(k.arg == "generator" for k in node.keywords), f"{called} without generator"
        assert "random." not in called, called


# what a tracked file may not hold ----------------------------------------------------------------

HOSTS = r"pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian|anaconda\.org|artifactory|jfrog"
HOSTS += (
    r"|index[-_]url|find[-_]links|\b(?:10\.\d+|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+\b"
)
MACHINE = r"(?<![\w.:])/(?:home|Users|root|work|mnt|private)/[\w.]|[A-Z]:\\\\?Users"


def tracked() -> list[Path]:
    """Return the text files that belong to the project, by .gitignore's patterns."""
    patterns = (ROOT / ".gitignore").read_text("utf8").split()
    patterns = [pattern.rstrip("/") for pattern in patterns] + [".git"]

    def walk(folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns):
                continue
            if path.is_dir() and not path.is_symlink():
                yield from walk(path)
            elif path.is_file() and b"\0" not in path.read_bytes()[:4096]:
                yield path

    return list(walk(ROOT))


def test_no_file_names_a_registry_or_a_folder_of_this_machine() -> None:
    """Installers bring their own addresses, and nobody else has our folders."""
    found = tracked()
    assert ROOT / "requirements.lock" in found
    assert not any(".venv" in path.parts for path in found)
    lines = []
    for path in found:
        if path == Path(__file__):
            continue
        text = path.read_text("utf8", errors="replace")
        lines += [f"{name_of(path)}: {m[0]}" for m in re.finditer(f"{HOSTS}|{MACHINE}", text)]
    assert lines == []


@pytest.mark.parametrize(
    "text",
    [
        *("https://files.pythonhosted.org/x", "--index-url https://x", "10.20.30.40"),
        *(
            "see /home/me/x",
            "/".join(['"', "root", '.cache"']),
            "/".join(["", "work", "main", "litgen"]),
            "C:\\Users\\me",
        ),
    ],
)
def test_the_search_finds_what_it_looks_for(text: str) -> None:
    """A pattern that matches nothing would pass for ever."""
    assert re.search(f"{HOSTS}|{MACHINE}", text)


def test_every_file_ends_its_lines_and_itself_alike() -> None:
    """No Windows line ends, no tabs in Python, a newline at the end."""
    for path in [p for p in tracked() if p.suffix in (".py", ".md", ".toml", ".yml")]:
        content = path.read_bytes()
        assert b"\r" not in content, path
        assert content.endswith(b"\n") or not content, path
