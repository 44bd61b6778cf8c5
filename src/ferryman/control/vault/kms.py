"""Master keys that stay in a key service: it is sent data keys, and returns them wrapped.

HashiCorp Vault: https://developer.hashicorp.com/vault/api-docs/secret/transit#encrypt-data
AWS KMS: https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from ferryman.control.vault.clouds import AzureKey, GcpKms
from ferryman.control.vault.envelope import KeyServiceError, Master, VaultError
from ferryman.control.vault.wire import ask, b64, bytes_of, text_of
from ferryman.wire.sigv4 import Credentials, sign

_TAMPERED = re.compile(r"message authentication failed|invalid ciphertext")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")


class Transit:
    """A key of Vault's transit engine."""

    def __init__(self, rest: str) -> None:
        """``rest``: the key's URL, ``https://vault.example:8200/v1/transit/keys/NAME``.

        The token is in ``VAULT_TOKEN``, or in the file that ``VAULT_TOKEN_FILE`` names; a namespace
        in ``VAULT_NAMESPACE``. Raises :class:`VaultError`.
        """
        found = re.fullmatch(r"(https?://[^/?#@\s]+)(/v1/[^?#\s]+)/keys/([\w.-]+)", rest)
        if found is None:
            raise VaultError(
                "FERRYMAN_KMS: write transit:https://HOST:8200/v1/transit/keys/NAME, the URL of a "
                "key in Vault's transit engine"
            )
        self.id = f"transit:{rest}"
        self._url, self._mount, self._key = found.groups()

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """See :class:`~ferryman.control.vault.envelope.Master`."""
        said = self._ask("encrypt", plaintext=b64(key), associated_data=b64(context))
        return text_of(said, "ciphertext").encode()

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See :class:`~ferryman.control.vault.envelope.Master`."""
        text = wrapped.decode("ascii", "replace")
        said = self._ask("decrypt", ciphertext=text, associated_data=b64(context))
        return bytes_of(said, "plaintext")

    def _ask(self, what: str, **body: str) -> dict[str, Any]:
        headers = {"x-vault-token": _vault_token(), "x-vault-request": "true"}
        if space := os.environ.get("VAULT_NAMESPACE"):
            headers["x-vault-namespace"] = space
        url = f"{self._url}{self._mount}/{what}/{self._key}"
        status, said = ask("POST", url, headers, json.dumps(body).encode())
        if status != 200:
            why = "; ".join(map(str, said.get("errors") or [f"status {status}"]))
            if what == "decrypt" and _TAMPERED.search(why):  # status 500 of some versions
                raise VaultError(f"a data key does not open ({self.id}: {why[:300]})")
            raise KeyServiceError(f"{self.id} refuses: {why[:300]}")
        data = said.get("data")
        return data if isinstance(data, dict) else {}


def _vault_token() -> str:
    path = os.environ.get("VAULT_TOKEN_FILE", "")
    try:
        token = Path(path).read_text() if path else os.environ.get("VAULT_TOKEN", "")
    except OSError as error:
        raise KeyServiceError(f"VAULT_TOKEN_FILE can't be read: {error.strerror}") from None
    if not token.strip():
        raise KeyServiceError("transit: there is no token; set VAULT_TOKEN or VAULT_TOKEN_FILE")
    return token.strip()


class AwsKms:
    """A symmetric key of AWS KMS. Credentials come from AWS's own chain (extra ``aws``)."""

    def __init__(self, rest: str) -> None:
        """``rest``: the key's ARN (of a key or an alias). ``AWS_ENDPOINT_URL_KMS`` may say where
        the service is, as for AWS's own tools. Raises :class:`VaultError`."""
        parts = rest.split(":", 5)
        if len(parts) != 6 or parts[2] != "kms" or not _REGION.fullmatch(parts[3]):
            raise VaultError(
                "FERRYMAN_KMS: write awskms:arn:aws:kms:REGION:ACCOUNT:key/ID, a key's whole ARN"
            )
        self.id = f"awskms:{rest}"
        self._key, self._region = rest, parts[3]
        suffix = ".cn" if parts[1] == "aws-cn" else ""
        ours = f"https://kms.{self._region}.amazonaws.com{suffix}"
        self._url = (os.environ.get("AWS_ENDPOINT_URL_KMS") or ours).rstrip("/")

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """See :class:`~ferryman.control.vault.envelope.Master`."""
        return bytes_of(self._ask("Encrypt", context, Plaintext=b64(key)), "CiphertextBlob")

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See :class:`~ferryman.control.vault.envelope.Master`."""
        return bytes_of(self._ask("Decrypt", context, CiphertextBlob=b64(wrapped)), "Plaintext")

    def _ask(self, what: str, context: bytes, **more: str) -> dict[str, Any]:
        # A context shows in AWS's own logs: its digest binds as well, and names no tenant.
        bound = {"ferryman": hashlib.sha256(context).hexdigest()}
        body = json.dumps({"KeyId": self._key, "EncryptionContext": bound, **more}).encode()
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"TrentService.{what}",
        }
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        host = urlsplit(self._url).netloc
        signed = sign(
            "POST", host, "/", "", headers.items(), body, _aws(), self._region, "kms", stamp
        )
        status, said = ask("POST", self._url, headers | dict(signed), body)
        if status != 200:
            kind = str(said.get("__type", f"status {status}")).rpartition("#")[2]
            why = f"{self.id}: {kind} {said.get('message') or said.get('Message') or ''}"[:300]
            if kind in ("InvalidCiphertextException", "IncorrectKeyException"):
                raise VaultError(f"a data key does not open ({why.strip()})")
            raise KeyServiceError(why.strip())
        return said


def _aws() -> Credentials:
    try:
        from botocore.session import Session
    except ImportError:
        raise KeyServiceError("awskms needs botocore: pip install 'ferryman[aws]'") from None
    try:
        found = Session().get_credentials()
        frozen = found.get_frozen_credentials() if found else None
    except Exception as error:
        raise KeyServiceError(f"awskms: no credentials ({type(error).__name__})") from None
    if frozen is None:
        raise KeyServiceError("awskms: AWS's own chain has no credentials")
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")


BUILT_IN: Final[Mapping[str, Callable[[str], Master]]] = MappingProxyType(
    {"transit": Transit, "awskms": AwsKms, "gcpkms": GcpKms, "azurekey": AzureKey}
)
