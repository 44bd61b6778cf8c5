"""What keeps the tree in order: sizes, names, words, documentation, links, and the wheel."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ferryman.config.options import Options, variable
from tests import tree

MAX_FILE = 600
MAX_FUNCTION = 70

GENERIC = {"local", "simulator", "together", "custom", "meta"}
"""Rows of the provider table that are also plain words, or parts of Ferryman itself."""


def _functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.walk(tree.parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{tree.name(path)}::{node.name}", node


def test_sizes_stay_within_their_limits_and_the_ratchet_only_tightens() -> None:
    files, functions = {}, {}
    for path in tree.python():
        lines = len(path.read_text("utf-8").splitlines())
        if lines > MAX_FILE:
            files[tree.name(path)] = lines
        for where, node in _functions(path):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION:
                functions[where] = lines
    ratchet = tomllib.loads((tree.ROOT / "tests/ratchet.toml").read_text())
    assert {"files": files, "functions": functions} == ratchet, "see tests/ratchet.toml"


def _providers() -> set[str]:
    table = tomllib.loads((tree.SRC / "catalog/providers.toml").read_text())
    rows = table.get("providers", table)
    names = rows if isinstance(rows, dict) else [row["name"] for row in rows]
    return {name.lower() for name in names} - GENERIC


def _words(path: Path) -> Iterator[tuple[int, str]]:
    """(line, lower-case word) of the string literals that are data: those without a space.

    Sentences, docstrings and comments may name whom they like, and code may name packages. What
    may not be is a decision taken on a name. ``openai_chat`` (a wire format) and ``openai-beta``
    (one of its headers) are words of their own.
    """
    module = tree.parsed(path)
    packages = {
        id(argument)
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("find_spec")
        for argument in node.args
    }
    for node in ast.walk(module):
        if not isinstance(node, ast.Constant) or id(node) in packages:
            continue
        value = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
        if isinstance(value, str) and not re.search(r"\s", value):
            yield from ((node.lineno, word) for word in re.findall(r"[\w-]+", value.lower()))


def test_provider_names_stand_only_in_the_catalogue() -> None:
    names = _providers()
    assert len(names) >= 40, "is the provider table read right?"
    found = [
        f"{tree.name(path)}:{line}: {word}"
        for path in tree.python(tree.SRC)
        if not path.is_relative_to(tree.SRC / "catalog")
        for line, word in _words(path)
        if word in names
    ]
    assert not found, "what differs between providers belongs into catalog/: " + ", ".join(found)


def test_the_data_plane_loads_nothing_of_the_control_plane() -> None:
    """At run time, to the end of its imports, what the contracts in pyproject.toml hold."""
    heavy = "sqlalchemy alembic starlette uvicorn pydantic typer rich ruamel genai_prices"
    code = (
        "import importlib, pkgutil, sys, ferryman.edge as edge\n"
        "for module in pkgutil.iter_modules(edge.__path__, 'ferryman.edge.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "uvloop" in loaded, "is this still the data plane?"
    assert not loaded & set(heavy.split())


def test_all_sql_is_in_the_store() -> None:
    """Elsewhere SQLAlchemy is at most a type to hand on and an error to catch."""
    handed = {"Engine", "Connection", "exc"}
    found = []
    for path in tree.python(tree.SRC):
        if path.is_relative_to(tree.SRC / "store"):
            continue
        module, aliases = tree.parsed(path), set()
        for node in ast.walk(module):
            if isinstance(node, ast.Import):
                aliases |= {n.asname or n.name for n in node.names if "sqlalchemy" in n.name}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
                names = {name.name for name in node.names}
                if node.module != "sqlalchemy.exc" and names - handed:
                    found.append(f"{tree.name(path)}:{node.lineno}: {names - handed}")
        found += [
            f"{tree.name(path)}:{node.lineno}: {ast.unparse(node)}"
            for node in ast.walk(module)
            if isinstance(node, ast.Attribute)
            and ast.unparse(node.value) in aliases
            and node.attr not in handed
        ]
    assert not found


def test_no_unfinished_business() -> None:
    marks = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3 + r"\b", "HA" + "CK")))
    found = [
        f"{where}:{number}"
        for where, text in tree.texts()
        if where != "LICENSE" and not where.endswith(".lock")
        for number, line in enumerate(text.splitlines(), 1)
        if marks.search(line)
    ]
    assert not found, "finish it, or write it into docs/architecture.md as planned"


def test_only_the_command_line_prints() -> None:
    found = [
        f"{tree.name(path)}:{node.lineno}"
        for path in tree.python(tree.SRC)
        if not path.is_relative_to(tree.SRC / "cli")
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not found


def _public(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Public functions and classes of a module, and the methods of its public protocols."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    if "migrations" in path.parts:
        return  # their functions are Alembic's; the module says what they do
    for node in tree.parsed(path).body:
        if not isinstance(node, kinds) or node.name.startswith("_"):
            continue
        yield node
        if isinstance(node, ast.ClassDef) and "Protocol" in {ast.unparse(b) for b in node.bases}:
            methods = (m for m in node.body if isinstance(m, kinds))
            yield from (m for m in methods if not m.name.startswith("_"))


def test_public_names_are_documented() -> None:
    found = [
        f"{tree.name(path)}:{node.lineno}: {node.name}"
        for path in tree.python(tree.SRC)
        for node in _public(path)
        if not ast.get_docstring(node)
    ]
    assert not found


def test_every_module_says_what_it_is_for() -> None:
    bare = [
        tree.name(path)
        for path in tree.python()
        if path.read_text("utf-8").strip() and not ast.get_docstring(tree.parsed(path))
    ]
    assert not bare


def test_every_option_is_documented() -> None:
    text = (tree.ROOT / "docs/configuration.md").read_text()
    missing = []
    for field in Options.__struct_fields__:
        flag = "--" + field.replace("_", "-")
        missing += [word for word in (flag, variable(field)) if f"`{word}" not in text]
    assert not missing, "docs/configuration.md lacks them"


def _keys(schema: object) -> Iterator[str]:
    """Every fixed key of a mapping anywhere in a JSON Schema."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        yield from properties if isinstance(properties, dict) else ()
        for value in schema.values():
            yield from _keys(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _keys(value)


def test_every_configuration_key_is_documented() -> None:
    text = (tree.ROOT / "docs/configuration.md").read_text()
    schema = json.loads((tree.ROOT / "docs/ferryman.schema.json").read_text())
    del schema["$defs"]  # conditions: docs/policies.md has them, tests/flow/test_policies_page.py
    keys = set(_keys(schema))
    assert {"providers", "targets", "max_body_bytes"} <= keys, "is the schema read right?"
    missing = [key for key in sorted(keys) if f"| `{key}` |" not in text]
    assert not missing, "docs/configuration.md lacks a row for them"


def test_no_address_of_a_registry_or_path_of_a_workplace() -> None:
    halves = "py|pi.org python|hosted npm|js.org npm|js.com yarn|pkg.com proxy.go|lang crates|.io"
    halves += " /wo|rk/ /ro|ot/ /op|t/pypi /ho|me/ /Us|ers/"
    words = halves.replace("|", "").split()
    found = [f"{where}: {word}" for where, text in tree.texts() for word in words if word in text]
    assert not [each for each in found if "scim" not in each or words[-1] not in each], "of SCIM"


_LINK = re.compile(
    r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)|<img[^>]+src=\"([^\"]+)\"|!\[[^\]]*\]\(([^)\s]+)\)"
)


