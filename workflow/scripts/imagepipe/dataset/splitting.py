"""Drawing the validation set.

All draws are by the hash of an id with the seed. So they are the same on every machine, for every
version of every library, and for every order of the images.
"""

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from imagepipe.config.dataset import BookSplit, FixedSplit, GroupSplit, Split, StratifiedSplit
from imagepipe.dataset.manifests import CLASS_SEPARATOR, LABEL_COLUMNS
from imagepipe.errors import UserError, quoted
from imagepipe.files import nfc, read_rows, write_rows

SPLIT_COLUMNS = ("id", "label", "split")
Classes = tuple[str, ...]


def write_split(
    labels: Path,
    split: Path,
    valid_ratio: float,
    split_seed: int,
    rule: Split | None = None,
    decoded: Path | None = None,
    *,
    several_labels: bool = True,
) -> None:
    """Read `id,label`, and write `id,label,split` with `train` or `valid` in the last column.

    `rule` is the book's unless given. Images that `decoded`, a decoded.json, lists as undecodable
    are left out before the draw. With `several_labels`, "|" stands between an image's. Raises
    `UserError` if no image is left to train on, or none to validate with.
    """
    rule = rule or BookSplit()
    further = {GroupSplit: ("group",), FixedSplit: ("split",)}.get(type(rule), ())
    rows = {i: rest for _, (i, *rest) in read_rows(labels, (*LABEL_COLUMNS, *further))}
    for image_id in dropped_ids(decoded, rows) if decoded else ():
        del rows[image_id]
    label_of = {image_id: rest[0] for image_id, rest in rows.items()}
    classes = classes_of(label_of) if several_labels else {i: (x,) for i, x in label_of.items()}
    order = HashOrder(split_seed)
    match rule:
        case BookSplit():
            if several_labels and any(CLASS_SEPARATOR in label for label in label_of.values()):
                raise UserError(
                    f"{labels}: images have several labels, which the book's rule does not "
                    "know; set split to stratified"
                )
            valid = draw_valid(label_of, valid_ratio, split_seed)
        case StratifiedSplit():
            valid = draw_stratified(classes, valid_ratio, order)
        case GroupSplit():
            group_of = {image_id: rest[1] for image_id, rest in rows.items()}
            valid = draw_groups(classes, group_of, valid_ratio, order, labels)
        case FixedSplit():
            valid = frozenset(image_id for image_id, rest in rows.items() if rest[1] == "valid")
    if isinstance(rule, FixedSplit) and (len(valid) == len(label_of) or not valid):
        what = "training" if valid else "validation"
        raise UserError(
            f"{labels}: no {what} image of the fixed split is left, since those in its table could "
            "not be decoded; get these images again, or correct split"
        )
    if len(valid) == len(label_of) or not valid:
        what = "train" if valid else "validate"
        raise UserError(
            f"{labels}: no image is left to {what} with, of {len(label_of):,}; at least one class "
            "needs two images"
        )
    write_rows(
        split,
        SPLIT_COLUMNS,
        ((i, label, "valid" if i in valid else "train") for i, label in label_of.items()),
    )


def dropped_ids(decoded: Path, ids: Mapping[str, object]) -> list[str]:
    """Return which of the `ids` are of images that could not be decoded, by decoded.json."""
    dropped: list[str] = []
    for image in json.loads(decoded.read_text(encoding="utf-8"))["labelled"]["undecodable"]:
        path = nfc(image["image"]).partition("/")[2]
        stem = path.rpartition(".")[0]
        dropped += [i for i in (path, stem, stem.rpartition("/")[2]) if i in ids][:1]
    return dropped


class HashOrder:
    """The order of a draw: by SHA-256 of the seed and an id."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, name: str) -> bytes:
        """Return the sort key of an id."""
        return hashlib.sha256(f"{self.seed}/{name}".encode()).digest()


def draw_valid(label_of: Mapping[str, str], valid_ratio: float, split_seed: int) -> frozenset[str]:
    """Return the ids of the validation set, by the rule of the book.

    With n the number of images of the rarest class and r the ratio, every class gives
    max(⌊n·r⌋, 1) of its images (Dive into Deep Learning, `reorg_train_valid`): the first in the
    order of their hashes.
    """
    ids_of: dict[str, list[str]] = defaultdict(list)
    for image_id, label in label_of.items():
        ids_of[label].append(image_id)
    rarest = min(len(ids) for ids in ids_of.values())
    valid_per_class = share(rarest, valid_ratio)
    order = HashOrder(split_seed)
    return frozenset(
        image_id for ids in ids_of.values() for image_id in sorted(ids, key=order)[:valid_per_class]
    )


def share(number: int, ratio: float) -> int:
    """Return max(⌊n·r⌋, 1), for the ratio as it was written.

    As a float, 0.29 · 100 would be a little less than 29.
    """
    return max(math.floor(Fraction(str(ratio)) * number), 1)


def classes_of(label_of: Mapping[str, str]) -> dict[str, Classes]:
    """Return each image's classes, from the labels of labels.csv; none are one class, ""."""
    return {image_id: tuple(label.split(CLASS_SEPARATOR)) for image_id, label in label_of.items()}


