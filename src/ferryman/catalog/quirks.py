"""Where single providers leave their format: small named functions, called by name from rows.

Three oddities of the OpenAI format need no name here, because ``wire/openai_chat`` reads them from
everybody: usage in ``x_groq.usage``, cached tokens in ``usage.prompt_cache_hit_tokens`` or
``usage.cached_tokens``, and usage that comes with the last content chunk or with every chunk (the
last one counts).
"""

import re
from collections.abc import Callable, Collection, Iterable
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.unreadable import UNREADABLE
from ferryman.wire.tool_ids import fit

Fields = dict[str, Raw]
"""A request body's members, each still the JSON bytes the caller sent."""

_text = msgspec.json.Decoder(str)
_objects = msgspec.json.Decoder(list[dict[str, Raw]])
_encode = msgspec.json.Encoder().encode
_NINE = re.compile("[A-Za-z0-9]{9}")
_SYSTEM = Raw(b'"system"')
_only_completion_tokens = re.compile(r"(?:o[1-9]|gpt-[5-9])(?!\d)")


def no_stream_options(fields: Fields) -> None:
    """Drop ``stream_options``: the provider refuses it, and sends usage on streams without it.

    https://github.com/openai/openai-agents-python/issues/442 (422 ``extra_forbidden``),
    https://github.com/continuedev/continue/issues/12936 (400 ``unknown field``).
    """
    fields.pop("stream_options", None)


def max_tokens_only(fields: Fields) -> None:
    """Send ``max_completion_tokens`` under its older name ``max_tokens``.

    https://github.com/editor-code-assistant/eca/issues/231 (422 ``extra_forbidden``).
    """
    limit = fields.pop("max_completion_tokens", None)
    if limit is not None:
        fields.setdefault("max_tokens", limit)


def max_completion_tokens(fields: Fields) -> None:
    """Send ``max_tokens`` as ``max_completion_tokens`` where the *model* refuses the older name.

    Reads ``model``, which must already name the provider's model. Reasoning models answer 400
    "Unsupported parameter: 'max_tokens'": https://github.com/teilomillet/gollm/issues/33,
    https://github.com/dsp05/overleaf-copilot/pull/43.
    """
    if "max_tokens" not in fields or "model" not in fields:
        return
    try:
        name = _text.decode(fields["model"]).rpartition("/")[2]
    except msgspec.MsgspecError:
        return
    if _only_completion_tokens.match(name):
        fields.setdefault("max_completion_tokens", fields.pop("max_tokens"))
        fields.pop("max_tokens", None)


def random_seed(fields: Fields) -> None:
    """Send ``seed`` as ``random_seed``.

    https://docs.mistral.ai/api/ lists the latter, and other names are refused (422
    ``extra_forbidden``): https://github.com/langchain-ai/langchain-azure/issues/82.
    """
    seed = fields.pop("seed", None)
    if seed is not None:
        fields.setdefault("random_seed", seed)


def output_dimension(fields: Fields) -> None:
    """Send ``dimensions`` of embeddings as ``output_dimension``, and leave floats unsaid.

    https://docs.voyageai.com/reference/embeddings-api (``encoding_format``: null or ``base64``),
    https://docs.mistral.ai/api/endpoint/embeddings (other names: 422 ``extra_forbidden``).
    """
    dimensions = fields.pop("dimensions", None)
    if dimensions is not None:
        fields.setdefault("output_dimension", dimensions)
    if bytes(fields.get("encoding_format", b"")) == b'"float"':
        del fields["encoding_format"]


def embedding_type(fields: Fields) -> None:
    """Send ``encoding_format`` of embeddings as ``embedding_type``.

    https://api.jina.ai/redoc#tag/embeddings
    """
    kind = fields.pop("encoding_format", None)
    if kind is not None:
        fields.setdefault("embedding_type", kind)


def system_role(fields: Fields) -> None:
    """Send messages of the role ``developer`` as ``system``, the older name of the same thing.

    https://github.com/earendil-works/pi/issues/1048 (400 "unknown variant `developer`"),
    https://github.com/proma-ai/Proma/issues/1496 ("developer is not one of ['system', …]").
    """

    def change(message: Fields) -> bool:
        if bytes(message.get("role", b"")) != b'"developer"':
            return False
        message["role"] = _SYSTEM
        return True

    _change_messages(fields, b'"developer"', change)


