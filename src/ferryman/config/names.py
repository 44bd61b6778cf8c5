"""What a target's name means, and the order in which names that refer to names are worked out."""

from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from ferryman.catalog.load import CatalogModel, CatalogProvider

MAX_CIRCLES = 100


class Known(Struct, frozen=True, kw_only=True):
    """The catalogue as the configuration sees it."""

    providers: Mapping[str, CatalogProvider]
    models: Mapping[str, Mapping[str, CatalogModel]]
    """Provider → model → what is known of it."""
    bare: Mapping[str, tuple[tuple[str, str], ...]]
    """Bare model name → (provider, model), best first."""
    quirks: Collection[str]
    also: Mapping[str, str] = {}
    """Further name of a provider → its name."""

    def headers(self, form: str) -> dict[str, str]:
        """What a provider of this format wants in each request."""
        row = self._maker(form)
        return {} if row is None else row.headers

    def auth(self, form: str) -> str:
        """How such a provider is usually sent its key."""
        row = self._maker(form)
        return "bearer" if row is None else row.auth

    def _maker(self, form: str) -> CatalogProvider | None:
        """The first one of that format which has keys of its own: others are clouds and servers."""
        rows = self.providers.values()
        return next((row for row in rows if row.format == form and not row.keyless), None)


class Target(Struct, frozen=True):
    """A name worked out: a (provider, model) pair, another of the user's names, or a bare name."""

    provider: str = ""
    model: str = ""
    alias: str = ""
    bare: str = ""


def meaning(
    name: str,
    *,
    providers: Collection[str],
    aliases: Collection[str],
    bare: Collection[str],
    also: Mapping[str, str],
) -> Target | None:
    """What ``name`` stands for as a target, or ``None``.

    ``provider/model`` comes first: so a name of the user's own may look like one and lead to it.
    Last come ``also``, further names of providers: any other meaning wins.
    """
    provider, slash, model = name.partition("/")
    if slash and model and provider in providers:
        return Target(provider=provider, model=model)
    if name in aliases:
        return Target(alias=name)
    if name in bare:
        return Target(bare=name)
    if slash and model and provider in also:
        return Target(provider=also[provider], model=model)
    return None


def ordered(graph: Mapping[str, Iterable[str]]) -> tuple[list[str], list[list[str]]]:
    """The nodes with everything they refer to before them, and the circles: ``[a, b]`` = a → b → a.

    With a circle the order means nothing. At most :data:`MAX_CIRCLES` are given.
    """
    done: dict[str, None] = {}
    circles: list[list[str]] = []
    for start in graph:
        if start in done:
            continue
        trail = {start: None}
        stack = [(start, iter(graph[start]))]
        while stack:
            node, rest = stack[-1]
            for step in rest:
                if step in trail:
                    if len(circles) < MAX_CIRCLES:
                        names = list(trail)
                        circles.append(names[names.index(step) :])
                elif step in graph and step not in done:
                    trail[step] = None
                    stack.append((step, iter(graph[step])))
                    break
            else:
                stack.pop()
                trail.pop(node)
                done[node] = None
    return list(done), circles
