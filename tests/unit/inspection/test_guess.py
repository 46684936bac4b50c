"""Competitions and folders of many kinds: what `imagepipe init` takes them for."""

import gzip
import io
import json
import tarfile
import zipfile
from itertools import product
from pathlib import Path

import py7zr
import pytest
from PIL import ExifTags, Image

from inspection_builders import Files, Found, look, picture, pictures, table, write, zipped

TRAIN = [f"a{n}" for n in range(12)]
TEST = [f"b{n}" for n in range(5)]
LABELS = ["cat", "dog"] * 6


@pytest.fixture
def found(tmp_path: Path) -> object:
    def looked_at(files: Files, *, bundle: bool = False, run: bool = True) -> Found:
        source = write(tmp_path / "pets", files)
        if bundle:
            source = tmp_path / "pets.zip"
            source.write_bytes(zipped(files))
        return look(source, tmp_path / "found.yaml", run=run)

    return looked_at


def split_folders(ending: str = "png") -> Files:
    return pictures("train", TRAIN, ending) | pictures("test", TEST, ending)


def label_rows(ids: list[str], labels: list[str] = LABELS) -> list[str]:
    return [f"{i},{label}" for i, label in zip(ids, labels, strict=True)]


def test_folder_of_class_folders(found) -> None:
    files = pictures("cat", range(6)) | pictures("dog", range(6))
    one = found(files, run=False)
    assert one.keys["labels"] == {"name": "folders"}
    assert one.keys["source"] == "folder" and one.keys["train_folder"] == "."
    assert one.choose == ["test_folder"]
    assert "12 training images in the folder itself, 2 classes as folders" in one.lines


def test_tree_like_imagenet(found) -> None:
    files: Files = {}
    for part, label in product(("train", "val", "test"), ("cat", "dog")):
        files |= pictures(f"{part}/{label}", range(4))
    one = found(files)
    assert one.keys["labels"] == {"name": "folders"} and not one.choose
    assert "8 images in val/ are not used" in one.lines
    assert "8 test images in test/" in one.lines


def test_validation_folder_stands_in_for_a_test_folder(found) -> None:
    files: Files = {}
    for part, label in product(("train", "val"), ("cat", "dog")):
        files |= pictures(f"{part}/{label}", range(4))
    one = found(files)
    assert one.keys["test_folder"] == "val" and one.choose == ["test_folder"]


def test_semicolons_in_utf_16_with_the_decimals_of_another_country(found) -> None:
    rows = ["bild;alter;klasse", *(f"{i}.PNG;1,{n};{LABELS[n]}" for n, i in enumerate(TRAIN))]
    one = found(split_folders() | {"labels.csv": table(rows, "utf-16")})
    assert one.keys["labels"]["id_column"] == "bild"
    assert one.keys["labels"]["label_column"] == "klasse"
    assert "encoding" not in one.keys


def test_latin_1_is_said_in_the_file(found) -> None:
    rows = ["id,label", *label_rows(TRAIN, ["Kätzchen", "Hündchen"] * 6)]
    one = found(split_folders() | {"labels.csv": table(rows, "latin-1")})
    assert one.keys["encoding"] == "cp1252"


def test_ids_with_paths_and_an_index_column(found) -> None:
    rows = [",path,label", *(f"{n},train/{row}" for n, row in enumerate(label_rows(TRAIN)))]
    one = found(split_folders() | {"labels.csv": table(rows)})
    assert one.keys["labels"] == {"file": "labels.csv", "id_column": "path"}


def test_labels_beside_class_folders_say_the_same(found) -> None:
    files = pictures("train/c0", TRAIN[:6]) | pictures("train/c1", TRAIN[6:])
    files |= pictures("test", TEST)
    rows = ["img,classname", *label_rows(TRAIN, ["c0"] * 6 + ["c1"] * 6)]
    assert found(files | {"list.csv": table(rows)}).keys["labels"] == {"name": "folders"}


