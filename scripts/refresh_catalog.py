"""Rebuild src/ferryman/catalog/data/models.json from its sources.

    python scripts/refresh_catalog.py            write the file, say what the sources disagree about
    python scripts/refresh_catalog.py --check    change nothing; exit 1 when the file is out of date
    python scripts/refresh_catalog.py --wheel F  use a wheel that is already here

Sources: genai-prices as installed (names, windows), and one JSON file out of LiteLLM's wheel
(names, windows, output limits, abilities, deprecation dates). The wheel is pinned by version and
hash, and only read: it is never installed, imported or unpacked.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ferryman.catalog import load, prices
from ferryman.catalog.load import ABILITIES, CatalogProvider, Source
from ferryman.wire.paths import MAIN

LITELLM_VERSION = "1.109.1"
LITELLM_PLATFORM = ("manylinux_2_28_x86_64", "3.11", "abi3")
"""Of the wheel to read; this machine's own doesn't matter."""
WHEEL_SHA256 = "1c8b4dd671fa0cd0850aa751678704ff77e595fb1e6085b2dc3be39ee19bdaaf"
JSON_SHA256 = "8f8060d8ce7a40c91b995c74d6a27657543d49e3c1c53430dabd556f244392c6"
JSON_MEMBER = "litellm/model_prices_and_context_window_backup.json"

MODES = {
    "completion": {"completions"},
    "responses": {"responses"},
    "embedding": {"embeddings", "embed", "batch_embed_contents", "invoke_embeddings"},
    "moderation": {"moderations"},
    "rerank": {"rerank", "rerank_top_k", "invoke_rerank"},
}
"""LiteLLM's modes that Ferryman has endpoints for, beside ``chat``."""
LETTERS = {"embedding": "e", "moderation": "m", "rerank": "k"}
"""Abilities that a mode says."""
FLAGS = {
    "t": ("supports_function_calling",),
    "v": ("supports_vision", "supports_image_input", "supports_embedding_image_input"),
    "a": ("supports_audio_input",),
    "d": ("supports_video_input",),
    "p": ("supports_pdf_input",),
    "r": ("supports_reasoning",),
    "j": ("supports_response_schema", "supports_native_structured_output"),
    "c": ("supports_prompt_caching",),
    "w": ("supports_web_search",),
    "s": ("supports_audio_output",),
}
NOT_A_MODEL = re.compile(r"^ft:|\.ft-|\*")
"""Fine-tunes and wildcards."""
DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Entry(Struct):
    name: str
    context: int = 0
    max_output: int = 0
    abilities: str = ""
    deprecated: str = ""
    other_context: int = 0
    """What the second source says."""


Table = dict[str, dict[str, Any]]
Catalogue = dict[str, dict[str, Entry]]
"""Provider → casefolded model name → entry."""


class RefreshError(Exception):
    """The refresh can't go on; the message says why and what to do."""


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def litellm_table(wheel: Path | None) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        if wheel is None:
            wheel = download(Path(folder))
        check(hashlib.sha256(wheel.read_bytes()).hexdigest(), WHEEL_SHA256, f"{wheel.name}")
        with zipfile.ZipFile(wheel) as archive:
            text = archive.read(JSON_MEMBER)
    check(hashlib.sha256(text).hexdigest(), JSON_SHA256, JSON_MEMBER)
    table: Table = json.loads(text)
    say(f"LiteLLM {LITELLM_VERSION}: {len(table)} entries")
    return table


def download(folder: Path) -> Path:
    say(f"Downloading LiteLLM {LITELLM_VERSION} (41 MB), to read one JSON file out of the wheel …")
    platform, python, abi = LITELLM_PLATFORM
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--platform", platform, "--python-version", python, "--abi", abi]
    command += ["--dest", str(folder), f"litellm=={LITELLM_VERSION}"]
    if subprocess.run(command, check=False).returncode:
        raise RefreshError("pip could not download the wheel; its reason stands above.")
    return next(folder.glob("*.whl"))


def check(found: str, wanted: str, what: str) -> None:
    if found != wanted:
        raise RefreshError(f"{what} has sha256 {found}, not the pinned {wanted}. Do not use it.")


def from_litellm(row: CatalogProvider, table: Table) -> Iterator[Entry]:
    for key, facts in table.items():
        mode = facts.get("mode") or ""
        if facts.get("litellm_provider") not in row.litellm or not offered(row, mode):
            continue
        day = str(facts.get("deprecation_date") or "")
        yield Entry(
            stem(row, key),
            whole(facts.get("max_input_tokens") or facts.get("max_tokens")),
            0 if mode in LETTERS else whole(facts.get("max_output_tokens")),
            letters(facts, mode),
            day if DAY.fullmatch(day) else "",
        )


def stem(row: CatalogProvider, key: str) -> str:
    """The model's own name in a key of LiteLLM's."""
    head, slash, rest = key.partition("/")
    return rest if slash and head in row.litellm else key


def offered(row: CatalogProvider, mode: str) -> bool:
    # whoever holds conversations in a format of its own serves the models that chat
    endpoints = {MAIN[row.format]} if mode == "chat" else MODES.get(mode, set())
    return not endpoints.isdisjoint(row.endpoints)


def other_modes(row: CatalogProvider, table: Table) -> set[str]:
    """Models that LiteLLM lists for other uses alone: images, speech, live sessions…"""
    on, off = set[str](), set[str]()
    for key, facts in table.items():
        if facts.get("litellm_provider") in row.litellm:
            found = on if offered(row, facts.get("mode") or "") else off
            found.add(stem(row, key).casefold())
    return off - on


