"""Posting lists: which documents hold a word, and the k documents to which the words of a question give most.

Building them is a counting sort. Searching them is MaxScore: once the first k are known to be better than anything that
the words left could make, those words are only looked up in the documents met so far.

Source   Turtle & Flood 1995, Query evaluation: strategies and optimizations, for MaxScore, a term at a time
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minibert._jit import kernel

SHORTER = 8  # so much shorter must a list of rows be for a binary search a row to pay
EPSILON = 2.0**-23  # of float32


class Postings(NamedTuple):
    """For word t: the rows rows[starts[t]:starts[t + 1]], ascending, their impacts, and the highest of these.

    Shapes   starts (V + 1,) int64, rows (P,) int32, impacts (P,) float32, highest (V,) float32
    """

    starts: np.ndarray
    rows: np.ndarray
    impacts: np.ndarray
    highest: np.ndarray


class Counted(NamedTuple):
    """The same lists with how often the word occurs, which is what the index keeps when documents come and go."""

    starts: np.ndarray
    rows: np.ndarray
    counts: np.ndarray


@kernel
def count_postings(numbers, bounds, word_count):
    """Posting lists of the texts numbers[bounds[d]:bounds[d + 1]]: (starts (V + 1,), rows (P,), counts (P,) int32).

    A counting sort: how many documents hold each word, then every document's words to their places, in order.
    """
    starts = np.zeros(word_count + 1, np.int64)
    latest = np.full(word_count, -1, np.int32)  # the document that a word came in last
    for d in range(len(bounds) - 1):
        for i in range(bounds[d], bounds[d + 1]):
            if latest[numbers[i]] != d:
                latest[numbers[i]] = d
                starts[numbers[i] + 1] += 1
    for word in range(word_count):
        starts[word + 1] += starts[word]
    rows, counts = np.empty(starts[-1], np.int32), np.zeros(starts[-1], np.int32)
    end = starts[:-1].copy()
    latest[:] = -1
    for d in range(len(bounds) - 1):
        for i in range(bounds[d], bounds[d + 1]):
            word = numbers[i]
            if latest[word] != d:
                latest[word] = d
                rows[end[word]] = d
                end[word] += 1
            counts[end[word] - 1] += 1
    return starts, rows, counts


@kernel
def join_postings(old, new):
    """Posting lists of old documents and of new ones, whose rows are all larger: word by word, old before new."""
    starts = new.starts.copy()
    for word in range(len(starts)):
        starts[word] += old.starts[min(word, len(old.starts) - 1)]
    rows, counts = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    for word in range(len(starts) - 1):
        at = starts[word]
        if word < len(old.starts) - 1:
            for place in range(old.starts[word], old.starts[word + 1]):
                rows[at], counts[at] = old.rows[place], old.counts[place]
                at += 1
        for place in range(new.starts[word], new.starts[word + 1]):
            rows[at], counts[at] = new.rows[place], new.counts[place]
            at += 1
    return Counted(starts, rows, counts)


@kernel
def highest_impacts(starts, impacts):
    """(V,) float32: the largest impact of each list, 0 of an empty one."""
    highest = np.zeros(len(starts) - 1, np.float32)
    for word in range(len(starts) - 1):
        for place in range(starts[word], starts[word + 1]):
            highest[word] = max(highest[word], impacts[place])
    return highest


@kernel
def search_batch(postings, documents, bounds, terms, weights, allowed, filtered, rows, scores):
    """The best rows and their scores of each query's terms[bounds[q]:bounds[q + 1]]."""
    sums, met = np.zeros(documents, np.float32), np.empty(documents, np.int32)
    for q in range(len(bounds) - 1):
        part = slice(bounds[q], bounds[q + 1])
        top_rows(postings, terms[part], weights[part], allowed, filtered, sums, met, rows[q], scores[q])


@kernel
def top_rows(postings, terms, weights, allowed, filtered, sums, met, rows, scores):
    """MaxScore, a word at a time: the rarest words first; sums holds zeros before and after.

    bound(t) ← the most that words t, t + 1, … can add to a document
    while bound(t) ≥ the k-th best sum:  add word t to every document that holds it       any may still get in
    for the words that are left:         add word t to the documents met that may still get among the first k
    """
    k, size = len(rows), len(terms)
    most = np.empty(size, np.float32)
    for t in range(size):
        most[t] = weights[t] * postings.highest[terms[t]]
    order = np.argsort(-most, kind="mergesort")
    bound = np.zeros(size + 1)
    for t in range(size - 1, -1, -1):
        bound[t] = bound[t + 1] + most[order[t]]
    count, threshold, t = 0, 0.0, 0
    while t < size and bound[t] >= threshold:
        word, weight = terms[order[t]], weights[order[t]]
        for place in range(postings.starts[word], postings.starts[word + 1]):
            row = postings.rows[place]
            if filtered and not allowed[row]:
                continue
            if sums[row] == 0:
                met[count] = row
                count += 1
            sums[row] += weight * postings.impacts[place]
        t += 1
        if t < size and k <= count and SHORTER * count < length(postings, terms[order[t]]):
            threshold = kth_largest(sums, met, count, k) * (1 - size * EPSILON)  # a float32 sum is that exact
    kept = met[:count] if t == size else np.sort(met[:count])
    while t < size:
        kept = kept[sums[kept] + bound[t] >= threshold]
        add_to(sums, kept, postings, terms[order[t]], weights[order[t]])
        t += 1
    size = 0
    for row in kept:
        if size < k or sums[row] > scores[size - 1] or (sums[row] == scores[size - 1] and row < rows[size - 1]):
            size = insert(rows, scores, size, row, sums[row])
    sums[met[:count]] = 0


@kernel
def length(postings, word):
    """How many documents hold a word."""
    return postings.starts[word + 1] - postings.starts[word]


@kernel
def add_to(sums, kept, postings, word, weight):
    """Add one word to the sums of the rows `kept`, ascending: one binary search each, in what is left of the list.

    Where kept is long, reading the whole list is faster; other rows whose sum is not 0 may grow then, too.
    """
    place, stop = postings.starts[word], postings.starts[word + 1]
    if SHORTER * len(kept) > stop - place:
        for p in range(place, stop):
            if sums[postings.rows[p]] != 0:
                sums[postings.rows[p]] += weight * postings.impacts[p]
        return
    for row in kept:
        place += np.searchsorted(postings.rows[place:stop], row)
        if place == stop:
            break
        if postings.rows[place] == row:
            sums[row] += weight * postings.impacts[place]


@kernel
def kth_largest(sums, met, count, k):
    """The k-th largest sum of the first `count` rows met."""
    values = -sums[met[:count]]
    return -np.partition(values, k - 1)[k - 1]


@kernel
def insert(rows, scores, size, row, score):
    """Insert into the `size` best, by score and then by row; the last one falls out where there is no room."""
    place = min(size, len(rows) - 1)
    while place > 0 and (score > scores[place - 1] or (score == scores[place - 1] and row < rows[place - 1])):
        rows[place], scores[place] = rows[place - 1], scores[place - 1]
        place -= 1
    rows[place], scores[place] = row, score
    return min(size + 1, len(rows))
