"""What vendors' price pages say (USD per million tokens), and usage as vendors' APIs report it.

Each row names the page that its amounts belong to and the day on which they were compared: with the
page where a copy could be read (Anthropic's, xAI's, Perplexity's), else with LiteLLM 1.109.1, which
names the same pages. Groq's Llamas, Grok 3 and Gemini 2.0, retired there, agree with genai-prices
alone, as does the $6 for audio of gpt-4o-transcribe. A usage has
beside it what the vendor's documentation says it is billed as: (how many, by which word of the
page).
"""

from typing import Any, Final

Bill = list[tuple[int, str]]
Body = dict[str, Any]
OPENAI_PAGE: Final = "https://developers.openai.com/api/docs/pricing 2026-11-26"
ANTHROPIC_PAGE: Final = "https://platform.claude.com/docs/en/about-claude/pricing 2026-11-26"
GOOGLE_PAGE: Final = "https://ai.google.dev/gemini-api/docs/pricing 2026-11-26"
DEEPSEEK_PAGE: Final = "https://api-docs.deepseek.com/quick_start/pricing 2026-11-26"
XAI_PAGE: Final = "https://docs.x.ai/developers/pricing 2026-11-26"
GROQ_PAGE: Final = "https://groq.com/pricing 2026-11-26"
COHERE_PAGE: Final = "https://cohere.com/pricing 2026-11-26"
BEDROCK_PAGE: Final = "https://aws.amazon.com/bedrock/pricing 2026-11-26"
MISTRAL_PAGE: Final = "https://mistral.ai/pricing/api 2026-11-26"
PERPLEXITY_PAGE: Final = "https://docs.perplexity.ai/getting-started/pricing 2026-11-26"


def words(names: str, where: str, **rows: str) -> dict[str, dict[str, str]]:
    """Rows of a page: model → word → amount. Underscores stand for - and two of them for a dot."""
    return {
        model.replace("__", ".").replace("_", "-"): {
            **dict(zip(names.split(), row.split(), strict=True)),
            "page": where,
        }
        for model, row in rows.items()
    }


# --- OpenAI ---------------------------------------------------------------------------------------