def test_labels_in_a_table_beside_folders_that_are_no_classes(found) -> None:
    files = pictures("train/0", TRAIN[:6]) | pictures("train/1", TRAIN[6:])
    files |= pictures("test", TEST)
    rows = ["id,species", *label_rows(TRAIN)]
    one = found(files | {"list.csv": table(rows)})
    assert one.keys["labels"] == {"file": "list.csv", "label_column": "species"}


def test_several_labels_in_an_archive_in_an_archive(tmp_path: Path) -> None:
    tags = ["haze primary", "clear primary", "clear primary water", "haze", "clear water road"]
    rows = ["image_name,tags", *(f"{i},{tags[n % 5]}" for n, i in enumerate(TRAIN))]
    sample = ["image_name,tags", *(f"{i},primary clear water" for i in TEST)]
    files = {
        "train-jpg.zip": zipped(pictures("train-jpg", TRAIN, "jpg")),
        "test-jpg.zip": zipped(pictures("test-jpg", TEST, "jpg")),
        "train_v2.csv.zip": zipped({"train_v2.csv": table(rows)}),
        "sample_submission_v2.csv": table(sample),
    }
    (tmp_path / "planet.zip").write_bytes(zipped(files))
    one = look(tmp_path / "planet.zip", tmp_path / "found.yaml")
    assert one.keys["labels"] == {
        "file": "train_v2.csv",
        "id_column": "image_name",
        "label_column": "tags",
        "separator": " ",
    }
    assert (one.keys["train_folder"], one.keys["test_folder"]) == ("train-jpg", "test-jpg")
    assert one.keys["metric"] == "f1_samples" and one.choose == ["metric"]
    assert "6 classes" not in one.lines and "5 classes from train_v2.csv" in one.lines


def test_names_of_two_words_are_not_several_labels(found) -> None:
    names = ["Fat Hen", "Common wheat", "Common Chickweed", "Maize"] * 3
    one = found(split_folders() | {"l.csv": table(["id,label", *label_rows(TRAIN, names)])})
    assert one.keys["labels"] == {"file": "l.csv"}


def test_several_ones_in_columns(found) -> None:
    rows = ["id,rust,scab,rot", *(f"{i},{n % 2},{n % 3 // 2},1" for n, i in enumerate(TRAIN))]
    one = found(split_folders() | {"l.csv": table(rows)})
    assert one.keys["labels"] == {"name": "columns", "file": "l.csv", "several": True}


def test_many_columns_of_many_rows(found) -> None:
    ids = [f"a{n}" for n in range(1100)]
    classes = [f"c{n}" for n in range(100)]
    rows = [f"{i}," + ",".join("01"[n % 100 == k] for k in range(100)) for n, i in enumerate(ids)]
    files = pictures("train", ids) | pictures("test", TEST)
    files["labels.csv"] = table([f"id,{','.join(classes)}", *rows])
    one = found(files, run=False)
    assert one.keys["labels"] == {"name": "columns", "file": "labels.csv"}


def test_labels_amid_many_columns_of_many_rows(found) -> None:
    names = [f"x{n}" for n in range(50)]
    labels = ["cat", "dog"] * 550
    rows = [f"{n},{'0.5,' * 50}{label}{',train,0.5' * 50}" for n, label in enumerate(labels)]
    header = f"id,{','.join(names)},label,{','.join(f's{n},y{n}' for n in range(50))}"
    files = pictures("train/cat", range(0, 1100, 2)) | pictures("train/dog", range(1, 1100, 2))
    files |= pictures("test", TEST) | {"labels.csv": table([header, *rows])}
    one = found(files, run=False)
    assert one.keys["labels"] == {"name": "folders"}
    assert "2 classes" in one.lines


@pytest.mark.parametrize("sample", [["id,cancer", *(f"{i},0.5" for i in TEST)], None])
def test_columns_of_0_and_1_beside_the_labels_are_features(found, sample) -> None:
    name = "cancer" if sample else "target"
    rows = [f"{i},{n % 2},{n % 3 % 2},{n % 5 % 2},{n // 6}" for n, i in enumerate(TRAIN)]
    files = split_folders() | {"labels.csv": table([f"id,hair,ruler,ink,{name}", *rows])}
    if sample:
        files["sample_submission.csv"] = table(sample)
    one = found(files)
    assert one.keys["labels"] == {"file": "labels.csv", "label_column": name}


