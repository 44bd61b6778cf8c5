"""Limits that are the same for all calls of a key and model: found once, and kept in mind."""

from pathlib import Path

from tests.flow.test_scopes import made
from tests.gateway import Stack, asked, error_of
from tests.processes import Reply, until

CONFIG = """\
providers:
  lab: { base_url: SIM/v1, auth: none, prices: { sim: { input: 0, output: 0, request: 1 } } }
models:
  one: lab/sim
  two: lab/sim
limits:
  - { name: models, by: [key, model], requests: { most: 900, per: day } }
  - { name: keys, by: key, requests: { most: 901, per: day }, tokens: { most: 1000000, per: day } }
  - { name: sales, when: { team: sales }, by: team, requests: { most: 1, per: day } }
policies:
  - { name: night, when: { metadata.case: night }, budget: { usd: 2, per: month } }
"""


def _left(reply: Reply) -> tuple[str | None, str | None]:
    most, left = (f"x-ratelimit-{name}-requests" for name in ("limit", "remaining"))
    return reply.header(most), reply.header(left)


def test_what_is_kept_in_mind_follows_model_policy_and_the_facts_of_keys(tmp_path: Path) -> None:
    with Stack(tmp_path, CONFIG).served() as stack:
        key, secret = made(stack)
        _, other = made(stack)

        def call(model: str, whose: str = secret, case: str = "") -> Reply:
            headers = {"x-ferryman-metadata": f'{{"case": "{case}"}}'}
            return stack.post(asked(model), key=whose, headers=headers)

        assert _left(call("one")) == ("900", "899")
        assert _left(call("one")) == ("900", "898")
        assert _left(call("two")) == ("901", "898")  # now the key's has less left than the model's
        assert _left(call("two", other)) == ("900", "899")
        night = call("two", other, "night")
        assert night.header("x-ferryman-budget-left-usd") == "1"
        assert call("two", other, "night").header("x-ferryman-budget-left-usd") == "0"
        assert error_of(call("two", other, "night"))["code"] == "budget_exceeded"
        assert call("two", other).header("x-ferryman-budget-left-usd") is None
        assert stack.admin("PATCH", f"/api/v1/keys/{key}", {"team": "sales"}).status == 200
        until(lambda: _left(call("one")) == ("1", "0"), "it holds")
        refused = call("one")
        assert (refused.status, "'sales'" in error_of(refused)["message"]) == (429, True)
        assert call("one", other).status == 200
