"""What the control plane connects to is what its configuration allows, whatever names say."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferryman.config.identity_row import DISCOVERY, Issuer
from ferryman.config.model import SinkConfig
from ferryman.config.snapshot import Otlp
from ferryman.control.keysets import reach_of
from ferryman.control.links import fetched
from ferryman.control.otlp.sending import REQUESTS, sender
from ferryman.control.otlp.settings import settings_of
from ferryman.control.sinks import made
from tests.receivers import Hook

NAME = "logs.example.com"


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.server.shutdown()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A resolver that answers for ``NAME``: this machine once, then nothing of this world."""
    asked: list[str] = []
    system = socket.getaddrinfo

    def answer(host: str, port: int, *rest: Any, **how: Any) -> list[Any]:
        if host != NAME:
            return system(host, port, *rest, **how)
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "192.0.2.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


def url_of(hook: Hook) -> str:
    return hook.url.replace("127.0.0.1", NAME)


def sink(hook: Hook, kind: str, url: str, private: bool | None = None) -> Any:
    return made(SinkConfig(kind=kind, url=url, private=private), Path("/"))


def test_a_public_name_that_leads_here_is_not_connected_to(hook: Hook, names: list[str]) -> None:
    with pytest.raises(PermissionError, match=r"private address 127\.0\.0\.1; private: true"):
        sink(hook, "webhook", url_of(hook)).write([b"{}"])
    assert names == [NAME], "looked up once"
    assert not hook.got


def test_who_may_lead_here_is_connected_to_by_the_answer_that_was_looked_at(
    hook: Hook, names: list[str]
) -> None:
    sink(hook, "webhook", url_of(hook), private=True).write([b"{}"])
    assert names == [NAME]
    [(_, headers, body)] = hook.got
    assert (body, headers["host"]) == (b"[{}]", url_of(hook).removeprefix("http://"))


def test_a_private_address_that_is_written_down_needs_no_leave(hook: Hook) -> None:
    sink(hook, "webhook", hook.url).write([b"{}"])
    assert len(hook.got) == 1
    with pytest.raises(PermissionError):
        sink(hook, "webhook", hook.url, private=False).write([b"{}"])
    with pytest.raises(PermissionError):
        sink(hook, "webhook", "http://169.254.169.254/latest").write([b"{}"])
    assert len(hook.got) == 1


def test_what_an_issuer_says_of_itself_leads_no_further_than_the_issuer(hook: Hook) -> None:
    told = f"{hook.url}/keys"

    def asked(keys: str, private: bool | None = None) -> int:
        row = Issuer(name="i", issuer=keys, keys=keys + DISCOVERY, private=private)
        return fetched(told, reach_of(told, row), 99, body=b"{}")[0]

    for keys in ("https://id.example.com", "http://93.184.216.34"):
        with pytest.raises(PermissionError, match="private address"):
            asked(keys)
    with pytest.raises(PermissionError):
        asked("http://127.0.0.1:1", private=False)
    assert not hook.got
    assert asked("http://127.0.0.1:1") == asked("https://id.example.com", private=True) == 200


def test_telemetry_goes_by_the_same_rule(hook: Hook, names: list[str]) -> None:
    found = settings_of(Otlp(endpoint=url_of(hook)), {}, None)
    assert found is not None
    outcome = sender("traces", found.receivers["traces"])(REQUESTS["traces"]())
    assert outcome.again
    assert "private address" in outcome.why
    assert not hook.got
