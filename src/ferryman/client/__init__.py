"""A client of the admin API, as the commands use it: typed, synchronous, on the standard library.

    >>> from ferryman.client import Client
    >>> client = Client("http://127.0.0.1:8081", token)
    >>> made = client.create_key(NewKey(name="web shop", expires_in="90d"))

Connections go straight to the control plane, past all proxies. Every method raises
:class:`ApiError`.
"""

import http.client
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from ferryman.client.alerts import Alert, Alerts, Delivered, Ended, NewSilence, Silence
from ferryman.client.documents import (
    CacheState,
    Call,
    Cleared,
    Config,
    Content,
    Cost,
    Diff,
    Explain,
    Feedback,
    Forecast,
    Items,
    Journal,
    Key,
    KeyChange,
    Latencies,
    Leak,
    Limit,
    Link,
    MadeKey,
    Model,
    ModelPrices,
    NewKey,
    Outcome,
    Page,
    PriceChange,
    Provider,
    Recost,
    Reloaded,
    Rollback,
    Rotation,
    Run,
    RunTree,
    Sink,
    Unpriced,
    Usage,
    Version,
    WholeCall,
    WholeVersion,
)
from ferryman.client.identity import (
    MadeToken,
    Me,
    NewToken,
    NewUser,
    Password,
    Role,
    Token,
    User,
    UserChange,
)
from ferryman.client.link import TIMEOUT, exchange, link_to
from ferryman.client.status import GuardsSaid, Now, Offer, SignedOut, Status, View, ViewQuery
from ferryman.client.tenants import (
    DelegatedLimit,
    DelegatedOutcome,
    LimitSet,
    NewTenant,
    Organisation,
    Team,
    TenantChange,
)
from ferryman.client.vault import Accepted, Intake, Rotate, Rotated, Secret, Stored, Verified

PREFIX: Final = "/api/v1"
T = TypeVar("T")


