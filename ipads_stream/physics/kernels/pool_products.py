"""Products of matrices of pools, for 8 items at a time whose numbers lie in the lanes of a vector.

Written as vector instructions, 9 sums at a time stay in registers: 6 loads serve 9 multiply-adds,
which is what a core does of each in the same time.
"""

from typing import no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8

_INDEX, _FUSE = ir.IntType(64), ("contract",)
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)


@no_type_check
def _vectors(builder):
    """Functions that load, store and accumulate vectors of lanes."""

    def place(base, at):
        offset = builder.mul(at, _INDEX(LANES))
        return builder.bitcast(builder.gep(base, [offset]), _VECTOR.as_pointer())

    def load(base, at):
        return builder.load(place(base, at), align=8)

    def store(base, at, value):
        builder.store(value, place(base, at), align=8)

    def accumulate(total, a, b):
        value = builder.fmul(a, b, flags=_FUSE)
        builder.store(builder.fadd(builder.load(total), value, flags=_FUSE), total)

    return load, store, accumulate


@no_type_check
def _spread(builder, scalar):
    blank = ir.Constant(_VECTOR, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(
        builder.insert_element(blank, scalar, ir.IntType(32)(0)), blank, zeros
    )


@intrinsic
@no_type_check
def product(typing, left, right, factor, added, share, pools, out):
    """out = left right + factor left + share added, of rows x (rows + 1) matrices, rows = 3 pools.

    The column behind the square of left takes no part in the product.
    """

    def emit(context, builder, signature, arguments):
        arrays = [
            context.make_array(signature.args[i])(context, builder, arguments[i]).data
            for i in (0, 1, 3, 6)
        ]
        a, b, plus, result = arrays
        factor, share = (_spread(builder, arguments[i]) for i in (2, 4))
        pools = context.cast(builder, arguments[5], signature.args[5], types.intp)
        rows = builder.mul(pools, _INDEX(3))
        width = builder.add(rows, _INDEX(1))
        load, store, accumulate = _vectors(builder)

        def block(top, first, columns):
            lines = [builder.mul(builder.add(top, _INDEX(i)), width) for i in range(3)]
            cells = [builder.add(line, builder.add(first, _INDEX(j)))
                     for line in lines for j in range(columns)]  # fmt: skip
            sums = [cgutils.alloca_once(builder, _VECTOR) for _ in cells]
            for cell, total in zip(cells, sums, strict=True):
                scaled = builder.fmul(share, load(plus, cell), flags=_FUSE)
                builder.store(scaled, total)
                accumulate(total, factor, load(a, cell))
            with cgutils.for_range_slice(builder, _INDEX(0), rows, _INDEX(3), _INDEX) as (start, _):
                for step in range(3):
                    k = builder.add(start, _INDEX(step))
                    line = builder.add(builder.mul(k, width), first)
                    across = [load(b, builder.add(line, _INDEX(j))) for j in range(columns)]
                    for i in range(3):
                        down = load(a, builder.add(lines[i], k))
                        for j in range(columns):
                            accumulate(sums[columns * i + j], down, across[j])
            for cell, total in zip(cells, sums, strict=True):
                store(result, cell, builder.load(total))

        with cgutils.for_range_slice(builder, _INDEX(0), rows, _INDEX(3), _INDEX) as (top, _):
            with cgutils.for_range_slice(builder, _INDEX(0), rows, _INDEX(3), _INDEX) as (first, _):
                block(top, first, 3)
            block(top, rows, 1)
        return context.get_dummy_value()

    arguments = (left, right, types.float64, added, types.float64, pools, out)
    return types.void(*arguments), emit


@intrinsic
@no_type_check
def free_product(typing, left, right, factor, added, share, pools, out):
    """The same of pools x pools blocks (real, imaginary, longitudinal), without the column."""

    def emit(context, builder, signature, arguments):
        arrays = [
            context.make_array(signature.args[i])(context, builder, arguments[i]).data
            for i in (0, 1, 3, 6)
        ]
        a, b, plus, result = arrays
        factor, share = (_spread(builder, arguments[i]) for i in (2, 4))
        pools = context.cast(builder, arguments[5], signature.args[5], types.intp)
        load, store, accumulate = _vectors(builder)

        def cells(row, column):
            start = builder.mul(builder.add(builder.mul(row, pools), column), _INDEX(3))
            return [builder.add(start, _INDEX(i)) for i in range(3)]

        def each():
            return cgutils.for_range_slice(builder, _INDEX(0), pools, _INDEX(1), _INDEX)

        # Two sums for each half of a complex product: a chain of additions is half as long.
        sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(5)]
        with each() as (row, _), each() as (column, _):
            here = cells(row, column)
            for cell, total in zip(here, sums[:3], strict=True):
                builder.store(builder.fmul(share, load(plus, cell), flags=_FUSE), total)
                accumulate(total, factor, load(a, cell))
            for total in sums[3:]:
                builder.store(ir.Constant(_VECTOR, [0.0] * LANES), total)
            with each() as (k, _):
                x, y, z = (load(a, cell) for cell in cells(row, k))
                u, v, w = (load(b, cell) for cell in cells(k, column))
                accumulate(sums[0], x, u)
                accumulate(sums[1], x, v)
                accumulate(sums[2], z, w)
                accumulate(sums[3], y, v)
                accumulate(sums[4], y, u)
            re, im, z, less, more = (builder.load(total) for total in sums)
            values = (builder.fsub(re, less), builder.fadd(im, more), z)
            for cell, value in zip(here, values, strict=True):
                store(result, cell, value)
        return context.get_dummy_value()

    arguments = (left, right, types.float64, added, types.float64, pools, out)
    return types.void(*arguments), emit


@intrinsic
@no_type_check
def apply(typing, matrix, M, pools, out):
    """out = M + F M + v, three rows at a time."""

    def emit(context, builder, signature, arguments):
        a, m, result = (
            context.make_array(signature.args[i])(context, builder, arguments[i]).data
            for i in (0, 1, 3)
        )
        pools = context.cast(builder, arguments[2], signature.args[2], types.intp)
        rows = builder.mul(pools, _INDEX(3))
        width = builder.add(rows, _INDEX(1))
        load, store, accumulate = _vectors(builder)
        sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(3)]
        with cgutils.for_range_slice(builder, _INDEX(0), rows, _INDEX(3), _INDEX) as (top, _):
            at = [builder.add(top, _INDEX(i)) for i in range(3)]
            lines = [builder.mul(row, width) for row in at]
            for row, line, total in zip(at, lines, sums, strict=True):
                column = load(a, builder.add(line, rows))
                builder.store(builder.fadd(load(m, row), column), total)
            with cgutils.for_range_slice(builder, _INDEX(0), rows, _INDEX(1), _INDEX) as (k, _):
                value = load(m, k)
                for line, total in zip(lines, sums, strict=True):
                    accumulate(total, load(a, builder.add(line, k)), value)
            for row, total in zip(at, sums, strict=True):
                store(result, row, builder.load(total))
        return context.get_dummy_value()

    return types.void(matrix, M, pools, out), emit
