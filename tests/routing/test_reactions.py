"""What a failure means, and how long a provider wants to be left alone."""

from email.utils import formatdate

import pytest

from ferryman.ir.errors import ErrorKind
from ferryman.routing.reactions import hint, reaction

NOW = 1_780_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, -1),
        ({"retry-after": "2"}, 2),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0),
        ({"retry-after": "1780000012"}, 12),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m30s"}, 90),
        ({"x-ratelimit-remaining-tokens": "712", "x-ratelimit-reset-tokens": "6m0s"}, -1),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h2m0.5s",
          "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "3s"}, 3720.5),
        ({"anthropic-ratelimit-requests-remaining": "0",
          "anthropic-ratelimit-requests-reset": "2026-05-28T20:27:00Z"}, 20),
        ({"anthropic-ratelimit-requests-remaining": "3",
          "anthropic-ratelimit-requests-reset": "2026-05-28T20:27:00Z"}, -1),
        ({"retry-after": "soon"}, -1),
        ({"retry-after": "-5"}, -1),
        ({"retry-after": "1e9"}, -1),
        ({"retry-after": "9" * 400}, -1),
        ({"retry-after": "3 parsecs"}, -1),
        ({"retry-after": "\xb2"}, -1),
        ({"retry-after": "5x"}, -1),
        ({"retry-after": "99999-01-01"}, -1),
    ],
)  # fmt: skip
def test_hints(headers: dict[str, str], seconds: float) -> None:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    assert hint(pairs, NOW) == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (b'{"error": {"details": [{"retryDelay": "36.5s"}]}}', 36.5),
        (b'{"quotaId":"GenerateRequestsPerDayPerProject","x":[{"retryDelay":"18s"}]}', 3600),
        (b'{"quotaId": "GenerateRequestsPerMinute"}', -1),
        (b'{"message": "a quota PerDay, \\"quotaId\\""}', -1),
        (b'{"retryDelay": "soon"}', -1),
        (b'{"retryDelay": "1.2.3s"}', -1),
        (b"", -1),
    ],
)
def test_hints_in_bodies(body: bytes, seconds: float) -> None:
    assert hint([], NOW, body) == seconds
    assert hint([(b"retry-after", b"3")], NOW, body) == 3, "headers go first"


def test_every_kind_has_a_reaction_and_only_upstreams_are_punished() -> None:
    scopes = {kind: reaction(kind).scope for kind in ErrorKind}
    punished = {kind for kind, scope in scopes.items() if scope != "nothing"}
    ours = {kind for kind in ErrorKind if kind.name.startswith("UPSTREAM_")}
    assert punished == ours - {ErrorKind.UPSTREAM_EMPTY} | {ErrorKind.MODEL_NOT_FOUND}
    keys = {kind for kind in ErrorKind if reaction(kind).next_key}
    assert keys == {
        ErrorKind.UPSTREAM_RATE_LIMIT, ErrorKind.UPSTREAM_NO_CREDIT, ErrorKind.UPSTREAM_AUTH,
    }  # fmt: skip
