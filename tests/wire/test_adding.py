"""docs/adding-a-provider.md: its rows are rows, and its format works with every caller's."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import openai
import pytest

from ferryman.catalog.load import CatalogProvider
from ferryman.catalog.quirks import OF_ENCODERS, REQUEST_QUIRKS
from ferryman.ir.events import Delta, Failed
from ferryman.ir.receipt import Receipt
from ferryman.wire.format import Aim, Format, ReplyContext
from ferryman.wire.formats import FORMATS, client_of
from ferryman.wire.paths import CONVERSATIONS, PATHS
from ferryman.wire.translate import TranslatingTap, translate_whole
from tests import tree
from tests.gateway import KEY, Stack, whole
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
    code, _ = blocks("python", PAGE)
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


@pytest.mark.parametrize("odd", [b"{", b"[]", b"5", b"\xff", b'{"used":[1]}', b'{"x":1}', b'""'])
def test_lines_that_are_none_end_the_stream_at_the_second(plain_text: Format, odd: bytes) -> None:
    assert plain_text.provider is not None
    decoder = plain_text.provider.stream_decoder()
    events = decoder.feed(b'{"said":"Ah"}\n' + odd + b'\n{"said":"oy"}\n' + odd + b"\n" + odd)
    assert decoder.broken == 2
    assert isinstance(events[-1], Failed)
    assert [event.text for event in events if isinstance(event, Delta)] == ["Ah", "oy"]
    assert decoder.feed(b'{"said":"more"}\n') == decoder.close() == []


def test_a_folder_and_a_row_make_a_format(tmp_path: Path) -> None:
    """The whole gateway, from a copy of its sources with what the page says put in."""
    code, row = blocks("python", PAGE)
    unwanted = shutil.ignore_patterns("__pycache__", "*.so")
    package = tmp_path / "src" / "ferryman"
    shutil.copytree(tree.ROOT / "src" / "ferryman", package, ignore=unwanted)
    folder = package / "wire" / "plain_text"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "format.py").write_text(code)
    paths = package / "wire" / "paths.py"
    start = "WAYS = MappingProxyType(\n    {\n"
    assert start in paths.read_text()
    paths.write_text(paths.read_text().replace(start, start + row))
    config = "providers:\n  new: { format: plain_text, base_url: CANNED, auth: none }\n"
    with Stack(tmp_path, config, PYTHONPATH=str(tmp_path / "src")).served() as stack:
        stack.canned.answers = [whole(b'{"said":"Ahoy","used":[3,5]}')]
        client = anthropic.Anthropic(base_url=stack.url, api_key=KEY, max_retries=0)
        hi: Any = [{"role": "user", "content": "Hi"}]
        said = client.messages.create(model="new/m", max_tokens=9, messages=hi)
        assert said.content[0].text == "Ahoy"  # type: ignore[union-attr]
        assert said.usage.output_tokens == 5
        assert stack.canned.requests[0][1].startswith(b"POST /say HTTP/1.1")
        lines = b'{"said":"Ah"}\n{"said":"oy"}\n{"used":[3,5]}\n'
        stack.canned.answers = [whole(lines).replace(b"/json", b"/x-ndjson", 1)]
        chat = openai.OpenAI(base_url=stack.endpoint, api_key=KEY, max_retries=0)
        chunks = chat.chat.completions.create(model="new/m", messages=hi, seed=7, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Ahoy"


def test_the_formats_of_the_table_are_registered_under_their_names() -> None:
    assert all(name == row.name for name, row in FORMATS.items())
    assert {*PATHS} == {*FORMATS}
