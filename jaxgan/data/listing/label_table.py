"""Tables of classes: CSV files as people and spreadsheets write them."""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from jaxgan.data.listing.series import is_dicom
from jaxgan.data.readers import suffix_of
from jaxgan.errors import InputError


def read_header(path: Path) -> list[str]:
    """The names of a table's columns."""
    return _read_rows(path)[0]


def read_labels(path: Path, column: str | None = None) -> dict[str, str]:
    """`{name: class}` from a CSV file with a header, in comma, semicolon or tab form; names are in its first column.

    Raises:
      InputError: a table that cannot be read, no such column, a row without a class, or one name with two.
    """
    rows = _read_rows(path)
    header = rows[0]
    if column is not None and column not in header:
        raise InputError(f"label_column={column!r}: {path} has {', '.join(header)}")
    index = 1 if column is None else header.index(column)
    short = [number for number, row in enumerate(rows[1:], 2) if row and (len(row) <= index or not row[index])]
    if short:
        raise InputError(f"{path}: line {short[0]} has no {column or 'class'}; complete or remove it")
    found: dict[str, str] = {}
    for number, row in enumerate(rows[1:], 2):
        if row and found.setdefault(row[0], row[index]) != row[index]:
            raise InputError(
                f"{path}: line {number} has {row[index]!r} for {row[0]!r}, an earlier one {found[row[0]]!r}; name files"
                " of one name by their path below the source"
            )
    return found


def read_classes(path: Path, column: str | None, labelled: bool | None, group: str) -> dict[str, str] | None:
    """`{name: class}` as `read_labels`, or None where a table is there for the subjects of its files only.

    Args:
      path: the table.
      column: of the classes; None: the second.
      labelled: False: no classes are wanted.
      group: what names the subjects, perhaps a column.

    Raises:
      InputError: a table of which nothing would be used, or whose subjects would pass for classes.
    """
    header = read_header(path)
    if labelled is False:
        if not group or group not in header:
            raise InputError(
                f"labels={path}: no classes are wanted (--unlabelled), and --group names none of its columns"
                f" ({', '.join(header)}); leave the table out, or name one"
            )
        return None
    if column is None and group and header[1] == group:
        if len(header) > 2:
            raise InputError(
                f"labels={path}: its second column {group!r} is the --group, and no class; name the column of the"
                " classes by --label_column, or keep to two columns"
            )
        return None
    return read_labels(path, column)


def match(paths: Iterable[Path], root: Path, table: dict[str, str]) -> dict[Path, str]:
    """What a table says of each file; "" where it has no row.

    Args:
      paths: below `root`.
      root: the source.
      table: by the path below `root` or by the name, either with or without suffix; of a slice, also by its folder's.

    Raises:
      InputError: two files that only their folders tell apart have one row, which names no folder.
    """
    found: dict[Path, str] = {}
    owners: dict[str, Path] = {}
    for path in paths:
        # macOS writes u and two dots, tables ü.
        place = Path(unicodedata.normalize("NFC", path.relative_to(root).as_posix() if path != root else path.name))
        bare = place.name[: len(place.name) - len(suffix_of(place))]
        names = [place.with_name(bare).as_posix(), place.as_posix(), bare, place.name]
        if is_dicom(path):
            names.append(path.parent.name)
        key = next((name for name in names if name in table), None)
        found[path] = "" if key is None else table[key]
        if key in (bare, place.name) and owners.setdefault(key, path) != path and not is_dicom(path):
            raise InputError(
                f"{path} and {owners[key]}: are both {key!r} in the table; name them there by their path below {root}"
            )
    return found


def _read_rows(path: Path) -> list[list[str]]:
    if not path.exists():
        raise InputError(f"{path}: no such file; give the table of file names and classes")
    try:
        content = path.read_bytes()
        # Spreadsheets write UTF-16 with a byte-order mark, or UTF-8 with or without one.
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = unicodedata.normalize("NFC", content.decode("utf-16" if wide else "utf-8-sig"))
        # Spreadsheets leave blanks behind words, and rows of empty cells behind tables.
        cells = ([cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""), _dialect(text)))
        rows = [row if any(row) else [] for row in cells]
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
