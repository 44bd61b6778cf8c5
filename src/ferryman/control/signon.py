"""Single sign-on for the dashboard: OpenID Connect, authorization code with PKCE (RFC 7636).

What has to be remembered between leaving for the provider and coming back is sealed in a
short-lived cookie: so it is this browser that comes back, and nothing is kept here. All of it
blocks.
"""

import base64
import hashlib
import hmac
import http.client
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from ferryman.config.feed import KeyFacts
from ferryman.config.identity_row import Issuer
from ferryman.config.seal import SealError, seal, unseal
from ferryman.config.secret import SIGN_IN, resolve
from ferryman.config.snapshot import SignIn, Snapshot
from ferryman.control.keysets import Keyring, described, reach_of
from ferryman.control.links import fetched
from ferryman.control.problem import ProblemError
from ferryman.flow.issuers import caller_of
from ferryman.log import log
from ferryman.meter import jwt
from ferryman.meter.jwk import encoded, json_object
from ferryman.meter.jwt import Token, TokenError, UnknownKeyError
from ferryman.store import users
from ferryman.store.keys import EVERYBODY
from ferryman.store.linking import Claimed, NotSameError, linked
from ferryman.store.tenants import UnknownTenantError
from ferryman.store.users import TakenError, UserInfo

CALLBACK: Final = "/signon/callback"
AWAY_SECONDS: Final = 600
"""How long one may take to sign in at the provider."""
LARGEST: Final = 131_072
"""Bytes of an answer with tokens."""
LONGEST_ANSWER: Final = 4096
"""Characters of a code and a state."""
_PURPOSE: Final = "signing in"
_snapshot: Final = msgspec.msgpack.Decoder(Snapshot)


class Pending(Struct, frozen=True, kw_only=True):
    """Somebody who is away at the provider."""

    state: str
    nonce: str
    verifier: str
    to: str
    """The page that they come back to."""
    until: int
    """Unix seconds."""


class Person(Struct, frozen=True, kw_only=True):
    """Whom a provider has signed in."""

    issuer: str
    subject: str
    name: str
    display: str
    role: str
    whose: KeyFacts
    email: str = ""
    verified: bool = False
    """Whether the provider says that the address is theirs."""
    external_id: str | None = None
    """As in :class:`~ferryman.store.linking.Claimed`."""

    @property
    def organisation(self) -> str | None:
        """None = nobody's."""
        return self.whose.organisation or None


class NotSignedInError(Exception):
    """Nobody was signed in; the message says why, for the log."""


@dataclass(frozen=True)
class _Settings:
    """What a snapshot has of it."""

    sign_in: SignIn
    issuer: Issuer
    ca_files: tuple[str, ...]