def short_tool_ids(fields: Fields) -> None:
    """Give tool calls and their results ids of nine letters and digits, the same for the same id.

    https://mistralai.github.io/mistral-common/usage/tools/,
    https://github.com/anomalyco/opencode/issues/1680 ("Tool call id was … but must be a-z, A-Z,
    0-9, with a length of 9").
    """

    def change(message: Fields) -> bool:
        changed = _shorten_id(message, "tool_call_id")
        if "tool_calls" in message and bytes(message["tool_calls"]) != b"null":
            calls = _objects.decode(message["tool_calls"])
            shortened = [_shorten_id(call, "id") for call in calls]
            if any(shortened):
                message["tool_calls"] = Raw(_encode(calls))
                changed = True
        return changed

    _change_messages(fields, b'"tool_call', change)


def _shorten_id(holder: Fields, name: str) -> bool:
    if name not in holder:
        return False
    given = _text.decode(holder[name])
    short = fit(given, _NINE, "", 9)
    holder[name] = Raw(_encode(short))
    return short != given


def _change_messages(fields: Fields, mark: bytes, change: Callable[[Fields], bool]) -> None:
    """Apply ``change`` to each message, if ``mark`` occurs in them; what is unreadable stays."""
    raw = fields.get("messages")
    if raw is None or mark not in bytes(raw):
        return
    try:
        messages = _objects.decode(raw)
        changed = [change(message) for message in messages]
        if any(changed):
            fields["messages"] = Raw(_encode(messages))
    except UNREADABLE:
        return  # the provider will say what it thinks of it


def vertex_claude(fields: Fields) -> None:
    """Name the version of the API in the body, and leave the model to the URL.

    https://docs.claude.com/en/api/claude-on-vertex-ai: "``model`` is not passed in the request
    body", and "``anthropic_version`` is passed in the request body rather than as a header".
    """
    fields.pop("model", None)
    fields["anthropic_version"] = Raw(b'"vertex-2023-10-16"')


def bedrock_claude(fields: Fields) -> None:
    """Name the version of the API in the body; model and streaming are said by the URL.

    https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html,
    and what the official SDK sends: https://github.com/anthropics/anthropic-sdk-python
    (``lib/bedrock/_client.py``).
    """
    fields.pop("model", None)
    fields.pop("stream", None)
    fields["anthropic_version"] = Raw(b'"bedrock-2023-05-31"')


def betas_in_body(header: str) -> Callable[[Fields], None]:
    """Say in ``anthropic_beta`` what the header says; goes with :func:`bedrock_claude`.

    The same documents: Bedrock hands the model the body, not the headers.
    """
    betas = [name for part in header.split(",") if (name := part.strip())]

    def say(fields: Fields) -> None:
        if betas:
            fields.setdefault("anthropic_beta", Raw(_encode(betas)))

    return say


def usage_in_choice(reply: dict[str, Any]) -> None:
    """Lift ``choices[0].usage`` of a stream's last chunk to where the format has it.

    https://github.com/earendil-works/pi/issues/2017.
    """
    choices = reply.get("choices")
    if reply.get("usage") is None and isinstance(choices, list) and choices:
        usage = choices[0].get("usage") if isinstance(choices[0], dict) else None
        if isinstance(usage, dict):
            reply["usage"] = usage


def cached_tokens_top_level(reply: dict[str, Any]) -> None:
    """Move ``usage.cache_read_input_tokens`` (part of ``prompt_tokens``) into the details.

    Also ``usage.reasoning_tokens`` (part of ``completion_tokens``). As genai-prices 0.2.3 reads it:
    https://github.com/pydantic/genai-prices (``prices/providers``).
    """
    usage = reply.get("usage")
    if not isinstance(usage, dict):
        return
    for old, group, new in (
        ("cache_read_input_tokens", "prompt_tokens_details", "cached_tokens"),
        ("reasoning_tokens", "completion_tokens_details", "reasoning_tokens"),
    ):
        count = usage.get(old)
        details = usage.get(group) or {}
        if isinstance(count, int) and isinstance(details, dict) and not details.get(new):
            usage[group] = {**details, new: count}


