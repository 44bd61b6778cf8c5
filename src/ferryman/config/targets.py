"""Whether what a file says of targets leads anywhere."""

from collections.abc import Callable, Iterable, Mapping

from ferryman.catalog.load import CatalogProvider
from ferryman.catalog.load import near as near_models
from ferryman.config import names
from ferryman.config.model import ProviderConfig, RouteConfig
from ferryman.config.names import Known
from ferryman.config.problem import WARNING, Path, either, near, shown


class TargetCheck:
    """Whether targets lead anywhere. Warns once about each provider that is not active."""

    def __init__(
        self,
        known: Known,
        given: Iterable[Path],
        add: Callable[..., None],
        dormant: Callable[[CatalogProvider], bool],
        providers: Mapping[str, ProviderConfig],
        models: Mapping[str, RouteConfig],
    ) -> None:
        """``given``: places of all keys of the file; ``add`` reports a mistake; ``dormant`` says
        whether a provider of the catalogue has no key."""
        self._known, self._add, self._dormant = known, add, dormant
        self._own = providers
        self._models = models
        # A name whose entry is wrong is still a name: one mistake is told once.
        named = [path for path in given if len(path) == 2]
        self._aliases = dict.fromkeys(str(name) for place, name in named if place == "models")
        mine = [str(name) for place, name in named if place == "providers"]
        self._providers = {**dict.fromkeys(self._known.providers), **dict.fromkeys(mine)}
        self._told: set[str] = set()

    def check(self, path: Path, text: str) -> names.Target | None:
        """What ``text`` means; ``None`` after reporting that it means nothing."""
        target = self._meaning(text)
        if target is None:
            self._unknown(path, text)
        elif target.provider:
            self._provider(path, target)
        return target

    def alias(self, text: str) -> str:
        """The name from models that ``text`` is, or ""."""
        target = self._meaning(text)
        return target.alias if target is not None and target.alias in self._models else ""

    def _meaning(self, text: str) -> names.Target | None:
        return names.meaning(
            text,
            providers=self._providers,
            aliases=self._aliases,
            bare=self._known.bare,
            also=self._known.also,
        )

    def _unknown(self, path: Path, text: str) -> None:
        provider, slash, model = text.partition("/")
        add = self._add
        if slash and provider in self._providers:
            add(path, "the model is missing after the slash", "Example: provider/model")
        elif slash:
            known = {**self._providers, **dict.fromkeys(self._known.also)}
            words = [f"{word}/{model}" for word in near(provider, known)]
            message = f"there is no provider {shown(provider)}"
            fix = "Add it under providers, or use one of the catalogue."
            if words:
                fix = f"Did you mean {either(shown(word) for word in words)}?"
            add(path, message, fix)
        else:
            words = near(text, self._aliases) or near_models(text, self._known.bare)
            message = f"{shown(text)} is neither a name from models nor a model of the catalogue"
            fix = "Write provider/model."
            if words:
                fix = f"Did you mean {either(shown(word) for word in words)}?"
            add(path, message, fix)

    def _provider(self, path: Path, target: names.Target) -> None:
        name = target.provider
        row = self._known.providers.get(name)
        models = self._known.models.get(name, {})
        own = self._own.get(name)
        add = self._add
        told = own is not None and (target.model in own.prices or target.model in own.models)
        if models and target.model not in models and not told:
            words = near_models(target.model, models)
            fix = "It is passed on as it is; give its price under providers if it is right."
            if words:
                fix = f"Did you mean {either(shown(f'{name}/{word}') for word in words)}?"
            add(path, f"the catalogue has no model {shown(target.model)} of {name}", fix, WARNING)
        if row and not own and name not in self._told and self._dormant(row):
            self._told.add(name)
            message = f"{either(row.key_env)} is not set, so {name} stays inactive"
            add(path, message, "Set it in the environment of the gateway.", WARNING)
