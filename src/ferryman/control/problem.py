"""Errors of the control plane's HTTP API, as RFC 9457 problem documents."""

from http import HTTPStatus
from typing import Final

import msgspec

from ferryman.client.documents import ErrorDocument
from ferryman.log import log

MEDIA_TYPE: Final = "application/problem+json"
FIXES: Final = {
    "alert_not_found": "`ferryman alerts` or GET /api/v1/alerts lists those that are open.",
    "ambiguous_id": "Give the request id of one of them.",
    "ambiguous_key": "Give the id of one of them.",
    "beyond_parent": "Set less, or have what is above it raised first: GET "
    "/api/v1/limits/delegated shows what is set.",
    "body_too_large": "Send less.",
    "call_not_found": "`ferryman calls` lists the last ones. A call shows up within a second of "
    "its end; its id stands in the reply's header x-ferryman-request-id.",
    "channel_failed": "Mend the channel under alerts in the configuration, or what it leads to.",
    "channel_not_found": "Give the name of one of them, or add it to the configuration.",
    "children_have_more": "Lower those first, or send lower=true to have them brought down.",
    "compiler_failed": "Try again; if it stays, the log of the control plane says why.",
    "content_not_kept": "docs/contents.md says how contents are kept; what was not kept is gone.",
    "dashboard": "Load the page again.",
    "database_failed": "Calls go on, and are kept in the journal. The log says more.",
    "entry_not_found": "GET /api/v1/config shows the entries there are; PUT makes one.",
    "forbidden": "Ask whoever runs this installation for the permission.",
    "host_not_allowed": "Use one of these names, or start the control plane with --admin-names set "
    "to the name it is to be reached by.",
    "http_error": "Compare the request with /api/v1/openapi.json.",
    "idempotency_key_reused": "Send the same body again, or another Idempotency-Key.",
    "internal_error": "Its log says more. Report it, if it stays.",
    "invalid_amount": "Give a number above 0.",
    "invalid_body": "Compare the body with /api/v1/openapi.json.",
    "invalid_configuration": "Mend what `problems` lists; each says how.",
    "invalid_cursor": "Give the `next` of the page before, with the other parameters unchanged.",
    "invalid_header": "Mend the header, or leave it out.",
    "invalid_key_field": "Mend the field and send it again.",
    "invalid_path": "Compare the path with /api/v1/openapi.json.",
    "invalid_query": "Compare the parameters with /api/v1/openapi.json.",
    "invalid_secret": "docs/vault.md says how a secret is named, sealed and sent.",
    "invalid_span": "Choose one that is offered.",
    "invalid_view": "Mend it, and save it again.",
    "invalid_weight": "Give a number for each target.",
    "key_not_found": "`ferryman keys list` or GET /api/v1/keys shows them all.",
    "key_service_failed": "Mend the way to the key service, or its permissions.",
    "ledger_behind": "Ask again in a moment.",
    "limit_not_found": "Load the page again.",
    "limits_not_shared": "Set server.state, or workers: 1. See docs/scaling.md.",
    "method_not_allowed": "/api/v1/openapi.json lists the methods.",
    "model_not_found": "Give provider/model, or a name from `models`; GET /api/v1/models lists "
    "them.",
    "name_taken": "Choose another name; one that is archived can be brought back (PATCH).",
    "no_answer": "Try again.",
    "no_configuration": "Mend the configuration file: `ferryman check FILE` says what is wrong.",
    "no_gateway": "Start one with `ferryman up`, or `ferryman gateway` on this machine.",
    "no_role": "Whoever runs this installation can say which groups have one.",
    "no_sign_on": "docs/identity.md says how to set one up.",
    "not_linked": "Whoever runs this installation can say who you are here; see docs/scim.md.",
    "not_signed_in": "Begin again at the dashboard; the log of the control plane says why.",
    "provider_away": "Try again in a moment; the log of the control plane says why.",
    "no_master_key": "`ferryman vault init` makes one.",
    "no_such_limits": "GET /api/v1/limits/delegated shows what is set.",
    "not_found": "/api/v1/openapi.json lists what there is.",
    "passwords_for_owners": "Others sign in by an identity provider, unless the configuration says "
    "`identity: { passwords: everyone }`; see docs/identity.md.",
    "refused": "Mend what it names, and try again.",
    "refused_by_gateway": "Mend what it names, and ask again.",
    "run_not_found": "GET /api/v1/runs lists them; a run shows up with the end of its first call.",
    "secret_not_found": "GET /api/v1/vault lists them.",
    "silence_not_found": "GET /api/v1/alerts lists those that hold.",
    "tenant_in_use": "Revoke its keys and tokens first: `ferryman keys list`, `ferryman tokens "
    "list`.",
    "tenant_not_found": "`ferryman organisations list` and `ferryman teams list` show them all.",
    "token_not_found": "`ferryman tokens list` or GET /api/v1/tokens shows them all.",
    "too_many_acts": "Wait until the minute is over.",
    "too_many_limits": "Remove those that nobody needs, or set them by rule in the configuration.",
    "too_many_silences": "End some first, or make one that is about more.",
    "too_many_views": "Forget one that nobody uses.",
    "too_many_attempts": "Wait for so long. A link of `ferryman dashboard` works meanwhile.",
    "unauthorized": "Send `Authorization: Bearer` with the token.",
    "user_disabled": "Let the user in again first, or name another one.",
    "user_exists": "Choose another name; GET /api/v1/users lists those that are taken.",
    "user_not_found": "`ferryman users list` or GET /api/v1/users shows them all.",
    "vault_failed": "Try again; if it stays, the log of the control plane says why.",
    "too_many_unknown": "Wait until the minute is over; lists say what there is.",
    "too_many_wrong_tokens": "Wait until the minute is over, and send the right one.",
    "vault_refused": "`ferryman vault verify` says which secrets open; see docs/vault.md.",
    "view_not_found": "GET /api/v1/views lists them.",
    "weak_password": "Choose a longer one: a few words that nobody would guess do well.",
    "version_conflict": "Look at the version in force, and try again.",
    "version_not_found": "GET /api/v1/config/versions lists those that are kept.",
}
"""Code → what to do, where an error does not say it better."""


class ProblemError(Exception):
    """A refusal: HTTP ``status``, stable ``code`` of :data:`FIXES`, what is wrong, what to do."""

    def __init__(
        self, status: int, code: str, detail: str, *, fix: str = "", **more: object
    ) -> None:
        """``fix``: instead of the code's; ``more``: further members of the document."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.fix = fix or FIXES[code]
        self.more = more


def outage(error: Exception) -> ProblemError:
    """The database fails, or is away: nobody's mistake here. The log says which."""
    cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    log("control", f"request failed: the database can't be used ({cause})")
    detail = "The database can't be used now: what was asked for is done whole, or not at all."
    return ProblemError(503, "database_failed", detail)


def body(error: ProblemError) -> bytes:
    """The problem as JSON. ``type`` is ``about:blank``: the ``code`` says which problem it is."""
    found = ErrorDocument(
        title=HTTPStatus(error.status).phrase, status=error.status, code=error.code,
        detail=error.detail, fix=error.fix,
    )  # fmt: skip
    return msgspec.json.encode(msgspec.to_builtins(found) | error.more)
