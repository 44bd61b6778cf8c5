"""Walks through the dashboard as a person would, in a real Chromium."""

import csv
import io
import json
import re
import threading

from playwright.sync_api import expect

from ferryman.store import alerts
from ferryman.store.alerts import Alert, Change
from ferryman.store.db import open_engine
from tests.dashboard.visit import Visit
from tests.gateway import Stack
from tests.processes import until

HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_newcomer_makes_a_first_call_and_sees_where_it_went(visit: Visit) -> None:
    page = visit.page
    expect(page.get_by_role("heading", name="Welcome to Ferryman")).to_be_visible()
    visit.shoot("welcome")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("[data-after]")).to_contain_text("lab/sim")
    page.get_by_role("link", name="see where it went").click()
    expect(page.get_by_role("heading", name="What was tried")).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("^req_"))).to_be_visible()
    expect(page.get_by_role("row", name="Together")).to_contain_text("0.00")


def test_calls_show_up_live(visit: Visit, ferry: Stack) -> None:
    known = ferry.chat("quick").header("x-ferryman-request-id")
    page = visit.go("/")
    rows = page.locator("#live-calls tbody tr")
    expect(page.locator(f'[data-key="{known}"]')).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    before = rows.count()
    slow = threading.Thread(target=lambda: ferry.stream("slow"))
    slow.start()
    expect(rows.first).to_contain_text("running")
    expect(rows).to_have_count(before + 1)
    slow.join()
    expect(rows.first).to_contain_text("200")
    page.get_by_role("button", name="Hold the list").click()
    ferry.chat(f"lab/{HOSTILE}")
    page.wait_for_timeout(1200)  # it would have come by then, had it not been held
    expect(rows).to_have_count(before + 1)
    page.get_by_role("button", name="Go on").click()
    expect(rows.first).to_contain_text(HOSTILE)
    expect(page.locator("img")).to_have_count(0)


def test_the_failing_call_is_found_and_explains_itself(visit: Visit, ferry: Stack) -> None:
    for _ in range(3):
        ferry.stream("quick")
    ferry.chat("lab/sim-429")
    run = {"x-ferryman-run-id": "night 7"}
    cause = ferry.stream("quick", headers=run).header("x-ferryman-request-id") or ""
    run["x-ferryman-parent-id"] = cause
    rescued = ferry.stream("plan-b", headers=run).header("x-ferryman-request-id") or ""
    page = visit.go("/")
    expect(page.locator("#live-figures")).to_contain_text("1 call failed")
    visit.shoot("now")
    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_url("**/calls")
    visit.shoot("calls")
    page.get_by_label("Status").select_option("Failed")
    expect(page.locator(".calls tbody tr")).to_have_count(1)
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_text("upstream rate limited")).to_be_visible()
    page.goto(f"{visit.url}/calls?q={rescued}")
    page.locator(".calls tbody tr").click(position={"x": 300, "y": 8})
    page.wait_for_url("**/calls/req_*")
    tries = page.locator(".fall li")
    expect(tries.first).to_contain_text("overloaded")
    expect(tries.last).to_contain_text("spare/sim")
    expect(tries.last).to_contain_text("waiting for the first byte")
    expect(page.locator(".plan li")).to_have_count(2)
    expect(page.locator(".tree tbody th")).to_have_text([cause, rescued])
    expect(page.locator(".tree tr[aria-current]")).to_contain_text(rescued)
    visit.shoot("call")
    page.get_by_role("link", name=cause).first.click()
    page.wait_for_url(f"**/calls/{cause}")
    either = ferry.chat("either").header("x-ferryman-request-id")
    page.goto(f"{visit.url}/calls/{either}")
    offers = page.get_by_role("row").filter(has_text=re.compile("lab/(sim|small)"))
    expect(offers).to_have_text([re.compile(r"lab/small\$0.00000"), re.compile("lab/sim this one")])


