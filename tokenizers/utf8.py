"""Texts as UTF-8 bytes, for the kernels: characters there and back, and eight bytes looked at in one step.

A word of eight bytes is one uint64, its first byte lowest. Tests on all eight at once give flags: the top bit of each
byte that passes.
"""

from collections.abc import Sequence

import numpy as np

from ._jit import inlined

U64 = np.uint64
SPARE = 40  # bytes after the last text, so that words may be read beyond its end
BYTES = U64(0x0101010101010101)  # times b: b in every byte
FLAGS, LOW_BITS, CASE_BIT = BYTES * U64(0x80), BYTES * U64(0x7F), BYTES * U64(0x20)
FIRST_N = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # masks of the first n bytes
FROM_A, AFTER_Z = BYTES * U64(0x80 - 0x61), BYTES * U64(0x80 - 0x7B)  # added, the top bit says "≥ a", "> z"
FROM_0, AFTER_9 = BYTES * U64(0x80 - 0x30), BYTES * U64(0x80 - 0x3A)


def encode(text: str) -> bytes:
    """UTF-8; a lone surrogate gives the three bytes that UTF-8 would give its number, so that it comes back."""
    return text.encode("utf-8", "surrogatepass")


def byte_array(parts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Bytes (N + SPARE,) uint8 of a list of bytes on top of each other, and where each starts (B+1,) int64."""
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=starts[1:])
    return np.frombuffer(bytearray().join([*parts, bytes(SPARE)]), np.uint8), starts  # not read-only: another type


@inlined
def load(data, i):
    """The word at i: one instruction, since the compiler sees through these eight."""
    j = U64(i)
    low = U64(data[j]) | U64(data[j + U64(1)]) << U64(8) | U64(data[j + U64(2)]) << U64(16)
    middle = U64(data[j + U64(3)]) << U64(24) | U64(data[j + U64(4)]) << U64(32) | U64(data[j + U64(5)]) << U64(40)
    return low | middle | U64(data[j + U64(6)]) << U64(48) | U64(data[j + U64(7)]) << U64(56)


@inlined
def first_flag(flags):
    """Number of the first byte with a flag, of at least one."""
    below = ((flags ^ (flags - U64(1))) >> U64(8)) & BYTES  # 1 in every byte before it
    return int(below % U64(255))


@inlined
def letter_flags(word):
    """Flags of a–z and A–Z."""
    low = (word | CASE_BIT) & LOW_BITS
    return (low + FROM_A) & ~(low + AFTER_Z) & ~word & FLAGS


@inlined
def digit_flags(word):
    """Flags of 0–9."""
    low = word & LOW_BITS
    return (low + FROM_0) & ~(low + AFTER_9) & ~word & FLAGS


@inlined
def letters_end(data, i, stop):
    """End of the run of ASCII letters at i."""
    while i < stop:
        others = ~letter_flags(load(data, i)) & FLAGS
        if others != U64(0):
            return min(i + first_flag(others), stop)
        i += 8
    return stop


@inlined
def character(data, i):
    """(code point, bytes) of the character at i."""
    byte = int(data[i])
    if byte < 0x80:
        return byte, 1
    last = int(data[i + 1]) & 0x3F
    if byte < 0xE0:
        return (byte & 0x1F) << 6 | last, 2
    last = last << 6 | (int(data[i + 2]) & 0x3F)
    if byte < 0xF0:
        return (byte & 0x0F) << 12 | last, 3
    return (byte & 0x07) << 18 | last << 6 | (int(data[i + 3]) & 0x3F), 4


@inlined
def put_character(data, n, code):
    """Write a code point's bytes at n; returns where they end."""
    if code < 0x80:
        data[n] = code
        return n + 1
    if code < 0x800:
        data[n] = 0xC0 | code >> 6
    else:
        if code < 0x10000:
            data[n] = 0xE0 | code >> 12
        else:
            data[n], data[n + 1] = 0xF0 | code >> 18, 0x80 | code >> 12 & 63
            n += 1
        data[n + 1] = 0x80 | code >> 6 & 63
        n += 1
    data[n + 1] = 0x80 | code & 63
    return n + 2