def reasoning_beside_completion(reply: dict[str, Any]) -> None:
    """Count reasoning within ``completion_tokens`` when the provider counts it beside.

    Then ``total_tokens`` is larger than prompt and completion together, and the rest is reasoning:
    https://docs.x.ai/docs/key-information/consumption-and-rate-limits,
    https://github.com/vercel/ai/pull/12425, https://github.com/mozilla-ai/any-llm/issues/1290.
    """
    usage = reply.get("usage")
    if not isinstance(usage, dict):
        return
    total, given, made = (
        usage.get(name) for name in ("total_tokens", "prompt_tokens", "completion_tokens")
    )
    made = made or 0
    if not (isinstance(total, int) and isinstance(given, int) and isinstance(made, int)):
        return
    beside = total - given - made
    if beside <= 0:
        return
    details = usage.get("completion_tokens_details") or {}
    if not isinstance(details, dict):
        return
    usage["completion_tokens"] = made + beside
    usage["completion_tokens_details"] = {
        **details,
        "reasoning_tokens": details.get("reasoning_tokens") or beside,
    }


REQUEST_QUIRKS: dict[str, Callable[[Fields], None]] = {
    "no_stream_options": no_stream_options,
    "max_tokens_only": max_tokens_only,
    "max_completion_tokens": max_completion_tokens,
    "random_seed": random_seed,
    "output_dimension": output_dimension,
    "embedding_type": embedding_type,
    "system_role": system_role,
    "short_tool_ids": short_tool_ids,
    "vertex_claude": vertex_claude,
    "bedrock_claude": bedrock_claude,
}
"""Change a request's members in place, once ``model`` names the target. Never raise."""

USAGE_QUIRKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "usage_in_choice": usage_in_choice,
    "cached_tokens_top_level": cached_tokens_top_level,
    "reasoning_beside_completion": reasoning_beside_completion,
}
"""Change a decoded reply, or stream chunk, in place so that ``usage`` says what the format says.

For reading usage only: what the caller gets are the provider's own bytes. Never raise.
"""


MEMBERS = (
    "frequency_penalty", "logit_bias", "logprobs", "parallel_tool_calls", "presence_penalty",
    "prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "safety_identifier", "seed",
    "service_tier", "store", "top_logprobs", "user", "verbosity",
)  # fmt: skip
"""Members of a chat request that some providers refuse: the quirk ``no_X`` leaves X out, and the
caller is told, or the call is refused, if that is what it wants (``on_unsupported``)."""

OF_OPENAI = (
    "effort_max", "effort_minimal", "effort_none", "effort_xhigh", "efforts_low_to_high",
    "no_penalties", "no_sampling", "no_sampling_thinking", "no_stop", "thinks_unasked",
)  # fmt: skip
"""Heeded by the encoders of both of OpenAI's formats: see ``wire/carry.py``, ``wire/effort.py``."""

OF_ENCODERS = MappingProxyType(
    {
        "openai_chat": (
            "allowed_tools", "audio_formats", "audio_url", "cache_breakpoint", "cache_control",
            "echo_reasoning_content", "embed_query_document", "embed_query_passage", "embed_task",
            "enable_thinking", "extra_content", "file_url", "flat_content", "metadata",
            "no_json_object", "no_json_schema", "no_parallel_tools", "reasoning_details",
            "reasoning_object", "responses_only", "safety_identifier", "thinking_always",
            "thinking_effort", "thinking_object", "tool_images", "tools_by_responses", "top_k",
            "video_url",
        ),
        "openai_responses": (
            "any_output_limit", "cache_breakpoint", "no_json_object", "no_json_schema",
            "reasoning_content", "safety_identifier",
        ),
        "anthropic_messages": (
            "adaptive_only", "adaptive_thinking", "effort_max", "effort_xhigh", "no_sampling",
            "output_format", "system_messages",
        ),
        "gemini_generate": (
            "image_sizes", "labels", "media_in_results", "need_signature",
            "no_additional_properties", "no_call_ids", "no_output_with_tools", "no_thinking",
            "no_urls", "openapi_schema", "output_by_tool", "part_resolution", "thinking_always",
            "thinking_level",
        ),
        "bedrock_converse": (
            "adaptive_only", "adaptive_thinking", "claude_fields", "effort_max", "effort_xhigh",
            "no_sampling", "output_format",
        ),
    }
)  # fmt: skip
"""Format → quirks that the encoder of its requests heeds by name, and documents."""

BETAS_IN_BODY = "bedrock_claude"
"""Quirk with which the header ``anthropic-beta`` goes into the body: :func:`betas_in_body`."""
AWS_CHUNKS = "aws_chunks"
"""Quirk: streams come as AWS messages, each of which holds an event of the format."""

PROVIDER_OBJECT = "provider_object"
"""Quirk: the provider is a router and heeds the request's object ``provider`` itself, which others
never see: https://openrouter.ai/docs/features/provider-routing."""

