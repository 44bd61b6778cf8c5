"""The page Audit: who did what, newest first."""

from collections import defaultdict

from msgspec.structs import asdict

from ferryman.control.auditing import line_of
from ferryman.control.dashboard.desk import Asked, Desk, Page
from ferryman.store import audit, users

PAGE = 50
FIELDS = ("action", "actor", "target", "outcome")


def page(desk: Desk, asked: Asked) -> Page:
    """Entries that fit what is asked for."""
    said = {name: asked.query.get(name, "").strip()[: audit.LONGEST] for name in FIELDS}
    before = asked.query.get("before", "")
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
    found = audit.listing(desk.admin.engine, limit=PAGE, before=number, **said)
    more = found[-1].seq if len(found) == PAGE else None
    given = {name: text for name, text in said.items() if text}
    shown = [asdict(line_of(each)) | {"was": each.before, "now": each.after} for each in found]
    values = {"rows": shown, "said": said, "given": given, "more": more,
              "names": defaultdict(str, users.names(desk.admin.engine))}  # fmt: skip
    return Page(template="audit.html", title="Audit", values=values)
