"""How the credentials of providers and services begin: what tells them from other text.

From the services' own documentation, and as scanners of repositories know them
(https://docs.github.com/en/code-security/reference/secret-security/supported-secret-scanning-patterns).
"""

from typing import Final

SECRET_SHAPES: Final[tuple[tuple[str, str], ...]] = (
    ("provider_key", r"sk-(?:ant|proj|svcacct|admin|or|lf|None)-[A-Za-z0-9_-]{16}"),
    ("provider_key", r"sk-[A-Za-z0-9]{20}"),
    ("provider_key", r"(?:gsk_|xai-|pplx-|r8_|hf_|fw_|nvapi-|csk-|tgp_v1_|jina_)[A-Za-z0-9_-]{20}"),
    ("cloud_key", r"AIza[A-Za-z0-9_-]{35}"),
    ("cloud_key", r"ya29\.[A-Za-z0-9_-]{20}"),
    ("cloud_key", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"),
    ("service_token", r"(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{30}"),
    (
        "service_token",
        r"(?:github_pat_|glpat-|npm_|pypi-|dop_v1_|shpat_|lin_api_)[A-Za-z0-9_-]{20}",
    ),
    ("service_token", r"xox[abeoprs]-[A-Za-z0-9-]{10}"),
    ("service_token", r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16}"),
    ("service_token", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16}"),
)
"""(kind, pattern of the first characters); the rest of the word belongs to it."""
