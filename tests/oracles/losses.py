"""The losses as their papers write them: one term at a time, in Python's own numbers."""

import math


def dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def cosine(a, b):
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def distance(a, b):
    return math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)))


def margin_contrastive(scores, labels, margin):
    total = 0.0
    for row, marks in zip(scores, labels, strict=True):
        for s, y in zip(row, marks, strict=True):
            total += y * (1 - s) ** 2 + (1 - y) * max(0.0, s - margin) ** 2
    return total


def in_batch_cross_entropy(queries, documents, temperature, ids=None, symmetric=False):
    ids = range(len(documents)) if ids is None else ids
    scores = [[dot(q, a) / temperature for a in documents] for q in queries]

    def counts(i, j):
        return i == j or ids[i] != ids[j]

    rows = columns = 0.0
    for i, row in enumerate(scores):
        rows -= row[i] - math.log(sum(math.exp(s) for j, s in enumerate(row) if counts(i, j)))
        column = [math.exp(scores[j][i]) for j in range(len(scores)) if counts(j, i)]
        columns -= row[i] - math.log(sum(column))
    return (rows + columns) / 2 / len(scores) if symmetric else rows / len(scores)


def softmax_nli(u, v, weight, bias, labels):
    total = 0.0
    for a, b, label in zip(u, v, labels, strict=True):
        features = [*a, *b, *(abs(x - y) for x, y in zip(a, b, strict=True))]
        outputs = [math.exp(dot(w, features) + c) for w, c in zip(weight, bias, strict=True)]
        total -= math.log(outputs[label] / sum(outputs))
    return total / len(labels)


def cosine_mse(u, v, labels):
    return sum((cosine(a, b) - y) ** 2 for a, b, y in zip(u, v, labels, strict=True)) / len(labels)


def cosent(u, v, labels, scale):
    cosines = [cosine(a, b) for a, b in zip(u, v, strict=True)]
    pairs = [(i, j) for i in range(len(labels)) for j in range(len(labels)) if labels[i] > labels[j]]
    return math.log(1 + sum(math.exp(scale * (cosines[j] - cosines[i])) for i, j in pairs))


def triplet(anchors, positives, negatives, margin, measure):
    measure = distance if measure == "euclidean" else lambda a, b: 1 - cosine(a, b)
    rows = list(zip(anchors, positives, negatives, strict=True))
    return sum(max(0.0, measure(a, p) - measure(a, n) + margin) for a, p, n in rows) / len(rows)


def margin_mse(scores, teacher):
    errors = []
    for s, t in zip(scores, teacher, strict=True):
        errors += [((s[0] - s[j]) - (t[0] - t[j])) ** 2 for j in range(1, len(s))]
    return sum(errors) / len(errors)


def kl_distillation(scores, teacher, temperature):
    def softmax(row):
        powers = [math.exp(x / temperature) for x in row]
        return [x / sum(powers) for x in powers]

    total = 0.0
    for s, t in zip(scores, teacher, strict=True):
        total += sum(p * math.log(p / q) for p, q in zip(softmax(t), softmax(s), strict=True))
    return temperature**2 * total / len(scores)


def matryoshka(loss, arrays, dims, weights):
    def unit(row):
        return [x / math.sqrt(dot(row, row)) for x in row]

    cut = ([[unit(row[:dim]) for row in array] for array in arrays] for dim in dims)
    return sum(weight * loss(*short) for weight, short in zip(weights, cut, strict=True))
