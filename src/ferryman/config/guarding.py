"""The section ``guards``, as read → what the data plane has of it."""

import json
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Final

from ferryman.config.filtering import promised
from ferryman.config.guard_grammar import ENTITIES, STATIONS
from ferryman.config.guard_row import GUARDS, LANGUAGES, Guard
from ferryman.config.json_schema import unknown
from ferryman.config.linear import PatternError, regex
from ferryman.config.problem import WARNING, Path, near, shown

Found = dict[str, Any]
_NEEDS: Final = {
    "regex": ("patterns", 'patterns: { project: "(?i)blue heron" }'),
    "urls": ("allow", "allow: [example.org]"),
    "words": ("words", "words: [blue heron]"),
    "length": ("most", "most: 20000"),
    "schema": ("schema", "schema: { type: object, required: [name] }"),
    "judge": ("model", "model: lab/llama-3.3-70b"),
    "topics": ("model", "model: lab/llama-3.3-70b"),
    "moderation": ("model", "model: openai/omni-moderation-latest"),
    "llama_guard": ("model", "model: lab/llama-guard-3"),
    "plugin": ("plugin", "plugin: house-rules"),
    "webhook": ("url", "url: https://checks.example.org/prompt"),
    "metadata": ("need", "need: [team]"),
    "models": ("deny", "deny: [lab/old-*]"),
}
_ASKING: Final = ("judge", "topics", "moderation", "llama_guard", "webhook")
"""Classifiers elsewhere."""
_PLAIN: Final = {
    **dict.fromkeys(_ASKING, "log"),
    "plugin": "log",
    "length": "block", "schema": "block", "language": "log", "injection": "log",
    "metadata": "block", "models": "block",
}  # fmt: skip
"""Kinds that can't redact, and what they do where nothing else is said."""
_ALLOWING: Final = ("regex", "words")
"""Kinds that say which values are meant."""
_AT: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(_ASKING, ("request", "reply")),
    "length": ("request", "reply"),
    "schema": ("reply",),
    "injection": ("request", "tools"),
    "metadata": (), "models": (),
}  # fmt: skip
"""What kinds can check that don't look everywhere."""
_ABOUT: Final = (
    "an attempt to take over a language model or to make it ignore its rules (prompt injection, "
    "jailbreak)"
)
_TOPICS: Final = "a text that is about one of these topics, or asks about it: "
_TALK: Final = ("request", "reply")
"""What is said in a conversation, without what tools say."""
_OWN: Final = {
    "entities": ("pii", "secrets"),
    "threshold": ("language", "injection", "plugin", *_ASKING),
    "timeout": _ASKING,
    "run": _ASKING,
    "turns": _ASKING,
    "about": ("judge",),
    **dict.fromkeys(("secret", "region", "data_policy"), ("webhook",)),
    **{need: tuple(k for k in _NEEDS if _NEEDS[k][0] == need) for need, _ in _NEEDS.values()},
    "allow": ("urls", "language"),
    "deny": ("models", "language", "topics"),
    "unknown": ("language",),
}


def guards_of(found: Found, add: Callable[..., None]) -> tuple[Guard, ...]:
    """The guards in their order; what one key can't tell goes to ``add``."""
    return tuple(
        _guard(name, given, ("guards", name), add)
        for name, given in found.items()
        if "kind" in given
    )


_AS_GIVEN: Final = ("how", "always", "on_error", "model", "plugin", "url", "run", "turns", "secret",
                    "region", "unknown")  # fmt: skip
"""Keys that are taken over as they are."""


