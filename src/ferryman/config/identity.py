"""The section ``identity``: whose tokens are let in, and who signs people in."""

from collections.abc import Callable, Mapping
from pathlib import Path as File
from typing import Any, Final

from ferryman.config.conditions import Flag, Plain, plain_number
from ferryman.config.files import is_file, located, referred
from ferryman.config.group_grammar import GROUPS
from ferryman.config.identity_row import ALGORITHMS, CLAIMED, DISCOVERY, Issuer
from ferryman.config.kinds import Reference, Word
from ferryman.config.problem import Path, shown
from ferryman.config.role_grammar import BUILT_IN
from ferryman.config.shapes import Key, ListOf, MapOf, OneOrList, Table
from ferryman.config.snapshot import SCOPES, SignIn
from ferryman.wire.addresses import is_private, refused_address

Found = dict[str, Any]
Add = Callable[..., None]
MOST_ISSUERS: Final = 20
OWNER: Final = "owner"
EVERYONE: Final = "everyone"
_TEXT: Final = r"\S(.{0,198}\S)?"


def _word(says: str, example: str, pattern: str = _TEXT) -> Word:
    return Word(says=says, example=example, pattern=pattern)


def _texts(says: str, several: str, example: str) -> OneOrList:
    one = _word(says, example)
    kind = ListOf(says=several, example=f"[{example}]", item=one, least=1)
    return OneOrList(says=f"{says}, or a list of them", example=example, one=one, several=kind)


_NAME: Final = _word(
    "a name (letters, digits, - and _)", "staff", r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}"
)
_URL: Final = r"https?://[!-?A-~]{1,2000}"
_CLAIM: Final = _word("the name of a claim", "department")
_FACT: Final = _word("a name", "acme", r"\S(.{0,98}\S)?")

CLAIMS: Final = Table(
    says="a mapping of organisation, team, user, tags to claims",
    example="{ team: department, user: email }",
    keys=tuple(
        Key(
            name=name,
            kind=_CLAIM,
            doc=f"The claim that says it; dots lead into it. It must be a text"
            f"{', or a list of texts' if name == 'tags' else ''}.",
            default="sub" if name == "user" else "none",
        )
        for name in CLAIMED
    ),
)
ISSUER: Final = Table(
    says="a mapping",
    example="{ name: staff, issuer: https://login.example.org, audiences: ferryman }",
    keys=(
        Key(name="name", kind=_NAME, doc="What records call it.", required=True),
        Key(
            name="issuer",
            kind=_word("an issuer, which is a URL", "https://login.example.org", _URL),
            doc="What tokens say as iss, to the letter.",
            required=True,
        ),
        Key(
            name="audiences",
            kind=_texts("an audience", "a list of audiences", "ferryman"),
            doc="What tokens must say as aud: one of these, to the letter.",
            default="no token of it is let in; people may sign in",
        ),
        Key(
            name="jwks_url",
            kind=_word("a URL", "https://login.example.org/keys", _URL),
            doc="Where its public keys are (RFC 7517). Without it and jwks_file, the description "
            "at issuer/.well-known/openid-configuration says.",
            default="as the issuer's description says",
        ),
        Key(
            name="jwks_file",
            kind=_word("the name of a file", "/etc/ferryman/staff.jwks", r"\S(.{0,998}\S)?"),
            doc="In place of it: a file on the control plane's machine.",
        ),
        Key(
            name="private",
            kind=Flag(says="true or false", example="true"),
            doc="true: these may be at any address, private ones included. false: at none of "
            "those.",
            default="only if the URL names a private host",
        ),
        Key(
            name="algorithms",
            kind=ListOf(
                says="a list of algorithms",
                example="[RS256]",
                item=Word(
                    says=f"an algorithm ({', '.join(ALGORITHMS)})",
                    example="RS256",
                    choices=ALGORITHMS,
                ),
                least=1,
            ),
            doc="How its tokens may be signed.",
            default=", ".join(ALGORITHMS),
        ),
        Key(
            name="claims",
            kind=CLAIMS,
            doc="Which claims say whose a call is, as a virtual key would.",
            default="{ user: sub }",
        ),
        Key(
            name="organisation",
            kind=_FACT,
            doc="Whose all of its callers are, whatever their claims say.",
            default="as claims say",
        ),
        Key(name="team", kind=_FACT, doc="The same of their team.", default="as claims say"),
        Key(
            name="require",
            kind=MapOf(
                says="a mapping of claims to values",
                example="{ email_verified: true, groups: [staff, contractors] }",
                key=_CLAIM,
                item=OneOrList(
                    says="a value, or a list of values",
                    example="staff",
                    one=Plain(says="a text, a number, true or false", example="staff"),
                    several=ListOf(
                        says="a list of values",
                        example="[staff, contractors]",
                        item=Plain(says="a text, a number, true or false", example="staff"),
                        least=1,
                    ),
                ),
            ),
            doc="What claims must be: the value, or one of several. Of a claim that is a list, one "
            "of its items must be.",
            default="nothing",
        ),
        Key(
            name="models",
            kind=ListOf(
                says="a list of models",
                example="[fast, openai/*]",
                item=_word("a model's name, or its beginning and *", "fast", r"[^\s*]{0,199}[^\s]"),
                least=1,
            ),
            doc="What its callers may ask for, as they write it.",
            default="all models",
        ),
    ),
    hints=(
        ("audience", "Write audiences: NAME."),
        ("jwks_uri", "Write jwks_url: https://…"),
        ("url", "Write issuer: https://…"),
    ),
)

