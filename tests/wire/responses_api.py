"""Answers as the Responses API gives them, whole and as its events, for the tests of its codec."""

import json
from typing import Any

from ferryman.ir.events import Begin, Choice, Event, Finish, FinishReason, Reply
from ferryman.ir.fold import unfold
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import Request
from ferryman.wire.format import Aim, ReplyContext
from ferryman.wire.openai_responses.encode import encode_request
from ferryman.wire.openai_responses.format import FORMAT
from ferryman.wire.openai_responses.request import decode_request
from ferryman.wire.openai_responses.stream import ResponsesDecoder
from tests.wire.turns import drained

assert FORMAT.client is not None and FORMAT.provider is not None
CLIENT, PROVIDER = FORMAT.client, FORMAT.provider
NAME = FORMAT.name
Wire = dict[str, Any]


def response(output: list[Wire], **fields: Any) -> Wire:
    """A finished response."""
    return {
        "id": "resp_68af4030592c81938ec0a5fbab4a3e9f05438e46b5f69a3b",
        "object": "response",
        "created_at": 1756315696,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": "gpt-5.6-sol",
        "output": output,
        "parallel_tool_calls": True,
        "service_tier": "default",
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": 120,
            "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 8},
            "output_tokens": 45,
            "output_tokens_details": {"reasoning_tokens": 32},
            "total_tokens": 165,
        },
        "metadata": {},
        **fields,
    }


def message(*parts: Wire, status: str = "completed") -> Wire:
    return {
        "id": "msg_68af40337e58819392e935fb404414d005438e46b5f69a3b",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": list(parts),
    }


def text(words: str, *annotations: Wire, logprobs: list[Wire] | None = None) -> Wire:
    return {
        "type": "output_text",
        "text": words,
        "annotations": list(annotations),
        "logprobs": logprobs or [],
    }


def reasoning(*summary: str, proof: str | None = "gAAAAABotEzS", number: int = 1) -> Wire:
    parts = [{"type": "summary_text", "text": words} for words in summary]
    return {
        "id": f"rs_68af40333fd88193ad1f4e{number}",
        "type": "reasoning",
        "summary": parts,
        "encrypted_content": proof,
    }


def call(name: str, arguments: str, number: int = 1) -> Wire:
    return {
        "id": f"fc_68af4033{number}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{name}_{number}",
        "name": name,
        "arguments": arguments,
    }


def custom(name: str, words: str, number: int = 1) -> Wire:
    return {
        "id": f"ctc_68af4033{number}",
        "type": "custom_tool_call",
        "status": "completed",
        "call_id": f"call_{name}_{number}",
        "name": name,
        "input": words,
    }


SEARCH = {
    "id": "ws_67ccf18f64008190a39b619f4c8455ef087bb177ab789d5c",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "positive news", "queries": ["positive news"]},
}
CITED = {
    "type": "url_citation",
    "start_index": 4,
    "end_index": 9,
    "url": "https://example.com/news",
    "title": "News",
}
FILE_CITED = {"type": "file_citation", "index": 3, "file_id": "file-1", "filename": "a.pdf"}
TOKENS = [
    {"token": "Hé", "bytes": [72, 195, 169], "logprob": -0.25, "top_logprobs": []},
    {
        "token": "llo",
        "bytes": [108, 108, 111],
        "logprob": -0.5,
        "top_logprobs": [{"token": "y", "bytes": [121], "logprob": -1.5}],
    },
]
INTERPRETER = {
    "id": "ci_1",
    "type": "code_interpreter_call",
    "status": "completed",
    "code": "print(1)",
    "container_id": "cntr_1",
    "outputs": None,
}
REFUSAL = {"type": "refusal", "refusal": "I can't help with that."}

ANSWERS: dict[str, Wire] = {
    "text": response([message(text("Hello there, 世界 👋"))]),
    "two parts": response([message(text("One."), text("Two."))]),
    "empty": response([]),
    "empty text": response([message(text(""))]),
    "thoughts": response([reasoning("**First**\n\nI look.", "Then."), message(text("Done."))]),
    "hidden thoughts": response([reasoning(), message(text("Done."))]),
    "thoughts that say nothing": response([reasoning(proof=None), message(text("Done."))]),
    "call": response([reasoning(), call("get_weather", '{"city":"Paris","city":"Rome"}')]),
    "parallel calls": response(
        [message(text("Let me see.")), *[call("look", f'{{"at":{n}}}', n) for n in range(3)]]
    ),
    "free text": response([custom("apply_patch", '*** Begin Patch\n+"ü"\n*** End Patch\n')]),
    "refusal": response([message(REFUSAL)]),
    "citations": response([SEARCH, message(text("See there for it", CITED, FILE_CITED))]),
    "logprobs": response([message(text("Héllo", logprobs=TOKENS))]),
    "ran by the provider": response([INTERPRETER, reasoning("ran it"), message(text("1"))]),
    "unknown item": response([{"type": "hologram", "shape": {"deep": [1, 2]}}]),
    "unknown part": response([message(text("See:"), {"type": "hologram", "deep": [1]})]),
    "limit": response(
        [message(text("Once upon"), status="incomplete")],
        status="incomplete",
        incomplete_details={"reason": "max_output_tokens"},
    ),
    "filter": response(
        [message(text("Once"))],
        status="incomplete",
        incomplete_details={"reason": "content_filter"},
    ),
    "steered": response([], status="incomplete", incomplete_details={"reason": "steered"}),
    "no usage": response([message(text("hi"))], usage=None),
}