def _guard(name: str, given: Found, path: Path, add: Callable[..., None]) -> Guard:
    kind = given["kind"]
    need = _NEEDS.get(kind)
    if need is not None and need[0] not in given:
        add(path, f"a guard of the kind {kind} needs {need[0]}", f"Example: {need[1]}")
    for key, kinds in _OWN.items():
        if key in given and kind not in kinds:
            message = f"a guard of the kind {kind} has no {key}"
            add((*path, key), message, f"It is of {' and '.join(kinds)}.")
    if kind in _PLAIN:
        if "how" in given:
            add((*path, "how"), f"a guard of the kind {kind} has no how", "Leave it out.")
        if given.get("action") == "redact":
            message = f"a guard of the kind {kind} has nothing to redact"
            add((*path, "action"), message, "Write action: block.")
    if given.get("action") == "allow" and kind not in _ALLOWING:
        message = f"a guard of the kind {kind} can't allow anything"
        add((*path, "action"), message, f"Of {' and '.join(_ALLOWING)} it can be allow.")
    if "plugin" in given and not entry_points(group=GUARDS, name=given["plugin"]):
        fix = f"Install a package that has it (entry point {GUARDS})."
        message = f"no guard is called {shown(given['plugin'])} here"
        add((*path, "plugin"), message, fix, WARNING)
    _places(given, path, add)
    _entities(given, path, add)
    _about(given, path, add)
    if "schema" in given and (why := unknown(given["schema"])):
        add((*path, "schema"), why, "docs/guardrails.md lists what a schema may have.")
    _patterns(given, path, add)
    rest: Found = {
        key: tuple(value for _, value in given[key])
        for key in ("at", "entities", "need", "deny", "allow", "words")
        if key in given
    }
    first = kind in ("length", *_ASKING)
    talk = _TALK if kind == "language" else STATIONS
    rest.setdefault("at", ("request",) if first else _AT.get(kind) or talk)
    if "data_policy" in given:
        rest["data_policy"] = promised(given["data_policy"])
    if "schema" in given:
        rest["schema"] = json.dumps(given["schema"])
    if "threshold" in given:
        rest["threshold"] = float(given["threshold"])
    if "timeout" in given:
        rest["timeout"] = float(given["timeout"])
    if kind in (*_ASKING, "plugin") and given.get("action") != "block":
        rest["on_error"] = "allow"  # what is only noted stops nothing, unless that is said
    if kind in _ASKING and given.get("action") == "block":
        rest["turns"] = "said"  # a caller can write a turn of the model's, but not undo its own
    if kind == "judge":
        rest["about"] = given.get("about", _ABOUT)
    if kind == "topics":
        kind, rest["about"] = "judge", _TOPICS + "; ".join(rest.pop("deny", ()))
    rest |= {key: given[key] for key in _AS_GIVEN if key in given}
    return Guard(
        name=name,
        kind=kind,
        action=given.get("action", _PLAIN.get(kind, "redact")),
        most=int(given.get("most", 0)),
        patterns=tuple(given.get("patterns", {}).items()),
        **rest,
    )


def _places(given: Found, path: Path, add: Callable[..., None]) -> None:
    can = _AT.get(given["kind"], STATIONS)
    for i, station in given.get("at", []):
        if station not in can:
            where = (*path, "at", i)
            message = f"a guard of the kind {given['kind']} can't check {station}"
            add(where, message, f"It checks {' and '.join(can)}." if can else "Leave at out.")


def _entities(given: Found, path: Path, add: Callable[..., None]) -> None:
    known = ENTITIES.get(given["kind"], ())
    for i, name in given.get("entities", []) if known else []:
        if name not in known:
            add((*path, "entities", i), f"{shown(name)} is not known", f"Use {', '.join(known)}.")


def _patterns(given: Found, path: Path, add: Callable[..., None]) -> None:
    for label, pattern in given.get("patterns", {}).items():
        try:
            regex(pattern)
        except PatternError as error:
            fix = "Write it in RE2's syntax, which has no look-around and no back-references."
            add((*path, "patterns", label), f"this is no regular expression: {error}", fix)


def _about(given: Found, path: Path, add: Callable[..., None]) -> None:
    """Of topics and languages: which."""
    if given["kind"] == "topics" and not given.get("deny"):
        message = "a guard of the kind topics needs deny"
        add(path, message, "Example: deny: [politics, medical advice]")
    if given["kind"] != "language":
        return
    if ("allow" in given) == ("deny" in given):
        message = "a guard of the kind language needs allow or deny, one of them"
        add(path, message, "Example: allow: [en, de]")
    for key in ("allow", "deny"):
        for i, code in given.get(key, []):
            if code not in LANGUAGES:
                fix = f"Languages (ISO 639-1) are: {', '.join(LANGUAGES)}."
                add((*path, key, i), f"the language {shown(code)} is not known", fix)


REDACTING: Final = ("pii", "secrets", "regex", "words", "code", "urls")
"""Kinds that find a part of a text."""


def check_names(found: Found, add: Callable[..., None]) -> None:
    """Policies, models and contents name guards that are there."""
    known = list(found.get("guards", {}))
    places: list[tuple[Path, Any]] = [
        (("policies", i), each) for i, each in found.get("policies", [])
    ]
    places += [(("models", name), each) for name, each in found.get("models", {}).items()]
    for path, entry in places:
        for i, name in entry.get("guard", []) if isinstance(entry, dict) else []:
            if name not in known:
                words = near(name, known) or known
                fix = f"Guards are: {', '.join(words[:10])}." if words else "Add it to guards."
                add((*path, "guard", i), f"no guard is called {shown(name)}", fix)
    _redactors(found, add)


def _redactors(found: Found, add: Callable[..., None]) -> None:
    """What contents are redacted by can redact."""
    can = [
        name for name, given in found.get("guards", {}).items() if given.get("kind") in REDACTING
    ]
    stored: list[tuple[Path, Any]] = [(("content",), found.get("content"))]
    for i, policy in found.get("policies", []):
        stored.append((("policies", i, "content"), policy.get("content")))
    for path, content in stored:
        for i, name in content.get("redact", []) if isinstance(content, dict) else []:
            if name not in can:
                fix = f"Guards that do: {', '.join(can[:10])}." if can else "Add one to guards."
                add((*path, "redact", i), f"no guard {shown(name)} can redact", fix)
