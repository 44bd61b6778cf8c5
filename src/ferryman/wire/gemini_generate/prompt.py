"""Messages as contents of a request.

https://ai.google.dev/api/caching#Content, https://ai.google.dev/gemini-api/docs/function-calling,
https://ai.google.dev/gemini-api/docs/thought-signatures. What one side says in a row is one content
where calls or their results are in it: the service counts a turn's results against its calls, and
looks for a step's signature at the first call of the content.

Quirks heeded: ``no_call_ids``, ``no_urls``, ``need_signature``, ``media_in_results``,
``part_resolution`` (see ``encode.py``).
"""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from ferryman.ir.receipt import Receipt
from ferryman.ir.request import (
    Block,
    Media,
    MediaKind,
    Message,
    Opaque,
    Refusal,
    Request,
    Role,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from ferryman.wire.carry import object_arguments, unsupported, words_alone
from ferryman.wire.gemini_generate.blocks import wire_blob, wire_file
from ferryman.wire.gemini_generate.results import wire_response
from ferryman.wire.gemini_generate.types import (
    NAME,
    Blob,
    FileData,
    FunctionCall,
    FunctionResponse,
    Part,
    Resolution,
    ResultPart,
    WireContent,
)

_encode = msgspec.json.Encoder().encode
_JOINING = (ToolCall, ToolResult)
_LEVELS = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}
NO_VALIDATION = "skip_thought_signature_validator"
"""What the service takes for the signature of a call that its models did not make
(https://ai.google.dev/gemini-api/docs/thought-signatures#faqs)."""


