"""Factors exp(2 pi i turns - nepers) of many spins, and their products, as vector instructions.

A loop that Numba compiles keeps tables in memory and is not vectorised where two of them may
overlap; written as vector instructions the state stays in registers. One Zen 5 core (245 GFLOP/s at
best) forms 16 float32 factors in 7.3 ns (12.2 ns as a loop), moves 16 by a complex number in 1.1 ns
(19 ns as a loop) and multiplies at 238 GFLOP/s. Tables hold 16 real and then 16 imaginary parts.
"""

import math
from typing import no_type_check

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ipads_stream.physics.kernels.vectors import (
    INDEX,
    Registers,
    Variable,
    Vector,
    each,
    generated,
    polynomial,
)

LANES = 16
COLUMNS = 7  # turns by x, y, z and off-resonance; nepers by t, |tau| and b
# With AVX-512 the sums take 16 of 32 registers; with 16 registers of half the width 8.
ROWS = 8 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 2


def _interpolated(function, low, high, degree):
    series = np.polynomial.chebyshev.Chebyshev.interpolate(function, degree, [low, high])
    return [float(c) for c in series.convert(kind=np.polynomial.Polynomial).coef]


# sin(2 pi x) / x in x^2 for |x| <= 1/4, 2^x for |x| <= 1/2, and the places of the exponent.
# float32: Chebyshev interpolation, errors 7e-9 and 3e-9; float64: Taylor, below 1e-15 and 1e-13.
_SHORT = (
    _interpolated(lambda y: 2 * np.pi * np.sinc(2 * np.sqrt(y)), 0, 1 / 16, 4),
    _interpolated(np.exp2, -0.5, 0.5, 6),
    (23, 127),
)
_LONG = (
    [(-1) ** k * (2 * math.pi) ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(10)],
    [math.log(2) ** k / math.factorial(k) for k in range(13)],
    (52, 1023),
)


@intrinsic
@no_type_check
def form(typing, columns, o, block, count, table, start):
    """Write exp(2 pi i turns - nepers) of 16 columns from o for each spin of a block.

    columns: flat, COLUMNS x 16 at o; block: (BLOCK, COLUMNS), what they are weighed with; table:
    flat, 16 real and 16 imaginary parts per spin from start.
    """
    sine, power, (places, bias) = _SHORT if table.dtype == types.float32 else _LONG

    def emit(builder, columns, o, block, count, out, start):
        narrow = Registers(builder, table.dtype, LANES)
        wide = Registers(builder, types.float64, LANES)
        bits = ir.IntType(32) if narrow.single else ir.IntType(64)
        integers = ir.VectorType(bits, LANES)

        def whole(value):
            return ir.Constant(integers, [value] * LANES)

        def short(vector):
            if not narrow.single:
                return vector
            return Vector(builder, builder.fptrunc(vector.value, narrow.kind))

        def rounded(x, digits):
            # Adding and subtracting it rounds to an integer without a branch.
            shift = ir.Constant(x.value.type, [1.5 * 2.0**digits] * LANES)
            return Vector(builder, builder.fsub(builder.fadd(x.value, shift), shift))

        def sine_of_missing(q):
            digits = whole((1 << (bits.width - 1)) - 1)  # all but the sign
            magnitude = builder.and_(builder.bitcast(q.value, integers), digits)
            x = 0.25 - Vector(builder, builder.bitcast(magnitude, narrow.kind))
            return polynomial(sine, x * x) * x

        of = [wide.load(columns, builder.add(o, INDEX(i * LANES))) for i in range(COLUMNS)]
        of[4:] = [short(value) for value in of[4:]]
        with each(builder, 0, count) as (n, _):
            row = builder.mul(n, INDEX(COLUMNS))
            turns = nepers = None
            for i in range(COLUMNS):
                weight = builder.load(builder.gep(block, [builder.add(row, INDEX(i))]))
                if i < 4:
                    product = of[i] * wide.spread(weight)
                    turns = product if turns is None else product + turns
                else:
                    weight = builder.fptrunc(weight, ir.FloatType()) if narrow.single else weight
                    product = of[i] * narrow.spread(weight)
                    nepers = product if nepers is None else product + nepers
            q = short(turns - rounded(turns, 52))
            y, least = nepers * (-1 / np.log(2)), narrow.constant(1.0 - bias).value
            above = builder.fcmp_ordered(">", y.value, least)
            y = Vector(builder, builder.select(above, y.value, least))
            digits = 23 if narrow.single else 52
            exponent = rounded(y, digits)
            e = polynomial(power, y - exponent)
            raised = builder.add(builder.fptosi(exponent.value, integers), whole(bias))
            raised = builder.bitcast(builder.shl(raised, whole(places)), narrow.kind)
            e = e * Vector(builder, raised)
            late = q - 0.25
            late = late - rounded(late, digits)
            at = builder.add(start, builder.mul(n, INDEX(2 * LANES)))
            narrow.store(e * sine_of_missing(q), out, at)
            narrow.store(e * sine_of_missing(late), out, builder.add(at, INDEX(LANES)))

    return types.void(columns, o, block, count, table, start), generated(emit)


@intrinsic
@no_type_check
def scale(typing, source, i, factor, o, count, out, j):
    """Write 16 complex numbers of each spin times one of it: out[j] = source[i] factor[o]."""

    def emit(builder, array, i, factor, o, count, out, j):
        at = Registers(builder, source.dtype, LANES)

        def pair(start, n):
            place = builder.add(start, builder.mul(n, INDEX(2 * LANES)))
            return place, builder.add(place, INDEX(LANES))

        with each(builder, 0, count) as (n, _):
            re, im = (at.load(array, place) for place in pair(i, n))
            x, y = (at.element(factor, place) for place in pair(o, n))
            values = re * x - im * y, re * y + im * x
            for value, place in zip(values, pair(j, n), strict=True):
                at.store(value, out, place)

    return types.void(source, i, factor, o, count, out, j), generated(emit)


def _product(rows):
    """out += sum over spins of left and right, for so many rows of left and 16 columns of right."""

    @intrinsic
    @no_type_check
    def product(typing, left, right, start, row, count, out, place):
        def emit(builder, a, b, start, row, count, result, place):
            at = Registers(builder, left.dtype, LANES)
            wide = Registers(builder, types.float64, LANES)
            zero = at.constant(0.0)
            sums = [[Variable(builder, zero) for _ in range(2)] for _ in range(rows)]
            with each(builder, 0, count) as (n, _):
                offset = builder.mul(n, INDEX(2 * LANES))
                here, there = builder.add(start, offset), builder.add(row, offset)
                re, im = (at.load(b, builder.add(here, INDEX(h))) for h in (0, LANES))
                for r, (real, imaginary) in enumerate(sums):
                    x, y = (at.element(a, builder.add(there, INDEX(r + h))) for h in (0, LANES))
                    real.put(real.get() + x * re)
                    imaginary.put(imaginary.get() + x * im)
                    real.put(real.get() - y * im)
                    imaginary.put(imaginary.get() + y * re)
            for h, total in enumerate(total for pair in sums for total in pair):
                value = total.get().value
                value = builder.fpext(value, wide.kind) if at.single else value
                offset = builder.add(place, INDEX(LANES * h))
                value = builder.fadd(value, wide.load(result, offset).value)
                wide.store(Vector(builder, value), result, offset)

        return types.void(left, right, start, row, count, out, place), generated(emit)

    return product


multiply, multiply_one = _product(ROWS), _product(1)
