"""How good labels are: of texts (accuracy, F1, Matthews' correlation), and of words, by the entities they spell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def accuracy(predicted: Sequence[str], expected: Sequence[str]) -> float:
    """Share of the labels that are right.

    Raises   ValueError: another number of predicted than of expected labels, or none
    """
    table = confusion(predicted, expected)
    return float(np.trace(table) / table.sum())


def f1(predicted: Sequence[str], expected: Sequence[str], average: str = "macro") -> float:
    """F1: of each label the harmonic mean of precision and recall, 2 · right / (predicted + expected).

    Units    average: "macro", the mean over all labels that occur on either side; "micro", all labels counted together,
             which is the accuracy; or one label, whose own F1 it is, 0 where it never occurs
    Source   van Rijsbergen 1979; as scikit-learn's f1_score
    Raises   ValueError: as `accuracy`

    >>> f1(["good", "bad", "bad", "bad"], ["good", "good", "bad", "bad"], average="good")
    0.6666666666666666
    """
    table = confusion(predicted, expected)
    if average == "micro":
        return float(np.trace(table) / table.sum())
    scores = 2 * table.diagonal() / (table.sum(axis=0) + table.sum(axis=1))
    if average == "macro":
        return float(scores.mean())
    return float(dict(zip(sorted({*predicted, *expected}), scores, strict=True)).get(average, 0.0))


def matthews(predicted: Sequence[str], expected: Sequence[str]) -> float:
    """Correlation of two lists of labels, −1 … 1; 0 where either is all one label.

        (n c − Σ_k p_k t_k) / √((n² − Σ p_k²) (n² − Σ t_k²))      c right of n, p_k and t_k of label k

    Source   Matthews 1975; for more than two labels Gorodkin 2004 (R_K), as scikit-learn
    Raises   ValueError: as `accuracy`
    """
    table = confusion(predicted, expected).astype(np.float64)
    n, p, t = table.sum(), table.sum(axis=0), table.sum(axis=1)
    spread = (n * n - p @ p) * (n * n - t @ t)
    return float((n * np.trace(table) - p @ t) / np.sqrt(spread)) if spread else 0.0


def confusion(predicted: Sequence[str], expected: Sequence[str]) -> np.ndarray:
    """How often each label (row) was taken for each (column); labels in sorted order.

    Raises   ValueError: another number of predicted than of expected labels, or none
    """
    if len(predicted) != len(expected) or not len(expected):
        raise ValueError(f"expected as many predicted labels as right ones, got {len(predicted)} and {len(expected)}")
    labels = {label: i for i, label in enumerate(sorted({*predicted, *expected}))}
    table = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(table, ([labels[label] for label in expected], [labels[label] for label in predicted]), 1)
    return table


def entities(tags: Sequence[str], strict: bool = False) -> list[tuple[str, int, int]]:
    """(type, first word, last word + 1) of every entity that a sentence's tags spell.

    I or E continues a B or I of its type; all else but O begins an entity, S one of a single word. strict: tags are
    IOB2, and what begins without a B is no entity.

    Source   CoNLL's script conlleval (Tjong Kim Sang 2000), as seqeval's two modes
    """
    found: list[tuple[str, int, int]] = []
    before, kind_before = "O", ""
    for place, tag in enumerate(tags):
        prefix, kind = tag[:1], tag[1:].removeprefix("-")
        if prefix in ("I", "E") and before in ("B", "I") and kind == kind_before:
            found[-1] = (kind, found[-1][1], place + 1)
        elif prefix == "B" or (prefix != "O" and not strict):
            found.append((kind, place, place + 1))
        else:
            prefix = "O"  # strict: what follows this has no entity to continue
        before, kind_before = prefix, kind
    return found


def entity_f1(
    predicted: Sequence[Sequence[str]], expected: Sequence[Sequence[str]], strict: bool = False
) -> dict[str, float]:
    """precision, recall and f1 of entities: one is right where type, beginning and end are.

    Source   as seqeval's, averaged over entities ("micro"); strict: see `entities`
    Raises   ValueError: another number of sentences, or of tags in one, which it names
    """
    if len(predicted) != len(expected):
        raise ValueError(f"expected as many predicted sentences as right ones, {len(expected)}, got {len(predicted)}")
    right = said = wanted = 0
    for number, (ours, theirs) in enumerate(zip(predicted, expected, strict=True)):
        if len(ours) != len(theirs):
            raise ValueError(f"sentence {number}: expected {len(theirs)} tags, got {len(ours)}")
        found, true = set(entities(ours, strict)), set(entities(theirs, strict))
        right, said, wanted = right + len(found & true), said + len(found), wanted + len(true)
    return {
        "precision": right / said if said else 0.0,
        "recall": right / wanted if wanted else 0.0,
        "f1": 2 * right / (said + wanted) if said + wanted else 0.0,
    }