def test_what_was_said_is_shown_and_does_nothing_or_why_it_is_not_there(
    visit: Visit, ferry: Stack
) -> None:
    said = [{"role": "user", "content": f"{HOSTILE} What about this?"}]
    kept = ferry.chat("lab/sim-echo", messages=said, headers={"x-ferryman-tags": "keep"})
    ident = kept.header("x-ferryman-request-id")
    word = {"request_id": ident, "thumb": "down", "tags": ["unsafe"], "comment": HOSTILE}
    assert ferry.post(word, "/v1/feedback").status == 202
    ferry.row(str(ident))
    page = visit.go(f"/calls/{ident}")
    expect(page.get_by_label("What was sent")).to_contain_text(HOSTILE)
    expect(page.get_by_label("The answer in words")).to_contain_text("What about this?")
    expect(page.locator("#h-feedback + ul")).to_contain_text(HOSTILE)
    page.get_by_text("As it was sent").click()
    visit.shoot("call-content")
    page.get_by_role("link", name="Open it in the playground").click()
    expect(page.get_by_placeholder("Say something")).to_have_value(said[0]["content"])
    expect(page.locator("[data-model]")).to_have_value("lab/sim-echo")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("[data-outcome]")).to_contain_text("trace")
    assert json.loads(ferry.last_body())["messages"] == said
    other = ferry.chat("quick").header("x-ferryman-request-id")
    page.goto(f"{visit.url}/calls/{other}")
    expect(page.get_by_text("was not kept: the configuration does not ask for it")).to_be_visible()


def test_pages_of_calls_go_on_where_the_last_one_ended(visit: Visit, ferry: Stack) -> None:
    for _ in range(55):
        ferry.chat("lab/small")
    page = visit.go("/calls?model=lab%2Fsmall")
    first = {link.get_attribute("href") for link in page.locator("a.row").all()}
    page.get_by_role("link", name="Older calls").click()
    expect(page.locator("a.row")).to_have_count(5)
    second = {link.get_attribute("href") for link in page.locator("a.row").all()}
    assert len(first | second) == 55
    page.get_by_role("link", name="model: lab/small").click()
    expect(page.locator(".chip")).to_have_count(0)
    page.get_by_text("Add a filter").click()
    page.get_by_label("By", exact=True).fill("metadata.walk")
    page.get_by_label("is", exact=True).fill("-")
    page.get_by_label("Took at least, s").fill("0.001")
    visit.shoot("calls-filters")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("link", name="metadata.walk: -")).to_be_visible()
    expect(page.get_by_role("link", name="min_seconds: 0.001")).to_be_visible()


def test_a_key_is_shown_once_works_and_is_revoked(visit: Visit, ferry: Stack) -> None:
    page = visit.go("/keys")
    page.get_by_label("Name").fill("web & <b>shop</b>")
    page.get_by_role("button", name="Make a key").click()
    secret = page.locator("#secret").inner_text()
    page.locator(".secret").get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    visit.shoot("keys")
    assert ferry.post({"model": "quick", "messages": []}, key=secret).status != 401
    page.goto(visit.url + "/keys")
    expect(page.get_by_text(secret)).to_have_count(0)
    page.get_by_text("Replace web & <b>shop</b>").first.click()
    row = page.locator("tr").filter(has_text="web & <b>shop</b>")
    row.get_by_label("The old one works on for").select_option("No time")
    page.get_by_role("button", name="Replace web & <b>shop</b>").click()
    fresh = page.locator("#secret").inner_text()
    until(lambda: ferry.post({"model": "quick", "messages": []}, key=secret).status == 401, "out")
    assert ferry.post({"model": "quick", "messages": []}, key=fresh).status != 401
    page.get_by_text("Revoke web & <b>shop</b>").first.click()
    page.get_by_role("button", name="Revoke web & <b>shop</b>").click()
    expect(page.get_by_text("2 keys that ended")).to_be_visible()
    page.get_by_label("Name").fill("\u200b" * 101)
    with visit.expecting("400"):
        page.evaluate("document.querySelector('[name=name]').maxLength = 500")
        page.get_by_label("Name").fill("x" * 101)
        page.get_by_role("button", name="Make a key").click()
        expect(page.get_by_role("alert")).to_contain_text("100")


