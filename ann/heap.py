"""Priority queues of (distance, label) pairs, held in two parallel arrays.

Pairs are ordered by distance, and equal distances by label, so every result is unique: ties go to the smaller label.

`push` and `pop` keep a binary heap with the smallest pair at position 0. For a heap with the largest on top, push
(-distance, -label): the order turns round and no second copy of the code is needed.

`insert_sorted` keeps the array sorted instead. For a few hundred pairs that beats a heap, because most newcomers land
near the end, and because "the next candidate" and "the worst result" are then two positions of one array.
"""

from ._jit import inlined, kernel


@inlined
def before(distance_a, label_a, distance_b, label_b):
    """Whether pair a comes before pair b."""
    return distance_a < distance_b or (distance_a == distance_b and label_a < label_b)


@kernel
def push(distances, labels, size, distance, label):
    """Add a pair to the heap of `size` pairs; returns the new size."""
    child = size
    while child > 0:
        parent = (child - 1) >> 1
        if not before(distance, label, distances[parent], labels[parent]):
            break
        distances[child], labels[child] = distances[parent], labels[parent]
        child = parent
    distances[child], labels[child] = distance, label
    return size + 1


@kernel
def pop(distances, labels, size):
    """Remove the pair at position 0 from the heap of `size` pairs; returns the new size. Read the pair first."""
    size -= 1
    distance, label = distances[size], labels[size]
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and before(distances[child + 1], labels[child + 1], distances[child], labels[child]):
            child += 1
        if not before(distances[child], labels[child], distance, label):
            break
        distances[hole], labels[hole] = distances[child], labels[child]
        hole = child
    distances[hole], labels[hole] = distance, label
    return size


@inlined
def insert_sorted(distances, labels, size, distance, label):
    """Insert a pair into the sorted pairs [0, size), dropping the last where the arrays are full; returns its place.

    Full arrays: the caller has made sure that the pair comes before the last one.
    """
    place = min(size, distances.shape[0] - 1)
    while place > 0 and before(distance, label, distances[place - 1], labels[place - 1]):
        distances[place], labels[place] = distances[place - 1], labels[place - 1]
        place -= 1
    distances[place], labels[place] = distance, label
    return place