OPENAI: Final = words(
    "input cached output",
    OPENAI_PAGE,
    gpt_4o="2.50 1.25 10.00",
    gpt_4o_mini="0.15 0.075 0.60",
    gpt_4__1="2.00 0.50 8.00",
    gpt_4__1_mini="0.40 0.10 1.60",
    gpt_4__1_nano="0.10 0.025 0.40",
    gpt_5="1.25 0.125 10.00",
    gpt_5_mini="0.25 0.025 2.00",
    gpt_5_nano="0.05 0.005 0.40",
    gpt_5__1="1.25 0.125 10.00",
    gpt_5__2="1.75 0.175 14.00",
    gpt_5__4="2.50 0.25 15.00",
    gpt_5__5="5.00 0.50 30.00",
    gpt_6_sol="2.00 0.20 10.00",
    gpt_6__1_sol="2.00 0.10 10.00",
    gpt_6_luna="0.10 0.01 0.50",
    o1="15.00 7.50 60.00",
    o3="2.00 0.50 8.00",
    o3_mini="1.10 0.55 4.40",
    o4_mini="1.10 0.275 4.40",
)
OPENAI_PRIORITY: Final = words(
    "input cached output",
    OPENAI_PAGE,
    gpt_4o="4.25 2.125 17.00",
    gpt_4o_mini="0.25 0.125 1.00",
    gpt_4__1="3.50 0.875 14.00",
    gpt_4__1_mini="0.70 0.175 2.80",
    gpt_4__1_nano="0.20 0.05 0.80",
    gpt_5="2.50 0.25 20.00",
    gpt_5_mini="0.45 0.045 3.60",
    o3="3.50 0.875 14.00",
    o4_mini="2.00 0.50 8.00",
)
OPENAI_FLEX: Final = words(
    "input cached output",
    OPENAI_PAGE,
    gpt_5="0.625 0.0625 5.00",
    gpt_5_mini="0.125 0.0125 1.00",
    gpt_5_nano="0.025 0.0025 0.20",
    o3="1.00 0.25 4.00",
)
OPENAI_BATCH: Final = words(
    "input output",
    OPENAI_PAGE,
    gpt_4o="1.25 5.00",
    gpt_4o_mini="0.075 0.30",
    gpt_4__1="1.00 4.00",
    gpt_4__1_mini="0.20 0.80",
    gpt_5="0.625 5.00",
    gpt_5_mini="0.125 1.00",
    o3="1.00 4.00",
    o4_mini="0.55 2.20",
)
OPENAI_LEGACY: Final = words(
    "input output",
    OPENAI_PAGE,
    gpt_3__5_turbo_instruct="1.50 2.00",
    davinci_002="2.00 2.00",
    babbage_002="0.40 0.40",
)
OPENAI_EMBEDDINGS: Final = words(
    "input", OPENAI_PAGE, text_embedding_3_small="0.02", text_embedding_3_large="0.13",
    text_embedding_ada_002="0.10",
)  # fmt: skip
EMBEDDED: Final[tuple[Body, Bill]] = ({"prompt_tokens": 8, "total_tokens": 8}, [(8, "input")])
CHAT: Final[dict[str, tuple[Body, Bill]]] = {
    "short": ({"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
              [(19, "input"), (10, "output")]),
    "cached": ({"prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
                "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0,
                                              "accepted_prediction_tokens": 0,
                                              "rejected_prediction_tokens": 0}},
               [(86, "input"), (1920, "cached"), (300, "output")]),
    "reasoning": ({"prompt_tokens": 75, "completion_tokens": 1186, "total_tokens": 1261,
                   "completion_tokens_details": {"reasoning_tokens": 1024}},
                  [(75, "input"), (1186, "output")]),
    "all cached": ({"prompt_tokens": 100_352, "completion_tokens": 1, "total_tokens": 100_353,
                    "prompt_tokens_details": {"cached_tokens": 100_352}},
                   [(100_352, "cached"), (1, "output")]),
    "nothing said": ({"prompt_tokens": 1007, "completion_tokens": 0, "total_tokens": 1007},
                     [(1007, "input")]),
}  # fmt: skip
RESPONSES: Final[dict[str, tuple[Body, Bill]]] = {
    "response": ({"input_tokens": 328, "input_tokens_details": {"cached_tokens": 0},
                  "output_tokens": 52, "output_tokens_details": {"reasoning_tokens": 0},
                  "total_tokens": 380}, [(328, "input"), (52, "output")]),
    "response, cached and thinking": (
        {"input_tokens": 1500, "input_tokens_details": {"cached_tokens": 1408},
         "output_tokens": 2100, "output_tokens_details": {"reasoning_tokens": 1984},
         "total_tokens": 3600}, [(92, "input"), (1408, "cached"), (2100, "output")]),
}  # fmt: skip

# --- Anthropic ------------------------------------------------------------------------------------

