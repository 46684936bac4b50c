"""Damaged tables and JSON files: they are read, or refused in one line."""

import json
import random
from pathlib import Path

import pytest

from builders import refused
from imagepipe.errors import UserError
from listed_images import matched

ODD = [b"\0", b'"', b"'", b",", b";", b"\t", b"\n", b"\r", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe"]
ODD += [b"[", b"{", b"1e999", b"-1", b"nan", b"null", b"\xe2\x80\xa8", b"|", b"\\", b"/", b" "]
TABLES = {
    "labels.csv": b"id,label,group\n1,cat,x\n2,dog,x\n3,cat,y\n4,dog,y\n",
    "sample.csv": b"id,cat,dog\n8,0.5,0.5\n9,0.5,0.5\n",
    "labels.json": json.dumps(
        {
            "images": [{"id": n, "file_name": f"{n}.png"} for n in range(1, 5)],
            "annotations": [{"image_id": n, "category_id": n % 2} for n in range(1, 5)],
            "categories": [{"id": n, "name": name} for n, name in enumerate(("cat", "dog"))],
        }
    ).encode(),
}


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Return the content with a few bytes taken out or put in."""
    for _ in range(draw.randint(1, 4)):
        start = draw.randrange(len(content) + 1)
        content = content[:start] + draw.choice(ODD) + content[start + draw.choice((0, 0, 1, 3)) :]
    return content


@pytest.mark.parametrize("labels", ["table", "columns", "coco"])
@pytest.mark.parametrize("seed", range(2))
def test_damaged_tables_are_read_or_refused_in_one_line(
    tmp_path: Path, labels: str, seed: int
) -> None:
    draw = random.Random(f"{labels} {seed}")
    file = "labels.json" if labels == "coco" else "labels.csv"
    for _ in range(60):
        tables = dict(TABLES)
        name = draw.choice([file, file, "sample.csv"])
        tables[name] = damaged(tables[name], draw)
        try:
            matched(
                tmp_path,
                [f"{n}.png" for n in range(1, 5)],
                ["8.png", "9.png"],
                tables,
                labels={"name": labels, "file": file},
                sample_submission="sample.csv",
                split={"name": "groups", "file": "labels.csv", "group_column": "group"},
                on_bad_image=draw.choice(["error", "drop"]),
            )
        except UserError as error:
            text = str(error)
            with refused():
                raise UserError(text) from None
