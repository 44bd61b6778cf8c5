"""Rows of the fault wall whose replies are told to the byte, since no word makes them."""

import json
from typing import Any

from ferryman.simulator import text
from tests.flow.fault_rows import (
    BEGUN,
    BROKE,
    BUSY,
    COHERE,
    CONVERSE,
    FAILED,
    FILTERED,
    FIRST,
    FREE,
    GENERATE,
    LATE,
    LIMITED,
    MESSAGES,
    RESPONSES,
    SHORT,
    SPOKEN,
    WORDS,
    WRONG,
    Row,
    Script,
    error,
)  # fmt: skip

TOKENS = text.tokens(WORDS, text.PLAIN)
SEPARATORS = "one\u2028two\u2029three\u0085four\x1cfive"
"""Letters that other notions of a line break take for one."""
DONE = "[DONE]"
LONG = json.dumps({"cargo": "apples, goats and a letter; " * 40_000})
"""Arguments of more than a megabyte."""
TWICE = '{"pier":"north","pier":"south"}'
"""A name twice: who decodes and encodes it again loses one."""
NO_JSON = '{"pier":"nor'


def events(*told: Any, end: str = "\n\n") -> Script:
    """A stream of these events: objects, or texts as they are; named by their ``type``."""
    lines = []
    for each in told:
        kind = each.get("type", "") if isinstance(each, dict) else ""
        name = f"event: {kind}\n" if kind and "object" not in each else ""
        raw = each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)
        lines.append(f"{name}data: {raw}")
    return {"headers": {"content-type": "text/event-stream"}, "body": "\n\n".join(lines) + end}


def in_pieces(words: str, size: int = 32_768) -> list[str]:
    return [words[i : i + size] for i in range(0, len(words), size)]


# -- in OpenAI's chat format ----------------------------------------------------------------------


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [choice]}  # fmt: skip


ROLE = chunk({"role": "assistant", "content": ""})
SAID = [chunk({"content": token}) for token in TOKENS]
STOP = chunk({}, "stop")
ANSWER = [ROLE, *SAID, STOP]
DOWN = {"error": {"code": "content_filter_error", "message": "The contents are not filtered"}}


def completion(message: dict[str, Any], finish: str = "stop", **more: Any) -> Script:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}
    return {"body": {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
                     "choices": [choice | more], "usage": usage}}  # fmt: skip


