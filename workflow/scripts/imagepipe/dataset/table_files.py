"""The files of a dataset's tables, beside its archives or inside of one."""

from collections.abc import Collection, Sequence
from pathlib import Path

from imagepipe.archives.chunk import Listing
from imagepipe.archives.reading import list_archive
from imagepipe.archives.unpacking import (
    MOST_LEVELS,
    TABLE_ENDINGS,
    archives_in,
    inner_archives,
    open_inner,
    unpack,
    unpack_gzip,
    usable,
)
from imagepipe.config.dataset import Contents
from imagepipe.errors import UserError, nearest, quoted

COMPRESSED = (".zip", ".gz")
SHOWN = 6


def table_files(contents: Contents, raw: Path, names: Collection[str]) -> dict[str, Path]:
    """Return the files of some tables that lie beside the dataset's archives, or inside of one.

    Those inside are unpacked first. "train.csv" may also be in train.csv.zip or train.csv.gz.
    Raises `UserError` for a table that is nowhere, or twice with equally many folders around it.
    """
    beside = {file.name for file in contents.files}
    files: dict[str, Path] = {}
    for name in names:
        plain = plain_name(name)
        if plain in beside:
            files[name] = raw / plain
        elif f"{plain}.gz" in beside:
            files[name] = unpack_gzip(raw / f"{plain}.gz", raw)
    missing = {plain_name(name): name for name in names if name not in files}
    seen: list[str] = []
    problems: list[UserError] = []
    if missing:
        listings = [list_archive(archive) for archive in archives_in(contents, raw)]
        for plain, file in tables_inside(listings, raw, set(missing), seen, problems).items():
            files[missing.pop(plain)] = file
    for name in missing.values():
        tables = [
            one for one in (*beside, *seen) if plain_name(one).lower().endswith(TABLE_ENDINGS)
        ]
        raise UserError(
            f"{raw}: holds no {name}, beside the archives or inside of one"
            f"{near(name, tables)}; correct the name in the dataset file, or get the files again"
            + (f" (unreadable: {problems[0]})" if problems else "")
        )
    return files


def tables_inside(
    listings: Sequence[Listing],
    raw: Path,
    names: set[str],
    seen: list[str],
    problems: list[UserError],
    level: int = 1,
) -> dict[str, Path]:
    """Return the files of those tables that are in some archives, or in archives inside of them.

    For messages, `seen` gets the names of all files, and `problems` the errors of archives inside
    that may have nothing to do with the tables. Raises `UserError` for others.
    """
    places: dict[str, list[tuple[int, Listing, str]]] = {name: [] for name in names}
    for listing in listings:
        for member in usable(listing.names):
            base = member.rpartition("/")[2]
            seen.append(base)
            plain = base[:-3] if base.endswith(".gz") else base
            if plain in places:
                places[plain].append((member.count("/"), listing, member))
    files: dict[str, Path] = {}
    for name, found in places.items():
        if not found:
            continue
        depth, listing, member = min(found, key=lambda place: place[0])
        same = [place for place in found if place[0] == depth]
        if len(same) > 1:
            others = " and ".join(quoted(place[2]) for place in same[:2])
            raise UserError(
                f"{listing.archive}: two tables have the name {quoted(name)} ({others}); remove "
                "one from the archive"
            )
        file = unpack(listing, [member], raw)[member]
        files[name] = unpack_gzip(file, raw) if member.endswith(".gz") else file
    missing = names - files.keys()
    # Archives of one table each first: others may be large.
    for is_likely in (True, False):
        if not missing or level == MOST_LEVELS:
            break
        inner: list[Listing] = []
        for listing in listings:
            some = [
                name
                for name in inner_archives(listing, with_tables=True)
                if (plain_name(name.rpartition("/")[2]) in missing) == is_likely
            ]
            passed_over = None if is_likely else problems
            inner += [one for _, one in open_inner(listing, some, raw, passed_over)]
        if inner:
            files |= tables_inside(inner, raw, missing, seen, problems, level + 1)
            missing -= files.keys()
    return files


def plain_name(name: str) -> str:
    """Return a table's name without the ending of a .zip or .gz file that holds it."""
    return next((name[: -len(end)] for end in COMPRESSED if name.endswith(end)), name)


def near(name: str, tables: Sequence[str]) -> str:
    """Return " (did you mean …?)" for a table of a similar name, or what there is."""
    same = [one for one in tables if one.lower() == name.lower()]
    found = f" (did you mean {same[0]!r}?)" if same else nearest(name, list(tables))
    shown = sorted(set(tables))[:SHOWN]
    return found or (f" (found: {', '.join(map(quoted, shown))})" if shown else "")
