"""docs/adding-a-provider.md: its rows are rows, and its format works with every caller's."""

import json
import tomllib
from typing import Any

import msgspec
import pytest

from ferryman.catalog.load import CatalogProvider
from ferryman.catalog.quirks import OF_ENCODERS, REQUEST_QUIRKS
from ferryman.ir.receipt import Receipt
from ferryman.wire.format import Aim, Format, ReplyContext
from ferryman.wire.formats import FORMATS, client_of
from ferryman.wire.paths import CONVERSATIONS, PATHS
from ferryman.wire.translate import TranslatingTap, translate_whole
from tests.test_readme import blocks

PAGE = "docs/adding-a-provider.md"
BODIES: dict[str, Any] = {
    "chat.completions": {"model": "m", "seed": 7, "messages": [{"role": "user", "content": "Hi"}]},
    "responses": {"model": "m", "input": "Hi", "temperature": 0.5},
    "messages": {
        "model": "m", "max_tokens": 9, "temperature": 0.5,
        "messages": [{"role": "user", "content": "Hi"}],
    },
    "generate_content": {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {"seed": 7},
    },
}  # fmt: skip


def test_the_rows_are_rows() -> None:
    [text] = blocks("toml", PAGE)
    for name, row in tomllib.loads(text).items():
        made = msgspec.convert({"name": name, **row}, CatalogProvider)
        assert set(made.endpoints) <= set(PATHS[made.format])
        known = {*REQUEST_QUIRKS, *OF_ENCODERS.get(made.format, ())}
        assert set(made.quirks) <= known


@pytest.fixture(scope="module")
def plain_text() -> Format:
    [code] = blocks("python", PAGE)
    scope: dict[str, Any] = {}
    exec(compile(code, PAGE, "exec"), scope)
    made: Format = scope["FORMAT"]
    return made


@pytest.mark.parametrize("endpoint", CONVERSATIONS)
@pytest.mark.parametrize("stream", [False, True])
def test_the_format_serves_every_caller(plain_text: Format, endpoint: str, stream: bool) -> None:
    provider, client = plain_text.provider, client_of(endpoint)
    assert provider is not None
    fields = dict(BODIES[endpoint])
    if stream and endpoint != "generate_content":
        fields["stream"] = True
    request = client.decode_request(json.dumps(fields).encode(), "m", stream)
    receipt = Receipt()
    sent = json.loads(provider.encode_request(request, Aim(model="theirs"), receipt))
    assert sent == {"model": "theirs", "prompt": "Hi"}
    assert set(receipt.dropped) & {"seed", "temperature"}
    context = ReplyContext(request=request, receipt=receipt, request_id="req_1", now=1)
    if not stream:
        body, usage = translate_whole(b'{"said":"Ahoy","used":[3,5]}', provider, client, context)
        assert b"Ahoy" in body
        assert usage is not None
        return
    tap = TranslatingTap(provider, client, context, ())
    lines = b'{"said":"Ah"}\n{"said":"oy"}\n{"used":[3,5]}\n'
    said = b"".join([tap.feed(lines[i : i + 1]) for i in range(len(lines))])
    tap.close()
    assert tap.done
    assert (tap.usage.total_input, tap.usage.total_output) == (3, 5) if tap.usage else False
    assert b"Ah" in said
    assert b"oy" in said


def test_an_unfinished_stream_is_no_answer(plain_text: Format) -> None:
    provider, client = plain_text.provider, client_of("messages")
    assert provider is not None
    request = client.decode_request(json.dumps(BODIES["messages"]).encode(), "m", True)
    context = ReplyContext(request=request, receipt=Receipt(), request_id="req_1", now=1)
    tap = TranslatingTap(provider, client, context, ())
    tap.feed(b'{"said":"Ah"}\n')
    tap.close()
    assert not tap.done
    assert tap.failure is not None


def test_the_formats_of_the_table_are_registered_under_their_names() -> None:
    assert all(name == row.name for name, row in FORMATS.items())
    assert {*PATHS} == {*FORMATS}