class Prompt:
    """A request's messages on their way to contents."""

    def __init__(self, request: Request, quirks: frozenset[str], receipt: Receipt) -> None:
        self._own = request.origin == NAME
        self._quirks = quirks
        self._receipt = receipt
        self._request = request
        self._calls: dict[str, tuple[str, int]] = {}
        """Id of a call → its name and its place among all."""
        self._contents: list[WireContent] = []
        self._run: list[Part | Raw] = []
        self._role: Role | None = None
        self._joins = False
        """True when the open content has calls or results in it."""
        self._orders: list[tuple[int, int]] = []
        """(place in the run, place of its call) of each result in the run."""
        self.system: list[Part] = []

    def write(self) -> list[WireContent]:
        """The contents; the system instruction is in ``system`` afterwards.

        Raises :class:`GatewayError` (400).
        """
        messages = self._request.messages
        lead = 0
        while lead < len(messages) and messages[lead].role in (Role.SYSTEM, Role.DEVELOPER):
            self._system(messages[lead], f"messages[{lead}]")
            lead += 1
        for place, text in enumerate(words_alone(messages)[lead:], lead):
            if text:
                self._flush()
                role = "model" if messages[place].role is Role.ASSISTANT else "user"
                self._contents.append(WireContent([Part(text=text)], role))
            else:
                self._message(messages[place], f"messages[{place}]")
        self._flush()
        if not self._contents and self.system:
            # The service wants a content; what it is told then is what it is asked.
            self._receipt.alter("messages[0].role", "user")
            self._contents.append(WireContent(list(self.system), "user"))
            self.system = []
        return self._contents

    def _system(self, message: Message, path: str) -> None:
        if message.name:
            self._receipt.drop(f"{path}.name")
        for block in message.blocks:
            if isinstance(block, Text):
                self._cached(block, path)
                if block.text:
                    self.system.append(Part(text=block.text))
            elif isinstance(block, Opaque):
                self._receipt.drop(f"{path}.{block.kind}")
            else:
                self._receipt.drop(f"{path}.{type(block).__name__.lower()}")

    def _message(self, message: Message, path: str) -> None:
        role = Role.ASSISTANT if message.role is Role.ASSISTANT else Role.USER
        if message.role in (Role.SYSTEM, Role.DEVELOPER):
            self._receipt.alter(f"{path}.role", "user")
        if message.name:
            self._receipt.drop(f"{path}.name")
        joins = False
        for block in message.blocks:
            if isinstance(block, _JOINING):
                joins = True
                break
        if role is not self._role or (role is Role.USER and not (joins and self._joins)):
            self._flush()
            self._role = role
        self._joins = self._joins or joins
        for block in message.blocks:
            if role is Role.ASSISTANT:
                self._model_block(block, path)
            else:
                self._user_block(block, path)

    def _flush(self) -> None:
        """The open content is complete."""
        if self._role is None:
            return
        if self._run:
            if len(self._orders) > 1:
                self._sort_results()
            role = "model" if self._role is Role.ASSISTANT else "user"
            self._contents.append(WireContent(self._run, role))
        self._run, self._role, self._joins, self._orders = [], None, False, []

    def _sort_results(self) -> None:
        """Results in the order of their calls: without ids that is what ties them together."""
        places = [place for place, _ in self._orders]
        parts = [self._run[place] for place, _ in sorted(self._orders, key=lambda pair: pair[1])]
        for place, part in zip(places, parts, strict=True):
            self._run[place] = part

    # --- the user ---------------------------------------------------------------------------------

    def _user_block(self, block: Block, path: str) -> None:
        if isinstance(block, Text):
            self._cached(block, path)
            if block.text:
                self._run.append(Part(text=block.text, thought_signature=self._sign(block, path)))
        elif isinstance(block, Media):
            self._media(block, path)
        elif isinstance(block, ToolResult):
            self._result(block, path)
        else:
            self._odd(block, path)

    def _odd(self, block: Block, path: str) -> None:
        """A block that is rarely where it is."""
        if isinstance(block, Opaque):
            if block.origin == NAME:
                self._run.append(Raw(block.raw))
            else:
                self._receipt.drop(f"{path}.{block.kind}")
        elif isinstance(block, Refusal):
            self._receipt.alter(f"{path}.refusal", "text")
            if block.text:
                self._run.append(Part(text=block.text))
        else:
            raise unsupported(
                f"'{path}' holds a {type(block).__name__} that its role cannot say.", path
            )

    def _media(self, media: Media, path: str) -> None:
        self._cached(media, path)
        name = f"{path}.{media.kind}"
        source = media.source
        if media.transcript and source.file_id and source.origin != NAME:
            # Sound that another provider made and keeps: what was said is all there is.
            self._receipt.alter(name, "its transcript")
            self._run.append(Part(text=media.transcript))
            return
        self._lost(media, name)
        if media.context:
            self._receipt.alter(f"{name}.context", "text before it")
            self._run.append(Part(text=media.context))
        part = Part(thought_signature=self._sign(media, path))
        part.inline_data, part.file_data = self._data(media, name)
        if media.name and not self._own:
            self._receipt.drop(f"{name}.name")
        if media.detail in _LEVELS and ("part_resolution" in self._quirks or self._own):
            part.media_resolution = Resolution(_LEVELS[media.detail])
        elif media.detail not in ("", "auto"):
            self._receipt.drop(f"{name}.detail")
        self._run.append(part)

    def _lost(self, media: Media, name: str) -> None:
        if media.cite:
            self._receipt.drop(f"{name}.citations")
        if media.transcript:
            self._receipt.drop(f"{name}.transcript")

    def _data(self, media: Media, name: str) -> tuple[Blob | None, FileData | None]:
        """The bytes, or where they are."""
        source = media.source
        if source.url and "no_urls" in self._quirks:
            raise unsupported(
                f"'{name}' is a URL, which this model's provider does not fetch; send the bytes.",
                name,
            )
        if source.file_id and source.origin != NAME:
            raise unsupported(
                f"'{name}' is a file stored with another provider; send the bytes instead.", name
            )
        file = wire_file(media)
        blob = wire_blob(media) if file is None else None
        if file is None and blob is None:
            raise unsupported(
                f"'{name}' has no media type, which this model's provider needs, such as"
                f" {_EXAMPLES[media.kind]}.",
                name,
            )
        if self._own and media.name:
            if blob is not None:
                blob.display_name = media.name
            elif file is not None:
                file.display_name = media.name
        return blob, file

    def _result(self, result: ToolResult, path: str) -> None:
        path = f"{path}.tool_result"
        name, order = self._calls.get(result.call_id, ("", len(self._calls)))
        name = name or result.name
        if not name:
            raise unsupported(
                f"'{path}' answers the call '{result.call_id[:80]}', which no earlier message"
                " makes; this model's provider wants the name of the tool with its result.",
                path,
            )
        self._cached(result, path)
        said = FunctionResponse(name=name, response=wire_response(result))
        if "no_call_ids" not in self._quirks:
            said.id = result.call_id or None
        self._orders.append((len(self._run), order))
        self._run.append(Part(function_response=said))
        within: list[ResultPart] = []
        beside: list[Media] = []
        texts_after = False
        for block in result.blocks:
            if isinstance(block, Media):
                held = self._within(block, path)
                if held is not None:
                    within.append(held)
                else:
                    beside.append(block)
            elif isinstance(block, Opaque):
                self._receipt.drop(f"{path}.{block.kind}")
            elif within or beside:
                texts_after = True
        if texts_after:
            self._receipt.alter(path, "its texts before its media")
        said.parts = within or None
        for media in beside:
            self._receipt.alter(f"{path}.{media.kind}", "a part of its own after it")
            self._media(media, path)

    def _within(self, media: Media, path: str) -> ResultPart | None:
        """A medium as part of the result itself; None where it has to stand beside it."""
        if not (self._own or "media_in_results" in self._quirks):
            return None
        if (media.source.url or media.source.file_id) and not self._own:
            return None
        name = f"{path}.{media.kind}"
        self._cached(media, path)
        self._lost(media, name)
        if media.context:
            self._receipt.drop(f"{name}.context")
        if media.detail not in ("", "auto"):
            self._receipt.drop(f"{name}.detail")
        blob, file = self._data(media, name)
        if blob is not None and media.name:
            blob.display_name = media.name
        return ResultPart(blob, file)

    # --- the model --------------------------------------------------------------------------------

    def _model_block(self, block: Block, path: str) -> None:
        if isinstance(block, Text):
            self._cached(block, path)
            if block.citations:
                self._receipt.drop(f"{path}.citations")
            signature = self._sign(block, path)
            if block.text or signature:
                self._run.append(Part(text=block.text, thought_signature=signature))
        elif isinstance(block, ToolCall):
            self._call(block, path)
        elif isinstance(block, Thinking):
            self._thinking(block, path)
        elif isinstance(block, Media):
            self._media(block, path)
        else:
            self._odd(block, path)

    def _call(self, call: ToolCall, path: str) -> None:
        self._cached(call, path)
        if call.free:
            self._receipt.alter(f"{path}.{call.name}", "free text as member input")
            args = Raw(_encode({"input": call.arguments}))
        else:
            args = object_arguments(call.arguments, call.name, path)
        self._calls[call.id] = (call.name, len(self._calls))
        said = FunctionCall(name=call.name, args=args)
        if "no_call_ids" not in self._quirks:
            said.id = call.id or None
        signature = self._sign(call, path)
        self._run.append(Part(function_call=said, thought_signature=signature))

    def _thinking(self, thought: Thinking, path: str) -> None:
        signature = thought.signature
        foreign = signature.origin != NAME if signature is not None else not self._own
        if foreign or thought.encrypted:
            self._receipt.drop(f"{path}.thinking")
            return
        value = signature.value if signature is not None else None
        if thought.text or value:
            self._run.append(Part(text=thought.text, thought=True, thought_signature=value))

    def _sign(self, block: Text | ToolCall | Media, path: str) -> str | None:
        """The signature that goes back with the very part it came with."""
        signature: Signature | None = block.signature
        if signature is None:
            return None
        if signature.origin != NAME:
            self._receipt.drop(f"{path}.signature")
            return None
        return signature.value

    def _cached(self, block: Text | Media | ToolCall | ToolResult, path: str) -> None:
        if block.cache is not None:
            self._receipt.drop(f"{path}.cache")


_EXAMPLES = {
    MediaKind.IMAGE: "image/png",
    MediaKind.AUDIO: "audio/wav",
    MediaKind.VIDEO: "video/mp4",
    MediaKind.DOCUMENT: "application/pdf",
}


def sign_calls(contents: Sequence[WireContent], receipt: Receipt) -> None:
    """Mark the calls of the current turn that came without a signature, as the service asks for.

    The turn is what follows the last content that the user said himself; of each of the model's
    contents in it, the first call needs one.
    """
    for content in reversed(contents):
        parts = [part for part in content.parts if isinstance(part, Part)]
        if content.role == "user":
            if not any(part.function_response is not None for part in parts):
                return
            continue
        first = next((part for part in parts if part.function_call is not None), None)
        if first is not None and not first.thought_signature:
            first.thought_signature = NO_VALIDATION
            receipt.alter("messages.tool_calls.signature", NO_VALIDATION)
