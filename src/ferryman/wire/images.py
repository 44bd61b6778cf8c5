"""What providers' dialects of images share: shapes for sizes, and what they have no place for."""

import math

from ferryman.ir.media import ImagesRequest
from ferryman.ir.receipt import Receipt

_OPTIONS = ("quality", "output_compression", "negative_prompt", "seed")


def drop_images(
    asked: ImagesRequest,
    receipt: Receipt,
    *,
    carried: tuple[str, ...] = (),
    most: int = 1,
    formats: tuple[str, ...] = ("png",),
) -> None:
    """Put into the receipt what a dialect leaves out.

    ``carried``: options that it has; ``most``: images that it makes at once; ``formats``: of files.
    """
    for name in _OPTIONS:
        if name not in carried and getattr(asked, name) not in ("", None):
            receipt.drop(name)
    if asked.n > most:
        receipt.drop("n")
    if asked.background == "transparent":
        receipt.drop("background")
    if asked.output_format and asked.output_format not in formats:
        receipt.drop("output_format")
    if asked.partial_images:
        receipt.drop("partial_images")
    for path in asked.unknown:
        receipt.drop(path)


def aspect_ratio(asked: ImagesRequest, ratios: tuple[str, ...], receipt: Receipt) -> str:
    """The ratio (``3:2``) nearest to the size that was asked for; empty when none was."""
    if not asked.width:
        return ""
    wanted = math.log(asked.width / asked.height)
    found = min(ratios, key=lambda ratio: abs(_log(ratio) - wanted))
    if (asked.width, asked.height) != (1024, 1024):
        receipt.alter("size", f"aspect ratio {found}")
    return found


def _log(ratio: str) -> float:
    width, _, height = ratio.partition(":")
    return math.log(int(width) / int(height))
