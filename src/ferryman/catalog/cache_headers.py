"""Request headers about a cache of answers, with the spellings that other gateways have for them.

https://openrouter.ai/docs/features/response-caching ·
https://developers.cloudflare.com/ai-gateway/features/caching/ ·
https://portkey.ai/docs/product/ai-gateway/cache-simple-and-semantic ·
https://docs.helicone.ai/features/advanced-usage/caching · RFC 9111 §5.2.1
"""

from typing import Final

CACHE_HEADERS: Final = {
    b"cache-control": "control",
    b"x-ferryman-cache": "switch",
    b"x-ferryman-cache-ttl": "ttl",
    b"x-ferryman-cache-namespace": "namespace",
    b"x-openrouter-cache": "switch",
    b"x-openrouter-cache-ttl": "ttl",
    b"x-openrouter-cache-clear": "refresh",
    b"cf-aig-skip-cache": "skip",
    b"cf-aig-cache-ttl": "ttl",
    b"x-portkey-cache-namespace": "namespace",
    b"x-portkey-cache-force-refresh": "refresh",
    b"helicone-cache-enabled": "switch",
    b"helicone-cache-seed": "namespace",
}
"""Header → what its value says: ``switch`` (on, off, refresh), ``skip`` and ``refresh`` (true or
false), ``ttl`` (seconds), ``namespace`` (any text), ``control`` (as HTTP has it)."""