class SignOn:
    """Signs people in as the configuration says."""

    def __init__(
        self, engine: sa.Engine, keyring: Keyring, open_key: bytes, cookie_key: bytes,
        groups_give: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """``open_key`` opens the client's secret, ``cookie_key`` (32 bytes) seals cookies;
        ``groups_give``: whether a directory's groups say what its users may."""
        self._engine, self._keyring, self._groups_give = engine, keyring, groups_give
        self._open_key, self._cookie_key = open_key, cookie_key
        self._settings: _Settings | None = None

    def adopt(self, snapshot: bytes) -> None:
        """Go by this snapshot (msgpack)."""
        found = _snapshot.decode(snapshot)
        sign_in = found.sign_in
        row = next(
            (each for each in found.issuers if sign_in and each.name == sign_in.issuer), None
        )
        self._settings = (
            None if sign_in is None or row is None else _Settings(sign_in, row, found.ca_files)
        )

    @property
    def name(self) -> str:
        """Of the provider; empty where there is none."""
        return "" if self._settings is None else self._settings.issuer.name

    @property
    def secure(self) -> bool:
        """Whether browsers find the dashboard by TLS."""
        return self._settings is not None and self._settings.sign_in.url.startswith("https://")

    def start(self, to: str) -> tuple[str, str]:
        """Where to sign in, and the cookie to come back with. Raises :class:`ProblemError`."""
        settings = self._now()
        sign_in = settings.sign_in
        try:
            where = described(settings.issuer, settings.ca_files)["authorization_endpoint"]
        except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
            raise _away(settings, error) from None
        pending = Pending(
            state=secrets.token_urlsafe(32), nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48), to=to, until=int(time.time()) + AWAY_SECONDS,
        )  # fmt: skip
        asked = {
            "response_type": "code", "client_id": sign_in.client,
            "redirect_uri": sign_in.url + CALLBACK, "scope": " ".join(sign_in.scopes),
            "state": pending.state, "nonce": pending.nonce,
            "code_challenge": challenge(pending.verifier), "code_challenge_method": "S256",
        }  # fmt: skip
        text = msgspec.json.encode(pending).decode()
        cookie = seal(text, key=self._cookie_key, name=_PURPOSE)
        return f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}", cookie

    def finish(self, cookie: str, query: Mapping[str, str]) -> tuple[UserInfo, str]:
        """The user who came back with ``query``, and where they want to go.

        Raises :class:`ProblemError`: the same words whatever is wrong, but for a provider that is
        away, and people who have no role.
        """
        settings = self._now()
        try:
            pending = self._pending(cookie, settings, query)
            token = self._token(settings, pending, query["code"])
            person = person_of(settings.sign_in, settings.issuer, token)
        except (OSError, http.client.HTTPException) as error:
            raise _away(settings, error) from None
        except (NotSignedInError, TokenError, ValueError, LookupError) as error:
            log("control", f"nobody was signed in by {settings.issuer.name}: {error}")
            raise ProblemError(
                401, "not_signed_in", "That did not sign you in. Try again."
            ) from None
        try:
            user = self._user(person, only=settings.sign_in.only)
        except NotSameError as error:
            detail = f"{settings.issuer.name} knows you. {error}"
            raise ProblemError(403, "not_linked", detail) from None
        except UnknownTenantError as error:
            detail = f"{settings.issuer.name} says that you belong elsewhere. {error}"
            raise ProblemError(403, "no_role", detail) from None
        if user is None:
            detail = f"{settings.issuer.name} knows you, and no role here is for you."
            raise ProblemError(403, "no_role", detail)
        return user, pending.to

    def _now(self) -> _Settings:
        if self._settings is None:
            raise ProblemError(404, "no_sign_on", "No provider of accounts is set up here.")
        return self._settings

    def _pending(self, cookie: str, settings: _Settings, query: Mapping[str, str]) -> Pending:
        """Raises :class:`NotSignedInError`."""
        try:
            text = unseal(cookie, key=self._cookie_key, name=_PURPOSE)
        except SealError:
            raise NotSignedInError("the browser did not begin here") from None
        pending = msgspec.json.decode(text, type=Pending)
        if not hmac.compare_digest(query.get("state", "").encode(), pending.state.encode()):
            raise NotSignedInError("the answer is to another question")
        if pending.until < time.time():
            raise NotSignedInError("it took too long")
        if query.get("iss", settings.issuer.issuer) != settings.issuer.issuer:  # RFC 9207
            raise NotSignedInError("the answer is of another provider")
        if not 0 < len(query.get("code", "")) <= LONGEST_ANSWER:
            raise NotSignedInError("the provider gave no code")
        return pending

    def _token(self, settings: _Settings, pending: Pending, code: str) -> Token:
        """The ID token that the provider gives for the code, checked (OpenID Connect Core 1.0,
        3.1.3.7).

        Raises ``OSError``, ``HTTPException``, ``ValueError``, ``LookupError``,
        :class:`NotSignedInError`, :class:`TokenError`.
        """
        sign_in, row = settings.sign_in, settings.issuer
        where = described(row, settings.ca_files)["token_endpoint"]
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
        }
        form = {
            "grant_type": "authorization_code", "code": code,
            "redirect_uri": sign_in.url + CALLBACK, "code_verifier": pending.verifier,
        }  # fmt: skip
        if sign_in.secret is None:
            form["client_id"] = sign_in.client
        else:
            secret = resolve(sign_in.secret, SIGN_IN, os.environ, self._open_key)
            if secret is None:
                kind, name = sign_in.secret.kind, sign_in.secret.value
                raise NotSignedInError(f"the secret {kind}:{name} is not there")
            pair = f"{quote_plus(sign_in.client)}:{quote_plus(secret)}"  # RFC 6749, 2.3.1
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        status, body = fetched(
            where, reach_of(where, row), LARGEST, ca_files=settings.ca_files,
            body=urlencode(form).encode(), headers=headers,
        )  # fmt: skip
        if status != 200:
            raise NotSignedInError(f"the provider answered {status} to the code")
        said = json_object(body).get("id_token")
        if not isinstance(said, str):
            raise NotSignedInError("the provider gave no ID token")
        token = jwt.read(said.encode())
        self._check(token, row, sign_in.client)
        nonce = token.claims.get("nonce")
        if not isinstance(nonce, str) or not hmac.compare_digest(
            nonce.encode(), pending.nonce.encode()
        ):
            raise NotSignedInError("the token is for another question")
        return token

    def _check(self, token: Token, row: Issuer, client: str) -> None:
        """Raises :class:`TokenError`."""
        jwt.check_claims(token, row.issuer, (client,), time.time())
        several = isinstance(token.claims["aud"], list) and len(token.claims["aud"]) > 1
        if token.claims.get("azp", None if several else client) != client:
            raise TokenError("for another client")
        try:
            jwt.check_signature(token, jwt.ready(self._keyring.keys(row.keys)), row.algorithms)
        except UnknownKeyError:
            self._keyring.renew(row.keys)
            jwt.check_signature(token, jwt.ready(self._keyring.keys(row.keys)), row.algorithms)

    def _user(self, person: Person, *, only: bool) -> UserInfo | None:
        """Their user, who is made at first, and changed as the provider says; None = they may not
        come in. ``only``: nor may whom no directory has.

        Who has another role or belongs elsewhere, or to nobody any more, is shut out as they were.
        Raises :class:`NotSameError`.
        """
        now = int(time.time())
        fields: dict[str, Any] = {
            "display": person.display, "role": person.role,
            "organisation": person.organisation, "team": person.whose.team or None,
        }  # fmt: skip
        claimed = Claimed(
            issuer=person.issuer, subject=person.subject, organisation=person.organisation,
            external_id=person.external_id, email=person.email, verified=person.verified,
        )  # fmt: skip
        known = linked(self._engine, claimed, now)
        if known is not None:
            if known.organisation != person.organisation:  # it would be lost to its directory
                raise NotSameError("The directory that has you is another organisation's.")
            fields = {} if self._groups_give() else {n: fields[n] for n in ("role", "team")}
        elif only:
            raise NotSameError("The directory here does not.")
        else:
            known = users.find_by_subject(self._engine, person.issuer, person.subject)
        if known is not None and known.active:
            out = any(getattr(known, name) != fields[name] for name in fields if name != "display")
            known = users.change(self._engine, known.id, EVERYBODY, fields, now, out=out)
        elif known is None and person.role:
            known = self._made(person, fields, now)
        return known if known is not None and known.active and known.role else None

    def _made(self, person: Person, fields: dict[str, Any], now: int) -> UserInfo | None:
        """A new user. Somebody else's name stays theirs: no user is taken over by a claim."""
        for name in (person.name, f"{person.name} ({self.name})", f"{self.name}:{person.subject}"):
            made = UserInfo(
                id=users.new_id(), name=name[: users.LONGEST], issuer=person.issuer,
                subject=person.subject, created_at=now, changed_at=now, created_by="sign_in",
                **fields,
            )  # fmt: skip
            try:
                users.create(self._engine, made)
            except TakenError:
                continue
            return made
        return users.find_by_subject(self._engine, person.issuer, person.subject)


