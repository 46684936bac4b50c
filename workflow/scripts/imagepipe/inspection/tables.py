"""CSV files, looked at: their columns, and the values of those that may say something."""

import codecs
import itertools
from dataclasses import dataclass, field
from pathlib import Path

from imagepipe.archives.pixel_tables import PIXEL
from imagepipe.dataset.tables import UNNAMED, parsed_rows, table_format, text_encoding
from imagepipe.errors import UserError
from imagepipe.inspection.images import image_keys
from imagepipe.inspection.listing import FoundFile, Listing, one_note

ENDINGS = ("csv", "tsv", "txt")
ENCODINGS = ("utf-8", "cp1252", "latin-1")
PIECE = 1 << 20
# Of wide tables, the values of these columns at either side are kept, and of the others the first
# rows alone.
KEPT_COLUMNS = 40
FIRST_ROWS = 1_000
MOST_ROWS = 3_000_000
MOST_COLUMNS = 20_000
# A column that holds the pixels of an image has longer values than any other.
LONG_VALUE = 100
FEWEST_PIXELS = 16


@dataclass
class Table:
    """A CSV file: its header, and the values of its columns.

    `columns` has the values of all rows, and those of wide tables' inner columns from the first
    rows. `n_pixels` is the number of pixels of the first row if the table holds images: with a
    column for each, or all in the column `pixels`. Neither is among the `columns`.
    """

    file: FoundFile
    header: list[str]
    columns: dict[str, list[str]]
    n_rows: int
    encoding: str
    n_pixels: int = 0
    pixels: str | None = None
    _keys: dict[str, set[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.file.name

    def keys(self, column: str) -> set[str]:
        """Return the keys of the images whose ids are in a column."""
        if column not in self._keys:
            self._keys[column] = image_keys(self.columns[column])
        return self._keys[column]

    def has_all(self, column: str) -> bool:
        """Return whether the values of all rows are kept."""
        return len(self.columns[column]) == self.n_rows


def read_tables(listing: Listing) -> list[Table]:
    """Return the CSV files, those outside of folders first.

    The listing gets a note on each that cannot be read.
    """
    found = [file for file in listing.files if file.ending in ENDINGS]
    found.sort(key=lambda file: (len(file.folders), file.path))
    tables: list[Table] = []
    for file in found:
        try:
            table = read_table(file, listing.on_disk(file))
            if file.ending != "txt" or len(table.header) > 1:
                tables.append(table)
        except UserError as error:
            if file.ending == "txt":  # most of these are no tables
                continue
            listing.notes.append(one_note(file.path, error))
    return tables


def read_table(file: FoundFile, path: Path) -> Table:
    """Return a table. Raises `UserError` if it cannot be read."""
    encoding = encoding_of(path)
    form = table_format(path, encoding)
    header = [name for name in form.header if not UNNAMED.fullmatch(name)]
    if not header or len(header) > MOST_COLUMNS or len(set(header)) != len(header):
        raise UserError("the first line is no header with different names")
    rows = (row for _, row in parsed_rows(path, form) if len(row) >= len(form.header))
    first = list(itertools.islice(rows, FIRST_ROWS))
    if not first:
        raise UserError("there are no rows")
    kept = [n for n, name in enumerate(form.header) if name in header]
    long = [n for n in kept if is_pixels(first[0][n])]
    pixel_columns = [n for n in kept if PIXEL.fullmatch(form.header[n])]
    n_pixels = len(first[0][long[0]].split()) if long else len(pixel_columns)
    if n_pixels < FEWEST_PIXELS:
        n_pixels, pixel_columns = 0, []
    kept = [n for n in kept if n not in long and (not pixel_columns or n not in pixel_columns)]
    wide = len(kept) > 2 * KEPT_COLUMNS
    of_all_rows = kept[:KEPT_COLUMNS] + kept[-KEPT_COLUMNS:] if wide else kept
    values = {n: [row[n].strip() for row in first] for n in kept}
    seen: dict[str, str] = {}
    n_rows = len(first)
    for row in itertools.islice(rows, MOST_ROWS):
        n_rows += 1
        for n in of_all_rows:
            value = row[n].strip()
            values[n].append(seen.setdefault(value, value))
    return Table(
        file,
        header,
        {form.header[n]: values[n] for n in kept},
        n_rows,
        encoding,
        n_pixels,
        form.header[long[0]] if long else None,
    )


def encoding_of(path: Path) -> str:
    """Return the first encoding that the whole file can be read in."""
    for encoding in ENCODINGS:
        # A byte-order mark says another.
        decoder = codecs.getincrementaldecoder(text_encoding(path, encoding))()
        try:
            with path.open("rb") as file:
                while piece := file.read(PIECE):
                    decoder.decode(piece)
            return encoding
        except UnicodeDecodeError:
            continue
    return ENCODINGS[0]


def is_pixels(value: str) -> bool:
    """Return whether a value is many numbers."""
    return len(value) > LONG_VALUE and all(part.isdigit() for part in value.split())
