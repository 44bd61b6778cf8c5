"""Media at private addresses are refused, in whatever spelling and format they are named."""

import json
from typing import Any

import pytest

from ferryman.ir.errors import GatewayError
from ferryman.wire.addresses import ANY, PUBLIC, WRITTEN, admits, reach, refused_address
from ferryman.wire.addresses import public as media
from ferryman.wire.formats import FORMATS

PRIVATE = [
    "http://127.0.0.1/a.png", "http://localhost:8081/api/v1/keys", "http://10.1.2.3/", "HTTP://[::1]/",
    "http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/", "http://2130706433/",
    "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/", "http://[::ffff:10.0.0.1]/",
    "http://[fe80::1%25eth0]/", "http://[fd00::1]/", "https://user:pw@192.168.0.1/x", "http://0/",
    "http://router/", "http://nas.local./x", "http://100.64.0.1/", "http://224.0.0.1/",
    "http://127.0.0.1\\@example.com/", "http:\\\\127.0.0.1\\a", "http://%31%32%37.0.0.1/", "http:///x",
    "http://[64:ff9b::a00:1]/", "http://[2002:a00:1::]/", "http://[::10.0.0.1]/",
    "http://[::ffff:0:10.0.0.1]/", "http://168.63.129.16/",
    "http://[fec0::1]/", "http://[2001:0:1::1]/",
    "http://vllm.models.svc/", "http://1.2.3.4.home.arpa/",
    " http://127.0.0.1/", "file:///etc/passwd", "http://[x/",
]  # fmt: skip
OPEN = [
    "https://example.com/a.png", "http://93.184.216.34/a.png", "https://[2606:2800:220:1::1]/a",
    "https://local.example.com/", "https://10.0.0.1.example.com/", "gs://bucket/a.png", "s3://b/a",
    "https://generativelanguage.googleapis.com/v1beta/files/x", "https://example.com/?u=http://10.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("url", PRIVATE)
def test_private(url: str) -> None:
    with pytest.raises(GatewayError, match="messages") as refusal:
        media(url, "messages[0]")
    assert (refusal.value.status, refusal.value.param) == (400, "messages[0]")


@pytest.mark.parametrize("url", OPEN)
def test_public(url: str) -> None:
    assert media(url, "messages[0]") == url


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


METADATA = [
    "169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
    "fd00:ec2::254", "2002:a9fe:a9fe::", "168.63.129.16", "100.100.100.200",
    "192.0.0.192", "fd20:ce::254",
]  # fmt: skip
LOCAL = [
    "127.0.0.1", "::1", "10.0.0.7", "172.16.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "::",
    "fd12::1", "::ffff:10.0.0.7", "64:ff9b::a00:7", "64:ff9b:1::a00:7", "2002:a00:7::",
    "::10.0.0.7", "198.18.0.1", "240.0.0.1", "2001:db8::1", "224.0.0.1",
    "ff02::1", "fec0::1", "2001:0:1::1",
]  # fmt: skip
GLOBAL = ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"]


@pytest.mark.parametrize(
    ("addresses", "within"),
    [(GLOBAL, (PUBLIC, WRITTEN, ANY)), (LOCAL, (WRITTEN, ANY)), (METADATA, (ANY,))],
)
def test_what_destinations_may_lead_to(addresses: list[str], within: tuple[int, ...]) -> None:
    for address in addresses:
        admitted = tuple(each for each in (PUBLIC, WRITTEN, ANY) if admits(address, each))
        assert admitted == within, address
    assert not admits("no address", PUBLIC)


@pytest.mark.parametrize(
    ("url", "said", "reaches"),
    [
        ("https://api.example.com/v1", None, PUBLIC),
        ("https://api.example.com/v1", True, ANY),
        ("http://93.184.216.34/v1", None, PUBLIC),
        ("http://localhost:11434/v1", None, WRITTEN),
        ("http://127.1:11434/v1", None, WRITTEN),
        ("http://ollama:11434/v1", None, WRITTEN),
        ("http://vllm.models.svc.cluster.local/v1", None, WRITTEN),
        ("http://10.0.0.7:8000/v1", False, PUBLIC),
        ("http://169.254.169.254/v1", None, WRITTEN),
    ],
)
def test_a_private_name_or_address_is_a_choice_of_who_wrote_it(
    url: str, said: bool | None, reaches: int
) -> None:
    assert reach(url, said) == reaches


def test_an_address_is_refused_where_it_is_written_if_it_never_could_be_reached() -> None:
    assert refused_address("http://169.254.169.254/v1", None)
    assert refused_address("http://10.0.0.7/v1", False)
    assert not refused_address("http://169.254.169.254/v1", True)
    assert not refused_address("http://10.0.0.7/v1", None)
    assert not refused_address("https://api.example.com/v1", None)
    assert not refused_address("https://{HOST}/v1", False)