def letters(facts: dict[str, Any], mode: str) -> str:
    found = [letter for letter, names in FLAGS.items() if any(facts.get(n) is True for n in names)]
    found.append(LETTERS.get(mode, ""))
    return "".join(letter for letter in ABILITIES if letter in found)


def whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) and 0 < value < 10**9 else 0


def from_genai(row: CatalogProvider) -> Iterator[Entry]:
    """Models as genai-prices calls them; further names it matches are often other routers' own."""
    by_id = {provider.id: provider for provider in prices.genai_providers()}
    for source in row.genai:
        genai, _, suffix = source.partition(":")
        for model in by_id[genai].models:
            aliases = prices.exact_names(model) or []
            for name in [model.id] if model.is_match(model.id) else aliases[:1]:
                if prices.lookup(row.name, name):
                    window = whole(model.context_window)
                    yield Entry(name, window)
                    if suffix:
                        yield Entry(f"{name}:{suffix}", window)


def build(table: Table) -> Catalogue:
    out: Catalogue = {}
    for row in load.providers().values():
        if row.models_of:
            continue
        rows: dict[str, Entry] = {}
        for entry in from_litellm(row, table):
            rows.setdefault(entry.name.casefold(), entry)
        others = other_modes(row, table)
        for entry in from_genai(row):
            if entry.name.casefold() in others:
                continue
            known = rows.setdefault(entry.name.casefold(), entry)
            if known is not entry:
                known.context = known.context or entry.context
                known.other_context = entry.context
        kept = {key: entry for key, entry in sorted(rows.items()) if wanted(row, entry.name)}
        if kept:
            out[row.name] = kept
    return out


def wanted(row: CatalogProvider, name: str) -> bool:
    if NOT_A_MODEL.search(name) or any(fnmatchcase(name, pattern) for pattern in row.skip):
        return False
    return not row.only or any(fnmatchcase(name, pattern) for pattern in row.only)


def sources() -> list[Source]:
    return [
        Source(
            name="genai-prices (https://github.com/pydantic/genai-prices)",
            version=version("genai-prices"),
            licence="MIT",
            copyright="Copyright (c) Pydantic Services Inc. 2025 to present",
        ),
        Source(
            name=f"LiteLLM, {JSON_MEMBER} (https://github.com/BerriAI/litellm)",
            version=LITELLM_VERSION,
            licence="MIT",
            copyright="Copyright (c) 2023 Berri AI",
            sha256=JSON_SHA256,
        ),
    ]


def write(catalogue: Catalogue, date: str) -> str:
    """One model a line, so that a refresh reads as a diff."""
    about = [f' "date": {json.dumps(date)}']
    lines = ",\n".join(f"  {msgspec.json.encode(source).decode()}" for source in sources())
    about.append(f' "sources": [\n{lines}\n ]')
    blocks = []
    for provider, rows in catalogue.items():
        lines = ",\n".join(f"   {line(entry)}" for entry in rows.values())
        blocks.append(f"  {json.dumps(provider)}: {{\n{lines}\n  }}")
    body = ",\n".join(blocks)
    return "{\n" + ",\n".join(about) + f',\n "models": {{\n{body}\n }}\n}}\n'


def line(entry: Entry) -> str:
    values: list[object] = [entry.context, entry.max_output, entry.abilities, entry.deprecated]
    while values and not values[-1]:
        values.pop()
    return f"{json.dumps(entry.name)}: {json.dumps(values, separators=(',', ':'))}"


def summary(catalogue: Catalogue) -> None:
    entries = [(p, e) for p, rows in catalogue.items() for e in rows.values()]
    print(f"\n{len(entries)} models of {len(catalogue)} providers:")
    for title, count in (
        ("window known", sum(bool(e.context) for _, e in entries)),
        ("output limit known", sum(bool(e.max_output) for _, e in entries)),
        ("abilities known", sum(bool(e.abilities) for _, e in entries)),
        ("deprecation date known", sum(bool(e.deprecated) for _, e in entries)),
        ("priced", sum(bool(prices.lookup(p, e.name)) for p, e in entries)),
    ):
        print(f"  {title:24}{count:6}")
    without = [n for n, row in load.providers().items() if (row.models_of or n) not in catalogue]
    print(f"  providers without models: {', '.join(without)}")
    apart = [(p, e) for p, e in entries if e.other_context and e.context != e.other_context]
    print(
        f"\n{len(apart)} windows on which the sources disagree (LiteLLM's is kept, genai-prices'):"
    )
    for provider, entry in apart:
        print(f"  {provider}/{entry.name}: {entry.context:,} | {entry.other_context:,}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 when out of date"
    )
    parser.add_argument("--wheel", type=Path, help="LiteLLM's wheel, when it is already here")
    given = parser.parse_args()
    try:
        table = litellm_table(given.wheel)
        say(f"genai-prices {version('genai-prices')}: {len(prices.genai_providers())} providers")
        catalogue = build(table)
    except (RefreshError, OSError, KeyError) as error:
        print(f"Not refreshed: {error}", file=sys.stderr)
        return 2
    summary(catalogue)
    old = load.MODELS_FILE.read_text(encoding="utf-8") if load.MODELS_FILE.exists() else ""
    date = re.search(r'"date": "([^"]*)"', old)
    same = old == write(catalogue, date[1] if date else "")
    if given.check:
        print(f"\n{load.MODELS_FILE.name} is {'up to date' if same else 'out of date'}.")
        return 0 if same else 1
    if not same:
        text = write(catalogue, datetime.now(UTC).date().isoformat())
        load.MODELS_FILE.write_text(text, encoding="utf-8")
    size = load.MODELS_FILE.stat().st_size
    print(f"\n{'Unchanged' if same else 'Wrote'} {load.MODELS_FILE} ({size:,} bytes).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
