"""The keys about what is kept of calls beside their records: contents, and lines in logs."""

from decimal import Decimal
from typing import Final

from ferryman.config.conditions import Flag
from ferryman.config.guard_row import NAME as GUARD_NAME
from ferryman.config.kinds import Number, Word
from ferryman.config.ledger_grammar import days
from ferryman.config.measures import count, size
from ferryman.config.model import LEVELS
from ferryman.config.shapes import Either, Key, ListOf, MapOf, Table
from ferryman.config.snapshot import STORED

SHARE: Final = Number(
    says="a share", example="0.1", least=Decimal(0), most=Decimal(1), units={"%": Decimal("0.01")}
)
_STORE: Final = Word(says="none, errors or all", example="errors", choices=STORED)
_WHICH: Final = (
    Key(
        name="store",
        kind=_STORE,
        doc="Whose prompts and answers are kept: of no call, of those that failed, or of all.",
        default="none",
    ),
    Key(
        name="sample",
        kind=SHARE,
        doc="The share of these calls, drawn at random.",
        default="1: every one",
    ),
    Key(
        name="redact",
        kind=ListOf(
            says="a list of guards",
            example="[personal-data]",
            item=Word(says="the name of a guard", example="personal-data", pattern=GUARD_NAME),
        ),
        doc="Guards that redact what is kept, whatever they do to the call itself; in a policy, an "
        "empty list turns that off. See docs/contents.md.",
        default="none; of a policy: those of the section content",
    ),
)

STORING: Final = Table(says="a mapping", example="{ store: all, sample: 0.1 }", keys=_WHICH)
KEPT: Final = Key(
    name="content",
    kind=Either(
        says="none, errors or all, or a mapping with store, sample and redact",
        example="errors",
        short=_STORE,
        table=STORING,
    ),
    doc="Whether prompts and answers of these calls are kept, in place of what the section content "
    "says. See docs/contents.md.",
    default="as the section content has it",
)
"""Of a policy."""

CONTENT: Final = Table(
    says="a mapping",
    example="{ store: errors, keep: 30d }",
    keys=(
        *_WHICH,
        Key(
            name="keep",
            kind=days("30d", 1),
            doc="How long they are kept, encrypted.",
            default="30d",
        ),
        Key(
            name="max_size",
            kind=size("256KB", 1000, 4 * 10**6),
            doc="Most that is kept of a prompt, and of an answer; the rest is cut off, which is "
            "said.",
            default="256KB",
        ),
    ),
    hints=(
        ("enabled", "Write store: all, or store: errors."),
        ("retention", "Write keep: 30d."),
        ("sampling", "Write sample: 0.1."),
    ),
)

_SECRET: Final = Word(
    says="env:NAME or file:/path",
    example="env:SINK_SECRET",
    pattern=r"env:[A-Za-z_][A-Za-z0-9_]*|file:.{1,1000}",
)
_URL: Final = Word(
    says="a URL", example="https://example.org/logs", pattern=r"https?://[!-?A-~]{1,2000}"
)


def _text(says: str, example: str) -> Word:
    return Word(says=says, example=example, pattern=r"[^\x00-\x1f\x7f]{1,1000}")


def _name(example: str) -> Word:
    says = "a name (small letters, digits, dots and -)"
    return Word(says=says, example=example, pattern=r"[a-z0-9][a-z0-9.-]{0,62}")


SINK: Final = Table(
    says="a mapping",
    example="{ kind: file, path: calls.log }",
    keys=(
        Key(
            name="kind",
            kind=Word(
                says="stdout, file, webhook, s3 or the name of a plugin",
                example="file",
                pattern=r"[a-z][a-z0-9_-]{0,47}",
            ),
            doc="Where lines go: stdout, file, webhook, s3, or a plugin that is installed.",
            required=True,
        ),
        Key(
            name="path",
            kind=_text("the name of a file", "calls.log"),
            doc="Of a file: its name; a relative one is in the data directory, below logs.",
        ),
        Key(
            name="max_size",
            kind=size("100MB", 1000, 10**12),
            doc="Of a file: when another one is begun.",
            default="100MB",
        ),
        Key(
            name="files",
            kind=count("5", 1, 1000),
            doc="Of a file: how many full ones are kept, as path.1, path.2 and so on.",
            default="5",
        ),
        Key(
            name="url",
            kind=_URL,
            doc="Of a webhook: where batches of lines go, a JSON array in each POST. Of s3: the "
            "server, if it is not AWS.",
        ),
        Key(
            name="private",
            kind=Flag(says="true or false", example="true"),
            doc="Of a webhook and s3: whether the URL may lead to private addresses.",
            default="only if it names a private host",
        ),
        Key(
            name="secret",
            kind=_SECRET,
            doc="Of a webhook: what signs a batch (header x-ferryman-signature). Of s3: the "
            "secret access key.",
        ),
        Key(name="bucket", kind=_name("company-logs"), doc="Of s3: the bucket."),
        Key(
            name="prefix",
            kind=Word(
                says="the beginning of a path",
                example="ferryman/",
                pattern=r"([A-Za-z0-9._-]+/)*[A-Za-z0-9._-]*",
            ),
            doc="Of s3: how the names of objects begin.",
            default="ferryman/",
        ),
        Key(name="region", kind=_name("eu-central-1"), doc="Of s3: its region."),
        Key(
            name="access_key",
            kind=_SECRET,
            doc="Of s3: the access key id.",
            default="env:AWS_ACCESS_KEY_ID, with env:AWS_SECRET_ACCESS_KEY for secret",
        ),
        Key(
            name="options",
            kind=MapOf(
                says="a mapping of texts",
                example="{ topic: calls }",
                key=_text("a name", "topic"),
                item=Word(says="a text", example="calls", any_scalar=True),
            ),
            doc="Of a plugin: what it is given; values may be env:NAME or file:/path.",
        ),
    ),
    hints=(("type", "Write kind: file."), ("endpoint", "Write url: https://…")),
)

LOGS: Final = Table(
    says="a mapping",
    example="{ level: warning, sinks: [stdout] }",
    keys=(
        Key(
            name="level",
            kind=Word(says="error, warning or info", example="warning", choices=LEVELS),
            doc="Which calls get a line: those that failed; those too that were refused, or not "
            "served by the first who was asked; all.",
            default="info",
        ),
        Key(
            name="sample",
            kind=SHARE,
            doc="The share of calls without an error or a warning that get a line.",
            default="1: every one",
        ),
        Key(
            name="sinks",
            kind=ListOf(
                says="a list of sinks",
                example="[stdout]",
                item=Either(
                    says="stdout, or a mapping with kind",
                    example="{ kind: file, path: calls.log }",
                    short=Word(says="stdout", example="stdout", choices=("stdout",)),
                    table=SINK,
                ),
            ),
            doc="Where the lines go.",
            default="nowhere",
        ),
        Key(
            name="audit",
            kind=Flag(says="true or false", example="true"),
            doc="Whether each entry of the audit log is a line, too. See docs/audit.md.",
            default="false",
        ),
    ),
)
