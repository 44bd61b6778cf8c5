"""Where calls go, what they may take, and how all of it stands, in a real Chromium."""

import base64
import csv
import io
import json
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests import npm
from tests.dashboard.visit import Visit
from tests.flow.test_docs import needs_curl
from tests.gateway import KEY, LAB_KEY, SPARE_KEY, Stack
from tests.processes import environment, request, until

CONFIG = """\
providers:
  lab:
    base_url: SIM/v1
    key: env:LAB_KEY
    prices:
      sim: { input: 1, output: 2 }
      small: { input: 0.1, output: 0.4 }
      sim?delay=4000: { input: 1, output: 2 }
      sim-503: { input: 1, output: 2 }
      sim-tools: { input: 1, output: 2 }
  spare:
    base_url: SIM/v1
    key: env:SPARE_KEY
    auth: header:x-spare-key
    prices: { sim: { input: 1, output: 2 } }
  asleep: { base_url: SIM/v1, key: env:A_VARIABLE_NOBODY_SETS }
models:
  quick: lab/sim
  share: { targets: [lab/sim, lab/small], strategy: weighted, weights: { lab/sim: 3 } }
  plan-b: { targets: [lab/sim-503], fallbacks: [spare/sim, asleep/sim] }
  nested: { targets: [share, spare/sim], strategy: least_loaded }
policies:
  - { name: drafts, when: { metadata.task: draft }, use: share }
  - { name: night, when: { metadata.task: night }, forbid: Not <b>at night</b>. }
limits:
  - { name: each-key, by: key, requests: 600/minute, parallel: 20 }
  - name: teams
    by: metadata.team
    budget: [{ usd: 0.01, per: day }, { tokens: 90000, per: month, soft: true }]
"""
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def ferry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("plan"), CONFIG).served() as running:
        running.chat("quick", max_tokens=10)
        for _ in range(4):
            running.chat("plan-b", max_tokens=10)
        yield running


def test_the_plan_is_drawn_and_a_weight_is_changed_and_taken_back(
    visit: Visit, ferry: Stack
) -> None:
    page = visit.go("/")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/routes")
    drawn = page.locator(".map")
    expect(drawn.locator(".box.policy")).to_contain_text("drafts: metadata.task: draft")
    expect(drawn.locator("text.share", has_text="75%")).to_have_count(1)
    expect(drawn.locator(".box.h-off")).to_have_count(1)
    unwell = drawn.locator(".box:is(.h-shaky, .h-failing, .h-resting)")
    expect(unwell).to_have_text(re.compile("lab/sim-503 *(shaky|failing|resting)"))
    expect(drawn.locator(".box.h-well")).to_have_count(4)
    expect(page.get_by_role("row").filter(has_text="night")).to_contain_text("<b>at night</b>")
    visit.shoot("routes")
    card = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="share"))
    card.get_by_text("Change weights").click()
    card.get_by_label("lab/small").fill("9")
    card.get_by_role("button", name="Set weights").click()
    page.wait_for_url("**/routes/versions/*")
    expect(page.locator(".diff .add").filter(has_text="lab/small: 9")).to_be_visible()
    expect(page.get_by_text("in force", exact=True)).to_be_visible()
    visit.shoot("version")
    assert "lab/small: 9" in ferry.admin("GET", "/api/v1/config").json()["text"]
    page.get_by_role("button", name="Take it back").click()
    expect(page.locator(".diff .del").filter(has_text="lab/small: 9")).to_be_visible()
    assert "lab/small: 9" not in ferry.admin("GET", "/api/v1/config").json()["text"]
    page.goto(visit.url + "/routes/versions")
    expect(page.get_by_role("row").nth(1)).to_contain_text("back to version")
    visit.shoot("versions")


