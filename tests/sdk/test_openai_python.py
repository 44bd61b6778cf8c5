"""The official `openai` package for Python, unchanged, against a whole Ferryman."""

import asyncio
import base64
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from pydantic import BaseModel

from tests.gateway import KEY, Stack
from tests.processes import until

ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Good morning, dear ferry"}]
SAID = "The ferry leaves the bank at"
"""The simulator's first six words."""
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "timetable",
        "description": "When does the ferry leave?",
        "parameters": {
            "type": "object",
            "properties": {"pier": {"type": "string"}, "day": {"type": "integer"}},
            "required": ["pier", "day"],
        },
    },
}


class Crossing(BaseModel):
    """What is asked for as structured output."""

    boat: str
    passengers: int
    piers: list[str]


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    """A client that tries once, so that each error is Ferryman's first answer."""
    with caller(stack) as made:
        yield made


def caller(stack: Stack, key: str = KEY) -> openai.OpenAI:
    """A client; proxies of the machine are none of its business."""
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=stack.endpoint, api_key=key, max_retries=0, http_client=http)


def async_caller(stack: Stack) -> openai.AsyncOpenAI:
    """The same, for asyncio."""
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    return openai.AsyncOpenAI(base_url=stack.endpoint, api_key=KEY, max_retries=0, http_client=http)


def joined(chunks: Iterable[ChatCompletionChunk]) -> str:
    """The text of a chat stream's first choice."""
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def settled(stack: Stack) -> None:
    """Wait until the simulator has nothing to do, and let it count anew."""
    until(lambda: stack.stats()["active"] == 0, "the end of the calls before")
    stack.forget()


# -- calls


def test_chat(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="lab/sim?tokens=6", messages=ASKED)
    assert reply.choices[0].message.content == SAID
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (4, 6)


def test_chat_says_in_headers_what_became_of_it(client: openai.OpenAI, stack: Stack) -> None:
    raw = client.chat.completions.with_raw_response.create(model="quick", messages=ASKED)
    usage = raw.parse().usage
    assert usage is not None
    cost = (usage.prompt_tokens * 1 + usage.completion_tokens * 2) / 1e6  # the prices of lab/sim
    assert raw.headers["x-ferryman-provider"] == "lab"
    assert raw.headers["x-ferryman-model"] == "sim"
    assert raw.headers["x-ferryman-attempts"] == "1"
    assert float(raw.headers["x-ferryman-cost-usd"]) == pytest.approx(cost)
    assert float(raw.headers["x-ferryman-overhead-ms"]) >= 0
    row = stack.row(raw.headers["x-ferryman-request-id"])
    assert (row["status"], row["model"], row["target"]) == (200, "quick", "sim")
    assert row["cost_usd"] == raw.headers["x-ferryman-cost-usd"]


def test_failover_is_no_business_of_the_client(client: openai.OpenAI) -> None:
    def asked() -> bool:
        """Whether the first one was, too: it rests for a while where others have tried it."""
        raw = client.chat.completions.with_raw_response.create(model="first-503", messages=ASKED)
        assert raw.parse().choices[0].message.content
        assert raw.headers["x-ferryman-provider"] == "spare"
        return raw.headers["x-ferryman-attempts"] == "2"

    until(asked, "a second attempt")


def test_stream_without_usage_has_no_chunk_for_it(client: openai.OpenAI) -> None:
    asked = client.chat.completions.create(model="lab/sim?tokens=6", messages=ASKED, stream=True)
    chunks = list(asked)
    assert joined(chunks) == SAID
    assert all(len(chunk.choices) == 1 for chunk in chunks)
    assert not any(chunk.usage for chunk in chunks)
    assert [c.choices[0].finish_reason for c in chunks][-1] == "stop"


