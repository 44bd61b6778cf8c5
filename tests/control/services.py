"""Key services on this machine, as their vendors' documents describe them.

Transit: https://developer.hashicorp.com/vault/api-docs/secret/transit; AWS KMS:
https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html; Google Cloud KMS:
https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys; Azure:
https://learn.microsoft.com/rest/api/keyvault/keys. All keep versions of a key.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

TOKEN = "hvs.test-token"
ACCESS, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ARN = "arn:aws:kms:eu-west-3:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


class Service:
    """A server with one key, in versions. ``down``: it refuses everything."""

    def __init__(self) -> None:
        self.keys = [AESGCM.generate_key(256)]
        self.asked: list[str] = []
        self.down = False
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, said = service.answer(self.path, headers, body)
                data = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-type", headers.get("content-type", "application/json"))
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST  # noqa: N815 - the library calls it so

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, object]:
        raise NotImplementedError

    def rotate(self) -> None:
        """A newer version of the key."""
        self.keys.append(AESGCM.generate_key(256))

    def forget(self) -> None:
        """The first version is gone."""
        self.keys[0] = AESGCM.generate_key(256)

    def close(self, text: bytes, context: bytes) -> tuple[int, bytes]:
        nonce = os.urandom(12)
        return len(self.keys), nonce + AESGCM(self.keys[-1]).encrypt(nonce, text, context)

    def open(self, version: int, data: bytes, context: bytes) -> bytes:
        return AESGCM(self.keys[version - 1]).decrypt(data[:12], data[12:], context)


class TransitServer(Service):
    """Vault's transit engine, mounted at ``transit``, with the key ``ferryman``."""

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, object]:
        if self.down:
            return 503, {"errors": ["Vault is sealed"]}
        if headers.get("x-vault-token") != TOKEN:
            return 403, {"errors": ["permission denied"]}
        asked = json.loads(body)
        context = base64.b64decode(asked.get("associated_data", ""))
        if path == "/v1/transit/encrypt/ferryman":
            self.asked.append("encrypt")
            version, data = self.close(base64.b64decode(asked["plaintext"]), context)
            wrapped = f"vault:v{version}:{base64.b64encode(data).decode()}"
            return 200, {"data": {"ciphertext": wrapped, "key_version": version}}
        if path == "/v1/transit/decrypt/ferryman":
            self.asked.append("decrypt")
            found = re.fullmatch(r"vault:v(\d+):(.+)", asked["ciphertext"])
            if found is None:
                return 400, {"errors": ["invalid ciphertext: no prefix"]}
            try:
                text = self.open(int(found[1]), base64.b64decode(found[2]), context)
            except (InvalidTag, ValueError, IndexError):
                return 500, {"errors": ["1 error occurred:\n\t* cipher: message authentication "
                                        "failed\n\n"]}  # fmt: skip
            return 200, {"data": {"plaintext": base64.b64encode(text).decode()}}
        return 404, {"errors": []}


class KmsServer(Service):
    """AWS KMS with one symmetric key; it checks signatures."""

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, object]:
        if self.down:
            return 500, {"__type": "KMSInternalException", "message": "try again"}
        if fault := _unsigned(path, headers, body):
            return 400, {"__type": fault, "message": "not signed rightly"}
        asked = json.loads(body)
        if asked["KeyId"] != ARN:
            return 400, {"__type": "NotFoundException", "message": "no such key"}
        context = json.dumps(asked.get("EncryptionContext", {}), sort_keys=True).encode()
        what = headers["x-amz-target"]
        self.asked.append(what)
        said: dict[str, str] = {"KeyId": ARN, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}
        if what == "TrentService.Encrypt":
            version, data = self.close(base64.b64decode(asked["Plaintext"]), context)
            blob = bytes([version]) + data
            return 200, said | {"CiphertextBlob": base64.b64encode(blob).decode()}
        if what == "TrentService.Decrypt":
            blob = base64.b64decode(asked["CiphertextBlob"])
            try:
                text = self.open(blob[0], blob[1:], context)
            except (InvalidTag, ValueError, IndexError):
                return 400, {"__type": "InvalidCiphertextException"}
            return 200, said | {"Plaintext": base64.b64encode(text).decode()}
        return 400, {"__type": "UnknownOperationException"}


