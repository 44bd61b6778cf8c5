"""Every caller, provider and feature, whole and streamed: no cell may be without a verdict.

docs/matrix.md is what the cells say; ``python -m tests.matrix`` writes it.
"""

import json

import pytest

from tests.gateway import KEY, Stack
from tests.matrix.callers import CALLERS, Caller
from tests.matrix.cells import COLUMNS, FEATURES, NAMED, verdict
from tests.matrix.page import PAGE, page
from tests.matrix.said import Wish
from tests.processes import request

RESULTS: dict[tuple[str, str, str, bool], tuple[str, str]] = {}


@pytest.mark.parametrize("provider", COLUMNS)
@pytest.mark.parametrize("kind", CALLERS, ids=lambda kind: kind.name)
def test_a_pair(formats: Stack, kind: type[Caller], provider: str) -> None:
    caller = kind(formats.url, KEY, formats.sim_url)
    faults = []
    for feature in FEATURES:
        for stream in (False, True):
            found = verdict(caller, provider, feature, stream=stream)
            RESULTS[kind.name, provider, feature.name, stream] = found
            if not found[0]:
                faults.append(f"{feature.name}, {'stream' if stream else 'whole'}: {found[1]}")
    assert not faults


def test_the_page_says_what_the_cells_say() -> None:
    if len(RESULTS) < len(CALLERS) * len(COLUMNS) * len(FEATURES) * 2:
        pytest.skip("not all pairs were tried")
    assert PAGE.read_text() == page(RESULTS), "run `python -m tests.matrix`"


def test_a_models_own_way_is_taken_where_the_catalogue_knows_it(formats: Stack) -> None:
    caller = CALLERS[0](formats.url, KEY, formats.sim_url)
    wish = Wish("think+tokens=3", schema=True, think=True)
    sent = {}
    for name in NAMED:
        assert not caller.ask(name, wish, stream=False).error[0], name
        sent[name] = json.loads(request(formats.sim_url, path="/sim/last/body").body)
    new, old = (sent[f"gemini/gemini-{n}-flash"]["generationConfig"] for n in (3.5, 2.5))
    assert new["thinkingConfig"] == {"thinkingLevel": "LOW", "includeThoughts": True}
    assert old["thinkingConfig"] == {"thinkingBudget": 1024, "includeThoughts": True}
    assert "additionalProperties" in new["responseJsonSchema"]
    assert "additionalProperties" not in old["responseJsonSchema"]
    claude = sent["anthropic/claude-opus-4-8"]
    assert claude["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert set(claude["output_config"]) == {"effort", "format"}


@pytest.mark.parametrize(
    ("model", "tools", "path"),
    [
        ("openai/gpt-5.5", 0, "/v1/chat/completions"),
        ("openai/gpt-5.5", 1, "/v1/responses"),
        ("openai/gpt-5-pro", 0, "/v1/responses"),
        ("azure/gpt-6-astra", 1, "/openai/v1/responses"),
        ("azure-deployments/gpt-5-pro", 0, "/openai/deployments/gpt-5-pro/chat/completions"),
    ],
)
def test_a_model_is_asked_at_the_endpoint_that_takes_the_request(
    formats: Stack, model: str, tools: int, path: str
) -> None:
    foreign = next(kind for kind in CALLERS if kind.name == "anthropic_messages")
    callers = [foreign] if tools or "pro" not in model else [foreign, CALLERS[0]]
    for kind in callers:
        wish = Wish("tools=1" if tools else "tokens=6", tools=tools)
        said = kind(formats.url, KEY, formats.sim_url).ask(model, wish, stream=True)
        assert said.calls if tools else said.text == "The ferry leaves the bank at"
        last = json.loads(request(formats.sim_url, path="/sim/last").body)
        assert last["target"].partition("?")[0] == path
