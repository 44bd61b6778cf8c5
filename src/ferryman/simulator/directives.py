"""The words that tell the simulator how to behave, and how they are read.

A list of words, each with an optional value: ``stall,at=3,tps=50``. Commas, ``+``, ``?``, ``&`` and
spaces separate words, so that a list fits into a model name: ``sim-stall?at=3&tps=50``. In JSON the
same is an object, which may also hold the reply's ``headers`` and ``body``; a list of such is a
script, one step for each call.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

SEPARATORS = re.compile(r"[+,?&\s]+")


class Directive(Struct, frozen=True):
    """One word."""

    name: str
    group: str
    """Heading it stands under in the documentation."""
    doc: str
    unit: str = ""
    """What its value counts; empty = it takes none."""
    bare: float | None = None
    """The value when it is written without one; None = a value is required."""


def _flag(name: str, group: str, doc: str) -> Directive:
    return Directive(name, group, doc)


TIME, SIZE, REPLY, ERROR = "Time", "Size and usage", "Content", "Errors"
STREAM, SSE, WIRE = "Broken streams", "Unusual but legal streams", "HTTP"

_ALL = (
    Directive("delay", TIME, "Waits before the first byte of the reply.", "ms"),
    Directive("ttft", TIME, "Waits between the head and the first token.", "ms"),
    Directive("tps", TIME, "Tokens per second; 0 = all at once.", "tokens/s"),
    Directive("drip", TIME, "Sends the whole reply slowly.", "bytes/s", 20),
    Directive("tokens", SIZE, "Visible output tokens; a token is a word.", "tokens"),
    Directive("per-chunk", SIZE, "Tokens in each chunk of a stream.", "tokens"),
    Directive("prompt", SIZE, "Says this many prompt tokens instead of the words.", "tokens"),
    Directive("cached", SIZE, "Says that this many prompt tokens came from a cache.", "tokens"),
    Directive("reasoning", SIZE, "Adds hidden reasoning tokens to the usage.", "tokens"),
    Directive(
        "cache-write", SIZE, "Says that this many prompt tokens went into a cache.", "tokens"
    ),
    _flag("no-usage", SIZE, "Leaves the usage out, asked for or not."),
    _flag("usage-last", SIZE, "Puts a stream's usage into the chunk with the finish reason."),
    _flag("usage-each", SIZE, "Puts the usage so far into every chunk of a stream."),
    _flag("echo", REPLY, "Answers with the last message's text, and tells of its media."),
    _flag("unicode", REPLY, "Answers in letters of two, three and four bytes."),
    Directive("tools", REPLY, "Calls this many of the request's tools.", "calls", 1),
    _flag("think", REPLY, "Sends reasoning text beside the answer."),
    _flag("preamble", REPLY, "Says its text before the tool calls."),
    _flag("json", REPLY, "Answers in JSON, asked for or not."),
    _flag("redacted", REPLY, "Sends encrypted reasoning beside the answer."),
    _flag("citations", REPLY, "Cites a source for its first words."),
    _flag("image", REPLY, "Sends a small image beside the text."),
    _flag("audio", REPLY, "Says its text in sound, too."),
    _flag("old", REPLY, "Behaves like an older model, where a vendor's models differ."),
    _flag("refusal", REPLY, "Refuses, in the format's own way."),
    _flag("filtered", REPLY, "Is stopped by a filter of content."),
    _flag("pause", REPLY, "Pauses a long turn, where the format has such an end."),
    _flag("400", ERROR, "Status 400: a wrong parameter."),
    _flag("401", ERROR, "Status 401: wrong API key."),
    _flag("402", ERROR, "Status 402: no credit."),
    _flag("403", ERROR, "Status 403: this region is not served."),
    _flag("404", ERROR, "Status 404: no such model."),
    _flag("408", ERROR, "Status 408: the provider's own timeout."),
    _flag("429", ERROR, "Status 429: rate limit, with the vendor's headers."),
    _flag("500", ERROR, "Status 500."),
    _flag("502", ERROR, "Status 502, as JSON."),
    _flag("503", ERROR, "Status 503: overloaded."),
    _flag("504", ERROR, "Status 504."),
    _flag("529", ERROR, "Status 529: overloaded, in another vendor's words."),
    Directive("status", ERROR, "This status: an error in the format's shape.", "status"),
    _flag("quota", ERROR, "The quota is used up: paying helps, waiting does not."),
    _flag("context", ERROR, "Status 400: the prompt is too long for the model."),
    _flag("filter", ERROR, "The prompt is stopped by a filter of content."),
    _flag("html", ERROR, "Status 502 with a page of HTML."),
    _flag("html-200", ERROR, "Status 200 with a page of HTML."),
    _flag("empty", ERROR, "Status 200 without a body."),
    _flag("bad-json", ERROR, "Status 200 with JSON that breaks off."),
    Directive("retry-after", ERROR, "Value of `retry-after` on errors.", "seconds"),
    _flag("retry-date", ERROR, "Gives `retry-after` as a date."),
    Directive("fail", ERROR, "Fails this share of calls, with 500 or the named error.", "%"),
    Directive("fail-first", ERROR, "Fails the first calls, then works.", "calls", 1),
    Directive("room", ERROR, "Fails calls while this many replies are under way.", "replies", 1),
    Directive("at", STREAM, "Where a fault happens; otherwise half-way.", "tokens"),
    Directive("at-byte", STREAM, "The same in bytes of the body, whole replies too.", "bytes"),
    _flag("cut", STREAM, "Connection closed in mid-stream, the chunked body unfinished."),
    _flag("cut-clean", STREAM, "Stream ends early, the chunked body properly finished."),
    _flag("no-done", STREAM, "Everything but the mark of the end, such as `[DONE]`."),
    Directive("stall", STREAM, "Silent in mid-stream; without a value for ever.", "ms", 0),
    _flag("error-event", STREAM, "An error event in a stream of status 200, then the end."),
    _flag("error-done", STREAM, "The same, followed by the mark of the end."),
    Directive(
        "bad-event", STREAM, "Breaks the JSON of this many events; the stream goes on.", "events", 1
    ),
    _flag("flip", STREAM, "Turns over the last bit of an event."),
    _flag("garbage", STREAM, "Bytes without meaning in place of the rest."),
    _flag("comments", SSE, "Comments between the events."),
    Directive(
        "keep-alive", SSE, "Comments (pings, blank lines) while nothing else comes.", "ms", 100
    ),
    _flag("blank", SSE, "Extra blank lines between events."),
    _flag("crlf", SSE, "Lines end in CR LF."),
    _flag("cr", SSE, "Lines end in CR."),
    _flag("multiline", SSE, "Each event's JSON over several `data:` lines."),
    _flag("fields", SSE, "`event:`, `id:` and `retry:` fields too, and one that is unknown."),
    _flag("no-space", SSE, "`data:` without a space after the colon."),
    _flag("bom", SSE, "Starts with a byte order mark."),
    _flag("split", SSE, "HTTP chunks end within letters and lines."),
    _flag("bytes", SSE, "Every byte is an HTTP chunk."),
    _flag("hang", WIRE, "Never answers."),
    _flag("close", WIRE, "Closes the connection instead of answering."),
    _flag("reset", WIRE, "Resets the connection instead of answering."),
    _flag("reset-mid", WIRE, "Resets the connection in the middle of the reply."),
    Directive("long-length", WIRE, "`content-length` promises more than follows.", "bytes", 10),
    Directive("short-length", WIRE, "`content-length` promises less than follows.", "bytes", 10),
    _flag("chunked", WIRE, "A whole reply in chunks instead of with a length."),
    _flag("bad-chunk", WIRE, "A chunk size that is no number, half-way."),
    _flag("bad-status", WIRE, "A status line that is none."),
    _flag("http10", WIRE, "HTTP/1.0, no length, ended by closing."),
    _flag("no-length", WIRE, "HTTP/1.1 without a length, ended by closing."),
    _flag("connection-close", WIRE, "Says `connection: close`, and does it."),
    Directive("hangup", WIRE, "Closes the idle connection unannounced after the reply.", "ms", 0),
    _flag("extra", WIRE, "Bytes after the reply that nobody asked for."),
    _flag("1xx", WIRE, "Replies 100 and 103 first."),
    _flag("trailers", WIRE, "Trailers after a chunked body."),
    Directive("huge-headers", WIRE, "A header of this size.", "KiB", 64),
    Directive("many-headers", WIRE, "This many headers.", "headers", 200),
    _flag("redirect", WIRE, "Status 307 to the same place."),
    _flag("gzip", WIRE, "Body compressed with gzip, even if not asked."),
    Directive("bomb", WIRE, "A small gzip body that unpacks to this much.", "MiB", 100),
)
DIRECTIVES = {directive.name: directive for directive in _ALL}


class DirectiveError(ValueError):
    """A word is not known or its value is no number; the message says which and what is right."""


class Behaviour(Struct, frozen=True):
    """What was asked for: words and their values (1 for those that take none)."""

    words: dict[str, float] = {}
    headers: dict[str, str] = {}
    """Of the reply, in place of those it would have."""
    body: bytes | None = None
    """The reply's own, in place of an answer."""
    fresh: bool = False
    """Whether the next call may be told something else."""

    def __contains__(self, name: str) -> bool:
        return name in self.words

    def number(self, name: str, default: float = 0) -> float:
        """The value of ``name``, or ``default`` when it is not there."""
        return self.words.get(name, default)

    def count(self, name: str, default: int = 0) -> int:
        """The same as an integer."""
        return int(self.words.get(name, default))

    def first(self, *names: str) -> str:
        """The first of ``names`` that was asked for, or an empty string."""
        return next((name for name in names if name in self.words), "")

    def over(self, other: "Behaviour") -> "Behaviour":
        """Both, with this one's values where they differ."""
        return Behaviour(
            {**other.words, **self.words},
            {**other.headers, **self.headers},
            other.body if self.body is None else self.body,
            self.fresh or other.fresh,
        )