def test_a_key_is_bound_and_bound_anew(visit: Visit, ferry: Stack) -> None:
    page = visit.go("/keys")
    page.get_by_text("What its calls are held to").click()
    page.get_by_label("Name").fill("bound")
    form = page.locator("form[action='/keys']")
    form.get_by_label("Models").fill("quick, spare/*")
    form.get_by_label("Callers' networks").fill("127.0.0.0/8")
    page.get_by_role("button", name="Make a key").click()
    secret = page.locator("#secret").inner_text()
    until(lambda: ferry.post({"model": "slow", "messages": []}, key=secret).status == 403, "bound")
    row = page.locator("tr").filter(has=page.get_by_role("link", name="bound", exact=True))
    expect(row.locator("summary").first).to_contain_text("Models quick, spare/*;")
    row.locator("summary").first.click()
    visit.shoot("keys-bound")
    row.get_by_label("Models").fill("")
    row.get_by_role("button", name="Save the bounds of bound").click()
    expect(row.locator("summary").first).not_to_contain_text("Models")
    row.locator("summary").first.click()
    row.get_by_label("Endpoints").fill("chats")
    with visit.expecting("400"):
        row.get_by_role("button", name="Save the bounds of bound").click()
        expect(page.get_by_role("alert")).to_contain_text("there is none called 'chats'")


def test_the_reference_says_what_a_route_takes(visit: Visit) -> None:
    page = visit.go("/keys")
    page.get_by_role("link", name="API reference").click()
    for summary in ("POST /api/v1/keys Make", "GET /api/v1/calls Single"):
        page.get_by_text(summary).click()
    fields = page.get_by_role("table", name="Fields of NewKey")
    expect(fields.get_by_role("row", name="expires_in")).to_contain_text("30d")
    visit.shoot("reference")


def test_costs_lead_down_to_calls_and_out_as_csv(visit: Visit, ferry: Stack) -> None:
    ferry.chat("quick")
    page = visit.go("/costs?since=month")
    page.get_by_text("From one day to another").click()
    page.get_by_label("Days of").focus()
    expect(page.locator("#zones option").first).to_have_count(1)
    visit.shoot("costs")
    page.get_by_label("Days of").fill("Asia/Tokyo")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator(".sums tbody tr").first).to_contain_text("new")
    page.goto(visit.url + "/costs")
    page.get_by_role("link", name="quick", exact=True).click()
    expect(page.locator(".chip")).to_contain_text("quick")
    expect(page.locator(".sums tbody tr")).to_have_count(1)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="CSV").click()
    text = waiting.value.path().read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["provider"] for row in rows] == ["lab"]
    assert float(rows[0]["cost_usd"]) > 0
    page.get_by_role("link", name="Calls of lab").click()
    expect(page.locator(".calls tbody tr").first).to_contain_text("quick")


