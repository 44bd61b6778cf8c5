"""Secrets go into the vault by a real browser, and no page shows them again."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.dashboard.visit import Visit
from tests.gateway import Stack
from tests.processes import environment, until

CONFIG = """\
providers:
  lab: { base_url: SIM/v1, key: vault:lab }
  other: { base_url: SIM/v1, key: env:A_VARIABLE_NOBODY_SETS }
models: { fast: lab/sim, rare: other/sim }
"""
CANARY, OTHER = "sk-canary-0123456789-first", "sk-canary-9876543210-ütf8"


@pytest.fixture(scope="module")
def ferry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("vault"), CONFIG).served() as running:
        yield running


def sent(ferry: Stack, model: str) -> str | None:
    """The key with which the provider was called, if it was."""
    if ferry.chat(model).status != 200:
        return None
    return ferry.last_headers()["authorization"].removeprefix("Bearer ")


def test_a_secret_is_stored_used_and_never_seen_again(visit: Visit, ferry: Stack) -> None:
    page = visit.go("/vault")
    expect(page.get_by_role("heading", name="There is no master key yet")).to_be_visible()
    expect(page.get_by_role("button", name="Store")).to_have_count(0)
    visit.shoot("vault-none")
    command = [sys.executable, "-m", "ferryman", "vault", "init"]
    subprocess.run(command, env=environment(ferry.data), check=True, capture_output=True)

    page = visit.go("/vault")
    requests: list[str] = []
    page.on("request", lambda each: requests.append(f"{each.url} {each.post_data}"))
    page.get_by_role("link", name="lab", exact=True).click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("lab")
    page.get_by_label("Secret", exact=True).fill(CANARY)
    page.get_by_role("button", name="Store").click()
    expect(page.get_by_role("status")).to_contain_text("Stored: lab")
    until(lambda: sent(ferry, "fast") == CANARY, "the key is in force")
    page.get_by_label("Name", exact=True).fill("rare")
    page.get_by_label("Secret", exact=True).fill(CANARY[::-1])
    page.get_by_label("It is the key of").select_option("other")
    page.get_by_role("button", name="Store").click()
    expect(page.get_by_role("status")).to_contain_text("Stored: rare, the key of other")
    until(lambda: sent(ferry, "rare") == CANARY[::-1], "that of the other provider, too")
    row = page.get_by_role("row", name="lab")
    expect(row).to_contain_text("…irst")
    expect(row).to_contain_text("yes")
    visit.shoot("vault")
    page.get_by_role("button", name="Verify all").click()
    expect(page.get_by_role("status")).to_contain_text("Good: 2 secrets.")
    page.get_by_role("button", name="Rotate the master key too").click()
    expect(page.get_by_role("row", name="rare")).to_contain_text("key-2-")
    assert sent(ferry, "fast") == CANARY
    seen = page.content() + "".join(requests) + visit.go("/settings").content()
    assert any("sealed=" in each for each in requests)
    assert not [text for text in (CANARY, CANARY[::-1]) if text in seen]


def test_a_secret_is_replaced_and_removed(visit: Visit, ferry: Stack) -> None:
    page = visit.go("/vault")
    page.get_by_role("link", name="Replace lab").click()
    page.get_by_label("Secret", exact=True).fill("x" * 33_000)
    page.evaluate("document.querySelector('[data-secret]').maxLength = 40000")
    page.get_by_label("Secret", exact=True).fill("x" * 33_000)
    with visit.expecting("400"):
        page.get_by_role("button", name="Store").click()
        expect(page.get_by_role("alert")).to_contain_text("32,768")
    page.get_by_label("Secret", exact=True).fill(OTHER)
    page.get_by_role("button", name="Store").click()
    expect(page.get_by_role("status")).to_contain_text("Stored: lab")
    page.get_by_label("Name", exact=True).fill("acme/spare")
    page.get_by_label("Secret", exact=True).fill(OTHER)
    page.get_by_role("button", name="Store").click()
    expect(page.get_by_role("row", name="acme/spare")).to_contain_text("no")
    page.get_by_label("Name", exact=True).fill("acme/spare")
    page.get_by_label("Secret", exact=True).fill(OTHER)
    page.get_by_label("It is the key of").select_option("lab")
    with visit.expecting("400"):
        page.get_by_role("button", name="Store").click()
        expect(page.get_by_role("alert")).to_contain_text("lab would serve that organisation alone")
    page.get_by_text("Remove acme/spare").first.click()
    page.get_by_role("button", name="Remove acme/spare").click()
    expect(page.get_by_role("status")).to_contain_text("Removed: acme/spare")
    expect(page.get_by_role("row", name="acme/spare")).to_have_count(0)


def test_a_browser_that_cannot_seal_sends_nothing(visit: Visit) -> None:
    page = visit.go("/vault")
    requests: list[str] = []
    page.on("request", lambda each: requests.append(each.url))
    page.evaluate("Object.defineProperty(globalThis.crypto, 'subtle', { value: undefined })")
    page.get_by_label("Name", exact=True).fill("lab")
    page.get_by_label("Secret", exact=True).fill(CANARY)
    page.get_by_role("button", name="Store").click()
    expect(page.get_by_role("alert")).to_contain_text("ferryman vault set")
    assert not requests
