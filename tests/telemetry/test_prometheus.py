"""``/metrics`` as the official client reads it, of several workers, and what reads it in turn."""

import json
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ferryman.telemetry.metrics import MAX_SERIES
from ferryman.telemetry.native import ZERO
from tests import tree
from tests.flow.test_shared_limits import gateways
from tests.gateway import Stack
from tests.processes import Reply, request, until
from tests.telemetry.test_native import ASKED, buckets, families

CONFIG = """\
server: { workers: 2 }
providers: { lab: { base_url: SIM/v1, auth: none } }
models: { two: { targets: [lab/sim-503, lab/sim] } }
"""
NATIVE = "telemetry: { native_histograms: true }\n"


def samples(page: bytes) -> dict[str, Any]:
    """Name → values of labels, sorted by their names → number, as a ``Counter``."""
    found: dict[str, Any] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, Counter()), sample
            found[sample.name][labels] = sample.value
    return found


def test_sums_of_workers_never_fall(tmp_path: Path) -> None:
    """Not when one is killed, not while it is away, not when it begins anew. Nor do native
    histograms, for who asks for them, and as long as they are switched on."""
    with Stack(tmp_path, CONFIG + NATIVE).served() as stack:
        until(lambda: len(gateways(stack)) == 2, "two workers")

        def asked() -> Reply:
            token, headers = stack.metrics_token, {"accept": ASKED.decode() + ", */*;q=0.1"}
            reply = request(stack.url, "GET", "/metrics", token=token, headers=headers)
            assert reply.headers["vary"] == "accept"
            return reply

        def total() -> tuple[float, ...]:
            page = stack.get("/metrics").body
            assert b"native" not in page
            found = samples(page)
            calls = found["ferryman_calls_total"].total()
            assert found["ferryman_call_seconds_count"].total() == calls
            fine = families(asked().body)
            counts = [
                [buckets(metric.histogram) for metric in fine[f"ferryman_{name}"].metric]
                for name in ("call_seconds", "overhead_seconds")
            ]
            assert not any(ZERO in each for each in counts[0]), "all were counted by their times"
            return calls, *(sum(sum(each.values()) for each in found) for found in counts)

        def called(count: int) -> None:
            assert {stack.chat("lab/sim").status for _ in range(count)} == {200}

        called(30)
        until(lambda: set(total()) == {30}, "the calls of both")
        killed = gateways(stack)[1]
        os.kill(killed, signal.SIGKILL)
        seen = []

        def again() -> bool:
            try:
                seen.extend(total())
            except OSError:  # the connection was the dead one's
                return False
            return len(gateways(stack)) == 2 and killed not in gateways(stack)

        until(again, "it is started again")
        stack.up.wait_for("is ready again")
        assert set(seen) == {30}
        called(10)
        until(lambda: set(total()) == {40}, "what was, and what came")
        stack.write(CONFIG)
        until(lambda: asked().headers["content-type"].startswith("text/plain"), "switched off")
        stack.up.lines[:] = [line for line in stack.up.lines if " ended (" not in line]


def test_what_went_wrong_and_how_long_the_first_token_took(stack: Stack) -> None:
    before = samples(stack.get("/metrics").body)
    assert stack.stream("lab-then-spare").status == 200
    assert stack.chat("lab/sim-500").status == 500
    after = samples(stack.get("/metrics").body)

    def new(name: str) -> Any:
        return after[name] - before.get(name, Counter())

    assert new("ferryman_attempts_total") == {("", "lab"): 1, ("upstream_error", "lab"): 1}
    assert new("ferryman_call_errors_total") == {("upstream_error", "lab"): 1}
    assert new("ferryman_first_token_seconds_count").total() == 1
    assert new("ferryman_calls_total").total() == 2


def test_values_that_callers_make_up_become_no_labels(stack: Stack) -> None:
    for number in range(40):
        headers = {"x-ferryman-metadata": f'{{"made-up": "value-{number}"}}'}
        assert stack.chat(f"lab/sim-404+tokens={100 + number}", headers=headers).status == 404
    page = stack.get("/metrics").body
    assert b"made-up" not in page
    assert b"404+tokens=1" not in page
    assert len(samples(page)["ferryman_calls_total"]) < MAX_SERIES


def _expressions() -> dict[str, str]:
    """All PromQL in deploy/, by where it stands."""
    found = {}
    rules = (tree.ROOT / "deploy/prometheus/ferryman.rules.yml").read_text()
    for name, text in re.findall(
        r"- alert: (\w+)\n\s+expr: (?:\|\n)?(.*?)\n\s+(?:for|labels):", rules, re.S
    ):
        found[name] = text
    assert rules.count("alert:") == len(found)
    dashboard = json.loads((tree.ROOT / "deploy/grafana/ferryman.json").read_text())
    for panel in dashboard["panels"]:
        for number, target in enumerate(panel.get("targets", ())):
            found[f"{panel['title']} {number}"] = target["expr"]
    return found


@pytest.fixture(scope="module")
def known(stack: Stack) -> dict[str, Any]:
    """All series of both planes, once calls have gone well and ill."""
    stack.stream("lab/sim")
    stack.chat("lab/sim-500")
    url = (stack.data / "admin-url").read_text().strip()
    other = request(url, "GET", "/metrics", token=stack.metrics_token)  # the same at both planes
    pages = stack.get("/metrics").body + other.body
    return {
        name.removesuffix(" counter"): None
        for name in re.findall(r"# TYPE (\S+ counter|\S+)", pages.decode())
    } | {
        sample.name if not sample.name.endswith("_created") else family.name: sample
        for family in text_string_to_metric_families(pages.decode())
        for sample in family.samples
    }  # fmt: skip


@pytest.mark.parametrize("where", _expressions())
def test_rules_and_dashboard_ask_for_what_there_is(where: str, known: dict[str, Any]) -> None:
    text = _expressions()[where]
    names = re.findall(r"\bferryman_\w+", text)
    assert names
    assert not [name for name in names if name not in known]
    for left, right in ("()", "[]", "{}"):
        assert text.count(left) == text.count(right), text
    labels = {"job", "instance", "le"}.union(*(s.labels for n in names if (s := known[n])))
    asked = [each for inner in re.findall(r"\{([^}]*)\}", text)
             for each in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inner)]  # fmt: skip
    for inner in re.findall(r"\b(?:by|without|on|ignoring|group_left)\s*\(([^)]*)\)", text):
        asked += re.findall(r"\w+", inner)
    if all(known[name] is not None for name in names):
        assert set(asked) <= labels, where
