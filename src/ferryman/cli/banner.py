"""What ``ferryman up`` prints once it serves: where, with which key, and two commands to paste."""

import contextlib
import importlib.util
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ferryman import __version__
from ferryman.config.options import Options


def show(options: Options, facts: Mapping[str, object]) -> None:
    """Print the banner to standard output. ``facts``: what the planes reported when ready."""
    with contextlib.suppress(OSError, ValueError):  # nobody may be reading; we serve all the same
        sys.stdout.write(text(options, facts, color=sys.stdout.isatty()))
        sys.stdout.flush()


def text(options: Options, facts: Mapping[str, object], *, color: bool) -> str:
    """The banner; commands stand alone on their lines, ready to be copied."""

    def bold(words: str) -> str:
        return f"\x1b[1m{words}\x1b[0m" if color else words

    base = endpoint(options)
    key, note = _key(options, facts, shown=color)
    providers = _names(facts.get("providers"))
    lines = [
        bold(f"ready: Ferryman {__version__} serves {base}"),
        "",
        f"  Endpoint   {base}   (any OpenAI SDK: set base_url to this)",
        f"  Dashboard  {_dashboard(options, facts, shown=color)}",
        f"  Key        {note}",
        f"  Providers  {', '.join(providers) or 'none yet: ' + _HOW_TO_ADD}",
    ]
    model = facts.get("model")
    if providers and isinstance(model, str) and model:
        lines += ["", bold("Try it:"), "", _curl(base, key, model), "", _python(base, key, model)]
    elif providers:  # all of them the user's own, with models that only the user knows
        lines += ["", bold("Try it:"), "", f'curl {base}/models -H "authorization: Bearer {key}"']
    return "\n".join(lines) + "\n\n"


_HOW_TO_ADD: Final = "put a key such as OPENAI_API_KEY in the environment, and start again"


def endpoint(options: Options) -> str:
    """Base URL for callers on this machine."""
    scheme = "https" if options.tls_cert else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(options.host, options.host)  # noqa: S104
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{scheme}://{host}:{options.port}/v1"


def _key(options: Options, facts: Mapping[str, object], *, shown: bool) -> tuple[str, str]:
    """(what yields a key inside double quotes in a shell, line about it).

    The key itself is printed on the very first start, later only to a terminal (``shown``): logs
    are kept.
    """
    if options.key:
        return "$FERRYMAN_KEY", "the one in FERRYMAN_KEY"
    path = options.paths.first_key
    more = "make others: ferryman keys create NAME"
    with contextlib.suppress(OSError):
        key = path.read_text().strip()
        if facts.get("first_key_is_new") or shown:
            return key, f"{key}   ({more})"
        return f"$(cat {shlex.quote(str(path))})", f"in {path}   ({more})"
    return "$FERRYMAN_KEY", more


def _dashboard(options: Options, facts: Mapping[str, object], *, shown: bool) -> str:
    """Where it is. The link that lets in is treated as the key is."""
    entry = facts.get("entry")
    if entry and (facts.get("first_key_is_new") or shown):
        return f"{options.feed_url}/enter#{entry}   (works once, for an hour)"
    return f"{options.feed_url}   (a link that lets in: ferryman dashboard)"


def _curl(base: str, key: str, model: str) -> str:
    body = json.dumps(
        {
            "model": model,
            "stream": True,
            "messages": [{"role": "user", "content": "Say hello in one sentence."}],
        }
    )
    return (
        f"curl -N {base}/chat/completions -H 'content-type: application/json' "
        f'-H "authorization: Bearer {key}" -d {shlex.quote(body)}'
    )


def _python(base: str, key: str, model: str) -> str:
    """A line for the shell, with the OpenAI SDK where this Python has it."""
    python = _shortest(sys.executable)
    if importlib.util.find_spec("openai"):
        code = (
            "import sys, openai; "
            f"c = openai.OpenAI(base_url={base!r}, api_key=sys.argv[1]); "
            f"print(c.chat.completions.create(model={model!r}, "
            'messages=[{"role": "user", "content": "Say hello."}]).choices[0].message.content)'
        )
    else:
        code = (
            "import sys, json, urllib.request as u; "
            f"r = u.Request({base + '/chat/completions'!r}, "
            f'json.dumps({{"model": {model!r}, '
            '"messages": [{"role": "user", "content": "Say hello."}]}).encode(), '
            '{"content-type": "application/json", "authorization": "Bearer " + sys.argv[1]}); '
            'print(json.load(u.urlopen(r))["choices"][0]["message"]["content"])'
        )
    return f'{python} -c {_quote(code)} "{key}"'


def _quote(code: str) -> str:
    """``code`` as one shell word: in double quotes, which read better than escaped single ones."""
    for mark in ("\\", '"', "$", "`"):
        code = code.replace(mark, "\\" + mark)
    return f'"{code}"'


def _shortest(executable: str) -> str:
    """The interpreter as typed from the current directory, when it lies below it."""
    path = Path(executable)
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return shlex.quote(executable)


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []
