"""The errors of the vendors with formats of their own, word by word.

https://platform.claude.com/docs/en/api/errors,
https://ai.google.dev/gemini-api/docs/troubleshooting,
https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html,
https://docs.cohere.com/reference/errors
"""

from typing import Any

from ferryman.simulator.errors import ERRORS
from ferryman.simulator.format import Failure
from ferryman.simulator.script import IDENT

IDENT_TEXT = IDENT.decode()
BODILESS = ("html", "html-200", "empty")
"""Words whose reply is the same for all formats."""

MESSAGES = {
    "400": (400, "invalid_request_error", "temperature: range: 0..1"),
    "401": (401, "authentication_error", "invalid x-api-key"),
    "402": (402, "billing_error", "There is an issue with your billing or payment information."),
    "403": (403, "permission_error", "Your API key can't use the specified resource."),
    "404": (404, "not_found_error", "model: no-such-model"),
    "408": (408, "timeout_error", "Request timed out."),
    "429": (429, "rate_limit_error", "This request would exceed your organization's rate limit of "
            "30,000 input tokens per minute. Please try again later."),
    "500": (500, "api_error", "Internal server error"),
    "502": (502, "api_error", "Bad gateway"),
    "503": (503, "api_error", "Service unavailable"),
    "504": (504, "timeout_error", "The request timed out while it was processed."),
    "529": (529, "overloaded_error", "Overloaded"),
    "quota": (400, "invalid_request_error", "Your credit balance is too low to access the API. "
              "Please go to Plans & Billing to upgrade or purchase credits."),
    "context": (400, "invalid_request_error", "prompt is too long: 210001 tokens > 200000 maximum"),
    "filter": (400, "invalid_request_error", "Output blocked by content filtering policy"),
}  # fmt: skip
MESSAGES_LIMITS = {
    "retry-after": "2",
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "0",
    "anthropic-ratelimit-requests-reset": "2026-11-26T00:00:02Z",
    "anthropic-ratelimit-input-tokens-limit": "30000",
    "anthropic-ratelimit-input-tokens-remaining": "0",
    "anthropic-ratelimit-input-tokens-reset": "2026-11-26T00:00:02Z",
}
KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
    404: "not_found_error", 405: "invalid_request_error", 413: "request_too_large",
}  # fmt: skip


def messages_body(kind: str, message: str) -> Any:
    """An error in the shape of the Messages API."""
    error = {"type": kind, "message": message}
    return {"type": "error", "error": error, "request_id": f"req_{IDENT_TEXT}"}


def messages_failure(word: str) -> Failure | None:
    """The error of the Messages API for a word."""
    if word in BODILESS:
        return ERRORS[word]
    if word == "bad-json":
        return 200, {}, b'{"id":"msg_sim","type":"message","role":"assistant","content":[{"ty'
    status, kind, message = MESSAGES[word]
    headers = MESSAGES_LIMITS if word == "429" else {}
    retry = {"x-should-retry": "true"} if status in (408, 429) or status >= 500 else {}
    return status, {**headers, **retry}, messages_body(kind, message)


def messages_refusal(status: int, message: str, code: str) -> Failure:
    """An error of the Messages API with a message of its own."""
    return status, {}, messages_body(KINDS.get(status, "api_error"), message)


STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED", 404: "NOT_FOUND", 405: "UNIMPLEMENTED", 408: "DEADLINE_EXCEEDED",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 502: "UNAVAILABLE", 503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED", 529: "UNAVAILABLE",
}  # fmt: skip
GENERATE = {
    "400": (400, "* GenerateContentRequest.generation_config.temperature: must be in the range "
            "[0.0, 2.0]"),
    "401": (401, "Request had invalid authentication credentials. Expected OAuth 2 access token, "
            "login cookie or other valid authentication credential."),
    "402": (402, "This project has no billing account."),
    "403": (403, "Your API key doesn't have the required permissions."),
    "404": (404, "models/no-such-model is not found for API version v1beta, or is not supported "
            "for generateContent."),
    "408": (408, "Deadline expired before operation could complete."),
    "429": (429, "Resource has been exhausted (e.g. check quota)."),
    "500": (500, "An internal error has occurred. Please retry or report the problem."),
    "502": (502, "The service is currently unavailable."),
    "503": (503, "The model is overloaded. Please try again later."),
    "504": (504, "Deadline expired before operation could complete."),
    "529": (529, "The model is overloaded. Please try again later."),
    "quota": (429, "You exceeded your current quota, please check your plan and billing details."),
    "context": (400, "The input token count (1100000) exceeds the maximum number of tokens allowed "
                "(1048576)."),
}  # fmt: skip
TYPES = "type.googleapis.com/google.rpc."


def generate_body(status: int, message: str, details: Any = ()) -> Any:
    """An error in the shape of Google's APIs."""
    error: dict[str, Any] = {"code": status, "message": message, "status": STATUSES[status]}
    if details:
        error["details"] = list(details)
    return {"error": error}


