"""Every key of ``ferryman.yaml``: what it takes, what it does, what holds without it.

The one source for the validator, for ``docs/ferryman.schema.json`` and for the test that
``docs/configuration.md`` leaves nothing out.
"""

from decimal import Decimal
from typing import Final

from ferryman.config.alert_grammar import ALERTS
from ferryman.config.answer_grammar import AFTERWARDS, ON_FILTER
from ferryman.config.cache_grammar import CACHE, CACHED, IDEMPOTENCY, RESPONSES
from ferryman.config.conditions import WHEN, Flag
from ferryman.config.content_grammar import CONTENT, KEPT, LOGS
from ferryman.config.filter_grammar import DATA_POLICY, FACTS, FILTER, NOT_HERE, REGION
from ferryman.config.guard_grammar import GUARD, GUARDED
from ferryman.config.identity import IDENTITY
from ferryman.config.kinds import Number, Secret, Url, Word
from ferryman.config.ledger_grammar import LEDGER
from ferryman.config.limit import LIMIT as IN_FLIGHT
from ferryman.config.limit_grammar import BUDGET, LIMIT
from ferryman.config.listener import ELSEWHERE, SERVER
from ferryman.config.measures import count, duration, seconds
from ferryman.config.pooling import KEY, POOL_KEY
from ferryman.config.pricing_grammar import CURRENCIES, PRICING
from ferryman.config.probing import PROBE
from ferryman.config.residency import RESIDENCY
from ferryman.config.role_grammar import ROLES
from ferryman.config.route_grammar import STICKING, STRATEGIES, TARGET, TARGETS
from ferryman.config.shapes import Either, Key, ListOf, MapOf, Table
from ferryman.config.snapshot import Timeouts
from ferryman.config.telemetry_grammar import TELEMETRY
from ferryman.wire.paths import PATHS, STREAM

FORMATS: Final = tuple(PATHS)
"""API formats this version speaks with providers: the folders of ``wire/``."""
ENDPOINTS: Final = tuple(
    dict.fromkeys(name for paths in PATHS.values() for name in paths if not name.endswith(STREAM))
)
_TIMEOUTS = Timeouts()


def _word(says: str, example: str, pattern: str) -> Word:
    return Word(says=says, example=example, pattern=pattern)


