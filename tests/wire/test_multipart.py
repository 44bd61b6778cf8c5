"""Forms: where the model's name stands, whatever surrounds it and however the bytes are cut."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.http1.head import is_form
from ferryman.http1.spool import Spool
from ferryman.ir.errors import GatewayError
from ferryman.wire.multipart import MAX_PART_HEAD, MAX_PARTS, FormReader

TYPE = b"multipart/form-data; boundary=b"
FILE = b'Content-Disposition: form-data; name="file"; filename="model"\r\nContent-Type: audio/wav'
MODEL = b'Content-Disposition: form-data; name="model"'


def form(*parts: tuple[bytes, bytes], end: bytes = b"\r\n--b--\r\n") -> bytes:
    """A form of (head, content)."""
    pieces = [b"--b\r\n%b\r\n\r\n%b" % part for part in parts]
    return b"\r\n".join(pieces) + end


def read(
    data: bytes, size: int = 0, content_type: bytes = TYPE, measured: bool = False
) -> FormReader:
    """The form, read in pieces of ``size`` bytes."""
    spool = Spool()
    reader = FormReader(spool, content_type, measured)
    for at in range(0, len(data), size or len(data)):
        spool.append(data[at : at + (size or len(data))])
        reader.follow()
    return reader


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    "parts",
    [
        [(MODEL, b"lab/sim"), (FILE, b"RIFF\r\n--a\r\n\r\n--")],
        [(FILE, b"\r\n--bx"[:5] + b"\r\n-" * 50), (MODEL, b"lab/sim")],
        [(b"content-disposition:form-data;name=model", b"lab/sim"), (FILE, b"")],
        [(FILE, b""), (b"X-A: 1\r\n" + MODEL + b"\r\nX-B: 2", b"lab/sim"), (FILE, b"x" * 9999)],
        [(b'Content-Disposition: form-data; filename="a;name=x"; name="model"', b"lab/sim")],
        [(b'Content-Disposition: form-data; name="models"', b"no"), (MODEL, b"lab/sim")],
        [(b"X-None: 1", b"no name"), (b"", b"no head"), (MODEL, b"lab/sim")],
    ],
)
def test_the_model_is_found(parts: list[tuple[bytes, bytes]], size: int) -> None:
    data = form(*parts)
    reader = read(data, size)
    start, end = reader.model_at
    assert (reader.model, data[start:end], reader.closed) == ("lab/sim", b"lab/sim", True)


@pytest.mark.parametrize("first", [True, False])
def test_forms_of_a_client_library(first: bool) -> None:
    fields: dict[str, Any] = {"data": {"model": "mötör", "n": "2"}}
    fields["files"] = {"file": ("a.wav", b"\r\n--" * 30_000)}
    if not first:
        fields["files"] |= {"model": (None, fields["data"].pop("model"))}
    request = httpx.Request("POST", "http://x/", **fields)
    kind = request.headers["content-type"].encode()
    assert is_form(kind)
    data = request.read()
    reader = read(data, 70_001, kind)
    start, end = reader.model_at
    assert reader.closed
    assert (reader.model, data[start:end].decode()) == ("mötör", "mötör")


def test_a_preamble_and_an_epilogue_are_nobodys() -> None:
    data = b"read me\r\n" + form((MODEL, b"m")) + b"--b\r\n" + MODEL + b"\r\n\r\nelse\r\n--b--"
    reader = read(data, 3)
    assert (reader.model, reader.closed) == ("m", True)


def test_a_quoted_boundary_and_white_space_after_it() -> None:
    data = (
        form((MODEL, b"m"), (FILE, b"f")).replace(b"--b", b"--a b").replace(b"b\r\n", b"b \t\r\n")
    )
    assert read(data, 1, b'multipart/form-data; x=y; Boundary="a b"').model == "m"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (form((MODEL, b"m"), (FILE, b""), (MODEL, b"n")), "twice"),
        (form((MODEL, b"")), "characters"),
        (form((MODEL, b"m" * 513)), "characters"),
        (form((MODEL, b"m" * 9999)), "characters"),
        (form((MODEL, b"\xff")), "UTF-8"),
        (form((MODEL, b"m"), (FILE, b"\r\n--bb\r\n")), "unclear"),
        (form((MODEL + b"; x=" + b"y" * MAX_PART_HEAD, b"m")), "headers"),
        (form(*[(FILE, b"")] * (MAX_PARTS + 1)), "parts"),
        (form((b"Content-Disposition: form-data; name*=UTF-8''model", b"m")), "plain"),
        (form((MODEL + b"; name=x", b"m")), "plain"),
        (form((FILE.replace(b'"model"', b'"a\\"; name=\\"model"'), b"m")), "plain"),
        (form((FILE.replace(b'"model"', b'"a"b"'), b"m")), "plain"),
        (form((b'Content-Disposition: form-data; name="mo\\del"', b"m")), "plain"),
    ],
)
@pytest.mark.parametrize("size", [0, 1, 4096])
def test_what_is_refused(data: bytes, says: str, size: int) -> None:
    with pytest.raises(GatewayError, match=says) as refusal:
        read(data, size)
    assert refusal.value.status == 400


@pytest.mark.parametrize("kind", [b"multipart/form-data", b"multipart/form-data; boundary="])
def test_a_form_without_a_boundary(kind: bytes) -> None:
    with pytest.raises(GatewayError, match="boundary"):
        FormReader(Spool(), kind)


@pytest.mark.parametrize("cut", [3, 8, 20, 40, 60])
def test_a_form_that_ends_early_is_not_closed(cut: int) -> None:
    assert not read(form((FILE, b"x" * 10), (MODEL, b"m"))[:-cut]).closed


@given(st.lists(st.sampled_from([b"\r", b"\n", b"--", b"b", b"-", MODEL, b"\r\n--b", b"m", b" "])))
def test_no_bytes_break_it_and_no_cut_changes_what_it_says(pieces: list[bytes]) -> None:
    said = []
    for size in (0, 1, 3):
        try:
            reader = read(b"--b\r\n" + b"".join(pieces), size)
            said.append((reader.model, reader.model_at, reader.closed, ""))
        except GatewayError as error:
            said.append(("", (0, 0), False, error.message))
    assert said[0] == said[1] == said[2]


def test_a_long_file_leaves_nothing_in_memory() -> None:
    spool = Spool()
    reader = FormReader(spool, TYPE)
    spool.append(b"--b\r\n" + FILE + b"\r\n\r\n")
    for _ in range(200):
        spool.append(b"\r\n--a" * 20_000)
        reader.follow()
        assert len(reader._window) < 100
    spool.close()


PARTS = st.lists(
    st.tuples(
        st.sampled_from([FILE, b"X-A: 1\r\nX-B: 2", b'Content-Disposition: form-data; name="n"']),
        st.binary(max_size=80).filter(lambda data: b"\r\n--" not in b"\r\n" + data),
    ),
    max_size=4,
)


@given(PARTS, PARTS, st.integers(1, 90), st.integers(1, 90))
def test_a_digest_is_of_the_parts_alone(
    one: list[tuple[bytes, bytes]], other: list[tuple[bytes, bytes]], size: int, step: int
) -> None:
    def digest(parts: list[tuple[bytes, bytes]], size: int, boundary: bytes) -> bytes:
        data = form((MODEL, b"lab/sim"), *parts).replace(b"--b", b"--" + boundary)
        return read(data, size, b"multipart/form-data; boundary=" + boundary, True).digest

    first = digest(one, size, b"b")
    assert len(first) == 32
    assert digest(one, step, b"another-boundary") == first
    assert (digest(other, step, b"b") == first) == (one == other)


def test_a_digest_is_of_the_whole() -> None:
    data = form((MODEL, b"lab/sim"), (FILE, b"x" * 1000))
    assert read(data[:-6], measured=True).digest == b""
    assert read(data).digest == b"", "nobody has asked"
