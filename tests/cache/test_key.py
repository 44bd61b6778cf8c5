"""Which requests count as the same, which answers call tools, what callers may say."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.cache.answer import calls_tools
from ferryman.cache.key import LARGEST, choice, digest, key_of, normalised
from ferryman.cache.wish import NONE, Wish, heed

CHAT = "chat.completions"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES), st.randoms())
def test_spelling_makes_no_difference(body: dict[str, object], draw: object) -> None:
    turned = dict(reversed(body.items()))
    plain, loose = json.dumps(body), json.dumps(turned, indent=3, ensure_ascii=False)
    said = [normalised(CHAT, text.encode("utf-8", "surrogatepass")) for text in (plain, plain)]
    assert said[0] == said[1]
    if not any(0xD800 <= ord(letter) < 0xE000 for letter in loose):
        assert normalised(CHAT, loose.encode()) == said[0]


@given(st.dictionaries(st.text(min_size=1), VALUES), st.dictionaries(st.text(min_size=1), VALUES))
def test_different_requests_differ(one: dict[str, object], other: dict[str, object]) -> None:
    def kept(body: dict[str, object]) -> str:
        ignored = ("stream", "metadata")
        left = {n: v for n, v in body.items() if v is not None and n not in ignored}
        return json.dumps(left, sort_keys=True)

    same = normalised(CHAT, json.dumps(one).encode()) == normalised(
        CHAT, json.dumps(other).encode()
    )
    assert same == (kept(one) == kept(other))


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": [1], "messages": [2]}',
        b'{"a": {"b": 1, "b": 1}}',
        b"[1, 2]",
        b'{"broken',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": "' + b"x" * LARGEST + b'"}',
    ],
)
def test_what_may_mean_several_things_is_compared_byte_by_byte(body: bytes) -> None:
    assert normalised(CHAT, body) == body


def test_what_says_something_else_is_something_else() -> None:
    base = {"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 1, "seed": 7,
            "temperature": 1, "tools": [{"name": "a"}, {"name": "b"}]}  # fmt: skip
    image = {"type": "image_url", "image_url": {"url": "https://x/1.png"}}
    others: list[dict[str, object]] = [
        {"n": 2}, {"seed": 8}, {"seed": 7.0}, {"temperature": 0.999}, {"temperature": True},
        {"tools": [{"name": "b"}, {"name": "a"}]}, {"stop": "x"}, {"model": "M"},
        {"messages": [{"role": "user", "content": "x "}]},
        {"messages": [{"role": "user", "content": [image]}]},
        {"messages": [{"role": "user", "content": [{**image, "image_url": {"url": "https://x/2.png"}}]}]},
    ]  # fmt: skip
    said = [normalised(CHAT, json.dumps(base | other).encode()) for other in ({}, *others)]
    assert len(set(said)) == len(said)
    assert normalised(CHAT, b'{"temperature": 1e2}') == normalised(CHAT, b'{"temperature":100.0}')


def test_the_order_of_a_schema_counts() -> None:
    one = {"properties": {"why": {"type": "string"}, "answer": {"type": "string"}}}
    other = {"properties": {"answer": {"type": "string"}, "why": {"type": "string"}}}
    bodies = [{"model": "m", "response_format": schema} for schema in (one, other)]
    said = [normalised(CHAT, json.dumps(body).encode()) for body in bodies]
    assert said[0] != said[1]
    turned = json.dumps(dict(reversed(bodies[0].items())), indent=2).encode()
    assert normalised(CHAT, turned) == said[0]


@given(st.binary(max_size=300))
def test_any_bytes_have_a_key(body: bytes) -> None:
    assert isinstance(normalised(CHAT, body), bytes)


TAGS = st.sampled_from(["", "a", "b"])


@given(TAGS, TAGS, TAGS, TAGS, TAGS, TAGS)
def test_what_is_cleared_is_what_was_chosen(
    owner: str, model: str, namespace: str, whose: str, which: str, where: str
) -> None:
    key = key_of(owner.encode(), model.encode(), namespace.encode(), b"rest")
    chosen = choice(whose or None, which or None, where or None)
    pairs = ((whose, owner), (which, model), (where, namespace))
    assert chosen.among([key]) == [key] * all(wanted in ("", found) for wanted, found in pairs)


def test_numbers_beyond_floats_are_not_null() -> None:
    assert normalised(CHAT, b'{"a": [1e999]}') != normalised(CHAT, b'{"a": [null]}')
    assert normalised(CHAT, b'{"a": [1]}') != normalised(CHAT, b'{"a": [true]}')


def test_metadata_counts_where_answers_repeat_it() -> None:
    a, b = b'{"metadata": {"a": "1"}}', b'{"metadata": {"a": "2"}}'
    assert normalised(CHAT, a) == normalised(CHAT, b)
    assert normalised("responses", a) != normalised("responses", b)


def test_texts_are_not_run_together() -> None:
    assert digest(b"ab", b"c") != digest(b"a", b"bc")


@pytest.mark.parametrize(
    "body",
    [
        b'{"message":{"tool_calls":[{"id":"x"}]}}',
        b'{"message": {"tool_calls" : [ {"id":"x"}]}}',
        b'{"function_call": {"name": "x"}}',
        b'{"type":"tool_use"}',
        b'{"type": "server_tool_use"}',
        b'{"type":"function_call"}',
        b'{"type":"web_search_call"}',
        b'{"functionCall": {"name": "x"}}',
    ],
)
def test_calls_of_tools_are_seen(body: bytes) -> None:
    assert calls_tools(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"tool_calls":[],"function_call":null}',
        b'{"tool_calls":null}',
        json.dumps({"text": '{"tool_calls":[{"id":"x"}]} {"type":"tool_use"}'}).encode(),
        b'{"text":"one_call"}',
    ],
)
def test_texts_about_tools_are_none(body: bytes) -> None:
    assert not calls_tools(body)


@pytest.mark.parametrize(
    ("kind", "value", "wish"),
    [
        ("switch", b"ON", Wish(asks=True)),
        ("switch", b"off", Wish(reads=False, keeps=False)),
        ("switch", b"refresh", Wish(asks=True, reads=False)),
        ("skip", b"true", Wish(reads=False, keeps=False)),
        ("skip", b"false", NONE),
        ("refresh", b"true", Wish(asks=True, reads=False)),
        ("refresh", b"false", NONE),
        ("ttl", b"60", Wish(asks=True, ttl=60)),
        ("namespace", b" Team A ", Wish(namespace=b"Team A")),
        ("control", b"no-store", Wish(reads=False, keeps=False)),
        ("control", b"No-Cache, foo=1", Wish(reads=False)),
        ("control", b"max-age=30", Wish(max_age=30)),
        ("control", b'max-age="30"', Wish(max_age=30)),
        ("control", b"max-age=" + b"9" * 30, Wish(max_age=2**31)),
        ("ttl", b"99999999999999", Wish(asks=True, ttl=2**31)),
        ("namespace", b"\xff\xfe/*?[", Wish(namespace=b"\xff\xfe/*?[")),
    ],
)
def test_what_callers_say(kind: str, value: bytes, wish: Wish) -> None:
    heard = heed(NONE, kind, value)
    assert heard._replace(namespace=heard.namespace.strip()) == wish


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("switch", b"maybe"), ("skip", b"refresh"), ("ttl", b"1h"), ("ttl", b"-1"),
        ("control", b"max-age"), ("control", b"max-age=-1"), ("control", b"max-age=1.5"),
        ("control", b"max-age=\xb2"), ("control", b"max-age=" + b"9" * 31), ("ttl", b""),
        ("ttl", b"nan"), ("namespace", b"x" * 201),
    ],
)  # fmt: skip
def test_what_they_can_not_say(kind: str, value: bytes) -> None:
    with pytest.raises(ValueError, match="must"):
        heed(NONE, kind, value)
