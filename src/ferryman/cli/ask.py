"""The commands that ask the running control plane, and how their answers look."""

import sys
from typing import Any, Final

from rich.text import Text

from ferryman.cli.output import print_json
from ferryman.cli.show import (
    Column,
    at_least,
    console,
    count,
    duration,
    local_time,
    printable,
    table,
)
from ferryman.client import ApiError, Client
from ferryman.client.bounds import Bounds
from ferryman.client.documents import Call, Key, KeyChange, MadeKey, NewKey, Rotation

Row = dict[str, Any]
INPUT: Final = (
    "input", "cache_read", "cache_write", "cache_write_1h", "audio_input", "audio_cache_read",
    "image_input",
)  # fmt: skip
WHEN: Final = "Calls show up here within a second of their end."
OUTPUT: Final = ("output", "reasoning", "audio_output", "image_output")
"""The disjoint classes that make up all input and all output tokens (``ir.usage.Usage``)."""


def facts(
    organisation: str | None, team: str | None, user: str | None, tags: list[str] | None
) -> Row:
    """What was given of a key's facts, as the admin API has them."""
    found: Row = {"organisation": organisation, "team": team, "user": user}
    if tags is not None:
        found["tags"] = [tag for tag in tags if tag]
    return {name: value for name, value in found.items() if value is not None}


def bounds(
    models: list[str] | None,
    providers: list[str] | None,
    endpoints: list[str] | None,
    regions: list[str] | None,
    data_policy: list[str] | None,
    tags: list[str] | None,
    networks: list[str] | None,
) -> Row:
    """What was given of a key's bounds, the same way."""
    given = {
        "models": models, "providers": providers, "endpoints": endpoints, "regions": regions,
        "data_policy": data_policy, "tags": tags, "networks": networks,
    }  # fmt: skip
    found = {name: entries(texts) for name, texts in given.items() if texts is not None}
    return {"bounds": Bounds(**found)} if found else {}


def entries(texts: list[str]) -> list[str]:
    """Those of a list that may be given one by one, or with commas between."""
    return [entry for text in texts for each in text.split(",") if (entry := each.strip())]


def create_key(
    client: Client, name: str, expires: str | None, facts: Row, *, as_json: bool
) -> None:
    """``ferryman keys create``: the only time the key itself is shown."""
    if expires:
        # 30d counts from now; anything else is a point in time.
        facts = facts | {"expires_in" if expires.strip()[-1:].isalpha() else "expires_at": expires}
    _show_made(client.create_key(NewKey(name=name, **facts)), as_json=as_json)


def rotate_key(client: Client, key: str, overlap: str, *, as_json: bool) -> None:
    """``ferryman keys rotate``."""
    _show_made(client.rotate_key(key, Rotation(overlap=overlap)), as_json=as_json)


