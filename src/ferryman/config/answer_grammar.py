"""The keys of a route that say what is done when an answer is slow, or not what was hoped for."""

from typing import Final

from msgspec.structs import replace

from ferryman.config.conditions import Flag
from ferryman.config.measures import duration
from ferryman.config.route_grammar import TARGET
from ferryman.config.shapes import FlagOr, Key

ON_FILTER: Final = Key(
    name="on_content_filter",
    kind=TARGET,
    doc="The model that is asked when a provider's content filter stops a call: a name from "
    "models, or provider/model.",
    default="none: the caller is told",
)
_TIME: Final = replace(
    duration("800ms", "0.01"), says="true, false or a duration such as 800ms"
)  # fmt: skip
AFTERWARDS: Final = (
    ON_FILTER,
    Key(
        name="retry_empty",
        kind=Flag(says="true or false", example="true"),
        doc="Whether the next target is asked when an answer is empty or a refusal.",
        default="false",
    ),
    Key(
        name="hedge",
        kind=FlagOr(says=_TIME.says, example="true", other=_TIME),
        doc="Whether a second target is asked beside the first when that one has not begun its "
        "answer by this time; true: by the time within which 95 of 100 of its answers begin. The "
        "first to begin answers, and both are paid for.",
        default="false",
    ),
    Key(
        name="rescue",
        kind=Flag(says="true or false", example="true"),
        doc="Whether another target goes on with a streamed text that breaks off; both cost.",
        default="false",
    ),
)
