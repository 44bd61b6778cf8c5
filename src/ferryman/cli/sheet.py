"""Rows into files: CSV, JSON lines, Parquet. Few rows are in memory at a time."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

from ferryman.client import ApiError

Columns = Mapping[str, str]
"""Column → its type: text, int, float, bool, decimal, time (RFC 3339), json."""
Row = Sequence[Any]
FORMS: Final = (".csv", ".jsonl", ".parquet")
BATCH: Final = 10_000
"""Rows of a Parquet row group."""


def write(path: str, columns: Columns, rows: Iterable[Row]) -> int:
    """Write ``rows`` into a new file, whose name says the format; ``-`` is CSV on standard output.

    Returns how many there were. Raises :class:`ApiError`; then nothing stands at ``path`` that did
    not stand there before.
    """
    if path == "-":
        return _csv(sys.stdout, columns, rows)
    writers: dict[str, Callable[[Path, Columns, Iterable[Row]], int]] = {
        ".csv": _csv_file, ".jsonl": _json_file, ".parquet": _parquet_file,
    }  # fmt: skip
    writer = writers.get(Path(path).suffix.lower())
    if writer is None:
        raise ApiError(f"{path!r}: let the file's name end in {', '.join(FORMS)}.")
    with _draft(Path(path)) as draft:
        return writer(draft, columns, rows)


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A file beside ``path`` that takes its place once it is whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        raise ApiError(f"Can't write {path}: {error.strerror or error}.") from None
    finally:
        draft.unlink(missing_ok=True)


def _csv_file(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    with path.open("w", newline="", encoding="utf-8") as file:
        return _csv(file, columns, rows)


def _csv(file: IO[str], columns: Columns, rows: Iterable[Row]) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    kinds = tuple(columns.values())
    for row in rows:
        cells = [_cell(value, kind) for value, kind in zip(row, kinds, strict=True)]
        writer.writerow(cells)
        count += 1
    return count


def _cell(value: Any, kind: str) -> object:
    if kind == "json" and value is not None:
        return _json(value)
    if kind == "text" and isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t"):
        return f"'{value}"  # no spreadsheet is to take it for a formula: names come from callers
    return value


def _json(value: Any) -> str:
    if isinstance(value, str):  # FOCUS has it as text
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json_file(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            named = dict(zip(columns, row, strict=True))
            file.write(json.dumps(named, ensure_ascii=False) + "\n")
            count += 1
    return count


def _parquet_file(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ApiError("Parquet needs pyarrow: pip install 'ferryman[parquet]'.") from None
    types = {
        "text": pa.string(), "json": pa.string(), "int": pa.int64(), "float": pa.float64(),
        "bool": pa.bool_(), "decimal": pa.decimal128(38, 18), "time": pa.timestamp("us", "UTC"),
    }  # fmt: skip
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    reads = [_READS.get(kind, lambda value: value) for kind in columns.values()]
    count = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batched(rows):
            values = [
                [None if row[at] is None else read(row[at]) for row in batch]
                for at, read in enumerate(reads)
            ]
            writer.write_table(pa.table(values, schema=schema))
            count += len(batch)
    return count


def _decimal(value: str) -> Decimal:
    number = Decimal(value)
    exponent = number.as_tuple().exponent
    far = isinstance(exponent, int) and exponent < -18
    return number.quantize(Decimal(1).scaleb(-18)) if far else number


_READS: Final[dict[str, Callable[[Any], Any]]] = {
    "decimal": _decimal, "time": datetime.fromisoformat, "json": _json,
}  # fmt: skip


def batched(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """``rows`` in lists of at most ``BATCH``."""
    held: list[Row] = []
    for row in rows:
        held.append(row)
        if len(held) == BATCH:
            yield held
            held = []
    if held:
        yield held
