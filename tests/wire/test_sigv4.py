"""Signatures of AWS requests: the published vectors, and botocore's of the same requests."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from ferryman.wire.sigv4 import Credentials, sign

# The keys of the vectors that AWS publishes: https://docs.aws.amazon.com/IAM/latest/UserGuide/
WHO = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
THEN = "20150830T123600Z"
CRED = "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"


def _vector(method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes) -> str:
    added = sign(method, "example.amazonaws.com", path, query, headers, body, WHO, "us-east-1",
                 "service", THEN)  # fmt: skip
    return dict(added)["authorization"]


VECTORS = [
    # get-vanilla
    ("GET", "/", "", [], b"", "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    # get-vanilla-query-order-key-case
    ("GET", "/", "Param2=value2&Param1=value1", [], b"", "host;x-amz-date",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    # post-vanilla
    ("POST", "/", "", [], b"", "host;x-amz-date",
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    # post-header-key-sort
    ("POST", "/", "", [("My-Header1", "value1")], b"", "host;my-header1;x-amz-date",
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
    # post-x-www-form-urlencoded
    ("POST", "/", "", [("Content-Type", "application/x-www-form-urlencoded")], b"Param1=value1",
     "content-type;host;x-amz-date",
     "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
]  # fmt: skip


@pytest.mark.parametrize("vector", VECTORS)
def test_published_vectors(
    vector: tuple[str, str, str, list[tuple[str, str]], bytes, str, str],
) -> None:
    method, path, query, headers, body, names, signature = vector
    wanted = f"AWS4-HMAC-SHA256 {CRED}, SignedHeaders={names}, Signature={signature}"
    assert _vector(method, path, query, headers, body) == wanted


@contextmanager
def _at(stamp: str) -> Iterator[None]:
    when = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ")
    with mock.patch("botocore.auth.get_current_datetime", return_value=when):
        yield


MODELS = [
    "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc/d:e",
    "arn:aws:sagemaker:us-east-1:123456789012:endpoint/my-endpoint",
    "plain",
    "a b+c~d%e",
    "\u00fc",
]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("token", ["", "FwoGZXIvYXdzEXAMPLE//////////token=="])
@pytest.mark.parametrize(
    ("host", "query"),
    [
        ("bedrock-runtime.eu-central-1.amazonaws.com", ""),
        ("127.0.0.1:8443", "b=2&a=x%20y&a=&c"),
    ],
)
def test_signatures_are_botocores(model: str, token: str, host: str, query: str) -> None:
    path = f"/model/{quote(model, safe='')}/converse"
    body = b'{"messages":[]}'
    headers = [("Content-Type", "application/json"), ("x-odd", "  a   b  ")]
    request = AWSRequest(
        "POST", f"https://{host}{path}{'?' + query if query else ''}", dict(headers), body
    )
    with _at("20261126T050000Z"):
        signer = botocore.auth.SigV4Auth(
            BotoCredentials("AKIDEXAMPLE", "secret/+", token or None), "bedrock", "eu-central-1"
        )
        signer.add_auth(request)
    who = Credentials("AKIDEXAMPLE", "secret/+", token)
    added = sign("POST", host, path, query, headers, body, who, "eu-central-1", "bedrock",
                 "20261126T050000Z")  # fmt: skip
    said = {name.lower(): value for name, value in request.headers.items()}
    assert dict(added) == {name: said[name] for name, _ in added}
    assert ("x-amz-security-token" in dict(added)) == bool(token)


@pytest.mark.parametrize("path", ["/", "/a/", "/a//b", "/a/./b/../c", "/..", "/a/..", "//a//"])
def test_paths_are_normalised_as_botocore_does(path: str) -> None:
    request = AWSRequest("GET", f"https://h.example{path}", {}, b"")
    with _at(THEN):
        botocore.auth.SigV4Auth(BotoCredentials(*WHO[:2]), "s", "r").add_auth(request)
    added = sign("GET", "h.example", path, "", (), b"", WHO, "r", "s", THEN)
    assert dict(added)["authorization"] == request.headers["Authorization"]


def test_the_day_the_region_and_the_secret_change_the_key() -> None:
    def signature(who: Credentials, region: str, when: str) -> str:
        return dict(sign("GET", "h", "/", "", (), b"", who, region, "s", when))["authorization"][
            -64:
        ]

    other = Credentials("AKIDEXAMPLE", "another")
    same = "20150830T123600Z"
    made = [signature(WHO, "a", same), signature(WHO, "b", same), signature(other, "a", same),
            signature(WHO, "a", "20150831T123600Z")]  # fmt: skip
    assert len(set(made)) == 4
    assert signature(WHO, "a", same) == made[0]
