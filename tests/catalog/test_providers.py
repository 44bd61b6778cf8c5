"""Every row of providers.toml is whole, and leads where it says."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ferryman import wire
from ferryman.catalog import quirks
from ferryman.catalog.load import CatalogError, CatalogProvider, aliases, providers
from ferryman.catalog.prices import genai_providers
from ferryman.wire.paths import CALLERS, MAIN, PATHS, STREAM

WIRE = Path(wire.__file__).parent
ROWS = providers()
EACH = pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
LOOPBACK = {"127.0.0.1"}
WANTED = set(
    re.findall(
        r"\S+",
        """
        openai mistral deepseek dashscope dashscope-cn xai groq together fireworks openrouter
        tokenmix perplexity cerebras moonshot moonshot-cn zai zhipu minimax nvidia sambanova
        hyperbolic novita deepinfra nebius baseten huggingface github cloudflare vercel databricks
        gemini anthropic cohere ai21 upstage featherless chutes parasail lambda scaleway ovhcloud
        siliconflow stepfun volcengine inception venice friendli io-intelligence ollama vllm
        llamacpp lmstudio sglang tgi localai simulator local
        jina voyage bedrock bedrock-invoke vertex vertex-claude azure azure-deployments
        """,
    )
)


def test_the_providers_people_ask_for_are_there() -> None:
    assert ROWS.keys() >= WANTED
    assert len(ROWS) >= 60


@EACH
def test_a_row_is_whole(row: CatalogProvider) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.name)
    assert row.title.strip()
    own = {name.removesuffix(STREAM) for name in row.paths}
    assert row.endpoints
    assert set(row.endpoints) <= PATHS[row.format].keys() | own
    assert own <= {name for paths in PATHS.values() for name in paths}
    talks = {MAIN[row.format], "responses"} & set(row.endpoints)
    assert talks or {"rerank", "rerank_top_k"} & set(row.endpoints)
    assert re.fullmatch(r"bearer|none|x-api-key|header:[A-Za-z0-9-]+|sigv4|google", row.auth)
    assert row.key_env or row.keyless
    assert row.auth not in ("sigv4", "google") or (row.keyless and not row.key_env)
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", name) for name in row.key_env)


@EACH
def test_a_url_is_https_unless_it_stays_on_this_machine(row: CatalogProvider) -> None:
    variables = re.findall(r"\{([A-Z_]+)\}", row.base_url)
    url = urlsplit(row.url(dict.fromkeys(variables, "abc123")))
    local = url.hostname in LOOPBACK
    assert url.scheme == ("http" if local else "https")
    assert local == (row.keyless and row.auth not in ("sigv4", "google"))
    assert url.hostname
    assert not url.path.endswith("/")
    assert not (url.query or url.fragment or url.username)
    assert row.docs.startswith("https://") or row.name == "simulator"


def test_no_row_leads_back_to_ferryman() -> None:
    own_ports = {8080, 8081}
    assert not [row.name for row in ROWS.values() if urlsplit(row.base_url).port in own_ports]


def test_one_key_never_activates_two_providers() -> None:
    names = [name for row in ROWS.values() for name in row.key_env]
    assert sorted(names) == sorted(set(names))


def test_local_servers_have_addresses_of_their_own() -> None:
    urls = [row.base_url for row in ROWS.values() if urlsplit(row.base_url).hostname in LOOPBACK]
    assert len(urls) == len(set(urls))


def test_paths_lead_where_they_can_be_sent() -> None:
    for row in ROWS.values():
        for name, path in row.paths.items():
            where = f"{row.name}: {name}"
            assert re.fullmatch(r"/{1,2}[A-Za-z0-9_./:{}-]+(\?[a-z-]+=[a-z0-9-]+)?", path), where
            assert set(re.findall(r"\{(.*?)\}", path)) <= {"model"}, where
            known = PATHS[row.format].get(name.removesuffix(STREAM), "")
            assert "{model}" not in known or "{model}" in path, where


def test_callers_of_another_format_are_relayed_where_a_provider_speaks_it_too() -> None:
    rows = {row.name for row in ROWS.values() if "messages" in row.paths}
    own = {row.name for row in ROWS.values() if row.format == "anthropic_messages"}
    assert rows - own == {
        "deepseek", "dashscope", "dashscope-cn", "moonshot", "moonshot-cn", "zai", "zhipu",
        "minimax", "minimax-cn", "openrouter", "vercel",
    }  # fmt: skip
    # its callers' keys go out as every other endpoint of the row takes them
    assert {ROWS[name].auth for name in rows - own} == {"bearer"}


def test_aliases_are_names_of_nothing_else() -> None:
    assert aliases()["google"] == "gemini"
    assert not aliases().keys() & ROWS.keys()
    assert len(aliases()) == sum(len(row.aliases) for row in ROWS.values())


def test_quirks_exist_and_are_used() -> None:
    used = {quirk for row in ROWS.values() for quirk in row.quirks}
    assert quirks.REQUEST_QUIRKS.keys() | quirks.USAGE_QUIRKS.keys() <= used <= quirks.NAMES
    assert not quirks.REQUEST_QUIRKS.keys() & quirks.USAGE_QUIRKS.keys()


def test_quirks_are_of_the_formats_that_a_row_speaks() -> None:
    """What an encoder heeds stands in rows of its format, or of one the row has endpoints of."""
    for row in ROWS.values():
        formats = {row.format} | {CALLERS.get(name, row.format) for name in row.endpoints}
        known = {quirk for name in formats for quirk in quirks.OF_ENCODERS.get(name, ())}
        general = quirks.NAMES - {q for names in quirks.OF_ENCODERS.values() for q in names}
        assert set(row.quirks) <= known | general, row.name


@pytest.mark.parametrize("name", quirks.OF_ENCODERS)
def test_encoders_document_the_quirks_they_heed(name: str) -> None:
    text = "".join(path.read_text("utf-8") for path in sorted((WIRE / name).glob("*.py")))
    for quirk in quirks.OF_ENCODERS[name]:
        assert f"``{quirk}``" in text or ("``no_X``" in text and quirk.startswith("no_")), quirk


def test_what_both_formats_of_openai_heed_is_documented() -> None:
    text = "".join((WIRE / name).read_text("utf-8") for name in ("carry.py", "effort.py"))
    for quirk in quirks.OF_OPENAI:
        form = "effort_X" if quirk.startswith("effort_") else quirk
        assert f"``{form}``" in text, quirk


def test_price_sources_exist() -> None:
    known = {provider.id for provider in genai_providers()}
    named = {source.partition(":")[0] for row in ROWS.values() for source in row.genai}
    assert named <= known


def test_twins_point_at_a_row_with_models_of_its_own() -> None:
    twins = [row for row in ROWS.values() if row.models_of]
    assert twins
    assert all(not ROWS[row.models_of].models_of and not row.litellm for row in twins)


def test_a_url_is_filled_from_the_environment() -> None:
    url = ROWS["cloudflare"].url({"CLOUDFLARE_ACCOUNT_ID": "abc"})
    assert url == "https://api.cloudflare.com/client/v4/accounts/abc/ai/v1"
    for host in ("dbc-1.cloud.databricks.com", "https://dbc-1.cloud.databricks.com/"):
        url = ROWS["databricks"].url({"DATABRICKS_HOST": host})
        assert url == "https://dbc-1.cloud.databricks.com/serving-endpoints"


def test_what_a_url_lacks_is_named() -> None:
    with pytest.raises(CatalogError, match="CLOUDFLARE_ACCOUNT_ID") as caught:
        ROWS["cloudflare"].url({"CLOUDFLARE_ACCOUNT_ID": ""})
    assert "FERRYMAN_CLOUDFLARE_BASE_URL" in str(caught.value)


def test_a_url_can_be_replaced_by_our_variable_only() -> None:
    own = {"FERRYMAN_MOONSHOT_CN_BASE_URL": "http://10.0.0.7/v1/"}
    assert ROWS["moonshot-cn"].url(own) == "http://10.0.0.7/v1"
    loop = {"OPENAI_BASE_URL": "http://127.0.0.1:8080/v1"}
    assert ROWS["openai"].url(loop) == "https://api.openai.com/v1"
