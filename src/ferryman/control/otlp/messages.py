"""Whole messages of OTLP: what is sent, with the resource that it is of."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from ferryman import __version__
from ferryman.control.otlp.sending import REQUESTS
from ferryman.control.otlp.settings import Settings
from ferryman.control.otlp.spans import log_of, put, spans_of
from ferryman.control.otlp.sums import Sums, metrics_of
from ferryman.telemetry.record import Closed

SCOPE: Final = "ferryman"


def traces(calls: Sequence[Closed], settings: Settings) -> tuple[Any, int, int]:
    """The spans of ``calls``: message, how many, and how many calls don't fit into one."""
    message = REQUESTS["traces"]()
    resource = message.resource_spans.add()
    put(resource.resource.attributes, settings.resource)
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version = SCOPE, __version__
    items, unfit = _each(calls, lambda call: list(spans_of(call, settings.names)))
    scope.spans.extend(items)
    return message, len(items), unfit


def logs(calls: Sequence[Closed], settings: Settings) -> tuple[Any, int, int]:
    """The same of their log records."""
    message = REQUESTS["logs"]()
    resource = message.resource_logs.add()
    put(resource.resource.attributes, settings.resource)
    scope = resource.scope_logs.add()
    scope.scope.name, scope.scope.version = SCOPE, __version__
    items, unfit = _each(calls, lambda call: [log_of(call, settings.names)])
    scope.log_records.extend(items)
    return message, len(items), unfit


def metrics(sums: Sums, settings: Settings) -> tuple[Any, int]:
    """``sums``: message, and how many points."""
    message = REQUESTS["metrics"]()
    resource = message.resource_metrics.add()
    put(resource.resource.attributes, settings.resource)
    scope = resource.scope_metrics.add()
    scope.scope.name, scope.scope.version = SCOPE, __version__
    found = metrics_of(sums, settings.names, delta=settings.delta)
    scope.metrics.extend(found)
    points = (len(each.histogram.data_points) + len(each.sum.data_points) for each in found)
    return message, sum(points)


def _each(calls: Sequence[Closed], make: Callable[[Closed], list[Any]]) -> tuple[list[Any], int]:
    items: list[Any] = []
    unfit = 0
    for call in calls:
        try:
            items += make(call)
        except (ValueError, TypeError):  # a journal may hold what no gateway of ours writes
            unfit += 1
    return items, unfit
