"""Tokens of issuers: good ones are let in, forged ones never, whatever they say of themselves."""

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from ferryman.config.feed import KeyFacts
from ferryman.config.identity_row import ALGORITHMS, Issuer
from ferryman.flow.issuers import KEPT, Issuers
from ferryman.meter.caller import Caller, Stranger
from ferryman.meter.jwk import KeySetError, keys_of
from tests.provider import Key, b64, packed

NOW = 1_800_000_000
ISSUER = "https://login.example.org"
KEYS = {kind: Key(kind.lower(), kind) for kind in ("RSA", "EC", "OKP")}
OTHER = Key("rsa")
"""Another issuer's, of the same name."""
SET = json.dumps({"keys": [key.jwk() for key in KEYS.values()]}).encode()
ROW = Issuer(
    name="staff", issuer=ISSUER, keys="set", audiences=("calls",), claims=(("user", "sub"),)
)


def claims(**more: Any) -> dict[str, Any]:
    made = {"iss": ISSUER, "aud": "calls", "sub": "ann", "exp": NOW + 600}
    return {name: value for name, value in (made | more).items() if value is not None}


def admitted(token: str | bytes, row: Issuer = ROW, now: float = NOW) -> Caller | Stranger:
    token = token if isinstance(token, bytes) else token.encode()
    return Issuers((row,), {"set": keys_of(SET)}).admit(token, b"digest", now)


def why(token: str | bytes, row: Issuer = ROW) -> str:
    found = admitted(token, row)
    assert isinstance(found, Stranger), found
    return found.why


@pytest.mark.parametrize(
    ("kind", "algorithm"), [("RSA", "RS256"), ("RSA", "PS256"), ("EC", "ES256"), ("OKP", "EdDSA")]
)
def test_a_good_token_is_let_in_until_it_ends(kind: str, algorithm: str) -> None:
    token = KEYS[kind].token(claims(), algorithm=algorithm)
    found = admitted(token)
    assert isinstance(found, Caller)
    assert found.whose == KeyFacts(user="ann")
    assert found.id.startswith("jwt:staff:")
    assert isinstance(admitted(token, now=NOW + 659), Caller)
    assert admitted(token, now=NOW + 660) == Stranger("expired")
    with_another = KEYS[kind].token(claims(), algorithm=algorithm, kid=None)
    assert admitted(with_another) == found, "no id: those that fit are tried"


