"""Every caller, provider and feature, whole and streamed: no cell may be without a verdict.

docs/matrix.md is what the cells say; ``python -m tests.matrix`` writes it.
"""

import pytest

from tests.gateway import KEY, Stack
from tests.matrix.callers import CALLERS, Caller
from tests.matrix.cells import FEATURES, PROVIDERS, verdict
from tests.matrix.page import PAGE, page

RESULTS: dict[tuple[str, str, str, bool], tuple[str, str]] = {}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("kind", CALLERS, ids=lambda kind: kind.name)
def test_a_pair(formats: Stack, kind: type[Caller], provider: str) -> None:
    caller = kind(formats.url, KEY)
    faults = []
    for feature in FEATURES:
        for stream in (False, True):
            found = verdict(caller, provider, feature, stream=stream)
            RESULTS[kind.name, provider, feature.name, stream] = found
            if not found[0]:
                faults.append(f"{feature.name}, {'stream' if stream else 'whole'}: {found[1]}")
    assert not faults


def test_the_page_says_what_the_cells_say() -> None:
    if len(RESULTS) < len(CALLERS) * len(PROVIDERS) * len(FEATURES) * 2:
        pytest.skip("not all pairs were tried")
    assert PAGE.read_text() == page(RESULTS), "run `python -m tests.matrix`"
