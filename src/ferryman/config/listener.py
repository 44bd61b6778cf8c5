"""The keys of ``server``: limits of the endpoint that clients call."""

from decimal import Decimal
from typing import Final

from ferryman.config.kinds import MILLISECONDS, Number, Word
from ferryman.config.measures import count, duration, seconds, size
from ferryman.config.shapes import Key, Table
from ferryman.config.snapshot import ServerSettings

_SERVER = ServerSettings()
ELSEWHERE = "Host and port are no part of the file: use --host and --port (FERRYMAN_HOST, _PORT)."

SERVER: Final = Table(
    says="a mapping",
    example="{ max_body_bytes: 50MB }",
    keys=(
        Key(
            name="max_request_line",
            kind=size("8KiB", 256, 1_048_576),
            doc="Longest request line (method, path and version), bytes.",
            default=str(_SERVER.max_request_line),
        ),
        Key(
            name="max_headers",
            kind=count("100", 8, 10_000),
            doc="Most headers a request may have.",
            default=str(_SERVER.max_headers),
        ),
        Key(
            name="max_header_bytes",
            kind=size("32KiB", 1024, 1_048_576),
            doc="Most bytes the headers of a request may take together.",
            default=str(_SERVER.max_header_bytes),
        ),
        Key(
            name="max_body_bytes",
            kind=size("50MB", 1024, 2**31),
            doc="Largest request body, bytes.",
            default=f"{_SERVER.max_body_bytes} (50MiB)",
        ),
        Key(
            name="max_upload_bytes",
            kind=size("100MB", 1024, 2**36),
            doc="Largest form with files (audio, images), bytes. It is sent on as it comes, and "
            "kept in a file without a name until it is answered.",
            default=f"{_SERVER.max_upload_bytes} (1GiB)",
        ),
        Key(
            name="header_seconds",
            kind=duration("10s", "0.1"),
            doc="How long a client may take to send the headers.",
            default=seconds(_SERVER.header_seconds),
        ),
        Key(
            name="min_body_rate",
            kind=size("1KiB", 0, 2**30),
            doc="Slowest a request body may arrive, bytes per second, averaged after the first "
            "5 seconds; 0 = as slow as it likes.",
            default=str(_SERVER.min_body_rate),
        ),
        Key(
            name="idle_seconds",
            kind=duration("75s", "0.1"),
            doc="How long a connection may stay open between two calls.",
            default=seconds(_SERVER.idle_seconds),
        ),
        Key(
            name="max_connections",
            kind=count("20000", 1, 1_000_000),
            doc="Most client connections at once.",
            default=str(_SERVER.max_connections),
        ),
        Key(
            name="max_calls",
            kind=count("1000", 1, 1_000_000),
            doc="Most calls served at once, waiting ones counted; any more are refused (503), "
            "unread. See docs/overload.md.",
            default=str(_SERVER.max_calls),
        ),
        Key(
            name="drain_seconds",
            kind=duration("30s", "0"),
            doc="How long open calls may go on after SIGTERM. --drain wins over it.",
            default=seconds(_SERVER.drain_seconds),
        ),
        Key(
            name="on_journal_failure",
            kind=Word(says="refuse or serve", example="serve", choices=("refuse", "serve")),
            doc="What becomes of calls that can't be recorded (full disk): refuse (503), or serve, "
            "with up to 100000 records in memory until they can be. See docs/limits.md.",
            default=_SERVER.on_journal_failure,
        ),
        Key(
            name="fsync_ms",
            kind=Number(
                says="milliseconds, or a text such as 50ms",
                example="50",
                least=Decimal(0),
                most=Decimal(10_000),
                step=Decimal(1),
                units=MILLISECONDS,
            ),
            doc="How often the journal is flushed to the disk, milliseconds; 0 = at every record, "
            "before anything is sent that counts on it: every call waits for the disk, twice, and "
            "others with it.",
            default=str(_SERVER.fsync_ms),
        ),
        Key(
            name="state",
            kind=Word(
                says="the URL of a Valkey or Redis server, its password as {VARIABLE}",
                example='"valkey://:{VALKEY_PASSWORD}@valkey.internal:6379/0"',
                pattern=r"(valkey|redis)s?://([A-Za-z0-9._-]*:\{[A-Z][A-Z0-9_]*\}@)?"
                r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[0-9]{1,3})?",
            ),
            doc="Where several gateways tell each other which targets and keys rest, and count "
            "limits and budgets together; see docs/scaling.md. `valkeys://` speaks TLS. Needs "
            "`pip install 'ferryman[valkey]'`.",
            default="each gateway goes by what it sees itself",
        ),
        Key(
            name="state_away",
            kind=Word(
                says="local, fail_open or fail_closed",
                example="fail_closed",
                choices=("local", "fail_open", "fail_closed"),
            ),
            doc="What becomes of calls with limits while that server is away: `local`, each "
            "gateway counts for itself; `fail_open`, they pass; `fail_closed`, they are refused "
            "(503).",
            default=_SERVER.state_away,
        ),
        Key(
            name="workers",
            kind=count("4", 1, 256),
            doc="Gateways that `ferryman up` runs on this machine, all on one port. `--workers` "
            "wins over it. More than one, with limits or budgets, needs `state`. Takes effect at "
            "the next start.",
            default=str(_SERVER.workers),
        ),
    ),
    hints=(
        ("host", ELSEWHERE),
        ("port", ELSEWHERE),
        ("admin_host", ELSEWHERE),
        ("admin_port", ELSEWHERE),
        ("listen", ELSEWHERE),
    ),
)
