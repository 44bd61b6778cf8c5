"""What a running process holds in its memory, as a core dump of it would have it (Linux)."""

import re
from pathlib import Path


def holds(pid: int, needle: bytes) -> int:
    """How often ``needle`` is in the memory of ``pid``, in what it has freed as well."""
    count = 0
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if found is None or "[v" in line:  # not readable, or the kernel's
                continue
            begin, end = int(found[1], 16), int(found[2], 16)
            try:
                memory.seek(begin)
                count += memory.read(end - begin).count(needle)
            except OSError:
                continue
    return count