GLM, KIMI = "glm_models", "kimi_models"
"""Quirks of rows whose models are their makers', told apart by their names: :func:`model_quirks`.
"""

NAMES = frozenset(
    {
        GLM,
        KIMI,
        "no_n",
        *REQUEST_QUIRKS,
        *USAGE_QUIRKS,
        *(f"no_{member}" for member in MEMBERS),
        *(name for names in OF_ENCODERS.values() for name in names),
        *OF_OPENAI,
        AWS_CHUNKS,
        PROVIDER_OBJECT,
    }
)
"""Every quirk that a row, or the user's configuration, may name."""

_claude = re.compile(
    r"claude-(?:(?P<family>[a-z]+)-)?(?:(?P<major>\d{1,2})(?:[-.](?P<minor>\d{1,2}))?(?!\d))?"
)
_ALWAYS_THINKING = ("fable", "mythos")
_gemini = re.compile(r"gemini-(?:[a-z]+-)*(\d)(?:\.(\d+))?")


def model_quirks(format_name: str, model: str, own: Collection[str] = ()) -> tuple[str, ...]:
    """Quirks of a model, for the encoder of the format that its provider speaks.

    ``own`` are the provider's: routers of the chat format even out what OpenAI's models refuse.
    """
    if format_name == "openai_chat" and "max_completion_tokens" in own:
        return _gpt_quirks(model)
    if GLM in own:
        return _glm_quirks(model)
    if KIMI in own:
        return _kimi_quirks(model)
    if format_name == "anthropic_messages":
        return _claude_quirks(model)
    if format_name == "bedrock_converse":
        # https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html
        formed = ("output_format",) if _claude_version(model)[1] >= (4, 5) else ()
        return ("claude_fields", *formed, *_claude_quirks(model))
    if format_name == "gemini_generate":
        return _gemini_quirks(model)
    return ()


_o_series = re.compile(r"o\d")
_gpt = re.compile(r"gpt-(\d+)(?:\.(\d+))?(?:-([a-z]+))?")
_responses_only = re.compile(r"codex|-pro\b|-deep-research|computer-use")
_not_thinking = re.compile(r"-(?:chat|search|image|audio|realtime)\b")


def _gpt_quirks(model: str) -> tuple[str, ...]:
    """What OpenAI's models that think refuse, by their names.

    https://developers.openai.com/api/docs/guides/deployment-checklist (settings of sampling only
    with effort ``none``; tools: some of the newest only there, others only in Responses),
    https://developers.openai.com/api/docs/guides/latest-model (efforts, and which is the default),
    https://github.com/openai/openai-openapi/issues/541 (tools and efforts from 5.4),
    https://platform.openai.com/docs/guides/reasoning and the openai SDK's notes on ``stop``;
    https://github.com/huggingface/smolagents/issues/1893 (``stop`` up to 5.2).
    """
    name = model.lower().rpartition("/")[2]
    only = ("responses_only",) if _responses_only.search(name) else ()
    always = ("no_penalties", "efforts_low_to_high", "thinks_unasked")
    if _o_series.match(name):
        return ("no_sampling", "no_stop", *always, *only)
    found = _gpt.match(name)
    version = (int(found[1]), int(found[2] or 0)) if found is not None else (0, 0)
    if version < (5, 0) or _not_thinking.search(name):
        return only
    if version < (5, 1):
        return ("no_sampling", "no_stop", "effort_minimal", *always, *only)
    stop = ("no_stop",) if version < (5, 5) else ()
    if only:
        return ("no_sampling", *stop, "no_penalties", "thinks_unasked", *only)
    assert found is not None
    efforts = ["effort_none"] if version < (6, 0) or found[3] in ("sol", "luna") else []
    if version >= (6, 1):
        efforts = []
    efforts += ["effort_xhigh"] * (version >= (5, 2)) + ["effort_max"] * (version >= (5, 6))
    unasked = always if version >= (5, 5) else always[:2]
    tools = ("tools_by_responses",) if version >= (5, 4) else ()
    return ("no_sampling_thinking", *stop, *unasked, *efforts, *tools)


_glm = re.compile(r"glm-(\d+)(?:\.(\d+))?")


