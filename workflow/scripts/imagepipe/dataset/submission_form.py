"""The header and the ids that a submission must have."""

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagepipe.config.dataset import Submission
from imagepipe.errors import UserError, quoted
from imagepipe.files import natural_key, read_rows


@dataclass(frozen=True)
class Form:
    """The header of a submission, and its ids in order: {written id: the image's id}.

    The two differ where the competition writes ids with the images' extension.
    """

    header: tuple[str, ...]
    ids: dict[str, str]


def read_form(
    sample: Path | None,
    options: Submission,
    ids: Collection[str],
    classes: Sequence[str],
    image_extension: str = "png",
) -> Form:
    """Return the header and ids of the sample submission, or of one made from the dataset.

    Raises `UserError` if the sample has other ids than `ids`, or columns that do not fit its
    format.
    """
    if sample is None:
        columns = classes if options.format == "probability" else [options.label_column]
        in_order = sorted(ids, key=natural_key)
        return Form((options.id_column, *columns), dict(zip(in_order, in_order, strict=True)))
    header = read_header(sample)
    if options.format == "probability":
        if sorted(header[1:]) != sorted(classes):
            raise UserError(
                f"{sample}: row 1: the columns {', '.join(header[1:])} are not the classes "
                f"{', '.join(classes)}; correct the labels, or submission.format"
            )
    elif len(header) != 2:
        raise UserError(
            f"{sample}: row 1: has {len(header)} columns where an id and a label are expected; "
            "set submission.format to probability in the dataset file"
        )
    return Form(header, read_ids(sample, header[0], ids, image_extension))


def read_ids(
    sample: Path, id_column: str, ids: Collection[str], image_extension: str = "png"
) -> dict[str, str]:
    """Return {written id: the image's id} of the sample submission, in its order.

    Raises `UserError` if they are not exactly `ids`, each once.
    """
    written: dict[str, str] = {}
    known, found = set(ids), set[str]()
    for row, (written_id,) in read_rows(sample, (id_column,)):
        image_id = written_id.removesuffix(f".{image_extension}")
        if image_id in found:
            raise UserError(
                f"{sample}: row {row}: the id {quoted(image_id)} is there twice; remove one"
            )
        if image_id not in known:
            raise UserError(
                f"{sample}: row {row}: there is no test image with id {quoted(image_id)}; "
                "get the test archive again, or the sample submission"
            )
        found.add(image_id)
        written[written_id] = image_id
    for image_id in ids:
        if image_id not in found:
            raise UserError(
                f"{sample}: there is no row for the test image with id {quoted(image_id)}; "
                "get the sample submission again, or the test archive"
            )
    return written


def read_header(path: Path) -> tuple[str, ...]:
    """Return the column names of a CSV file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = tuple(name.strip() for name in next(csv.reader(file), []))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a UTF-8 CSV file ({error}); get it again") from None
    if not header or not all(header) or len(set(header)) != len(header):
        raise UserError(f"{path}: row 1: is not a header with a name for each column; correct it")
    return header
