"""What a reply says beside the answer: of containers, edits of the context, uses of server tools.

https://platform.claude.com/docs/en/api/messages (``container``, ``usage.server_tool_use``) and
https://platform.claude.com/docs/en/build-with-claude/context-editing (``context_management``).
"""

from typing import Any

import msgspec
from msgspec import Raw

from ferryman.ir.events import Beside, Finish
from ferryman.wire.anthropic_messages.types import NAME, WireUsage
from ferryman.wire.carry import NOTHING

_encode = msgspec.json.Encoder().encode
_USES = "usage.server_tool_use"


def beside_of(container: Raw, management: Raw, usage: WireUsage | None) -> tuple[Beside, ...]:
    """The members that say something."""
    said = [("container", container), ("context_management", management)]
    uses = usage.server_tool_use if usage is not None else None
    if isinstance(uses, dict) and any(uses.values()):
        said.append((_USES, Raw(_encode(uses))))
    return tuple(
        Beside(origin=NAME, name=name, raw=Raw(bytes(raw)))
        for name, raw in said
        if bytes(raw) and bytes(raw) not in NOTHING
    )


def put_beside(finish: Finish, usage: dict[str, Any]) -> dict[str, Raw]:
    """The members for a caller of this format; uses of tools are put into ``usage``."""
    out = {each.name: each.raw for each in finish.beside if each.origin == NAME}
    if _USES in out:
        usage["server_tool_use"] = out.pop(_USES)
    return out