def _glm_quirks(model: str) -> tuple[str, ...]:
    """How a model of GLM is told to think, where that is more than on or off.

    https://docs.z.ai/guides/capabilities/thinking-mode (on or off),
    https://docs.together.ai/docs/glm-5.3-quickstart (efforts from 5.2; from 5.3 never off).
    """
    found = _glm.match(model.lower().rpartition("/")[2])
    version = (int(found[1]), int(found[2] or 0)) if found is not None else (0, 0)
    if version >= (5, 3):
        return ("thinking_effort", "thinking_always")
    return ("thinking_effort",) if version >= (5, 2) else ()


_kimi = re.compile(r"kimi-k(\d+)(?:\.(\d+))?(?!\d)")


def _kimi_quirks(model: str) -> tuple[str, ...]:
    """How a model of Kimi is told to think; its sampling is fixed, other values are refused.

    https://platform.kimi.ai/docs/api/models-overview (parameters from K2.5),
    https://java.agentscope.io/v2/en/integration/model/kimi (K2.7 and K3 always think, K3 by
    effort).
    """
    found = _kimi.match(model.lower().rpartition("/")[2])
    version = (int(found[1]), int(found[2] or 0)) if found is not None else (0, 0)
    if version < (2, 5):
        return ()
    fixed = ("no_sampling", "no_penalties", "no_n")
    if version >= (3, 0):
        return (*fixed, "thinking_effort", "thinking_always")
    return (*fixed, "thinking_always" if version >= (2, 7) else "thinking_object")


def _claude_version(model: str) -> tuple[str, tuple[int, int]]:
    """Family and version of a model of Claude; empty and zeros where the name doesn't tell."""
    found = _claude.search(model.lower())
    if found is None:
        return "", (0, 0)
    return found["family"] or "", (int(found["major"] or 0), int(found["minor"] or 0))


def _claude_quirks(model: str) -> tuple[str, ...]:
    """How a model of Claude is told to think, by its version.

    https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking (from 4.6; some can't do
    without), https://platform.claude.com/docs/en/build-with-claude/extended-thinking (budgets are
    refused from 4.7), https://platform.claude.com/docs/en/build-with-claude/effort,
    https://platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-7 (sampling).
    """
    family, version = _claude_version(model)
    if family in _ALWAYS_THINKING:
        return ("adaptive_only", "adaptive_thinking", "effort_xhigh", "effort_max", "no_sampling")
    if version >= (4, 7):
        return ("adaptive_thinking", "effort_xhigh", "effort_max", "no_sampling")
    return ("adaptive_thinking", "effort_max") if version >= (4, 6) else ()


def _gemini_quirks(model: str) -> tuple[str, ...]:
    """What a model of Gemini knows, by its version; without one in its name, it is a new one.

    https://ai.google.dev/gemini-api/docs/thinking (levels from 3, budgets for 2.5; 2.5 Pro can't be
    told not to), https://ai.google.dev/gemini-api/docs/gemini-3 (signatures, media in results,
    ``media_resolution``), https://ai.google.dev/gemini-api/docs/structured-output (JSON Schema from
    2.5; with tools from 3), https://ai.google.dev/gemini-api/docs/image-generation (sizes).
    """
    name = model.lower().rpartition("/")[2]
    if not name.startswith("gemini-"):
        return ("no_thinking", "openapi_schema", "output_by_tool")
    found = _gemini.match(name)
    version = (int(found[1]), int(found[2] or 0)) if found is not None else (3, 0)
    if version >= (3, 0):
        return (
            "thinking_level", "need_signature", "media_in_results", "part_resolution",
            "image_sizes",
        )  # fmt: skip
    if version >= (2, 5):
        always = ("thinking_always",) if "-pro" in name else ()
        return ("no_additional_properties", "no_output_with_tools", *always)
    return ("no_thinking", "openapi_schema", "no_output_with_tools")


def refused(names: Iterable[str]) -> frozenset[str]:
    """The members of a chat request that a provider with the quirks ``names`` refuses."""
    return frozenset(name[3:] for name in names if name[:3] == "no_" and name[3:] in MEMBERS)


def request_quirks(names: Iterable[str]) -> tuple[Callable[[Fields], None], ...]:
    """Those of ``names`` (a provider's quirks) that concern requests."""
    return tuple(REQUEST_QUIRKS[name] for name in names if name in REQUEST_QUIRKS)


def usage_quirks(names: Iterable[str]) -> tuple[Callable[[dict[str, Any]], None], ...]:
    """Those of ``names`` (a provider's quirks) that concern usage."""
    return tuple(USAGE_QUIRKS[name] for name in names if name in USAGE_QUIRKS)
