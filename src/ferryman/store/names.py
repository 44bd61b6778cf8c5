"""How names of people and groups are compared."""

import unicodedata


def folded(name: str) -> str:
    """What names are compared by: the same for spellings that look alike."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.strip()).casefold())