def test_models_are_found_and_tried_in_the_playground(visit: Visit, ferry: Stack) -> None:
    page = visit.go("/models")
    visit.shoot("models")
    page.goto(visit.url + "/models?q=lab%2F")
    page.get_by_role("link", name="Output /M").click()
    expect(page.locator(".catalogue tbody th").nth(0)).to_have_text("lab/small")
    expect(page.locator(".catalogue tbody th").nth(1)).to_have_text("lab/sim")
    page.get_by_label("Compare lab/small").check()
    page.get_by_label("Compare lab/sim", exact=True).check()
    page.get_by_role("button", name="Compare the chosen ones").click()
    page.get_by_label("Tokens in").fill("1000000")
    page.get_by_label("Tokens out").fill("0")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_role("row", name="This task")).to_contain_text("$0.10, ahead")
    visit.shoot("models-compared")
    page.get_by_role("link", name="Try them beside each other").click()
    expect(page.locator(".panel")).to_have_count(2)
    page.goto(visit.url + "/models")
    page.get_by_placeholder("A part of the name").fill("lab small")
    page.keyboard.press("Enter")
    expect(page.locator(".catalogue tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Try lab/small").click()
    page.get_by_role("button", name="Add a model beside it").click()
    page.keyboard.type("lab/sim-400")
    for model in ("lab/sim", "quick"):
        page.get_by_role("button", name="Add a model beside it").click()
        page.keyboard.type(model)
    expect(page.get_by_role("button", name="Add a model beside it")).to_be_disabled()
    page.get_by_placeholder("Say something").fill("Dear ferry, <script>alert(1)</script>")
    page.keyboard.press("Enter")
    first, second, third, fourth = page.locator(".panel").all()
    expect(first.locator("[data-outcome]")).to_contain_text("lab/small · $0.0000")
    expect(second.locator(".wrong")).to_be_visible()
    for panel in (third, fourth):
        expect(panel.locator("[data-outcome]")).to_contain_text("lab/sim · $0.000")
    first.get_by_role("button", name="Good answer").click()
    expect(first.locator("[data-outcome]")).to_contain_text("said to be good")
    ident = (first.get_by_role("link", name="trace").get_attribute("href") or "").split("/")[-1]
    path = f"/api/v1/calls/{ident}/feedback"
    said = until(lambda: ferry.admin("GET", path).json()["data"], "the word")
    assert [(each["key"], each["score"]) for each in said] == [("playground", 1)]
    expect(first.locator(".user")).to_have_text("Dear ferry, <script>alert(1)</script>")
    visit.faults = [fault for fault in visit.faults if "400" not in fault]
    page.get_by_role("button", name="curl").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl http://127.0.0.1:") and '"model":"lab/small"' in copied
    visit.shoot("playground")
    names = [key["name"] for key in ferry.admin("GET", "/api/v1/keys").json()["data"]]
    assert names.count("playground") == 1
    first.get_by_role("link", name="trace").click()
    expect(page.get_by_text("playground", exact=True)).to_be_visible()


def test_a_provider_can_be_added_when_calls_have_been_made(visit: Visit, ferry: Stack) -> None:
    ferry.chat("quick")
    page = visit.go("/models")
    page.get_by_role("link", name="Add a provider").click()
    expect(page.get_by_label("Its key")).to_be_visible()
    page.get_by_label("Its key").fill("env:X")
    with visit.expecting("400"):
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("Paste the key itself")
    visit.shoot("add-provider")
    page.locator("select[name=provider]").select_option("openai")
    page.get_by_label("Its key").fill("sk-0123456789")
    page.get_by_role("button", name="Add", exact=True).click()
    page.wait_for_url("**/models")
    expect(page.get_by_role("link", name="openai", exact=True)).to_be_visible()


def test_guards_are_shown_with_what_they_did(visit: Visit, ferry: Stack) -> None:
    said = [{"role": "user", "content": "Write to ann@example.org."}]
    masked = {"x-ferryman-metadata": '{"walk": "guards"}'}
    ident = ferry.chat("guarded", messages=said, headers=masked).header("x-ferryman-request-id")
    ferry.row(str(ident))
    page = visit.go("/guardrails")
    expect(page.get_by_role("region", name="mail")).to_contain_text("model guarded")
    visit.shoot("guardrails")
    page.get_by_role("link", name="Calls of mail, request, redacted").click()
    expect(page.locator(".calls tbody tr")).to_have_count(1)
    page.locator("a.row").click()
    expect(page.get_by_role("region", name="What guards said")).to_contain_text("redacted")
    visit.shoot("call-guarded")
    assert b'guard="mail",stage="request",action="redacted"} 1' in ferry.get("/metrics").body


def test_an_alert_is_seen_acknowledged_and_silenced(visit: Visit, ferry: Stack) -> None:
    engine = open_engine(f"sqlite:///{ferry.data / 'ferryman.db'}")
    over = Alert(
        id="alert_over", rule="latency", about="latency", subject="quick", severity="critical",
        title=f"The model {HOSTILE} is slow", detail="", opened_at=1_795_000_000,
        seen_at=1_795_000_000, resolved_at=1_795_003_600,
    )  # fmt: skip
    alerts.apply(engine, [Change(what="opened", alert=over)], 1_795_003_600)
    engine.dispose()
    ferry.chat("quick", max_tokens=5, headers={"x-ferryman-metadata": '{"walk": "alerts"}'})
    title = "100 % of the budget of web is spent"
    until(lambda: title in str(ferry.admin("GET", "/api/v1/alerts").json()), "the alert opens")
    page = visit.go("/keys")
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url("**/alerts")
    card = page.locator(".alerts li").filter(has_text=title)
    expect(card).to_contain_text("Nothing is refused.")
    expect(page.locator(".past")).to_contain_text(HOSTILE)
    card.get_by_role("button", name="Acknowledge").click()
    expect(card).to_contain_text("acknowledged")
    card.get_by_role("combobox").select_option("4 hours")
    card.get_by_role("button", name="Silence").click()
    expect(card).to_contain_text("silent until")
    visit.shoot("alerts")
    page.get_by_role("button", name="End the silence of budget").click()
    expect(card).not_to_contain_text("silent until")
    page.get_by_role("button", name="Test the channel ops").click()
    expect(page.get_by_role("status")).to_contain_text("took the test")
    with visit.expecting("400"):
        page.get_by_role("button", name="Test the channel dead").click()
        expect(page.get_by_role("alert")).to_contain_text("refused")


def test_the_theme_stays_as_it_was_chosen(visit: Visit) -> None:
    page = visit.go("/keys")
    page.keyboard.press("t")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.goto(visit.url + "/costs")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()


def test_what_is_not_there_says_so(visit: Visit) -> None:
    page = visit.page
    with visit.expecting("404"):
        page.goto(visit.url + "/calls/req_nothing")
    expect(page.get_by_role("alert")).to_contain_text("No call has the id 'req_nothing'")
    with visit.expecting("400"):
        page.goto(visit.url + "/calls?since=yesterday")
    expect(page.get_by_role("alert")).to_contain_text("Write a duration")
    page.goto(visit.url + "/calls?q=nothing-has-this")
    expect(page.get_by_text("No call fits.")).to_be_visible()
    visit.shoot("nothing")


def test_a_user_signs_in_by_name_and_sees_what_their_role_may(visit: Visit) -> None:
    page = visit.go("/users")
    form = page.locator('form[action="/users"]')
    form.get_by_label("Name").fill("anna@example.com")
    form.get_by_label("Role").select_option("viewer")
    form.get_by_label("Password").fill("correct horse battery")
    form.get_by_role("button", name="Make a user").click()
    expect(page.get_by_role("status")).to_have_text("anna@example.com is a user now.")
    form = page.locator('form[action="/users/tokens"]')
    form.get_by_label("What for").fill("sales report")
    form.get_by_role("button", name="Make a token").click()
    expect(page.locator("#secret")).to_contain_text("fma-")
    page.get_by_text("Change anna@example.com").click()
    visit.shoot("users")
    page.get_by_text("Revoke sales report").first.click()
    page.get_by_role("button", name="Revoke sales report").click()
    expect(page.get_by_role("status")).to_have_text("The token sales report is revoked.")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="As the owner")).to_be_visible()
    page.get_by_label("Name").fill("Anna@example.com")
    page.get_by_label("Password").fill("a wrong password")
    with visit.expecting("401"):
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The name or the password is not right.")
    visit.shoot("enter")
    page.get_by_label("Password").fill("correct horse battery")
    page.keyboard.press("Enter")
    menu = page.get_by_role("navigation", name="Pages").get_by_role("link")
    expect(menu).to_have_text(["Now", "Calls", "Costs", "Models", "Limits", "Alerts"])
    with visit.expecting("403"):
        page.goto(visit.url + "/keys")
        expect(page.get_by_role("alert")).to_contain_text("takes the permission keys.read")
    page.goto(visit.url + "/alerts")
    expect(page.get_by_role("button", name="Silence")).to_have_count(0)
