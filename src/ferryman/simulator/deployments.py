"""Azure OpenAI: what its endpoints add to OpenAI's formats, and how it refuses.

https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference,
https://learn.microsoft.com/en-us/azure/ai-foundry/openai/concepts/content-filter-annotations
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ferryman.simulator import errors
from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask, RefusedError, Request
from ferryman.simulator.event import DONE, Event
from ferryman.simulator.format import Failure

_CATEGORIES = ("hate", "self_harm", "sexual", "violence")
SAFE: dict[str, Any] = {name: {"filtered": False, "severity": "safe"} for name in _CATEGORIES}
"""What the filter says of content that it lets through."""
BLOCKED = SAFE | {"violence": {"filtered": True, "severity": "high"}}
PROMPT = [{"prompt_index": 0, "content_filter_results": SAFE}]
FIRST = {
    "choices": [], "created": 0, "id": "", "model": "", "object": "",
    "prompt_filter_results": PROMPT,
}  # fmt: skip
"""The chunk before the first: what the filter says of the prompt, and no choices."""

Whole = Callable[[Ask, Answer, str], dict[str, Any]]
Stream = Callable[[Ask, Answer, str], Iterator[Event]]
Read = Callable[[Request], Ask]


def dated(read: Read) -> Read:
    """``read`` where the query must say which ``api-version`` is meant."""

    def checked(request: Request) -> Ask:
        if not request.query.get("api-version"):
            raise RefusedError("Resource not found", status=404, code="404")
        return read(request)

    return checked


def whole(make: Whole) -> Whole:
    """Whole replies of ``make`` with what the filter says of prompt and answer."""

    def annotated(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
        reply = make(ask, found, ident)
        for choice in reply["choices"]:
            choice["content_filter_results"] = _results(found)
        return reply | {"prompt_filter_results": PROMPT}

    return annotated


def stream(make: Stream) -> Stream:
    """Streams of ``make`` with the same, that of the prompt in a chunk of its own."""

    def annotated(ask: Ask, found: Answer, ident: str) -> Iterator[Event]:
        yield Event(msgspec.json.encode(FIRST))
        for event in make(ask, found, ident):
            if event is DONE:
                yield event
                continue
            body = msgspec.json.decode(event.data)
            for choice in body["choices"]:
                ends = choice["finish_reason"] is not None
                choice["content_filter_results"] = (
                    _results(found) if event.tokens or (ends and found.finish == "filter") else {}
                )
            yield msgspec.structs.replace(event, data=msgspec.json.encode(body))

    return annotated


def _results(found: Answer) -> dict[str, Any]:
    return BLOCKED if found.finish == "filter" else SAFE


def _body(code: str, message: str) -> Any:
    return {"error": {"code": code, "message": message}}


_LIMITS = {
    "retry-after": "2",
    "retry-after-ms": "2000",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-remaining-tokens": "712",
}
ERRORS: dict[str, Failure] = {
    "401": (401, {}, _body("401", "Access denied due to invalid subscription key or wrong API "
            "endpoint.")),
    "403": (403, {}, _body("403", "Access denied due to Virtual Network/Firewall rules.")),
    "404": (404, {}, _body("DeploymentNotFound", "The API deployment for this resource does not "
            "exist. If you created the deployment within the last 5 minutes, please wait a moment "
            "and try again.")),
    "408": (408, {}, _body("Timeout", "The operation was timeout.")),
    "429": (429, _LIMITS, _body("429", "Requests to the ChatCompletions_Create Operation under "
            "Azure OpenAI API have exceeded token rate limit of your current OpenAI S0 pricing "
            "tier. Please retry after 2 seconds.")),
    "500": (500, {}, _body("InternalServerError", "Backend returned unexpected response. Please "
            "contact Microsoft for help.")),
    "503": (503, {"retry-after": "1"}, _body("NoCapacity", "The system is currently experiencing "
            "high demand and cannot process your request.")),
}  # fmt: skip
"""Errors that differ from OpenAI's."""


def failure(word: str) -> Failure | None:
    """Azure's error for a word; most are OpenAI's."""
    return ERRORS.get(word) or errors.failure(word)


def refusal(status: int, message: str, code: str) -> Failure:
    """Azure's error with a message of its own. What the gateway in front of the models says is
    of another shape than what the models' API says.
    """
    if status in (401, 404, 405):
        return status, {}, _body(code or str(status), message)
    return errors.refusal(status, message, code)
