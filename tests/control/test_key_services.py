"""Master keys that stay in a key service: wrapped there, bound to their place, refused well."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config

from ferryman.control.vault import clouds, masters
from ferryman.control.vault.desk import Vault
from ferryman.control.vault.envelope import KeyServiceError, VaultError
from ferryman.store import db, vault
from tests.control.services import (
    ACCESS,
    ARN,
    GCP_KEY,
    SECRET,
    TOKEN,
    AzureServer,
    GcpServer,
    KmsServer,
    Service,
    TransitServer,
)

CANARY = "sk-canary-behind-a-key-service"


SERVERS = {
    "transit": TransitServer, "awskms": KmsServer, "gcpkms": GcpServer, "azurekey": AzureServer,
}  # fmt: skip


@pytest.fixture(params=SERVERS)
def service(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Service]:
    """One of them, running, and named in the environment."""
    made: Service = SERVERS[request.param]()
    keys = {
        "transit": f"{made.url}/v1/transit/keys/ferryman", "awskms": ARN, "gcpkms": GCP_KEY,
        "azurekey": f"{made.url}/keys/ferryman",
    }  # fmt: skip
    account = tmp_path / "account.json"
    if isinstance(made, GcpServer):
        account.write_text(json.dumps(made.account()))
    env = {
        "VAULT_TOKEN": TOKEN, "AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL_KMS": made.url, "GOOGLE_APPLICATION_CREDENTIALS": str(account),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS": made.url, "AZURE_TENANT_ID": "tenant",
        "AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": SECRET,
        "AZURE_AUTHORITY_HOST": made.url,
        "FERRYMAN_KMS": f"{request.param}:{keys[request.param]}",
    }  # fmt: skip
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_key_service_holds_the_master_key(service: Service, tmp_path: Path) -> None:
    engine = db.open_engine(f"sqlite:///{tmp_path / 'ferryman.db'}")
    db.migrate(engine)

    def fresh() -> Vault:
        return Vault(engine, masters.gather(tmp_path / "none"), tmp_path / "seen")

    fresh().put("a", CANARY)
    fresh().put("b", "another-secret-0123456789")
    assert fresh().texts(["a"]) == {"a": CANARY}
    rows = vault.rows(engine)
    a, b = rows["", "a", "value"], rows["", "b", "value"]
    assert a.master.startswith(("transit:http", "awskms:arn:", "gcpkms:projects", "azurekey:http"))
    assert CANARY.encode() not in b"".join(row.sealed + row.wrapped for row in rows.values())

    master = masters.gather(tmp_path / "none").newest
    wrapped = master.wrap(b"k" * 32, b"a place")
    assert master.unwrap(wrapped, b"a place") == b"k" * 32
    for bent, context in (
        (wrapped, b"another place"), (b.wrapped, b"a place"), (wrapped[:-8], b"a place"),
        (wrapped[:-8] + b"AAAAAAA=", b"a place"), (b"x", b"a place"),
    ):  # fmt: skip
        with pytest.raises(VaultError, match="does not open") as told:
            master.unwrap(bent, context)
        assert not isinstance(told.value, KeyServiceError), "not as if the service were away"

    service.rotate()
    assert fresh().texts(["a"]) == {"a": CANARY}
    assert fresh().rotate() == 2
    service.forget()
    assert fresh().texts(["a"]) == {"a": CANARY}, "nothing needs the old version any more"

    service.down = True
    with pytest.raises(KeyServiceError):
        fresh().texts(["a"])
    with pytest.raises(KeyServiceError):
        fresh().put("c", CANARY)
    service.server.shutdown()
    service.server.server_close()
    with pytest.raises(KeyServiceError, match=r"can't be reached|no credentials"):
        fresh().texts(["a"])
    engine.dispose()


def test_wrong_credentials_are_said(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("VAULT_TOKEN", "AWS_SECRET_ACCESS_KEY", "AZURE_CLIENT_SECRET"):
        monkeypatch.setenv(name, "wrong-token-canary")
    (tmp_path / "account.json").write_text('{"type": "service_account", "x": "wrong-token-canary"}')
    words = r"permission denied|InvalidSignature|no credentials \(\w+\)"
    with pytest.raises(KeyServiceError, match=words) as told:
        masters.gather(Path("none")).newest.wrap(b"k" * 32, b"")
    assert "canary" not in str(told.value)


def test_azure_s_other_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = AzureServer()
    (tmp_path / "token").write_text(SECRET + "\n")
    federated = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client",
                 "AZURE_AUTHORITY_HOST": made.url + "/",
                 "AZURE_FEDERATED_TOKEN_FILE": str(tmp_path / "token")}  # fmt: skip
    machine = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": made.url}
    for env in (federated, machine):
        with monkeypatch.context() as own:
            for name, value in env.items():
                own.setenv(name, value)
            key = masters.service(f"azurekey:{made.url}/keys/ferryman")
            assert key.unwrap(key.wrap(b"k" * 32, b"place"), b"place") == b"k" * 32
    made.server.shutdown()
    made.server.server_close()


def test_tokens_go_nowhere_without_tls() -> None:
    for spec in ("azurekey:http://10.0.0.7/keys/k", "azurekey:http://vault.azure.net/keys/k"):
        with pytest.raises(VaultError, match="over https"):
            masters.service(spec)
    for url, right in (
        ("https://x.vault.azure.net/keys/k", "https://vault.azure.net"),
        ("https://x.managedhsm.azure.net/keys/k", "https://managedhsm.azure.net"),
    ):
        assert clouds.resource(url) == right
    for spec, words in (("azurekey:https://x.vault.azure.net/keys/k/1", "without a version"),
                        ("gcpkms:ferryman", "gcpkms:projects/")):  # fmt: skip
        with pytest.raises(VaultError, match=words):
            masters.service(spec)


@pytest.mark.parametrize("given", ["", "false", "true"])
def test_a_name_leads_to_no_private_address_unless_that_is_said(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    server = TransitServer()
    system = socket.getaddrinfo

    def answer(host: str, *rest: Any, **how: Any) -> list[Any]:
        return system("127.0.0.1" if host == "vault.example.com" else host, *rest, **how)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    monkeypatch.setenv("FERRYMAN_KMS_PRIVATE", given)
    url = server.url.replace("127.0.0.1", "vault.example.com")
    key = masters.service(f"transit:{url}/v1/transit/keys/ferryman")
    if given == "true":
        assert key.unwrap(key.wrap(b"k" * 32, b"place"), b"place") == b"k" * 32
    else:
        words = r"leads to the private address 127\.0\.0\.1; FERRYMAN_KMS_PRIVATE=true allows that"
        with pytest.raises(KeyServiceError, match=words):
            key.wrap(b"k" * 32, b"place")
    metadata = masters.service("transit:http://169.254.169.254/v1/transit/keys/k")
    if given != "true":
        with pytest.raises(KeyServiceError, match="is not asked"):
            metadata.wrap(b"k" * 32, b"place")
    server.server.shutdown()
    server.server.server_close()


def test_amazons_own_client_understands_the_service_of_these_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = KmsServer()
    client = botocore.session.Session().create_client(
        "kms", region_name="eu-west-3", endpoint_url=server.url, aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET, config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    said = client.encrypt(KeyId=ARN, Plaintext=b"data", EncryptionContext={"a": "b"})
    blob = said["CiphertextBlob"]
    back = client.decrypt(KeyId=ARN, CiphertextBlob=blob, EncryptionContext={"a": "b"})
    assert back["Plaintext"] == b"data"
    with pytest.raises(client.exceptions.InvalidCiphertextException):
        client.decrypt(KeyId=ARN, CiphertextBlob=blob, EncryptionContext={"a": "c"})
    server.server.shutdown()
    server.server.server_close()
