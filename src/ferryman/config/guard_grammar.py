"""The section ``guards``: what is checked of calls and their answers."""

from decimal import Decimal
from typing import Any, Final

from ferryman.config.conditions import Flag, plain_number
from ferryman.config.filter_grammar import DATA_POLICY, REGION
from ferryman.config.guard_row import NAME
from ferryman.config.kinds import STORED, Kind, Number, Reader, Reference, Schema, Url, Word
from ferryman.config.measures import count, duration
from ferryman.config.nodes import BOOL, NULL, NUMBER, Map, Node, Seq, scalar_type
from ferryman.config.problem import Path
from ferryman.config.shapes import Key, ListOf, MapOf, Table

KINDS: Final = (
    "pii", "secrets", "regex", "words", "code", "urls", "language", "length", "schema",
    "injection", "judge", "topics", "moderation", "llama_guard", "webhook", "plugin", "metadata",
    "models",
)  # fmt: skip
STATIONS: Final = ("request", "reply", "tools")
ACTIONS: Final = ("redact", "block", "annotate", "log", "allow")
ENTITIES: Final = {
    "pii": ("email", "phone", "card", "iban", "national_id", "ip", "address", "name"),
    "secrets": ("private_key", "jwt", "known", "assigned", "random"),
}
_NAME: Final = Word(
    says="the name of a guard (letters, digits, - and _)",
    example="personal-data",
    pattern=NAME,
)


class Free(Kind, frozen=True, kw_only=True):
    """A mapping of anything, as JSON has it."""

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        if not isinstance(node, Map):
            return reader.wrong(self, node, path)
        return _plain(node)

    def schema(self) -> Schema:
        return {"type": "object"}


def _plain(node: Node) -> Any:
    if isinstance(node, Map):
        return {key.text: _plain(value) for key, value in node.pairs}
    if isinstance(node, Seq):
        return [_plain(each) for each in node.items]
    kind = scalar_type(node)
    if kind == NUMBER:
        return plain_number(Decimal(node.text))
    return {NULL: None, BOOL: node.text.lower() == "true"}.get(kind, node.text)


def _words(says: str, example: str, pattern: str) -> ListOf:
    item = Word(says=says, example=example, pattern=pattern)
    return ListOf(says=f"a list of {says}", example=f"[{example}]", item=item, least=1)


GUARDED: Final = Key(
    name="guard",
    kind=ListOf(says="a list of guards", example="[personal-data]", item=_NAME, least=1),
    doc="Guards that check these calls, beside those that check all. See docs/guardrails.md.",
    default="none but those",
)
"""Of a policy, and of a model."""

