"""Media at private addresses are refused, in whatever spelling and format they are named."""

import json
from typing import Any

import pytest

from ferryman.ir.errors import GatewayError
from ferryman.wire.addresses import public
from ferryman.wire.formats import FORMATS

PRIVATE = [
    "http://127.0.0.1/a.png", "http://localhost:8081/admin/v1/keys", "http://10.1.2.3/", "HTTP://[::1]/",
    "http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/", "http://2130706433/",
    "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/", "http://[::ffff:10.0.0.1]/",
    "http://[fe80::1%25eth0]/", "http://[fd00::1]/", "https://user:pw@192.168.0.1/x", "http://0/",
    "http://router/", "http://nas.local./x", "http://100.64.0.1/", "http://224.0.0.1/",
    "http://127.0.0.1\\@example.com/", "http:\\\\127.0.0.1\\a", "http://%31%32%37.0.0.1/", "http:///x",
    "http://1.2.3.4.home.arpa/", " http://127.0.0.1/", "file:///etc/passwd", "http://[x/",
]  # fmt: skip
PUBLIC = [
    "https://example.com/a.png", "http://93.184.216.34/a.png", "https://[2606:2800:220:1::1]/a",
    "https://local.example.com/", "https://10.0.0.1.example.com/", "gs://bucket/a.png", "s3://b/a",
    "https://generativelanguage.googleapis.com/v1beta/files/x", "https://example.com/?u=http://10.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("url", PRIVATE)
def test_private(url: str) -> None:
    with pytest.raises(GatewayError, match="messages") as refusal:
        public(url, "messages[0]")
    assert (refusal.value.status, refusal.value.param) == (400, "messages[0]")


@pytest.mark.parametrize("url", PUBLIC)
def test_public(url: str) -> None:
    assert public(url, "messages[0]") == url


def asking(name: str, url: str) -> dict[str, Any]:
    """A request in a format, with an image at ``url``."""
    source = {"type": "url", "url": url}
    return {
        "openai_chat": {
            "model": "m",
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
            ],
        },
        "openai_responses": {
            "model": "m",
            "input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}],
        },
        "anthropic_messages": {
            "model": "m",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}],
        },
        "gemini_generate": {
            "contents": [{"role": "user", "parts": [{"fileData": {"fileUri": url}}]}]
        },
    }[name]


@pytest.mark.parametrize(
    "name", [name for name, form in FORMATS.items() if form.client is not None]
)
def test_every_format_refuses_them(name: str) -> None:
    client = FORMATS[name].client
    assert client is not None
    body = json.dumps(asking(name, "https://example.com/a.png")).encode()
    assert client.decode_request(body, "m", False).messages
    body = json.dumps(asking(name, "http://169.254.169.254/a.png")).encode()
    with pytest.raises(GatewayError, match="private address"):
        client.decode_request(body, "m", False)