DIRECTORY: Final = Table(
    says="a mapping with external_id and only",
    example="{ external_id: sub, only: true }",
    keys=(
        Key(
            name="external_id",
            kind=_word("the name of a claim", "sub"),
            doc="The claim that the directory has as externalId.",
            default="email, verified, is userName or the primary address",
        ),
        Key(
            name="only",
            kind=Flag(says="true or false", example="true"),
            doc="true: whom the directory doesn't have stays outside.",
            default="false",
        ),
    ),
)
SIGN_IN: Final = Table(
    says="a mapping",
    example="{ issuer: staff, client_id: ferryman, url: https://ferryman.example.org }",
    keys=(
        Key(name="issuer", kind=_NAME, doc="The name of one of issuers.", required=True),
        Key(
            name="client_id",
            kind=_word("a client's id", "ferryman"),
            doc="What the provider calls the dashboard.",
            required=True,
        ),
        Key(
            name="client_secret",
            kind=Reference(says="vault:NAME, env:NAME or file:/path", example="env:SIGN_IN_SECRET"),
            doc="The secret that it gave the dashboard.",
            default="none: PKCE alone",
        ),
        Key(
            name="url",
            kind=_word("a URL", "https://ferryman.example.org", _URL),
            doc="Where browsers find the dashboard. Give the provider this URL and "
            "/signon/callback as the one to redirect to.",
            required=True,
        ),
        Key(
            name="scopes",
            kind=ListOf(
                says="a list of scopes",
                example="[openid, email, groups]",
                item=_word("a scope", "email", r"[!#-\[\]-~]{1,100}"),
            ),
            doc="What is asked for; openid always is.",
            default="openid, email, profile",
        ),
        Key(
            name="groups",
            kind=_CLAIM,
            doc="The claim that has one's groups.",
            default="groups",
        ),
        Key(
            name="roles",
            kind=MapOf(
                says="a mapping of groups to roles",
                example="{ platform: admin, finance: billing }",
                key=_word("a group", "platform"),
                item=_word("a role", "admin"),
            ),
            doc="Which role members of a group have; the first group here that one is in counts.",
            default="none",
        ),
        Key(
            name="default",
            kind=_word("a role, or none", "viewer"),
            doc="The role of all others; none: they don't come in.",
            default="none",
        ),
        Key(
            name="directory",
            kind=DIRECTORY,
            doc="How people are known to be the users that a directory makes here (SCIM). See "
            "docs/scim.md.",
            default="by verified e-mail addresses",
        ),
    ),
)

TABLE: Final = Table(
    says="a mapping with issuers, sign_in, groups and passwords",
    example="{ issuers: [{ name: staff, issuer: https://login.example.org, audiences: api }] }",
    keys=(
        Key(
            name="issuers",
            kind=ListOf(
                says="a list of issuers",
                example="[{ name: staff, issuer: https://login.example.org, audiences: api }]",
                item=ISSUER,
            ),
            doc="Whose tokens (JWTs) calls may bring in place of a virtual key.",
            default="nobody's",
        ),
        Key(
            name="sign_in",
            kind=SIGN_IN,
            doc="How people sign in at the dashboard with an account there (OpenID Connect).",
            default="without one",
        ),
        GROUPS,
        Key(
            name="passwords",
            kind=Word(says="owners or everyone", example=EVERYONE, choices=("owners", EVERYONE)),
            doc="Who may have a password for the dashboard: owners, or all users.",
            default="owners",
        ),
    ),
)
IDENTITY: Final = Key(
    name="identity",
    kind=TABLE,
    doc="Callers and people that others vouch for. See docs/identity.md.",
    default="nobody is",
)


def identity_of(
    found: Found, folder: File, roles: Mapping[str, object], add: Add
) -> tuple[tuple[Issuer, ...], SignIn | None]:
    """The issuers and sign-in of the section ``found``; what can't be goes to ``add``.

    A relative path is taken from ``folder``; ``roles`` are those of the file.
    """
    issuers: dict[str, Issuer] = {}
    for i, entry in found.get("issuers", []):
        path: Path = ("identity", "issuers", i)
        if not {"name", "issuer"} <= entry.keys():
            continue
        if entry["name"] in issuers:
            message = f"another issuer is called {shown(entry['name'])} already"
            add((*path, "name"), message, "Give each a name of its own.")
        issuers[entry["name"]] = _issuer(entry, path, folder, add)
    if len(issuers) > MOST_ISSUERS:
        fix = f"Up to {MOST_ISSUERS} are known."
        add(("identity", "issuers"), "these are too many issuers", fix)
    sign_in = found.get("sign_in")
    if sign_in is None or not {"issuer", "client_id", "url"} <= sign_in.keys():
        return tuple(issuers.values()), None
    return tuple(issuers.values()), _sign_in(sign_in, issuers, folder, roles, add)


