"""``ferryman content``: what was said, where it is kept."""

import sys
from typing import Final

from msgspec.structs import asdict

from ferryman.cli.output import print_json
from ferryman.cli.show import printable
from ferryman.client import Client

_LINES: Final = ("\n", "\t")


def show(client: Client, request_id: str, team: str, *, as_json: bool) -> None:
    """Print prompt, answer, and what was said of it. Raises ``ApiError`` if it isn't kept."""
    found = client.content(request_id, team=team)
    feedback = client.feedback(request_id)
    if as_json:
        print_json(asdict(found) | {"feedback": feedback})
        return
    asked = found.request or "(a form with files: what was sent is not kept)"
    _say("Sent", asked, found.request_bytes)
    told = found.text or found.reply or f"({found.media_type}; --json has it as base64)"
    _say(f"Got, status {found.status}", told, found.reply_bytes)
    if found.cut:
        sys.stdout.write("\n(longer than content.max_size: the rest is not kept)\n")
    if not found.whole:
        sys.stdout.write("\n(the answer broke off here, or its caller left)\n")
    for word in feedback:
        said = [word.about, word.key, *word.tags, word.comment or ""]
        score = "" if word.score is None else f"{word.score:+g} "
        sys.stdout.write(_plain(f"\nFeedback: {score}{' '.join(said).strip()}\n"))


def _say(title: str, text: str, size: int | None) -> None:
    length = "" if size is None else f", {size:,} bytes"
    sys.stdout.write(f"--- {title}{length}\n{_plain(text)}\n")


def _plain(text: str) -> str:
    """``text`` without what would drive the terminal."""
    return "".join([c if c in _LINES else printable(c) for c in text])
