"""The matrix: who asks whom for what, and what the answer must be."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.matrix.callers import Caller
from tests.matrix.said import PDF, PNG, Said, Wish
from tests.processes import request

AWS_ID, AWS_SECRET = "AKIDSIMULATOREXAMPLE", "simulator/secret/not/a/real/one/aaaaaaaa"
ENV = {
    "FERRYMAN_CHECK_GRAMMAR": "1",
    "AWS_ACCESS_KEY_ID": AWS_ID,
    "AWS_SECRET_ACCESS_KEY": AWS_SECRET,
    "AWS_REGION": "us-east-1",
}
CONFIG = """\
providers:
  chat: { base_url: SIM/v1, key: env:LAB_KEY, endpoints: [chat.completions] }
  responses: { format: openai_responses, base_url: SIM/v1, key: env:LAB_KEY,
    endpoints: [responses] }
  messages: { format: anthropic_messages, base_url: SIM/v1, key: env:LAB_KEY, auth: x-api-key,
    headers: { anthropic-version: "2023-06-01" } }
  generate: { format: gemini_generate, base_url: SIM/v1beta, key: env:LAB_KEY,
    auth: "header:x-goog-api-key", quirks: [need_signature] }
  converse: { format: bedrock_converse, base_url: SIM, key: env:LAB_KEY }
  bedrock-invoke: { base_url: SIM, key: env:LAB_KEY, auth: bearer }
  vertex: { base_url: SIM/v1/projects/p/locations/l, key: env:LAB_KEY, auth: bearer }
  vertex-claude: { base_url: SIM/v1/projects/p/locations/l, key: env:LAB_KEY, auth: bearer }
  cohere-like: { format: cohere_chat, base_url: SIM/v2, key: env:LAB_KEY }
  gemini: { base_url: SIM/v1beta, key: env:LAB_KEY }
  openai: { base_url: SIM/v1, key: env:LAB_KEY }
  azure: { base_url: SIM/openai/v1, key: env:LAB_KEY }
  azure-deployments: { base_url: SIM/openai, key: env:LAB_KEY }
  anthropic: { base_url: SIM/v1, key: env:LAB_KEY }
  vectors: { base_url: SIM/v1, key: env:LAB_KEY, endpoints: [embeddings, rerank],
    prices: { sim: { input: 1, output: 0 } } }
  jina: { base_url: SIM/v1, key: env:LAB_KEY }
  voyage: { base_url: SIM/v1, key: env:LAB_KEY }
  bedrock: { base_url: SIM, key: env:LAB_KEY }
  beside: { base_url: CANNED/v1, auth: none, quirks: [reasoning_beside_completion] }
models:
  any-vectors: { targets: [bedrock/amazon.titan-embed-text-v2:0, generate/sim] }
  either: { targets: [chat/sim-tokens=3, messages/sim-tokens=3] }
"""
PROVIDERS = {
    "chat": "openai_chat",
    "responses": "openai_responses",
    "messages": "anthropic_messages",
    "generate": "gemini_generate",
    "converse": "bedrock_converse",
    "bedrock-invoke": "anthropic_messages by InvokeModel",
    "vertex": "gemini_generate by Vertex AI",
    "vertex-claude": "anthropic_messages by Vertex AI",
    "cohere-like": "cohere_chat",
}
"""Provider → its format, and the way to it."""
NAMED = {
    "openai/gpt-5.5": "OpenAI's GPT-5.5",
    "azure/gpt-5.5": "the same by Azure",
    "azure-deployments/o3": "o3 by an Azure deployment",
    "anthropic/claude-opus-4-8": "Claude Opus 4.8",
    "gemini/gemini-3.5-flash": "Gemini 3.5 Flash",
    "gemini/gemini-2.5-flash": "Gemini 2.5 Flash",
}
"""Models of the catalogue, which knows what each can and refuses: they are asked by these names."""
COLUMNS = PROVIDERS | NAMED

JSON = '{"boat":"ferry","passengers":7,"piers":["ferry"]}'
ARGUMENTS = {"pier": "ferry", "day": 7}
SAME, RECEIPT, REFUSED, OTHER = "same", "receipt", "refused", "other"
"""What a cell says: the same message; the same, and its receipt names what of the request was left
out; refused by name; what the provider's format says instead."""


@dataclass(frozen=True)
class Feature:
    """A request, and what is wrong with its answer (empty = nothing)."""

    name: str
    wish: Wish
    wrong: Callable[[Said], str]
    follow: bool = False
    """The answer is sent back, with results for its calls, and the next answer must be good."""


def _text(said: Said) -> str:
    if said.text != "The ferry leaves the bank at" or said.finish != "stop":
        return "the text"
    return "" if said.tokens == (4, 6) or min(said.tokens) > 0 else f"usage {said.tokens}"


