"""What the catalogue knows of models, and which names lead to them."""

import datetime
import re

import pytest

from ferryman.catalog.load import (
    ABILITIES,
    MODELS_FILE,
    aliases,
    bare_names,
    models,
    models_file,
    near,
    providers,
)
from ferryman.catalog.prices import lookup
from ferryman.ir.price import Rate

MODELS = models()
BARE = bare_names()


def aliased(name: str) -> tuple[str, str]:
    """The provider and model behind a name that begins with a provider's alias."""
    alias, _, model = name.partition("/")
    return aliases().get(alias, ""), model.casefold()


def test_there_are_thousands_of_models_in_a_small_file() -> None:
    written = models_file().models
    assert sum(len(rows) for rows in written.values()) >= 2_000
    assert MODELS_FILE.stat().st_size < 1_000_000


def test_every_provider_has_an_entry_and_no_other_has() -> None:
    assert MODELS.keys() == providers().keys()
    assert models_file().models.keys() <= providers().keys()


def test_values_are_sane() -> None:
    for provider, rows in models_file().models.items():
        for name, line in rows.items():
            where = f"{provider}/{name}"
            assert name.strip() == name != "", where
            assert 0 <= line.context < 10**8, where
            assert 0 <= line.max_output < 10**8, where
            assert set(line.abilities) <= ABILITIES.keys(), where
            if line.deprecated:
                datetime.date.fromisoformat(line.deprecated)


def test_names_differ_in_more_than_case() -> None:
    for provider, rows in MODELS.items():
        assert len({name.casefold() for name in rows}) == len(rows), provider


def test_sources_are_named_with_licence_version_and_date() -> None:
    head = models_file()
    datetime.date.fromisoformat(head.date)
    notice = MODELS_FILE.with_name("NOTICE").read_text()
    assert len(head.sources) == 2
    for source in head.sources:
        assert source.licence == "MIT"
        assert re.fullmatch(r"\d+\.\d+\.\d+", source.version)
        assert source.copyright in notice
    assert re.fullmatch(r"[0-9a-f]{64}", head.sources[1].sha256)


def test_well_known_facts() -> None:
    mini = MODELS["openai"]["gpt-4o-mini"]
    assert (mini.context, mini.max_output) == (128_000, 16_384)
    assert {"tools", "vision", "json_schema"} <= set(mini.abilities)
    assert MODELS["openai"]["text-embedding-3-small"].abilities == ("embeddings",)
    assert "reasoning" in MODELS["openai"]["o3"].abilities
    assert MODELS["moonshot-cn"] == MODELS["moonshot"] != {}


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("gpt-4o-mini", ("openai", "gpt-4o-mini")),
        ("claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("gemini-2.5-flash", ("gemini", "gemini-2.5-flash")),
        ("deepseek-chat", ("deepseek", "deepseek-chat")),
        ("glm-5", ("zai", "glm-5")),  # dashscope's row comes earlier, but does not make it
        ("kimi-k2.5", ("moonshot", "kimi-k2.5")),
        ("mistral-large-latest", ("mistral", "mistral-large-latest")),
        ("llama-3.3-70b-versatile", ("groq", "llama-3.3-70b-versatile")),
        ("gpt-oss-120b", ("groq", "openai/gpt-oss-120b")),
        ("google/gemini-2.5-flash", ("gemini", "gemini-2.5-flash")),  # openrouter's name for it too
    ],
)
def test_a_bare_name_leads_to_its_maker_first(name: str, first: tuple[str, str]) -> None:
    assert BARE[name][0] == first


def test_other_providers_follow_in_the_order_of_the_rows() -> None:
    order = list(providers())
    for name, (*candidates,) in BARE.items():
        if (candidates[0][0], candidates[0][1].casefold()) == aliased(name):
            del candidates[0]
        made = [name.casefold().startswith(providers()[p].makes or ("/",)) for p, _ in candidates]
        assert made == sorted(made, reverse=True), name
        for group in (True, False):
            ranks = [
                order.index(p)
                for (p, _), is_maker in zip(candidates, made, strict=True)
                if is_maker is group
            ]
            assert ranks == sorted(set(ranks)), name


def test_a_bare_name_is_never_a_guess() -> None:
    for name, candidates in BARE.items():
        for provider, model in candidates:
            assert model in MODELS[provider], (name, provider, model)
            folded = model.casefold()
            if (provider, folded) == aliased(name):
                continue
            assert folded == name.casefold() or folded.endswith("/" + name.casefold())


def test_case_is_all_that_may_differ() -> None:
    assert BARE["Llama-3.3-70B-Instruct"] == BARE["llama-3.3-70b-instruct"]
    for wrong in ("gpt-4o-min", "gpt4o", "claude-sonnet", "openai", "", "/", "auto"):
        assert wrong not in BARE


def test_near_finds_what_was_meant() -> None:
    assert near("gpt-4o-mni", BARE)[0] == "gpt-4o-mini"
    assert near("GPT4o-mini", BARE)[0] == "gpt-4o-mini"
    assert near("claude-sonet-4-5", BARE)[0] == "claude-sonnet-4-5"
    assert near("gpt-4o", ["gpt-4o", "gpt-4", "o1"])[0] == "gpt-4o"


@pytest.mark.parametrize("name", ["", "q", "ab", "\0" * 70, "x" * 1_000_000, "🜁🜂🜃🜄", "-" * 64])
def test_near_stays_silent_about_rubbish(name: str) -> None:
    assert near(name, BARE) == []


def test_near_gives_three_at_most_and_only_names_it_was_given() -> None:
    found = near("gpt-5", BARE)
    assert len(found) == 3
    assert set(found) <= BARE.keys()
    assert near("gpt-5", []) == []


def test_the_packaged_model_is_listed_and_costs_nothing() -> None:
    """What no source lists stands in the row, and what is free has a price of zero, not none."""
    model = "smollm2-135m-instruct"
    assert models()["local"][model].context == 2048
    assert ("local", model) in bare_names()[model]
    (price,) = lookup("local", model)
    assert price.tiers == ((-1, Rate()),)
    assert lookup("simulator", model) == ()
