"""The endpoints, seen through the official SDK and through raw sockets."""

import json
import math
import socket
import time
from collections.abc import Callable

import openai
import pytest
from pydantic import BaseModel

from tests.simulator.conftest import Sim
from tests.simulator.wire import chat, request, stream, talk

Start = Callable[..., Sim]
HELLO = [{"role": "user", "content": "one two three"}]


class Trip(BaseModel):
    """A structured output with the usual trimmings."""

    class Stop(BaseModel):
        name: str
        minutes: int | None

    kind: str
    stops: list[Stop]
    price: float


@pytest.fixture
def sdk(sim: Sim) -> openai.OpenAI:
    return openai.OpenAI(base_url=sim.url + "/v1", api_key="sk-any", max_retries=0)


def test_sdk_reads_a_chat_reply(sdk: openai.OpenAI) -> None:
    found = sdk.chat.completions.create(model="sim?tokens=4", messages=HELLO, n=2)
    assert [c.message.content for c in found.choices] == ["The ferry leaves the"] * 2
    assert found.usage
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (3, 8)


def test_sdk_reads_a_chat_stream_with_usage_exactly_where_it_belongs(sdk: openai.OpenAI) -> None:
    chunks = list(
        sdk.chat.completions.create(
            model="sim?tokens=3",
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert [chunk.usage is None for chunk in chunks] == [True] * 5 + [False]
    assert [len(chunk.choices) for chunk in chunks] == [1] * 5 + [0]
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_field_is_null_when_asked_for_and_absent_otherwise(sim: Sim) -> None:
    asked = stream(sim.port, "sim", stream_options={"include_usage": True}).data[:-1]
    assert ["usage" in chunk for chunk in asked] == [True] * len(asked)
    for options in ({}, {"stream_options": {"include_usage": False}}):
        assert b'"usage"' not in stream(sim.port, "sim", **options).body


def test_sdk_parses_structured_output(sdk: openai.OpenAI) -> None:
    found = sdk.chat.completions.parse(model="sim", messages=HELLO, response_format=Trip)
    trip = found.choices[0].message.parsed
    assert trip == Trip(kind="ferry", stops=[Trip.Stop(name="ferry", minutes=7)], price=7)


def test_json_object_is_json(sdk: openai.OpenAI) -> None:
    found = sdk.chat.completions.create(
        model="sim", messages=HELLO, response_format={"type": "json_object"}
    )
    assert json.loads(found.choices[0].message.content or "") == {"answer": "ferry"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "minimum": 3, "maximum": 5}, 3),
        ({"type": "number", "exclusiveMinimum": 2, "multipleOf": 4}, 4),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": None}, None),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": ["null", "string"], "minLength": 7}, "ferryyy"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]},
         {"a": 1, "b": 2}),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "string", "format": "date"}}}, "2026-01-31"),
    ],
)  # fmt: skip
def test_schema_is_kept(sim: Sim, schema: object, value: object) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    reply = chat(sim.port, "sim", response_format=wanted).json()
    assert json.loads(reply["choices"][0]["message"]["content"]) == value


def test_schema_that_contains_itself_ends(sim: Sim) -> None:
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "node", "schema": node}}
    reply = chat(sim.port, "sim", response_format=wanted).json()
    assert '"next":null' in reply["choices"][0]["message"]["content"]
    endless = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "node", "schema": endless}}
    assert chat(sim.port, "sim", response_format=wanted).status == 200


def test_sdk_reads_tool_calls(sdk: openai.OpenAI) -> None:
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
        for name in ("row", "sail")
    ]
    both = sdk.chat.completions.create(model="sim-tools=2", messages=HELLO, tools=tools)
    assert [c.function.name for c in both.choices[0].message.tool_calls or []] == ["row", "sail"]
    choice = {"type": "function", "function": {"name": "sail"}}
    one = sdk.chat.completions.create(model="sim", messages=HELLO, tools=tools, tool_choice=choice)
    assert [c.function.name for c in one.choices[0].message.tool_calls or []] == ["sail"]
    none = sdk.chat.completions.create(model="sim", messages=HELLO, tools=tools)
    assert none.choices[0].message.content


