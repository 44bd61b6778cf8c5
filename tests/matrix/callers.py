"""The four kinds of callers, each by its vendor's own SDK, made to say things alike."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

from tests.matrix.said import (
    PDF,
    PDF_64,
    PNG,
    PNG_64,
    SCHEMA,
    TOOL_SCHEMA,
    Call,
    Said,
    Wish,
    results,
)
from tests.processes import request

TOOLS = (("timetable", "When does the ferry leave?"), ("weather", "What is the weather?"))


class Caller(ABC):
    """Asks in one format."""

    name: str

    def __init__(self, url: str, key: str, sim: str) -> None:
        """``sim``: the simulator's own address."""
        self.headers: dict[str, str] = {}
        self.sim = sim
        self.connect(url, key)

    def hook(self, response: Any) -> None:
        """Keep the headers of the last reply."""
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    def ask(self, provider: str, wish: Wish, *, stream: bool) -> Said:
        """One call of ``provider``'s simulator, or of a model of the catalogue there."""
        self.headers = {}
        named = "/" in provider
        model = provider if named else f"{provider}/sim-{wish.words}"
        try:
            if named:
                request(self.sim, "POST", "/sim/default", body=wish.words)
            said = self.stream(model, wish) if stream else self.whole(model, wish)
        finally:
            if named:
                request(self.sim, "POST", "/sim/default", body="")
        return Said(**{**said.__dict__, "headers": dict(self.headers)})

    @abstractmethod
    def connect(self, url: str, key: str) -> None:
        """Make the SDK's client."""

    @abstractmethod
    def whole(self, model: str, wish: Wish) -> Said:
        """Ask for a whole answer."""

    @abstractmethod
    def stream(self, model: str, wish: Wish) -> Said:
        """Ask for a stream and fold it as the SDK does."""


class Chat(Caller):
    """OpenAI Chat Completions."""

    name = "openai_chat"

    def connect(self, url: str, key: str) -> None:
        http = openai.DefaultHttpxClient(trust_env=False, event_hooks={"response": [self.hook]})
        self.client = openai.OpenAI(
            base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http
        )

    def asked(self, model: str, wish: Wish) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": wish.text}]
        if wish.image:
            url = f"data:image/png;base64,{PNG_64}"
            content.append({"type": "image_url", "image_url": {"url": url}})
        if wish.document:
            data = f"data:application/pdf;base64,{PDF_64}"
            content.append({"type": "file", "file": {"filename": "a.pdf", "file_data": data}})
        messages: list[Any] = [{"role": "system", "content": wish.system}] if wish.system else []
        messages.append({"role": "user", "content": content})
        for before in wish.history:
            messages.append(before.raw)
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": text}
                for call, text in results(before.calls)
            ]
            if not before.calls:
                messages.append({"role": "user", "content": "Go on"})
        fields: dict[str, Any] = {"model": model, "messages": messages}
        if wish.tools:
            fields["tools"] = [
                {"type": "function", "function": {
                    "name": name, "description": text, "parameters": TOOL_SCHEMA}}
                for name, text in TOOLS[: wish.tools]
            ]  # fmt: skip
        if wish.schema:
            form = {"name": "crossing", "schema": SCHEMA, "strict": True}
            fields["response_format"] = {"type": "json_schema", "json_schema": form}
        if wish.think:
            fields["reasoning_effort"] = "low"
        if wish.cache:
            fields["prompt_cache_key"] = "ferry"
        return fields

    def whole(self, model: str, wish: Wish) -> Said:
        try:
            reply = self.client.chat.completions.create(**self.asked(model, wish))
        except openai.APIStatusError as error:
            return Said(error=(error.status_code, error.message))
        choice = reply.choices[0]
        return self.said(choice.message.model_dump(exclude_none=True), choice.finish_reason, reply)

    def stream(self, model: str, wish: Wish) -> Said:
        fields = self.asked(model, wish) | {"stream_options": {"include_usage": True}}
        try:
            with self.client.chat.completions.stream(**fields) as events:
                for _ in events:
                    pass
                reply = events.get_final_completion()
        except openai.APIStatusError as error:
            return Said(error=(error.status_code, error.message))
        except openai.ContentFilterFinishReasonError:
            return Said(finish="filter")
        choice = reply.choices[0]
        message = choice.message.model_dump(exclude_none=True)
        message.pop("parsed", None)
        for call in message.get("tool_calls", ()):
            call.get("function", {}).pop("parsed_arguments", None)
        return self.said(message, choice.finish_reason, reply)

    def said(self, message: dict[str, Any], finish: str, reply: Any) -> Said:
        calls = tuple(
            Call(c["function"]["name"], json.loads(c["function"]["arguments"]), c["id"])
            for c in message.get("tool_calls", ())
        )
        refused = bool(message.get("refusal"))
        words = {"tool_calls": "calls", "content_filter": "filter"}
        usage = reply.usage
        return Said(
            text=message.get("content") or message.get("refusal") or "",
            calls=calls,
            thought=message.get("reasoning_content", ""),
            refused=refused,
            finish="refusal" if refused else words.get(finish, finish),
            tokens=(usage.prompt_tokens, usage.completion_tokens) if usage else (-1, -1),
            cached=(usage.prompt_tokens_details.cached_tokens or 0)
            if usage and usage.prompt_tokens_details
            else 0,
            raw=message,
        )


