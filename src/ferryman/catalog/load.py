"""The catalogue as typed rows: providers, what is known of their models, and names people use.

Everything is read once per process and cached; callers must not change what they are given.
"""

import difflib
import functools
import heapq
import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

HERE = Path(__file__).parent
PROVIDERS_FILE = HERE / "providers.toml"
MODELS_FILE = HERE / "data" / "models.json"

ABILITIES = {
    "t": "tools",
    "v": "vision",
    "a": "audio",
    "d": "video",
    "p": "pdf",
    "r": "reasoning",
    "j": "json_schema",
    "c": "prompt_cache",
    "w": "web_search",
    "s": "audio_output",
    "e": "embeddings",
    "m": "moderation",
    "k": "rerank",
}
"""Letters of ``data/models.json`` → names of abilities. ``audio``, ``video``, ``pdf``: as input."""


class _Line(Struct, array_like=True):
    context: int = 0
    max_output: int = 0
    abilities: str = ""
    deprecated: str = ""


_placeholder = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")


class CatalogError(Exception):
    """The catalogue can't be used as asked; the message says what to set or mend, and where."""


class CatalogProvider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of ``providers.toml``; its head explains the fields."""

    name: str = ""
    title: str
    base_url: str
    """No trailing slash; may hold ``{VARIABLE}``: use :meth:`url`."""
    docs: str
    endpoints: tuple[str, ...]
    format: str = "openai_chat"
    auth: str = "bearer"
    headers: dict[str, str] = {}
    key_env: tuple[str, ...] = ()
    keyless: bool = False
    paths: dict[str, str] = {}
    aliases: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    region: str = ""
    makes: tuple[str, ...] = ()
    models_of: str = ""
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    genai: tuple[str, ...] = ()
    litellm: tuple[str, ...] = ()
    free: bool = False
    regions: tuple[tuple[str, int], ...] = ()
    serves: dict[str, _Line] = {}

    @property
    def url_env(self) -> str:
        """The variable that replaces ``base_url``: ``FERRYMAN_<NAME>_BASE_URL``."""
        return f"FERRYMAN_{self.name.upper().replace('-', '_')}_BASE_URL"

    def url(self, env: Mapping[str, str] = os.environ) -> str:
        """The base URL, filled from ``env``. Raises :class:`CatalogError` naming what is unset."""
        given = env.get(self.url_env, "").rstrip("/")
        if given:
            return given
        names = _placeholder.findall(self.base_url)
        missing = [name for name in names if not env.get(name)]
        if missing:
            raise CatalogError(
                f"Provider '{self.name}' is reached at {self.base_url}: set "
                f"{' and '.join(missing)}, or {self.url_env} to the whole base URL."
            )
        url = self.base_url
        for name in names:
            # hosts are often given as a URL
            value = env[name].strip().removeprefix("https://").rstrip("/")
            url = url.replace("{" + name + "}", value)
        return url


class CatalogModel(Struct, frozen=True, array_like=True, kw_only=True):
    """What is known of one model at one provider, prices apart. 0 or empty = unknown."""

    context: int = 0
    """Tokens of the largest input."""
    max_output: int = 0
    """Tokens."""
    abilities: tuple[str, ...] = ()
    """Of :data:`ABILITIES`' names. Empty = unknown."""
    deprecated: str = ""
    """``YYYY-MM-DD`` from which the provider stops serving it."""


class Source(Struct, frozen=True):
    """Where a part of ``data/models.json`` comes from."""

    name: str
    version: str
    licence: str
    copyright: str
    sha256: str = ""


class ModelsFile(Struct, frozen=True):
    """``data/models.json``, as ``scripts/refresh_catalog.py`` writes it."""

    date: str
    """``YYYY-MM-DD`` of the last refresh."""
    sources: tuple[Source, ...]
    models: dict[str, dict[str, _Line]]


@functools.cache
def providers() -> dict[str, CatalogProvider]:
    """Every row by name, in order of preference. Raises :class:`CatalogError`."""
    try:
        table = tomllib.loads(PROVIDERS_FILE.read_text(encoding="utf-8"))
        rows = {
            name: msgspec.convert({"name": name, **row}, CatalogProvider)
            for name, row in table.items()
        }
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, TypeError) as error:
        raise CatalogError(f"{PROVIDERS_FILE} is not a catalogue of providers: {error}") from None
    for row in rows.values():
        if row.models_of and row.models_of not in rows:
            raise CatalogError(f"{PROVIDERS_FILE}: {row.name}: no row is called {row.models_of}.")
        for alias in row.aliases:
            if alias in rows:
                raise CatalogError(f"{PROVIDERS_FILE}: {row.name}: {alias} is a row of its own.")
    return rows