def rarest_class(classes: Iterable[str], count: Mapping[str, int]) -> str:
    """Return the class with the fewest images."""
    return min(classes, key=lambda name: (count[name], name))


def draw_stratified(
    classes_of: Mapping[str, Classes], valid_ratio: float, order: HashOrder
) -> frozenset[str]:
    """Return the ids of the validation set; every class gives its own share.

    With n its number of images and r the ratio, a class gives max(⌊n·r⌋, 1) images, or none if n
    is 1. An image of several classes counts for the rarest of them, as in the iterative
    stratification of Sechidis, Tsoumakas and Vlahavas (2011), which deals out the images of rare
    labels first. A class never loses its last training image.
    """
    count = Counter(name for classes in classes_of.values() for name in classes)
    ids_of: dict[str, list[str]] = defaultdict(list)
    for image_id, classes in classes_of.items():
        ids_of[rarest_class(classes, count)].append(image_id)
    valid: list[str] = []
    left = Counter(count)
    for name in sorted(ids_of, key=lambda name: (count[name], name)):
        wanted = share(len(ids_of[name]), valid_ratio) if len(ids_of[name]) > 1 else 0
        for image_id in sorted(ids_of[name], key=order):
            if wanted and all(left[one] > 1 for one in classes_of[image_id]):
                left.subtract(classes_of[image_id])
                valid.append(image_id)
                wanted -= 1
    return frozenset(valid)


def draw_groups(
    classes_of: Mapping[str, Classes],
    group_of: Mapping[str, str],
    valid_ratio: float,
    order: HashOrder,
    source: Path,
) -> frozenset[str]:
    """Return the ids of the validation set, which shares no group with the training set.

    An image without group ("") is a group of its own. A group counts for the rarest class in it;
    from the rarest class on, each class gives groups, in the order of their hashes, as long as that
    brings the number of validation images closer to the ratio. A class never loses its last
    training image. Raises `UserError`, with the path `source`, if no group can be held out.
    """
    count = Counter(name for classes in classes_of.values() for name in classes)
    groups: dict[str, list[str]] = defaultdict(list)
    for image_id in classes_of:
        group = group_of[image_id]
        groups[f"group/{group}" if group else f"image/{image_id}"].append(image_id)
    counts = {
        group: Counter(name for image_id in ids for name in classes_of[image_id])
        for group, ids in groups.items()
    }
    if len(groups) < 2:
        raise UserError(
            f"{source}: all images are of the group {quoted(group_of[groups_first(groups)])}; "
            "groups need at least two, so correct split.group_column"
        )
    strata: dict[str, list[str]] = defaultdict(list)
    for group, inside in counts.items():
        strata[rarest_class(inside, count)].append(group)
    left = Counter(count)
    ratio = Fraction(str(valid_ratio))
    target, taken = Fraction(0), 0
    valid: list[str] = []

    def can_go(group: str) -> bool:
        return all(left[name] > number for name, number in counts[group].items())

    for name in sorted(strata, key=lambda name: (count[name], name)):
        in_order = sorted(strata[name], key=order)
        target += ratio * sum(len(groups[group]) for group in in_order)
        for group in in_order:
            closer = abs(taken + len(groups[group]) - target) < abs(taken - target)
            if closer and can_go(group):
                left.subtract(counts[group])
                taken += len(groups[group])
                valid.append(group)
    if not valid:
        possible = [group for group in groups if can_go(group)]
        if not possible:
            raise UserError(f"{source}: {no_group(groups, counts, count)}")
        valid = [min(possible, key=lambda group: (len(groups[group]), order(group)))]
    return frozenset(image_id for group in valid for image_id in groups[group])


def groups_first(groups: Mapping[str, Sequence[str]]) -> str:
    """Return an image of the first group."""
    return next(iter(groups.values()))[0]


def no_group(
    groups: Mapping[str, Sequence[str]],
    counts: Mapping[str, Mapping[str, int]],
    count: Mapping[str, int],
) -> str:
    """Return the message where every group has all images of some class."""
    group = next(iter(groups))
    name = next(one for one, number in counts[group].items() if number == count[one])
    return (
        f"each of the {len(groups):,} groups has all images of some class "
        f"({quoted(group.partition('/')[2])} has those of {quoted(name)}), so that none can be "
        "held out; correct split.group_column, or set split to stratified"
    )
