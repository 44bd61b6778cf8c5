"""OpenAI's API as Azure has it, judged by the official client."""

from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.simulator.conftest import Sim
from tests.simulator.wire import request, talk

HELLO: Any = [{"role": "user", "content": "one two three"}]


@pytest.fixture
def sdk(sim: Sim) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(
        azure_endpoint=sim.url, api_key="any", api_version="2024-10-21", max_retries=0
    )


def test_chat(sdk: openai.AzureOpenAI) -> None:
    found: Any = sdk.chat.completions.create(model="sim-tokens=2", messages=HELLO)
    assert found.choices[0].message.content == "The ferry"
    assert found.prompt_filter_results[0]["prompt_index"] == 0
    assert found.choices[0].content_filter_results["hate"]["severity"] == "safe"
    filtered: Any = sdk.chat.completions.create(model="sim-filtered", messages=HELLO)
    assert filtered.choices[0].content_filter_results["violence"]["filtered"]


def test_first_chunk_judges_the_prompt(sdk: openai.AzureOpenAI) -> None:
    first, second, *_, last = sdk.chat.completions.create(
        model="sim-tokens=2", messages=HELLO, stream=True
    )
    assert first.choices == []
    assert (first.model_extra or {})["prompt_filter_results"]
    assert second.choices[0].delta.role == "assistant"
    assert last.choices[0].finish_reason == "stop"


def test_other_endpoints(sdk: openai.AzureOpenAI, sim: Sim) -> None:
    assert len(sdk.embeddings.create(model="sim", input="a", dimensions=8).data[0].embedding) == 8
    assert sdk.responses.create(model="sim", input="a").output_text.startswith("The ferry")
    v1 = openai.OpenAI(base_url=sim.url + "/openai/v1", api_key="any")
    chat = v1.chat.completions.create(model="sim?tokens=2", messages=HELLO)
    assert chat.choices[0].message.content == "The ferry"
    assert "sim" in [model.id for model in v1.models.list()]


def test_errors(sdk: openai.AzureOpenAI) -> None:
    with pytest.raises(openai.RateLimitError, match="pricing tier") as caught:
        sdk.chat.completions.create(model="sim-429", messages=HELLO)
    assert caught.value.response.headers["retry-after"] == "2"
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.chat.completions.create(model="sim-filter", messages=HELLO)
    assert refused.value.code == "content_filter"


def test_key_and_version_are_asked_for(start: Callable[..., Sim]) -> None:
    sim = start("--key", "right")
    path = "/openai/deployments/sim/chat/completions"
    asked = {"messages": HELLO}
    dated = path + "?api-version=2024-10-21"
    for target, headers, status in (
        (dated, {"api-key": "right"}, 200),
        (dated, {"Authorization": "Bearer right"}, 200),
        (dated, {"api-key": "wrong"}, 401),
        (path, {"api-key": "right"}, 404),
    ):
        assert talk(sim.port, request(target, asked, headers)).status == status
