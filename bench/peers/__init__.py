"""Other gateways, each installed by :func:`install` into an environment of its own, elsewhere."""

import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.procs import say

if TYPE_CHECKING:
    from bench.gateways import Running


def everyone() -> list["Peer"]:
    """All peers that we know how to run."""
    from bench.peers.bifrost import Bifrost
    from bench.peers.ferro import Ferro
    from bench.peers.litellm import LiteLLM
    from bench.peers.mlflow import MLflow
    from bench.peers.portkey import Portkey

    return [Ferro(), Bifrost(), Portkey(), MLflow(), LiteLLM()]


class Peer:
    """What peers share: an environment below the cache directory."""

    name = ""
    what = ""
    package = ""
    """What to install; empty = its user has to."""

    @property
    def home(self) -> Path:
        from bench.gateways import cache_dir

        return cache_dir() / self.name

    @property
    def program(self) -> Path:
        """The executable whose presence means "installed"."""
        raise NotImplementedError

    def absent(self) -> str:
        return "" if self.program.exists() else "not installed (`make bench-peers`)"

    def version(self) -> str:
        raise NotImplementedError

    def start(
        self, work: Path, upstream: int, *, streams: bool
    ) -> "AbstractContextManager[Running]":
        """See :class:`bench.gateways.Gateway`."""
        raise NotImplementedError

    def install(self) -> None:
        """Install it. Raises :class:`subprocess.CalledProcessError`."""
        raise NotImplementedError


class PythonPeer(Peer):
    """A peer that is a Python package."""

    def pip_version(self, package: str) -> str:
        for path in self.home.glob(f"lib/python*/site-packages/{package}-*.dist-info"):
            return path.name.removesuffix(".dist-info").split("-")[1]
        return ""

    def install(self) -> None:
        """A virtual environment with the newest version that can be installed.

        ``certifi`` is freed from its bound: packages ask for one that is a day old, which mirrors
        may not have yet, and no peer's speed depends on it.
        """
        run([sys.executable, "-m", "venv", str(self.home)])
        override = self.home / "override.txt"
        override.write_text("certifi\n")
        python = str(self.home / "bin" / "python")
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python]
        run([*command, "--override", str(override), self.package])


def run(argv: list[str], cwd: Path | None = None) -> None:
    """Run an installer at low priority."""
    subprocess.run(["nice", "-n", "15", *argv], check=True, cwd=cwd, stdin=subprocess.DEVNULL)


def install(names: list[str]) -> int:
    """Install the named peers (all when empty). Returns how many could not be."""
    failed = 0
    for peer in everyone():
        if names and peer.name not in names:
            continue
        if not peer.absent():
            say(f"{peer.name}: already there")
            continue
        if not peer.package:
            say(f"{peer.name}: {peer.absent()}")
            continue
        say(f"{peer.name}: installing {peer.package} into {peer.home}")
        try:
            peer.home.parent.mkdir(parents=True, exist_ok=True)
            peer.install()
        except (OSError, subprocess.CalledProcessError) as error:
            failed += 1
            say(f"{peer.name}: could not be installed ({error}); it will be left out")
    return failed
