"""Tables of classes: CSV files as people and spreadsheets write them."""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from pathlib import Path

from jaxgan.errors import InputError


def read_header(path: Path) -> list[str]:
    """The names of a table's columns."""
    return _read_rows(path)[0]


def read_labels(path: Path, column: str | None = None) -> dict[str, str]:
    """`{name: class}` from a CSV file with a header, in comma, semicolon or tab form; names are in its first column."""
    rows = _read_rows(path)
    header = rows[0]
    if column is not None and column not in header:
        raise InputError(f"label_column={column!r}: {path} has {', '.join(header)}")
    index = 1 if column is None else header.index(column)
    short = [number for number, row in enumerate(rows[1:], 2) if row and (len(row) <= index or not row[index])]
    if short:
        raise InputError(f"{path}: line {short[0]} has no {column or 'class'}; complete or remove it")
    return {row[0]: row[index] for row in rows[1:] if row}


def _read_rows(path: Path) -> list[list[str]]:
    if not path.exists():
        raise InputError(f"{path}: no such file; give the table of file names and classes")
    try:
        content = path.read_bytes()
        # Spreadsheets write UTF-16 with a byte-order mark, or UTF-8 with or without one.
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = unicodedata.normalize("NFC", content.decode("utf-16" if wide else "utf-8-sig"))
        rows = list(csv.reader(io.StringIO(text, newline=""), _dialect(text)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}); give a comma-separated UTF-8 table") from None
    if len(rows) < 2 or len(rows[0]) < 2:
        raise InputError(f"{path}: needs a header, a column of names, a column of classes and one row at least")
    return rows


def _dialect(text: str) -> type[csv.Dialect] | csv.Dialect:
    """How the table separates its columns: by commas, semicolons or tabs."""
    header = text.splitlines()[0] if text else ""
    try:
        return csv.Sniffer().sniff(header, ",;\t")
    except csv.Error:  # one column
        return csv.excel
