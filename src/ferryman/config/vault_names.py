"""What secrets of the vault are called: ``NAME`` those of the installation, ``ORGANISATION/NAME``
those of an organisation, which serve its calls alone."""

import re
from typing import Final

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
OWNED: Final = rf"[A-Za-z0-9](?:[A-Za-z0-9 ._@&+-]{{0,98}}[A-Za-z0-9._@&+-])?/{NAME}"
"""Organisations with other letters in their names can't have any."""
_EITHER: Final = re.compile(rf"{OWNED}|{NAME}")


def is_name(text: str) -> bool:
    """Whether a secret may be called so."""
    return _EITHER.fullmatch(text) is not None


def split(name: str) -> tuple[str, str]:
    """Organisation (empty = the secret is the installation's) and what it is called there."""
    organisation, _, own = name.rpartition("/")
    return organisation, own


def joined(organisation: str, own: str) -> str:
    """The other way."""
    return f"{organisation}/{own}" if organisation else own
