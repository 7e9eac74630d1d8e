"""Products of matrices of pools, for 8 items at a time whose numbers lie in the lanes of a vector.

Written as vector instructions, 9 sums at a time stay in registers: 6 loads serve 9 multiply-adds,
which is what a core does of each in the same time.
"""

from typing import no_type_check

from numba import types
from numba.extending import intrinsic

from ipads_stream.physics.kernels.vectors import INDEX, Registers, Variable, Vector, each, generated

LANES = 8


class _Cells(Registers):
    """Loads and stores of the cells of matrices, 8 items each."""

    def __init__(self, builder):
        super().__init__(builder, types.float64, LANES)

    def get(self, base, cell):
        return self.load(base, self.builder.mul(cell, INDEX(LANES)))

    def put(self, vector, base, cell):
        self.store(vector, base, self.builder.mul(cell, INDEX(LANES)))


@intrinsic
@no_type_check
def product(typing, left, right, factor, added, share, pools, out):
    """out = left right + factor left + share added, of rows x (rows + 1) matrices, rows = 3 pools.

    The column behind the square of left takes no part in the product.
    """

    def emit(builder, a, b, factor, plus, share, pools, result):
        at = _Cells(builder)
        factor, share = at.spread(factor), at.spread(share)
        rows = builder.mul(pools, INDEX(3))
        width = builder.add(rows, INDEX(1))

        def block(top, first, columns):
            lines = [builder.mul(builder.add(top, INDEX(i)), width) for i in range(3)]
            cells = [builder.add(line, builder.add(first, INDEX(j)))
                     for line in lines for j in range(columns)]  # fmt: skip
            sums = [Variable(builder, at.kind) for _ in cells]
            for cell, total in zip(cells, sums, strict=True):
                total.put(share * at.get(plus, cell))
                total.add(factor * at.get(a, cell))
            with each(builder, 0, rows, 3) as (start, _):
                for step in range(3):
                    k = builder.add(start, INDEX(step))
                    line = builder.add(builder.mul(k, width), first)
                    across = [at.get(b, builder.add(line, INDEX(j))) for j in range(columns)]
                    for i in range(3):
                        down = at.get(a, builder.add(lines[i], k))
                        for j in range(columns):
                            sums[columns * i + j].add(down * across[j])
            for cell, total in zip(cells, sums, strict=True):
                at.put(total.get(), result, cell)

        with each(builder, 0, rows, 3) as (top, _):
            with each(builder, 0, rows, 3) as (first, _):
                block(top, first, 3)
            block(top, rows, 1)

    arguments = (left, right, types.float64, added, types.float64, pools, out)
    return types.void(*arguments), generated(emit)


@intrinsic
@no_type_check
def free_product(typing, left, right, factor, added, share, pools, out):
    """The same of pools x pools blocks (real, imaginary, longitudinal), without the column."""

    def emit(builder, a, b, factor, plus, share, pools, result):
        at = _Cells(builder)
        factor, share = at.spread(factor), at.spread(share)

        def cells(row, column):
            start = builder.mul(builder.add(builder.mul(row, pools), column), INDEX(3))
            return [builder.add(start, INDEX(i)) for i in range(3)]

        # Two sums for each half of a complex product: a chain of additions is half as long.
        sums = [Variable(builder, at.kind) for _ in range(5)]
        with each(builder, 0, pools) as (row, _), each(builder, 0, pools) as (column, _):
            here = cells(row, column)
            for cell, total in zip(here, sums[:3], strict=True):
                total.put(share * at.get(plus, cell))
                total.add(factor * at.get(a, cell))
            for total in sums[3:]:
                total.put(at.constant(0.0))
            with each(builder, 0, pools) as (k, _):
                x, y, z = (at.get(a, cell) for cell in cells(row, k))
                u, v, w = (at.get(b, cell) for cell in cells(k, column))
                for total, term in zip(sums, (x * u, x * v, z * w, y * v, y * u), strict=True):
                    total.add(term)
            re, im, z, less, more = (total.get().value for total in sums)
            values = (builder.fsub(re, less), builder.fadd(im, more), z)
            for cell, value in zip(here, values, strict=True):
                at.put(Vector(builder, value), result, cell)

    arguments = (left, right, types.float64, added, types.float64, pools, out)
    return types.void(*arguments), generated(emit)


@intrinsic
@no_type_check
def apply(typing, matrix, M, pools, out):
    """out = M + F M + v, three rows at a time."""

    def emit(builder, a, m, pools, result):
        at = _Cells(builder)
        rows = builder.mul(pools, INDEX(3))
        width = builder.add(rows, INDEX(1))
        sums = [Variable(builder, at.kind) for _ in range(3)]
        with each(builder, 0, rows, 3) as (top, _):
            cells = [builder.add(top, INDEX(i)) for i in range(3)]
            lines = [builder.mul(row, width) for row in cells]
            for row, line, total in zip(cells, lines, sums, strict=True):
                column = at.get(a, builder.add(line, rows)).value
                total.put(Vector(builder, builder.fadd(at.get(m, row).value, column)))
            with each(builder, 0, rows) as (k, _):
                value = at.get(m, k)
                for line, total in zip(lines, sums, strict=True):
                    total.add(at.get(a, builder.add(line, k)) * value)
            for row, total in zip(cells, sums, strict=True):
                at.put(total.get(), result, row)

    return types.void(matrix, M, pools, out), generated(emit)