def _calls(*names: str) -> Callable[[Said], str]:
    def wrong(said: Said) -> str:
        found = [(call.name, call.arguments) for call in said.calls]
        if found != [(name, ARGUMENTS) for name in names]:
            return f"calls {found}"
        ids = {call.id or "" for call in said.calls}
        if len(ids) != len(names) and ids != {""}:  # older models of Gemini give none
            return "ids that are not one's own"
        return "" if said.finish == "calls" else f"finish {said.finish}"

    return wrong


def _carries(kind: str, size: int) -> Callable[[Said], str]:
    def wrong(said: Said) -> str:
        return "" if kind in said.text and str(size) in said.text else f"it saw {said.text!r}"

    return wrong


def _thought(said: Said) -> str:
    if said.text != "The ferry leaves the":
        return f"text {said.text!r}"
    return "" if said.thought.startswith("Let me think about the river") else "no thoughts"


def _json(said: Said) -> str:
    text = said.text.replace(": ", ":").replace(", ", ",")
    return "" if text == JSON and said.finish == "stop" and not said.calls else f"{said.text!r}"


def _cached(said: Said) -> str:
    return "" if said.cached == 3 else f"cached {said.cached}"


def _refused(said: Said) -> str:
    if not said.refused:
        return f"finish {said.finish}: not a refusal"
    return "" if said.text else "a refusal without words"


def _filtered(said: Said) -> str:
    return "" if said.refused or said.finish == "filter" else f"finish {said.finish}"


def _error(said: Said) -> str:
    status, words = said.error
    return "" if status == 429 and len(words) > 20 else f"{status} {words}"


def _cut(said: Said) -> str:
    return "" if said.finish == "length" else f"finish {said.finish}"


FEATURES = (
    Feature("text", Wish(), _text),
    Feature("tools", Wish("tools=1", tools=1), _calls("timetable"), follow=True),
    Feature(
        "parallel tools", Wish("tools=2", tools=2), _calls("timetable", "weather"), follow=True
    ),
    Feature("image", Wish("echo", image=True), _carries("image/png", len(PNG))),
    Feature("document", Wish("echo", document=True), _carries("application/pdf", len(PDF))),
    Feature("reasoning", Wish("think+tokens=4", think=True), _thought, follow=True),
    Feature("structured output", Wish("tokens=3", schema=True), _json),
    Feature("cache markers", Wish("cached=3+tokens=6", system="Be brief", cache=True), _cached),
    Feature("refusal", Wish("refusal"), _refused),
    Feature("error", Wish("429"), _error),
)


INSTEAD: dict[tuple[str, str], Callable[[Said], str]] = {
    ("generate", "refusal"): _filtered,
    ("converse", "refusal"): _filtered,
    ("vertex", "refusal"): _filtered,
    ("gemini/gemini-3.5-flash", "refusal"): _filtered,
    ("gemini/gemini-2.5-flash", "refusal"): _filtered,
    ("cohere-like", "refusal"): lambda said: "" if "can't help" in said.text else "no words",
}
"""What a provider's format says instead of what it has no word for: its filter's end, or text."""


def verdict(caller: Caller, provider: str, feature: Feature, *, stream: bool) -> tuple[str, str]:
    """(one of the verdicts, or empty for a fault; what differs)."""
    said = caller.ask(provider, feature.wish, stream=stream)
    instead = INSTEAD.get((provider, feature.name))
    check = instead or feature.wrong
    wrong = check(said)
    if not wrong and feature.follow:
        wrong = _follow(caller, provider, feature, said, stream=stream)
    receipt = "; ".join(filter(None, (said.dropped, said.altered)))
    if not wrong and feature.wish.cache:
        wrong = _marks_lost(caller, said)
    if not wrong and instead is None and said.dropped:
        return RECEIPT, said.dropped
    if not wrong:
        return (OTHER if instead else SAME), receipt
    if said.error[0] == 400 and said.headers.get("x-ferryman-error") == "unsupported_by_model":
        return REFUSED, said.error[1]
    return "", f"{wrong}; receipt: {receipt or 'none'}; error: {said.error}"


_MARKS = ("cache_control", "cachePoint", "prompt_cache_key", "prompt_cache_breakpoint")
"""How formats mark what may be cached."""


def _marks_lost(caller: Caller, said: Said) -> str:
    """Marks that the provider did not get, and nobody was told of; Gemini's callers have none."""
    sent = request(caller.sim, path="/sim/last/body").body.decode()
    told = "cache" in said.dropped or caller.name == "gemini_generate"
    return "" if told or any(mark in sent for mark in _MARKS) else f"no marks in {sent}"


def _follow(caller: Caller, provider: str, feature: Feature, said: Said, *, stream: bool) -> str:
    wish = Wish("echo", tools=feature.wish.tools, think=feature.wish.think, history=(said,))
    then = caller.ask(provider, wish, stream=stream)
    if then.error[0]:
        return f"the next turn: {then.error}"
    last = said.calls[-1].name if said.calls else "Go on"
    return "" if last in then.text else f"the next turn saw {then.text!r}"
