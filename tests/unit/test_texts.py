"""Many names in little memory, and which of them is there twice."""

import pickle
from collections.abc import Iterator

import pytest

from imagepipe import texts
from imagepipe.texts import Texts, first_repeated

NAMES = [f"train/{number}.png" for number in range(2_500)]
ODD = ["", "a\ud800b", "ünï/'\"\t.png", "\uffff", "x" * 70_000]


@pytest.mark.parametrize("names", [[], NAMES[:999], NAMES[:1000], NAMES[:1001], NAMES, ODD])
def test_texts_come_back_as_they_were_and_as_often_as_asked_for(names: list[str]) -> None:
    kept = Texts(names)
    assert len(kept) == len(names)
    assert list(kept) == list(kept) == names
    assert list(pickle.loads(pickle.dumps(kept))) == names
    assert list(kept.drain()) == names
    assert list(kept) == []


def test_names_take_a_few_bytes() -> None:
    assert len(pickle.dumps(Texts(NAMES[:2_000]))) < 2_000 * 6


@pytest.mark.parametrize(
    ("names", "position"),
    [
        ([], None),
        (["a"], None),
        (["a", "b", "A"], None),
        (["a", "b", "a"], 2),
        (["c", "b", "a", "b", "c"], 3),
        ([*NAMES, "train/7.png"], len(NAMES)),
    ],
)
def test_first_name_that_was_there_before_is_found(names: list[str], position: int | None) -> None:
    assert first_repeated(lambda: names, len(names)) == position


def test_names_of_one_hash_are_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "hash", len, raising=False)

    def names() -> Iterator[str]:
        yield from ("ab", "cd", "efg", "cd", "ab")

    assert first_repeated(lambda: ["ab", "cd", "efg"], 3) is None
    assert first_repeated(names, 5) == 3