def generate_failure(word: str) -> Failure | None:
    """The error of the Gemini API for a word; a filtered prompt is none there."""
    if word in BODILESS:
        return ERRORS[word]
    if word == "bad-json":
        return 200, {}, b'{"candidates": [{"content": {"parts": [{"te'
    if word == "filter":
        return None
    status, message = GENERATE[word]
    details: list[Any] = []
    if status == 429:
        metric = "generativelanguage.googleapis.com/generate_content_requests"
        per = "PerDay" if word == "quota" else "PerMinute"
        violation = {"quotaMetric": metric, "quotaId": f"GenerateRequests{per}", "quotaValue": "50"}
        details.append({"@type": TYPES + "QuotaFailure", "violations": [violation]})
    if word == "429":
        details.append({"@type": TYPES + "RetryInfo", "retryDelay": "2s"})
    return status, {}, generate_body(status, message, details)


def generate_refusal(status: int, message: str, code: str) -> Failure:
    """An error of the Gemini API with a message of its own; ``code`` is a reason, if any."""
    details = []
    if code.isupper():
        domain = "googleapis.com"
        details.append({"@type": TYPES + "ErrorInfo", "reason": code, "domain": domain})
    return status, {}, generate_body(status, message, details)


CONVERSE = {
    "400": (400, "ValidationException", "1 validation error detected: Value at "
            "'inferenceConfig.temperature' failed to satisfy constraint: Member must have value "
            "less than or equal to 1"),
    "401": (401, "UnrecognizedClientException", "The security token included in the request is "
            "invalid."),
    "402": (402, "AccessDeniedException", "The account has no valid payment instrument."),
    "403": (403, "AccessDeniedException", "You don't have access to the model with the specified "
            "model ID."),
    "404": (404, "ResourceNotFoundException", "Could not resolve the foundation model from the "
            "provided model identifier."),
    "408": (408, "ModelTimeoutException", "Model has timed out in processing the request. Try your "
            "request again."),
    "429": (429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "500": (500, "InternalServerException", "The system encountered an unexpected error during "
            "processing. Try your request again."),
    "502": (502, "InternalServerException", "Bad gateway."),
    "503": (503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
    "504": (504, "ModelTimeoutException", "The model did not answer in time."),
    "529": (529, "ModelNotReadyException", "Model is not ready for inference. Wait and try again."),
    "quota": (429, "ThrottlingException", "Too many tokens per day, please wait before trying "
              "again."),
    "context": (400, "ValidationException", "The model returned the following errors: Input is "
                "too long for requested model."),
    "filter": (400, "ValidationException", "The model returned the following errors: Output "
               "blocked by content filtering policy"),
}  # fmt: skip
EXCEPTIONS = {401: "UnrecognizedClientException", 403: "AccessDeniedException",
              404: "UnknownOperationException", 405: "UnknownOperationException"}  # fmt: skip


def converse_failure(word: str) -> Failure | None:
    """The error of Bedrock for a word."""
    if word in BODILESS:
        return ERRORS[word]
    if word == "bad-json":
        return 200, {}, b'{"metrics":{"latencyMs":318},"output":{"message":{"content":[{"te'
    status, kind, message = CONVERSE[word]
    return status, {"x-amzn-errortype": kind}, {"message": message}


def converse_refusal(status: int, message: str, code: str) -> Failure:
    """An error of Bedrock with a message of its own."""
    kind = code if code.endswith("Exception") else EXCEPTIONS.get(status, "ValidationException")
    return status, {"x-amzn-errortype": kind}, {"message": message}


COHERE = {
    "400": (400, "invalid request: temperature must be between 0 and 1.0 inclusive."),
    "401": (401, "invalid api token"),
    "402": (402, "Please add or update your payment method to continue"),
    "403": (403, "this action is not allowed for your api token"),
    "404": (404, "model 'no-such-model' not found"),
    "408": (408, "request timed out"),
    "429": (429, "You are using a Trial key, which is limited to 20 API calls / minute. You can "
            "continue to use the Trial key for free or upgrade to a Production key."),
    "500": (500, "internal server error"),
    "502": (502, "bad gateway"),
    "503": (503, "service unavailable"),
    "504": (504, "gateway timeout"),
    "529": (529, "the service is overloaded"),
    "quota": (429, "You are using a Trial key, which is limited to 1000 API calls / month. You can "
              "continue to use the Trial key for free or upgrade to a Production key."),
    "context": (400, "too many tokens: total number of tokens in the prompt cannot exceed 128000 - "
                "received 130001. Try using a shorter prompt, or enable prompt truncating."),
    "filter": (400, "the prompt was blocked by the safety mode"),
}  # fmt: skip


def cohere_failure(word: str) -> Failure | None:
    """The error of Cohere's API for a word."""
    if word in BODILESS:
        return ERRORS[word]
    if word == "bad-json":
        return 200, {}, b'{"id":"51m","finish_reason":"COMPLETE","message":{"role":"assi'
    return cohere_refusal(*COHERE[word], "")


def cohere_refusal(status: int, message: str, code: str) -> Failure:
    """An error of Cohere's API with a message of its own."""
    return status, {}, {"id": IDENT_TEXT, "message": message}


def detail_failure(word: str) -> Failure | None:
    """The error of Jina's or Voyage's API for a word."""
    if word in BODILESS or word == "bad-json":
        return ERRORS[word]
    return detail_refusal(*COHERE[word], "")


def detail_refusal(status: int, message: str, code: str) -> Failure:
    """An error of Jina's or Voyage's API with a message of its own."""
    return status, {}, {"detail": message}