def challenge(verifier: str) -> str:
    """What a provider gets of a verifier (RFC 7636, 4.2)."""
    return encoded(hashlib.sha256(verifier.encode()).digest())


def person_of(sign_in: SignIn, row: Issuer, token: Token) -> Person:
    """Whom a checked ID token is of, and the role that their groups give; empty = none.

    Raises :class:`TokenError`.
    """
    whose = caller_of(row, token).whose
    claims = token.claims
    given = jwt.claim(claims, sign_in.groups)
    groups = given if isinstance(given, list) else [given]
    role = next((role for group, role in sign_in.roles if group in groups), sign_in.default)
    names = (claims.get(name) for name in ("email", "preferred_username", "name"))
    name = next(filter(_printable, names), token.subject)
    display = str(claims["name"]) if _printable(claims.get("name")) else ""
    email, external = claims.get("email"), None
    if sign_in.external_id:
        said = jwt.claim(claims, sign_in.external_id)
        external = said if isinstance(said, str) else ""
    return Person(
        issuer=row.issuer, subject=token.subject, name=str(name)[: users.LONGEST], role=role,
        display=display[: users.LONGEST], whose=whose, external_id=external,
        email=email.strip() if isinstance(email, str) and _printable(email) else "",
        verified=claims.get("email_verified") is True,
    )  # fmt: skip


def _printable(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip()) and text.isprintable()


def _away(settings: _Settings, error: Exception) -> ProblemError:
    log("control", f"{settings.issuer.name} can't sign anybody in: {error}")
    detail = f"{settings.issuer.name} can't be reached, or says of itself what can't be."
    return ProblemError(503, "provider_away", detail)
