"""An entry of a provider's ``keys``: a reference, or a mapping with its share and its limit."""

from decimal import Decimal
from typing import Any, Final

from ferryman.config.kinds import Number, Reader, Secret
from ferryman.config.limit_grammar import ACCOUNT
from ferryman.config.measures import count
from ferryman.config.nodes import Map, Node
from ferryman.config.pricing_grammar import DISCOUNT
from ferryman.config.problem import Path
from ferryman.config.shapes import Either, Key, Table

KEY: Final = Secret(
    says="a key reference: vault:NAME, env:NAME or file:/path", example="env:LAB_KEY", owned=True
)


class KeyOr(Either, frozen=True, kw_only=True):
    """A key reference, or a table with one."""

    def read(self, node: Node, path: Path, reader: Reader) -> Any:
        """``env: NAME``, with a space, is a slip in a reference and no table."""
        slip = isinstance(node, Map) and any(
            key.text in ("env", "file", "vault") for key, _ in node.pairs
        )
        return self.short.read(node, path, reader) if slip else super().read(node, path, reader)


POOLED: Final = Table(
    says="a mapping",
    example="{ key: env:LAB_KEY_B, weight: 3, max_in_flight: 20 }",
    keys=(
        Key(name="key", kind=KEY, doc="The key itself, as above.", required=True),
        Key(
            name="weight",
            kind=Number(
                says="a number", example="3", least=Decimal("0.001"), most=Decimal(1_000_000)
            ),
            doc="Its share of the calls, beside those of the other keys.",
            default="1",
        ),
        Key(
            name="max_in_flight",
            kind=count("20", 1, 100_000),
            doc="Most calls at work with it at once, streams until their end. Another key with "
            "room is used instead. See docs/overload.md.",
            default="no limit",
        ),
        *ACCOUNT,
        Key(
            name="discount",
            kind=DISCOUNT,
            doc="What calls with it cost less than the model's price here: keys may be of accounts "
            "with terms of their own.",
            default="0%",
        ),
    ),
)
POOL_KEY: Final = KeyOr(says=KEY.says, example=KEY.example, short=KEY, table=POOLED)