class Responses(Caller):
    """OpenAI Responses."""

    name = "openai_responses"

    def connect(self, url: str, key: str) -> None:
        http = openai.DefaultHttpxClient(trust_env=False, event_hooks={"response": [self.hook]})
        self.client = openai.OpenAI(
            base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http
        )

    def asked(self, model: str, wish: Wish) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "input_text", "text": wish.text}]
        if wish.image:
            url = f"data:image/png;base64,{PNG_64}"
            content.append({"type": "input_image", "image_url": url, "detail": "auto"})
        if wish.document:
            data = f"data:application/pdf;base64,{PDF_64}"
            content.append({"type": "input_file", "filename": "a.pdf", "file_data": data})
        items: list[Any] = [{"role": "user", "content": content}]
        for before in wish.history:
            items += before.raw
            items += [
                {"type": "function_call_output", "call_id": call.id, "output": text}
                for call, text in results(before.calls)
            ]
            if not before.calls:
                items.append({"role": "user", "content": "Go on"})
        fields: dict[str, Any] = {"model": model, "input": items, "store": False}
        if wish.system:
            fields["instructions"] = wish.system
        if wish.tools:
            fields["tools"] = [
                {"type": "function", "name": name, "description": text, "strict": False,
                 "parameters": TOOL_SCHEMA} for name, text in TOOLS[: wish.tools]
            ]  # fmt: skip
        if wish.schema:
            form = {"type": "json_schema", "name": "crossing", "schema": SCHEMA, "strict": True}
            fields["text"] = {"format": form}
        if wish.think:
            fields["reasoning"] = {"effort": "low", "summary": "auto"}
            fields["include"] = ["reasoning.encrypted_content"]
        if wish.cache:
            fields["prompt_cache_key"] = "ferry"
        return fields

    def whole(self, model: str, wish: Wish) -> Said:
        try:
            return self.said(self.client.responses.create(**self.asked(model, wish)))
        except openai.APIStatusError as error:
            return Said(error=(error.status_code, error.message))

    def stream(self, model: str, wish: Wish) -> Said:
        try:
            with self.client.responses.stream(**self.asked(model, wish)) as events:
                for event in events:
                    if event.type == "response.incomplete":  # the SDK waits for a completed one
                        return self.said(event.response)
                return self.said(events.get_final_response())
        except openai.APIStatusError as error:
            return Said(error=(error.status_code, error.message))

    def said(self, reply: Any) -> Said:
        text = thought = words = ""
        calls: list[Call] = []
        for item in reply.output:
            if item.type == "message":
                for part in item.content:
                    words += part.refusal if part.type == "refusal" else ""
                    text += part.text if part.type == "output_text" else ""
            elif item.type == "function_call":
                calls.append(Call(item.name, json.loads(item.arguments), item.call_id))
            elif item.type == "reasoning":
                thought += "".join(part.text for part in item.summary)
        why = reply.incomplete_details.reason if reply.incomplete_details else ""
        ends = {"max_output_tokens": "length", "content_filter": "filter"}
        refused = bool(words)
        finish = ends.get(why, why) or ("calls" if calls else "refusal" if refused else "stop")
        usage = reply.usage
        raw = [item.model_dump(exclude_none=True, by_alias=True) for item in reply.output]
        for item in raw:  # what the SDK adds for its own use
            item.pop("parsed_arguments", None)
            for part in item.get("content") or ():
                part.pop("parsed", None)
        return Said(
            text=text or words,
            calls=tuple(calls),
            thought=thought,
            refused=refused,
            finish=finish,
            tokens=(usage.input_tokens, usage.output_tokens) if usage else (-1, -1),
            cached=usage.input_tokens_details.cached_tokens if usage else 0,
            raw=raw,
        )