def test_the_column_with_most_of_the_samples_classes_has_the_labels(found) -> None:
    rows = [f"{i},{n % 2},{n % 4}" for n, i in enumerate(TRAIN)]
    sample = [f"id,{','.join('0123')}", *(f"{i},0.25,0.25,0.25,0.25" for i in TEST)]
    files = split_folders() | {"labels.csv": table(["id,fold,label", *rows])}
    one = found(files | {"sample_submission.csv": table(sample)})
    assert one.keys["labels"] == {"file": "labels.csv"}
    assert "a probability for each of 4 classes" in one.lines


def test_values_of_the_sample_tell_the_column_before_its_name(found) -> None:
    rows = [f"{i},{n % 2},{LABELS[n]}" for n, i in enumerate(TRAIN)]
    sample = table(["id,label", *(f"{i},dog" for i in TEST)])
    files = split_folders() | {"labels.csv": table(["id,label,animal", *rows])}
    one = found(files | {"sample_submission.csv": sample})
    assert one.keys["labels"] == {"file": "labels.csv", "label_column": "animal"}


def test_labels_of_the_sample_that_no_image_has_are_said(found) -> None:
    rows = [f"{i},{LABELS[n]}" for n, i in enumerate(TRAIN)]
    sample = table(["id,label", *(f"{i},bird" for i in TEST)])
    files = split_folders() | {"labels.csv": table(["id,label", *rows])}
    one = found(files | {"sample_submission.csv": sample})
    assert "has 'bird', which no training image is" in one.lines


def test_of_two_columns_named_as_labels_a_human_chooses(found) -> None:
    rows = [f"{i},{n % 3},{LABELS[n]}" for n, i in enumerate(TRAIN)]
    one = found(split_folders() | {"labels.csv": table(["id,type,label", *rows])})
    assert one.keys["labels"] == {"file": "labels.csv"}
    assert one.choose == ["labels"] and "or type?" in one.text


def test_two_columns_that_say_the_same_need_no_human(tmp_path: Path) -> None:
    rows = [f"{i},{n % 2},{LABELS[n]}" for n, i in enumerate(TRAIN)]
    files = split_folders() | {"labels.csv": table(["id,class,label", *rows])}
    one = look(write(tmp_path / "pets", files), tmp_path / "found.yaml")
    assert one.keys["labels"] == {"file": "labels.csv"} and not one.choose


def test_zeros_in_the_sample_may_be_labels_or_probabilities(found) -> None:
    files = split_folders("tif")
    files["train_labels.csv"] = table(["id,label", *label_rows(TRAIN, ["0", "1"] * 6)])
    files["sample_submission.csv"] = table(["id,label", *(f"{i},0" for i in TEST)])
    one = found(files)
    assert one.keys["metric"] == "roc_auc" and one.choose == ["metric"]
    assert "label, the probability of 1" in one.lines and "TIFF" in one.lines


def test_probability_of_a_class_that_the_sample_does_not_name(found) -> None:
    names = [f"{label}.{n}" for label in ("cat", "dog") for n in range(6)]
    files = pictures("train", names) | pictures("test", range(1, 4))
    files["sample_submission.csv"] = table(["id,label", "1,0.5", "2,0.5", "3,0.5"])
    one = found(files)
    assert one.keys["labels"]["name"] == "file_names"
    assert one.keys["submission"] == {"name": "probability", "positive": "dog"}
    assert one.choose == ["submission", "metric"]


