"""Where the boxes and lines of a graph without cycles go: in rows, from the sources down.

This is the method of Sugiyama, Tagawa and Toda (Methods for Visual Understanding of Hierarchical
System Structures, 1981): nodes get rows, the order within rows is chosen to avoid crossings, and
then the places. Rows have a limited width. All lines from a node to lower ones share a trunk.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import combinations, pairwise

# A node, or the trunk of a node's lines where it passes a lower row: (the node, the row).
Item = tuple[str, int]
# How much straighter a trunk is drawn than the lines at its ends.
STRAIGHTNESS = 30.0
SWEEPS = 24


@dataclass(frozen=True)
class Layout:
    """The places of a graph's nodes and lines.

    rows: the nodes and trunks of each row, from left to right; (node, its own row) is its box.
    x: the center of each. links: the lines from a row to the next.
    """

    rows: Sequence[Sequence[Item]]
    x: Mapping[Item, float]
    links: Sequence[tuple[Item, Item]]
    row_of: Mapping[str, int]


def lay_out(
    graph: Mapping[str, Iterable[str]],
    width_of: Callable[[str], float],
    trunk_width: float,
    max_width: float,
) -> Layout:
    """Lay out a graph, {node: the nodes that its lines come from}, in rows of at most `max_width`.

    `width_of` gives the width of a node's box with the space beside it; a trunk takes
    `trunk_width`. A row with a single box may be wider. The same graph gives the same layout,
    whatever its order. Raises ValueError if the graph has a cycle.
    """
    sources = reduced(graph)

    def row_width(row: Iterable[str], trunks: Iterable[str]) -> float:
        return sum(map(width_of, row)) + trunk_width * len(list(trunks))

    row_of = _assign_rows(sources, row_width, max_width)
    rows, links = _items(sources, row_of)
    _order(rows, links)

    def width(item: Item) -> float:
        return width_of(item[0]) if row_of[item[0]] == item[1] else trunk_width

    return Layout(rows, _places(rows, links, width, row_of, max_width), links, row_of)


def reduced(graph: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Return the sources of every node, in order, without those that a longer way leads from.

    Raises ValueError if the graph has a cycle.
    """
    whole = {node: sorted(set(graph.get(node, ()))) for node in sorted(graph)}
    before: dict[str, set[str]] = {}
    for node in TopologicalSorter(whole).static_order():
        own = whole.setdefault(node, [])
        before[node] = set(own).union(*(before[source] for source in own))
    return {
        node: [s for s in own if not any(s in before[other] for other in own)]
        for node, own in whole.items()
    }


def trunks_of(sources: Mapping[str, Iterable[str]], row_of: Mapping[str, int]) -> Iterator[Item]:
    """Yield the rows that the trunk of each node passes: those between it and its last target."""
    last: dict[str, int] = defaultdict(int)
    for node, own in sources.items():
        for source in own:
            last[source] = max(last[source], row_of[node])
    for node in last:
        for row in range(row_of[node] + 1, last[node]):
            yield node, row


def _assign_rows(
    sources: Mapping[str, Sequence[str]],
    row_width: Callable[[Iterable[str], Iterable[str]], float],
    max_width: float,
) -> dict[str, int]:
    """Return each node's row, below its sources: first the highest with room, then the best."""
    targets = defaultdict(list)
    order = list(TopologicalSorter(sources).static_order())
    for node in order:
        for source in sources[node]:
            targets[source].append(node)
    to_end: dict[str, int] = {}
    for node in reversed(order):
        to_end[node] = 1 + max((to_end[target] for target in targets[node]), default=0)
    row_of: dict[str, int] = {}
    row = 0
    while len(row_of) < len(sources):
        ready = [n for n in sources if n not in row_of and all(s in row_of for s in sources[n])]
        chosen: list[str] = []
        for node in sorted(ready, key=lambda node: (-to_end[node], node)):
            done = {*row_of, *chosen, node}
            passing = [n for n in row_of if any(target not in done for target in targets[n])]
            if not chosen or row_width([*chosen, node], passing) <= max_width:
                chosen.append(node)
        row_of |= dict.fromkeys(chosen, row)
        row += 1
    return _shorten(sources, targets, row_of, row_width, max_width)


def _shorten(
    sources: Mapping[str, Sequence[str]],
    targets: Mapping[str, Sequence[str]],
    row_of: dict[str, int],
    row_width: Callable[[Iterable[str], Iterable[str]], float],
    max_width: float,
) -> dict[str, int]:
    """Move nodes to rows with shorter trunks, while there are any."""

    def cost(rows: Mapping[str, int]) -> tuple[float, int]:
        """Return by how much the rows are too wide, and the length of all trunks."""
        boxes, trunks = defaultdict(list), defaultdict(list)
        for node, row in rows.items():
            boxes[row].append(node)
        passing = list(trunks_of(sources, rows))
        for node, row in passing:
            trunks[row].append(node)
        widths = (row_width(boxes[row], trunks[row]) for row in boxes)
        return sum(max(0.0, width - max_width) for width in widths), len(passing)

    best = cost(row_of)
    is_better = True
    while is_better:
        is_better = False
        for node in sources:
            above = max((row_of[source] + 1 for source in sources[node]), default=0)
            below = min((row_of[target] for target in targets.get(node, ())), default=None)
            for row in range(above, max(row_of.values()) + 1 if below is None else below):
                moved = row_of | {node: row}
                if set(moved.values()) == set(row_of.values()) and cost(moved) < best:
                    row_of, best, is_better = moved, cost(moved), True
    return row_of


