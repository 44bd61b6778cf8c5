"""How long guards take for 2 KB of text, whole and in pieces of 20 characters, as streams do.

python -m bench.guards
"""

import time
from statistics import median

from ferryman.config.snapshot import Guard
from ferryman.guard.engine import REPLY, Engine, Session, TextCheck

TEXT = (
    "Dear Ms Smith, on 12 May 2026 we shipped order 48213 to Berlin; it costs 12.50 EUR. "
    "Write to ann@example.org or call +49 30 901820, and see https://example.org/a/path?with=more. "
) * 12
TEXT = TEXT[:2048]
ROUNDS = 200


def main() -> None:
    """Print the median of each kind, in milliseconds."""
    own = [f"sk-a-key-of-a-provider-{i:032x}" for i in range(40)]
    guards = (
        Guard(name="pii", kind="pii"),
        Guard(name="secrets", kind="secrets"),
        Guard(name="regex", kind="regex", patterns=(("bird", "(?i)blue.heron"),)),
        Guard(name="urls", kind="urls", allow=("example.com",)),
    )
    engine = Engine(guards, own)
    pieces = [TEXT[i : i + 20] for i in range(0, len(TEXT), 20)]
    for guard in guards:
        for name, parts in (("whole", [TEXT]), ("streamed", pieces)):
            times = []
            for _ in range(ROUNDS):
                check = TextCheck(Session(engine, [guard.name]), REPLY, answer=True)
                began = time.perf_counter()
                for part in parts:
                    check.feed(part)
                check.close()
                times.append(time.perf_counter() - began)
            print(f"{guard.name:8} {name:9} {median(times) * 1000:6.2f} ms")


if __name__ == "__main__":
    main()
