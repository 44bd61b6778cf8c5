"""What the source never does: run what it is sent, compare secrets by their first letters, connect
by ways that go round the checks. Found by walking it."""

import ast
import re
from collections.abc import Iterator

from tests import tree

RUNS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads",
    "marshal.load", "marshal.loads", "shelve.open", "runpy.run_path", "runpy.run_module",
    "asyncio.create_subprocess_shell", "ctypes.CDLL",
}  # fmt: skip
"""Calls that run what they are given, whoever wrote it."""
SPAWNS = re.compile(
    r"subprocess\.(Popen|run|call|check|getoutput)|os\.(exec|spawn|posix_spawn|fork)"
    r"|asyncio\.create_subprocess|(.*\.)?subprocess_exec|multiprocessing\.|(.*\.)?ProcessPool"
)
SPAWNERS = {
    "src/ferryman/cli/child.py": "the planes that ferryman up runs",
    "src/ferryman/cli/main.py": "a command that becomes another program",
    "src/ferryman/control/configuration.py": "the compiler of snapshots, a module of ours",
    "src/ferryman/control/vault/orders.py": "the process that opens the vault, a module of ours",
}
"""Who starts processes, and which: always a fixed command of ours, and nothing out of a request."""
LOADERS = {
    "src/ferryman/config/contents.py": "looks whether there are such sinks, and loads none",
    "src/ferryman/config/guarding.py": "looks whether there is such a guard, and loads none",
    "src/ferryman/guard/whole.py": "guards of installed packages, named by the configuration",
    "src/ferryman/wire/formats.py": "formats of ours, from a fixed list",
    "src/ferryman/control/vault/masters.py": "key services of installed packages, likewise",
    "src/ferryman/control/sinks.py": "sinks of installed packages, named by the configuration",
}
"""Who loads code by a name."""
TEMPLATES = {"from_string", "jinja2.Template", "string.Template", "format_map"}
CONNECTS = {
    "src/ferryman/client/link.py": "the admin API, as the user says",
    "src/ferryman/control/api/gateway.py": "the gateway of the same installation",
    "src/ferryman/control/alerts/courier.py": "on a connection of links.py",
    "src/ferryman/control/links.py": "on a connection of its own, which it has looked at",
    "src/ferryman/control/dashboard/relay.py": "the gateway of the same installation",
    "src/ferryman/edge/siblings.py": "other gateways on this machine",
    "src/ferryman/store/valkey.py": "the server of counters that the configuration names",
}
"""Who opens connections beside the gateway's pools and ``control/links.py``, which both ask
``wire/addresses.py``."""
SECRET = re.compile(r"(?<![a-z])(token|secret|proof|signature|password|pepper|mac)s?$")


def dotted(node: ast.expr) -> str:
    """The name that an expression is, ``a.b.c``; what is none within it stays out."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls() -> Iterator[tuple[str, int, str, ast.Call]]:
    """File, line and name of each call in the source."""
    for path in tree.python(tree.SRC):
        for node in ast.walk(tree.parsed(path)):
            if isinstance(node, ast.Call):
                yield tree.name(path), node.lineno, dotted(node.func), node


def test_nothing_runs_what_it_is_sent() -> None:
    found = [
        f"{file}:{line}: {name}"
        for file, line, name, node in calls()
        if name in RUNS and ast.unparse(node) != "ctypes.CDLL(None)"  # what is loaded already
    ]
    shells = [
        f"{file}:{line}: {name}"
        for file, line, name, node in calls()
        if any(keyword.arg == "shell" for keyword in node.keywords)
    ]
    assert not found
    assert not shells


def test_no_template_comes_from_elsewhere_than_the_package() -> None:
    found = [
        f"{file}:{line}: {name}"
        for file, line, name, _ in calls()
        if name in TEMPLATES or name.rpartition(".")[2] in TEMPLATES
    ]
    assert not found


def test_processes_are_started_by_few_and_never_beside_a_request() -> None:
    found = {
        tree.name(path)
        for path in tree.python(tree.SRC)
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.Attribute) and SPAWNS.match(dotted(node))
    }
    assert found == SPAWNERS.keys()
    modules = {"src/ferryman/edge", "src/ferryman/flow", "src/ferryman/http1", "src/ferryman/guard"}
    assert not [file for file in found if file.rpartition("/")[0] in modules]


def test_code_is_loaded_by_name_from_installed_packages_only() -> None:
    found = {
        file
        for file, _, name, node in calls()
        if (name == "entry_points")
        or (name.endswith("import_module") and not isinstance(node.args[0], ast.Constant))
    }
    assert found == LOADERS.keys()


def test_connections_are_opened_where_their_destination_is_checked() -> None:
    ways = re.compile(
        r"(.*\.)?(urlopen|create_connection|HTTPSConnection|HTTPConnection|open_connection|SMTP)$"
        r"|(httpx|aiohttp|urllib3)\."
    )
    found = {file for file, _, name, _ in calls() if ways.match(name)}
    assert found == {*CONNECTS, "src/ferryman/http1/connect.py"}


def test_secrets_are_compared_in_constant_time() -> None:
    found = []
    for path in tree.python(tree.SRC):
        if "simulator" in path.parts:
            continue
        for node in ast.walk(tree.parsed(path)):
            if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                continue
            sides = [node.left, *node.comparators]
            if any(isinstance(side, ast.Constant) for side in sides):
                continue
            names = [ast.unparse(side).rpartition(".")[2].lower() for side in sides]
            if any(SECRET.search(name) for name in names):
                found.append(f"{tree.name(path)}:{node.lineno}: {ast.unparse(node)}")
    assert not found