ANTHROPIC: Final = words(
    "base write5m write1h hit output",
    ANTHROPIC_PAGE,
    claude_fable_5_1="10 12.50 20 0.25 50",
    claude_fable_5="10 12.50 20 1 50",
    claude_opus_5_5="4 5 8 0.20 20",
    claude_opus_5="5 6.25 10 0.50 25",
    claude_sonnet_5="2 2.50 4 0.20 10",
    claude_opus_4_5="5 6.25 10 0.50 25",
    claude_opus_4_1="15 18.75 30 1.50 75",
    claude_sonnet_4_5="3 3.75 6 0.30 15",
    claude_haiku_4_5="1 1.25 2 0.10 5",
    claude_3_5_haiku_latest="0.80 1 1.6 0.08 4",
)
MESSAGES: Final[dict[str, tuple[Body, Bill]]] = {
    "short": ({"input_tokens": 12, "output_tokens": 6, "cache_creation_input_tokens": 0,
               "cache_read_input_tokens": 0, "service_tier": "standard"},
              [(12, "base"), (6, "output")]),
    "written for five minutes": (
        {"input_tokens": 21, "output_tokens": 393, "cache_creation_input_tokens": 18_086,
         "cache_read_input_tokens": 0, "service_tier": "standard"},
        [(21, "base"), (18_086, "write5m"), (393, "output")]),
    "read": ({"input_tokens": 21, "output_tokens": 393, "cache_creation_input_tokens": 0,
              "cache_read_input_tokens": 18_086},
             [(21, "base"), (18_086, "hit"), (393, "output")]),
    "written for both times": (
        {"input_tokens": 2048, "output_tokens": 503, "cache_read_input_tokens": 1800,
         "cache_creation_input_tokens": 248,
         "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100}},
        [(2048, "base"), (1800, "hit"), (148, "write5m"), (100, "write1h"), (503, "output")]),
    "searched": ({"input_tokens": 6039, "output_tokens": 931,
                  "server_tool_use": {"web_search_requests": 3}},
                 [(6039, "base"), (931, "output"), (3, "search")]),
    "thought": ({"input_tokens": 44, "output_tokens": 1200,
                 "output_tokens_details": {"thinking_tokens": 1100}},
                [(44, "base"), (1200, "output")]),
}  # fmt: skip

# --- Google ---------------------------------------------------------------------------------------

GEMINI: Final = words(
    "text audio cached cached_audio output search",
    GOOGLE_PAGE,
    gemini_2__5_flash="0.30 1.00 0.03 0.10 2.50 0.035",
    gemini_2__5_flash_lite="0.10 0.30 0.01 0.03 0.40 0.035",
    gemini_2__0_flash="0.10 0.70 0.025 0.175 0.40 0.035",
)
GEMINI_PRO: Final = words("text cached output", GOOGLE_PAGE, gemini_2__5_pro="1.25 0.125 10")
GEMINI_PRO_LONG: Final = words("text cached output", GOOGLE_PAGE, gemini_2__5_pro="2.50 0.25 15")
GENERATE: Final[dict[str, tuple[Body, Bill]]] = {
    "short": ({"promptTokenCount": 4, "candidatesTokenCount": 10, "totalTokenCount": 14,
               "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}]},
              [(4, "text"), (10, "output")]),
    "thought": ({"promptTokenCount": 12, "candidatesTokenCount": 200, "thoughtsTokenCount": 811,
                 "totalTokenCount": 1023}, [(12, "text"), (1011, "output")]),
    "cached": ({"promptTokenCount": 70_012, "cachedContentTokenCount": 70_000,
                "candidatesTokenCount": 31, "totalTokenCount": 70_043},
               [(12, "text"), (70_000, "cached"), (31, "output")]),
    "read for a tool": ({"promptTokenCount": 30, "toolUsePromptTokenCount": 500,
                         "candidatesTokenCount": 77, "totalTokenCount": 607},
                        [(530, "text"), (77, "output")]),
}  # fmt: skip
SOUND: Final[dict[str, tuple[Body, Bill]]] = {
    "heard": ({"promptTokenCount": 1932, "candidatesTokenCount": 40, "totalTokenCount": 1972,
               "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12},
                                       {"modality": "AUDIO", "tokenCount": 1920}]},
              [(12, "text"), (1920, "audio"), (40, "output")]),
    "heard before": ({"promptTokenCount": 2012, "cachedContentTokenCount": 2000,
                      "candidatesTokenCount": 7, "totalTokenCount": 2019,
                      "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 112},
                                              {"modality": "AUDIO", "tokenCount": 1900}],
                      "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 100},
                                             {"modality": "AUDIO", "tokenCount": 1900}]},
                     [(12, "text"), (100, "cached"), (1900, "cached_audio"), (7, "output")]),
}  # fmt: skip
GEMINI_BATCH: Final = words(
    "text audio output",
    GOOGLE_PAGE,
    gemini_2__5_flash="0.15 0.50 1.25",
    gemini_2__5_flash_lite="0.05 0.15 0.20",
)
LONG: Final[tuple[Body, Bill]] = (
    {"promptTokenCount": 200_001, "candidatesTokenCount": 9, "totalTokenCount": 200_010,
     "cachedContentTokenCount": 1},
    [(200_000, "text"), (1, "cached"), (9, "output")],
)  # fmt: skip
JUST_NOT_LONG: Final[tuple[Body, Bill]] = (
    {"promptTokenCount": 200_000, "candidatesTokenCount": 9, "totalTokenCount": 200_009},
    [(200_000, "text"), (9, "output")],
)

# --- others ---------------------------------------------------------------------------------------

