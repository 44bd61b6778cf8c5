"""Middle-out compression: a conversation made to fit by leaving messages out of its middle.

What a model needs most stands at both ends: the instructions and the task, and the latest turns.
"""

from msgspec.structs import replace

from ferryman.catalog.tokens import Gauge, estimate
from ferryman.ir.request import Message, Request, Role, ToolCall, ToolResult


def shorten(request: Request, gauge: Gauge, room: int) -> tuple[Request, int] | None:
    """``request`` with as few messages left out of the middle as make it fit into ``room`` tokens.

    Returns it and how many were left out; None when not even both ends fit. Instructions, the first
    turn and the last one always stay, and a tool's result never stays without its call.
    """
    turns = _turns(request.messages)
    head = next((i for i, turn in enumerate(turns) if _speaks(turn)), 0) + 1
    left = turns[:head]
    middle = turns[head:-1]
    last = turns[-1:] if len(turns) > head else []
    # The latest go in first: a growing tail is found by bisection, since more never is shorter.
    low, high = 0, len(middle)
    if not _fits(request, [*left, *last], gauge, room):
        return None
    while low < high:
        tail = (low + high + 1) // 2
        if _fits(request, [*left, *middle[len(middle) - tail :], *last], gauge, room):
            low = tail
        else:
            high = tail - 1
    kept = _joined([*left, *middle[len(middle) - low :], *last])
    return replace(request, messages=kept), len(request.messages) - len(kept)


def _turns(messages: tuple[Message, ...]) -> list[tuple[Message, ...]]:
    """The messages grouped so that calls of tools and their results stay together."""
    turns: list[tuple[Message, ...]] = []
    waiting: set[str] = set()
    for message in messages:
        results = {block.call_id for block in message.blocks if isinstance(block, ToolResult)}
        if turns and (results & waiting or (results and waiting)):
            turns[-1] += (message,)
        else:
            waiting = set()
            turns.append((message,))
        waiting -= results
        waiting |= {block.id for block in message.blocks if isinstance(block, ToolCall)}
    return turns


def _speaks(turn: tuple[Message, ...]) -> bool:
    return turn[0].role in (Role.USER, Role.ASSISTANT)


def _joined(turns: list[tuple[Message, ...]]) -> tuple[Message, ...]:
    return tuple(message for turn in turns for message in turn)


def _fits(request: Request, turns: list[tuple[Message, ...]], gauge: Gauge, room: int) -> bool:
    return estimate(replace(request, messages=_joined(turns)), gauge) <= room
