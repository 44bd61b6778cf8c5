"""What pages work with, what they are asked, and what they answer."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import Struct, field

from ferryman.config.options import Options
from ferryman.control.admin import Admin
from ferryman.control.api.access import OWNER, Caller
from ferryman.control.configuration import Configuration
from ferryman.control.dashboard.relay import Relay
from ferryman.control.doors import Doors
from ferryman.control.feed import Seen
from ferryman.control.fence import Fence
from ferryman.control.signon import SignOn


class Desk(Struct, frozen=True, kw_only=True):
    """What all pages share."""

    admin: Admin
    doors: Doors
    fence: Fence
    sign_on: SignOn
    options: Options
    configuration: Configuration
    relay: Relay
    planes: Callable[[], tuple[list[Seen], int]]
    """Which data planes follow the feed, and which state of the keys they should have."""
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4, "page"))
    """Pages are made on its threads: the feed has others, so that slow pages can't delay it."""
    downloads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "download"))
    """Downloads, which take long, can't delay pages,"""
    lookers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "look"))
    """and neither of them the live parts."""

    @property
    def providers(self) -> tuple[str, ...]:
        """Names of the active providers."""
        compiled = self.configuration.compiled
        return () if compiled is None else compiled.providers

    @property
    def example(self) -> str:
        """A model that works here; empty when none is known."""
        compiled = self.configuration.compiled
        return "" if compiled is None else compiled.example


class Asked(Struct, frozen=True, kw_only=True):
    """A request whose session is known; if it is to change a thing, it came from this dashboard."""

    path: str
    params: dict[str, str] = {}
    """What stands in the path."""
    query: dict[str, str] = {}
    pairs: tuple[tuple[str, str], ...] = ()
    """The same, with each value of what is given several times."""
    form: dict[str, str] = {}
    body: bytes = b""
    session: str = ""
    caller: Caller = OWNER
    """Whose session it is; also ``desk.admin.caller``."""

    def all(self, name: str) -> list[str]:
        """Every value of a parameter, in order."""
        return [value for each, value in self.pairs if each == name]


class Page(Struct, frozen=True, kw_only=True):
    """A template and its values."""

    template: str
    title: str
    values: dict[str, Any] = {}
    status: int = 200


class Go(Struct, frozen=True):
    """Leads on, after a change or to where a thing now is."""

    to: str


class File(Struct, frozen=True):
    """A download."""

    name: str
    kind: str
    data: bytes


class Flow(Struct, frozen=True):
    """A download that is made as it is sent."""

    name: str
    kind: str
    parts: Iterator[bytes]


View = Callable[[Desk, Asked], Page | Go | File | Flow]