_PROVIDER_NAME = _word(
    "the name of a provider (small letters, digits, - and _)", "lab", r"[a-z0-9][a-z0-9_-]{0,47}"
)
_MODEL_NAME = _word(
    "a model name (no spaces, at most 200 characters)", "fast", r"[^\s\x00-\x1f\x7f]{1,200}"
)
_HEADER_NAME = _word("the name of a header", "X-Team", r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


def _number(example: str, most: str) -> Number:
    return Number(says="a number", example=example, least=Decimal(0), most=Decimal(most))


PROVIDER: Final = Table(
    says="a mapping, {} for the defaults",
    example="{ key: env:LAB_KEY }",
    keys=(
        Key(
            name="key",
            kind=KEY,
            doc="The API key: vault:NAME, env:NAME, file:/path, or (warned of) the key itself. "
            "With vault:ORGANISATION/NAME, the provider serves that organisation alone. See "
            "docs/vault.md.",
            default="the variable the catalogue names for this provider",
        ),
        Key(
            name="keys",
            kind=ListOf(
                says="a list of key references",
                example="[env:LAB_KEY_A, env:LAB_KEY_B]",
                item=POOL_KEY,
                least=1,
            ),
            doc="Several API keys, in place of key; calls are spread over them. Each may have a "
            "weight, a limit and a discount of its own.",
        ),
        Key(
            name="format",
            kind=Word(
                says=f"an API format ({', '.join(FORMATS)})", example=FORMATS[0], choices=FORMATS
            ),
            doc="The API format the provider speaks.",
            default="the catalogue's, or openai_chat",
        ),
        Key(
            name="base_url",
            kind=Url(says="a URL", example="http://10.0.0.7:8000/v1"),
            doc="Where the provider is, up to and including the version segment. {VAR} is filled "
            "from the environment. Required for a provider that is not in the catalogue.",
            default="the catalogue's",
        ),
        Key(
            name="private",
            kind=Flag(says="true or false", example="true"),
            doc="true: the base URL may lead to any address, private ones included. false: to none "
            "of those.",
            default="only if it names a private host, such as localhost or 10.0.0.7",
        ),
        Key(
            name="region",
            kind=REGION,
            doc="Where the provider computes, as a label of your own; filters ask for it. Requests "
            "to AWS are signed for it.",
            default="the catalogue's, as long as the base URL is",
        ),
        Key(
            name="data_policy",
            kind=DATA_POLICY,
            doc="What the provider has promised you for your account: that it trains no models on "
            "your requests, that it does not keep them either, that it handles health data as "
            "HIPAA wants. Filters ask for it.",
        ),
        Key(
            name="auth",
            kind=Word(
                says="bearer, none, x-api-key, header:NAME, sigv4 or google",
                example="bearer",
                pattern=r"bearer|none|x-api-key|sigv4|google|header:[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}",
            ),
            doc="How the key is sent: bearer (Authorization: Bearer …), x-api-key, "
            "header:NAME, or none. sigv4 and google need no key: they take the credentials of AWS "
            "and of Google Cloud where those keep them.",
            default="the catalogue's; for a provider of your own what is usual in its format with "
            "a key, none without",
        ),
        Key(
            name="headers",
            kind=MapOf(
                says="a mapping of header names to values",
                example="{ X-Team: search }",
                key=_HEADER_NAME,
                item=Secret(
                    says="a header value, or vault:NAME, env:NAME, file:/path",
                    example="env:TEAM",
                    header=True,
                ),
            ),
            doc="Headers added to every call to this provider, beside those of the catalogue; "
            "values may be vault:NAME, env:NAME or file:/path.",
            default="the catalogue's",
        ),
        Key(
            name="endpoints",
            kind=ListOf(
                says="a list of endpoints",
                example="[chat.completions, embeddings]",
                item=Word(
                    says="an endpoint, such as chat.completions or embeddings",
                    example=ENDPOINTS[0],
                    choices=ENDPOINTS,
                ),
                least=1,
            ),
            doc="The endpoints the provider offers.",
            default="the catalogue's, or all of its format's",
        ),
        Key(
            name="quirks",
            kind=ListOf(
                says="a list of quirk names",
                example="[]",
                item=_word("the name of a quirk", "no_stream_options", r"[a-z][a-z0-9_]{0,63}"),
            ),
            doc="Adjustments for providers that deviate from their format, by the names the "
            "catalogue uses. Replaces the catalogue's list.",
            default="the catalogue's",
        ),
        *PRICING,
        Key(
            name="models",
            kind=MapOf(
                says="a mapping of model names to facts",
                example="{ llama-3.3-70b: { quantization: fp8 } }",
                key=_MODEL_NAME,
                item=FACTS,
            ),
            doc="What is to be known of its models. They need not stand here to be called.",
            default="the catalogue's",
        ),
        Key(
            name="probe",
            kind=PROBE,
            doc="Asks its targets that rest for a token now and then, so that no call of a user "
            "has to find out if they are well again. See docs/routing.md.",
            default="calls find out",
        ),
        *IN_FLIGHT,
    ),
    hints=(
        ("api_key", "Write key: env:NAME."),
        ("url", "Write base_url: http://host/v1."),
        ("api_base", "Write base_url: http://host/v1."),
        ("max_parallel_requests", "Write max_in_flight: 32."),
    ),
)

MODEL: Final = Table(
    says="a target or a mapping",
    example="{ targets: [lab/llama-3.3-70b] }",
    keys=(
        Key(
            name="targets",
            kind=TARGETS,
            doc="Models that can stand in for each other: provider/model, another name from "
            "models, which is chosen as a whole, or a bare model name of the catalogue. Lists "
            "within the list go by priority: `[[a, b], [c]]` asks c after a and b.",
            required=True,
        ),
        Key(
            name="strategy",
            kind=Word(
                says=f"a strategy ({', '.join(STRATEGIES)})", example="latency", choices=STRATEGIES
            ),
            doc="The order in which targets are tried: ordered (as written), weighted (at random "
            "by weights), latency (quickest first), throughput (most tokens per second first), "
            "least_loaded (fewest calls at work, for their weight), headroom (most of its rate "
            "limit left), cost (cheapest for the request), balanced (at random, cheap ones far "
            "more often). Those that failed of late come last. See docs/routing.md.",
            default="ordered",
        ),
        Key(
            name="weights",
            kind=MapOf(
                says="a mapping of targets to numbers",
                example="{ lab/llama-3.3-70b: 3 }",
                key=TARGET,
                item=Number(
                    says="a number",
                    example="3",
                    least=Decimal("0.001"),
                    most=Decimal(1_000_000),
                ),
                least=1,
            ),
            doc="Shares of the targets under strategies weighted and least_loaded; a target "
            "without one counts 1.",
        ),
        *STICKING,
        Key(
            name="fallbacks",
            kind=ListOf(
                says="a list of targets", example="[lab/llama-3.1-8b]", item=TARGET
            ),
            doc="Other models, tried in this order after every target failed.",
            default="none",
        ),
        Key(
            name="filter",
            kind=FILTER,
            doc="Which of its targets and fallbacks come into question for a request.",
            default="all of them",
        ),
        GUARDED,
        *AFTERWARDS,
    ),
    hints=(("fallback", "Write fallbacks: [provider/model]."), *NOT_HERE),
)  # fmt: skip

SET: Final = Table(
    says="a mapping of parameters",
    example="{ temperature: 0, max_output: 500 }",
    keys=(
        Key(name="temperature", kind=_number("0", "10"), doc="Randomness of the answer."),
        Key(name="top_p", kind=_number("0.9", "1"), doc="Share of likely tokens to choose from."),
        Key(name="top_k", kind=count("40", 1, 10**6), doc="Likely tokens to choose from."),
        Key(name="seed", kind=count("7", 0, 2**31 - 1), doc="Seed of the randomness."),
        Key(
            name="max_output",
            kind=count("500", 1, 10**8),
            doc="Most tokens of the answer, by whichever name the call's format has for it.",
        ),
    ),
)

POLICY_TIMEOUTS: Final = Table(
    says="a mapping",
    example="{ first_byte: 5s, total: 30s }",
    keys=(
        Key(
            name="connect",
            kind=duration("1s", "0.01"),
            doc="How long making a connection to a provider may take.",
            default="timeouts.connect",
        ),
        Key(
            name="first_byte",
            kind=duration("5s", "0.01"),
            doc="How long a provider may take to begin its answer; of a stream, to say something.",
            default="timeouts.first_byte",
        ),
        Key(
            name="idle",
            kind=duration("10s", "0.01"),
            doc="Longest silence within an answer; comments and pings don't break it.",
            default="timeouts.idle",
        ),
        Key(
            name="total",
            kind=duration("30s", "0.01"),
            doc="How long a whole call may take, every attempt counted.",
            default="timeouts.total",
        ),
    ),
)

POLICY: Final = Table(
    says="a mapping",
    example="{ when: { metadata.task: summarise }, use: fast }",
    keys=(
        Key(
            name="name",
            kind=_word(
                "a name (letters, digits, dots, - and _)",
                "summaries",
                r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
            ),
            doc="What replies and records call this policy.",
            default="policy-N, by its place in the list",
        ),
        Key(
            name="when",
            kind=WHEN,
            doc="Which calls it is for; see docs/policies.md for the facts and operators. The "
            "first policy that matches a call holds.",
            required=True,
        ),
        Key(
            name="use",
            kind=TARGET,
            doc="The model that serves these calls in place of the one they ask for: a name from "
            "models, or provider/model.",
        ),
        Key(
            name="forbid",
            kind=_word("a reason", "No images here.", r"\S(.{0,498}\S)?"),
            doc="These calls are refused with status 403 and this reason.",
        ),
        Key(
            name="set",
            kind=SET,
            doc="Parameters that these calls get in place of their own.",
        ),
        Key(
            name="timeouts",
            kind=POLICY_TIMEOUTS,
            doc="How long these calls may take, in place of the section timeouts.",
        ),
        Key(
            name="on_unsupported",
            kind=Word(says="drop or reject", example="reject", choices=("drop", "reject")),
            doc="What becomes of parts of these calls that a model's API format can't carry: they "
            "are dropped, and the answer says which, or the call is refused.",
            default="what the call asks for, or drop",
        ),
        Key(
            name="too_long",
            kind=Word(
                says="next, error or compress",
                example="compress",
                choices=("next", "error", "compress"),
            ),
            doc="What becomes of these calls when they don't fit into a model's window: the next "
            "target that can take them is asked, they are refused, or messages are left out of "
            "their middle, which the answer says.",
            default="what the call asks for, or next",
        ),
        Key(
            name="filter",
            kind=FILTER,
            doc="Which targets come into question for these calls, whichever model they ask for.",
            default="all of them",
        ),
        ON_FILTER,
        CACHED,
        KEPT,
        GUARDED,
        Key(
            name="budget",
            kind=BUDGET,
            doc="What these calls together may spend in a period; see docs/limits.md.",
        ),
    ),
    hints=NOT_HERE,
)

TIMEOUTS: Final = Table(
    says="a mapping",
    example="{ connect: 5s, total: 10m }",
    keys=(
        Key(
            name="connect",
            kind=duration("5s", "0.01", Decimal(300)),
            doc="How long connecting to a provider may take, TLS included.",
            default=seconds(_TIMEOUTS.connect),
        ),
        Key(
            name="first_byte",
            kind=duration("2m", "0.01"),
            doc="How long a provider may take to begin its answer; of a stream, to say something.",
            default=seconds(_TIMEOUTS.first_byte),
        ),
        Key(
            name="idle",
            kind=duration("60s", "0.01"),
            doc="Longest silence within an answer; comments and pings don't break it.",
            default=seconds(_TIMEOUTS.idle),
        ),
        Key(
            name="total",
            kind=duration("10m", "0.01"),
            doc="How long a whole call may take, every attempt counted.",
            default=seconds(_TIMEOUTS.total),
        ),
        Key(
            name="short_wait",
            kind=duration("3s", "0"),
            doc="Before a fallback is asked, how long a call waits for a target that says when to "
            "come back. 0s: not at all.",
            default=seconds(_TIMEOUTS.short_wait),
        ),
        Key(
            name="cancelled",
            kind=duration("2s", "0"),
            doc="How long an answer whose caller has left may go on, so that the provider tells "
            "what it has used. 0s: it is cut off at once, and what it used is estimated.",
            default=seconds(_TIMEOUTS.cancelled),
        ),
    ),
)

TLS: Final = Table(
    says="a mapping",
    example="{ ca_files: [/etc/ssl/company-ca.pem] }",
    keys=(
        Key(
            name="ca_files",
            kind=ListOf(
                says="a list of file names",
                example="[/etc/ssl/company-ca.pem]",
                item=_word("the name of a PEM file", "/etc/ssl/company-ca.pem", r"\S(.*\S)?"),
            ),
            doc="PEM files of further certificate authorities to trust when calling providers.",
            default="none: the system's authorities",
        ),
    ),
)

FILE: Final = Table(
    says="a mapping with the sections providers, models, currencies, policies, residency, limits, "
    "alerts, server, timeouts, responses, cache, idempotency, content, guards, roles, identity, "
    "logs, ledger, telemetry, tls",
    example="providers: {}",
    keys=(
        Key(
            name="providers",
            kind=MapOf(
                says="a mapping of provider names to settings",
                example="{ lab: { base_url: http://10.0.0.7:8000/v1 } }",
                key=_PROVIDER_NAME,
                item=PROVIDER,
            ),
            doc="Providers by name: settings for one of the catalogue, or one of your own.",
            default="every provider of the catalogue whose key is in the environment",
        ),
        Key(
            name="models",
            kind=MapOf(
                says="a mapping of model names to targets",
                example="{ fast: { targets: [lab/llama-3.3-70b] } }",
                key=_MODEL_NAME,
                item=Either(
                    says="provider/model, or a mapping with targets",
                    example="{ targets: [lab/llama-3.3-70b] }",
                    short=TARGET,
                    table=MODEL,
                ),
            ),
            doc="Model names of your own: `name: provider/model`, or a mapping with targets.",
            default="none",
        ),
        CURRENCIES,
        Key(
            name="policies",
            kind=ListOf(
                says="a list of policies",
                example="[{ when: { metadata.task: summarise }, use: fast }]",
                item=POLICY,
            ),
            doc="What is done with calls that meet conditions; the first that matches holds.",
            default="none",
        ),
        Key(
            name="residency",
            kind=RESIDENCY,
            doc="Where calls of certain keys, teams and so on may go, whatever policies and "
            "callers say; every rule that matches holds. See docs/residency.md.",
            default="none",
        ),
        Key(
            name="limits",
            kind=ListOf(
                says="a list of limits",
                example="[{ by: key, requests: 600/minute, budget: { usd: 20, per: day } }]",
                item=LIMIT,
            ),
            doc="How much calls may take: rates, calls at once, budgets. See docs/limits.md.",
            default="none",
        ),
        Key(
            name="alerts",
            kind=ALERTS,
            doc="Who is told of what goes wrong or runs out. See docs/alerts.md.",
            default="the log and the dashboard tell of it",
        ),
        Key(
            name="server",
            kind=SERVER,
            doc="Limits of the endpoint that clients call.",
        ),
        Key(
            name="timeouts",
            kind=TIMEOUTS,
            doc="How long calls to providers may take.",
        ),
        Key(
            name="responses",
            kind=RESPONSES,
            doc="Answers that callers of the Responses API go on from later.",
        ),
        Key(
            name="cache",
            kind=CACHE,
            doc="Answers that are given again to requests that are the same. See docs/cache.md.",
            default="nothing is cached",
        ),
        Key(
            name="idempotency",
            kind=IDEMPOTENCY,
            doc="Answers that are repeated for calls with the same Idempotency-Key.",
        ),
        Key(
            name="content",
            kind=CONTENT,
            doc="Prompts and answers that are kept. See docs/contents.md.",
            default="none are kept",
        ),
        GUARD,
        ROLES,
        IDENTITY,
        Key(
            name="logs",
            kind=LOGS,
            doc="Lines about calls, and where they go. See docs/contents.md.",
            default="none",
        ),
        Key(
            name="ledger",
            kind=LEDGER,
            doc="How long calls and their sums are kept. See docs/ledger.md.",
        ),
        Key(
            name="telemetry",
            kind=TELEMETRY,
            doc="What is told of calls to others. See docs/observability.md.",
        ),
        Key(
            name="tls",
            kind=TLS,
            doc="Trust in the certificates of providers.",
        ),
    ),
    hints=(
        ("host", ELSEWHERE),
        ("port", ELSEWHERE),
        (
            "webhook",
            "Write alerts: { channels: { ops: { webhook: https://…, secret: env:NAME } } }.",
        ),
        ("routes", "Write models: { name: { targets: [provider/model] } }."),
        ("aliases", "Write models: { name: provider/model }."),
    ),
)
