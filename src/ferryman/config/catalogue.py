"""The packaged catalogue, in the form the configuration checks names against."""

from ferryman.catalog import load
from ferryman.catalog.quirks import NAMES
from ferryman.config.names import Known


def current() -> Known:
    """The packaged catalogue. Raises ``catalog.load.CatalogError`` when its files are damaged."""
    return Known(
        providers=load.providers(),
        models=load.models(),
        bare=load.bare_names(),
        also=load.aliases(),
        quirks=NAMES,
    )