class Messages(Caller):
    """Anthropic Messages."""

    name = "anthropic_messages"

    def connect(self, url: str, key: str) -> None:
        http = anthropic.DefaultHttpxClient(trust_env=False, event_hooks={"response": [self.hook]})
        self.client = anthropic.Anthropic(
            base_url=url, api_key=key, max_retries=0, http_client=http
        )

    def asked(self, model: str, wish: Wish) -> dict[str, Any]:
        mark = {"cache_control": {"type": "ephemeral"}} if wish.cache else {}
        content: list[dict[str, Any]] = []
        if wish.image:
            source = {"type": "base64", "media_type": "image/png", "data": PNG_64}
            content.append({"type": "image", "source": source})
        if wish.document:
            source = {"type": "base64", "media_type": "application/pdf", "data": PDF_64}
            content.append({"type": "document", "source": source})
        content.append({"type": "text", "text": wish.text, **mark})
        messages: list[Any] = [{"role": "user", "content": content}]
        for before in wish.history:
            messages.append({"role": "assistant", "content": before.raw})
            back: list[Any] = [
                {"type": "tool_result", "tool_use_id": call.id, "content": text}
                for call, text in results(before.calls)
            ]
            messages.append({"role": "user", "content": back or "Go on"})
        fields: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": 4000}
        if wish.system:
            fields["system"] = [{"type": "text", "text": wish.system, **mark}]
        if wish.tools:
            fields["tools"] = [
                {"name": name, "description": text, "input_schema": TOOL_SCHEMA}
                for name, text in TOOLS[: wish.tools]
            ]
        if wish.schema:
            fields["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
        if wish.think:
            fields["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        return fields

    def whole(self, model: str, wish: Wish) -> Said:
        try:
            return self.said(self.client.messages.create(**self.asked(model, wish)))
        except anthropic.APIStatusError as error:
            return Said(error=(error.status_code, error.message))

    def stream(self, model: str, wish: Wish) -> Said:
        try:
            with self.client.messages.stream(**self.asked(model, wish)) as events:
                for _ in events:
                    pass
                return self.said(events.get_final_message())
        except anthropic.APIStatusError as error:
            return Said(error=(error.status_code, error.message))

    def said(self, reply: Any) -> Said:
        text = "".join(b.text for b in reply.content if b.type == "text")
        calls = tuple(Call(b.name, b.input, b.id) for b in reply.content if b.type == "tool_use")
        words = {"end_turn": "stop", "max_tokens": "length", "tool_use": "calls"}
        usage = reply.usage
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        return Said(
            text=text,
            calls=calls,
            thought="".join(b.thinking for b in reply.content if b.type == "thinking"),
            refused=reply.stop_reason == "refusal",
            finish=words.get(reply.stop_reason, reply.stop_reason),
            tokens=(usage.input_tokens + read + written, usage.output_tokens),
            cached=read,
            raw=[b.model_dump(exclude_none=True, exclude={"parsed_output"}) for b in reply.content],
        )


class Generate(Caller):
    """Gemini generateContent."""

    name = "gemini_generate"

    def connect(self, url: str, key: str) -> None:
        self.client = genai.Client(
            api_key=key,
            http_options=genai_types.HttpOptions(
                base_url=url,
                client_args={"trust_env": False, "event_hooks": {"response": [self.hook]}},
            ),
        )

    def asked(self, model: str, wish: Wish) -> dict[str, Any]:
        part = genai_types.Part
        parts = [part.from_text(text=wish.text)]
        if wish.image:
            parts.append(part.from_bytes(data=PNG, mime_type="image/png"))
        if wish.document:
            parts.append(part.from_bytes(data=PDF, mime_type="application/pdf"))
        contents = [genai_types.Content(role="user", parts=parts)]
        for before in wish.history:
            contents.append(before.raw)
            back = [
                part(
                    function_response=genai_types.FunctionResponse(
                        id=call.id or None, name=call.name, response={"output": text}
                    )
                )
                for call, text in results(before.calls)
            ]
            contents.append(
                genai_types.Content(role="user", parts=back or [part.from_text(text="Go on")])
            )
        config: dict[str, Any] = {}
        if wish.system:
            config["system_instruction"] = wish.system
        if wish.tools:
            functions = [
                genai_types.FunctionDeclaration(
                    name=name, description=text, parameters_json_schema=TOOL_SCHEMA
                )
                for name, text in TOOLS[: wish.tools]
            ]
            config["tools"] = [genai_types.Tool(function_declarations=functions)]
            config["automatic_function_calling"] = {"disable": True}
        if wish.schema:
            config["response_mime_type"] = "application/json"
            config["response_json_schema"] = SCHEMA
        if wish.think:
            config["thinking_config"] = {"include_thoughts": True, "thinking_budget": 1024}
        return {"model": model, "contents": contents, "config": config}

    def whole(self, model: str, wish: Wish) -> Said:
        try:
            reply = self.client.models.generate_content(**self.asked(model, wish))
        except genai_errors.APIError as error:
            return Said(error=(error.code, error.message or ""))
        return self.said([reply])

    def stream(self, model: str, wish: Wish) -> Said:
        try:
            replies = list(self.client.models.generate_content_stream(**self.asked(model, wish)))
        except genai_errors.APIError as error:
            return Said(error=(error.code, error.message or ""))
        return self.said(replies)

    def said(self, replies: list[Any]) -> Said:
        parts = [part for reply in replies for part in _parts(reply)]
        calls = tuple(
            Call(p.function_call.name, p.function_call.args, p.function_call.id or "")
            for p in parts
            if p.function_call
        )
        last = replies[-1]
        candidate = last.candidates[0] if last.candidates else None
        finish = str(candidate.finish_reason.value) if candidate else ""
        words = {"STOP": "calls" if calls else "stop", "MAX_TOKENS": "length"}
        blocked = last.prompt_feedback and last.prompt_feedback.block_reason
        if blocked or finish in ("SAFETY", "PROHIBITED_CONTENT"):
            words[finish] = "filter"
        usage = last.usage_metadata
        made = (
            (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0) if usage else -1
        )
        return Said(
            text="".join(p.text for p in parts if p.text and not p.thought),
            calls=calls,
            thought="".join(p.text for p in parts if p.text and p.thought),
            refused=words.get(finish) == "filter",
            finish=words.get(finish, finish),
            tokens=(usage.prompt_token_count or 0, made) if usage else (-1, -1),
            cached=(usage.cached_content_token_count or 0) if usage else 0,
            raw=genai_types.Content(role="model", parts=_joined(parts)),
        )


def _parts(reply: Any) -> Iterator[Any]:
    for candidate in reply.candidates or ():
        if candidate.content is not None:
            yield from candidate.content.parts or ()


def _joined(parts: list[Any]) -> list[Any]:
    """Parts of a stream as they go back: neighbours of one kind as one, signatures kept."""
    out: list[Any] = []
    for part in parts:
        last = out[-1] if out else None
        if (
            last is not None
            and part.text is not None
            and last.text is not None
            and bool(part.thought) == bool(last.thought)
            and not last.thought_signature
        ):
            last.text += part.text
            last.thought_signature = part.thought_signature
        else:
            out.append(part.model_copy())
    return out


CALLERS: tuple[type[Caller], ...] = (Chat, Responses, Messages, Generate)
