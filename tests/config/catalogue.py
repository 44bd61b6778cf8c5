"""A small catalogue, so that expected messages do not change when the real one is refreshed."""

from pathlib import Path
from typing import Any

from ferryman.catalog.load import CatalogModel, CatalogProvider
from ferryman.config.file import Loaded, load
from ferryman.config.names import Known

_ROW: dict[str, Any] = {"docs": "", "endpoints": ("chat.completions",)}

KNOWN = Known(
    providers={
        row.name: row
        for row in (
            CatalogProvider(
                name="openai",
                title="OpenAI",
                base_url="https://api.openai.com/v1",
                key_env=("OPENAI_API_KEY",),
                quirks=("max_completion_tokens",),
                **_ROW,
            ),
            CatalogProvider(
                name="anthropic",
                title="Anthropic",
                base_url="https://api.anthropic.com/v1",
                key_env=("ANTHROPIC_API_KEY",),
                **_ROW,
            ),
            CatalogProvider(
                name="groq",
                title="Groq",
                base_url="https://api.groq.com/openai/v1",
                key_env=("GROQ_API_KEY",),
                **_ROW,
            ),
            CatalogProvider(
                name="gemini",
                title="Gemini",
                base_url="https://generativelanguage.googleapis.com/v1beta/openai",
                key_env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
                **_ROW,
            ),
            CatalogProvider(
                name="cloudflare",
                title="Cloudflare",
                base_url="https://api.cloudflare.com/accounts/{CLOUDFLARE_ACCOUNT_ID}/ai/v1",
                key_env=("CLOUDFLARE_API_TOKEN",),
                **_ROW,
            ),
            CatalogProvider(
                name="ollama",
                title="Ollama",
                base_url="http://127.0.0.1:11434/v1",
                auth="none",
                keyless=True,
                **_ROW,
            ),
        )
    },
    models={
        "openai": {
            name: CatalogModel(context=128_000, max_output=16_384, abilities=("tools",))
            for name in ("gpt-4o", "gpt-4o-mini")
        },
        "anthropic": {"claude-sonnet-4-5": CatalogModel(context=200_000)},
        "groq": {"llama-3.3-70b-versatile": CatalogModel(context=131_072)},
        "gemini": {},
        "cloudflare": {},
        "ollama": {},
    },
    bare={
        "gpt-4o": (("openai", "gpt-4o"), ("groq", "gpt-4o")),
        "gpt-4o-mini": (("openai", "gpt-4o-mini"),),
        "claude-sonnet-4-5": (("anthropic", "claude-sonnet-4-5"),),
    },
    quirks=frozenset({"no_stream_options", "max_completion_tokens"}),
    also={"google": "gemini"},
)

KEYS = {
    "OPENAI_API_KEY": "sk-openai-value",
    "ANTHROPIC_API_KEY": "sk-anthropic-value",
    "GROQ_API_KEY": "gsk-groq-value",
    "LAB_KEY": "lab-value",
}


def loaded(
    folder: Path, text: str | bytes, *, strict: bool = False, env: dict[str, str] | None = None
) -> Loaded:
    """``text`` written to ``folder/ferryman.yaml`` and loaded."""
    path = folder / "ferryman.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path, strict=strict, env=KEYS if env is None else env, known=KNOWN)


def told(found: Loaded) -> str:
    """All problems as text, with the file's folder left out."""
    folder = str(Path(found.file).parent) + "/"
    return "\n".join(str(problem).replace(folder, "") for problem in found.problems)
