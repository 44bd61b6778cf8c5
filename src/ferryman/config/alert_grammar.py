"""The keys of ``alerts``: what is told, to whom."""

from decimal import Decimal
from typing import Final

from ferryman.config.conditions import Flag
from ferryman.config.kinds import PER_CENT, SECONDS, Number, Reference, Word
from ferryman.config.measures import USD, count, size
from ferryman.config.shapes import Key, ListOf, MapOf, OneOrList, Table
from ferryman.config.snapshot import ALERTED, MEASURES, SEVERITIES

BY: Final = ("all", "model", "provider", "key", "team")
_FLAG: Final = Flag(says="true or false", example="true")
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_CHANNEL: Final = Word(says="a name (letters, digits, dots, - and _)", example="ops", pattern=_NAME)
_ADDRESS: Final = Word(
    says="an e-mail address",
    example="ops@example.org",
    pattern=r"[A-Za-z0-9.+_-]{1,64}@[A-Za-z0-9.-]{1,255}",
)


def _secret(example: str) -> Word:
    return Reference(says="vault:NAME, env:NAME or file:/path", example=example)


def _time(example: str, least: int, most: int, *, days: bool = False) -> Number:
    return Number(
        says=f"a duration (seconds, or a text such as {'30m, 12h, 2d' if days else '5m, 1h'})",
        example=example,
        least=Decimal(least),
        most=Decimal(most),
        units=SECONDS | ({"d": Decimal(86_400)} if days else {}),
    )


_REPEAT: Final = _time("12h", 3600, 30 * 86_400, days=True)

EMAIL: Final = Table(
    says="a mapping",
    example="{ to: ops@example.org, from: ferryman@example.org, host: smtp.example.org }",
    keys=(
        Key(
            name="to",
            kind=OneOrList(
                says="an e-mail address, or a list of them",
                example="ops@example.org",
                one=_ADDRESS,
                several=ListOf(
                    says="a list of e-mail addresses",
                    example="[ops@example.org]",
                    item=_ADDRESS,
                    least=1,
                ),
            ),
            doc="Who gets it.",
            required=True,
        ),
        Key(name="from", kind=_ADDRESS, doc="Who it is from.", required=True),
        Key(
            name="host",
            kind=Word(
                says="the name of a mail server",
                example="smtp.example.org",
                pattern=r"[A-Za-z0-9.:_-]{1,253}",
            ),
            doc="The mail server that takes it.",
            required=True,
        ),
        Key(
            name="port",
            kind=count("587", 1, 65_535),
            doc="Its port.",
            default="587, or 465 with tls: implicit",
        ),
        Key(
            name="tls",
            kind=Word(
                says="starttls or implicit", example="implicit", choices=("starttls", "implicit")
            ),
            doc="How TLS begins: after a greeting, or at once. Without TLS nothing is sent.",
            default="starttls",
        ),
        Key(
            name="user",
            kind=Word(says="a user name", example="ferryman", pattern=r"\S(.{0,198}\S)?"),
            doc="Whom to sign in as.",
            default="nobody",
        ),
        Key(
            name="password",
            kind=_secret("env:SMTP_PASSWORD"),
            doc="The user's password.",
            default="none",
        ),
    ),
)

CHANNEL: Final = Table(
    says="a mapping with webhook, slack or email",
    example="{ webhook: https://example.org/hooks/alerts, secret: env:HOOK_SECRET }",
    keys=(
        Key(
            name="webhook",
            kind=Word(
                says="the URL of a webhook",
                example="https://example.org/hooks/alerts",
                pattern=r"https?://[!-?A-~]{1,2000}",
            ),
            doc="Where a POST with JSON goes.",
        ),
        Key(
            name="secret",
            kind=_secret("env:HOOK_SECRET"),
            doc="What signs it, so that its receiver knows whom it is from.",
            default="*required* with webhook",
        ),
        Key(
            name="slack",
            kind=_secret("env:SLACK_WEBHOOK"),
            doc="In place of webhook: the URL of an incoming webhook of Slack, or of what "
            "understands the same. Whoever knows that URL may write there, so it is a secret.",
        ),
        Key(name="email", kind=EMAIL, doc="In place of webhook: e-mail."),
        Key(
            name="private",
            kind=_FLAG,
            doc="true: it may be at a private address, such as this machine's or of this network.",
            default="false",
        ),
    ),
    hints=(
        ("url", "Write webhook: https://…"),
        ("smtp", "Write email: { to: …, from: …, host: … }."),
    ),
)

