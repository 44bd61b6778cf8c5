"""What clouds want to know of those who ask: names of services, scopes, regions."""

import re
from types import MappingProxyType

AWS_SERVICE = "bedrock"
"""The service that requests are signed for: of all hosts that run models there."""
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
"""What access tokens are asked for."""

EXTRAS = MappingProxyType({"sigv4": "aws", "google": "google"})
"""Kind of ``auth`` → the extra of this package whose libraries find its credentials."""

AWS_REGION = re.compile(r"[a-z]{2,3}(?:-[a-z]+)+-\d{1,2}")


def aws_region(host: str) -> str:
    """The region in the name of one of AWS's hosts; empty if there is none."""
    if not re.search(r"\.amazonaws\.com(\.cn)?$", host):
        return ""
    return next(filter(AWS_REGION.fullmatch, host.split(".")), "")