def test_several_likeliest_classes(found) -> None:
    names = ["new_whale", "w_1", "w_2"] * 4
    files = split_folders()
    files["train.csv"] = table(["Image,Id", *label_rows([f"{i}.png" for i in TRAIN], names)])
    sample = ["Image,Id", *(f"{i}.png,new_whale w_1 w_2" for i in TEST)]
    files["sample_submission.csv"] = table(sample)
    one = found(files)
    assert one.keys["labels"]["label_column"] == "Id" and one.keys["metric"] == "map_at_3"


def test_columns_that_tell_the_label_and_groups(found) -> None:
    header = "image_name,patient_id,age,diagnosis,benign_malignant,target"
    rows = [
        f"{i},p{n // 3},{20 + n}.5,{'nevus' if n % 2 else 'unknown'},"
        f"{'malignant' if n % 4 == 0 else 'benign'},{int(n % 4 == 0)}"
        for n, i in enumerate(TRAIN)
    ]
    files = split_folders() | {"train.csv": table([header, *rows])}
    files["sample_submission.csv"] = table(["image_name,target", *(f"{i},0" for i in TEST)])
    one = found(files)
    assert one.keys["labels"]["label_column"] == "target"
    assert one.keys["split"] == {
        "name": "groups",
        "file": "train.csv",
        "id_column": "image_name",
        "group_column": "patient_id",
    }


def test_one_folder_told_apart_by_the_tables(found) -> None:
    files = pictures("images", [*TRAIN, *TEST])
    files["train.csv"] = table(["id,species", *label_rows(TRAIN)])
    files["test.csv"] = table(["id,width", *(f"{i},8" for i in TEST)])
    one = found(files)
    assert one.keys["train_folder"] == "images" and one.keys["test_folder"] is None
    assert one.keys["test_ids"] == {"file": "test.csv"}
    assert "12 training images" in one.lines and "5 test images" in one.lines


def test_a_column_tells_training_and_test_images_apart(found) -> None:
    rows = ["id,label,set", *(f"{row},train" for row in label_rows(TRAIN))]
    rows += [f"{i},cat,test" for i in TEST]
    one = found(pictures("images", [*TRAIN, *TEST]) | {"all.csv": table(rows)})
    assert one.keys["labels"] == {"file": "all.csv", "where": {"set": "train"}}
    assert one.keys["test_ids"] == {"file": "all.csv", "where": {"set": "test"}}
    assert "12 training images" in one.lines and "5 test images" in one.lines


def coco(names: list[str], labels: list[str] | None) -> bytes:
    content: dict[str, object] = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names)]
    }
    if labels:
        kinds = sorted(set(labels))
        content["categories"] = [{"id": n, "name": name} for n, name in enumerate(kinds)]
        content["annotations"] = [
            {"id": n, "image_id": n, "category_id": kinds.index(name)}
            for n, name in enumerate(labels)
        ]
    return json.dumps(content).encode()


def test_json_like_coco(found) -> None:
    files = pictures("train/sub", TRAIN, "jpg") | pictures("test", TEST, "jpg")
    files["train.json"] = coco([f"train/sub/{i}.jpg" for i in TRAIN], LABELS)
    files["test.json"] = coco([f"test/{i}.jpg" for i in TEST], None)
    files["sample_submission.csv"] = table(["id,predicted", *(f"{n},0" for n in range(5))])
    one = found(files)
    assert one.keys["labels"] == {"name": "coco", "file": "train.json"}
    assert one.keys["test_ids"] == {"file": "test.json"}
    assert {file["name"] for file in one.keys["files"]} == {
        "train.json",
        "test.json",
        "sample_submission.csv",
    }


def test_a_column_for_each_pixel(found) -> None:
    names = ",".join(f"pixel{n}" for n in range(16))
    values = ",".join("0" for _ in range(16))
    files = {
        "train.csv": table([f"label,{names}", *(f"{n % 3},{values}" for n in range(9))]),
        "test.csv": table([names, *(values for _ in range(4))]),
        "sample_submission.csv": table(["ImageId,Label", *(f"{n},0" for n in range(1, 5))]),
    }
    one = found(files)
    assert one.keys["pixels"] == {"train": "train.csv", "test": "test.csv"}
    assert one.keys["labels"] == {"file": "train.csv", "id_column": None}
    assert one.keys["image_size"] == 4 and one.keys["metric"] == "accuracy"