def test_output_limit_is_kept(sim: Sim) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        choice = chat(sim.port, "sim", **{name: 2}).json()["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("The ferry", "length")


def test_sdk_reads_old_completions(sdk: openai.OpenAI) -> None:
    found = sdk.completions.create(model="sim?tokens=2", prompt="a b")
    assert (found.choices[0].text, found.usage and found.usage.prompt_tokens) == ("The ferry", 2)
    pieces = sdk.completions.create(
        model="sim?tokens=2", prompt="a", stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = pieces
    assert "".join(chunk.choices[0].text for chunk in chunks) == "The ferry"
    assert (last.choices, last.usage and last.usage.completion_tokens) == ([], 2)


def test_sdk_reads_a_response(sdk: openai.OpenAI) -> None:
    found = sdk.responses.create(model="sim?tokens=2+cached=9+reasoning=5", input="a b c")
    assert found.output_text == "The ferry"
    assert found.usage
    assert found.usage.input_tokens_details.cached_tokens == 9
    assert found.usage.output_tokens_details.reasoning_tokens == 5
    assert (found.usage.output_tokens, found.usage.total_tokens) == (7, 16)
    short = sdk.responses.create(model="sim", input="a", max_output_tokens=1)
    assert (short.status, short.output_text) == ("incomplete", "The")


def test_sdk_reads_a_streamed_response(sdk: openai.OpenAI) -> None:
    events = list(sdk.responses.create(model="sim?tokens=3", input="a", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["The", " ferry", " leaves"]
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "The ferry leaves"
    with sdk.responses.stream(model="sim", input="a", text_format=Trip) as helper:
        assert helper.get_final_response().output_parsed


def test_sdk_reads_function_calls_of_a_response(sdk: openai.OpenAI) -> None:
    tool = {"type": "function", "name": "row", "parameters": {"type": "object"}, "strict": False}
    events = list(sdk.responses.create(model="sim-tools", input="a", tools=[tool], stream=True))
    last = events[-1]
    assert last.type == "response.completed"
    (item,) = last.response.output
    assert (item.type, item.name, item.arguments) == ("function_call", "row", "{}")


def test_sdk_reads_embeddings_in_both_encodings(sdk: openai.OpenAI) -> None:
    texts = ["a ferry", "a bridge", "a ferry"]
    packed = sdk.embeddings.create(model="sim", input=texts)  # base64, which is its default
    plain = sdk.embeddings.create(model="sim", input=texts, encoding_format="float")
    one, two, again = [item.embedding for item in plain.data]
    assert one == again != two
    assert math.isclose(math.hypot(*one), 1, rel_tol=1e-6)
    assert packed.data[0].embedding == pytest.approx(one, abs=1e-6)
    assert plain.usage.total_tokens == 6
    small = sdk.embeddings.create(model="sim", input=[[1, 2], [3]], dimensions=8)
    assert [len(item.embedding) for item in small.data] == [8, 8]


def test_sdk_reads_models_and_moderations(sdk: openai.OpenAI) -> None:
    assert "sim-tools" in [model.id for model in sdk.models.list()]
    assert sdk.models.retrieve("sim-429").id == "sim-429"
    found = sdk.moderations.create(model="sim", input=["peace", "Violence!"])
    assert [result.flagged for result in found.results] == [False, True]
    assert found.results[1].categories.violence


def test_sdk_raises_the_right_errors(sdk: openai.OpenAI) -> None:
    for model, kind in {
        "sim-429": openai.RateLimitError,
        "sim-401": openai.AuthenticationError,
        "sim-context": openai.BadRequestError,
        "sim-503": openai.InternalServerError,
        "sim-reset": openai.APIConnectionError,
    }.items():
        with pytest.raises(kind):
            sdk.chat.completions.create(model=model, messages=HELLO)
    with pytest.raises(openai.APIError, match="server had an error"):
        list(sdk.chat.completions.create(model="sim-error-event", messages=HELLO, stream=True))


@pytest.mark.parametrize(
    ("body", "path", "status", "code"),
    [
        (b"{", "/v1/chat/completions", 400, "invalid_json"),
        (b"\xff\xfe", "/v1/chat/completions", 400, "invalid_json"),
        (b'{"messages": []}', "/v1/chat/completions", 400, "missing_model"),
        (b'{"model": 3}', "/v1/chat/completions", 400, "invalid_json"),
        (b'{"model": "sim"}', "/v1/chats", 404, "unknown_url"),
        (b'{"model": "sim-nonsense"}', "/v1/chat/completions", 400, "wrong_directive"),
        (b'{"model": "sim", "sim": 5}', "/v1/chat/completions", 400, "wrong_directive"),
        (b'{"model": "sim?tokens=many"}', "/v1/chat/completions", 400, "wrong_directive"),
        (b'{"model": "sim-cut=5"}', "/v1/chat/completions", 400, "wrong_directive"),
    ],
)
def test_wrong_requests_are_explained(
    sim: Sim, body: bytes, path: str, status: int, code: str
) -> None:
    reply = talk(sim.port, request(path, body))
    assert (reply.status, reply.json()["error"]["code"]) == (status, code)


def test_wrong_method_and_broken_http(sim: Sim) -> None:
    asked = request("/v1/embeddings", {}).replace(b"POST", b"DELETE")
    assert talk(sim.port, asked).status == 405
    assert talk(sim.port, b"GARBAGE\r\n\r\n").status == 400


def test_wishes_come_from_model_header_and_body_the_later_winning(start: Start) -> None:
    sim = start("--tokens", "1", "--behaviour", "prompt=77")

    def said(model: str, header: str = "", **fields: object) -> tuple[str, int]:
        headers = {"x-sim": header} if header else {}
        asked = {"model": model, **fields}
        reply = talk(sim.port, request("/v1/chat/completions", asked, headers)).json()
        return reply["choices"][0]["message"]["content"], reply["usage"]["prompt_tokens"]

    assert said("any-name/at-all") == ("The", 77)
    assert said("sim?tokens=2") == ("The ferry", 77)
    assert said("sim?tokens=2", "tokens=3 prompt=5") == ("The ferry leaves", 5)
    assert said("sim?tokens=2", "tokens=3", sim="tokens=4")[0] == "The ferry leaves the"
    assert said("sim", sim={"tokens": 2, "echo": False}) == ("The ferry", 77)
    sim.post("/sim/default", b"tokens=3")
    assert said("sim") == ("The ferry leaves", 0)


def test_key_is_asked_for(start: Start) -> None:
    sim = start("--key", "sk-right")
    assert chat(sim.port, "sim").status == 401
    asked = request("/v1/chat/completions", {"model": "sim"}, {"Authorization": "Bearer sk-right"})
    assert talk(sim.port, asked).status == 200


def test_wrong_flags_are_explained(start: Start) -> None:
    with pytest.raises(AssertionError, match="does not know the word `oops`"):
        start("--behaviour", "oops")


def test_last_request_is_told_byte_for_byte(sim: Sim) -> None:
    body = b'{ "model":"sim",\n\t"odd": "\\u00e9\xc3\xa9", "sim":{"tokens":1} }  '
    talk(sim.port, request("/v1/chat/completions?x=%20y", body, {"X-Odd-CASE": "a  b"}))
    last = sim.get("/sim/last")
    assert (last["method"], last["target"]) == ("POST", "/v1/chat/completions?x=%20y")
    assert ["X-Odd-CASE", "a  b"] in last["headers"]
    assert last["body"].encode() == body
    asked = b"GET /sim/last/body HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n\r\n"
    assert talk(sim.port, asked).body == body


def test_statistics_count_what_happened(start: Start) -> None:
    sim = start()
    for model in ("sim", "sim", "sim-429"):
        chat(sim.port, model)
    with socket.create_connection(("127.0.0.1", sim.port)) as sock:
        sock.sendall(request("/v1/chat/completions", {"model": "sim-stall", "stream": True}))
        assert sock.recv(100)
        stats = sim.get("/sim/stats")
        assert (stats["requests"], stats["answered"], stats["active"]) == (4, 3, 1)
    deadline = time.monotonic() + 10
    while not sim.get("/sim/stats")["cancelled"]:
        assert time.monotonic() < deadline, "the caller's leaving was not noticed"
    stats = sim.get("/sim/stats")
    assert (stats["active"], stats["models"]["sim"]) == (0, 2)
    assert stats["paths"] == {"/v1/chat/completions": 4}
    sim.post("/sim/reset")
    assert sim.get("/sim/stats")["requests"] == 0


def test_pipelined_requests_are_answered_in_order(sim: Sim) -> None:
    models = ["sim?tokens=1&delay=30", "sim?tokens=2", "sim?tokens=3&delay=5", "sim?tokens=4"]
    asked = [request("/v1/chat/completions", {"model": model}) for model in models]
    data = b"".join([a.replace(b"Connection: close\r\n", b"") for a in asked[:-1]] + asked[-1:])
    raw = talk(sim.port, data).raw
    heads = [raw.index(f'"completion_tokens":{count},'.encode()) for count in (1, 2, 3, 4)]
    assert heads == sorted(heads)


def test_only_an_idle_connection_is_hung_up(sim: Sim) -> None:
    first, second = (
        request("/v1/chat/completions", {"model": model})
        for model in ("sim?hangup=0", "sim?tokens=2&delay=200")
    )
    raw = talk(sim.port, first.replace(b"Connection: close\r\n", b"") + second).raw
    assert raw.count(b"HTTP/1.1 200 OK") == 2
    assert b'"The ferry"' in raw


def test_expect_continue_is_answered_before_the_body(sim: Sim) -> None:
    asked = request("/v1/chat/completions", {"model": "sim"}, {"Expect": "100-continue"})
    head, gap, body = asked.partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", sim.port), timeout=10) as sock:
        sock.sendall(head + gap)
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert sock.recv(100).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("model", ["sim?tokens=20000", "sim?tokens=20000&tps=40000"])
def test_slow_reader_gets_everything(sim: Sim, model: str) -> None:
    asked = request("/v1/chat/completions", {"model": model, "stream": True})
    raw = b""
    with socket.create_connection(("127.0.0.1", sim.port), timeout=10) as sock:
        sock.sendall(asked)
        time.sleep(0.6)  # by now the buffers on the way are full
        while piece := sock.recv(1 << 20):
            raw += piece
    assert raw.count(b'"content":') == 20001
    assert raw.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_same_request_has_a_new_number_each_time(sim: Sim) -> None:
    ids = {chat(sim.port, "sim").json()["id"] for _ in range(3)}
    assert len(ids) == 3
