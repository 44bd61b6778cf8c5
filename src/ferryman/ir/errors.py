"""What can go wrong with a call, as one closed list, and the exception that carries it."""

from enum import StrEnum


class ErrorKind(StrEnum):
    """Why a call or an attempt failed. The value is the stable ``code`` callers may match on."""

    # the caller's fault: surfaced, no penalty to the upstream
    INVALID_REQUEST = "invalid_request"
    INVALID_KEY = "invalid_api_key"
    MODEL_NOT_FOUND = "model_not_found"
    FORBIDDEN = "forbidden_by_policy"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA = "unsupported_media_type"
    CONTEXT_TOO_LONG = "context_length_exceeded"
    CONTENT_FILTERED = "content_filtered"
    GUARDRAIL = "guardrail_blocked"
    UNSUPPORTED = "unsupported_by_model"
    NO_TARGET = "no_target_left"
    IDEMPOTENCY = "idempotency_conflict"
    RATE_LIMITED = "rate_limit_exceeded"
    BUDGET = "budget_exceeded"
    UNPRICED = "no_price_under_budget"
    """A budget needs to know what a call may cost at most, and nobody does."""
    # the upstream's fault
    UPSTREAM_RATE_LIMIT = "upstream_rate_limited"
    UPSTREAM_NO_CREDIT = "upstream_credit_exhausted"
    UPSTREAM_AUTH = "upstream_auth_failed"
    UPSTREAM_OVERLOADED = "upstream_overloaded"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_CONNECT = "upstream_unreachable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_PROTOCOL = "upstream_invalid_response"
    UPSTREAM_TRUNCATED = "upstream_stream_truncated"
    UPSTREAM_EMPTY = "upstream_empty_answer"
    """An answer that says nothing, or refuses; a failure only where the user says so."""
    # ours
    NOT_READY = "gateway_not_ready"
    JOURNAL = "gateway_journal_unavailable"
    OVERLOADED = "gateway_overloaded"
    INTERNAL = "gateway_internal_error"
    # nobody's: the caller left
    CANCELLED = "client_closed_request"
    # nobody's: another attempt of the same call was quicker
    SUPERSEDED = "superseded"


class GatewayError(Exception):
    """A refusal the caller sees: HTTP status, stable kind, a sentence that says what to do."""

    def __init__(
        self,
        status: int,
        kind: ErrorKind,
        message: str,
        *,
        param: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        reason: str = "",
        key: str = "",
    ) -> None:
        """``reason`` and ``key`` (an id) are for the audit log: callers are told less."""
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param
        self.headers = headers
        self.reason = reason or str(kind)
        self.key = key
