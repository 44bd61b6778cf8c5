"""What stands where in the CSV files in which providers tell of usage and costs.

- OpenAI's usage and costs, as its dashboard exports what its API says of a bucket of time:
  https://platform.openai.com/docs/api-reference/usage (input includes what was cached)
- Anthropic's usage and costs, as its console exports them, by UTC day:
  https://support.claude.com/en/articles/9534590-cost-and-usage-reporting-in-the-claude-console
"""

from collections.abc import Mapping
from typing import Final

Columns = Mapping[str, str]
"""What (``date``, ``model``, a measure) → the name of its column."""
FORMS: Final[Mapping[str, Mapping[str, Columns]]] = {
    "openai": {
        "usage": {
            "date": "start_time", "model": "model", "calls": "num_model_requests",
            "input_total": "input_tokens", "cache_read": "input_cached_tokens",
            "output": "output_tokens",
        },
        "costs": {"date": "start_time", "model": "line_item", "cost": "amount_value"},
    },
    "anthropic": {
        "usage": {
            "date": "usage_date_utc", "model": "model_version",
            "input": "usage_input_tokens_no_cache", "cache_read": "usage_input_tokens_cache_read",
            "cache_write": "usage_input_tokens_cache_write_5m",
            "cache_write_1h": "usage_input_tokens_cache_write_1h", "output": "usage_output_tokens",
        },
        "costs": {"date": "usage_date_utc", "model": "model", "cost": "cost_usd"},
    },
}  # fmt: skip
OPTIONAL: Final = ("model", "calls", "cache_read", "cache_write_1h")
"""What a file of a known form may lack."""
