"""Which reply headers of providers go on to callers: what tells of the call, nothing that steers
browsers, proxies or caches, and nothing of ours.

https://platform.openai.com/docs/api-reference/debugging-requests ·
https://platform.claude.com/docs/en/api/errors#request-id ·
https://docs.mistral.ai/deployment/laplateforme/tier/ · https://docs.fireworks.ai ·
https://learn.microsoft.com/azure/ai-foundry/openai/how-to/quota ·
https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_ignore_headers (``x-accel-``)
"""

from typing import Final

from ferryman.catalog.request_ids import REQUEST_IDS

_NAMES: Final = REQUEST_IDS | frozenset(
    b"content-type content-language content-disposition retry-after retry-after-ms deprecation "
    b"sunset warning server-timing cf-ray azureml-model-session num_tokens num_chars "
    b"character-cost history-item-id".split()
)
_BEGINNINGS: Final[tuple[bytes, ...]] = (
    b"x-", b"openai-", b"anthropic-", b"ratelimit", b"ms-", b"mistral-", b"fireworks-",
)  # fmt: skip
_NOT: Final[tuple[bytes, ...]] = (
    b"x-ferryman-", b"x-accel-", b"x-sendfile", b"x-lighttpd-", b"x-litespeed-", b"x-reproxy-",
    b"x-frame-options", b"x-xss-protection", b"x-content-type-options", b"x-dns-prefetch-control",
    b"x-permitted-cross-domain", b"x-download-options", b"x-ua-compatible", b"x-robots-tag",
    b"x-forwarded-", b"x-real-ip", b"x-http-method",
)  # fmt: skip
"""Of those that begin so, what browsers and servers in front of the gateway would obey."""


def goes_on(name: bytes) -> bool:
    """Whether a reply header, its name in small letters, goes on to the caller."""
    return name in _NAMES or (name.startswith(_BEGINNINGS) and not name.startswith(_NOT))
