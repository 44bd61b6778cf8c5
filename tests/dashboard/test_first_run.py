"""Installations of their own: one that knows nobody yet, and one whose control plane dies."""

import re
from pathlib import Path

import psutil
import sqlalchemy as sa
from playwright.sync_api import Browser, expect

from ferryman.control.vault.masters import make
from ferryman.store.db import open_engine, writing
from tests.dashboard.conftest import CONFIG
from tests.dashboard.visit import PATIENCE, Visit
from tests.gateway import Stack
from tests.memory import holds
from tests.test_readme import MODEL, Running, installed


def test_a_pasted_key_is_enough(browser: Browser, packages: Path, tmp_path: Path) -> None:
    env = {"MISTRAL_API_KEY": "", "FERRYMAN_OPENAI_BASE_URL": "SIM/v1", "FERRYMAN_KEY": ""}
    with Stack(tmp_path, "providers: {}\n", **env).served() as ferry:
        visit = Visit(browser, ferry, (packages / "axe-core" / "axe.min.js").read_text())
        page = visit.page
        expect(page.get_by_text("Once there is a provider.")).to_be_visible()
        first = (ferry.data / "first-key").read_text().strip()
        expect(page.locator("#main")).to_contain_text(first)
        page.locator("select[name=provider]").select_option("openai")
        page.get_by_label("Its key").fill("env:OPENAI_API_KEY")
        with visit.expecting("400"):
            page.get_by_role("button", name="Add").click()
            expect(page.get_by_role("alert")).to_contain_text("Paste the key itself")
        visit.shoot("first-run")
        page.get_by_label("Its key").fill("sk-canary-0123456789")
        page.get_by_role("button", name="Add").click()
        expect(page.locator(".badge", has_text="openai")).to_be_visible()
        assert "sk-canary" not in page.content()
        page.get_by_role("button", name="Send").click()
        expect(page.locator("[data-after]")).to_contain_text("openai/")
        expect(page.locator("[data-answer]")).to_contain_text("ferry")
        assert ferry.last_headers()["authorization"] == "Bearer sk-canary-0123456789"
        kept = (ferry.data / "ferryman.db").read_bytes() + "\n".join(ferry.up.lines).encode()
        assert b"sk-canary" not in kept
        visit.end()


@installed
def test_a_newcomer_follows_the_link_asks_the_local_model_and_sees_what_it_cost(
    browser: Browser, tmp_path: Path
) -> None:
    """As after ``make run``, but for the ports."""
    up = Running(tmp_path)
    [link] = re.findall(r"Dashboard +(http\S+/enter#\S+)", up.banner)
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.goto(link)
    expect(page.get_by_role("heading", name="Welcome to Ferryman")).to_be_visible()
    page.get_by_role("link", name="Playground").first.click()
    page.get_by_text("Settings and tools").click()
    page.get_by_label("Most tokens").fill("8")
    page.get_by_placeholder("Say something").fill("What is a ferry?")
    page.keyboard.press("Enter")
    expect(page.locator("[data-outcome]")).to_contain_text(f"{MODEL} · $0", timeout=3 * PATIENCE)
    page.get_by_role("link", name="trace").click()
    expect(page.get_by_role("heading", name="What was tried")).to_be_visible()
    expect(page.locator("#main")).to_contain_text(MODEL)
    expect(page.get_by_role("row", name="Together")).to_contain_text("$0")
    page.close()
    assert up.stop() == 0 and not faults, faults


def test_with_a_master_key_a_pasted_key_goes_into_the_vault(
    browser: Browser, packages: Path, tmp_path: Path
) -> None:
    env = {"MISTRAL_API_KEY": "", "FERRYMAN_OPENAI_BASE_URL": "SIM/v1"}
    make(tmp_path / "master-key")
    env["FERRYMAN_MASTER_KEY_FILE"] = str(tmp_path / "master-key")
    with Stack(tmp_path, "providers: {}\n", **env).served() as ferry:
        visit = Visit(browser, ferry, (packages / "axe-core" / "axe.min.js").read_text())
        page = visit.page
        page.locator("select[name=provider]").select_option("openai")
        page.get_by_label("Its key").fill("sk-canary-0123456789")
        page.get_by_role("button", name="Add").click()
        expect(page.locator(".badge", has_text="openai")).to_be_visible()
        page.get_by_role("button", name="Send").click()
        expect(page.locator("[data-after]")).to_contain_text("openai/")
        assert ferry.last_headers()["authorization"] == "Bearer sk-canary-0123456789"
        expect(visit.go("/vault").get_by_role("row", name="openai")).to_contain_text("yes")
        for process in psutil.Process(ferry.up.popen.pid).children():
            if "ferryman.control" in process.cmdline():
                assert holds(process.pid, b"sk-canary-0123456789") == 0
        visit.end()


def test_a_restart_is_waited_for_and_signing_out_is_said(
    browser: Browser, packages: Path, tmp_path: Path
) -> None:
    config = CONFIG.replace("HOOK/", "http://127.0.0.1:1/")
    ferry = Stack(tmp_path, config, HOOK_SECRET="s3cret").ready()
    ferry.chat("quick")
    visit = Visit(browser, ferry, (packages / "axe-core" / "axe.min.js").read_text())
    page = visit.go("/")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    with visit.expecting("console"):
        for child in psutil.Process(ferry.up.popen.pid).children():
            if "ferryman.control" in child.cmdline():
                child.kill()
        expect(page.get_by_text("Waiting for the control plane")).to_be_visible()
        expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=40_000)
        # What a browser gives up by itself: an answer that is no stream.
        engine = open_engine(f"sqlite:///{ferry.data / 'ferryman.db'}")
        with writing(engine) as connection:
            connection.execute(sa.text("ALTER TABLE sessions RENAME TO away"))
        for child in psutil.Process(ferry.up.popen.pid).children():
            if "ferryman.control" in child.cmdline():
                child.kill()
        expect(page.get_by_text("Reconnecting")).to_be_visible(timeout=40_000)
        with writing(engine) as connection:
            connection.execute(sa.text("ALTER TABLE away RENAME TO sessions"))
        engine.dispose()
        expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=40_000)
    with visit.context.expect_page() as waiting:
        page.evaluate("open('/keys')")
    waiting.value.get_by_role("button", name="Sign out").click()
    with visit.expecting("401"):
        ferry.chat("quick")
        expect(page.get_by_text("Signed out: load the page again")).to_be_visible()
    page.reload()
    expect(page.get_by_text("ferryman dashboard")).to_be_visible()
    visit.shoot("enter")
    visit.end()
    ferry.end()
