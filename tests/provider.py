"""A small provider of identities on loopback: OpenID Connect with keys of its own, for tests."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

CLIENT, SECRET = "ferryman-dashboard", "the provider's secret/+ for it"


def b64(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def packed(value: object) -> str:
    """A part of a token; text and bytes as they are."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return b64(raw)


class Key:
    """A private key: RSA (RS256, PS256), ES256 or EdDSA."""

    def __init__(self, kid: str, kind: str = "RSA", bits: int = 2048) -> None:
        self.kid, self.kind = kid, kind
        made: Any
        if kind == "RSA":
            made = rsa.generate_private_key(65537, bits)
        elif kind == "EC":
            made = ec.generate_private_key(ec.SECP256R1())
        else:
            made = ed25519.Ed25519PrivateKey.generate()
        self.private = made
        self.algorithm: Final = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}[kind]

    def jwk(self, **more: Any) -> dict[str, Any]:
        """The public key as a key set has it."""
        public = self.private.public_key()
        found: dict[str, Any] = {"kty": self.kind, "kid": self.kid, "use": "sig"}
        if self.kind == "RSA":
            numbers = public.public_numbers()
            found |= {"n": _number(numbers.n), "e": _number(numbers.e)}
        elif self.kind == "EC":
            numbers = public.public_numbers()
            found |= {"crv": "P-256", "x": _number(numbers.x, 32), "y": _number(numbers.y, 32)}
        else:
            found |= {"crv": "Ed25519", "x": b64(public.public_bytes_raw())}
        return found | more

    def sign(self, data: bytes, algorithm: str = "") -> bytes:
        """A signature, by default of the key's usual algorithm."""
        algorithm = algorithm or self.algorithm
        if algorithm == "RS256":
            return bytes(self.private.sign(data, padding.PKCS1v15(), SHA256()))
        if algorithm == "PS256":
            pss = padding.PSS(padding.MGF1(SHA256()), salt_length=32)
            return bytes(self.private.sign(data, pss, SHA256()))
        if algorithm == "ES256":
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(SHA256())))
            return r.to_bytes(32) + s.to_bytes(32)
        return bytes(self.private.sign(data))

    def token(self, claims: object, *, algorithm: str = "", **header: Any) -> str:
        """A token with these claims (a mapping, or bytes as they are)."""
        head = {"alg": algorithm or self.algorithm, "kid": self.kid, "typ": "JWT", **header}
        head = {name: value for name, value in head.items() if value is not None}
        signed = f"{packed(head)}.{packed(claims)}"
        return f"{signed}.{b64(self.sign(signed.encode(), algorithm))}"


def _number(value: int, length: int = 0) -> str:
    return b64(value.to_bytes(length or (value.bit_length() + 7) // 8))


class Provider:
    """Signs people in who say who they are, and publishes its keys. Change its fields at will."""

    def __init__(self) -> None:
        self.keys = [Key("first")]
        self.away = False
        """True: it answers nothing but 503."""
        self.asked: list[str] = []
        """Paths that were asked for."""
        self.person: dict[str, Any] = {"sub": "ann"}
        """Claims of whoever signs in."""
        self.alter: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
        """Changes the claims of ID tokens."""
        self.description: dict[str, Any] = {}
        """Put in place of what it says of itself."""
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._get(self)

            def do_POST(self) -> None:
                provider._post(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        """Close it."""
        self._server.shutdown()
        self._server.server_close()

    def claims(self, **more: Any) -> dict[str, Any]:
        """Claims that a gateway lets in which knows this provider under the audience ``calls``."""
        now = int(time.time())
        made = {"iss": self.url, "aud": "calls", "sub": "ann", "iat": now, "exp": now + 600}
        return {name: value for name, value in (made | more).items() if value is not None}

    def token(self, **claims: Any) -> str:
        """A good token with these claims."""
        return self.keys[-1].token(self.claims(**claims))

    def _get(self, to: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(to.path)
        self.asked.append(parts.path)
        if self.away:
            _answer(to, 503, {"error": "away"})
        elif parts.path == "/.well-known/openid-configuration":
            _answer(to, 200, {
                "issuer": self.url, "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize?tenant=1",
                "token_endpoint": f"{self.url}/token", **self.description,
            })  # fmt: skip
        elif parts.path == "/keys":
            _answer(to, 200, {"keys": [key.jwk() for key in self.keys]})
        elif parts.path == "/authorize":
            self._authorize(to, {k: v[0] for k, v in parse_qs(parts.query).items()})
        else:
            _answer(to, 404, {"error": "not_found"})

    def _authorize(self, to: BaseHTTPRequestHandler, asked: dict[str, str]) -> None:
        assert asked["response_type"] == "code", asked
        assert asked["code_challenge_method"] == "S256", asked
        assert asked["client_id"] == CLIENT, asked
        assert asked["tenant"] == "1", asked
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back = urlencode({"code": code, "state": asked["state"]})
        to.send_response(303)
        to.send_header("location", f"{asked['redirect_uri']}?{back}")
        to.send_header("content-length", "0")
        to.end_headers()

    def _post(self, to: BaseHTTPRequestHandler) -> None:
        length = int(to.headers["content-length"])
        sent = {k: v[0] for k, v in parse_qs(to.rfile.read(length).decode()).items()}
        self.asked.append(to.path)
        asked = self._codes.pop(sent.get("code", ""), None)
        basic = base64.b64encode(f"{CLIENT}:the+provider%27s+secret%2F%2B+for+it".encode()).decode()
        challenge = b64(hashlib.sha256(sent.get("code_verifier", "").encode()).digest())
        if self.away:
            _answer(to, 503, {"error": "away"})
        elif to.headers["authorization"] != f"Basic {basic}":
            _answer(to, 401, {"error": "invalid_client"})
        elif asked is None or (challenge, sent["redirect_uri"]) != (
            asked["code_challenge"], asked["redirect_uri"],
        ):  # fmt: skip
            _answer(to, 400, {"error": "invalid_grant"})
        else:
            claims = self.claims(aud=CLIENT, nonce=asked["nonce"], **self.person)
            token = self.keys[-1].token(self.alter(claims))
            _answer(to, 200, {"access_token": "a", "token_type": "Bearer", "id_token": token})


def _answer(to: BaseHTTPRequestHandler, status: int, body: object) -> None:
    data = json.dumps(body).encode()
    to.send_response(status)
    to.send_header("content-type", "application/json")
    to.send_header("content-length", str(len(data)))
    to.end_headers()
    to.wfile.write(data)