def parse(text: str) -> Behaviour:
    """Read a list of words. Raises :class:`DirectiveError`."""
    found = {}
    for item in SEPARATORS.split(text):
        if item:
            name, _, value = item.partition("=")
            found[name] = _value(name, value)
    return Behaviour(found)


def from_model(model: str) -> Behaviour:
    """Read a model name: words after ``sim-`` or ``sim?``; any other name asks for nothing."""
    if re.match(r"sim[-+,?&]", model):
        return parse(model[4:])
    return Behaviour()


def from_field(field: Any) -> Behaviour:
    """Read a text of words, or an object of words and values, ``headers`` and ``body``."""
    if field is None:
        return Behaviour()
    if isinstance(field, str):
        return parse(field)
    if not isinstance(field, dict):
        raise DirectiveError(
            'it has to be a text like "tokens=5,cut", an object like {"tokens": 5}, or a list of '
            'them, one for each call: ["503", "503", ""]'
        )
    headers, body = field.get("headers") or {}, field.get("body")
    if not isinstance(headers, dict):
        raise DirectiveError('`headers` has to be an object like {"retry-after": "2"}')
    words = {
        name: _value(name, "" if value is True else str(value))
        for name, value in field.items()
        if value is not False and name not in ("headers", "body")
    }
    return Behaviour(
        words,
        {name.lower(): str(value) for name, value in headers.items()},
        body.encode() if isinstance(body, str) else body and msgspec.json.encode(body),
    )


