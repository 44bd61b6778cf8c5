"""Detectors of words that you name, in any language, and of code."""

import re
from typing import Final

from ferryman.config.linear import regex
from ferryman.guard.scan import Detector, Hit, finding

_SPACELESS: Final = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
)
"""Scripts whose words have no gaps between them."""


def words(wanted: tuple[str, ...]) -> Detector:
    """Whole words and phrases, whatever their case and the gaps within them."""
    longest = max(map(len, wanted))
    parts = [r"\s+".join(map(re.escape, each.split())) for each in sorted(wanted, key=len)[::-1]]
    search = regex(f"(?i)(?:{'|'.join(parts)})").search

    def find(text: str, start: int) -> Hit | None:
        while (match := search(text, start)) is not None:
            begin, end = match.start(), match.end()
            if _edge(text, begin) and _edge(text, end):
                return Hit(begin, begin, end)
            start = begin + 1
        return None

    return Detector("word", find, None, 2 * longest + 1)


def _edge(text: str, at: int) -> bool:
    """Whether a word may begin or end there."""
    if not 0 < at < len(text):
        return True
    before, after = text[at - 1], text[at]
    if _SPACELESS.match(before) or _SPACELESS.match(after):
        return True
    return not (before.isalnum() and after.isalnum())


CODE: Final = (
    Detector(
        "code",
        finding(r"(?:```|~~~)[A-Za-z0-9+#_.-]{0,20}[ ]{0,3}\n"),
        re.compile(r"[`~A-Za-z0-9+#_. -]+"),
        32,
        until="\n```",
    ),
    Detector(
        "code",
        finding(
            r"(?m)^[ \t]{0,8}(?:"
            r"(?:async )?def \w{1,40}\(|class \w{1,40}[(:{]|import [\w.]{1,40}$"
            r"|from [\w.]{1,40} import "
            r"|(?:export |async )?function \w{0,40}\(|(?:const|let|var) \w{1,40} ?=|#include ?[<\"]"
            r"|(?:public|private|static) [\w<>\[\] ]{1,40}\(|<\?php|<script[ >]|#!/"
            r"|(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE TABLE) [\w*])"
        ),
        re.compile(r"[^\n]+"),
        110,
        word=re.compile(r"[^\n]*"),
        start=re.compile(
            r"(?m)^[ \t]{0,8}(?:async|def|class|import|from|export|function|const|let|var|public"
            r"|private|static|SELECT|INSERT|UPDATE|DELETE|CREATE|[#<][!?\w]|[A-Za-z#<]{0,9}\Z)"
        ),
    ),
)
"""Blocks between fences, and lines as programs have them."""