HOSTS: Final = {
    "groq": words("input output", GROQ_PAGE, llama_3__3_70b_versatile="0.59 0.79",
                  llama_3__1_8b_instant="0.05 0.08"),
    "xai": words("input cached output", XAI_PAGE, grok_3="3.00 0.75 15.00",
                 grok_3_mini="0.30 0.075 0.50"),
    "mistral": words("input output", MISTRAL_PAGE, codestral_latest="0.30 0.90"),
}  # fmt: skip
DEEPSEEK_V3: Final = words("hit miss output", DEEPSEEK_PAGE, deepseek_chat="0.07 0.27 1.10",
                           deepseek_reasoner="0.14 0.55 2.19")  # fmt: skip
"""Until September 2025, but for 16:30 to 00:30."""
DEEPSEEK_NIGHT: Final = words("hit miss output", DEEPSEEK_PAGE, deepseek_chat="0.035 0.135 0.55",
                              deepseek_reasoner="0.035 0.135 0.55")  # fmt: skip
DEEPSEEK_V32: Final = words("hit miss output", DEEPSEEK_PAGE, deepseek_chat="0.028 0.28 0.42",
                            deepseek_reasoner="0.028 0.28 0.42")  # fmt: skip
DEEPSEEK_PEAK: Final = words("hit miss output", DEEPSEEK_PAGE, deepseek_flash="0.006 0.30 1.20",
                             deepseek_v4_flash="0.006 0.30 1.20",
                             deepseek_v4_pro="0.044 1.32 3.96")  # fmt: skip
"""Monday to Friday, 01:00 to 04:00 and 06:00 to 10:00."""
DEEPSEEK_OFF: Final = words("hit miss output", DEEPSEEK_PAGE, deepseek_flash="0.003 0.15 0.60",
                            deepseek_v4_flash="0.003 0.15 0.60",
                            deepseek_v4_pro="0.022 0.66 1.98")  # fmt: skip
DEEPSEEK_AUGUST: Final = words("hit miss output", DEEPSEEK_PAGE, peak="0.014 0.44 1.32",
                               off="0.007 0.22 0.66", before="0.0028 0.14 0.28")  # fmt: skip
"""V4 Flash from 16 August 2026, 16:00 to 10 September, 04:00; and before."""
DEEPSEEK_USAGE: Final[tuple[Body, Bill]] = (
    {"prompt_tokens": 1300, "completion_tokens": 421, "total_tokens": 1721,
     "prompt_cache_hit_tokens": 1280, "prompt_cache_miss_tokens": 20,
     "prompt_tokens_details": {"cached_tokens": 1280},
     "completion_tokens_details": {"reasoning_tokens": 0}},
    [(1280, "hit"), (20, "miss"), (421, "output")],
)  # fmt: skip
COHERE: Final = words(
    "input output", COHERE_PAGE, command_r_08_2024="0.15 0.60", command_r_plus_08_2024="2.50 10.00"
)
COHERE_USAGE: Final[dict[str, tuple[Body, Bill]]] = {
    "billed units": ({"billed_units": {"input_tokens": 5, "output_tokens": 418},
                      "tokens": {"input_tokens": 71, "output_tokens": 418}},
                     [(5, "input"), (418, "output")]),
    "tokens alone": ({"tokens": {"input_tokens": 71, "output_tokens": 3}},
                     [(71, "input"), (3, "output")]),
}  # fmt: skip
COHERE_EMBED: Final = words("input", COHERE_PAGE, embed_v4__0="0.12")
COHERE_EMBEDDED: Final[tuple[Body, Bill]] = (
    {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 17}}, [(17, "input")],
)  # fmt: skip
BEDROCK: Final = words(
    "input read write output",
    BEDROCK_PAGE,
    global__anthropic__claude_sonnet_4_5_20250929_v1="3 0.30 3.75 15",
    anthropic__claude_sonnet_4_5_20250929_v1="3.30 0.33 4.125 16.50",
    global__anthropic__claude_haiku_4_5_20251001_v1="1 0.10 1.25 5",
)
CONVERSE: Final[dict[str, tuple[Body, Bill]]] = {
    "short": ({"inputTokens": 125, "outputTokens": 60, "totalTokens": 185},
              [(125, "input"), (60, "output")]),
    "cached": ({"inputTokens": 25, "outputTokens": 60, "totalTokens": 2185,
                "cacheReadInputTokens": 2000, "cacheWriteInputTokens": 100},
               [(25, "input"), (2000, "read"), (100, "write"), (60, "output")]),
}  # fmt: skip
