"""What vendors charge for beyond plain tokens, from pages and payloads, exactly."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from ferryman.catalog import prices
from ferryman.ir.media import ImagesRequest
from ferryman.ir.price import PICO
from ferryman.ir.usage import Usage
from ferryman.meter.cost import cost
from ferryman.wire.bedrock_converse.images import PROVIDER as BEDROCK_IMAGES
from ferryman.wire.gemini_generate.images import PREDICT
from tests.meter import vendor_prices as page
from tests.meter.cases import NOW, Case, by_provider, readings, wrong
from tests.meter.vendor_prices import Bill, Body

OPENAI_TOOLS: Final = {"search": "0.010", "file_search": "0.0025", "container": "0.03"}
"""$10 and $2.50 for 1,000 calls; a container of 1 GB for 20 minutes (4 GB: $0.12, 64 GB: $1.92)."""
TOOLED: Final = page.words(
    "input cached output", page.OPENAI_PAGE,
    gpt_4__1="2.00 0.50 8.00", gpt_5="1.25 0.125 10.00", gpt_5__4="2.50 0.25 15.00",
    gpt_6_sol="2.00 0.20 10.00",
)  # fmt: skip
USED: Final[Body] = {
    "input_tokens": 5120, "input_tokens_details": {"cached_tokens": 1024}, "output_tokens": 310,
    "output_tokens_details": {"reasoning_tokens": 128}, "total_tokens": 5430,
}  # fmt: skip
BILLED: Final[Bill] = [(4096, "input"), (1024, "cached"), (310, "output")]


def call(kind: str, **more: Any) -> Body:
    return {"type": f"{kind}_call", "id": "x1", "status": "completed", **more}


def searched(kind: str) -> Body:
    return call("web_search", action={"type": kind, "query": "q"})


def container(memory: str | None) -> Body:
    held = {"type": "auto"} if memory is None else {"type": "auto", "memory_limit": memory}
    return {"type": "code_interpreter", "container": held}


def openai_tools() -> Iterator[Case]:
    ran, again = (
        call("code_interpreter", container_id="c1"),
        call("code_interpreter", container_id="c2"),
    )
    web, files = {"type": "web_search"}, {"type": "file_search", "vector_store_ids": ["v"]}
    rows: list[tuple[str, list[Body], list[Body], Bill]] = [
        ("one search", [searched("search")], [web], [(1, "search")]),
        ("pages opened", [searched("search"), searched("open_page"), searched("find")], [web],
         [(1, "search")]),
        ("a search that says nothing", [call("web_search")], [web], [(1, "search")]),
        ("files", [call("file_search"), call("file_search")], [files], [(2, "file_search")]),
        ("a container", [ran, ran], [container(None)], [(1, "container")]),
        ("two containers", [ran, again], [container("1g")], [(2, "container")]),
        ("4 GB", [ran], [container("4g")], [(4, "container")]),
        ("64 GB", [ran], [web, container("64g")], [(64, "container")]),
        ("all", [searched("search"), call("file_search"), ran], [web, files, container("16g")],
         [(1, "search"), (1, "file_search"), (16, "container")]),
    ]  # fmt: skip
    for model, amounts in TOOLED.items():
        for name, output, tools, bill in rows:
            yield Case("openai", model, "responses", USED, [*BILLED, *bill], amounts | OPENAI_TOOLS,
                       name, {"output": output, "tools": tools})  # fmt: skip
    doubled = {**TOOLED["gpt-5"], "input": "2.50", "cached": "0.25", "output": "20.00"}
    yield Case("openai", "gpt-5", "responses", USED, [*BILLED, (1, "search")],
               doubled | OPENAI_TOOLS, "priority, and a search",
               {"output": [searched("search")], "service_tier": "priority"})  # fmt: skip


def openai_others() -> Iterator[Case]:
    short: Body = {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29}
    for model, amounts in page.words(
        "input output request", page.OPENAI_PAGE, gpt_4o_search_preview="2.50 10.00 0.025",
        gpt_4o_mini_search_preview="0.15 0.60 0.025", gpt_5_search_api="1.25 10.00 0.01",
    ).items():  # fmt: skip
        yield Case("openai", model, "chat.completions", short,
                   [(19, "input"), (10, "output"), (1, "request")], amounts,
                   "it searches")  # fmt: skip
    audio = {"prompt_tokens": 220, "completion_tokens": 90, "total_tokens": 310,
             "prompt_tokens_details": {"cached_tokens": 0, "text_tokens": 20, "audio_tokens": 200},
             "completion_tokens_details": {"text_tokens": 15, "audio_tokens": 75}}  # fmt: skip
    for model, amounts in page.words(
        "input output heard spoken", page.OPENAI_PAGE, gpt_audio="2.50 10 32 64",
        gpt_4o_audio_preview="2.50 10 40 80", gpt_4o_mini_audio_preview="0.15 0.60 10 20",
    ).items():  # fmt: skip
        yield Case("openai", model, "chat.completions", audio,
                   [(20, "input"), (200, "heard"), (15, "output"), (75, "spoken")], amounts,
                   "audio")  # fmt: skip
    written: Body = {"input_tokens": 3000, "output_tokens": 7, "total_tokens": 3007,
                     "input_tokens_details": {"cached_tokens": 1000,
                     "cache_write_tokens": 1500}}  # fmt: skip
    amounts = page.words("input cached write output", page.OPENAI_PAGE,
                         gpt_6_sol="2.00 0.20 2.50 10.00")["gpt-6-sol"]  # fmt: skip
    yield Case("openai", "gpt-6-sol", "responses", written,
               [(500, "input"), (1000, "cached"), (1500, "write"), (7, "output")], amounts,
               "written to the cache")  # fmt: skip
    long: Body = {"input_tokens": 272_001, "output_tokens": 9, "total_tokens": 272_010}
    yield Case("openai", "gpt-5.4", "responses", long, [(272_001, "input"), (9, "output")],
               {"input": "5.00", "output": "22.50", "page": page.OPENAI_PAGE},
               "272,001")  # fmt: skip
    less: Body = {"input_tokens": 272_000, "output_tokens": 9, "total_tokens": 272_009}
    yield Case("openai", "gpt-5.4", "responses", less, [(272_000, "input"), (9, "output")],
               {"input": "2.50", "output": "15.00", "page": page.OPENAI_PAGE},
               "272,000")  # fmt: skip


RESIDENCE: Final = "https://developers.openai.com/api/docs/guides/data-residency 2026-11-26"
REGIONAL: Final = "https://platform.claude.com/docs/en/about-claude/pricing 2026-11-26"


def hosts() -> Iterator[Case]:
    """Tokens cost 10 % more in places, fees don't."""
    tenth = Decimal("1.1")
    for model, amounts in TOOLED.items():
        for host in ("api.openai.com", "eu.api.openai.com", "us.api.openai.com"):
            factor = tenth if host != "api.openai.com" and model > "gpt-5.3" else Decimal(1)
            yield Case("openai", model, "responses", USED, [*BILLED, (1, "search")],
                       {**amounts, **OPENAI_TOOLS, "page": RESIDENCE}, host,
                       {"output": [searched("search")]}, factor, host=host)  # fmt: skip
    usage, bill = page.MESSAGES["written for five minutes"]
    for model, like in (("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
                        ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
                        ("claude-opus-4-1@20250805", "claude-opus-4-1")):  # fmt: skip
        for host in ("aiplatform.googleapis.com", "europe-west1-aiplatform.googleapis.com"):
            factor = tenth if "-" in host and "4-5" in model else Decimal(1)
            yield Case("vertex-claude", model, "messages", usage, bill,
                       page.ANTHROPIC[like] | {"page": REGIONAL}, host, factor=factor,
                       host=host)  # fmt: skip


# --- Anthropic ------------------------------------------------------------------------------------

FAST: Final = page.words(
    "base write5m write1h hit output", page.ANTHROPIC_PAGE, claude_opus_5="10 12.50 20 1 50",
    claude_opus_5_5="8 10 16 0.40 40",
)  # fmt: skip


def anthropic() -> Iterator[Case]:
    for model, amounts in FAST.items():
        for name, (usage, bill) in page.MESSAGES.items():
            for place, factor in (("", Decimal(1)), ("us", Decimal("1.1"))):
                said = {"speed": "fast", **({"inference_geo": place} if place else {})}
                yield Case("anthropic", model, "messages", usage, bill, amounts,
                           f"fast, {name} {place}", said, factor)  # fmt: skip


# --- Google ---------------------------------------------------------------------------------------

GEMINI_3: Final = page.words(
    "text cached output search", page.GOOGLE_PAGE, gemini_3_flash_preview="0.50 0.05 3 0.014",
    gemini_3__1_pro_preview="2 0.20 12 0.014", gemini_3__8_flash="0.75 0.075 3.75 0.014",
)  # fmt: skip
GEMINI_2: Final = page.words(
    "text cached output searched", page.GOOGLE_PAGE, gemini_2__5_pro="1.25 0.125 10 0.035",
    gemini_2__5_flash="0.30 0.03 2.50 0.035", gemini_2__5_flash_lite="0.10 0.01 0.40 0.035",
)  # fmt: skip
PRIORITY: Final = page.words(
    "text audio cached cached_audio output", page.GOOGLE_PAGE,
    gemini_2__5_flash="0.54 1.80 0.054 0.18 4.50",
    gemini_2__5_flash_lite="0.18 0.54 0.018 0.054 0.72",
    gemini_3_flash_preview="0.90 1.80 0.09 0.18 5.40",
)  # fmt: skip
FLEX: Final = page.words(
    "text audio cached cached_audio output", page.GOOGLE_PAGE,
    gemini_2__5_flash="0.15 0.50 0.03 0.10 1.25",
    gemini_2__5_flash_lite="0.05 0.15 0.01 0.03 0.20",
    gemini_3_flash_preview="0.25 0.50 0.05 0.10 1.50",
)  # fmt: skip


def google() -> Iterator[Case]:
    asked: Body = {"promptTokenCount": 30, "candidatesTokenCount": 77, "totalTokenCount": 107}
    tokens: Bill = [(30, "text"), (77, "output")]
    for name, queries, distinct in (
        ("one query", ["a"], 1), ("two", ["a", "b"], 2), ("the same twice", ["a", "b", "a"], 2),
        ("empty ones", ["", "best funds 2026", "", "a or b"], 2), ("none", [], 0),
        ("nothing but empty", ["", ""], 0),
    ):  # fmt: skip
        said = {"groundingMetadata": {"webSearchQueries": queries, "groundingChunks": []}}
        for model, amounts in GEMINI_3.items():
            yield Case("gemini", model, "generate_content", asked, [*tokens, (distinct, "search")],
                       amounts, name, said)  # fmt: skip
        for model, amounts in GEMINI_2.items():
            bill: Bill = [*tokens, (1 if distinct else 0, "searched")]
            yield Case("gemini", model, "generate_content", asked, bill, amounts, name, said)
    for tier, table in (("priority", PRIORITY), ("flex", FLEX)):
        for model, amounts in table.items():
            for name, (usage, bill) in (page.GENERATE | page.SOUND).items():
                names = {"serviceTier": tier, "trafficType": f"ON_DEMAND_{tier.upper()}"}
                for word in names.items():
                    yield Case("gemini", model, "generate_content", usage, bill, amounts,
                               f"{name} {word}", dict([word]))  # fmt: skip


# --- Perplexity, xAI ------------------------------------------------------------------------------

SONAR: Final = page.words(
    "input output low medium high", page.PERPLEXITY_PAGE, sonar="1 1 0.005 0.008 0.012",
    sonar_pro="3 15 0.006 0.010 0.014", sonar_reasoning_pro="2 8 0.006 0.010 0.014",
)  # fmt: skip
DEEP: Final = page.words(
    "input output citation reasoning search", page.PERPLEXITY_PAGE,
    sonar_deep_research="2 8 2 3 0.005",
)["sonar-deep-research"]  # fmt: skip
GROK: Final = page.words(
    "input cached output search source code files", page.XAI_PAGE,
    grok_4__3="1.25 0.20 2.50 0.005 0.025 0.005 0.0025",
)["grok-4.3"]  # fmt: skip
NO_TOOLS: Final = dict.fromkeys(
    ("web_search_calls", "x_search_calls", "code_interpreter_calls", "file_search_calls",
     "mcp_calls", "document_search_calls"), 0)  # fmt: skip


def perplexity() -> Iterator[Case]:
    for model, amounts in SONAR.items():
        for size in ("low", "medium", "high"):
            usage = {"prompt_tokens": 14, "completion_tokens": 230, "total_tokens": 244,
                     "search_context_size": size}  # fmt: skip
            yield Case("perplexity", model, "chat.completions", usage,
                       [(14, "input"), (230, "output"), (1, "request")],
                       {**amounts, "request": amounts[size]}, size)  # fmt: skip
    usage = {"prompt_tokens": 33, "completion_tokens": 7163, "total_tokens": 7196,
             "citation_tokens": 20_016, "num_search_queries": 18,
             "reasoning_tokens": 73_997}  # fmt: skip
    bill: Bill = [(33, "input"), (7163, "output"), (20_016, "citation"), (73_997, "reasoning"),
                  (18, "search")]  # fmt: skip
    yield Case("perplexity", "sonar-deep-research", "chat.completions", usage, bill, DEEP, "deep")


@dataclass(frozen=True)
class Charged:
    """A reply of xAI's that says what it was charged at, and for which searches of X."""

    input: int
    cached: int
    output: int
    x_searches: int
    ticks: int
    """10⁻¹⁰ USD (https://docs.x.ai/developers/cost-tracking)."""

    @property
    def usage(self) -> Body:
        tools = {**NO_TOOLS, "x_search_calls": self.x_searches}
        return {"input_tokens": self.input, "output_tokens": self.output,
                "input_tokens_details": {"cached_tokens": self.cached},
                "output_tokens_details": {"reasoning_tokens": 0}, "num_sources_used": 0,
                "num_server_side_tools_used": self.x_searches, "cost_in_usd_ticks": self.ticks,
                "server_side_tool_usage_details": tools}  # fmt: skip


CHARGED: Final = (
    Charged(14_004, 3008, 6712, 5, 561_266_000), Charged(20_948, 9216, 4374, 10, 774_432_000),
    Charged(8318, 3072, 513, 3, 234_544_000), Charged(19_039, 9984, 5118, 7, 611_105_500),
)  # fmt: skip


def xai() -> Iterator[Case]:
    items = [call("web_search", action={"type": "search"}), call("x_search"), call("x_search")]
    for each in CHARGED:
        bill: Bill = [(each.input - each.cached, "input"), (each.cached, "cached"),
                      (each.output, "output"), (each.x_searches, "search")]  # fmt: skip
        yield Case("xai", "grok-4.3", "responses", each.usage, bill, GROK, f"{each.ticks}",
                   {"output": items})  # fmt: skip
    tools = {**NO_TOOLS, "web_search_calls": 2, "code_interpreter_calls": 3, "file_search_calls": 4}
    short = {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29}
    tokens: Bill = [(19, "input"), (10, "output")]
    amounts = {**GROK, "file_search": GROK["files"]}
    yield Case("xai", "grok-4.3", "chat.completions",
               {**short, "server_side_tool_usage_details": tools},
               [*tokens, (2, "search"), (3, "code"), (4, "file_search")], amounts,
               "tools")  # fmt: skip
    yield Case("xai", "grok-4.3", "chat.completions", {**short, "num_sources_used": 7},
               [*tokens, (7, "source")], amounts, "live search")  # fmt: skip


def test_calls_cost_what_the_vendor_says_beside_them() -> None:
    """xAI's replies bring what they were charged at, to a tenth of a nanodollar."""
    for case, each in zip(xai(), CHARGED, strict=False):
        for usage in readings(case):
            book = prices.lookup("xai", "grok-4.3")
            assert cost(usage, book, int(NOW.timestamp())) == each.ticks * 100


# --- audio, images, rankings ----------------------------------------------------------------------

ORPHEUS: Final = "canopylabs/orpheus-v1-english"
PER_HOUR: Final = {
    ("openai", "whisper-1"): {"hour": "0.36", "page": page.OPENAI_PAGE},
    ("groq", "whisper-large-v3"): {"hour": "0.111", "page": page.GROQ_PAGE},
    ("groq", "whisper-large-v3-turbo"): {"hour": "0.04", "page": page.GROQ_PAGE},
}
PER_CHARACTER: Final = {
    ("openai", "tts-1"): {"character": "15", "page": page.OPENAI_PAGE},
    ("openai", "tts-1-hd"): {"character": "30", "page": page.OPENAI_PAGE},
    ("groq", ORPHEUS): {"character": "22", "page": page.GROQ_PAGE},
}


def sound() -> Iterator[Case]:
    for (provider, model), amounts in PER_HOUR.items():
        least = 10_000 if provider == "groq" else 0
        for seconds in (0.01, 0.4, 9.999, 10.0, 10.001, 61.5, 3599.999):
            bill: Bill = [(max(round(seconds * 1000), least), "hour")]
            usage = {"type": "duration", "seconds": seconds}
            yield Case(provider, model, "audio.transcriptions", usage, bill, amounts, f"{seconds}")
            yield Case(provider, model, "audio.transcriptions", {}, bill, amounts,
                       f"verbose {seconds}", {"task": "transcribe",
                       "duration": seconds})  # fmt: skip
    for (provider, model), amounts in PER_CHARACTER.items():
        for text in ("Hi", "Grüße 👋", "x" * 4096):
            yield Case(provider, model, "audio.speech", {}, [(len(text), "character")], amounts,
                       text[:9], text=text)  # fmt: skip
    heard = {"type": "tokens", "input_tokens": 140, "output_tokens": 45, "total_tokens": 185,
             "input_token_details": {"text_tokens": 14, "audio_tokens": 126}}  # fmt: skip
    amounts = page.words("input heard output", page.OPENAI_PAGE,
                         gpt_4o_transcribe="2.50 6.00 10")["gpt-4o-transcribe"]  # fmt: skip
    yield Case("openai", "gpt-4o-transcribe", "audio.transcriptions", heard,
               [(14, "input"), (126, "heard"), (45, "output")], amounts, "tokens")  # fmt: skip


IMAGES: Final = page.words(
    "input cached seen seen_before drawn", page.OPENAI_PAGE, gpt_image_1="5 1.25 10 2.50 40",
    gpt_image_1_mini="2 0.20 2.50 0.25 8",
)  # fmt: skip


def pictures() -> Iterator[Case]:
    for model, amounts in IMAGES.items():
        for name, details, bill in (
            ("of a text", {"text_tokens": 50, "image_tokens": 0}, [(50, "input")]),
            ("of an image", {"text_tokens": 20, "image_tokens": 30}, [(20, "input"), (30, "seen")]),
            ("of one seen before",
             {"text_tokens": 20, "image_tokens": 30, "cached_tokens": 28,
              "cached_tokens_details": {"text_tokens": 4, "image_tokens": 24}},
             [(16, "input"), (4, "cached"), (6, "seen"), (24, "seen_before")]),
        ):  # fmt: skip
            usage = {"input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210,
                     "input_tokens_details": details,
                     "output_tokens_details": {"image_tokens": 4160, "text_tokens": 0}}  # fmt: skip
            yield Case("openai", model, "images.generations", usage, [*bill, (4160, "drawn")],
                       amounts, name)  # fmt: skip


def rankings() -> Iterator[Case]:
    for model, amount in (("rerank-v3.5", "0.002"), ("rerank-v4.0-fast", "0.002"),
                          ("rerank-v4.0-pro", "0.0025")):  # fmt: skip
        for units in (1, 3, 10):
            meta = {"billed_units": {"search_units": units}}
            yield Case("cohere", model, "rerank", meta, [(units, "search")],
                       {"search": amount, "page": page.COHERE_PAGE}, f"{units}")  # fmt: skip


def test_images_by_the_piece() -> None:
    """Providers of other formats, whose replies say nothing of usage."""
    body = b'{"predictions":[{"bytesBase64Encoded":"QQ=="},{"bytesBase64Encoded":"QQ=="}]}'
    asked = ImagesRequest(prompt="a cat", n=2)
    assert charged(
        "gemini", "imagen-3.0-generate-002", PREDICT.decode_reply(body, asked).usage
    ) == (2 * Decimal("0.04") * PICO)
    one = BEDROCK_IMAGES.decode_reply(b'{"images":["QQ=="]}', asked).usage
    assert charged("bedrock", "stability.stable-image-core-v1:1", one) == Decimal("0.04") * PICO


def charged(provider: str, model: str, usage: Usage | None) -> int | None:
    return cost(usage, prices.lookup(provider, model), int(NOW.timestamp()))


CASES: Final = [
    *openai_tools(), *openai_others(), *hosts(), *anthropic(), *google(), *perplexity(), *xai(),
    *sound(), *pictures(), *rankings(),
]  # fmt: skip


@by_provider(CASES)
def test_calls_cost_what_the_vendor_bills(cases: list[Case]) -> None:
    assert wrong(cases) == []


def test_every_amount_names_its_page() -> None:
    assert len(CASES) >= 250
    for case in CASES:
        url, _, day = case.amounts["page"].partition(" ")
        assert url.startswith("https://") and datetime.fromisoformat(day)