RULE: Final = Table(
    says="a mapping",
    example="{ on: latency, over: 8s }",
    keys=(
        Key(
            name="on",
            kind=Word(
                says=f"{', '.join(ALERTED[:-1])} or {ALERTED[-1]}",
                example="latency",
                choices=ALERTED,
            ),
            doc="What it is about. Rules of the file take the place of the one that there is for "
            "this without any.",
            required=True,
        ),
        Key(name="name", kind=_CHANNEL, doc="What it is called.", default="as on says"),
        Key(name="off", kind=_FLAG, doc="true: nobody is told, nor shown.", default="false"),
        Key(
            name="by",
            kind=Word(says=f"{', '.join(BY[:-1])} or {BY[-1]}", example="key", choices=BY),
            doc="Each value has an alert of its own. For error_rate, usage_unknown, spend_anomaly; "
            "for latency, model or provider.",
            default="provider; for latency model, for spend_anomaly all",
        ),
        Key(
            name="percent",
            kind=Number(
                says="per cent, such as 20%",
                example="20%",
                least=Decimal(1),
                most=Decimal(1000),
                units=PER_CENT,
            ),
            doc="From how many per cent on: of calls (error_rate, usage_unknown), or of a budget "
            "that has no `notify`.",
            default="20 for error_rate, 10 for usage_unknown, 100 for budget",
        ),
        Key(
            name="over",
            kind=_time("8s", 0, 3600),
            doc="For latency: what answers may take.",
            default="*required* for latency",
        ),
        Key(
            name="measure",
            kind=Word(says=f"{', '.join(MEASURES)}", example="p99", choices=MEASURES),
            doc="For latency: how long the quickest 50, 95 or 99 % of answers took, or (ttft) "
            "of the first tokens 95 %.",
            default="p95",
        ),
        Key(
            name="window",
            kind=_time("10m", 60, 86_400),
            doc="The time up to now that is looked at; for provider_down, how long nothing else "
            "than failures came from it.",
            default="10m; 5m for provider_down, 1h for usage_unknown",
        ),
        Key(
            name="calls",
            kind=count("20", 1, 10**9),
            doc="With fewer calls in that time (attempts for provider_down) nothing is said.",
            default="20; 3 for provider_down",
        ),
        Key(
            name="days",
            kind=count("30", 1, 3650),
            doc="Days without a call (key_idle), or until the end (key_expiring).",
            default="90, or 7",
        ),
        Key(
            name="free",
            kind=size("5GB", 1, 10**15),
            doc="For disk_low: what has to be free where the data directory is.",
            default="1GB",
        ),
        Key(
            name="deviations",
            kind=Number(says="a number", example="5", least=Decimal(1), most=Decimal(1000)),
            doc="For spend_anomaly: how many deviations above the usual; see docs/alerts.md.",
            default="5",
        ),
        Key(
            name="usd",
            kind=USD,
            doc="For spend_anomaly: at least so many USD above the usual.",
            default="5",
        ),
        Key(
            name="severity",
            kind=Word(says=" or ".join(SEVERITIES), example="critical", choices=SEVERITIES),
            doc="How bad it is.",
            default="as docs/alerts.md has it",
        ),
        Key(
            name="to",
            kind=ListOf(says="a list of channels", example="[ops]", item=_CHANNEL),
            doc="Which channels are told. []: only the log and the dashboard.",
            default="all of them",
        ),
        Key(
            name="repeat",
            kind=_REPEAT,
            doc="How often it is told again while it goes on.",
            default="as alerts.repeat says",
        ),
    ),
    hints=(
        ("threshold", "Write percent: 20%, over: 8s, days: 30 or free: 5GB."),
        ("channels", "Write to: [ops]."),
        ("for", "Write window: 10m."),
        ("enabled", "Write off: true."),
    ),
)

ALERTS: Final = Table(
    says="a mapping",
    example="{ channels: { chat: { slack: env:SLACK_WEBHOOK } } }",
    keys=(
        Key(
            name="channels",
            kind=MapOf(
                says="a mapping of names to channels",
                example="{ chat: { slack: env:SLACK_WEBHOOK } }",
                key=_CHANNEL,
                item=CHANNEL,
            ),
            doc="Who can be told, 20 at most.",
            default="none: alerts are in the log and the dashboard",
        ),
        Key(
            name="rules",
            kind=ListOf(says="a list of rules", example="[{ on: latency, over: 8s }]", item=RULE),
            doc="What is told, beyond or in place of what is told anyway.",
            default="those of docs/alerts.md",
        ),
        Key(
            name="repeat",
            kind=_REPEAT,
            doc="How often an alert is told again while it goes on.",
            default="24h",
        ),
    ),
)
