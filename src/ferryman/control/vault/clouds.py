"""Master keys that stay in Google Cloud KMS or in Azure Key Vault.

Google: https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys
Azure: https://learn.microsoft.com/rest/api/keyvault/keys/wrap-key/wrap-key
"""

import hashlib
import json
import os
import re
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from ferryman.control.vault.envelope import KeyServiceError, VaultError
from ferryman.control.vault.wire import PATIENCE, ask, b64, b64url, bytes_of, text_of

_LOCAL: Final = ("127.0.0.1", "localhost", "::1")


class GcpKms:
    """A symmetric key of Google Cloud KMS. Application default credentials (extra ``google``)."""

    def __init__(self, rest: str) -> None:
        """``rest``: the key's resource name. ``CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS`` may say
        where the service is, as for Google's own tools. Raises :class:`VaultError`."""
        if not re.fullmatch(r"projects/[^/\s]+/locations/[\w-]+/keyRings/[\w-]+/cryptoKeys/[\w-]+",
                            rest):  # fmt: skip
            raise VaultError(
                "FERRYMAN_KMS: write gcpkms:projects/PROJECT/locations/LOCATION/keyRings/RING/"
                "cryptoKeys/KEY, a key's resource name"
            )
        self.id = f"gcpkms:{rest}"
        elsewhere = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS", "").rstrip("/")
        self._url = f"{elsewhere or 'https://cloudkms.googleapis.com'}/v1/{quote(rest)}"
        _guarded(self._url)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """See :class:`~ferryman.control.vault.envelope.Master`."""
        return bytes_of(self._ask("encrypt", context, plaintext=b64(key)), "ciphertext")

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See :class:`~ferryman.control.vault.envelope.Master`."""
        return bytes_of(self._ask("decrypt", context, ciphertext=b64(wrapped)), "plaintext")

    def _ask(self, what: str, context: bytes, **more: str) -> dict[str, Any]:
        body = json.dumps({**more, "additionalAuthenticatedData": b64(context)}).encode()
        headers = {"authorization": f"Bearer {self._token}"}
        status, said = ask("POST", f"{self._url}:{what}", headers, body)
        if status != 200:
            fault = said.get("error")
            fault = fault if isinstance(fault, dict) else {}
            why = f"{self.id}: {fault.get('status', status)} {fault.get('message', '')}"[:300]
            if fault.get("status") == "INVALID_ARGUMENT" and what == "decrypt":
                raise VaultError(f"a data key does not open ({why.strip()})")
            raise KeyServiceError(why.strip())
        return said

    @cached_property
    def _token(self) -> str:
        try:
            import google.auth
            from google.auth.transport.requests import Request
        except ImportError:
            raise KeyServiceError(
                "gcpkms needs google-auth: pip install 'ferryman[google]'"
            ) from None
        try:
            found, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloudkms"])
            found.refresh(partial(Request(), timeout=PATIENCE))  # type: ignore[no-untyped-call]
        except Exception as error:
            raise KeyServiceError(f"gcpkms: no credentials ({type(error).__name__})") from None
        return str(found.token)


class AzureKey:
    """An RSA key of Azure Key Vault or a managed HSM.

    Anybody may wrap to an RSA key, as half of it is public: so what is wrapped, and where it
    belongs, is signed by the same key.
    """

    def __init__(self, rest: str) -> None:
        """``rest``: the key's identifier, ``https://NAME.vault.azure.net/keys/KEY``, without a
        version: the newest wraps. Raises :class:`VaultError`.

        Credentials are those of a service principal (``AZURE_TENANT_ID``, ``AZURE_CLIENT_ID`` and
        ``AZURE_CLIENT_SECRET`` or ``AZURE_FEDERATED_TOKEN_FILE``), else the machine's own identity.
        """
        if not re.fullmatch(r"https?://[^/?#@\s]+/keys/[0-9A-Za-z-]+", rest):
            raise VaultError(
                "FERRYMAN_KMS: write azurekey:https://NAME.vault.azure.net/keys/KEY, a key's "
                "identifier without a version"
            )
        self.id = f"azurekey:{rest}"
        self._url = rest
        _guarded(rest)

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """See :class:`~ferryman.control.vault.envelope.Master`."""
        found = self._ask("GET", "").get("key")
        version = text_of(found if isinstance(found, dict) else {}, "kid").rpartition("/")[2]
        wrapped = self._act(version, "wrapkey", alg="RSA-OAEP-256", value=b64url(key))
        value = bytes_of(wrapped, "value")
        signed = self._act(version, "sign", alg="PS256", value=_digest(value, context))
        return f"{version}.{b64url(value)}.{b64url(bytes_of(signed, 'value'))}".encode()

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See :class:`~ferryman.control.vault.envelope.Master`."""
        found = re.fullmatch(rb"([0-9A-Za-z]+)\.([\w-]+)\.([\w-]+)", wrapped)
        if found is None:
            raise VaultError(f"a data key does not open ({self.id}: it was not wrapped so)")
        version, text, mark = (each.decode() for each in found.groups())
        digest = _digest(bytes_of({"it": text}, "it"), context)
        said = self._act(version, "verify", alg="PS256", digest=digest, value=mark)
        if said.get("value") is not True:
            raise VaultError(f"a data key does not open ({self.id}: its signature is wrong)")
        opened = self._act(version, "unwrapkey", alg="RSA-OAEP-256", value=text)
        return bytes_of(opened, "value")

    def _act(self, version: str, what: str, **body: str) -> dict[str, Any]:
        return self._ask("POST", f"/{version}/{what}", json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._token}"}
        status, said = ask(method, f"{self._url}{path}?api-version=7.4", headers, body)
        if status != 200:
            fault = said.get("error")
            fault = fault if isinstance(fault, dict) else {}
            why = f"{self.id}: {fault.get('code', status)} {fault.get('message', '')}"[:300].strip()
            wrong = status == 404 or fault.get("code") == "BadParameter"
            if wrong and path.endswith(("/verify", "/unwrapkey")):
                raise VaultError(f"a data key does not open ({why})")
            raise KeyServiceError(why)
        return said

    @cached_property
    def _token(self) -> str:
        env = os.environ
        client, tenant = env.get("AZURE_CLIENT_ID", ""), env.get("AZURE_TENANT_ID", "")
        proof = _proof(env.get("AZURE_CLIENT_SECRET", ""), env.get("AZURE_FEDERATED_TOKEN_FILE"))
        if client and tenant and proof:
            host = env.get("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com").rstrip("/")
            form = {"client_id": client, "grant_type": "client_credentials",
                    "scope": f"{resource(self._url)}/.default", **proof}  # fmt: skip
            headers = {"content-type": "application/x-www-form-urlencoded"}
            url = f"{host}/{quote(tenant)}/oauth2/v2.0/token"
            _guarded(url)
            status, said = ask("POST", url, headers, urlencode(form).encode())
        else:
            host = env.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://169.254.169.254")
            asked = {"api-version": "2018-02-01", "resource": resource(self._url)}
            asked |= {"client_id": client} if client else {}
            url = f"{host.rstrip('/')}/metadata/identity/oauth2/token?{urlencode(asked)}"
            status, said = ask("GET", url, {"metadata": "true"}, identity=True)
        if status != 200:
            raise KeyServiceError(f"azurekey: no credentials ({said.get('error', status)})")
        return text_of(said, "access_token")


def resource(url: str) -> str:
    """What a token is for: the vault's domain without its own name. Pure."""
    host = urlsplit(url).hostname or ""
    return f"https://{host.partition('.')[2] or host}"


def _proof(secret: str, file: str | None) -> dict[str, str]:
    if secret or not file:
        return {"client_secret": secret} if secret else {}
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    try:
        token = Path(file).read_text().strip()
    except OSError as error:
        raise KeyServiceError(
            f"AZURE_FEDERATED_TOKEN_FILE can't be read: {error.strerror}"
        ) from None
    return {"client_assertion_type": kind, "client_assertion": token}


def _digest(wrapped: bytes, context: bytes) -> str:
    """What is signed: all that is wrapped, and where it belongs."""
    inner = hashlib.sha256(context).digest() + hashlib.sha256(wrapped).digest()
    return b64url(hashlib.sha256(b"ferryman vault wrap v1" + inner).digest())


def _guarded(url: str) -> None:
    """Tokens go out over TLS, or stay on this machine. Raises :class:`VaultError`."""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _LOCAL:
        raise VaultError(f"FERRYMAN_KMS: {parts.hostname} has to be asked over https")
