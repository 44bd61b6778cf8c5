"""Packages from the npm registry for tests, installed once and kept in pytest's cache."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
needs_node = pytest.mark.skipif(
    bool(missing), reason=f"not installed here: {', '.join(missing)} (Node 20 or later)"
)


def finished(command: list[str], folder: Path, env: dict[str, str], patience: float = 100) -> str:
    """What a command printed; fails with all of its output if it failed."""
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=patience,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def installed(
    manifest: Path, request: pytest.FixtureRequest, factory: pytest.TempPathFactory
) -> Path:
    """``node_modules`` as ``manifest`` (a ``package.json``) wants them."""
    cache = getattr(request.config, "cache", None)
    base = cache.mkdir("npm") if cache else factory.mktemp("npm")
    wanted = manifest.read_bytes()
    ready: Path = base / hashlib.sha256(wanted).hexdigest()[:16]
    if not ready.exists():
        # Made elsewhere and moved whole: other runs of the tests may do the same just now.
        with tempfile.TemporaryDirectory(dir=base) as made:
            folder = Path(made) / "packages"
            folder.mkdir()
            (folder / "package.json").write_bytes(wanted)
            quiet = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
            finished(["npm", "install", *quiet], folder, dict(os.environ))
            with contextlib.suppress(OSError):
                folder.rename(ready)
    return ready / "node_modules"
