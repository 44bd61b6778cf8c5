"""The audit log in the admin API."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from ferryman.client.audit import AuditEntry, AuditHead
from ferryman.client.documents import Page
from ferryman.control.admin import Admin
from ferryman.control.api.cursor import Pages
from ferryman.control.api.route import Route
from ferryman.control.auditing import line_of
from ferryman.store import audit

Text = Annotated[str, Meta(max_length=audit.LONGEST)]


class AuditQuery(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which entries."""

    action: Annotated[Text, Meta(description="As `key.create`, or its first part.")] = ""
    actor: Text = ""
    target: Text = ""
    outcome: Annotated[Text, Meta(description="`done` or `refused`.")] = ""


def list_audit(admin: Admin, query: AuditQuery, pages: Pages) -> Page[AuditEntry]:
    """Who did what, newest first."""
    found = audit.listing(
        admin.engine, limit=pages.more, before=pages.after(int), action=query.action,
        actor=query.actor, target=query.target, outcome=query.outcome,
    )  # fmt: skip
    shown, more = pages.cut(found, lambda entry: entry.seq)
    return Page(data=[line_of(entry) for entry in shown], next=more)


def audit_head(admin: Admin) -> AuditHead:
    """Where the audit log ends, to be kept elsewhere."""
    mark = audit.head(admin.engine)
    return AuditHead(seq=mark.seq, mac=mark.mac)


ROUTES: Final = (
    Route("GET", "/audit", "audit.read", list_audit),
    Route("GET", "/audit/head", "audit.read", audit_head),
)
