"""All names that OTLP carries, in one table: as of v1.36 of the GenAI conventions, and the latest.

https://github.com/open-telemetry/semantic-conventions/blob/v1.36.0/docs/gen-ai/README.md
https://github.com/open-telemetry/semantic-conventions-genai
"""

from typing import Final, NamedTuple

OPT_IN: Final = "gen_ai_latest_experimental"
"""The word in ``OTEL_SEMCONV_STABILITY_OPT_IN`` that chooses the latest."""


class Names(NamedTuple):
    """A name for each thing. What the conventions don't know begins with ``ferryman.``."""

    # Attributes of calls, and of metrics
    operation: str = "gen_ai.operation.name"
    provider: str = "gen_ai.system"
    request_model: str = "gen_ai.request.model"
    response_model: str = "gen_ai.response.model"
    error: str = "error.type"
    token_type: str = "gen_ai.token.type"  # noqa: S105
    overflow: str = "otel.metric.overflow"
    # Attributes of calls
    input_tokens: str = "gen_ai.usage.input_tokens"
    output_tokens: str = "gen_ai.usage.output_tokens"
    cache_read: str = "gen_ai.usage.cache_read.input_tokens"
    cache_write: str = "gen_ai.usage.cache_creation.input_tokens"
    reasoning: str = "gen_ai.usage.reasoning.output_tokens"
    cost_usd: str = "gen_ai.usage.cost"
    """Not of the conventions, but what several back ends read."""
    cost: str = "ferryman.cost_picodollars"
    unknown_cost: str = "ferryman.unknown_cost_attempts"
    saved: str = "ferryman.saved_picodollars"
    stream: str = "gen_ai.request.stream"
    first_chunk: str = "ferryman.time_to_first_token"
    run: str = "session.id"
    end_user: str = "user.id"
    status: str = "http.response.status_code"
    request_id: str = "ferryman.request_id"
    key: str = "ferryman.key_id"
    endpoint: str = "ferryman.endpoint"
    policy: str = "ferryman.policy"
    cache: str = "ferryman.cache"
    overhead: str = "ferryman.overhead_seconds"
    attempts: str = "ferryman.attempts"
    organisation: str = "ferryman.organisation"
    team: str = "ferryman.team"
    user: str = "ferryman.user"
    task: str = "ferryman.task"
    parent: str = "ferryman.parent_request_id"
    client: str = "user_agent.original"
    tags: str = "ferryman.tags"
    metadata: str = "ferryman.metadata."
    """Before the name of each."""
    # Attributes of attempts, and of events
    target: str = "ferryman.target"
    tried: str = "ferryman.provider"
    model: str = "ferryman.model"
    format: str = "ferryman.format"
    dropped: str = "ferryman.dropped"
    altered: str = "ferryman.altered"
    region: str = "ferryman.region"
    data_policy: str = "ferryman.data_policy"
    first_byte: str = "ferryman.time_to_first_byte"
    """Seconds since the attempt began, like the next six."""
    resolved: str = "ferryman.time_to_resolved"
    connected: str = "ferryman.time_to_connected"
    secured: str = "ferryman.time_to_secured"
    sent: str = "ferryman.time_to_sent"
    first_token: str = "ferryman.time_to_first_token"  # noqa: S105
    last_token: str = "ferryman.time_to_last_token"  # noqa: S105
    queued: str = "ferryman.queued_seconds"
    upstream_key: str = "ferryman.provider_key"
    upstream_id: str = "ferryman.upstream_id"
    retry_after: str = "ferryman.retry_after_seconds"
    because: str = "ferryman.because"
    rests: str = "ferryman.rests_seconds"
    before: str = "ferryman.failed_target"
    # Attributes of what guards said
    guard: str = "ferryman.guard.name"
    stage: str = "ferryman.guard.stage"
    action: str = "ferryman.guard.action"
    found: str = "ferryman.guard.found"
    score: str = "ferryman.guard.score"
    reasons: str = "ferryman.guard.reasons"
    took: str = "ferryman.guard.seconds"
    # Events
    verdict: str = "ferryman.guard"
    target_rests: str = "ferryman.target.rests"
    target_left_out: str = "ferryman.target.left_out"
    fallback: str = "ferryman.fallback"
    call_failed: str = "ferryman.call.failed"
    # Metrics
    token_usage: str = "gen_ai.client.token.usage"  # noqa: S105
    duration: str = "gen_ai.client.operation.duration"
    time_to_first: str = "gen_ai.server.time_to_first_token"
    spent: str = "ferryman.cost"
    failed_attempts: str = "ferryman.failed_attempts"


V1_36: Final = Names()
LATEST: Final = Names(
    provider="gen_ai.provider.name",
    run="gen_ai.conversation.id",
    first_chunk="gen_ai.response.time_to_first_chunk",
    time_to_first="gen_ai.client.operation.time_to_first_chunk",
)
OPERATIONS: Final = {
    "chat.completions": "chat",
    "responses": "chat",
    "messages": "chat",
    "generate_content": "generate_content",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "embed": "embeddings",
}
"""Endpoint → operation; others are called as the endpoint."""


def names(opt_in: str) -> Names:
    """Those that ``OTEL_SEMCONV_STABILITY_OPT_IN`` wants."""
    return LATEST if OPT_IN in [word.strip() for word in opt_in.split(",")] else V1_36
