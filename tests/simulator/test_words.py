"""Every word of docs/simulator.md, tried with the example that stands beside it."""

import base64
import gzip
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from ferryman.simulator.directives import DIRECTIVES
from tests.simulator.conftest import Sim
from tests.simulator.wire import (
    SILENCE,
    Reply,
    chat,
    message,
    request,
    respond,
    stream,
    talk,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "simulator.md"
ROW = re.compile(r"^\| `([\w-]+)` \| (\S+) \| `(sim\S*)` \| (.+) \|$", re.MULTILINE)
ROWS = {name: (unit, example, doc) for name, unit, example, doc in ROW.findall(PAGE.read_text())}
TOOL = {
    "type": "function",
    "function": {
        "name": "row",
        "parameters": {"type": "object", "properties": {"strokes": {"type": "integer"}}},
    },
}

Check = Callable[[int, str], None]
CHECKS: dict[str, Check] = {}


def check(*names: str) -> Callable[[Check], Check]:
    """Register the check of some words."""

    def keep(function: Check) -> Check:
        CHECKS.update(dict.fromkeys(names, function))
        return function

    return keep


def test_page_lists_every_word_as_the_code_has_it() -> None:
    assert {name: (d.unit or "–", d.doc) for name, d in DIRECTIVES.items()} == {
        name: (unit, doc) for name, (unit, _, doc) in ROWS.items()
    }
    assert CHECKS.keys() == DIRECTIVES.keys()


@pytest.mark.parametrize("word", ROWS)
def test_word_does_what_the_page_says(sim: Sim, word: str) -> None:
    CHECKS[word](sim.port, ROWS[word][1])


def good(reply: Reply) -> Reply:
    """A proper reply of status 200."""
    assert (reply.status, reply.complete, reply.trouble) == (200, True, ""), reply
    return reply


def good_framing(reply: Reply) -> Reply:
    """A proper reply of any status."""
    assert (reply.complete, reply.trouble) == (True, ""), reply
    return reply


def whole_text(reply: Reply) -> str:
    text: str = good(reply).json()["choices"][0]["message"]["content"]
    return text


@check("delay", "ttft")
def _(port: int, model: str) -> None:
    for reply in (good(chat(port, model)), good(stream(port, model))):
        assert reply.seconds >= 0.05
    assert reply.data[-1] == "[DONE]"


@check("tps")
def _(port: int, model: str) -> None:
    assert good(chat(port, model)).seconds >= 0.08
    assert good(stream(port, model)).seconds >= 0.07  # seven pauses between eight tokens


@check("drip")
def _(port: int, model: str) -> None:
    reply = good(stream(port, model))
    assert reply.seconds >= len(reply.raw) / 20000 - 0.05
    assert reply.data[-1] == "[DONE]"


@check("tokens")
def _(port: int, model: str) -> None:
    assert whole_text(chat(port, model)) == "The ferry leaves"
    assert good(stream(port, model)).said == "The ferry leaves"


@check("per-chunk")
def _(port: int, model: str) -> None:
    deltas = [d["choices"][0]["delta"].get("content") for d in good(stream(port, model)).data[:-1]]
    assert deltas == ["", "The ferry leaves the", " bank at dawn, crosses", None]


@check("cache-write")
def _(port: int, model: str) -> None:
    usage = good(message(port, model)).json()["usage"]
    assert (usage["input_tokens"], usage["cache_creation_input_tokens"]) == (0, 32)
    details = good(chat(port, model)).json()["usage"]["prompt_tokens_details"]
    assert details["cache_write_tokens"] == 32


@check("prompt", "cached", "reasoning")
def _(port: int, model: str) -> None:
    usage = good(chat(port, model)).json()["usage"]
    asked = good(stream(port, model, stream_options={"include_usage": True}))
    assert asked.data[-2] == {**asked.data[-2], "choices": [], "usage": usage}
    prompt, output = usage["prompt_tokens"], usage["completion_tokens"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    assert usage["total_tokens"] == prompt + output
    assert (prompt, cached, output, reasoning) in {
        (1000, 0, 16, 0),
        (64, 64, 16, 0),
        (4, 0, 116, 100),
    }


@check("no-usage")
def _(port: int, model: str) -> None:
    assert "usage" not in good(chat(port, model)).json()
    reply = good(stream(port, model, stream_options={"include_usage": True}))
    assert b'"usage"' not in reply.body
    assert all(chunk["choices"] for chunk in reply.data[:-1])


@check("usage-last")
def _(port: int, model: str) -> None:
    chunks = good(stream(port, model)).data[:-1]
    assert [bool(c.get("usage")) for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@check("usage-each")
def _(port: int, model: str) -> None:
    chunks = good(stream(port, model)).data[:-1]
    counted = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counted == [0, *range(1, 17), 16]


@check("echo")
def _(port: int, model: str) -> None:
    assert whole_text(chat(port, model)) == "Good morning, dear ferry"
    assert good(stream(port, model)).said == "Good morning, dear ferry"


@check("unicode")
def _(port: int, model: str) -> None:
    text = whole_text(chat(port, model))
    assert {len(letter.encode()) for letter in text} == {1, 2, 3, 4}
    assert good(stream(port, model)).said == text


@check("tools")
def _(port: int, model: str) -> None:
    message = good(chat(port, model, tools=[TOOL])).json()["choices"][0]["message"]
    assert message["content"] is None
    (call,) = message["tool_calls"]
    assert call["function"] == {"name": "row", "arguments": '{"strokes":7}'}
    chunks = good(stream(port, model, tools=[TOOL])).data[:-1]
    parts = [c["choices"][0]["delta"].get("tool_calls", [{}])[0] for c in chunks]
    found = "".join(part.get("function", {}).get("arguments", "") for part in parts)
    assert found == '{"strokes":7}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@check("think")
def _(port: int, model: str) -> None:
    message = good(chat(port, model)).json()["choices"][0]["message"]
    assert message["reasoning_content"].startswith("Let me think")
    deltas = [chunk["choices"][0]["delta"] for chunk in good(stream(port, model)).data[:-1]]
    thought = "".join(delta.get("reasoning_content", "") for delta in deltas)
    assert thought == message["reasoning_content"]


@check("preamble")
def _(port: int, model: str) -> None:
    choice = good(chat(port, model, tools=[TOOL])).json()["choices"][0]
    assert choice["message"]["content"].startswith("The ferry leaves")
    assert choice["message"]["tool_calls"]


@check("json")
def _(port: int, model: str) -> None:
    assert whole_text(chat(port, model)) == '{"answer":"ferry"}'


@check("redacted")
def _(port: int, model: str) -> None:
    kinds = [block["type"] for block in good(message(port, model)).json()["content"]]
    assert kinds == ["redacted_thinking", "text"]


@check("citations")
def _(port: int, model: str) -> None:
    (note,) = good(chat(port, model)).json()["choices"][0]["message"]["annotations"]
    assert note["url_citation"]["url"] == "https://example.com/timetable"
    (text,) = good(message(port, model)).json()["content"]
    assert text["citations"][0]["document_title"] == "Timetable"


@check("old")
def _(port: int, model: str) -> None:
    schema = {"type": "OBJECT", "properties": {"strokes": {"type": "INTEGER"}}}
    asked = {
        "contents": [{"role": "user", "parts": [{"text": "Row"}]}],
        "tools": [{"functionDeclarations": [{"name": "row", "parameters": schema}]}],
    }
    for words, known in ((f"{model}+tools", False), ("sim-tools", True)):
        reply = talk(port, request(f"/v1beta/models/{words}:generateContent", asked))
        [candidate] = good(reply).json()["candidates"]
        [part] = candidate["content"]["parts"]
        assert ("id" in part["functionCall"]) is known


@check("image")
def _(port: int, model: str) -> None:
    image, said = good(respond(port, model)).json()["output"]
    assert base64.b64decode(image["result"]).startswith(b"\x89PNG")
    assert said["content"][0]["text"].startswith("The ferry")


@check("audio")
def _(port: int, model: str) -> None:
    said = good(chat(port, model)).json()["choices"][0]["message"]["audio"]
    assert base64.b64decode(said["data"]).startswith(b"RIFF")
    assert said["transcript"].startswith("The ferry")


@check("pause")
def _(port: int, model: str) -> None:
    assert good(message(port, model)).json()["stop_reason"] == "pause_turn"


@check("old")
def _(port: int, model: str) -> None:
    asked = {
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
        "tools": [{"functionDeclarations": [{"name": "row"}]}],
    }
    for name, keys in {
        model + "+tools": {"name", "args"},
        "sim-tools": {"name", "args", "id"},
    }.items():
        reply = good(talk(port, request(f"/v1beta/models/{name}:generateContent", asked)))
        (part,) = reply.json()["candidates"][0]["content"]["parts"]
        assert part["functionCall"].keys() == keys


@check("refusal")
def _(port: int, model: str) -> None:
    message = good(chat(port, model)).json()["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "I'm sorry, I can't help with that.")
    deltas = [chunk["choices"][0]["delta"] for chunk in good(stream(port, model)).data[:-1]]
    assert "".join(delta.get("refusal") or "" for delta in deltas) == message["refusal"]


@check("filtered")
def _(port: int, model: str) -> None:
    assert good(chat(port, model)).json()["choices"][0]["finish_reason"] == "content_filter"
    last = good(stream(port, model)).data[-2]
    assert last["choices"][0]["finish_reason"] == "content_filter"


@check("400", "401", "402", "403", "404", "408", "500", "502", "503", "504", "529")
def _(port: int, model: str) -> None:
    for reply in (chat(port, model), stream(port, model)):
        assert reply.complete
        assert reply.status == int(model.removeprefix("sim-"))
        assert reply.json()["error"]["message"]


@check("429")
def _(port: int, model: str) -> None:
    reply = stream(port, model)
    assert (reply.status, reply.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert (reply.header("retry-after"), reply.header("retry-after-ms")) == ("2", "2000")
    assert reply.header("x-ratelimit-remaining-requests") == "0"


@check("status")
def _(port: int, model: str) -> None:
    reply = good_framing(stream(port, model))
    assert (reply.status, reply.json()["error"]["message"]) == (418, "Status 418, as you wished.")
    assert message(port, model).json()["type"] == "error"


@check("quota", "context", "filter")
def _(port: int, model: str) -> None:
    reply = chat(port, model)
    assert (reply.status, reply.json()["error"]["code"]) in {
        (429, "insufficient_quota"),
        (400, "context_length_exceeded"),
        (400, "content_filter"),
    }
    assert reply.header("retry-after") is None


@check("html", "html-200")
def _(port: int, model: str) -> None:
    reply = stream(port, model)
    assert reply.status == (200 if "200" in model else 502)
    assert reply.header("content-type") == "text/html"
    assert reply.body.startswith(b"<!DOCTYPE html>")


@check("empty")
def _(port: int, model: str) -> None:
    assert good(chat(port, model)).body == b""


@check("bad-json")
def _(port: int, model: str) -> None:
    with pytest.raises(ValueError, match="Unterminated"):
        good(chat(port, model)).json()


@check("retry-after")
def _(port: int, model: str) -> None:
    reply = chat(port, model)
    assert (reply.header("retry-after"), reply.header("retry-after-ms")) == ("7", None)


@check("retry-date")
def _(port: int, model: str) -> None:
    assert parsedate_to_datetime(chat(port, model).header("retry-after") or "").tzinfo


@check("fail")
def _(port: int, model: str) -> None:
    seen = [chat(port, model).status for _ in range(40)]
    assert set(seen) == {200, 503}


@check("fail-first")
def _(port: int, model: str) -> None:
    assert [chat(port, model).ended for _ in range(4)] == ["reset", "reset", "closed", "closed"]


@check("room")
def _(port: int, model: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        seen = Counter(pool.map(lambda _: chat(port, model).status, range(4)))
    assert seen == {200: 1, 503: 3}
    assert chat(port, model).status == 200


@check("at", "cut")
def _(port: int, model: str) -> None:
    reply = stream(port, model)
    assert (reply.status, reply.complete, reply.ended) == (200, False, "closed")
    count = 2 if "at=2" in model else 8
    assert len(reply.said.split()) == count
    assert "[DONE]" not in reply.data
    reply = chat(port, model)
    assert not reply.complete
    assert len(reply.body) < int(reply.header("content-length") or 0)


@check("at-byte")
def _(port: int, model: str) -> None:
    for reply in (stream(port, model), chat(port, model)):
        assert (reply.status, reply.complete, len(reply.body)) == (200, False, 40)
    for reply in (stream(port, "sim-reset-mid?at-byte=0"), chat(port, "sim-cut?at-byte=0")):
        assert (reply.status, reply.complete, reply.body) == (200, False, b"")
    assert good(chat(port, "sim-cut?at-byte=99999")).json()["choices"]


@check("garbage")
def _(port: int, model: str) -> None:
    reply = good(stream(port, model))
    said, _, rest = reply.body.partition(b"\xff\xfe")
    assert said.endswith(b"\n\n")
    assert said.count(b'"content":" ') == 1
    assert len(rest) == 254
    with pytest.raises(UnicodeDecodeError):
        good(chat(port, model)).json()


@check("cut-clean")
def _(port: int, model: str) -> None:
    reply = good(stream(port, model))
    assert len(reply.said.split()) == 8
    assert all(c["choices"][0]["finish_reason"] is None for c in reply.data)


@check("no-done")
def _(port: int, model: str) -> None:
    assert good(stream(port, model)).data[-1]["choices"][0]["finish_reason"] == "stop"


@check("stall")
def _(port: int, model: str) -> None:
    reply = stream(port, model, patience=SILENCE)
    assert (reply.ended, reply.said, reply.complete) == ("silent", "The ferry", False)
    assert good(stream(port, "sim?stall=60")).seconds >= 0.06
    assert chat(port, model, patience=SILENCE).ended == "silent"


@check("error-event", "error-done")
def _(port: int, model: str) -> None:
    data = good(stream(port, model)).data
    if model == "sim-error-done":
        assert data.pop() == "[DONE]"
    assert data[-1]["error"]["type"] == "server_error"
    assert "[DONE]" not in data
    data = good(stream(port, "sim-error-event+429?at=0")).data
    assert data[-1]["error"]["code"] == "rate_limit_exceeded"
    assert len(data) == 2, "before the first token"
    assert chat(port, "sim-error-event+429").status == 429, "a whole reply has no events"


@check("bad-event")
def _(port: int, model: str) -> None:
    data = good(stream(port, model)).data
    assert [type(chunk) for chunk in data].count(str) == 2  # the broken one and [DONE]
    assert data[-1] == "[DONE]"
    data = good(stream(port, "sim-bad-event=3?at=2")).data
    assert [type(chunk) for chunk in data] == [dict] * 3 + [str] * 3 + [dict] * 12 + [str]


@check("comments")
def _(port: int, model: str) -> None:
    reply = good(stream(port, model))
    assert reply.body.count(b"\n: comment ") + 1 == len(reply.data)
    assert reply.data[-1] == "[DONE]"


@check("keep-alive")
def _(port: int, model: str) -> None:
    reply = good(stream(port, model))
    assert reply.body.count(b": keep-alive\n\n") == 5
    assert reply.said
    mute = stream(port, model + "&cut&at=0")
    assert (mute.body.count(b": keep-alive\n\n"), mute.said, mute.complete) == (5, "", False)
    late = good(stream(port, "sim-stall=50?keep-alive=10&at=2&tokens=4"))
    pings = [part for part in late.body.split(b"\n\n") if part == b": keep-alive"]
    assert (len(pings), late.data[-1]) == (3 + 5, "[DONE]"), "before the first, and in its silence"
    whole = chat(port, model)
    assert (whole.body[:6], whole.json()["choices"][0]["index"]) == (b"\n" * 5 + b"{", 0)
    pinged = message(port, model, stream=True)
    assert pinged.body.count(b'event: ping\ndata: {"type":"ping"}\n\n') == 5


@check("flip")
def _(port: int, model: str) -> None:
    assert len(good(stream(port, model)).data) == len(stream(port, "sim").data) - 1


@check("blank", "crlf", "cr", "multiline", "fields", "no-space", "bom", "split", "bytes")
def _(port: int, model: str) -> None:
    unusual, plain = good(stream(port, model + "+unicode")), good(stream(port, "sim-unicode"))
    assert unusual.said == plain.said
    assert unusual.data[-1] == "[DONE]"
    body = unusual.body
    {
        "sim-blank": lambda: body.index(b"\n\n\n\ndata: "),
        "sim-crlf": lambda: body.index(b"\r\n\r\ndata: "),
        "sim-cr": lambda: body.index(b"}\r\rdata: "),
        "sim-multiline": lambda: body.index(b"\ndata:  "),
        "sim-fields": lambda: body.index(b"\nretry: 3000\ncolour: blue\nevent: message\ndata: "),
        "sim-no-space": lambda: body.index(b"\n\ndata:{"),
        "sim-bom": lambda: body.index(b"\xef\xbb\xbfdata: ", 0, 10),
        "sim-split": lambda: next(c for c in unusual.chunks if c[0] & 0xC0 == 0x80),
        "sim-bytes": lambda: unusual.raw.index(b"1\r\nd\r\n1\r\na\r\n1\r\nt\r\n1\r\na\r\n"),
    }[model]()


@check("hang", "close", "reset")
def _(port: int, model: str) -> None:
    reply = chat(port, model, patience=SILENCE if model == "sim-hang" else 10)
    expected = {"sim-hang": "silent", "sim-close": "closed", "sim-reset": "reset"}
    assert (reply.raw, reply.ended) == (b"", expected[model])


@check("reset-mid")
def _(port: int, model: str) -> None:
    for reply in (chat(port, model), stream(port, model)):
        assert (reply.status, reply.complete, reply.ended) == (200, False, "reset")
        assert reply.body


@check("long-length", "short-length")
def _(port: int, model: str) -> None:
    off = 10 if "long" in model else -10
    for reply in (chat(port, model), stream(port, model)):
        sent = reply.raw.partition(b"\r\n\r\n")[2]
        assert int(reply.header("content-length") or 0) == len(sent) + off
        assert reply.ended == "closed"
        assert reply.complete == (off < 0)


@check("chunked")
def _(port: int, model: str) -> None:
    reply = good(chat(port, model))
    assert reply.header("transfer-encoding") == "chunked"
    assert reply.header("content-length") is None


@check("bad-chunk", "bad-status")
def _(port: int, model: str) -> None:
    reply = chat(port, model)
    assert reply.trouble.startswith("illegal")
    assert not reply.complete


@check("http10")
def _(port: int, model: str) -> None:
    reply = good(chat(port, model))
    assert (reply.http, reply.header("content-length")) == (b"1.0", None)
    assert good(stream(port, model)).data[-1] == "[DONE]"


@check("no-length", "connection-close")
def _(port: int, model: str) -> None:
    asked = request("/v1/chat/completions", {"model": model}).replace(b"Connection: close\r\n", b"")
    reply = good(talk(port, asked))
    assert (reply.http, reply.header("connection"), reply.ended) == (b"1.1", "close", "closed")
    assert (reply.header("content-length") is None) == (model == "sim-no-length")


@check("hangup")
def _(port: int, model: str) -> None:
    asked = request("/v1/chat/completions", {"model": model}).replace(b"Connection: close\r\n", b"")
    reply = good(talk(port, asked))
    assert (reply.header("connection"), reply.ended) == (None, "closed")


@check("extra")
def _(port: int, model: str) -> None:
    reply = chat(port, model)
    assert reply.complete
    assert reply.trouble == "bytes after the end"


@check("1xx")
def _(port: int, model: str) -> None:
    assert good(stream(port, model)).infos == [100, 103]


@check("trailers")
def _(port: int, model: str) -> None:
    assert good(chat(port, model)).trailers == [(b"x-checksum", b"17")]


@check("huge-headers")
def _(port: int, model: str) -> None:
    assert len(good(chat(port, model)).header("x-huge") or "") == 65536


@check("many-headers")
def _(port: int, model: str) -> None:
    assert len(good(chat(port, model)).headers) > 200


@check("redirect")
def _(port: int, model: str) -> None:
    reply = chat(port, model)
    assert (reply.status, reply.header("location")) == (307, "/v1/chat/completions")


@check("gzip")
def _(port: int, model: str) -> None:
    assert good(chat(port, model)).header("content-encoding") == "gzip"
    assert whole_text(chat(port, model)) == whole_text(chat(port, "sim"))
    packed = good(stream(port, model))
    assert packed.said == good(stream(port, "sim")).said
    assert packed.data[-1] == "[DONE]"


@check("bomb")
def _(port: int, model: str) -> None:
    reply = good(stream(port, model))
    assert len(reply.body) < 200_000
    assert len(gzip.decompress(reply.body)) == 100 * 2**20 + 2