def _items(
    sources: Mapping[str, Sequence[str]], row_of: Mapping[str, int]
) -> tuple[list[list[Item]], list[tuple[Item, Item]]]:
    """Return the nodes and trunks of each row, and the lines from each row to the next."""
    rows: list[list[Item]] = [[] for _ in range(max(row_of.values(), default=-1) + 1)]
    for node, row in row_of.items():
        rows[row].append((node, row))
    links: list[tuple[Item, Item]] = []
    for node, row in trunks_of(sources, row_of):
        rows[row].append((node, row))
        links.append(((node, row - 1), (node, row)))
    for node, own in sources.items():
        row = row_of[node]
        links += [((source, row - 1), (node, row)) for source in own]
    return rows, links


def _order(rows: list[list[Item]], links: Sequence[tuple[Item, Item]]) -> None:
    """Order each row so that few lines cross, by the mean place of the neighbors above or below.

    Neighbors in a row are swapped where that removes crossings.
    """
    above, below = _neighbors(links)
    best, fewest = [list(row) for row in rows], crossings(rows, links)
    for sweep in range(SWEEPS):
        for number in range(1, len(rows)):
            if sweep % 2 == 0:
                _sort_by_neighbors(rows[number], rows[number - 1], above)
            else:
                _sort_by_neighbors(rows[-number - 1], rows[-number], below)
        for number in range(len(rows)):
            around = [link for link in links if number in (link[0][1], link[1][1])]
            _swap(rows[number], rows[max(0, number - 1) : number + 2], around)
        if (now := crossings(rows, links)) < fewest:
            best, fewest = [list(row) for row in rows], now
    rows[:] = best


def _sort_by_neighbors(
    row: list[Item], other: Sequence[Item], neighbors: Mapping[Item, Sequence[Item]]
) -> None:
    """Sort a row by the mean positions of its items' neighbors in the other row."""
    position = {item: number for number, item in enumerate(other)}
    own = {item: number for number, item in enumerate(row)}

    def mean(item: Item) -> float:
        found = [position[one] for one in neighbors.get(item, ())]
        return sum(found) / len(found) if found else own[item]

    row.sort(key=mean)


def _swap(
    row: list[Item], rows: Sequence[Sequence[Item]], links: Sequence[tuple[Item, Item]]
) -> None:
    """Swap neighbors in a row where fewer of its `links` cross then."""
    fewest = crossings(rows, links)
    for i in range(len(row) - 1):
        row[i], row[i + 1] = row[i + 1], row[i]
        if (now := crossings(rows, links)) < fewest:
            fewest = now
        else:
            row[i], row[i + 1] = row[i + 1], row[i]


def crossings(rows: Iterable[Sequence[Item]], links: Iterable[tuple[Item, Item]]) -> int:
    """Return how many of the links between neighboring rows cross."""
    position = {item: number for row in rows for number, item in enumerate(row)}
    between: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for start, end in links:
        between[end[1]].append((position[start], position[end]))
    return sum(
        (a - c) * (b - d) < 0
        for pairs in between.values()
        for (a, b), (c, d) in combinations(pairs, 2)
    )


def _neighbors(
    links: Sequence[tuple[Item, Item]],
) -> tuple[dict[Item, list[Item]], dict[Item, list[Item]]]:
    above: dict[Item, list[Item]] = defaultdict(list)
    below: dict[Item, list[Item]] = defaultdict(list)
    for start, end in links:
        above[end].append(start)
        below[start].append(end)
    return above, below


def _places(
    rows: Sequence[Sequence[Item]],
    links: Sequence[tuple[Item, Item]],
    width: Callable[[Item], float],
    row_of: Mapping[str, int],
    max_width: float,
) -> dict[Item, float]:
    """Return the center of each item, in 0…max_width: near its neighbors, and no two overlap."""
    above, below = _neighbors(links)

    def is_trunk(item: Item) -> bool:
        return row_of[item[0]] != item[1]

    x: dict[Item, float] = {}
    for row in rows:
        wishes = [max_width * (i + 0.5) / len(row) for i in range(len(row))]
        places = _apart(wishes, [1.0] * len(row), list(map(width, row)), max_width)
        x |= zip(row, places, strict=True)
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wishes, weights = [], []
            for item in row:
                near = [*above[item], *below[item]]
                pulls = [
                    STRAIGHTNESS if one[0] == item[0] and (is_trunk(one) or is_trunk(item)) else 1.0
                    for one in near
                ]
                weight = sum(pulls)
                pulled = sum(pull * x[one] for pull, one in zip(pulls, near, strict=True))
                wishes.append(pulled / weight if near else x[item])
                weights.append(weight or 1.0)
            places = _apart(wishes, weights, list(map(width, row)), max_width)
            x |= zip(row, places, strict=True)
    return x


def _apart(
    wishes: Sequence[float], weights: Sequence[float], widths: Sequence[float], max_width: float
) -> list[float]:
    """Return the places nearest to the wishes, by weighted squares, at which items do not overlap.

    Less the widths to their left, places may not fall: this is an isotonic regression, by pooling
    adjacent violators (Barlow and others, Statistical Inference under Order Restrictions, 1972).
    """
    offsets = [widths[0] / 2] if widths else []
    for one, other in pairwise(widths):
        offsets.append(offsets[-1] + (one + other) / 2)
    pools: list[tuple[float, float, int]] = []  # mean, weight, number of items
    for wish, weight, offset in zip(wishes, weights, offsets, strict=True):
        pools.append((wish - offset, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (mean, total, count), (other, more, number) = pools[-2:]
            all_weight = total + more
            pools[-2:] = [((mean * total + other * more) / all_weight, all_weight, count + number)]
    room = max(0.0, max_width - sum(widths))
    fitted = [min(max(mean, 0.0), room) for mean, _, count in pools for _ in range(count)]
    return [place + offset for place, offset in zip(fitted, offsets, strict=True)]
