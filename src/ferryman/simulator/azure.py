"""What Azure adds to OpenAI's API: results of its content filter, errors, dated versions.

https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference,
https://learn.microsoft.com/en-us/azure/ai-foundry/openai/concepts/content-filter
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from ferryman.simulator import chat, credentials
from ferryman.simulator.answer import Answer
from ferryman.simulator.ask import Ask, RefusedError, Request
from ferryman.simulator.errors import ERRORS, LIMITS
from ferryman.simulator.event import DONE, Event
from ferryman.simulator.format import Failure

SAFE = {"filtered": False, "severity": "safe"}
RESULTS = dict.fromkeys(("hate", "self_harm", "sexual", "violence"), SAFE)
PROMPT = [{"prompt_index": 0, "content_filter_results": RESULTS}]
HEADERS = {"apim-request-id": "6f1ed002-ab59-4a4c-9a3b-0f3b6f4c1e2d", "x-ms-region": "East US"}
MESSAGES = {
    "401": "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
           "provide a valid key for an active subscription and use a correct regional API endpoint "
           "for your resource.",
    "429": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded "
           "token rate limit of your current pricing tier. Please retry after 2 seconds.",
    "quota": "Requests have exceeded the quota of your current pricing tier. Request an increase.",
}  # fmt: skip


def check(request: Request, key: str) -> None:
    """The key; and a version, but below ``v1``."""
    if "/v1/" not in request.path and "api-version" not in request.query:
        raise RefusedError("Resource not found", status=404, code="404")
    credentials.azure(request, key)


def _judged(found: Answer) -> dict[str, Any]:
    """The filter's results for an answer."""
    if found.finish == "filter":
        return {**RESULTS, "violence": {"filtered": True, "severity": "high"}}
    return RESULTS


def whole(ask: Ask, found: Answer, ident: str) -> dict[str, Any]:
    """A ``chat.completion`` with the filter's results for the prompt and for each choice."""
    reply = chat.whole(ask, found, ident)
    for choice in reply["choices"]:
        choice["content_filter_results"] = _judged(found)
    return {**reply, "prompt_filter_results": PROMPT}


def stream(ask: Ask, found: Answer, ident: str) -> Iterator[Event]:
    """The chunks of a chat; the first judges the prompt and has no choices."""
    first = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    yield Event(msgspec.json.encode({**first, "prompt_filter_results": PROMPT}))
    for event in chat.stream(ask, found, ident):
        if event is DONE:
            yield event
            continue
        body = msgspec.json.decode(event.data)
        for choice in body["choices"]:
            choice["content_filter_results"] = _judged(found) if choice["finish_reason"] else {}
        yield msgspec.structs.replace(event, data=msgspec.json.encode(body))


def failure(word: str) -> Failure | None:
    """Azure's error for a word: OpenAI's where Azure has none of its own."""
    message = MESSAGES.get(word)
    if message is None:
        return ERRORS[word]
    status = 401 if word == "401" else 429
    limits = {"retry-after": "2", "retry-after-ms": "2000", **LIMITS} if word == "429" else {}
    return status, limits, _body(str(status), message)


def refusal(status: int, message: str, code: str) -> Failure:
    """Azure's error with a message of its own."""
    return status, {}, _body(code or str(status), message)


def _body(code: str, message: str) -> Any:
    return {"error": {"code": code, "message": message}}