def test_all_pixels_in_one_column_and_the_parts_in_another(found) -> None:
    values = " ".join("128" for _ in range(48 * 48))
    parts = ["Training"] * 6 + ["PublicTest"] * 2 + ["PrivateTest"] * 2
    rows = ["emotion,pixels,Usage", *(f"{n % 3},{values},{one}" for n, one in enumerate(parts))]
    one = found({"fer2013.csv": table(rows)})
    assert one.keys["pixels"] == {
        "train": "fer2013.csv",
        "test": "fer2013.csv",
        "column": "pixels",
        "train_where": {"Usage": "Training"},
        "test_where": {"Usage": "PrivateTest"},
    }
    assert one.keys["labels"] == {
        "file": "fer2013.csv",
        "id_column": None,
        "label_column": "emotion",
        "where": {"Usage": "Training"},
    }
    assert one.keys["image_size"] == 48 and one.choose == ["pixels"]


def test_labels_that_are_missing_are_a_line_for_a_human(found) -> None:
    one = found(split_folders(), run=False)
    assert one.choose == ["labels"]


def test_rows_without_image_are_dropped_by_the_command(found) -> None:
    files = split_folders()
    files["labels.csv"] = table(["id,label", *label_rows(TRAIN), "zz,cat"])
    one = found(files, run=False)
    assert "0 images without label and 1 labels without image" in one.lines
    assert "on_bad_image=drop" in one.lines


def test_sample_of_some_of_the_images_in_the_test_folder(found) -> None:
    files = split_folders() | {"labels.csv": table(["id,label", *label_rows(TRAIN)])}
    files["sample_submission.csv"] = table(["id,label", *(f"{i},cat" for i in TEST[:3])])
    one = found(files)
    assert one.keys["test_ids"] == {"file": "sample_submission.csv"}
    assert "3 test images" in one.lines


def test_column_usage_of_the_sample_is_passed_over(found) -> None:
    files = split_folders() | {"labels.csv": table(["id,label", *label_rows(TRAIN)])}
    usages = ["Public", "Private", *("Ignored" for _ in TEST[2:])]
    rows = [f"{i},cat,{usage}" for i, usage in zip(TEST, usages, strict=True)]
    files["sample_submission.csv"] = table(["id,label,Usage", *rows])
    assert found(files).keys["metric"] == "accuracy"


def test_junk_is_passed_over(found) -> None:
    files = split_folders() | {"labels.csv": table(["id,label", *label_rows(TRAIN)])}
    files |= pictures("test/.ipynb_checkpoints", ["b0-checkpoint"])
    files |= pictures("test/@eaDir", ["b0"]) | {"train/._a0.png": b"junk", "Thumbs.db": b"junk"}
    one = found(files)
    assert "5 test images" in one.lines and "12 training images" in one.lines


def test_bundle_of_one_folder(found) -> None:
    files = {f"pets-master/{name}": content for name, content in split_folders().items()}
    files["pets-master/labels.csv"] = table(["id,label", *label_rows(TRAIN)])
    one = found(files, bundle=True)
    assert one.keys["source"] == "raw_dir" and one.keys["files"] == [{"name": "pets.zip"}]
    assert "train_folder" not in one.keys and one.keys["labels"] == {"file": "labels.csv"}


def test_images_of_one_small_size(found) -> None:
    files = split_folders() | {"labels.csv": table(["id,label", *label_rows(TRAIN)])}
    assert found(files).keys["image_size"] == [6, 8]


def test_images_of_several_sizes(found) -> None:
    files = split_folders() | {"labels.csv": table(["id,label", *label_rows(TRAIN)])}
    files["train/a0.png"] = picture(size=(80, 60))
    one = found(files)
    assert "image_size" not in one.keys
    assert "PNG, 2 sizes from 8×6 to 80×60" in one.lines


