"""The vendor's own SDK judges what goes out in the generateContent format, and asks in it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.events import Begin, Choice, Finish, FinishReason, Reply
from ferryman.ir.fold import unfold
from ferryman.ir.request import (
    Citation,
    Media,
    MediaKind,
    Refusal,
    Request,
    Role,
    Signature,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolMode,
    ToolResult,
)
from ferryman.ir.usage import Usage
from ferryman.wire.gemini_generate.array import ArrayWriter
from ferryman.wire.gemini_generate.counting import encode_count
from ferryman.wire.gemini_generate.encoder import StreamEncoder
from ferryman.wire.gemini_generate.errors import error_body, error_event
from ferryman.wire.gemini_generate.types import NAME
from tests.wire.generate import CLIENT, ask, context, plain, sent
from tests.wire.generate_answers import BOTH_WAYS as ANSWERS
from tests.wire.generate_requests import BOTH_WAYS as REQUESTS

pytestmark = pytest.mark.filterwarnings("ignore")


class Server:
    """Answers every call with what it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.kind, self.body = 200, "application/json", b""
        self.asked: list[tuple[str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                server.asked.append((self.path, json.loads(data)))
                self.send_response(server.status)
                self.send_header("content-type", server.kind)
                self.send_header("content-length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def says(self, body: bytes, kind: str = "application/json", status: int = 200) -> None:
        self.status, self.kind, self.body = status, kind, body

    def streams(self, body: bytes) -> None:
        self.says(body, "text/event-stream")

    def request(self) -> Request:
        """The last call, as read."""
        path, body = self.asked[-1]
        return ask(body, "stream" in path)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def client(server: Server) -> genai.Client:
    options = types.HttpOptions(
        base_url=server.url, retry_options=types.HttpRetryOptions(attempts=1)
    )
    return genai.Client(api_key="fm-key", http_options=options)


OWN = Signature("c2ln", NAME)
THEIRS = Signature("a+/b==", "anthropic_messages")
ANSWER = Reply(
    begin=Begin(id="msg_1", model="claude"),
    choices=(
        Choice(
            blocks=(
                Thinking(text="Let me see.", signature=THEIRS),
                Text(
                    text="Grüß Gott!",
                    citations=(Citation(url="https://a.test", title="A", start=5, end=9),),
                ),
                ToolCall(id="toolu_1", name="f", arguments='{"city":"Köln"}'),
                ToolCall(id="toolu_2", name="f", arguments="{}"),
            ),
            finish=Finish(reason=FinishReason.TOOL_CALLS),
        ),
    ),
    usage=Usage(input=10, cache_read=4, output=5, reasoning=3),
)


def streamed(reply: Reply) -> bytes:
    encoder = StreamEncoder(context())
    return b"".join([encoder.encode(event) for event in unfold(reply)])


def strict(data: bytes) -> types.GenerateContentResponse:
    """The SDK's type, which forbids members that it does not know."""
    return types.GenerateContentResponse.model_validate_json(data)


@pytest.mark.parametrize(
    "reply", [row[2] for row in ANSWERS] + [ANSWER], ids=[row[0] for row in ANSWERS] + ["theirs"]
)
def test_answers_are_what_the_sdk_knows(reply: Reply) -> None:
    said = strict(CLIENT.encode_reply(reply, context()))
    assert said.candidates and said.candidates[0].finish_reason in set(types.FinishReason)
    for event in streamed(reply).split(b"\r\n\r\n")[:-1]:
        strict(event.removeprefix(b"data: "))


@pytest.mark.parametrize(("name", "wire", "said"), REQUESTS, ids=[row[0] for row in REQUESTS])
@pytest.mark.parametrize("quirks", [(), ("openapi_schema",)])
def test_requests_are_what_the_sdk_knows(
    name: str, wire: Any, said: Request, quirks: tuple[str, ...]
) -> None:
    body, _ = sent(said, *quirks)
    for content in [*body["contents"], *filter(None, [body.get("systemInstruction")])]:
        types.Content.model_validate_json(json.dumps(content))
    for tool in body.get("tools", ()):
        if name != "tools" or "functionDeclarations" in tool:
            types.Tool.model_validate_json(json.dumps(tool))
    types.ToolConfig.model_validate_json(json.dumps(body.get("toolConfig", {})))
    config = dict(body.get("generationConfig", {}))
    config.pop("imageConfig", None)  # it has a type of its own there
    types.GenerationConfig.model_validate_json(json.dumps(config))


def test_a_whole_answer_through_the_client(server: Server, client: genai.Client) -> None:
    server.says(CLIENT.encode_reply(ANSWER, context()))
    said = client.models.generate_content(model="claude", contents="hi")
    assert said.text == "Grüß Gott!"
    assert [(c.id, c.name, c.args) for c in said.function_calls or ()] == [
        ("toolu_1", "f", {"city": "Köln"}), ("toolu_2", "f", {}),
    ]  # fmt: skip
    assert said.usage_metadata is not None and said.candidates is not None
    assert said.usage_metadata.prompt_token_count == 14
    assert said.usage_metadata.total_token_count == 22
    assert said.usage_metadata.thoughts_token_count == 3
    grounding = said.candidates[0].grounding_metadata
    assert grounding is not None and grounding.grounding_supports is not None
    (support,) = grounding.grounding_supports
    assert support.segment is not None and support.segment.text == "Gott"
    assert server.asked[-1][0] in (
        "/v1/models/claude:generateContent", "/v1beta/models/claude:generateContent",
    )  # fmt: skip
    assert plain(server.request().messages) == plain(ask({"contents": [
        {"role": "user", "parts": [{"text": "hi"}]}]}).messages)  # fmt: skip


def test_a_stream_through_the_client(server: Server, client: genai.Client) -> None:
    server.streams(streamed(ANSWER))
    said = list(client.models.generate_content_stream(model="claude", contents="hi"))
    assert "".join(chunk.text or "" for chunk in said) == "Grüß Gott!"
    assert [c.id for chunk in said for c in chunk.function_calls or ()] == ["toolu_1", "toolu_2"]
    last = said[-1]
    assert last.usage_metadata is not None and last.usage_metadata.candidates_token_count == 5
    assert last.candidates is not None
    assert last.candidates[0].finish_reason is types.FinishReason.STOP
    assert all(chunk.response_id == "msg_1" for chunk in said)


def test_the_array_form_holds_the_same_objects(server: Server) -> None:
    writer = ArrayWriter()
    items = json.loads(writer.feed(streamed(ANSWER)) + writer.end())
    for item in items:
        strict(json.dumps(item).encode())
    assert items[-1]["candidates"][0]["finishReason"] == "STOP"


def test_a_chat_brings_thoughts_signatures_and_calls_back(
    server: Server, client: genai.Client
) -> None:
    for stream in (False, True):
        chat = client.chats.create(model="claude")
        if stream:
            server.streams(streamed(ANSWER))
            assert list(chat.send_message_stream("hi"))
        else:
            server.says(CLIENT.encode_reply(ANSWER, context()))
            chat.send_message("hi")
        results = [
            types.Part.from_function_response(name="f", response={"output": text})
            for text in ("one", "two")
        ]
        chat.send_message(results) if not stream else list(chat.send_message_stream(results))
        said = server.request()
        assert [m.role for m in said.messages] == [Role.USER, Role.ASSISTANT, Role.USER]
        thought, text, first, second = said.messages[1].blocks
        assert plain(thought) == plain(Thinking(text="Let me see.", signature=THEIRS))
        assert isinstance(text, Text) and text.text == "Grüß Gott!"
        assert isinstance(first, ToolCall) and isinstance(second, ToolCall)
        assert (first.id, second.id) == ("toolu_1", "toolu_2")
        answered = [b for b in said.messages[2].blocks if isinstance(b, ToolResult)]
        assert [(b.call_id, plain(b.blocks)[0][1]["text"]) for b in answered] == [
            ("toolu_1", "one"), ("toolu_2", "two"),
        ]  # fmt: skip


def test_what_the_client_sends_is_read_without_loss(server: Server, client: genai.Client) -> None:
    server.says(CLIENT.encode_reply(ANSWER, context()))
    png = b"\x89PNG\xfb\xff\xfe"
    client.models.generate_content(
        model="claude",
        contents=[
            "look",
            types.Part.from_bytes(data=png, mime_type="image/png"),
            types.Part.from_uri(file_uri="https://x.test/a.pdf", mime_type="application/pdf"),
        ],
        config=types.GenerateContentConfig(
            system_instruction="be brief",
            temperature=0.5,
            top_k=40,
            max_output_tokens=100,
            stop_sequences=["x"],
            tools=[
                types.Tool(
                    function_declarations=[
                        types.FunctionDeclaration(
                            name="f",
                            parameters=types.Schema(
                                type=types.Type.OBJECT,
                                properties={
                                    "a": types.Schema(type=types.Type.STRING, nullable=True)
                                },
                            ),
                        )
                    ]
                )
            ],
            tool_config=types.ToolConfig(
                function_calling_config=types.FunctionCallingConfig(
                    mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["f"]
                )
            ),
            thinking_config=types.ThinkingConfig(
                include_thoughts=True, thinking_level=types.ThinkingLevel.LOW
            ),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        ),
    )
    said = server.request()
    assert (said.unknown, said.extra) == ((), ())
    assert [m.role for m in said.messages] == [Role.SYSTEM, Role.USER]
    _, image, pdf = said.messages[1].blocks
    assert isinstance(image, Media) and isinstance(pdf, Media)
    assert image.source.data == "iVBOR/v//g=="
    assert (pdf.kind, pdf.source.url) == (MediaKind.DOCUMENT, "https://x.test/a.pdf")
    (tool,) = said.tools
    assert isinstance(tool, Tool)
    assert plain(tool.parameters) == {
        "type": "object", "properties": {"a": {"type": ["string", "null"]}},
    }  # fmt: skip
    assert said.tool_choice is not None and said.tool_choice.mode is ToolMode.REQUIRED
    assert said.reasoning is not None
    assert (said.reasoning.effort, said.reasoning.summary) == ("low", "auto")
    assert (said.temperature, said.top_k, said.max_output, said.stop) == (0.5, 40, 100, ("x",))


def test_structured_output_asked_for_by_a_type(server: Server, client: genai.Client) -> None:
    from pydantic import BaseModel

    class Place(BaseModel):
        city: str
        size: int | None = None

    said = Reply(
        begin=Begin(),
        choices=(
            Choice(
                blocks=(Text(text='{"city":"Köln"}'),),
                finish=Finish(reason=FinishReason.STOP),
            ),
        ),
    )
    server.says(CLIENT.encode_reply(said, context()))
    config = types.GenerateContentConfig(
        response_mime_type="application/json", response_schema=Place
    )
    answer = client.models.generate_content(model="m", contents="where?", config=config)
    assert answer.parsed == Place(city="Köln")
    asked = server.request()
    assert asked.output is not None
    schema = plain(asked.output.schema)
    assert schema["type"] == "object" and schema["required"] == ["city"]


def test_errors_reach_the_client_as_its_own(server: Server, client: genai.Client) -> None:
    error = GatewayError(429, ErrorKind.UPSTREAM_RATE_LIMIT, "Slow down.")
    server.says(error_body(error, "req-1"), status=429)
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="m", contents="hi")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert caught.value.message == "Slow down."
    cut = GatewayError(502, ErrorKind.UPSTREAM_TRUNCATED, "Cut.")
    server.streams(streamed(ANSWER).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                   + error_event(cut, "req-1"))  # fmt: skip
    chunks = client.models.generate_content_stream(model="m", contents="hi")
    assert next(chunks).candidates
    with pytest.raises(errors.ServerError) as late:
        next(chunks)
    assert (late.value.code, late.value.message) == (502, "Cut.")


def test_refusals_and_filters_are_no_ordinary_stops(server: Server, client: genai.Client) -> None:
    said = Reply(
        begin=Begin(),
        choices=(
            Choice(blocks=(Refusal(text="I won't."),), finish=Finish(reason=FinishReason.REFUSAL)),
        ),
    )
    server.says(CLIENT.encode_reply(said, context()))
    answer = client.models.generate_content(model="m", contents="hi")
    assert answer.text == "I won't."
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason is types.FinishReason.SAFETY
    server.streams(streamed(said))
    last = list(client.models.generate_content_stream(model="m", contents="hi"))[-1]
    assert last.candidates and last.candidates[0].finish_reason is types.FinishReason.SAFETY


def test_counting_through_the_client(server: Server, client: genai.Client) -> None:
    server.says(encode_count(7))
    assert client.models.count_tokens(model="m", contents="hi").total_tokens == 7


def test_media_of_an_answer(server: Server, client: genai.Client) -> None:
    block = Media(
        kind=MediaKind.IMAGE,
        source=Source(media_type="image/png", data="iVBOR/v//g=="),
        signature=OWN,
    )
    finish = Finish(reason=FinishReason.STOP)
    said = Reply(begin=Begin(), choices=(Choice(blocks=(block,), finish=finish),))
    server.says(CLIENT.encode_reply(said, context()))
    answer = client.models.generate_content(model="m", contents="hi")
    (part,) = answer.parts or ()
    assert part.inline_data is not None
    assert part.inline_data.data == b"\x89PNG\xfb\xff\xfe"
    assert part.thought_signature == b"sig"