TABLE: Final = Table(
    says="a mapping",
    example="{ kind: pii, how: tokenise }",
    keys=(
        Key(
            name="kind",
            kind=Word(says=f"a kind ({', '.join(KINDS)})", example="pii", choices=KINDS),
            doc="What it looks for.",
            required=True,
        ),
        Key(
            name="at",
            kind=ListOf(
                says="a list of request, reply and tools",
                example="[request]",
                item=Word(says="request, reply or tools", example="request", choices=STATIONS),
                least=1,
            ),
            doc="What it checks: what callers say, what models answer, and what goes to tools and "
            "comes back from them. Of length: request or reply; of injection: request or "
            "tools; of classifiers: request or reply.",
            default="all that its kind can check; length and classifiers: request; language: "
            "request and reply",
        ),
        Key(
            name="action",
            kind=Word(
                says="redact, block, annotate, log or allow", example="block", choices=ACTIONS
            ),
            doc="What becomes of what it finds: it is replaced; the call is stopped; the reply "
            "says so in a header; the record alone does; or, of regex and words, other guards "
            "leave it alone where it is all that they have found.",
            default="redact; log for language, injection, classifiers and plugin; block for "
            "length, schema, metadata and models",
        ),
        Key(
            name="how",
            kind=Word(
                says="mask, hash or tokenise",
                example="tokenise",
                choices=("mask", "hash", "tokenise"),
            ),
            doc="What is put in place of what is redacted: its kind; a hash, the same for the same "
            "text; or a placeholder that becomes the text again in the answer.",
            default="mask",
        ),
        Key(
            name="always",
            kind=Flag(says="true or false", example="false"),
            doc="Whether it checks all calls, or those alone whose policy or model names it.",
            default="true",
        ),
        Key(
            name="on_error",
            kind=Word(says="block or allow", example="allow", choices=("block", "allow")),
            doc="What becomes of calls that it can't check, such as uploads of sound, or while a "
            "classifier does not answer.",
            default="block; allow for classifiers and plugin, unless they block",
        ),
        Key(
            name="entities",
            kind=_words("kinds of data", "email", r"[a-z_]{1,40}"),
            doc="Of pii and secrets: what is looked for.",
            default="all but address and name, which are guesses",
        ),
        Key(
            name="patterns",
            kind=MapOf(
                says="a mapping of names to regular expressions",
                example='{ project: "(?i)blue heron" }',
                key=Word(says="a name", example="project", pattern=r"[a-z][a-z0-9_]{0,39}"),
                item=Word(says="an RE2 expression", example="blue.heron", pattern=r".{1,2000}"),
                least=1,
            ),
            doc="Of regex: what is looked for, in RE2's syntax. In streams a match has up to 256 "
            "characters.",
        ),
        Key(
            name="words",
            kind=_words("words or phrases", "blue heron", r"\S(.{0,98}\S)?"),
            doc="Of words: what is looked for, in any language, whatever its case.",
        ),
        Key(
            name="most",
            kind=count("20000", 1, 10**9),
            doc="Of length: characters of a request, or of an answer.",
        ),
        Key(
            name="schema",
            kind=Free(says="a JSON Schema", example="{ type: object, required: [name] }"),
            doc="Of schema: what answers must be. See docs/guardrails.md for its keywords.",
        ),
        Key(
            name="threshold",
            kind=Number(
                says="a number from 0 to 1", example="0.8", least=Decimal(0), most=Decimal(1)
            ),
            doc="Of language, injection, classifiers and plugin: the score from which on something "
            "is taken for found.",
            default="0.6",
        ),
        Key(
            name="model",
            kind=Word(
                says="a target: provider/model, or a name from models",
                example="lab/llama-guard-3",
                pattern=r"[^\s/]\S{0,199}",
            ),
            doc="Of judge, topics, moderation and llama_guard: the model that is asked.",
        ),
        Key(
            name="about",
            kind=Word(says="a text", example="a request for medical advice", pattern=r".{1,2000}"),
            doc="Of judge: what it is to look for.",
        ),
        Key(
            name="plugin",
            kind=Word(
                says="the name of an installed guard",
                example="house-rules",
                pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
            ),
            doc="Of plugin: the entry point (group ferryman.guards) of an installed package.",
        ),
        Key(
            name="url",
            kind=Url(says="a URL", example="https://checks.example.org/prompt"),
            doc="Of webhook: where it is asked.",
        ),
        Key(
            name="secret",
            kind=Reference(
                says="vault:NAME or env:NAME",
                example="env:CHECKS_SECRET",
                pattern=STORED,
            ),
            doc="Of webhook: what signs its requests, so that it knows whom they are from.",
            default="they are not signed",
        ),
        Key(
            name="region",
            kind=REGION,
            doc="Of webhook: where it is; residency and keys' bounds go by it.",
            default="unknown",
        ),
        Key(
            name="data_policy",
            kind=DATA_POLICY,
            doc="Of webhook: what is promised of what it gets.",
            default="nothing",
        ),
        Key(
            name="timeout",
            kind=duration("2s", "0.01", Decimal(600)),
            doc="Of classifiers: how long they have to answer.",
            default="2s",
        ),
        Key(
            name="run",
            kind=Word(
                says="before or parallel", example="parallel", choices=("before", "parallel")
            ),
            doc="Of classifiers: whether the call waits for them, or goes on meanwhile; then its "
            "answer waits.",
            default="before",
        ),
        Key(
            name="turns",
            kind=Word(says="last, said or all", example="all", choices=("last", "said", "all")),
            doc="Of classifiers: what of a request they judge: what is new since the model has "
            "spoken last, as the caller has it; all that users, tools and models have said; or "
            "what the application says, too.",
            default="said, if the guard blocks; else last",
        ),
        Key(
            name="need",
            kind=_words("names of metadata", "team", r"[^\s.]{1,64}"),
            doc="Of metadata: what calls must say.",
        ),
        Key(
            name="deny",
            kind=_words("models, languages or topics", "lab/old-*", r"\S(.{0,198}\S)?"),
            doc="Of models: those that nobody may ask for; * stands for any characters. Of "
            "language: those (ISO 639-1) that texts may not be in. Of topics: what may not be "
            "talked about.",
        ),
        Key(
            name="allow",
            kind=_words("hosts or languages", "example.org", r"[a-z0-9.-]{1,253}"),
            doc="Of urls: the hosts that links may lead to, with those below them. Of language: "
            "those (ISO 639-1) that texts may be in.",
        ),
        Key(
            name="unknown",
            kind=Word(says="block or allow", example="block", choices=("block", "allow")),
            doc="Of language: what becomes of texts that are too short to tell.",
            default="allow",
        ),
    ),
    hints=(("type", "Write kind: pii."), ("mode", "Write action: block.")),
)

GUARD: Final = Key(
    name="guards",
    kind=MapOf(
        says="a mapping of names to guards",
        example="{ personal-data: { kind: pii } }",
        key=_NAME,
        item=TABLE,
    ),
    doc="Checks of what calls and their answers say. See docs/guardrails.md.",
    default="none",
)
