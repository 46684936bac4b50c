"""Ids of the same image in two files."""

import pytest

from imagepipe.submission.image_ids import matching_ids


@pytest.mark.parametrize(
    ("ids", "others"),
    [
        (["1", "2"], ["2", "1"]),
        (["1.jpg", "2.JPG"], ["1", "2"]),
        (["1", "2"], ["1.png", "2.png"]),
        (["test/1.png", "test/2.png"], ["1", "2"]),
        (["1", "2"], ["images\\1.png", "images\\2.png"]),
        (["cafe\u0301", "b"], ["caf\u00e9", "b"]),
        (["A.JPG", "b"], ["a.jpg", "B"]),
        (["v1.5", "v1.6"], ["v1.5.png", "v1.6.png"]),
    ],
)
def test_path_ending_case_and_accents_do_not_matter(ids: list[str], others: list[str]) -> None:
    match = matching_ids(ids, others)
    assert sorted(match) == sorted(ids)
    assert sorted(match.values()) == sorted(others)


def test_equal_ids_go_together_even_if_others_look_like_them() -> None:
    ids = ["1.png", "1.jpg", "a/1.png"]
    assert matching_ids(ids, ids) == dict(zip(ids, ids, strict=True))


def test_different_images_are_not_taken_for_one() -> None:
    assert matching_ids(["cat/1.png", "dog/1.png"], ["1.png", "2.png"]) == {}
    assert matching_ids(["1", "2"], ["2", "3"]) == {"2": "2"}
