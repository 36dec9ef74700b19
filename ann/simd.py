"""What Python cannot say to the compiler, as LLVM instructions. Nothing here changes a result.

    prefetch            ask for a row's cache lines before they are needed; the plain form does nothing
    byte_squares        sum_t (a_t - b_t)^2 of two rows of 7-bit codes in int8
    nibble_squares      the same of 4-bit codes, two in a uint8: the low half first
    byte_products       sum_t a_t b_t of two rows of int8
    nibble_products     the same of 4-bit codes less 8

The plain forms stand first, are what runs under NUMBA_DISABLE_JIT=1, and are equal by test. Compiled from plain loops
the byte sums take 3.2 times as long (128 codes, Zen 5): LLVM then widens to 32 bits before it subtracts. The rows
are WIDTH bytes times a whole number, filled up with zeros.
"""

from typing import SupportsIndex

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

WIDTH = 64  # bytes a step: a cache line, and the widest SIMD register
PREFETCHED = 8  # cache lines of a row; the hardware follows by itself from there


def prefetch(a: np.ndarray, i: SupportsIndex) -> None:
    """Ask for the first cache lines of row i."""


def byte_squares(a: np.ndarray, i: SupportsIndex, b: np.ndarray, j: SupportsIndex) -> np.float32:
    """Squared Euclidean distance of two rows of int8, in units of the codes."""
    return np.float32(((a[i].astype(np.int64) - b[j]) ** 2).sum())


def nibble_squares(a: np.ndarray, i: SupportsIndex, b: np.ndarray, j: SupportsIndex) -> np.float32:
    """Squared Euclidean distance of two rows of 4-bit codes."""
    low = (a[i] & 15).astype(np.int64) - (b[j] & 15)
    high = (a[i] >> 4).astype(np.int64) - (b[j] >> 4)
    return np.float32((low**2 + high**2).sum())


def byte_products(a: np.ndarray, i: SupportsIndex, b: np.ndarray, j: SupportsIndex) -> np.float32:
    """Inner product of two rows of int8."""
    return np.float32((a[i].astype(np.int64) * b[j]).sum())


def nibble_products(a: np.ndarray, i: SupportsIndex, b: np.ndarray, j: SupportsIndex) -> np.float32:
    """Inner product of two rows of 4-bit codes, each less 8."""
    low = ((a[i] & 15).astype(np.int64) - 8) * ((b[j] & 15).astype(np.int64) - 8)
    high = ((a[i] >> 4).astype(np.int64) - 8) * ((b[j] >> 4).astype(np.int64) - 8)
    return np.float32((low + high).sum())


I8, I32, I64, F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
BYTES, SUMS = ir.VectorType(I8, WIDTH), ir.VectorType(I32, WIDTH // 4)


def _row(context, builder, kind, value, index):
    """Address of a row's first byte, and the row's length in bytes."""
    array = cgutils.create_struct_proxy(kind)(context, builder, value)
    stride = cgutils.unpack_tuple(builder, array.strides)[0]
    return builder.gep(builder.bitcast(array.data, I8.as_pointer()), [builder.mul(index, stride)]), stride


def _vector(builder, address, offset):
    """WIDTH bytes of memory."""
    return builder.load(builder.bitcast(builder.gep(address, [offset]), BYTES.as_pointer()), align=1)


def _sum_of_products(builder, x, y):
    """SUMS of the products of two vectors of signed bytes: every lane the sum of four."""
    wide = ir.VectorType(I32, WIDTH)
    products = builder.mul(builder.sext(x, wide), builder.sext(y, wide))
    pairs = builder.add(_lanes(builder, products, 0, WIDTH, 2), _lanes(builder, products, 1, WIDTH, 2))
    return builder.add(_lanes(builder, pairs, 0, WIDTH // 4), _lanes(builder, pairs, WIDTH // 4, WIDTH // 2))


def _lanes(builder, vector, *places):
    """The lanes range(*places) of a vector."""
    chosen = list(range(*places))
    return builder.shuffle_vector(
        vector, ir.Constant(vector.type, ir.Undefined), ir.Constant(ir.VectorType(I32, len(chosen)), chosen)
    )


def _splat(value):
    return ir.Constant(BYTES, [value] * WIDTH)


def _squares(builder, x, y):
    difference = builder.sub(x, y)
    return _sum_of_products(builder, difference, difference)


def _halves(builder, x):
    """The 4-bit codes of a vector of bytes: the low ones, the high ones."""
    return builder.and_(x, _splat(15)), builder.lshr(x, _splat(4))


def _nibble_squares(builder, x, y):
    parts = zip(_halves(builder, x), _halves(builder, y), strict=True)
    return builder.add(*(_squares(builder, a, b) for a, b in parts))


def _nibble_products(builder, x, y):
    eight = _splat(8)
    parts = zip(_halves(builder, x), _halves(builder, y), strict=True)
    return builder.add(*(_sum_of_products(builder, builder.sub(a, eight), builder.sub(b, eight)) for a, b in parts))


def _row_sum(step):
    """The intrinsic that adds up step(x, y) over two rows, WIDTH bytes at a time."""

    @intrinsic
    def row_sum(typing, a, i, b, j):
        def generate(context, builder, signature, arguments):
            x, length = _row(context, builder, a, arguments[0], arguments[1])
            y, _ = _row(context, builder, b, arguments[2], arguments[3])
            total = cgutils.alloca_once_value(builder, ir.Constant(SUMS, [0] * SUMS.count))
            steps = cgutils.for_range_slice(builder, ir.Constant(I64, 0), length, ir.Constant(I64, WIDTH))
            with steps as (offset, _):
                terms = step(builder, _vector(builder, x, offset), _vector(builder, y, offset))
                builder.store(builder.add(builder.load(total), terms), total)
            kind = ir.FunctionType(I32, [SUMS])
            reduce = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.add.v{SUMS.count}i32")
            return builder.sitofp(builder.call(reduce, [builder.load(total)]), F32)

        return types.float32(a, types.int64, b, types.int64), generate

    return row_sum


@intrinsic
def _prefetch(typing, a, i):
    def generate(context, builder, signature, arguments):
        address, length = _row(context, builder, a, *arguments)
        kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for line in range(PREFETCHED):  # beyond a short row: its successors, never a fault
            options = (ir.Constant(I32, value) for value in (0, 3, 1))  # to read, soon again, data
            builder.call(ask, [builder.gep(address, [ir.Constant(I64, line * WIDTH)]), *options])
        return context.get_dummy_value()

    return types.void(a, types.int64), generate


if not config.DISABLE_JIT:
    prefetch = _prefetch
    byte_squares, byte_products = _row_sum(_squares), _row_sum(_sum_of_products)
    nibble_squares, nibble_products = _row_sum(_nibble_squares), _row_sum(_nibble_products)