@functools.cache
def aliases() -> dict[str, str]:
    """Further names of providers → the names of their rows."""
    return {alias: row.name for row in providers().values() for alias in row.aliases}


@functools.cache
def models_file() -> ModelsFile:
    """``data/models.json`` as it is. Raises :class:`CatalogError`."""
    try:
        return msgspec.json.decode(MODELS_FILE.read_bytes(), type=ModelsFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise CatalogError(
            f"{MODELS_FILE} can't be read ({error}); `python scripts/refresh_catalog.py` writes it."
        ) from None


@functools.cache
def models() -> dict[str, dict[str, CatalogModel]]:
    """Provider → model name → what is known of it; each provider has an entry, perhaps empty."""
    abilities = functools.cache(lambda letters: tuple(ABILITIES[letter] for letter in letters))

    def typed(lines: Mapping[str, _Line]) -> dict[str, CatalogModel]:
        return {
            name: CatalogModel(
                context=line.context,
                max_output=line.max_output,
                abilities=abilities(line.abilities),
                deprecated=line.deprecated,
            )
            for name, line in lines.items()
        }

    written = {provider: typed(lines) for provider, lines in models_file().models.items()}
    return {
        name: written.get(row.models_of or name, {}) | typed(row.serves)
        for name, row in providers().items()
    }


@functools.cache
def bare_names() -> dict[str, tuple[tuple[str, str], ...]]:
    """Model name without provider → its (provider, model) candidates, best first.

    The model's maker comes first, then the others in the order of the rows. A candidate's own name
    is the bare name, or ends in "/" and the bare name; upper and lower case apart, nothing else
    counts as the same. Every spelling that a provider uses is a key, and so is the name in lower
    case. A provider with two different models for one bare name is left out of it. Behind an alias
    of a provider, its own models come first.
    """
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    spellings: dict[str, set[str]] = defaultdict(set)
    for provider, rows in models().items():
        for model in rows:
            head, slash, _ = model.partition("/")
            # what a router calls by its own name is a route of its own, not a model
            own = slash and head == provider
            for bare in {model, model if own else model.rpartition("/")[2]}:
                key = bare.casefold()
                found[key][provider].append(model)
                spellings[key].update((bare, key))
    out = {}
    for key, offers in found.items():
        candidates = []
        for provider, names in offers.items():
            name = _the_one(key, names)
            if name:
                candidates.append((provider, name))
        candidates.sort(key=lambda pair: not key.startswith(providers()[pair[0]].makes or ("/",)))
        if candidates:
            for spelling in spellings[key]:
                out[spelling] = tuple(candidates)
    for alias, provider in aliases().items():
        for model in models()[provider]:
            # the alias is another name of this very provider; routers may use the same words
            for name in {f"{alias}/{model}", f"{alias}/{model.casefold()}"}:
                out[name] = ((provider, model), *out.get(name, ()))
    return out


def _the_one(key: str, names: list[str]) -> str:
    whole = [name for name in names if name.casefold() == key]
    if len(whole or names) == 1:
        return (whole or names)[0]
    return ""


NEAR_CHARS = 64
_PIECES = 12
_SHORTLIST = 24
_ALIKE = 0.6


def near(name: str, names: Iterable[str]) -> list[str]:
    """Up to three of ``names`` that look like ``name``, best first, for error messages.

    Bounded work (about 1 µs a name): only the first 64 characters of ``name`` count, and the exact
    comparison is made with the 24 names that share most three-letter pieces with it.
    """
    asked = name[:NEAR_CHARS].casefold()
    pieces = [asked[at : at + 3] for at in range(max(1, len(asked) - 2))]
    if len(pieces) > _PIECES:
        pieces = [pieces[at * len(pieces) // _PIECES] for at in range(_PIECES)]
    shortest, longest = len(asked) * 3 // 7, len(asked) * 7 // 3 + 1  # beyond, too unlike anyway
    scored = []
    for candidate in names:
        if shortest <= len(candidate) <= longest:
            folded = candidate.casefold()
            score = sum(map(folded.__contains__, pieces))
            if score:
                scored.append((score, -abs(len(folded) - len(asked)), folded, candidate))
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(asked)
    best = []
    for _, _, folded, candidate in heapq.nlargest(_SHORTLIST, scored):
        matcher.set_seq1(folded)
        ratio = matcher.ratio()
        if ratio >= _ALIKE:
            best.append((-ratio, candidate))
    return [candidate for _, candidate in sorted(best)[:3]]