def test_the_text_is_checked_at_its_line_and_applied_after_its_difference(
    visit: Visit, ferry: Stack
) -> None:
    page = visit.go("/routes/edit")
    text = page.get_by_label("Configuration, as YAML")
    good = text.input_value()
    old = "quick: lab/sim\n"
    bad = good.replace(old, f"{old}  new: {{ targets: [], strategi: cost }}\n")
    text.fill(bad)
    line = 1 + bad[: bad.index("  new:")].count("\n")
    expect(page.locator("[data-problems] li").first).to_contain_text(f"line {line}")
    expect(page.locator("[data-problems]")).to_contain_text("strategy")
    expect(page.locator(".gutter .error")).to_have_text(re.compile(rf"{line}\s*"))
    visit.shoot("routes-edit")
    with visit.expecting("422"):
        page.get_by_role("button", name="Show what changes").click()
        expect(page.get_by_text("Not good yet")).to_be_visible()
    text.fill(good.replace(old, f"{old}  new: lab/small\n"))
    expect(page.get_by_text("Would change models/new")).to_be_visible()
    page.get_by_label("Note").fill("a <i>new</i> one")
    page.get_by_role("button", name="Show what changes").click()
    expect(page.locator(".diff .add")).to_contain_text("new: lab/small")
    visit.shoot("routes-review")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**/routes/versions/*")
    expect(page.get_by_text("a <i>new</i> one")).to_be_visible()
    assert ferry.chat("new", max_tokens=10).status == 200
    stale = visit.context.new_page()
    stale.goto(visit.url + "/routes/edit")
    page.get_by_role("button", name="Take it back").click()
    stale.get_by_label("Configuration, as YAML").fill(good + "timeouts: { total: 9m }\n")
    stale.get_by_role("button", name="Show what changes").click()
    expect(stale.get_by_role("alert")).to_contain_text("came into force while you were writing")
    stale.close()


def test_a_request_is_explained(visit: Visit) -> None:
    page = visit.go("/routes/explain")
    page.get_by_label("Model").fill("plan-b")
    page.get_by_text("Headers and body").click()
    page.get_by_label("Headers, one a line").fill('x-ferryman-metadata: {"task": "draft"}')
    page.get_by_role("button", name="Explain", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="drafts").first).to_contain_text("yes")
    expect(page.get_by_role("row").filter(has_text="lab/small")).to_contain_text("target")
    expect(page.get_by_role("row").filter(has_text="teams · -").first).to_contain_text("yes")
    visit.shoot("explain")
    with visit.expecting("400"):
        page.get_by_label("Body, JSON").fill("{")
        page.get_by_role("button", name="Explain", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("not JSON")


def test_budgets_stand_as_bars_and_are_raised_for_a_while(visit: Visit, ferry: Stack) -> None:
    team = {"x-ferryman-metadata": '{"team": "red|<i>blue</i>"}'}
    for _ in range(3):
        ferry.chat("quick", headers=team, max_tokens=500)
    slow = threading.Thread(
        target=lambda: ferry.stream("lab/sim?delay=4000", headers=team, max_tokens=400)
    )
    page = visit.go("/limits")
    row = page.get_by_role("row").filter(has_text="$0.01 per day").filter(has_text="<i>blue</i>")
    expect(row).to_contain_text("teams")
    expect(row.get_by_role("img")).to_have_attribute("aria-label", re.compile("% taken"))
    limits = page.get_by_role("table", name="Limits, those")
    expect(limits).to_contain_text("requests per minute")
    visit.shoot("limits")
    slow.start()
    until(lambda: _held(visit, row), "a call under way that holds something")
    slow.join()
    card = page.locator(".raise .card").filter(has_text="$0.01 per day")
    card.get_by_label("USD more").fill("0.5")
    card.get_by_role("button", name="Raise").click()
    page.wait_for_url("**/routes/versions/*")
    expect(page.locator(".diff .add").last).to_contain_text("increase: { usd: 0.5, until:")
    page.goto(visit.url + "/limits")
    expect(card).to_contain_text("raised by $0.5 until")
    until(lambda: "0.51" in _limits(ferry), "the raised budget")
    card.get_by_role("button", name="End it").click()
    page.wait_for_url("**/routes/versions/*")
    assert "increase" not in ferry.admin("GET", "/api/v1/config").json()["text"]
    page.goto(visit.url + "/limits")
    card.get_by_label("USD more").fill("lots")
    with visit.expecting("400"):
        card.get_by_role("button", name="Raise").click()
        expect(page.get_by_role("alert")).to_contain_text("such as 10")


def test_teams_are_a_tree_and_a_key_moves(visit: Visit, ferry: Stack) -> None:
    made = {"name": "bot", "organisation": "acme", "team": "research", "user": "ada"}
    bot = ferry.admin("POST", "/api/v1/keys", made).json()
    ferry.admin("POST", "/api/v1/keys", made | {"name": "cli", "team": "sales & <b>co</b>"})
    hello = [{"role": "user", "content": "Hi"}]
    asked = {"model": "quick", "messages": hello, "max_tokens": 10}
    until(lambda: ferry.post(asked, key=bot["key"]).status == 200, "the new key")
    page = visit.go("/teams")
    acme = page.locator(".tree li").filter(has_text="acme").first
    expect(acme.locator("summary").first).to_contain_text("2 keys")
    expect(acme.locator("summary").first).to_contain_text("$0.0")
    expect(acme).to_contain_text("sales & <b>co</b>")
    visit.shoot("teams")
    leaf = page.locator(".leaf").filter(has_text="bot")
    leaf.get_by_text("Move").click()
    leaf.get_by_label("Team").fill("lab")
    leaf.get_by_role("button", name="Save").click()
    expect(page.locator("summary").filter(has_text="lab")).to_be_visible()
    keys = {key["name"]: key for key in ferry.admin("GET", "/api/v1/keys").json()["data"]}
    assert (keys["bot"]["team"], keys["bot"]["organisation"]) == ("lab", "acme")


def _held(visit: Visit, row: Locator) -> bool:
    visit.page.reload()
    return row.locator(".held").count() == 1


def _limits(ferry: Stack) -> str:
    """What the data plane says of its limits."""
    token = (ferry.data / "secrets" / "feed-token").read_text().strip()
    return request(ferry.url, "GET", "/internal/limits", token=token).body.decode()


def test_the_audit_log_says_who_did_what(visit: Visit, ferry: Stack) -> None:
    ferry.admin("POST", "/api/v1/keys", {"name": "<i>odd</i>"})
    page = visit.go("/audit")
    row = page.get_by_role("row").filter(has_text="key.create").first
    expect(row).to_contain_text("admin")
    row.get_by_text("Show").click()
    expect(row).to_contain_text("<i>odd</i>")
    visit.shoot("audit")
    page.get_by_label("Outcome").select_option("refused")
    page.wait_for_url("**outcome=refused**")
    page.get_by_label("Who").fill("nobody at all")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#main")).to_contain_text("No entry fits.")


def test_settings_say_where_things_are_and_never_what_secrets_are(
    visit: Visit, ferry: Stack
) -> None:
    page = visit.go("/settings")
    main = page.locator("#main")
    for said in (str(ferry.data), str(ferry.file), ferry.url, visit.url, "SQLite", "pepper"):
        expect(main).to_contain_text(said)
    plane = page.get_by_role("row").filter(has_text="gateway").filter(has_text="version")
    expect(plane).to_contain_text("all")
    expect(page.get_by_role("row").filter(has_text="env:A_VARIABLE")).to_contain_text("no")
    expect(page.get_by_role("row").filter(has_text="env:LAB_KEY")).to_contain_text("yes")
    text = page.content()
    secrets = [path.read_text().strip() for path in (ferry.data / "secrets").iterdir()]
    assert not [secret for secret in (*secrets, LAB_KEY, SPARE_KEY) if secret in text]
    visit.shoot("settings")
    page.get_by_role("button", name="Make a link").click()
    way_in = page.locator("[data-link]").inner_text()
    guest = visit.browser.new_context()
    other = guest.new_page()
    other.goto(visit.url + way_in)
    other.wait_for_url(visit.url + "/")
    page.goto(visit.url + "/settings")
    page.get_by_role("button", name="Sign out everybody else").click()
    expect(page.get_by_text("1 session open")).to_be_visible()
    other.goto(visit.url + "/keys")
    expect(other.get_by_text("ferryman dashboard")).to_be_visible()
    guest.close()


def test_costs_are_asked_by_what_calls_say_and_leave_as_focus(visit: Visit, ferry: Stack) -> None:
    said = {"x-ferryman-metadata": '{"task": "=sum(1)", "app": "shop"}', "x-ferryman-tags": "a,b"}
    ferry.chat("quick", headers=said, max_tokens=10)
    page = visit.go("/costs?by=task&since=7d")
    row = page.locator(".sums tbody tr").filter(has_text="=sum(1)")
    expect(row).to_contain_text("$0.0")
    expect(page.get_by_text("Budgets", exact=True)).to_be_visible()
    expect(page.get_by_text("all there was time for")).to_have_count(0)
    visit.shoot("costs-by-task")
    row.get_by_role("link", name="Calls of").click()
    expect(page.locator(".calls tbody tr")).to_have_count(1)
    page.goto(visit.url + "/costs?by=tag")
    expect(page.get_by_text("counts with each of them")).to_be_visible()
    page.get_by_label("or metadata").fill("app")
    page.get_by_role("button", name="Show").click()
    page.locator(".sums").get_by_role("link", name="shop", exact=True).click()
    expect(page.locator(".chip")).to_contain_text("metadata.app: shop")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="FOCUS").click()
    rows = list(csv.DictReader(io.StringIO(waiting.value.path().read_text())))
    assert rows and {row["ProviderName"] for row in rows} == {"lab"}
    assert "=sum(1)" in rows[0]["Tags"]
    assert sum(float(row["BilledCost"]) for row in rows) > 0


def test_calls_are_found_by_anything_and_a_view_is_kept(visit: Visit, ferry: Stack) -> None:
    said = {"x-ferryman-metadata": '{"task": "needle-7"}'}
    ferry.chat("quick", headers=said, max_tokens=10)
    page = visit.go("/calls?q=NEEDLE-7")
    expect(page.locator(".calls tbody tr")).to_have_count(1)
    page.get_by_text("Save this view").click()
    page.get_by_label("Name").fill("<i>needles</i>")
    page.get_by_role("button", name="Save").click()
    page.goto(visit.url + "/calls")
    page.get_by_role("link", name="<i>needles</i>").click()
    expect(page.locator(".calls tbody tr")).to_have_count(1)
    visit.shoot("calls-view")
    page.get_by_text("Save or forget").click()
    page.get_by_label("Name").fill("<i>needles</i>")
    page.get_by_role("button", name="Forget").click()
    expect(page.get_by_role("link", name="<i>needles</i>")).to_have_count(0)


def test_the_playground_sends_images_and_tools(visit: Visit, ferry: Stack) -> None:
    page = visit.go("/playground?model=lab/sim-tools")
    page.locator("[data-files]").set_input_files(
        [{"name": "dot.png", "mimeType": "image/png", "buffer": PNG}]
    )
    expect(page.get_by_role("button", name="Take image 1 away")).to_be_visible()
    page.locator("[data-files]").set_input_files(
        [{"name": "big.png", "mimeType": "image/png", "buffer": bytes(2_100_000)}]
    )
    expect(page.get_by_text("big.png is over 2 MB.")).to_be_visible()
    page.get_by_text("Settings and tools").click()
    page.get_by_label("Most tokens").fill("50")
    page.get_by_label("Tools, as JSON").fill("{")
    page.get_by_placeholder("Say something").fill("What is the weather?")
    page.keyboard.press("Enter")
    expect(page.locator(".say")).to_have_count(0)
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    page.get_by_label("Tools, as JSON").fill(json.dumps(tools))
    page.get_by_role("button", name="Python").click()
    assert "data:image/png" in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("[data-outcome]")).to_contain_text("trace")
    sent = json.loads(ferry.last_body())
    assert sent["tools"] == tools and sent["max_tokens"] == 50
    assert sent["messages"][-1]["content"][1]["image_url"]["url"].startswith("data:image/png")
    visit.shoot("playground-tools")
    result = page.get_by_label("Result of weather")
    expect(result).to_be_visible()
    result.fill("12 degrees")
    page.get_by_placeholder("Say something").fill("And so?")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".say.user")).to_have_count(2)
    until(lambda: json.loads(ferry.last_body())["messages"][-1]["content"] == "And so?", "it")
    [asked, told] = json.loads(ferry.last_body())["messages"][1:3]
    assert told == {
        "role": "tool", "tool_call_id": asked["tool_calls"][0]["id"], "content": "12 degrees",
    }  # fmt: skip


@needs_curl
def test_what_is_copied_makes_the_same_call_in_each_language(
    visit: Visit, ferry: Stack, tmp_path: Path, request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    said = 'It\'s $HOME, `id`, \\n, "50 %" – ß'
    tool = {"name": "weather", "strict": False, "parameters": {"type": "object", "default": None}}
    tools = [{"type": "function", "function": tool}]
    page = visit.go("/playground?model=quick")
    page.get_by_text("Settings and tools").click()
    page.get_by_label("System prompt").fill("Say 'so'.")
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_label("Most tokens").fill("7")
    page.get_by_label("Tools, as JSON").fill(json.dumps(tools))
    manifest = Path(__file__).parents[1] / "sdk" / "node" / "package.json"
    packages = npm.installed(manifest, request, tmp_path_factory)
    (tmp_path / "node_modules").symlink_to(packages)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    names = {"curl": "call.sh", "Python": "call.py", "JS": "call.js"}
    programs = {"curl": ["sh", "-e"], "Python": [sys.executable], "JS": ["node"]}
    proxies = {"HTTP_PROXY": "", "HTTPS_PROXY": "", "NODE_USE_ENV_PROXY": ""}
    env = environment(tmp_path, FERRYMAN_KEY=KEY, **proxies)
    for language, name in names.items():
        page.get_by_placeholder("Say something").fill(f"{said} {language}")
        button = page.get_by_role("button", name=language, exact=True)
        button.click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        (tmp_path / name).write_text(page.evaluate("navigator.clipboard.readText()"))
        answer = npm.finished([*programs[language], name], tmp_path, env)
        assert answer.strip(), language
        sent = json.loads(ferry.last_body())
        assert sent["messages"] == [
            {"role": "system", "content": "Say 'so'."},
            {"role": "user", "content": f"{said} {language}"},
        ]
        assert (sent["tools"], sent["temperature"], sent["max_tokens"]) == (tools, 0.5, 7), language
        expect(button).to_be_visible()


def test_organisations_and_teams_are_made_and_get_limits(visit: Visit, ferry: Stack) -> None:
    page = visit.go("/teams")
    for name, organisation in (("north", ""), ("crew", "north")):
        page.get_by_label("New name").fill(name)
        if organisation:
            page.get_by_label("Team of").select_option(organisation)
        page.get_by_role("button", name="Make", exact=True).click()
        expect(page.get_by_role("rowheader", name=name)).to_be_visible()
    forms = page.get_by_role("form", name="Set what they may take")

    def put(team: str, usd: str) -> None:
        forms.get_by_label("Organisation").fill("north")
        forms.get_by_label("Team").fill(team)
        forms.get_by_label("USD at most").fill(usd)
        forms.get_by_role("button", name="Set").click()

    put("", "20")
    expect(page.get_by_role("row").filter(has_text="organisation")).to_contain_text("20 USD per m")
    with visit.expecting("409"):
        put("crew", "30")
        expect(page.get_by_role("alert")).to_contain_text("30 USD per month is more than 20 USD")
    page.goto(visit.url + "/teams")
    put("crew", "10")
    row = page.get_by_role("row").filter(has_text="crew")
    expect(row).to_contain_text("team of north")
    expect(row).to_contain_text("10 USD per month")
    visit.shoot("records")
    row.get_by_role("button", name="Archive crew").click()
    expect(page.get_by_role("row").filter(has_text="crew")).to_contain_text("archived")
    rows = ferry.admin("GET", "/api/v1/limits/delegated").json()["data"]
    assert {each["name"] for each in rows} == {"organisation:north", "team:north/crew"}