def test_a_class_that_is_called_train(found) -> None:
    files: Files = {}
    for label in ("car", "plane", "train"):
        files |= pictures(f"vehicles/{label}", range(4))
    one = found(files, run=False)
    assert one.keys["labels"] == {"name": "folders"} and "3 classes" in one.lines
    assert "12 training images" in one.lines


def test_numbers_without_their_zeros(found) -> None:
    names = [f"{n:05}" for n in range(1, 13)]
    rows = ["id,label", *label_rows([str(n) for n in range(1, 13)])]
    files = pictures("train", names) | pictures("test", TEST) | {"l.csv": table(rows)}
    assert found(files).keys["labels"] == {"file": "l.csv"}


def test_labels_of_the_test_images(found) -> None:
    files = split_folders()
    files["train.csv"] = table(["id,label", *label_rows(TRAIN)])
    files["test.csv"] = table(["id,label", *label_rows(TEST, LABELS[:5])])
    assert found(files).keys["true_labels"] == "test.csv"


def test_compressed_tables_and_a_7z_archive_of_a_tar_archive(tmp_path: Path) -> None:
    folder = tmp_path / "planet"
    files = {"labels.csv.gz": gzip.compress(table(["id,label", *label_rows(TRAIN)]))}
    write(folder, files)
    for part, names in (("train", TRAIN), ("test", TEST)):
        write(tmp_path / part, pictures(f"{part}-jpg", names, "jpg"))
        inner = tmp_path / f"{part}-jpg.tar"
        with tarfile.open(inner, "w") as archive:
            archive.add(tmp_path / part / f"{part}-jpg", f"{part}-jpg")
        with py7zr.SevenZipFile(folder / f"{part}-jpg.tar.7z", "w") as archive:
            archive.write(inner, inner.name)
    one = look(folder, tmp_path / "found.yaml")
    assert (one.keys["train_folder"], one.keys["test_folder"]) == ("train-jpg", "test-jpg")
    assert {file["name"] for file in one.keys["files"]} == {
        "train-jpg.tar.7z",
        "test-jpg.tar.7z",
        "labels.csv.gz",
    }
    assert "12 training images" in one.lines and "5 test images" in one.lines


def test_archives_in_parts(tmp_path: Path) -> None:
    whole = zipped(pictures("train", TRAIN, "jpg"), zipfile.ZIP_STORED)
    half = len(whole) // 2
    files = {"train.zip.001": whole[:half], "train.zip.002": whole[half:]}
    files |= {"test.zip": zipped(pictures("test", TEST, "jpg"))}
    files |= {"labels.csv": table(["id,label", *label_rows(TRAIN)])}
    one = look(write(tmp_path / "pets", files), tmp_path / "found.yaml")
    names = [file["name"] for file in one.keys["files"]]
    assert sorted(names) == ["labels.csv", "test.zip", "train.zip.001", "train.zip.002"]


def test_names_in_the_sample_tell_the_column(found) -> None:
    files = split_folders()
    rows = [f"{i},{['beluga', 'orca'][n % 2]},w{n % 5}" for n, i in enumerate(TRAIN)]
    files["train.csv"] = table(["image,species,individual_id", *rows])
    sample = ["image,predictions", *(f"{i},w0 w1 w2 new_individual" for i in TEST)]
    files["sample_submission.csv"] = table(sample)
    one = found(files)
    assert one.keys["labels"]["label_column"] == "individual_id" and "split" not in one.keys
    assert one.keys["metric"] == "map_at_4"


def test_a_column_tells_the_validation_images_too(found) -> None:
    parts = ["train", "train", "val", "test"] * 3
    rows = [f"images/{i}.png,c{n // 4},{parts[n]}" for n, i in enumerate(TRAIN)]
    one = found(pictures("images", TRAIN) | {"meta.csv": table(["filename,label,part", *rows])})
    assert one.keys["labels"] == {"file": "meta.csv", "id_column": "filename"}
    assert one.keys["split"] == {
        "name": "fixed",
        "file": "meta.csv",
        "id_column": "filename",
        "split_column": "part",
        "valid": "val",
    }
    assert "9 training images" in one.lines and "3 test images" in one.lines


