"""The most tokens that an image can be, by model: vendors scale large ones down.

OpenAI cuts an image, at most 768 by 2048 pixels, into tiles of 512 (85 + 170 each; many more for
gpt-4o-mini), or into at most 1,536 patches, which small models count up to 2.46 times; models since
gpt-5 may look at 10,000: https://platform.openai.com/docs/guides/images-vision#calculating-costs.
Anthropic counts width × height / 750, of at most 1,568 or (newer models) 4,784 tokens:
https://platform.claude.com/docs/en/build-with-claude/vision#calculate-image-costs. Gemini 3 takes
up to 2,240: https://ai.google.dev/gemini-api/docs/media-resolution; its predecessors any number of
tiles. Who is not here has no known bound.
"""

import re
from functools import lru_cache
from typing import Final

_MOST: Final = tuple(
    # Clouds and resellers write something in front of a model's name.
    (re.compile(rf"(?:^|[./:])(?:{names})"), most)
    for names, most in (
        ("gpt-4o-mini", 2833 + 8 * 5667),
        (r"gpt-4o|gpt-4\.1|gpt-4-turbo|o[13](?![0-9])|o4-mini", 4_000),
        ("gpt-5", 25_000),
        ("claude-", 5_000),
        ("gemini-3", 2_500),
    )
)


@lru_cache(maxsize=1024)
def image_bound(model: str) -> int:
    """The most tokens that ``model`` makes of an image; 0 = nobody knows."""
    name = model.lower()
    return next((most for names, most in _MOST if names.search(name)), 0)
