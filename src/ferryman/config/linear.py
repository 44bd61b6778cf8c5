"""Regular expressions that take time in proportion to the text, whoever wrote them: RE2's."""

from typing import Any

import re2


class PatternError(ValueError):
    """The pattern is not one of RE2's; the message says why."""


def regex(pattern: str) -> Any:
    """``pattern`` compiled, for its ``search``. Raises :class:`PatternError`."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0]
        raise PatternError(why.decode() if isinstance(why, bytes) else str(why)) from None