def test_numbers_with_decimals_are_no_classes(found) -> None:
    files = split_folders()
    files["train.csv"] = table(["Id,score", *(f"{i},{n % 6}" for n, i in enumerate(TRAIN))])
    files["sample_submission.csv"] = table(["Id,score", *(f"{i},2.5" for i in TEST)])
    assert "asks for numbers, not classes" in found(files).lines


def test_sample_that_knows_most_test_images(found) -> None:
    files = split_folders() | {"labels.csv": table(["id,label", *label_rows(TRAIN)])}
    files["stage1_sample_submission.csv"] = table(["id,label", *(f"x{n},cat" for n in range(5))])
    files["stage2_sample_submission.csv"] = table(["id,label", *(f"{i},cat" for i in TEST)])
    assert found(files).keys["sample_submission"] == "stage2_sample_submission.csv"


def test_images_on_their_side(found) -> None:
    files = split_folders("jpg") | {"labels.csv": table(["id,label", *label_rows(TRAIN)])}
    content = io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (6, 8)).save(content, "JPEG", exif=exif)
    files["train/a0.jpg"] = content.getvalue()
    assert found(files).keys["image_size"] == [6, 8]


def test_patients_in_one_folder_with_the_test_images(found) -> None:
    files = pictures("jpeg", [*TRAIN, *TEST], "jpg")
    rows = [f"{i},p{n // 3},{['no', 'yes'][n % 2]},{n % 2}" for n, i in enumerate(TRAIN)]
    files["train.csv"] = table(["image_name,patient_id,diagnosis,target", *rows])
    files["sample_submission.csv"] = table(["image_name,target", *(f"{i},0" for i in TEST)])
    one = found(files)
    assert one.keys["labels"]["label_column"] == "target"
    assert one.keys["split"]["group_column"] == "patient_id"
    assert one.keys["train_folder"] == "jpeg" and one.keys["test_folder"] is None


def test_ids_in_the_table_of_test_images_alone(found) -> None:
    names, values = ",".join(f"pixel{n}" for n in range(16)), ",".join("0" * 16)
    files = {
        "train.csv": table([f"label,{names}", *(f"{n % 3},{values}" for n in range(9))]),
        "test.csv": table([f"id,{names}", *(f"{n},{values}" for n in range(4))]),
        "sample_submission.csv": table(["id,label", *(f"{n},0" for n in range(4))]),
    }
    one = found(files)
    assert one.keys["pixels"]["test_id_column"] == "id"
    assert one.keys["labels"] == {"file": "train.csv", "id_column": None}


def test_folders_beside_the_bundle_that_they_were_unpacked_from(found) -> None:
    files = split_folders() | {"labels.csv": table(["id,label", *label_rows(TRAIN)])}
    one = found(files | {"pets.zip": zipped(files)})
    assert one.keys["source"] == "folder" and one.keys["files"] == [{"name": "labels.csv"}]


def test_lists_of_labels(found) -> None:
    lists = ["['cat']", "\"['cat', 'dog']\"", "['dog']"] * 4
    one = found(split_folders() | {"l.csv": table(["id,tags", *label_rows(TRAIN, lists)])})
    assert one.keys["labels"]["separator"] == "," and "2 classes" in one.lines


def test_tabs_in_a_text_file_beside_another_one(found) -> None:
    rows = [row.replace(",", "\t") for row in ["id,label", *label_rows(TRAIN)]]
    files = split_folders() | {
        "labels.txt": table(rows),
        "README.txt": b"Nice pets, all of them.\n",
    }
    assert found(files).keys["labels"] == {"file": "labels.txt"}


def test_empty_labels_are_said(found) -> None:
    rows = label_rows(TRAIN, ["cat", "dog", ""] * 4)
    one = found(split_folders() | {"l.csv": table(["id,label", *rows])}, run=False)
    assert "4 rows of l.csv have no label: fill them in, or remove them" in one.lines