def calling(arguments: str) -> tuple[Script, Script]:
    """A tool call with these arguments, whole and as a stream."""
    call = {"id": "call_1", "type": "function", "function": {"name": "t", "arguments": ""}}
    opening = chunk({"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]})
    pieces = [chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
              for piece in in_pieces(arguments)]  # fmt: skip
    whole = {**call, "function": {"name": "t", "arguments": arguments}}
    return (
        completion({"content": None, "tool_calls": [whole]}, "tool_calls"),
        events(opening, *pieces, chunk({}, "tool_calls"), DONE),
    )


def called(name: str, arguments: str) -> Row:
    whole, stream = calling(arguments)
    return Row(name, whole=whole, stream=stream, answer="", called=arguments, finish="tool_calls")


LATE_WORDS = [ROLE, *SAID[:SPOKEN]]
ERROR_CHUNK = {**chunk({"content": ""}, "error"), "error": {"code": 502, "message": "Gone"}}
CALL_FILTER = "function_call_filter: UNEXPECTED_TOOL_CALL"
CHAT_REPLIES = [
    Row("letters like line ends", whole=completion({"content": SEPARATORS}),
        stream=events(ROLE, chunk({"content": SEPARATORS}), STOP, DONE), answer=SEPARATORS),
    Row("no choices at first", stream=events({**ROLE, "choices": [], "prompt_filter_results": []},
        *ANSWER, DONE)),
    Row("unknown events", stream=events(ROLE, {"object": "chat.progress", "note": 1}, *SAID,
        {"object": "chat.progress", "choices": []}, STOP, DONE)),
    Row("refusal", "refusal", answer="", refusal="I'm sorry, I can't help with that."),
    Row("cut by its length", whole=completion({"content": BEGUN}, "length"),
        stream=events(*LATE_WORDS, chunk({}, "length"), DONE), answer=BEGUN, finish="length"),
    Row("filtered in the middle", whole=completion({"content": BEGUN}, "content_filter",
        content_filter_results={"violence": {"filtered": True, "severity": "high"}}),
        stream=events(*LATE_WORDS, chunk({}, "content_filter"), DONE), answer=BEGUN,
        finish="content_filter"),
    Row("filter is down", whole=completion({"content": FIRST}, content_filter_result=DOWN),
        stream=events(ROLE, *SAID, chunk({}, "stop", content_filter_result=DOWN), DONE),
        shows="content_filter_error"),
    Row("call filtered", whole=completion({"content": None}, CALL_FILTER),
        stream=events(ROLE, chunk({}, CALL_FILTER), DONE), answer="", finish=CALL_FILTER),
    Row("error beside words", kind=FAILED, stream=events(ROLE, ERROR_CHUNK, DONE),
        late=events(*LATE_WORDS, ERROR_CHUNK, DONE), seen=200),
    Row("end without blank line", stream=events(*ANSWER, DONE, end="")),
    Row("end twice", stream=events(*ANSWER, DONE, DONE)),
    Row("words after the end", stream=events(*ANSWER, DONE, *SAID, {"error": {"message": "no"}})),
    Row("nothing but the end", kind=WRONG, stream=events(DONE), seen=200),
    Row("nothing at all", kind=SHORT, stream=events(end=""), seen=200),
    Row("nothing but a role", kind=SHORT, stream=events(ROLE), seen=200),
    Row("no answer in it", kind=WRONG, whole={"body": {"message": "ok"}}, seen=200),
    Row("zip, then garbage", kind=SHORT, stream="gzip,garbage,at=0,tps=50",
        late=f"gzip,garbage,at={SPOKEN + 1},tps=50", seen=200,
        but={"stream": {"kind": WRONG}}),
    Row("comments, then silence", kind=LATE, whole="keep-alive=100,ttft=60000",
        late=f"stall,keep-alive=100,at={SPOKEN}", seen=200, quick=True),
    Row("blank lines, then an answer", whole="keep-alive=20,ttft=100"),
    called("call of a megabyte", LONG),
    called("call with a name twice", TWICE),
    called("call that is no json", NO_JSON),
]  # fmt: skip

# -- in the others --------------------------------------------------------------------------------

START = {"type": "message_start", "message": {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
    "stop_reason": None, "usage": {"input_tokens": 4, "output_tokens": 0}}}  # fmt: skip
BLOCK_STOP, MESSAGE_STOP = {"type": "content_block_stop", "index": 0}, {"type": "message_stop"}


def block_start(block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": block}


def block_delta(**delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


def message_end(reason: str) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason},
            "usage": {"output_tokens": 6}}  # fmt: skip


OPENED = [START, block_start({"type": "text", "text": ""})]
TEXT = [block_delta(type="text_delta", text=token) for token in TOKENS]
CLOSED = [BLOCK_STOP, message_end("end_turn")]


def using(arguments: str) -> Script:
    """A tool call with these arguments, as a stream of messages."""
    pieces = [block_delta(type="input_json_delta", partial_json=piece)
              for piece in in_pieces(arguments)]  # fmt: skip
    tool = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {}}
    return events(START, block_start(tool), *pieces, BLOCK_STOP, message_end("tool_use"),
                  MESSAGE_STOP)  # fmt: skip


def used(name: str, arguments: str) -> Row:
    return Row(name, stream=using(arguments), answer="", called=arguments, finish="tool_calls")


STOPPED = Row("prompt filtered", "filter", FILTERED, 400, **FREE)
LIMIT = {"type": "rate_limit_error", "message": "Usage has increased too fast: acceleration limit"}
MESSAGES_REPLIES = [
    Row("ramp too fast", error(429, {"type": "error", "error": LIMIT}, retry_after="20"), LIMITED,
        429, hint=20, **FREE),
    Row("no credit", "402", BROKE, 402, event="402", **FREE),
    STOPPED,
    Row("unknown events", stream=events(START, {"type": "future", "words": "no"}, *OPENED[1:],
        {"type": "ping"}, block_delta(type="future_delta", text="no"), *TEXT, *CLOSED,
        MESSAGE_STOP)),
    Row("end twice", stream=events(*OPENED, *TEXT, *CLOSED, MESSAGE_STOP, MESSAGE_STOP)),
    Row("words after the end", stream=events(*OPENED, *TEXT, *CLOSED, MESSAGE_STOP, TEXT[0])),
    Row("pings for ever", kind=LATE, stream="keep-alive=100,ttft=60000",
        late=f"stall,keep-alive=100,at={SPOKEN}", seen=200, quick=True),
    used("call of a megabyte", LONG),
    used("call with a name twice", TWICE),
    used("call that is no json", NO_JSON),
]  # fmt: skip


def candidate(words: str = "", finish: str = "") -> dict[str, Any]:
    one: dict[str, Any] = {"index": 0}
    if words:
        one["content"] = {"role": "model", "parts": [{"text": words}]}
    if finish:
        one["finishReason"] = finish
    return {"candidates": [one], "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}}


def used_up(quota: str, delay: str, words: str = "") -> Script:
    details = [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": quota}],
        },
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    told = {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details,
            "message": f"You exceeded your current quota.{words}"}  # fmt: skip
    return error(429, {"error": told})


MALFORMED = candidate(finish="MALFORMED_FUNCTION_CALL")
GENERATE_REPLIES = [
    Row("no answer", {"body": MALFORMED}, FAILED, seen=200, stream=events(MALFORMED),
        late=events(*[candidate(token) for token in TOKENS[:SPOKEN]], MALFORMED)),
    Row("quota for hours", used_up("RequestsPerMinute", "36000s"), LIMITED, 429, hint=3600,
        **FREE),
    Row("quota of nothing", used_up("RequestsPerMinute", "20s", " limit: 0, model: m"), LIMITED,
        429, hint=3600, **FREE),
    Row("safety in the middle", stream=events(*[candidate(token) for token in TOKENS[:SPOKEN]],
        candidate(finish="SAFETY")), whole={"body": candidate(BEGUN, "SAFETY")}, answer=BEGUN,
        finish="content_filter"),
    Row("unknown events", stream=events({"progress": 1}, *[candidate(token) for token in TOKENS],
        {"candidates": []}, candidate(finish="STOP"))),
]  # fmt: skip


def told(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": kind, **members}


RESPONSE = {"id": "resp_1", "status": "in_progress", "model": "m", "output": [],
            "created_at": 1}  # fmt: skip
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress",
           "content": []}  # fmt: skip
PART = {"type": "output_text", "text": "", "annotations": []}
AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
CREATED = [told("response.created", response=RESPONSE)]
ITEM = [told("response.output_item.added", output_index=0, item=MESSAGE),
        told("response.content_part.added", **AT, part=PART)]  # fmt: skip
DELTAS = [told("response.output_text.delta", **AT, delta=token) for token in TOKENS]
FULL = {**MESSAGE, "status": "completed", "content": [{**PART, "text": FIRST}]}
ENDED = [told("response.output_text.done", **AT, text=FIRST),
         told("response.content_part.done", **AT, part={**PART, "text": FIRST}),
         told("response.output_item.done", output_index=0, item=FULL)]  # fmt: skip
COMPLETED = told("response.completed", response={**RESPONSE, "status": "completed",
                 "output": [FULL]})  # fmt: skip


def response_failed(code: str) -> dict[str, Any]:
    broken = {"code": code, "message": "Something went wrong"}
    return told("response.failed", response={**RESPONSE, "status": "failed", "error": broken})


def failing(name: str, kind: str, code: str) -> Row:
    end = response_failed(code)
    return Row(name, kind=kind, stream=events(*CREATED, end), seen=200,
               late=events(*CREATED, *ITEM, *DELTAS[:SPOKEN], end))  # fmt: skip


RESPONSES_REPLIES = [
    failing("failed", FAILED, "server_error"),
    failing("failed by a limit", LIMITED, "rate_limit_exceeded"),
    failing("failed as overloaded", BUSY, "server_is_overloaded"),
    Row("unknown events", stream=events(*CREATED, told("response.future", note=1), *ITEM,
        told("response.output_text.future", **AT, delta="no"), *DELTAS, *ENDED, COMPLETED)),
    Row("end twice", stream=events(*CREATED, *ITEM, *DELTAS, *ENDED, COMPLETED, COMPLETED, DONE)),
    Row("words after the end", stream=events(*CREATED, *ITEM, *DELTAS, *ENDED, COMPLETED,
        DELTAS[0])),
]  # fmt: skip
CONVERSE_REPLIES = [
    STOPPED,
    Row("wrong checksum", kind=WRONG, stream="flip,at=0", late=f"flip,at={SPOKEN}", seen=200),
]
COHERE_REPLIES = [Row("no credit", "402", BROKE, 402, **FREE)]
ALL = {
    MESSAGES: MESSAGES_REPLIES, GENERATE: GENERATE_REPLIES, RESPONSES: RESPONSES_REPLIES,
    CONVERSE: CONVERSE_REPLIES, COHERE: COHERE_REPLIES,
}  # fmt: skip