def test_stream_with_usage_ends_with_the_chunk_for_it(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="lab/sim?tokens=6",
            messages=ASKED,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert joined(chunks) == SAID
    *others, last = chunks
    assert not any(chunk.usage for chunk in others)
    assert last.choices == [] and last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (4, 6)


def test_stream_is_accounted_also_without_usage(client: openai.OpenAI, stack: Stack) -> None:
    with client.chat.completions.create(model="quick", messages=ASKED, stream=True) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert joined(stream)
    row = stack.row(stream.response.headers["x-ferryman-request-id"])
    assert row["stream"] is True and row["status"] == 200
    assert row["tokens"]["input"] == 4 and float(row["cost_usd"]) > 0


def test_tools_whole(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="lab/sim?tools=2", messages=ASKED, tools=[TOOL], parallel_tool_calls=True
    )
    choice = reply.choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls or []
    assert len({call.id for call in calls}) == 2
    for call in calls:
        assert call.type == "function" and call.function.name == "timetable"
        assert call.function.arguments == '{"pier":"ferry","day":7}'


def test_tools_streamed(client: openai.OpenAI) -> None:
    """The client's own accumulator has to come to the same calls."""
    with client.chat.completions.stream(
        model="lab/sim?tools=2", messages=ASKED, tools=[TOOL]
    ) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    assert [event.arguments for event in done] == ['{"pier":"ferry","day":7}'] * 2
    assert final.choices[0].finish_reason == "tool_calls"
    assert len(final.choices[0].message.tool_calls or []) == 2


def test_answer_of_a_tool_goes_back(client: openai.OpenAI, stack: Stack) -> None:
    first = client.chat.completions.create(model="lab/sim-tools", messages=ASKED, tools=[TOOL])
    [call] = first.choices[0].message.tool_calls or []
    said: Any = first.choices[0].message
    second = client.chat.completions.create(
        model="lab/sim-echo",
        messages=[*ASKED, said, {"role": "tool", "tool_call_id": call.id, "content": "at dawn"}],
    )
    assert second.choices[0].message.content == "at dawn"


def test_structured_output(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(model="lab/sim", messages=ASKED, response_format=Crossing)
    assert reply.choices[0].message.parsed == Crossing(boat="ferry", passengers=7, piers=["ferry"])


def test_structured_output_streamed(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="lab/sim", messages=ASKED, response_format=Crossing
    ) as stream:
        final = stream.until_done().get_final_completion()
    assert final.choices[0].message.parsed == Crossing(boat="ferry", passengers=7, piers=["ferry"])


def test_embeddings_by_default_are_base64_underneath(client: openai.OpenAI, stack: Stack) -> None:
    reply = client.embeddings.create(model="lab/sim", input=["dawn", "dusk"])
    assert b'"base64"' in stack.last_body()
    assert [len(item.embedding) for item in reply.data] == [256, 256]
    assert reply.data[0].embedding != reply.data[1].embedding
    assert reply.usage.prompt_tokens == 2


def test_embeddings_as_floats_are_the_same(client: openai.OpenAI, stack: Stack) -> None:
    def embed(encoding: Any) -> Any:
        made = client.embeddings.create(
            model="lab/sim", input="dawn", encoding_format=encoding, dimensions=8
        )
        return made.data[0].embedding

    floats, packed = embed("float"), embed("base64")
    assert len(floats) == 8
    assert struct.unpack("<8f", base64.b64decode(packed)) == pytest.approx(floats)


def test_legacy_completions(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="lab/sim?tokens=6", prompt="Good morning")
    assert whole.choices[0].text == SAID
    assert whole.usage is not None and whole.usage.completion_tokens == 6
    stream = client.completions.create(model="lab/sim?tokens=6", prompt="Good", stream=True)
    chunks = list(stream)
    assert "".join(c.choices[0].text for c in chunks) == SAID
    assert not any(c.usage for c in chunks)


def test_moderations(client: openai.OpenAI) -> None:
    reply = client.moderations.create(model="lab/sim", input=["peace", "violence"])
    assert [result.flagged for result in reply.results] == [False, True]
    assert reply.results[1].categories.violence


def test_responses_whole(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="lab/sim?tokens=6", input="Good morning, dear ferry")
    assert reply.status == "completed"
    assert reply.output_text == SAID
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (4, 6)


def test_responses_streamed(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="lab/sim?tokens=6", input="Good", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == SAID
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.usage is not None and last.response.usage.output_tokens == 6


def test_responses_structured(client: openai.OpenAI) -> None:
    reply = client.responses.parse(model="lab/sim", input="Good morning", text_format=Crossing)
    assert reply.output_parsed == Crossing(boat="ferry", passengers=7, piers=["ferry"])


def test_models(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"quick", "two", "lab/sim"} <= set(names)
    assert "dreaming" not in names  # its only provider has no key
    for name, owner in (("quick", "ferryman"), ("lab/sim", "lab")):
        found = client.models.retrieve(name)
        assert (found.id, found.object, found.owned_by) == (name, "model", owner)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("quack")


# -- errors


def test_wrong_key(stack: Stack) -> None:
    with caller(stack, "key-that-nobody-has-made") as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            stranger.chat.completions.create(model="quick", messages=ASKED)
        assert caught.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()


def test_unknown_model_names_those_near(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="quik", messages=ASKED)
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert "quik" in caught.value.message and "quick" in caught.value.message.split("quik", 1)[1]
    assert caught.value.response.headers["x-ferryman-request-id"]


def test_rate_limit_keeps_its_waiting_time(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="lab/sim-429?retry-after=7", messages=ASKED)
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.type == "tokens"


def test_rate_limit_on_a_stream_is_an_error_before_it(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="lab/sim-429", messages=ASKED, stream=True)


def test_bad_request(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="lab/sim-400", messages=ASKED)
    assert caught.value.param == "temperature" and caught.value.code == "invalid_value"
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="lab/sim-context", messages=ASKED)
    assert caught.value.code == "context_length_exceeded"


def test_bad_request_by_the_gateway_itself(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=7, messages=ASKED)  # type: ignore[call-overload]
    assert caught.value.code == "invalid_request" and "model" in caught.value.message


@pytest.mark.parametrize(
    ("word", "status"),
    [("500", 500), ("503", 503), ("html", 502), ("html-200", 502), ("close", 502), ("cut", 502)],
)
def test_failing_provider(client: openai.OpenAI, word: str, status: int) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=f"lab/sim-{word}", messages=ASKED)
    assert caught.value.status_code == status
    assert caught.value.code, "every error has a code to match on"
    assert caught.value.response.headers["x-ferryman-error"].startswith("upstream_")


CUTS = ("cut", "cut-clean", "reset-mid")


@pytest.mark.parametrize("word", [*CUTS, "no-done"])
def test_cut_stream_raises(client: openai.OpenAI, stack: Stack, word: str) -> None:
    stream = client.chat.completions.create(
        model=f"lab/sim-{word}?at=3", messages=ASKED, stream=True
    )
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "upstream_stream_truncated"
    assert "lab" in caught.value.message and "incomplete" in caught.value.message
    row = stack.row(stream.response.headers["x-ferryman-request-id"])
    assert row["error"] == "upstream_stream_truncated"


@pytest.mark.parametrize("word", ["error-event", "error-done"])
def test_error_in_a_stream_raises(client: openai.OpenAI, stack: Stack, word: str) -> None:
    stream = client.chat.completions.create(
        model=f"lab/sim-{word}?at=3", messages=ASKED, stream=True
    )
    with pytest.raises(openai.APIError, match="had an error while processing") as caught:
        list(stream)
    row = stack.row(stream.response.headers["x-ferryman-request-id"])
    assert caught.value.code == row["error"] == "upstream_error"


@pytest.mark.parametrize("word", CUTS)
def test_cut_stream_of_responses_raises(client: openai.OpenAI, stack: Stack, word: str) -> None:
    stream = client.responses.create(model=f"lab/sim-{word}?at=3", input="Good", stream=True)
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    row = stack.row(stream.response.headers["x-ferryman-request-id"])
    assert caught.value.code == row["error"] == "upstream_stream_truncated"


def test_error_in_a_stream_of_responses_raises(client: openai.OpenAI) -> None:
    stream = client.responses.create(model="lab/sim-error-event?at=3", input="Good", stream=True)
    with pytest.raises(openai.APIError, match="had an error while processing") as caught:
        list(stream)
    assert caught.value.code == "upstream_error"


@pytest.mark.parametrize("word", CUTS)
def test_cut_legacy_stream_raises(client: openai.OpenAI, word: str) -> None:
    stream = client.completions.create(model=f"lab/sim-{word}?at=3", prompt="Good", stream=True)
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "upstream_stream_truncated"


def test_text_before_the_cut_is_heard(client: openai.OpenAI) -> None:
    heard: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError):
        for chunk in client.chat.completions.create(
            model="lab/sim-cut?at=3", messages=ASKED, stream=True
        ):
            heard.append(chunk)
    assert joined(heard) == "The ferry leaves"