class ApiError(Exception):
    """The control plane wasn't reached or said no; the message says what to do."""

    def __init__(self, message: str, status: int = 0, code: str = "", **more: Any) -> None:
        """``code``: of the problem; ``more``: its further members."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.more = more


class Client:
    """Calls the admin API of the control plane at ``url`` with a token.

    Parameters of methods that take ``**query`` are those of the API; None and empty ones are left
    out.
    """

    def __init__(self, url: str, token: str, *, name: str = "", timeout: float = TIMEOUT) -> None:
        """``name``: what versions of the configuration are to say who made them (``cli``)."""
        self.url = url.rstrip("/")
        self._token = token
        self._name = name
        self._timeout = timeout

    # -- keys

    def keys(self, **query: object) -> Iterator[Key]:
        """All keys, oldest first."""
        return self._every(lambda at: self._get(Page[Key], "/keys", query | at))

    def key(self, key: str) -> Key:
        """One key, by id or name, like the next three."""
        return self._get(Key, _path("keys", key))

    def create_key(self, new: NewKey, *, once: str = "") -> MadeKey:
        """Make a key; ``once`` is an Idempotency-Key."""
        return self._call(MadeKey, "POST", "/keys", body=new, headers=_once(once))

    def change_key(self, key: str, change: KeyChange) -> Key:
        """Say anew whose it is."""
        return self._call(Key, "PATCH", _path("keys", key), body=change)

    def rotate_key(self, key: str, rotation: Rotation, *, once: str = "") -> MadeKey:
        """Replace it by a new one."""
        path = _path("keys", key) + "/rotate"
        return self._call(MadeKey, "POST", path, body=rotation, headers=_once(once))

    # -- tokens

    def tokens(self) -> Iterator[Token]:
        """All scoped tokens, oldest first."""
        return self._every(lambda at: self._get(Page[Token], "/tokens", at))

    def create_token(self, new: NewToken) -> MadeToken:
        """Make a scoped token."""
        return self._call(MadeToken, "POST", "/tokens", body=new)

    def revoke_token(self, token: str) -> Token:
        """Revoke a scoped token, by id."""
        return self._call(Token, "DELETE", _path("tokens", token))

    def roles(self) -> list[Role]:
        """What tokens can be given."""
        return self._get(Items[Role], "/roles").data

    def users(self) -> Iterator[User]:
        """All users of the dashboard, oldest first."""
        return self._every(lambda at: self._get(Page[User], "/users", at))

    def create_user(self, new: NewUser) -> User:
        """Make a user."""
        return self._call(User, "POST", "/users", body=new)

    def change_user(self, user: str, change: UserChange) -> User:
        """Change a user, by id or name."""
        return self._call(User, "PATCH", _path("users", user), body=change)

    def set_password(self, user: str, password: str | None) -> User:
        """Give a user another password, or none."""
        body = Password(password=password)
        return self._call(User, "PUT", _path("users", user) + "/password", body=body)

    def remove_user(self, user: str) -> User:
        """Remove a user for good."""
        return self._call(User, "DELETE", _path("users", user))

    def me(self) -> Me:
        """Who asks, and what they may."""
        return self._get(Me, "/me")

    # -- organisations and teams

    def organisations(self) -> Iterator[Organisation]:
        """All of them, by name."""
        return self._every(lambda at: self._get(Page[Organisation], "/organisations", at))

    def create_organisation(self, new: NewTenant) -> Organisation:
        """Make one."""
        return self._call(Organisation, "POST", "/organisations", body=new)

    def change_organisation(self, name: str, change: TenantChange) -> Organisation:
        """Call it otherwise, archive it, or bring it back."""
        return self._call(Organisation, "PATCH", _path("organisations", name), body=change)

    def teams(self, organisation: str) -> Iterator[Team]:
        """Those of an organisation, by name."""
        path = _path("organisations", organisation, "teams")
        return self._every(lambda at: self._get(Page[Team], path, at))

    def create_team(self, organisation: str, new: NewTenant) -> Team:
        """Make one."""
        return self._call(Team, "POST", _path("organisations", organisation, "teams"), body=new)

    def change_team(self, organisation: str, name: str, change: TenantChange) -> Team:
        """Call it otherwise, archive it, or bring it back."""
        path = _path("organisations", organisation, "teams", name)
        return self._call(Team, "PATCH", path, body=change)

    def report_leak(self, key: str, leak: Leak) -> Key:
        """Say where it was found; it is revoked, if that says so."""
        return self._call(Key, "POST", _path("keys", key) + "/leaked", body=leak)

    def revoke_key(self, key: str) -> Key:
        """Revoke it for good."""
        return self._call(Key, "DELETE", _path("keys", key))

    def link(self) -> Link:
        """A way into the dashboard, once."""
        return self._call(Link, "POST", "/links")

    def sign_out(self) -> SignedOut:
        """Sign everybody out of it."""
        return self._call(SignedOut, "DELETE", "/sessions")

    def status(self) -> Status:
        """How the installation is."""
        return self._get(Status, "/status")

    # -- the ledger

    def now(self) -> Now:
        """What goes on."""
        return self._get(Now, "/now")

    def calls(self, **query: object) -> Page[Call]:
        """A page of calls, newest first."""
        return self._get(Page[Call], "/calls", query)

    def call(self, ident: str) -> WholeCall:
        """One call, by any of its ids."""
        return self._get(WholeCall, _path("calls", ident))

    def cost(self, request_id: str) -> Cost:
        """A call's cost to the line."""
        return self._get(Cost, _path("calls", request_id) + "/cost")

    def offers(self, ident: str) -> list[Offer]:
        """What it would have cost elsewhere."""
        return self._get(Items[Offer], _path("calls", ident) + "/offers").data

    def views(self) -> list[View]:
        """Views of calls that were given a name."""
        return self._get(Items[View], "/views").data

    def save_view(self, name: str, query: str) -> View:
        """Keep one."""
        return self._call(View, "PUT", _path("views", name), body=ViewQuery(query=query))

    def forget_view(self, name: str) -> list[View]:
        """Keep one no longer; those that are left."""
        return self._call(Items[View], "DELETE", _path("views", name)).data

    def content(self, request_id: str, **query: object) -> Content:
        """What its caller sent and got."""
        return self._get(Content, _path("calls", request_id) + "/content", query)

    def feedback(self, request_id: str) -> list[Feedback]:
        """What is said of it."""
        return self._get(Items[Feedback], _path("calls", request_id) + "/feedback").data

    def runs(self, **query: object) -> Page[Run]:
        """A page of runs, those that began last first."""
        return self._get(Page[Run], "/runs", query)

    def run(self, ident: str) -> RunTree:
        """Calls that belong together."""
        return self._get(RunTree, _path("runs", ident))

    def usage(self, **query: object) -> Usage:
        """What was used."""
        return self._get(Usage, "/usage", query)

    def forecast(self, **query: object) -> Forecast:
        """What this month will cost."""
        return self._get(Forecast, "/usage/forecast", query)

    def latencies(self, **query: object) -> Latencies:
        """How long good answers took."""
        return self._get(Latencies, "/latencies", query)

    def export(self, what: str, **query: object) -> Iterator[Any]:
        """The lines of ``calls``, ``focus`` or ``content``, decoded as they come."""
        target = PREFIX + _path("export", what) + _asked(query)
        link = link_to(self.url, self._timeout)
        try:
            link.request("GET", urlsplit(self.url).path + target, None, self._headers())
            reply = link.getresponse()
            if reply.status >= 400:
                raise self._refused(reply.status, reply.read())
            for line in reply:
                yield msgspec.json.decode(line)
        except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
            raise ApiError(f"The control plane at {self.url} broke off: {error}.") from None
        finally:
            link.close()

    def journal(self) -> Journal:
        """How the journals stand."""
        return self._get(Journal, "/journal")

    def sinks(self) -> list[Sink]:
        """How the sinks of the log stand."""
        return self._get(Items[Sink], "/logs/sinks").data

    # -- alerts

    def alerts(self) -> Alerts:
        """What is wrong now."""
        return self._get(Alerts, "/alerts")

    def alert_history(self, **query: object) -> Page[Alert]:
        """A page of what was wrong, newest first."""
        return self._get(Page[Alert], "/alerts/history", query)

    def acknowledge(self, alert: str) -> Alert:
        """Somebody is at it."""
        return self._call(Alert, "POST", _path("alerts", alert) + "/acknowledge")

    def silence(self, new: NewSilence) -> Silence:
        """Tell nobody for a while."""
        return self._call(Silence, "POST", "/alerts/silences", body=new)

    def end_silence(self, silence: str) -> Ended:
        """End a silence."""
        return self._call(Ended, "DELETE", _path("alerts", "silences", silence))

    def test_channel(self, channel: str) -> Delivered:
        """Tell a channel a test."""
        return self._call(Delivered, "POST", _path("alerts", "channels", channel) + "/test")

    # -- prices, models, and what the gateway knows

    def prices(self, model: str) -> list[ModelPrices]:
        """What a model costs."""
        return self._get(Items[ModelPrices], "/prices", {"model": model}).data

    def unpriced(self, **query: object) -> list[Unpriced]:
        """Models without a price."""
        return self._get(Items[Unpriced], "/prices/unpriced", query).data

    def price_changes(self, **query: object) -> list[PriceChange]:
        """What costs something else now."""
        return self._get(Items[PriceChange], "/prices/changes", query).data

    def recost(self, **query: object) -> Recost:
        """What calls would cost by the prices of now."""
        return self._get(Recost, "/prices/recost", query)

    def models(self, **query: object) -> Iterator[Model]:
        """The names that can be called."""
        return self._every(lambda at: self._get(Page[Model], "/models", query | at))

    def providers(self) -> list[Provider]:
        """The active providers."""
        return self._get(Items[Provider], "/providers").data

    def guards_said(self) -> GuardsSaid:
        """What guards said of late."""
        return self._get(GuardsSaid, "/guards/said")

    def limits(self) -> list[Limit]:
        """How limits and budgets stand."""
        return self._get(Items[Limit], "/limits").data

    def delegated_limits(self) -> list[DelegatedLimit]:
        """Those that were set for organisations, teams, users and keys."""
        return self._get(Items[DelegatedLimit], "/limits/delegated").data

    def set_limits(self, limits: LimitSet, **query: object) -> DelegatedOutcome:
        """Set what one of them may take."""
        return self._call(DelegatedOutcome, "PUT", "/limits/delegated", query, body=limits)

    def remove_limits(self, **query: object) -> list[DelegatedLimit]:
        """Set nothing there any more; what is left."""
        found = self._call(Items[DelegatedLimit], "DELETE", "/limits/delegated", query)
        return found.data

    def explain(self, call: Explain) -> dict[str, Any]:
        """What would become of a call."""
        said: dict[str, Any] = self._call(dict, "POST", "/explain", body=call)
        return said

    def cache(self) -> CacheState:
        """What is kept of answers."""
        return self._get(CacheState, "/cache")

    def clear_cache(self, **query: object) -> Cleared:
        """Forget answers."""
        return self._call(Cleared, "DELETE", "/cache", query)

    # -- the configuration

    def config(self) -> Config:
        """The configuration in force."""
        return self._get(Config, "/config")

    def versions(self, **query: object) -> Page[Version]:
        """A page of its versions, newest first."""
        return self._get(Page[Version], "/config/versions", query)

    def version(self, number: int) -> WholeVersion:
        """One of them, with its text."""
        return self._get(WholeVersion, f"/config/versions/{number}")

    def diff(self, old: int, new: int | None = None) -> Diff:
        """What is different between two versions; by default, up to the one in force."""
        return self._get(Diff, "/config/diff", {"old": old, "new": new})

    def reload(self) -> Reloaded:
        """Read the configuration file again."""
        return self._call(Reloaded, "POST", "/config/reload")

    def change_config(
        self, method: str, entry: str = "", body: object = None, *, check: bool = False,
        note: str = "", expect: int | None = None,
    ) -> Outcome:  # fmt: skip
        """PUT, PATCH or DELETE the whole configuration, or the ``entry`` ``models/NAME``.

        A body of bytes is YAML. ``check``: only say what would happen; ``expect``: the version that
        has to be in force.
        """
        return self._change(method, _path("config", *entry.split("/", 1)) if entry else "/config",
                            body, check, note, expect)  # fmt: skip

    def rollback(
        self, version: int, *, check: bool = False, note: str = "", expect: int | None = None
    ) -> Outcome:
        """Let an earlier version hold again."""
        return self._change(
            "POST", "/config/rollback", Rollback(version=version), check, note, expect
        )

    def _change(
        self, method: str, path: str, body: object, check: bool, note: str, expect: int | None
    ) -> Outcome:
        headers = {} if expect is None else {"if-match": f'"{expect}"'}
        query = {"check": "true" if check else None, "note": note}
        return self._call(Outcome, method, path, query, body, headers)

    # -- the vault

    def secrets(self) -> list[Secret]:
        """The secrets, without what they are."""
        return self._get(Items[Secret], "/vault").data

    def vault_key(self) -> str:
        """What secrets are sealed to, in base64."""
        return self._call(Intake, "POST", "/vault/intake").key

    def put_secret(self, name: str, sealed: str) -> Stored:
        """Store a secret, sealed, in base64 (docs/vault.md)."""
        return self._call(Stored, "PUT", _path("vault", "secrets", name), body={"sealed": sealed})

    def remove_secret(self, name: str) -> Stored:
        """Remove one."""
        return self._call(Stored, "DELETE", _path("vault", "secrets", name))

    def verify_vault(self) -> Verified:
        """Which secrets open."""
        return self._call(Verified, "POST", "/vault/verify")

    def rotate_vault(self, *, master: bool = False) -> Rotated:
        """Encrypt every secret anew."""
        return self._call(Rotated, "POST", "/vault/rotate", body=Rotate(master=master))

    def accept_vault(self) -> Accepted:
        """Take a restored vault as it is."""
        return self._call(Accepted, "POST", "/vault/accept")

    # -- how

    def _every(self, page: Callable[[dict[str, object]], Page[T]]) -> Iterator[T]:
        at: dict[str, object] = {"limit": 1000}
        while True:
            found = page(at)
            yield from found.data
            if found.next is None:
                return
            at["cursor"] = found.next

    def _get(self, kind: type[T], path: str, query: Mapping[str, object] | None = None) -> T:
        return self._call(kind, "GET", path, query)

    def _call(
        self, kind: type[T], method: str, path: str, query: Mapping[str, object] | None = None,
        body: object = None, headers: Mapping[str, str] | None = None,
    ) -> T:  # fmt: skip
        said = self.raw(method, path, query, body, headers)
        try:
            return msgspec.json.decode(said, type=kind)
        except msgspec.MsgspecError:
            raise self._stranger() from None

    def raw(
        self, method: str, path: str, query: Mapping[str, object] | None = None,
        body: object = None, headers: Mapping[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        """What the API answers, whatever is asked."""
        status, said = self._exchange(method, PREFIX + path + _asked(query or {}), body, headers)
        if status >= 400:
            raise self._refused(status, said)
        return said

    def _exchange(
        self, method: str, target: str, body: object, headers: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        try:
            sent = self._headers() | dict(headers or {})
            return exchange(self.url, method, target, body, sent, self._timeout)
        except TimeoutError:
            text = f"The control plane at {self.url} took over {self._timeout:g} s."
            raise ApiError(text) from None
        except OSError as error:
            raise ApiError(
                f"Can't reach the control plane at {self.url} ({error}). Start it with "
                "`ferryman up`; if it runs elsewhere, say where with --control-url or --admin-port."
            ) from None

    def _headers(self) -> dict[str, str]:
        found = {"authorization": f"Bearer {self._token}", "accept": "application/json"}
        return found | ({"x-ferryman-client": self._name} if self._name else {})

    def _refused(self, status: int, said: bytes) -> ApiError:
        if status == 401:
            return ApiError(
                f"The control plane at {self.url} refused the admin token. It belongs to another "
                "data directory: set --data-dir to the one it runs with, or FERRYMAN_ADMIN_TOKEN.",
                status,
            )
        try:
            told: dict[str, Any] = msgspec.json.decode(said, type=dict)
            text, fix = str(told["detail"]), str(told.get("fix", ""))
        except (msgspec.MsgspecError, LookupError):
            return self._stranger(status)
        text += f" {fix}" if fix and fix not in text else ""
        more = {n: v for n, v in told.items() if n not in ("status", "code")}
        return ApiError(text, status, str(told.get("code", "")), **more)

    def _stranger(self, status: int = 200) -> ApiError:
        return ApiError(
            f"{self.url} answers ({status}), but not as a Ferryman control plane does. Is it the "
            "gateway? The control plane has a port of its own, by default 8081.",
            status,
        )


def _once(key: str) -> dict[str, str]:
    return {"idempotency-key": key} if key else {}


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _asked(query: Mapping[str, object]) -> str:
    given = {name: value for name, value in query.items() if value is not None and value != ""}
    return "?" + urlencode(given) if given else ""
