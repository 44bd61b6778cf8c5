"""What a channel is sent of a message: signed JSON, a line for Slack, an e-mail. Pure."""

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

import msgspec

from ferryman.config.snapshot import Mail

EVENTS: Final = {
    "alert.opened": "", "alert.repeated": "still: ", "alert.resolved": "resolved: ",
    "alert.test": "test: ",
}  # fmt: skip


def headline(said: dict[str, Any]) -> str:
    """A line of it: ``critical: Provider lab is down``."""
    resolved = said["type"] == "alert.resolved"
    return f"{'' if resolved else said['severity'] + ': '}{EVENTS[said['type']]}{said['title']}"


def slack(body: str) -> bytes:
    """JSON of an incoming webhook (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).

    What comes from callers can't mention anybody, nor be a link
    (https://docs.slack.dev/messaging/formatting-message-text).
    """
    said = msgspec.json.decode(body)
    text = f"{headline(said)}\n{said['detail']}"
    for sign, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, safe)
    return msgspec.json.encode({"text": text})


def email(mail: Mail, body: str, now: int) -> EmailMessage:
    """It as an e-mail in plain text; its id is that of the message, so that repetitions show."""
    said = msgspec.json.decode(body)
    made = EmailMessage()
    made["Subject"] = "".join(c if c.isprintable() else " " for c in headline(said))[:200]
    made["From"] = Address(addr_spec=mail.sender)
    made["To"] = tuple(Address(addr_spec=each) for each in mail.to)
    made["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    made["Message-ID"] = f"<{said['id']}@{mail.sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    facts = "".join(f"{name}: {value}\n" for name, value in said["facts"].items())
    made.set_content(
        f"{said['detail']}\n\n{facts}rule: {said['rule']}\nsince: {said['opened_at']}\n"
        f"alert: {said['alert']}\n"
    )
    return made
