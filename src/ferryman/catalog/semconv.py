"""What OpenTelemetry's GenAI conventions call providers; those not listed keep their own names.

https://github.com/open-telemetry/semantic-conventions-genai (``gen_ai.provider.name``)
"""

from collections.abc import Mapping
from typing import Final

PROVIDER_NAMES: Final[Mapping[str, str]] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock-invoke": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "vertex-claude": "gcp.vertex_ai",
}
