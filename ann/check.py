"""Is an index sound? Its structure, and the reachability of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._jit import kernel
from .graph import ENTRY, GONE, neighborhood

UNIT = 1e-3  # by so much the length of a row under cosine may differ from 1: libraries round theirs differently


def check(index: Any) -> list[str]:
    """Everything found wrong with an index, one sentence each: structure, then reachability."""
    findings = structure(index)
    if not findings and hasattr(index, "_graph") and index._count:
        reached = reach(index._graph())
        lost = np.flatnonzero(index._live[: index._count] & ~reached[: index._count])
        if lost.size:
            findings.append(f"{lost.size} live rows cannot be reached from the entry point, the first is row {lost[0]}")
    return findings


def structure(index: Any) -> list[str]:
    """What is wrong with rows and links, without a walk; everything a search relies on."""
    count = index._count
    ids, vectors = index._ids[:count], index._vectors[:count]
    live = ids[ids >= 0]
    findings = []
    if len(np.unique(live)) != len(live):
        findings.append("an id has two rows")
    if not np.array_equal(ids >= 0, index._live[:count]) or len(live) != len(index):
        findings.append("ids and live rows do not agree")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        findings.append(f"vectors: row {finite.argmin()} is not finite")
    elif index.metric == "cosine":
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
        wrong = (np.abs(lengths - 1) > UNIT) & (lengths > 0)
        if wrong.any():
            findings.append(f"vectors: row {wrong.argmax()} has length {lengths[wrong.argmax()]:.4g}, not 1 or 0")
    findings += index._findings()
    if hasattr(index, "_graph"):
        findings += _levels(index) or (_links(index) if count else [])
    return findings


def _levels(index):
    """Levels, places of the upper lists, entry point."""
    count, entry_point = index._count, index._entry_point
    levels, first = index._levels[:count].astype(np.int64), index._upper_start[:count].astype(np.int64)
    if not count:
        return [] if entry_point == -1 and not index._upper_count else ["an empty graph has an entry point or links"]
    if not 0 <= entry_point < count:
        return [f"entry point {entry_point} is not a row"]
    if levels.min() < 0:
        return [f"row {levels.argmin()} has level {levels.min()}"]
    linked = index._parent[:count] >= 0
    top = np.where(linked, levels, -1)
    if levels[entry_point] != top.max() or not linked[entry_point]:
        return [f"entry point {entry_point} has level {levels[entry_point]}, but row {top.argmax()} {top.max()}"]
    expected = np.where(levels > 0, np.cumsum(levels) - levels, -1)
    if levels.sum() != index._upper_count or not np.array_equal(expected, first):
        return ["the places of the upper lists do not follow from the levels"]
    return []


def _links(index):
    """Links in range, none twice, none to the row itself or to a row of a lower level."""
    count, M = index._count, index.M
    levels = index._levels[:count]
    owner = np.repeat(np.arange(count), levels)
    layer = np.arange(index._upper_count) - index._upper_start[:count][owner] + 1
    findings = _list_findings(index._neighbors0[:count], np.arange(count), np.zeros(count, np.int64), 2 * M, levels)
    findings += _list_findings(index._upper[: index._upper_count], owner, layer, M, levels)
    return findings or _chains(index) or _tree(index)


def _hanging(index):
    """Which rows are copies that hang on a chain: all without a parent."""
    return index._parent[: index._count] == -1


def _chains(index):
    """Each hanging copy is on one chain of equal rows, which starts at a linked row; vacant rows are on none."""
    count, following, hanging = index._count, index._copies[: index._count], _hanging(index)
    rows, linked = np.arange(count), index._parent[:count] >= 0
    has = following >= 0
    target = following[has]
    if (following < -1).any() or (target >= count).any() or not np.array_equal(np.sort(target), rows[hanging]):
        return ["the copies are not each on one chain"]
    start = rows.copy()
    start[target] = rows[has]
    for _ in range(count.bit_length()):
        start = start[start]
    if not linked[start[hanging]].all() or (index._parent[:count][has] == GONE).any():
        return ["a chain of copies does not start at a linked row"]
    equal = (index._vectors[rows[has]] == index._vectors[target]).all(axis=1)
    if not equal.all():
        return [f"row {target[equal.argmin()]} is not a copy of row {rows[has][equal.argmin()]}"]
    neighbors = index._neighbors0[:count]
    vacant = (index._parent[:count] == GONE)[:, None]  # what an interrupted add wrote there is nobody's list
    wrong = (neighbors >= 0) & ~vacant & ~(linked[:, None] & linked[neighbors])
    return [f"row {wrong.any(axis=1).argmax()}: a copy on a chain is linked, or a vacant row"] if wrong.any() else []


def _tree(index):
    """One row, the root, is its own parent; from every other the parents lead there, and links lead both ways."""
    parent = index._parent[: index._count].astype(np.int64)
    rows = np.flatnonzero(parent >= 0)
    if (parent < GONE).any() or (parent >= index._count).any() or (parent[parent[rows]] < 0).any():
        return ["a parent is not a linked row"]
    if index._live[: index._count][parent == GONE].any():
        return ["a vacant row is live"]
    above = parent.copy()
    for _ in range(index._count.bit_length()):  # each round doubles the steps that `above` goes up
        above[rows] = above[above[rows]]
    if len(np.unique(above[rows])) != 1:
        return ["the parents do not lead to one root"]
    rows = rows[parent[rows] != rows]
    down = (index._neighbors0[parent[rows]] == rows[:, None]).any(axis=1)
    up = (index._neighbors0[rows] == parent[rows][:, None]).any(axis=1)
    if not (down & up).all():
        return [f"row {rows[(down & up).argmin()]} and its parent are not linked both ways"]
    return []


def _list_findings(lists, owner, layer, most, levels):
    """Findings in a table of lists, of which list i belongs to row owner[i] on layer[i]."""
    used = lists >= 0
    size = used.sum(axis=1)
    safe = np.where(used & (lists < len(levels)), lists, owner[:, None])
    ordered = np.sort(np.where(used, lists, -1 - np.arange(lists.shape[1])), axis=1)
    tests = {
        "a link is out of range": (lists < -1) | (lists >= len(levels)),
        "a link follows the end of the list": used[:, 1:] & ~used[:, :-1],
        "the list is too long": (size > most)[:, None],
        "a row is linked to itself": used & (lists == owner[:, None]),
        "a link leads to a row of a lower level": levels[safe] < layer[:, None],
        "a link is there twice": ordered[:, 1:] == ordered[:, :-1],
    }
    return [
        f"row {owner[wrong.any(axis=1).argmax()]}, layer {layer[wrong.any(axis=1).argmax()]}: {finding}"
        for finding, wrong in tests.items()
        if wrong.any()
    ]


@kernel
def reach(graph):
    """Which rows a walk over layer 0 and the chains of copies reaches. Shapes: → (N,) bool"""
    entry_point = graph.state[ENTRY]
    reached = np.zeros(graph.parent.shape[0], np.bool_)
    stack = np.empty(graph.parent.shape[0], np.int64)
    reached[entry_point] = True
    stack[0], size = entry_point, 1
    while size > 0:
        size -= 1
        links, copy = neighborhood(graph, stack[size], 0), graph.copies[stack[size]]
        while copy >= 0:
            reached[copy] = True
            copy = graph.copies[copy]
        for place in range(links.shape[0]):
            e = links[place]
            if e >= 0 and not reached[e]:
                reached[e] = True
                stack[size] = e
                size += 1
    return reached
