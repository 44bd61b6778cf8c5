"""What the codecs share: errors that say where, unknown members, base64, data: URLs, arguments."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, Struct

from ferryman.ir.errors import ErrorKind, GatewayError
from ferryman.ir.receipt import Receipt
from ferryman.ir.request import OutputFormat, OutputKind, Request, Tool
from ferryman.wire import carry


class Leaf(Struct, forbid_unknown_fields=True, tag_field="type", tag="leaf"):
    """A part."""

    text: str = ""


class Stone(Struct, forbid_unknown_fields=True, tag_field="type", tag="stone"):
    """Another part."""

    weight: int = 0


class Tree(Struct, forbid_unknown_fields=True, tag_field="kind", tag="tree"):
    """Holds parts."""

    parts: str | list[Leaf | Stone]


class Bare(Struct, forbid_unknown_fields=True, tag_field="kind", tag="bare"):
    """Holds nothing."""

    name: str | None = None


READER: carry.Reader[list[Tree | Bare]] = carry.Reader(list[Tree | Bare])


def test_unknown_members_are_listed_by_path_and_the_rest_is_read() -> None:
    unknown: list[str] = []
    body = (
        b'[{"kind":"bare","name":"a","odd":1},{"parts":[{"type":"leaf","text":"x","deep":{"a":1}},'
        b'{"weight":2,"type":"stone","no":null,"none":[]}],"kind":"tree","more":false}]'
    )
    read = READER.read(body, "things", unknown)
    assert read == [Bare("a"), Tree([Leaf("x"), Stone(2)])]
    assert unknown == ["things[0].odd", "things[1].parts[0].deep", "things[1].more"]


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"[", "things", "not valid JSON"),
        (b'[{"kind":"bare","name":"\xff"}]', "things", "not valid UTF-8"),
        (b"{}", "things", "must be an array, not an object"),
        (b'[{"kind":"bush"}]', "things[0].kind", "one of tree, bare"),
        (b'[{"kind":7}]', "things[0].kind", "must be a string"),
        (b"[{}]", "things[0].kind", "is missing"),
        (b'[{"kind":"tree"}]', "things[0].parts", "is missing"),
        (b'[{"kind":"tree","parts":3}]', "things[0].parts", "a string or an array, not an integer"),
        (b'[{"kind":"tree","parts":[{"type":"x"}]}]', "things[0].parts[0].type", "one of leaf"),
        (b'[{"kind":"bush","odd":1}]', "things[0].kind", "one of tree, bare"),
        (b'[{"kind":"bare","odd":1},{"kind":"bare","name":1}]', "things[1].name", "a string"),
        (b"[" * 100_000, "things[0]", "must be an object"),
    ],
)
def test_errors_say_what_is_wrong_where(body: bytes, param: str, words: str) -> None:
    with pytest.raises(GatewayError) as caught:
        READER.read(body, "things", [])
    error = caught.value
    assert (error.status, error.kind, error.param) == (400, ErrorKind.INVALID_REQUEST, param)
    assert words in error.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"[]", "must be an object"),
        (b"{", "not valid JSON"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
        (b'{"\xff":1}', "UTF-8"),
    ],
)
def test_members_of_what_is_no_object(body: bytes, words: str) -> None:
    with pytest.raises(GatewayError, match=words) as caught:
        carry.members(body)
    assert caught.value.param is None


def test_of_a_member_that_comes_twice_the_last_counts() -> None:
    assert bytes(carry.members(b'{"a":1,"a":2}')["a"]) == b"2"


@given(st.binary(max_size=40))
def test_base64_is_taken_as_it_is(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    if data:
        assert carry.checked_base64(text, "p") is text
    safe = base64.urlsafe_b64encode(data).decode().rstrip("=")
    if data:
        assert carry.checked_base64(safe, "p", url_safe=True) == text


@given(st.text(max_size=12))
def test_base64_of_any_text_is_right_or_refused(text: str) -> None:
    try:
        checked = carry.checked_base64(text, "p")
    except GatewayError:
        return
    base64.b64decode(checked, validate=True)


@pytest.mark.parametrize("text", ["", "Q", "QUJ", "Q===", "Q=Q=", "QU-D", "QUI=QUI=", "é" * 4])
def test_what_is_no_base64_is_refused_with_its_path(text: str) -> None:
    with pytest.raises(GatewayError, match=r"'a\.b' is not valid base64") as caught:
        carry.checked_base64(text, "a.b")
    assert caught.value.param == "a.b"


def test_blanks_within_base64_are_taken_out() -> None:
    assert carry.checked_base64("QU\r\nJD QUJD\n", "p") == "QUJDQUJD"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("data:image/png;base64,QUJD", ("image/png", "QUJD")),
        ("DATA:Image/PNG;name=x;BASE64,QUJD", ("image/png", "QUJD")),
        ("data:,a%20b", ("text/plain", "YSBi")),
        ("data:text/html,<b>", ("text/html", "PGI+")),
    ],
)
def test_data_urls(url: str, found: tuple[str, str]) -> None:
    assert carry.is_data_url(url)
    assert carry.from_data_url(url, "p") == found


def test_a_data_url_is_made_and_read_again() -> None:
    assert carry.from_data_url(carry.data_url("a/b", "QUJD"), "p") == ("a/b", "QUJD")
    for wrong in ("data:image/png;base64", "data:image/png;base64,QU"):
        with pytest.raises(GatewayError):
            carry.from_data_url(wrong, "p")


def test_arguments_are_an_object_or_refused() -> None:
    twice = '{"a": 1, "a": 2}'
    assert bytes(carry.object_arguments(twice, "f", "p")) == twice.encode()
    assert bytes(carry.object_arguments(" ", "f", "p")) == b"{}"
    for wrong in ("[1]", "{", "null", '{"a":1} x', "[" * 100_000):
        with pytest.raises(GatewayError, match="call of 'f' at 'p'"):
            carry.object_arguments(wrong, "f", "p")


def test_what_only_another_format_knows_is_in_the_receipt() -> None:
    request = Request(
        model="m", messages=(), origin="a", extra=(("x", Raw(b"1")),), unknown=("messages[0].y",)
    )
    own, foreign = Receipt(), Receipt()
    carry.drop_unknown(request, own, "a")
    carry.drop_unknown(request, foreign, "b")
    assert own.dropped == ("messages[0].y",)
    assert foreign.dropped == ("messages[0].y", "x")


def test_the_tool_for_structured_output_has_a_name_of_its_own() -> None:
    taken = Tool(name=carry.OUTPUT_TOOL)
    request = Request(model="m", messages=(), tools=(taken,))
    receipt = Receipt()
    schema = Raw(b'{"type":"array"}')
    output = OutputFormat(kind=OutputKind.SCHEMA, schema=schema)
    tool = carry.output_tool(output, request, receipt)
    assert tool.name == receipt.output_tool != taken.name
    assert tool.parameters == schema
    assert receipt.altered == ("response_format=forced tool",)