def _show_made(made: MadeKey, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    out = console()
    until = f", until {made.expires_at}" if made.expires_at else ""
    if out.is_terminal:
        out.print(Text(f"Key for {printable(made.name)} ({made.id}){until}. Keep it safe:"))
        out.print(Text("it can't be shown again."))
    # On a line of its own, and alone on standard output in a pipe: KEY=$(ferryman keys create x)
    sys.stdout.write(("\n" if out.is_terminal else "") + made.key + "\n")


def link(client: Client) -> None:
    """``ferryman dashboard``: a link on a line of its own."""
    token = client.link().token
    # Behind the # it stays in the browser: no server and no proxy sees it in an address.
    sys.stdout.write(f"{client.url}/enter#{token}\n")


def sign_out(client: Client) -> None:
    """``ferryman dashboard --sign-out``."""
    gone = client.sign_out().sessions
    console().print(Text(f"{gone} {'session is' if gone == 1 else 'sessions are'} ended."))


def list_keys(client: Client, *, as_json: bool) -> None:
    """``ferryman keys list``."""
    keys = list(client.keys())
    if as_json:
        print_json(keys)
        return
    out = console()
    if not keys:
        out.print("No keys yet. Make one: ferryman keys create NAME")
        return
    whose_columns = [
        title
        for title in ("Organisation", "Team", "User")
        if any(getattr(key, title.lower()) for key in keys)
    ]
    bound = any(key.bounds for key in keys)
    columns = [
        Column("Name", style="bold"),
        Column("Id", drop=2),
        Column("State"),
        *(Column(title, drop=4) for title in whose_columns),
        *([Column("Bounds", drop=6)] if bound else []),
        Column("Created", drop=3),
        Column("Last used", drop=5),
        Column("Expires", drop=1),
    ]
    rows = [
        [
            key.name,
            key.id,
            key.state,
            *(getattr(key, title.lower()) or "" for title in whose_columns),
            *([bounds_text(key)] if bound else []),
            local_time(key.created_at),
            local_time(key.last_used_at) or "never",
            local_time(key.expires_at) or "never",
        ]
        for key in keys
    ]
    table(columns, rows, out)


def bounds_text(key: Key) -> str:
    """What a key is bound to, on one line; empty = nothing."""
    said = key.bounds.said() if key.bounds else {}
    return "; ".join(f"{name} {', '.join(given)}" for name, given in said.items())


def set_key(client: Client, key: str, facts: Row, *, as_json: bool) -> None:
    """``ferryman keys set``."""
    if not facts:
        raise ApiError("Say what to set: --organisation, --team, --user, --tag or a bound.")
    now = client.change_key(key, KeyChange(**facts))
    if as_json:
        print_json(now)
        return
    facts = {name: getattr(now, name) for name in ("organisation", "team", "user")}
    said = [f"{name} {value}" for name, value in facts.items() if value]
    if now.tags:
        said.append(f"tags {', '.join(now.tags)}")
    if now.bounds:
        said.append(f"bound to {bounds_text(now)}")
    text = f"{now.name} ({now.id}): {'; '.join(said) or 'nobody is named'}."
    console().print(Text(printable(text)))


def revoke_key(client: Client, key: str, *, as_json: bool) -> None:
    """``ferryman keys revoke``."""
    gone = client.revoke_key(key)
    if as_json:
        print_json(gone)
    else:
        console().print(Text(f"Revoked {printable(gone.name)} ({gone.id})."))


def total(tokens: Row | None, classes: tuple[str, ...]) -> int | None:
    """Tokens of several classes."""
    return None if tokens is None else sum(tokens.get(name, 0) for name in classes)


def show_calls(client: Client, query: Row, *, as_json: bool) -> None:
    """``ferryman calls``."""
    rows = client.calls(**query).data
    if as_json:
        print_json(rows)
        return
    out = console()
    if not rows:
        chosen = any(value for name, value in query.items() if name != "limit")
        out.print(Text("No such calls." if chosen else f"No calls yet. {WHEN}"))
        return
    columns = [
        Column("Time", drop=4),
        Column("Request", drop=7, style="dim"),
        Column("Key", drop=3),
        Column("Model", style="bold"),
        Column("Provider", drop=5),
        Column("Status"),
        Column("Tries", right=True, drop=8),
        Column("Input", right=True, drop=2),
        Column("Output", right=True, drop=2),
        Column("Took", right=True, drop=1),
        Column("Cost", right=True, style="green"),
    ]
    table(columns, [_call(row) for row in rows], out)


def _call(row: Call) -> list[str]:
    status = str(row.status or row.state)
    return [
        local_time(row.time),
        row.request_id,
        row.key,
        row.model,
        row.provider,
        f"{status} {row.error}" if row.error else status,
        count(row.attempts),
        count(total(row.tokens, INPUT)),
        count(total(row.tokens, OUTPUT)),
        duration(row.duration_ms),
        at_least(row.cost_usd, row.unknown_cost),
    ]
