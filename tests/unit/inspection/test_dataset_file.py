"""The command `imagepipe init`: what it writes and prints, and its errors."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from builders import SCRIPTS
from imagepipe.cli import main
from inspection_builders import Files, look, pictures, table, write, zipped

IDS = [f"a{n}" for n in range(12)]


def competition() -> Files:
    """Return the files of a competition with one probability column."""
    files = pictures("train", IDS, "jpg") | pictures("test", range(1, 5), "jpg")
    files["train.csv"] = table(["id,has_cat", *(f"{i}.jpg,{n % 2}" for n, i in enumerate(IDS))])
    files["sample_submission.csv"] = table(["id,has_cat", *(f"{n}.jpg,0.5" for n in range(1, 5))])
    return files


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["init", *map(str, arguments)])


def test_written_file(tmp_path: Path) -> None:
    (tmp_path / "cat-or-not.zip").write_bytes(zipped(competition()))
    found = look(tmp_path / "cat-or-not.zip", tmp_path / "found.yaml")
    assert found.text == (
        "# Written by `imagepipe init`. Keys not listed here keep their defaults.\n"
        "# To let Kaggle's files be downloaded, set `source: kaggle` and `competition: "
        "cat-or-not`.\n"
        "title: cat-or-not\n"
        "source: raw_dir\n"
        "files: [{name: cat-or-not.zip}]\n"
        "image_size: [6, 8]\n"
        "labels: {file: train.csv, label_column: has_cat}\n"
        "sample_submission: sample_submission.csv\n"
        "# CHOOSE: the competition's page says which; others: accuracy, log_loss\n"
        "metric: roc_auc\n"
    )


def test_printed_lines(tmp_path: Path) -> None:
    folder = write(tmp_path / "my cats", competition())
    target = tmp_path / "found.yaml"
    result = call(folder, "-o", target)
    assert result.output == (
        "12 training images in train/, 2 classes from train.csv (id → has_cat)\n"
        "4 test images in test/\n"
        "JPEG, 8×6 (width × height, in 16 images looked at)\n"
        "a submission like sample_submission.csv: has_cat, the probability of 1\n"
        "for photographs, recipe=probe and recipe=finetune start from an ImageNet network\n"
        f"wrote {target}; check the lines above and its 1 line below CHOOSE, then run:\n"
        f"  snakemake --cores all submission.csv --config dataset={target} "
        f"raw_dir='{folder}' recipe=thumbnails\n"
    )


def test_default_name_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "cats", competition())
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    before = sorted(folder.rglob("*"))
    assert call(folder).exit_code == 0
    assert (tmp_path / "work" / "cats.yaml").is_file()
    assert sorted(folder.rglob("*")) == before


def test_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    folder, target = write(tmp_path / "cats", competition()), tmp_path / "found.yaml"
    target.write_text("mine\n")
    result = call(folder, "-o", target)
    assert result.exit_code == 1 and target.read_text() == "mine\n"
    assert "exists; give another name by -o, or overwrite it by --force" in result.output
    assert call(folder, "-o", target, "--force").exit_code == 0
    assert "has_cat" in target.read_text()


def test_nothing_is_written_into_the_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "cats", competition())
    result = call(folder, "-o", folder / "found.yaml")
    assert "is in the folder that is looked at" in result.output
    assert not (folder / "found.yaml").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no images that can be read, but nothing"),
        ({"notes.md": b"x", "a.dcm": b"x"}, "holds no images that can be read, but 1 .dcm, 1 .md"),
        ({"train-images-idx3-ubyte.gz": b"x"}, "holds idx files (…-ubyte), which cannot be read"),
        ({"a.png": b"junk", "b.png": b"junk"}, "a.png: is no image that can be read"),
        (pictures("test", range(3)), "holds test images alone"),
        ({"train.zip": b"junk"}, "damaged, cut short or encrypted"),
        ({"in.zip": zipped({"junk.zip": b"junk"})}, "(junk.zip: damaged, cut short or encrypted"),
        (pictures("train", IDS) | {"test.zip": zipped(pictures("test", IDS))}, "unpack test.zip"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, files: Files, message: str) -> None:
    folder = tmp_path / "cats"
    folder.mkdir()
    result = call(write(folder, files), "-o", tmp_path / "found.yaml")
    assert result.exit_code == 1 and message in result.output
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "found.yaml").exists()


def test_missing_folder(tmp_path: Path) -> None:
    result = call(tmp_path / "cats")
    assert "does not exist; correct the path" in result.output


def test_tables_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    files = competition() | {"extra.csv": b"a,a\n1,2\n", "more.csv": b"PK\x03\x04junk"}
    result = call(write(tmp_path / "cats", files), "-o", tmp_path / "found.yaml")
    assert result.exit_code == 0
    assert "extra.csv: the first line is no header with different names" in result.output
    assert "more.csv: is a zip archive, not a CSV file" in result.output


def test_damaged_bundles_end_in_one_line(tmp_path: Path) -> None:
    """A bundle with a few wrong bytes is understood, or refused in one line."""
    files = competition()
    inner = zipped({name: one for name, one in files.items() if name.startswith("train/")})
    content = zipped({"train.zip": inner} | {n: o for n, o in files.items() if "train/" not in n})
    draw = random.Random(0)
    for _ in range(100):
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 3, 20))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        bundle = tmp_path / "cats.zip"
        bundle.write_bytes(damaged[: draw.choice((len(damaged), draw.randrange(len(damaged))))])
        result = call(bundle, "-o", tmp_path / "found.yaml", "--force")
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        assert result.exit_code == 0 or len(result.output.splitlines()) == 1


def test_other_commands_do_not_import_the_room() -> None:
    code = "import sys, imagepipe.cli; print('imagepipe.archives' in sys.modules)"
    call = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    assert subprocess.check_output(call, env=environment, text=True) == "False\n"


def test_large_inner_archive_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its listing is at its end, and is found without a copy."""
    monkeypatch.setattr("imagepipe.inspection.holders.SMALL", 1_000)
    monkeypatch.setattr("imagepipe.inspection.holders.TAIL", 2_000)
    files = competition()
    inner = zipped({name: one for name, one in files.items() if name.startswith("train/")})
    rest = {name: one for name, one in files.items() if not name.startswith("train/")}
    (tmp_path / "cats.zip").write_bytes(zipped({"train.zip": inner, **rest}))
    found = look(tmp_path / "cats.zip", tmp_path / "found.yaml")
    assert "12 training images in train/" in found.lines


def test_inner_archive_that_is_too_large_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagepipe.inspection.listing.LARGEST_READ", 1_000)
    files = competition()
    bundle = {"more.zip": zipped(pictures("more", range(50)))} | files
    (tmp_path / "cats.zip").write_bytes(zipped(bundle))
    found = look(tmp_path / "cats.zip", tmp_path / "found.yaml")
    assert "more.zip: has 0.0 GB; unpack cats.zip to look at it" in found.lines
