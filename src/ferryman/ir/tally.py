"""A usage to calculate with: each of its fields is read once, which for compiled code is dear."""

from typing import Any

from msgspec.structs import astuple

from ferryman.ir.usage import Extras, Usage


class Tally:
    """The counts of a :class:`~ferryman.ir.usage.Usage`, under the same names."""

    __slots__ = (
        "audio_input", "audio_output", "cache_read", "cache_write", "cache_write_1h", "extras",
        "input", "output", "reasoning", "total_input", "total_output",
    )  # fmt: skip

    def __init__(self, usage: Usage) -> None:
        fields: tuple[Any, ...] = astuple(usage)
        self.input: int = fields[0]
        self.cache_read: int = fields[1]
        self.cache_write: int = fields[2]
        self.cache_write_1h: int = fields[3]
        self.audio_input: int = fields[4]
        self.output: int = fields[5]
        self.reasoning: int = fields[6]
        self.audio_output: int = fields[7]
        self.extras: Extras | None = fields[8]
        self._add_up(usage)

    def _add_up(self, usage: Usage) -> None:
        # In a method: above, what came of ``fields`` counts as anything, and compiled, to add up
        # what may be anything is dear.
        self.total_input: int = (
            self.input + self.cache_read + self.cache_write + self.cache_write_1h + self.audio_input
        )
        self.total_output: int = self.output + self.reasoning + self.audio_output
        if self.extras is not None:
            self.total_input = usage.total_input
            self.total_output = usage.total_output


def tally(usage: Usage | None) -> Tally | None:
    """The same, or None of none."""
    return None if usage is None else Tally(usage)
