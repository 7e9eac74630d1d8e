"""Tile of a complex matrix product that stays in vector registers, for Numba kernels.

Numba keeps an array in memory and stores every partial sum; written as vector instructions the sums
stay in registers. For (16 x 10)(10 x 16) on one Zen 5 core (245 GFLOP/s at best) loops over arrays
reach 46 GFLOP/s, this tile 167 to 191.
"""

from typing import no_type_check

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ipads_stream.physics.kernels.vectors import INDEX, Registers, Variable, each

LANES = 16
# With AVX-512 the result takes 16 of 32 registers; with 16 registers of half the width it takes 8.
ROWS = 8 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 2

_WEAVE = [
    ir.Constant(ir.VectorType(ir.IntType(32), LANES),
                [i // 2 + LANES * (i % 2) for i in range(h, h + LANES)])
    for h in (0, LANES)
]  # fmt: skip


@intrinsic
@no_type_check
def tile(typing, left, right, row, start, stop, out, line, begin):
    """Complex product: out[line, begin/2 + 16 r + l] = sum_k left[k, row + r] right[k, l].

    left, right: float32, flat (K, 2, 16), 16 real and then 16 imaginary parts; out: float32,
    (lines, length), C-contiguous, real and imaginary parts in turn; row, begin: where to start;
    r = 0 .. ROWS - 1, l = 0 .. 15, k = start .. stop - 1.
    """

    def emit(context, builder, signature, arguments):
        def view(i):
            return context.make_array(signature.args[i])(context, builder, arguments[i])

        def index(i):
            return context.cast(builder, arguments[i], signature.args[i], types.intp)

        a, b, result, at = (
            view(0).data,
            view(1).data,
            view(5),
            Registers(builder, types.float32, LANES),
        )
        row, start, stop, line, begin = (index(i) for i in (2, 3, 4, 6, 7))
        zero = at.constant(0.0)
        sums = [[Variable(builder, zero) for _ in range(2)] for _ in range(ROWS)]
        with each(builder, start, stop) as (k, _):
            place = builder.mul(k, INDEX(2 * LANES))
            re, im = (at.load(b, builder.add(place, INDEX(h))) for h in (0, LANES))
            first = builder.add(place, row)
            for r, (real, imaginary) in enumerate(sums):
                x, y = (at.element(a, builder.add(first, INDEX(r + h))) for h in (0, LANES))
                real.add(x * re)
                imaginary.add(x * im)
                real.put(real.get() - y * im)
                imaginary.add(y * re)
        length = cgutils.unpack_tuple(builder, result.shape)[1]
        target = builder.add(builder.mul(line, length), begin)
        for r, pair in enumerate(sums):
            re, im = (total.get().value for total in pair)
            for h, order in enumerate(_WEAVE):
                place = at.place(result.data, builder.add(target, INDEX(LANES * (2 * r + h))))
                builder.store(builder.shuffle_vector(re, im, order), place, align=4)
        return context.get_dummy_value()

    return types.void(left, right, row, start, stop, out, line, begin), emit
