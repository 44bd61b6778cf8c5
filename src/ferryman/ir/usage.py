"""Token usage in disjoint classes: every token is counted in exactly one field."""

from msgspec import Struct


class Usage(Struct, frozen=True, array_like=True):
    """Tokens of one call, each in exactly one class (the sum is the total).

    Formats nest their counts differently (``prompt_tokens`` includes cached ones in one, excludes
    them in another); decoders in ``wire/`` subtract until the classes are disjoint.
    """

    input: int = 0
    """Fresh text input tokens."""
    cache_read: int = 0
    """Input tokens served from the provider's prompt cache."""
    cache_write: int = 0
    """Input tokens written to the prompt cache with the default (about 5 minute) lifetime."""
    cache_write_1h: int = 0
    """Input tokens written to the prompt cache with a one-hour lifetime."""
    audio_input: int = 0
    output: int = 0
    """Visible text output tokens."""
    reasoning: int = 0
    """Output tokens spent on reasoning."""
    audio_output: int = 0

    @property
    def total_input(self) -> int:
        return (
            self.input + self.cache_read + self.cache_write + self.cache_write_1h + self.audio_input
        )

    @property
    def total_output(self) -> int:
        return self.output + self.reasoning + self.audio_output