# -- retries


def test_retries_of_the_client_are_its_own(stack: Stack, client: openai.OpenAI) -> None:
    """Not once more than asked for, and never by the gateway on the same target."""
    for retries in (0, 2):
        settled(stack)
        model = "sim-500?retry-after=0.01"
        with pytest.raises(openai.InternalServerError):
            client.with_options(max_retries=retries).chat.completions.create(
                model=f"lab/{model}", messages=ASKED
            )
        assert stack.stats()["models"] == {model: retries + 1}


def test_retry_succeeds(stack: Stack, client: openai.OpenAI) -> None:
    settled(stack)
    raw = client.with_options(max_retries=2).chat.completions.with_raw_response.create(
        model="lab/sim-429?fail-first=2&retry-after=0.01", messages=ASKED
    )
    assert raw.retries_taken == 2
    assert raw.parse().choices[0].message.content


def test_no_retry_where_none_helps(stack: Stack, client: openai.OpenAI) -> None:
    """The gateway's own key is wrong: the client must neither repeat the call nor blame its key."""
    settled(stack)
    with pytest.raises(openai.InternalServerError) as caught:
        client.with_options(max_retries=2).chat.completions.create(
            model="lab/sim-401", messages=ASKED
        )
    assert caught.value.code == "upstream_auth_failed"
    assert stack.stats()["requests"] == 1


