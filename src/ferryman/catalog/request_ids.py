"""Reply headers in which providers say what they call a request; none of them is ours.

https://platform.openai.com/docs/api-reference/debugging-requests ·
https://platform.claude.com/docs/en/api/errors#request-id ·
https://opentelemetry.io/docs/specs/semconv/registry/attributes/aws/ (``aws.request_id``)
"""

from typing import Final

REQUEST_IDS: Final = frozenset(
    b"x-request-id request-id x-amzn-requestid apim-request-id x-debug-trace-id "
    b"x-generation-id".split()
)