class Stream:
    """Events as the API numbers them."""

    def __init__(self) -> None:
        self.events: list[Wire] = []

    def add(self, kind: str, **fields: Any) -> None:
        number = len(self.events)
        self.events.append({"type": kind, "sequence_number": number, **fields})

    def item(self, index: int, item: Wire) -> None:
        """An item between ``added`` and ``done``."""
        added = {**item, "status": "in_progress"}
        for name in ("content", "summary"):
            if name in item:
                added[name] = []
        for name in ("arguments", "input"):
            if name in item:
                added[name] = ""
        if item.get("encrypted_content"):
            added["encrypted_content"] = "of-the-beginning"
        self.add("response.output_item.added", output_index=index, item=added)
        place = {"item_id": item.get("id"), "output_index": index}
        for number, part in enumerate(item.get("content", ())):
            self._part({**place, "content_index": number}, part)
        for number, part in enumerate(item.get("summary", ())):
            at = {**place, "summary_index": number}
            empty = {"type": "summary_text", "text": ""}
            self.add("response.reasoning_summary_part.added", **at, part=empty)
            for piece in pieces(part["text"]):
                self.add("response.reasoning_summary_text.delta", **at, delta=piece)
            self.add("response.reasoning_summary_text.done", **at, text=part["text"])
            self.add("response.reasoning_summary_part.done", **at, part=part)
        for name, kind in (
            ("arguments", "function_call_arguments"),
            ("input", "custom_tool_call_input"),
        ):
            if name in item:
                for piece in pieces(item[name]):
                    self.add(f"response.{kind}.delta", **place, delta=piece)
                self.add(f"response.{kind}.done", **place, **{name: item[name]})
        if item["type"] == "web_search_call":
            for state in ("in_progress", "searching", "completed"):
                self.add(f"response.web_search_call.{state}", **place)
        self.add("response.output_item.done", output_index=index, item=item)

    def _part(self, place: Wire, part: Wire) -> None:
        if part["type"] not in ("output_text", "refusal"):
            self.add("response.content_part.added", **place, part={"type": part["type"]})
            self.add("response.content_part.done", **place, part=part)
            return
        refusal = part["type"] == "refusal"
        name = "refusal" if refusal else "text"
        kind = "refusal" if refusal else "output_text"
        empty = {**part, name: ""} if refusal else text("")
        self.add("response.content_part.added", **place, part=empty)
        words, tokens = part[name], part.get("logprobs") or []
        for number, piece in enumerate([t["token"] for t in tokens] or pieces(words)):
            more = {} if refusal else {"logprobs": tokens[number : number + 1]}
            self.add(f"response.{kind}.delta", **place, delta=piece, **more)
        for number, annotation in enumerate(part.get("annotations", ())):
            self.add(
                "response.output_text.annotation.added",
                **place,
                annotation_index=number,
                annotation=annotation,
            )
        self.add(f"response.{kind}.done", **place, **{name: words})
        self.add("response.content_part.done", **place, part=part)


def pieces(words: str) -> list[str]:
    return [words[at : at + 5] for at in range(0, len(words), 5)]


def events_of(answer: Wire) -> list[Wire]:
    """The events by which the API streams ``answer``."""
    stream = Stream()
    begun = {**answer, "status": "in_progress", "output": [], "usage": None}
    begun["incomplete_details"] = None
    stream.add("response.created", response=begun)
    stream.add("response.in_progress", response=begun)
    for index, item in enumerate(answer["output"]):
        stream.item(index, item)
    stream.add(f"response.{answer['status']}", response=answer)
    return stream.events


def sse(events: list[Wire]) -> bytes:
    """Events as they come over the wire."""
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())
        for event in events
    )


def read(*pieces: bytes) -> list[Event]:
    """The events of a stream, which keep the grammar."""
    return drained(ResponsesDecoder(), pieces)


def context(**fields: Any) -> ReplyContext:
    request = decode_request(
        json.dumps({"model": "m", "input": "hi", "stream": True, **fields}).encode(), "", False
    )
    return ReplyContext(request=request, receipt=Receipt(), request_id="req-1", now=1700000000)


def told(reply: Reply, asked: ReplyContext | None = None) -> bytes:
    """A reply as the stream that callers get."""
    encoder = CLIENT.stream_encoder(asked or context())
    return b"".join([encoder.encode(event) for event in unfold(reply)])


def said(data: bytes) -> list[Wire]:
    """The events of a stream of ours, each with its type as event name."""
    out = []
    for block in data.decode().removesuffix("\n\n").split("\n\n"):
        name, line = block.split("\n")
        out.append(json.loads(line.removeprefix("data: ")))
        assert name == f"event: {out[-1]['type']}"
    return out


def answer(*blocks: Any, reason: FinishReason = FinishReason.STOP, detail: str = "") -> Reply:
    finish = Finish(reason=reason, detail=detail)
    return Reply(begin=Begin(id="x", model="m"), choices=(Choice(blocks=blocks, finish=finish),))


def sent(request: Request, **aim: Any) -> tuple[Wire, Receipt]:
    """The body that a provider is sent, and what the translation cost."""
    receipt = Receipt()
    body = encode_request(request, Aim(model="there", **aim), receipt)
    return json.loads(body), receipt