def public_pem() -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem: bytes = (
        KEYS["RSA"]
        .private.public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return pem


def by_secret(secret: bytes, algorithm: str = "HS256", **header: Any) -> str:
    signed = f"{packed({'alg': algorithm, 'kid': 'rsa', **header})}.{packed(claims())}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def spoilt(change: Callable[[list[str]], list[str]]) -> str:
    return ".".join(change(KEYS["RSA"].token(claims()).split(".")))


def _raw(key: Key, header: bytes, body: bytes) -> str:
    signed = f"{b64(header)}.{b64(body)}"
    return f"{signed}.{b64(key.sign(signed.encode()))}"


RSA = KEYS["RSA"]
HEAD = {"alg": "RS256", "kid": "rsa"}
NONE, UNKNOWN = "signed by no algorithm that is let in", "signed with a key that is not known"
BAD, SHAPE, TIME = "not signed by its issuer", "not readable", "without a time that it ends"
FORGED: dict[str, tuple[str, str]] = {
    "alg none": (f"{packed({'alg': 'none'})}.{packed(claims())}.", NONE),
    "alg None": (f"{packed({'alg': 'None', 'kid': 'rsa'})}.{packed(claims())}.", NONE),
    "no alg": (f"{packed({'kid': 'rsa'})}.{packed(claims())}.", NONE),
    "alg a list": (f"{packed({'alg': ['RS256']})}.{packed(claims())}.", NONE),
    "no signature": (spoilt(lambda p: [p[0], p[1], ""]), BAD),
    "public key as secret": (by_secret(public_pem()), NONE),
    "modulus as secret": (by_secret(RSA.jwk()["n"].encode()), NONE),
    "signed by a secret, said to be RS256": (by_secret(public_pem(), "RS256"), BAD),
    "another issuer's key of the same id": (OTHER.token(claims()), BAD),
    "a key in the header": (OTHER.token(claims(), jwk=OTHER.jwk(), kid=None), BAD),
    "an address in the header": (OTHER.token(claims(), jku="http://127.0.0.1/keys"), BAD),
    "a certificate in the header": (OTHER.token(claims(), x5c=["MIIB"], x5u="http://x"), BAD),
    "the algorithm of another kind": (RSA.token(claims(), algorithm="RS256", kid="ec"), BAD),
    "EC signature as RSA": (KEYS["EC"].token(claims(), alg="RS256", kid="rsa"), BAD),
    "PS256 said to be RS256": (RSA.token(claims(), algorithm="PS256", alg="RS256"), BAD),
    "DER in place of r and s": (
        spoilt(lambda p: [packed({"alg": "ES256", "kid": "ec"}), p[1], b64(b"\x30" * 70)]), BAD,
    ),
    "r and s are nothing": (
        spoilt(lambda p: [packed({"alg": "ES256", "kid": "ec"}), p[1], b64(bytes(64))]), BAD,
    ),
    "truncated": (RSA.token(claims())[:-6], BAD),
    "claims changed": (spoilt(lambda p: [p[0], packed(claims(sub="root")), p[2]]), BAD),
    "header changed": (spoilt(lambda p: [packed({**HEAD, "x": 1}), p[1], p[2]]), BAD),
    "a path as kid": (RSA.token(claims(), kid="../../../dev/null"), UNKNOWN),
    "SQL as kid": (RSA.token(claims(), kid="x' UNION SELECT 'key"), UNKNOWN),
    "the mark of all keys as kid": (RSA.token(claims(), kid="\0"), "with no id of a key"),
    "kid a number": (RSA.token(claims(), kid=0), "with no id of a key"),
    "kid an object": (RSA.token(claims(), kid={"a": 1}), "with no id of a key"),
    "crit": (RSA.token(claims(), crit=["exp"]), "with extensions that must be understood"),
    "b64": (RSA.token(claims(), b64=False), "with extensions that must be understood"),
    "wrong aud": (RSA.token(claims(aud="other")), "for another audience"),
    "aud begins alike": (RSA.token(claims(aud="calls2")), "for another audience"),
    "aud of other case": (RSA.token(claims(aud=["Calls", "x"])), "for another audience"),
    "no aud": (RSA.token(claims(aud=None)), "for another audience"),
    "aud an object": (RSA.token(claims(aud={"calls": 1})), "for another audience"),
    "another iss": (RSA.token(claims(iss=ISSUER + "/")), "of another issuer"),
    "iss a list": (RSA.token(claims(iss=[ISSUER])), "without iss"),
    "no sub": (RSA.token(claims(sub=None)), "without sub"),
    "sub empty": (RSA.token(claims(sub="")), "without sub"),
    "expired": (RSA.token(claims(exp=NOW - 60)), "expired"),
    "no exp": (RSA.token(claims(exp=None)), TIME),
    "exp a text": (RSA.token(claims(exp=str(NOW + 600))), TIME),
    "exp true": (RSA.token(claims(exp=True)), TIME),
    "exp beyond all clocks": (RSA.token(claims(exp=10**400)), TIME),
    "exp infinite": (_raw(RSA, json.dumps(HEAD).encode(),
        json.dumps(claims()).replace(str(NOW + 600), "1e999").encode()), TIME),
    "exp Infinity": (RSA.token(claims(exp=float("inf"))), SHAPE),
    "not valid yet": (RSA.token(claims(nbf=NOW + 61)), "not valid yet"),
    "nbf a text": (RSA.token(claims(nbf="0")), TIME),
    "aud twice": (_raw(RSA, json.dumps(HEAD).encode(),
        json.dumps(claims(aud="other")).replace("{", '{"aud": "calls", ').encode()), SHAPE),
    "alg twice": (_raw(RSA, b'{"alg": "none", "alg": "RS256", "kid": "rsa"}',
        json.dumps(claims()).encode()), SHAPE),
    "twice within a claim": (_raw(RSA, json.dumps(HEAD).encode(),
        json.dumps(claims(x=0)).replace("0}", '{"a": 1, "a": 2}}').encode()), SHAPE),
    "claims a list": (RSA.token([claims()]), SHAPE),
    "claims no JSON": (RSA.token(b"sub=ann"), SHAPE),
    "claims not UTF-8": (RSA.token(b'{"sub": "\xff"}'), SHAPE),
    "deep": (RSA.token(b"[" * 4000), SHAPE),
    "padding": (spoilt(lambda p: [p[0] + "=", p[1], p[2]]), SHAPE),
    "another spelling": (spoilt(lambda p: [p[0], p[1], p[2][:-1] + "_"]), SHAPE),
    "blanks": (spoilt(lambda p: [p[0], p[1], p[2] + "\n"]), SHAPE),
    "other letters": (spoilt(lambda p: [p[0], p[1], "+/" + p[2][2:]]), SHAPE),
    "two parts": (spoilt(lambda p: p[:2]), "not of three parts"),
    "five parts": (spoilt(lambda p: [*p, "a", "b"]), "not of three parts"),
    "huge": (RSA.token(claims(x="x" * 20_000)), "too long"),
    "no user": (RSA.token(claims(sub=" ann")), "with a claim that can't be its user"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_not_let_in(name: str) -> None:
    token, reason = FORGED[name]
    assert why(token) == reason


def test_clocks_may_differ_by_a_minute() -> None:
    assert isinstance(admitted(RSA.token(claims(exp=NOW - 59))), Caller)
    assert isinstance(admitted(RSA.token(claims(nbf=NOW + 60))), Caller)


def test_only_the_algorithms_of_the_configuration_count() -> None:
    row = Issuer(name="a", issuer=ISSUER, keys="set", audiences=("calls",), algorithms=("ES256",))
    assert why(RSA.token(claims()), row) == NONE
    assert isinstance(admitted(KEYS["EC"].token(claims()), row), Caller)
    assert not {"none", "HS256", "HS384", "HS512"} & set(ALGORITHMS)


def test_a_token_of_an_issuer_without_an_audience_is_nobodys() -> None:
    row = Issuer(name="a", issuer=ISSUER, keys="set")
    assert why(RSA.token(claims()), row) == "of another issuer"


def test_claims_say_whose_a_call_is() -> None:
    row = Issuer(
        name="a", issuer=ISSUER, keys="set", audiences=("x", "calls"), organisation="acme",
        claims=(("team", "org.unit"), ("user", "https://example.org/mail"), ("tags", "groups")),
        require=(("verified", (True,)), ("groups", ("staff", "guests"))), models=("fast",),
    )  # fmt: skip
    said = {
        "aud": ["calls", "y"], "organisation": "evil", "org": {"unit": "red"},
        "https://example.org/mail": "ann@example.org", "groups": ["staff", "b", "b"],
        "verified": True,
    }  # fmt: skip
    found = admitted(RSA.token(claims(**said)), row)
    assert isinstance(found, Caller)
    assert found.whose == KeyFacts("acme", "red", "ann@example.org", ("b", "staff"))
    for change, reason in [
        ({"verified": 1}, "without the verified that is required"),
        ({"verified": "true"}, "without the verified that is required"),
        ({"groups": ["other"]}, "without the groups that is required"),
        ({"groups": None}, "without the groups that is required"),
        ({"groups": ["staff", 1]}, "with a claim that can't be its tags"),
        ({"groups": ["staff", *map(str, range(70))]}, "with too many tags"),
        ({"org": {"unit": ["red"]}}, "with a claim that can't be its team"),
        ({"org": {"unit": "a\nb"}}, "with a claim that can't be its team"),
    ]:
        assert why(RSA.token(claims(**said | change)), row) == reason
    moved = admitted(RSA.token(claims(**said | {"org": {"unit": "blue"}})), row)
    again = admitted(RSA.token(claims(**said, jti="2")), row)
    assert isinstance(moved, Caller)
    assert isinstance(again, Caller)
    assert again.id == found.id, "another token of the same person"
    assert moved.id != found.id, "other facts: nothing of hers as a member of red is to be had"


def test_what_passed_is_remembered_until_it_ends_and_no_more_than_a_bound() -> None:
    issuers = Issuers((ROW,), {"set": keys_of(SET)})
    token = RSA.token(claims()).encode()
    found = issuers.admit(token, b"one", NOW)
    assert isinstance(found, Caller)
    assert issuers.admit(b"not looked at again", b"one", NOW) == found
    assert issuers.admit(token, b"one", NOW + 661) == Stranger("expired")
    for i in range(KEPT):
        issuers.admit(token, b"%d" % i, NOW)
    assert isinstance(issuers.admit(b"forgotten", b"one", NOW), Stranger)
    assert issuers.whose(found.id) == found.whose


def test_of_a_key_set_those_keys_count_that_check_signatures() -> None:
    short = Key("short", bits=1024)
    made = [
        KEYS["RSA"].jwk(alg="PS256"), KEYS["EC"].jwk(use="enc"), KEYS["EC"].jwk(crv="P-384"),
        KEYS["EC"].jwk(x=b64(bytes(32))), KEYS["OKP"].jwk(key_ops=["sign"]), short.jwk(),
        KEYS["RSA"].jwk(e=b64(b"\1" * 40)), {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        KEYS["RSA"].jwk(alg="HS256"), KEYS["RSA"].jwk(kid=7), "key", {"kty": "RSA"},
    ]  # fmt: skip
    [key] = keys_of(json.dumps({"keys": made}).encode())
    assert (key.kind, key.algorithm) == ("RSA", "PS256")
    issuers = Issuers((ROW,), {"set": (key,)})
    assert issuers.admit(RSA.token(claims()).encode(), b"", NOW) == Stranger(BAD)
    found = issuers.admit(RSA.token(claims(), algorithm="PS256").encode(), b"", NOW)
    assert isinstance(found, Caller)
    for text in (b"", b"[]", b'{"keys": {}}', b'{"keys": []}', b'{"keys":[],"keys":[]}',
                 json.dumps({"keys": made[1:]}).encode(), b" " * 300_000, b"[" * 9000):  # fmt: skip
        with pytest.raises(KeySetError):
            keys_of(text)
