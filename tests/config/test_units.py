"""Units of a configuration: over one another, sealed, and as YAML that says the same again."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.config import nodes
from ferryman.config.nodes import Map, Node, Scalar, Seq
from ferryman.config.units import (
    Units,
    changes,
    flow,
    joined,
    long_form,
    merge,
    opened,
    opened_all,
    overlay_of,
    patched,
    sealed,
    split,
    text_of,
    too_large,
)
from ferryman.config.version import Overlay

KEY = bytes(range(32))
FILE = """
providers:
  lab: { base_url: http://127.0.0.1:9/v1, key: env:LAB }   # where we try things
models:
  fast: lab/small
  "odd: name": { targets: [lab/a, lab/b], weights: { lab/a: 3 }, strategy: weighted }
timeouts: { total: 90s }
"""


def units(text: str) -> Units:
    root, faults = nodes.parse(text.encode())
    assert not faults
    return split(root)


def plain(node: Node) -> object:
    """What a tree says, without where it stands."""
    if isinstance(node, Scalar):
        return (nodes.scalar_type(node), node.text or "null")
    if isinstance(node, Seq):
        return [plain(item) for item in node.items]
    return {key.text: plain(value) for key, value in node.pairs}


def said(found: Units) -> object:
    return plain(joined(found))


def overlay(file: str, wanted: str, before: Overlay | None = None) -> Overlay:
    return overlay_of(units(file), units(wanted), before or {}, KEY, version=2, by="api")


def test_a_configuration_written_out_says_the_same() -> None:
    found = units(FILE)
    text = text_of(found, KEY)
    assert said(units(text)) == said(found)
    assert text_of(units(text), KEY) == text, "and is then its own form"
    assert "#" not in text, "comments may hold secrets"


_scalars = st.one_of(
    st.builds(
        lambda text: Scalar(text=text, plain=False, mark=nodes.Mark(1, 1)),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    ),
    st.sampled_from(["null", "true", "1.50", "-3e2", "a b", "x:y", "a#b", "yes", "~", "0x1F"]).map(
        lambda text: Scalar(text=text, plain=True, mark=nodes.Mark(1, 1))
    ),
)
_trees = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(
            lambda items: Seq(items=tuple(items), mark=nodes.Mark(1, 1), size=1, depth=1)
        ),
        st.dictionaries(st.text("ab: {}[]\",'#\n-", max_size=5), inner, max_size=3).map(
            lambda pairs: Map(
                pairs=tuple(
                    (Scalar(text=key, plain=False, mark=nodes.Mark(1, 1)), value)
                    for key, value in pairs.items()
                ),
                mark=nodes.Mark(1, 1),
                size=1,
                depth=1,
            )
        ),
    ),
    max_leaves=8,
)


@given(_trees)
def test_any_tree_written_on_a_line_reads_back(tree: Node) -> None:
    found, faults = nodes.parse(f"it: {flow(tree)}".encode())
    assert not faults
    assert isinstance(found, Map)
    assert plain(found.pairs[0][1]) == plain(tree)


def test_what_was_changed_elsewhere_holds_until_the_file_changes_that_entry() -> None:
    file = "models: { a: lab/1, b: lab/2, c: lab/3 }"
    over = overlay(file, "models: { a: lab/9, c: lab/3, d: lab/4 }")
    assert {name: change.text for name, change in over.items()} == {
        "models/a": "lab/9",
        "models/b": None,
        "models/d": "lab/4",
    }
    found, kept, lost = merge(units(file.replace("lab/3", "lab/33")), over, KEY)
    assert said(found) == said(units("models: { a: lab/9, c: lab/33, d: lab/4 }"))
    assert (kept, lost) == (over, ())
    found, kept, lost = merge(units("models: { a: lab/8, b: lab/2, d: lab/4 }"), over, KEY)
    assert said(found) == said(units("models: { a: lab/8, d: lab/4 }"))
    assert set(kept) == {"models/b"}
    assert lost == ("models/a",), "d is what was wanted: no loss to tell"


def test_what_an_overlay_says_already_keeps_its_version() -> None:
    first = overlay("models: { a: lab/1 }", "models: { a: lab/2 }")
    again = overlay_of(
        units("models: { a: lab/1 }"),
        units("models: { a: lab/2, b: lab/3 }"),
        first,
        KEY,
        version=7,
        by="cli",
    )
    assert [(name, c.version, c.by) for name, c in again.items()] == [
        ("models/a", 2, "api"),
        ("models/b", 7, "cli"),
    ]
    assert not overlay("models: { a: lab/1 }", "models: { a:   'lab/1' }"), "the form is no change"


def test_differences_are_named() -> None:
    before = units("models: { a: lab/1, b: lab/2 }\ntimeouts: { total: 1m }")
    after = units("models: { a: lab/9, c: lab/2 }\ntimeouts: { total: 1m }")
    assert changes(before, after, KEY) == (
        "models/a: changed",
        "models/b: removed",
        "models/c: added",
    )


@pytest.mark.parametrize(
    ("old", "patch", "new"),
    [
        ("{ a: 1, b: { c: 2, d: 3 } }", "{ b: { c: 9 } }", "{ a: 1, b: { c: 9, d: 3 } }"),
        ("{ a: 1, b: 2 }", "{ a: null }", "{ b: 2 }"),
        ("{ a: [1, 2] }", "{ a: [3] }", "{ a: [3] }"),
        ("{ a: 1 }", "{ b: { c: null, d: 1 } }", "{ a: 1, b: { d: 1 } }"),
        ("lab/x", "{ weights: { lab/x: 2 } }", "{ targets: [lab/x], weights: { lab/x: 2 } }"),
        ("{ a: 1 }", "lab/x", "lab/x"),
    ],
)  # fmt: skip
def test_merge_patches(old: str, patch: str, new: str) -> None:
    def tree(text: str) -> Node:
        found = nodes.parse(text.encode())[0]
        assert found is not None
        return found

    assert plain(patched(long_form(("models", "m"), tree(old)), tree(patch))) == plain(tree(new))


LITERAL = """
providers:
  lab: { base_url: "http://h/v1", key: sk-one, headers: { X-Token: sk-two, X-Team: ferry } }
  two: { base_url: "http://h/v1", keys: [env:A, 1234567, file:/x, { key: sk-tri, weight: 3 }] }
"""


def test_literal_keys_are_sealed_for_their_provider_and_open_again() -> None:
    found = units(LITERAL)
    text = text_of(found, KEY)
    assert not any(word in text for word in ("sk-one", "sk-two", "1234567", "sk-tri"))
    assert all(word in text for word in ("env:A", "file:/x", "X-Team: ferry"))
    again = opened_all(units(text), KEY)
    assert text_of(again, KEY) == text, "sealing is deterministic: no difference"
    lab = plain(again["providers", "lab"][1])
    assert "sk-one" in str(lab)
    assert "sk-two" in str(lab)
    assert "sk-tri" in str(plain(again["providers", "two"][1]))
    node = sealed(("providers", "lab"), found["providers", "lab"][1], KEY)
    for unit, key in ((("providers", "other"), KEY), (("providers", "lab"), bytes(32))):
        assert plain(opened(unit, node, key)) == plain(node), "nowhere else"


def test_what_is_too_large_to_keep_is_seen_before_it_is_written_out() -> None:
    bomb = "a: &a " + "x" * 100_000 + "\nb: [" + ", ".join(["*a"] * 40) + "]\n"
    root, faults = nodes.parse(bomb.encode())
    assert not faults
    assert root is not None
    assert too_large(root)
    assert not too_large(joined(units(FILE)))


def test_overlays_survive_the_database() -> None:
    over = overlay(FILE, LITERAL)
    assert msgspec.json.decode(msgspec.json.encode(over), type=Overlay) == over