def _anchors(text: str) -> set[str]:
    """The anchors that a Markdown page's headings get on common forges."""
    titles = re.findall(r"^#+ +(.+?) *$", _without_code(text), re.MULTILINE)
    slugs = set()
    for title in titles:
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        slugs.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return slugs


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def test_links_between_pages_lead_somewhere() -> None:
    broken, seen = [], 0
    for page in (path for path in tree.files() if path.suffix == ".md"):
        for found in _LINK.findall(_without_code(page.read_text("utf-8"))):
            link = next(filter(None, found))
            if re.match(r"[a-z]+:", link):
                continue
            seen += 1
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (
                anchor and anchor not in _anchors(target.read_text("utf-8"))
            ):
                broken.append(f"{tree.name(page)}: {link}")
    assert seen, "does the pattern still find links?"
    assert not broken


def test_locks_hold_every_dependency_with_hashes_and_no_address() -> None:
    project = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    base = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted = {"base": base, "dev": [*base, *extras["dev"]], "local": extras["local"]}
    for lock, requirements in wanted.items():
        text = (tree.ROOT / f"requirements/{lock}.lock").read_text()
        pins = dict(re.findall(r"^([a-z0-9.-]+)==([^ ]+)", text, re.MULTILINE))
        for requirement in map(Requirement, requirements):
            pin = pins.get(canonicalize_name(requirement.name))
            assert pin, f"{lock}.lock lacks {requirement}; run `make lock`"
            assert requirement.specifier.contains(pin), f"{lock}.lock: {requirement} is {pin}"
        assert "://" not in text
        blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
        assert all("--hash=sha256:" in block for block in blocks)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree."""
    return _built(tmp_path_factory.mktemp("wheel"))


def _built(place: Path) -> Path:
    for path in tree.files():
        copy = place / "tree" / tree.name(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--no-index", "-w", str(place / "out"), str(place / "tree")],
        env={name: value for name, value in os.environ.items() if name != "FERRYMAN_COMPILE"}
        | {"SOURCE_DATE_EPOCH": "1800000000"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (place / "out").glob("*.whl")
    return built


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_same_tree_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    assert _built(tmp_path).read_bytes() == wheel.read_bytes()


def test_wheel_carries_code_and_data_of_every_room(wheel: Path) -> None:
    ours = {
        p.relative_to(tree.SRC.parent).as_posix() for p in tree.files() if tree.SRC in p.parents
    }
    assert {"ferryman/py.typed", "ferryman/catalog/providers.toml"} <= ours
    assert ours - _names(wheel) == set(), "add it to [tool.setuptools.package-data]"


def test_wheel_carries_nothing_else(wheel: Path) -> None:
    """A ``.pth`` file runs code at every start of Python: ours has none, and no stray packages."""
    names = _names(wheel)
    assert not [name for name in names if name.endswith((".pth", ".so"))]
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ferryman"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