def _issuer(found: Found, path: Path, folder: File, add: Add) -> Issuer:
    if "jwks_url" in found and "jwks_file" in found:
        add((*path, "jwks_file"), "jwks_url and jwks_file are both given", "Keep one of them.")
    keys = found.get("jwks_url") or found["issuer"].rstrip("/") + DISCOVERY
    if "jwks_file" in found:
        file = located(folder, found["jwks_file"])
        keys = f"file:{file}"
        if not is_file(file):
            add((*path, "jwks_file"), "there is no such file here", "Create it.", "warning")
    else:
        name = "jwks_url" if "jwks_url" in found else "issuer"
        if refused_address(keys, found.get("private")):
            fix = "private: true allows private addresses, and those of clouds' metadata."
            add((*path, name), "this is an address that it may not lead to", fix)
        _encrypted(keys, (*path, name), add)
    claims = {"user": "sub", **found.get("claims", {})}
    for name in ("organisation", "team"):
        if name in found and name in claims:
            message = f"the {name} is given, and a claim for it, too"
            add((*path, "claims", name), message, "Keep one of them.")
    audiences = found.get("audiences", [])
    return Issuer(
        name=found["name"],
        issuer=found["issuer"],
        keys=keys,
        audiences=(audiences,) if isinstance(audiences, str) else _values(audiences),
        private=found.get("private"),
        algorithms=_values(found["algorithms"]) if "algorithms" in found else ALGORITHMS,
        claims=tuple((name, claims[name]) for name in CLAIMED if name in claims),
        organisation=found.get("organisation", ""),
        team=found.get("team", ""),
        require=tuple(
            (claim, _allowed(value)) for claim, value in found.get("require", {}).items()
        ),
        models=_values(found.get("models", [])),
    )


def _sign_in(
    found: Found, issuers: Mapping[str, Issuer], folder: File, roles: Mapping[str, object], add: Add
) -> SignIn:
    path: Path = ("identity", "sign_in")
    issuer = issuers.get(found["issuer"])
    if issuer is None:
        fix = f"There are: {', '.join(issuers)}." if issuers else "Add it under issuers."
        add((*path, "issuer"), f"there is no issuer {shown(found['issuer'])}", fix)
    elif not issuer.keys.endswith(DISCOVERY):
        message = "people can't sign in there: its description says where, and keys are given here"
        add((*path, "issuer"), message, "Leave out jwks_url and jwks_file of it.")
    elif found["client_id"] in issuer.audiences:
        message = "tokens that sign in at the dashboard would be let in as calls', too"
        add((*path, "client_id"), message, "Give calls an audience of their own.")
    _encrypted(found["url"], (*path, "url"), add)
    _roles(found, path, roles, add)
    secret, directory = found.get("client_secret"), found.get("directory", {})
    scopes = _values(found["scopes"]) if "scopes" in found else SCOPES
    return SignIn(
        issuer=found["issuer"],
        client=found["client_id"],
        secret=None if secret is None else referred(secret, folder),
        url=found["url"].rstrip("/"),
        scopes=tuple(dict.fromkeys(("openid", *scopes))),
        groups=found.get("groups", "groups"),
        roles=tuple(found.get("roles", {}).items()),
        default="" if found.get("default", "none") == "none" else found["default"],
        external_id=directory.get("external_id", ""),
        only=directory.get("only", False),
    )


def _roles(found: Found, path: Path, roles: Mapping[str, object], add: Add) -> None:
    """Check the roles that people get: who may write the configuration makes nobody an owner."""
    known = [name for name in (*BUILT_IN, *roles) if name != OWNER]
    named: dict[Path, str] = {
        ("roles", group): role for group, role in found.get("roles", {}).items()
    }
    if found.get("default", "none") != "none":
        named["default",] = found["default"]
    for where, role in named.items():
        if role not in known:
            message = f"there is no role {shown(role)}"
            if role == OWNER:
                message = "an owner is made by an owner, not by the configuration"
            add((*path, *where), message, f"There are: {', '.join(known)}.")


def _encrypted(url: str, path: Path, add: Add) -> None:
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    name = host.partition("]")[0].lstrip("[") if host[:1] == "[" else host.partition(":")[0]
    if url.startswith("http://") and not is_private(name):
        add(path, "whoever is on the way could change what comes from there", "Write https://…")


def _allowed(value: Any) -> tuple[Any, ...]:
    given = [each for _, each in value] if isinstance(value, list) else [value]
    return tuple(plain_number(each) for each in given)


def _values(found: list[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(each for _, each in found)