GCP_KEY = "projects/p/locations/europe-west3/keyRings/r/cryptoKeys/ferryman"
GCP_PEM = rsa.generate_private_key(65537, 2048)


class GcpServer(Service):
    """Google Cloud KMS with one symmetric key, and the tokens' server of a service account."""

    def account(self) -> dict[str, str]:
        """The file of the account, as Google's console gives it out."""
        kinds = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return {
            "type": "service_account", "project_id": "p", "private_key_id": "k", "client_id": "1",
            "private_key": GCP_PEM.private_bytes(*kinds).decode(),
            "client_email": "ferry@p.iam.gserviceaccount.com", "token_uri": f"{self.url}/token",
        }  # fmt: skip

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, object]:
        if path == "/token":
            return self._token(body)
        if self.down:
            return 503, _google(503, "UNAVAILABLE", "The service is currently unavailable.")
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, _google(401, "UNAUTHENTICATED", "Request had invalid credentials.")
        asked = json.loads(body)
        context = base64.b64decode(asked.get("additionalAuthenticatedData", ""))
        if path == f"/v1/{GCP_KEY}:encrypt":
            version, data = self.close(base64.b64decode(asked["plaintext"]), context)
            name = f"{GCP_KEY}/cryptoKeyVersions/{version}"
            blob = base64.b64encode(bytes([version]) + data).decode()
            return 200, {"name": name, "ciphertext": blob, "protectionLevel": "SOFTWARE"}
        if path == f"/v1/{GCP_KEY}:decrypt":
            blob = base64.b64decode(asked["ciphertext"])
            try:
                text = self.open(blob[0], blob[1:], context)
            except (InvalidTag, ValueError, IndexError):
                told = "Decryption failed: verify that 'name' refers to the correct CryptoKey."
                return 400, _google(400, "INVALID_ARGUMENT", told)
            return 200, {"plaintext": base64.b64encode(text).decode(), "usedPrimary": True}
        return 404, _google(404, "NOT_FOUND", f"{path} not found")

    def _token(self, body: bytes) -> tuple[int, object]:
        """https://developers.google.com/identity/protocols/oauth2/service-account"""
        form = dict(parse_qsl(body.decode()))
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        head, claims, mark = form["assertion"].split(".")
        signed = f"{head}.{claims}".encode()
        GCP_PEM.public_key().verify(_unpadded(mark), signed, PKCS1v15(), SHA256())
        if json.loads(_unpadded(claims))["scope"] != "https://www.googleapis.com/auth/cloudkms":
            return 400, {"error": "invalid_scope"}
        return 200, {"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"}


