"""Images in a request are held at what their model can make of them, not at a token a byte; what it
only points to, at a window of the model."""

import base64
import json
from collections.abc import Iterator

import pytest

from ferryman.catalog.media_bounds import image_bound
from ferryman.flow.bounds import choices
from ferryman.wire.envelope import decode, decode_named
from tests.gateway import Stack

CONFIG = """\
providers:
  lab:
    base_url: SIM/v1
    auth: none
    prices:
      gpt-4o: { input: 10, output: 10 }
      no-name: { input: 10, output: 10 }
      vast: { input: 10, output: 10 }
    models: { gpt-4o: { context: 128000 }, no-name: { context: 100000 } }
  claude:
    base_url: SIM/v1
    format: anthropic_messages
    key: sk
    prices: PRICES
    models: { claude-sim: { context: 200000 } }
limits:
  - { name: b, when: { metadata.b: { exists: true } }, by: metadata.b,
      budget: { usd: 0.1, per: month } }
""".replace("PRICES", "{ claude-sim: { input: 10, output: 10 } }")
PICTURE = base64.b64encode(b"\x89PNG" + bytes(150_000)).decode()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("pictures"), CONFIG).served() as running:
        yield running


def ask(stack: Stack, model: str, images: int) -> int:
    """200,000 characters a picture: 2 USD at a token a byte."""
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    content = [{"type": "text", "text": "What is it?"}, *[image] * images]
    said = {"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": content}]}
    key = json.dumps({"b": f"{model}-{images}"})
    return stack.post(said, headers={"x-ferryman-metadata": key}).status


def test_as_many_pictures_pass_as_their_tokens_allow(seen: Stack) -> None:
    assert [ask(seen, "lab/gpt-4o", count) for count in (1, 2, 4)] == [200, 200, 402]
    assert [ask(seen, "claude/claude-sim", count) for count in (1, 4)] == [200, 402]
    assert ask(seen, "lab/no-name", 1) == 402, "of others nobody knows it: a token a byte"


WEB = "https://example.org/it.png"
LINKED = {"type": "image_url", "image_url": {"url": WEB}}
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
SHOWN = {"type": "image", "source": {"type": "url", "url": WEB}}
READ = {"type": "document", "source": {"type": "url", "url": "https://example.org/it.pdf"}}
GENERATE = "/v1beta/models/lab%2Fgpt-4o:generateContent"
SAYS = {"contents": [{"role": "user", "parts": [{"text": "Go on."}]}]}
FILM = {"fileData": {"fileUri": "https://example.org/it.mp4", "mimeType": "video/mp4"}}


def said(*parts: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": list(parts)}], "max_tokens": 10}


@pytest.mark.parametrize(
    ("path", "model", "body", "status"),
    [
        (CHAT, "lab/gpt-4o", said(LINKED, LINKED), 200),
        (CHAT, "lab/gpt-4o", said(LINKED, LINKED, LINKED), 402),
        (CHAT, "lab/no-name", said(LINKED), 402),
        (CHAT, "lab/vast", said(LINKED), 200),
        (CHAT, "lab/gpt-4o", said({"type": "file", "file": {"file_id": "file-1"}}), 402),
        (CHAT, "lab/gpt-4o", said({"type": "text", "text": 'A "url" and a "file_id"'}), 200),
        ("/v1/messages", "claude/claude-sim", said(SHOWN), 200),
        ("/v1/messages", "claude/claude-sim", said(SHOWN, SHOWN, SHOWN), 402),
        ("/v1/messages", "claude/claude-sim", said(READ), 402),
        (RESPONSES, "lab/gpt-4o", {"input": "Go on.", "max_output_tokens": 10}, 200),
        (RESPONSES, "lab/gpt-4o",
         {"input": "Go on.", "max_output_tokens": 10, "previous_response_id": "resp_1"}, 402),
        (GENERATE, "", {**SAYS, "generationConfig": {"maxOutputTokens": 9}}, 200),
        (GENERATE, "", {**SAYS, "generationConfig": {"maxOutputTokens": 9, "candidateCount": 8},
                        "cachedContent": "cachedContents/1"}, 402),
        (GENERATE, "", {"contents": [{"role": "user", "parts": [FILM]}],
                        "generationConfig": {"maxOutputTokens": 9}}, 402),
    ],
)  # fmt: skip
def test_what_a_body_only_points_to_is_held(
    seen: Stack, request: pytest.FixtureRequest, path: str, model: str, body: dict[str, object],
    status: int,
) -> None:  # fmt: skip
    """A budget for 10,000 tokens each."""
    headers = {"x-ferryman-metadata": json.dumps({"b": request.node.name[-80:]})}
    reply = seen.post({"model": model, **body} if model else body, path, headers=headers)
    assert reply.status == status, reply.body


@pytest.mark.parametrize(
    ("path", "model", "body"),
    [
        (CHAT, "lab/gpt-4o", said({"type": "file", "file": {"file_id": "file-1"}})),
        (CHAT, "lab/gpt-4o", said(LINKED, LINKED, LINKED)),
        ("/v1/messages", "claude/claude-sim", said(READ)),
        (GENERATE, "", {"contents": [{"role": "user", "parts": [FILM]}],
                        "generationConfig": {"maxOutputTokens": 9}}),
    ],
)  # fmt: skip
def test_names_in_escapes_hide_nothing(
    seen: Stack, request: pytest.FixtureRequest, path: str, model: str, body: dict[str, object]
) -> None:
    text = json.dumps({"model": model, **body} if model else body)
    for name in ("file_id", "url", "fileData", "fileUri"):
        text = text.replace(f'"{name}"', '"' + "".join(f"\\u{ord(c):04x}" for c in name) + '"')
    headers = {"x-ferryman-metadata": json.dumps({"b": request.node.name[-80:]})}
    reply = seen.post(text.encode(), path, headers=headers)
    assert reply.status == 402, reply.body


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("gpt-4o-mini-2024-07-18", 48_169), ("openai/gpt-4o", 4_000), ("gpt-5-nano", 25_000),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", 5_000), ("us.anthropic.claude-x", 5_000),
        ("gemini-3-pro-preview", 2_500), ("models/gemini-3-flash", 2_500), ("gemini-2.5-pro", 0),
        ("my-gpt-4o-look-alike", 0), ("llava", 0), ("turbo1", 0),
    ],
)  # fmt: skip
def test_bounds_by_model(model: str, most: int) -> None:
    assert image_bound(model) == most


@pytest.mark.parametrize(
    ("endpoint", "said", "count"),
    [
        ("chat.completions", {"messages": [], "n": 4}, 4),
        ("completions", {"prompt": "Hi", "n": 2}, 2),
        ("completions", {"prompt": "Hi", "n": 2, "best_of": 5}, 5),
        ("completions", {"prompt": "Hi", "n": "x"}, 1),
        ("", {"contents": [], "generationConfig": {"candidateCount": 8}}, 8),
        ("", {"contents": [], "generation_config": {"candidate_count": 3}}, 3),
        ("", {"contents": [], "generationConfig": None}, 1),
    ],
)
def test_all_answers_are_held_that_may_be_made(
    endpoint: str, said: dict[str, object], count: int
) -> None:
    body = json.dumps({"model": "m", **said}).encode()
    request = decode(endpoint, body) if endpoint else decode_named(body, "m", False)
    assert choices(request) == count
