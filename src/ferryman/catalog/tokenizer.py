"""Counts of tokens by a model's own vocabulary, where the extra ``tokenizers`` is installed.

OpenAI publishes which model reads by which vocabulary
(https://github.com/openai/tiktoken/blob/main/tiktoken/model.py) and what a chat adds to its texts
(https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken). The package has the
vocabularies within it, and takes half a second and some 70 MB when it is first used.
"""

import functools
import re
from collections.abc import Callable

_VOCABULARIES = (
    ("o200k_base", re.compile(r"((chat)?gpt-4o|gpt-4\.[15]|gpt-5(\.\d+)?|gpt-oss|o[134])(-.*)?")),
    ("cl100k_base", re.compile(r"(gpt-4|gpt-3\.?5-turbo)(-.*)?")),
)
_DATED = r"(-\d{4}(-\d\d-\d\d)?)?(-preview)?"
_FRAMES = (
    (7, re.compile(rf"gpt-4o(-mini)?{_DATED}")),
    (10, re.compile(rf"(gpt-4(-32k|-turbo)?|gpt-3\.?5-turbo(-16k)?(?!-0301)){_DATED}")),
)


def vocabulary_of(model: str) -> str:
    """The vocabulary that ``model`` reads by, whoever serves it; empty when we know of none."""
    name = _plain(model)
    return next((word for word, pattern in _VOCABULARIES if pattern.fullmatch(name)), "")


def function_tokens(model: str) -> int:
    """Tokens that a function's definition begins with.

    0 = not published for this model, and neither is what else surrounds the texts of a chat.
    """
    name = _plain(model)
    return next((tokens for tokens, pattern in _FRAMES if pattern.fullmatch(name)), 0)


def count(texts: list[str], vocabulary: str) -> int | None:
    """Tokens of ``texts``, each by itself; None without the package.

    What looks like a special token is text, as it is for the provider. Takes about 10 ms per MB,
    during which other threads run, and 160 ms where nothing in it is a word.
    """
    counter = _counter()
    return sum(counter(texts, vocabulary, 1)) if counter is not None else None


@functools.cache
def _counter() -> Callable[[list[str], str, int], list[int]] | None:
    try:
        from toktok import batch_count
    except ImportError:
        return None
    found: Callable[[list[str], str, int], list[int]] = batch_count
    return found


def _plain(model: str) -> str:
    """``model`` without whose it is, what it was tuned to (``ft:NAME:…``), and how it is served."""
    return model.rpartition("/")[2].removeprefix("ft:").partition(":")[0]