# -- leaving


def test_closed_stream_ends_the_call_upstream(stack: Stack, client: openai.OpenAI) -> None:
    settled(stack)
    stream = client.chat.completions.create(
        model="lab/sim?tps=20&tokens=5000", messages=ASKED, stream=True
    )
    assert next(iter(stream)).choices
    assert stack.stats()["active"] == 1
    stream.close()
    until(lambda: stack.stats()["cancelled"] == 1, "the end of the connection upstream")
    row = stack.row(stream.response.headers["x-ferryman-request-id"])
    assert (row["status"], row["error"]) == (499, "client_closed_request")


def test_timeout_of_the_client_ends_the_call_upstream(stack: Stack, client: openai.OpenAI) -> None:
    settled(stack)
    model = "lab/sim?delay=60000&tokens=3"
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(model=model, messages=ASKED)
    until(lambda: stack.stats()["cancelled"] == 1, "the end of the connection upstream")
    left_rows(stack, model)


def left_rows(stack: Stack, model: str) -> None:
    """The one call of ``model`` is in the ledger as left by the caller."""

    def rows() -> list[dict[str, Any]]:
        found = stack.admin("GET", "/api/v1/calls?status=499").json()["data"]
        return [row for row in found if row["model"] == model]

    [row] = until(rows, "the row of the call that was left")
    assert row["error"] == "client_closed_request"


# -- asyncio


def run(stack: Stack, work: Callable[[openai.AsyncOpenAI], Any]) -> Any:
    """What ``work`` gives, with an asynchronous client."""

    async def main() -> Any:
        async with async_caller(stack) as client:
            return await work(client)

    return asyncio.run(main())


async def hear(client: openai.AsyncOpenAI, model: str, text: str) -> str:
    """The text of a stream."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": text}]
    stream = await client.chat.completions.create(model=model, messages=messages, stream=True)
    return joined([chunk async for chunk in stream])


def test_async_calls(stack: Stack) -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        whole = await client.chat.completions.create(model="lab/sim?tokens=6", messages=ASKED)
        assert whole.choices[0].message.content == SAID
        assert await hear(client, "lab/sim?tokens=6", "Good") == SAID
        parsed = await client.chat.completions.parse(
            model="lab/sim", messages=ASKED, response_format=Crossing
        )
        assert parsed.choices[0].message.parsed is not None
        embedded = await client.embeddings.create(model="lab/sim", input="dawn")
        assert len(embedded.data[0].embedding) == 256
        spoken = await client.responses.create(model="lab/sim?tokens=6", input="Good")
        assert spoken.output_text == SAID
        assert "quick" in [model.id async for model in client.models.list()]

    run(stack, work)


def test_async_errors(stack: Stack) -> None:
    async def work(client: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="quik", messages=ASKED)
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="lab/sim-429", messages=ASKED)
        with pytest.raises(openai.APIError) as caught:
            await hear(client, "lab/sim-cut?at=3", "Good")
        assert caught.value.code == "upstream_stream_truncated"

    run(stack, work)


def test_async_task_that_is_cancelled_ends_the_call_upstream(stack: Stack) -> None:
    settled(stack)
    model = "lab/sim?delay=60000&tokens=4"

    async def work(client: openai.AsyncOpenAI) -> None:
        task = asyncio.create_task(client.chat.completions.create(model=model, messages=ASKED))
        await asyncio.to_thread(until, lambda: stack.stats()["active"] == 1, "the call upstream")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(until, lambda: stack.stats()["cancelled"] == 1, "its end upstream")

    run(stack, work)
    left_rows(stack, model)


def test_fifty_at_once_each_get_their_own_answer(stack: Stack) -> None:
    """All are in flight together: the simulator holds every answer back for a while."""
    texts = [f"passenger {n} has {n * n} apples 渡し舟" for n in range(50)]

    async def say(client: openai.AsyncOpenAI, text: str) -> str | None:
        reply = await client.chat.completions.create(
            model="lab/sim-echo?ttft=200", messages=[{"role": "user", "content": text}]
        )
        return reply.choices[0].message.content

    async def work(client: openai.AsyncOpenAI) -> list[str | None]:
        calls = [
            hear(client, "lab/sim-echo?tps=40&ttft=100", text) if n % 2 else say(client, text)
            for n, text in enumerate(texts)
        ]
        return await asyncio.gather(*calls)

    assert run(stack, work) == texts
