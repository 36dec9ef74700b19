"""What Python cannot say to the compiler, as LLVM instructions: sums of products of bytes for a tile of a product.

Intel and AMD call them VNNI: one instruction multiplies 64 pairs of bytes and adds each four products to one of 16
sums of 32 bits. `HAS_BYTE_TILES` says whether this machine's compiler may use them; ops/int8.py has the plain form.
"""

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from minibert import runtime

HAS_BYTE_TILES = not config.DISABLE_JIT and {"avx512f", "avx512_vnni"} <= runtime.cpu()[2]
ROWS, COLUMNS, DEPTH = 6, 64, 4  # of a tile: 6 × 4 registers of sums, and what one instruction adds to each

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
LANES = 16
REGISTERS = COLUMNS // LANES
SUMS = ir.VectorType(I32, LANES)


@intrinsic
def byte_tile(typing, x, row, w, panel, sums):
    """sums[r, c] = Σ_k x[row + r, k] w[panel, k // 4, c, k % 4] for 6 rows and 64 columns.

    Shapes   x (rows, K) int8, w (panels, K / 4, 64, 4) uint8, sums (6, 64) int32; all contiguous
    """

    def generate(context, builder, signature, arguments):
        def first_byte(argument, index):
            """Address of array[index], and how many bytes one such entry has."""
            kind, value = signature.args[argument], arguments[argument]
            array = cgutils.create_struct_proxy(kind)(context, builder, value)
            stride = cgutils.unpack_tuple(builder, array.strides)[0]
            return builder.gep(builder.bitcast(array.data, I8.as_pointer()), [builder.mul(index, stride)]), stride

        def number(value):
            return ir.Constant(I64, value)

        def at(address, offset, kind):
            return builder.bitcast(builder.gep(address, [offset]), kind.as_pointer())

        x_row, width = first_byte(0, arguments[1])
        w_panel, _ = first_byte(2, arguments[3])
        out, _ = first_byte(4, number(0))
        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(SUMS, [SUMS] * 3), "llvm.x86.avx512.vpdpbusd.512"
        )
        rows = [builder.gep(x_row, [builder.mul(width, number(r))]) for r in range(ROWS)]
        before, loop, after = builder.block, builder.append_basic_block("k"), builder.append_basic_block("end")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(I64)
        old = [builder.phi(SUMS) for _ in range(ROWS * REGISTERS)]
        step = builder.gep(w_panel, [builder.mul(k, number(COLUMNS))])
        weights = [builder.load(at(step, number(4 * LANES * i), SUMS), align=1) for i in range(REGISTERS)]
        new = []
        for r in range(ROWS):
            four = builder.load(at(rows[r], k, I32), align=1)
            alone = builder.insert_element(ir.Constant(SUMS, ir.Undefined), four, ir.Constant(I32, 0))
            everywhere = builder.shuffle_vector(alone, ir.Constant(SUMS, ir.Undefined), ir.Constant(SUMS, [0] * LANES))
            new += [
                builder.call(multiply_add, [old[r * REGISTERS + i], weights[i], everywhere]) for i in range(REGISTERS)
            ]
        following = builder.add(k, number(DEPTH))
        for phi, start, value in [
            (k, number(0), following),
            *((a, ir.Constant(SUMS, [0] * LANES), b) for a, b in zip(old, new, strict=True)),
        ]:
            phi.add_incoming(start, before)
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, width), loop, after)
        builder.position_at_end(after)
        for i, value in enumerate(new):
            builder.store(value, at(out, number(4 * LANES * i), SUMS), align=4)
        return context.get_dummy_value()

    return types.void(x, types.int64, w, types.int64, sums), generate
