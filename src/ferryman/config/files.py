"""Files that a configuration names."""

from pathlib import Path

from ferryman.config.snapshot import Secret


def located(folder: Path, name: str) -> Path:
    """Where it is: a relative name starts at ``folder``, ``~`` at the home of whoever there is."""
    try:
        return folder / Path(name).expanduser()
    except RuntimeError:  # nobody is called so
        return folder / name


def is_file(path: Path) -> bool:
    """Whether it is there. A name too long for a file is nowhere, nor is what can't be reached."""
    try:
        return path.is_file()
    except OSError:
        return False


def referred(text: str, folder: Path) -> Secret:
    """What a reference to a secret means in a file of ``folder``."""
    kind, _, value = text.partition(":")
    return Secret(kind, str(located(folder, value)) if kind == "file" else value)