def from_script(script: Any, turn: Callable[[], int]) -> Behaviour:
    """Read what :func:`from_field` reads, the same as JSON text, or a list of such.

    Of a list the call with the number ``turn()``, from 0, gets its own step, and all calls after
    the last step get that. Raises :class:`DirectiveError`.
    """
    if isinstance(script, str) and script.lstrip()[:1] in ("{", "["):
        try:
            script = msgspec.json.decode(script)
        except msgspec.DecodeError as error:
            raise DirectiveError(f"the script is no JSON: {error}") from None
    if not isinstance(script, list):
        return from_field(script)
    steps = [from_field(step) for step in script]
    if not steps:
        raise DirectiveError('a script without steps says nothing; [""] is one of a good reply')
    return msgspec.structs.replace(steps[min(turn(), len(steps) - 1)], fresh=True)


def _value(name: str, text: str) -> float:
    known = DIRECTIVES.get(name)
    if known is None:
        words = ", ".join(DIRECTIVES)
        raise DirectiveError(f"the simulator does not know the word `{name}`. Known: {words}")
    if not known.unit:
        if text:
            raise DirectiveError(f"`{name}` takes no value (`{name}={text}`)")
        return 1
    if not text and known.bare is not None:
        return known.bare
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1e9:
        raise DirectiveError(f"`{name}` needs a number ({known.unit}), as in `{name}=10`")
    return value
