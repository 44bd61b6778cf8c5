"""The errors that providers send: status, body and headers, each as one of them words it."""

import time
from email.utils import formatdate
from typing import Any

from ferryman.simulator.directives import Behaviour
from ferryman.simulator.format import Failure

HTML = b"""<!DOCTYPE html>
<html>
<head><title>502 Bad Gateway</title></head>
<body>
<center><h1>502 Bad Gateway</h1></center>
<hr><center>edge-17</center>
</body>
</html>
"""


def _body(message: str, kind: str | None, code: Any = None, param: str | None = None) -> Any:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


LIMITS = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-limit-tokens": "30000",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-remaining-tokens": "712",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-reset-tokens": "2s",
}

_FILTER: Any = _body(
    "The response was filtered due to the prompt triggering the content management policy. Please "
    "modify your prompt and retry.",
    None,
    "content_filter",
    "prompt",
)
_FILTER["error"]["status"] = 400
_FILTER["error"]["innererror"] = {
    "code": "ResponsibleAIPolicyViolation",
    "content_filter_result": {"violence": {"filtered": True, "severity": "high"}},
}

ERRORS: dict[str, Failure] = {
    "400": (400, {}, _body(
        "Invalid value for 'temperature': expected a number between 0 and 2.",
        "invalid_request_error", "invalid_value", "temperature")),
    "401": (401, {"www-authenticate": "Bearer"}, _body(
        "Incorrect API key provided: sk-sim*****************0000.",
        "invalid_request_error", "invalid_api_key")),
    "402": (402, {}, {"error": {
        "message": "Insufficient credits. Add more to your account.", "code": 402}}),
    "403": (403, {}, _body(
        "Country, region, or territory not supported",
        "request_forbidden", "unsupported_country_region_territory")),
    "404": (404, {}, _body(
        "The model does not exist or you do not have access to it.",
        "invalid_request_error", "model_not_found")),
    "408": (408, {}, _body("Request timed out.", "timeout", "request_timeout")),
    "429": (429, {"retry-after": "2", "retry-after-ms": "2000", **LIMITS}, _body(
        "Rate limit reached for this model in organization org-sim on tokens per min (TPM): Limit "
        "30000, Used 29288, Requested 1712. Please try again in 2s.",
        "tokens", "rate_limit_exceeded")),
    "500": (500, {}, _body(
        "The server had an error while processing your request. Sorry about that!",
        "server_error")),
    "502": (502, {}, _body("Bad gateway.", "server_error")),
    "503": (503, {"retry-after": "1"}, _body(
        "The engine is currently overloaded, please try again later", "server_error")),
    "504": (504, {}, _body("The upstream did not answer in time.", "server_error")),
    "529": (529, {}, {"type": "error", "error": {
        "type": "overloaded_error", "message": "Overloaded"}}),
    "quota": (429, {}, _body(
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota", "insufficient_quota")),
    "context": (400, {}, _body(
        "This model's maximum context length is 8192 tokens. However, your messages resulted in "
        "9001 tokens. Please reduce the length of the messages.",
        "invalid_request_error", "context_length_exceeded", "messages")),
    "filter": (400, {}, _FILTER),
    "html": (502, {"content-type": "text/html"}, HTML),
    "html-200": (200, {"content-type": "text/html"}, HTML),
    "empty": (200, {}, b""),
    "bad-json": (200, {}, b'{"id":"chatcmpl-sim","object":"chat.completion","choices":[{"ind'),
}  # fmt: skip


def failure(name: str) -> Failure | None:
    """OpenAI's error for a word."""
    return ERRORS[name]


def dressed(found: Failure, wish: Behaviour) -> Failure:
    """An error with the ``retry-after`` that ``wish`` asks for."""
    status, headers, body = found
    headers = {"content-type": "application/json", **headers}
    if "retry-after" in wish:
        seconds = wish.number("retry-after")
        headers["retry-after"] = f"{seconds:g}"
        headers.pop("retry-after-ms", None)
    if "retry-date" in wish:
        when = time.time() + float(headers.get("retry-after", "2"))
        headers["retry-after"] = formatdate(when, usegmt=True)
        headers.pop("retry-after-ms", None)
    return status, headers, body


def refusal(status: int, message: str, code: str) -> Failure:
    """OpenAI's error with a message of its own."""
    body = _body(message, "invalid_request_error", code or None)
    return status, {"content-type": "application/json"}, body