class AzureServer(Service):
    """Azure Key Vault with an RSA key, and the tokens of Entra or of the machine itself."""

    def __init__(self) -> None:
        super().__init__()
        self.url = self.url.replace("127.0.0.1", "localhost")
        self.versions = {"v1": rsa.generate_private_key(65537, 2048)}

    def rotate(self) -> None:
        self.versions[f"v{len(self.versions) + 1}"] = rsa.generate_private_key(65537, 2048)

    def forget(self) -> None:
        self.versions["v1"] = rsa.generate_private_key(65537, 2048)

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, object]:
        path, _, query = path.partition("?")
        asked = dict(parse_qsl(query))
        if path == "/tenant/oauth2/v2.0/token":
            return self._token(dict(parse_qsl(body.decode())))
        if path == "/metadata/identity/oauth2/token":
            right = headers.get("metadata") == "true" and asked["api-version"] == "2018-02-01"
            right = right and asked["resource"] == "https://localhost"
            return (200, {"access_token": TOKEN}) if right else (400, {"error": "bad_request"})
        if self.down:
            return 503, _azure("ServiceUnavailable", "try again")
        if headers.get("authorization") != f"Bearer {TOKEN}" or asked["api-version"] != "7.4":
            return 401, _azure("Unauthorized", "AKV10000: Request is missing a Bearer token.")
        _, keys, name, *rest = path.split("/")
        newest = f"{self.url}/keys/ferryman/v{len(self.versions)}"
        if (keys, name) != ("keys", "ferryman") or (rest and rest[0] not in self.versions):
            return 404, _azure("KeyNotFound", "A key with this name and version was not found")
        if not rest:
            return 200, {"key": {"kid": newest, "kty": "RSA"}, "attributes": {"enabled": True}}
        said = self._acted(self.versions[rest[0]], rest[1], json.loads(body))
        kid = {"kid": f"{self.url}/keys/ferryman/{rest[0]}"}
        if said is None:
            return 400, _azure("BadParameter", "The parameter is incorrect.")
        return 200, {"value": said} if isinstance(said, bool) else kid | {"value": said}

    def _token(self, form: dict[str, str]) -> tuple[int, object]:
        """https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow"""
        wanted = {"client_id": "client", "grant_type": "client_credentials",
                  "scope": "https://localhost/.default"}  # fmt: skip
        proof = form.get("client_secret", form.get("client_assertion"))
        if not wanted.items() <= form.items() or proof != SECRET:
            return 401, {"error": "invalid_client", "error_description": "AADSTS7000215: …"}
        return 200, {"token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN}

    def _acted(self, key: rsa.RSAPrivateKey, what: str, asked: dict[str, str]) -> str | bool | None:
        oaep, pss = OAEP(MGF1(SHA256()), SHA256(), None), PSS(MGF1(SHA256()), 32)
        value, wraps = _unpadded(asked["value"]), what in ("wrapkey", "unwrapkey")
        assert asked["alg"] == ("RSA-OAEP-256" if wraps else "PS256")
        if what == "verify":
            try:
                key.public_key().verify(value, _unpadded(asked["digest"]), pss, Prehashed(SHA256()))
            except InvalidSignature:
                return False
            return True
        if what == "unwrapkey":
            try:
                made = key.decrypt(value, oaep)
            except ValueError:
                return None
        elif what == "wrapkey":
            made = key.public_key().encrypt(value, oaep)
        else:
            assert what == "sign"
            made = key.sign(value, pss, Prehashed(SHA256()))
        return base64.urlsafe_b64encode(made).decode().rstrip("=")


def _google(code: int, status: str, message: str) -> object:
    return {"error": {"code": code, "message": message, "status": status}}


def _azure(code: str, message: str) -> object:
    return {"error": {"code": code, "message": message}}


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _unsigned(path: str, headers: dict[str, str], body: bytes) -> str:
    """What is wrong with the signature, by AWS's name for it."""
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/kms/aws4_request, ?"
        r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
        headers.get("authorization", ""),
    )
    if found is None or found[1] != ACCESS:
        return "UnrecognizedClientException"
    _, day, region, names, signature = found.groups()
    if not {"host", "x-amz-date", "x-amz-target"} <= set(names.split(";")):
        return "IncompleteSignatureException"
    lines = "".join([f"{name}:{headers[name].strip()}\n" for name in names.split(";")])
    canonical = f"POST\n{path}\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{day}/{region}/kms/aws4_request"
    text = (
        f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n"
        f"{hashlib.sha256(canonical.encode()).hexdigest()}"
    )
    key = b"AWS4" + SECRET.encode()
    for part in (day, region, "kms", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    right = hmac.digest(key, text.encode(), "sha256").hex() == signature
    return "" if right else "InvalidSignatureException"
