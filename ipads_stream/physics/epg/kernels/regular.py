"""Extended phase graphs on the CPU: 16 atoms in the lanes of one pass over the orders.

Between two pulses F+ rises and F- falls by one order, so a pass in rising order writes both
straight where the shift puts them, and nothing is copied. In the frame of the pulse,
F+ = i exp(i phi) a and F- = -i exp(-i phi) b (b stands for the conjugate of the order -k), a pulse
turns (a + b)/2 against Z and leaves (a - b)/2: 8 vector instructions per order and repetition where
all pulses share an axis and a, b, Z are real, 24 where a phase step from pulse to pulse multiplies
a and b. An order is visited only once it can be filled and while it can still return to an echo.

1,000 repetitions x 20 orders in float32 on one Zen 5 core, beside other load, atoms per second of
processor time: 250,000 on one axis (200,000 where TR varies), 130,000 on any (110,000); in float64
175,000 and 84,000. A call of a Numba function with five arrays costs 40 ns, as much as 40 orders:
hence the conditions for what has to be computed anew stand in the loop itself; in an inlined part
of their own they made the signals 15 to 25 % slower.
"""

import math
from typing import no_type_check

import numpy as np
from numba import types
from numba.extending import intrinsic

from ipads_stream.core.compilation import kernel, part
from ipads_stream.physics.epg.kernels.parts import (
    Rows,
    close_cpmg,
    close_fisp,
    combine_complex,
    combine_real,
    decay,
    echo_cpmg,
    echo_fisp,
    gather,
    prepare_complex,
    prepare_real,
    renewed,
    rows,
    turn,
)
from ipads_stream.physics.kernels.tile import LANES
from ipads_stream.physics.kernels.vectors import INDEX, Variable, each, generated


@no_type_check
def _pass(num_parts, prepare, echo, combine, close):
    """An intrinsic over (a, b, z, factors, count, page, at): one pulse and the interval after it.

    Order k of a and z lies in row k, of b in row k + 1; a row is num_parts x 16 numbers. The orders
    0 .. count - 1 are combined; the new a is written one row up, the new b one row down, and the
    row of b that is left, and a and z of order 0, are closed. factors: rows of 16, cos and sin of
    the flip, exp(-TR / T1), exp(-TR / T2), exp(-TE / T2), and with two parts cos and sin of the
    turn of a (opposite for b). page[at:]: the echo.
    """

    @no_type_check
    def typed(typing, a, b, z, factors, count, page, at):
        def emit(builder, *arguments):
            arrays, (factors_, count_, page_, at_) = arguments[:3], arguments[3:]
            rows_of, zero = Rows(builder, a, num_parts), INDEX(0)
            row = INDEX(LANES * num_parts)
            first, *lowest = (
                rows_of.get(array, place)
                for array, place in zip(arrays, (zero, row, zero), strict=True)
            )
            given = rows_of.get(factors_, zero, 3 + 2 * num_parts)
            rows_of.put(page_, at_, echo(given, first, *lowest))
            shared = prepare(*given)
            carried = [Variable(builder, value) for value in first]
            with each(builder, 0, count_) as (k, _):
                here = builder.mul(k, row)
                above = builder.add(here, row)
                old = renewed(carried, rows_of.get(arrays[0], above))
                new = combine(
                    shared, old, rows_of.get(arrays[1], above), rows_of.get(arrays[2], here)
                )
                for array, place, values in zip(arrays, (above, here, here), new, strict=True):
                    rows_of.put(array, place, values)
            rows_of.put(arrays[1], builder.mul(count_, row), [rows_of.constant(0.0)] * num_parts)
            state = (
                rows_of.get(array, place)
                for array, place in zip((arrays[1], *arrays[1:]), (zero, row, zero), strict=True)
            )
            for array, values in zip(arrays[::2], close(given, *state), strict=True):
                rows_of.put(array, zero, values)

        return types.void(a, b, z, factors, count, page, at), generated(emit)

    return intrinsic(typed)


_pass_real = _pass(1, prepare_real, echo_fisp, combine_real, close_fisp)
_pass_complex = _pass(2, prepare_complex, echo_fisp, combine_complex, close_fisp)
_pass_cpmg = _pass(1, prepare_real, echo_cpmg, combine_real, close_cpmg)


@part
@no_type_check
def _begin(initial, first, a, b, z):
    """The magnetisation of 16 atoms before the train: longitudinal."""
    a[:], b[:], z[:] = 0, 0, 0
    for lane in range(LANES):
        z[lane] = initial[min(first + lane, initial.shape[0] - 1)]


@part
@no_type_check
def _write(page, first, start, stop, x, y, out):
    """Columns start .. stop - 1 of the 16 atoms from first on, real parts times x + i y."""
    for lane in range(min(LANES, out.shape[0] - first)):
        for i in range(stop - start):
            echo = page[LANES * i + lane]
            out[first + lane, 2 * (start + i)] = x * echo
            out[first + lane, 2 * (start + i) + 1] = y * echo


@part
@no_type_check
def _write_turned(page, first, start, stop, phase, out):
    """The same of complex echoes, times i exp(i phase) of their pulse."""
    for i in range(stop - start):
        x, y = -math.sin(phase[start + i]), math.cos(phase[start + i])
        for lane in range(min(LANES, out.shape[0] - first)):
            re, im = page[2 * LANES * i + lane], page[2 * LANES * i + LANES + lane]
            out[first + lane, 2 * (start + i)] = x * re - y * im
            out[first + lane, 2 * (start + i) + 1] = x * im + y * re


@part
@no_type_check
def _fisp(flip, phase, TR, TE, T1, T2, B1, initial, x, y, orders, out):
    """Signals of a train; phase: None where all pulses share the axis x + i y.

    Which of the two it is is known to the compiler.
    """
    num, parts = flip.shape[0], 1 if phase is None else 2
    row, size = parts * LANES, parts * (orders + 1)
    a, b, z = rows(size, out), rows(size, out), rows(size, out)
    tissue, factors = np.empty(3 * LANES), rows(3 + 2 * parts, out)
    page = rows(row, out)
    for first in range(0, out.shape[0], LANES):
        gather(T1, T2, B1, first, tissue)
        _begin(initial, first, a, b, z)
        for start in range(0, num, LANES):
            stop = min(start + LANES, num)
            for n in range(start, stop):
                if n == 0 or flip[n] != flip[n - 1]:
                    turn(flip[n], tissue, factors)
                if n == 0 or TR[n] != TR[n - 1]:
                    decay(TR[n], tissue, 0, factors, 2)
                    decay(TR[n], tissue, 1, factors, 3)
                if n == 0 or TE[n] != TE[n - 1]:
                    decay(TE[n], tissue, 1, factors, 4)
                count = min(orders, n + 1, num - n)
                if phase is None:
                    _pass_real(a, b, z, factors, count, page, row * (n - start))
                else:
                    step = phase[n] - phase[min(n + 1, num - 1)]
                    factors[5 * LANES : 6 * LANES] = math.cos(step)
                    factors[6 * LANES :] = math.sin(step)
                    _pass_complex(a, b, z, factors, count, page, row * (n - start))
            if phase is None:
                _write(page, first, start, stop, x, y, out)
            else:
                _write_turned(page, first, start, stop, phase, out)


@kernel
@no_type_check
def fisp_real(flip, TR, TE, T1, T2, B1, initial, x, y, orders, out):
    """Signals of a train whose pulses share one axis.

    flip (rad, signed), TR, TE (s): float64, (TRs,); T1, T2 (s), B1, initial (Mz before the first
    pulse): float64, (atoms,); x, y: i exp(i phase) of the axis; orders: how many, from 0 on; out:
    (atoms, 2 TRs), float32 or float64, in which it computes; real and imaginary parts in turn.
    """
    _fisp(flip, None, TR, TE, T1, T2, B1, initial, x, y, orders, out)


@kernel
@no_type_check
def fisp_complex(flip, phase, TR, TE, T1, T2, B1, initial, orders, out):
    """Signals of a train with a phase (rad, (TRs,)) of its own for every pulse; else as above."""
    _fisp(flip, phase, TR, TE, T1, T2, B1, initial, 0.0, 0.0, orders, out)


@kernel
@no_type_check
def cpmg(spacing, T1, T2, B1, out):
    """Echoes (atoms, echoes), float32 or float64, of a Carr-Purcell-Meiboom-Gill train.

    spacing: s, from echo to echo; T1, T2 (s), B1: float64, (atoms,). Only odd orders are filled at
    a pulse, in units of half a spacing: k is row (k - 1) / 2, and a -> a, b -> -b, Z -> i Z makes
    them real and the pass that of fisp_real. The order -1 passes the echo and becomes +1.
    """
    num = out.shape[1]
    orders = (num + 1) // 2
    size = orders + 1
    a, b, z = rows(size, out), rows(size, out), rows(size, out)
    tissue, factors = np.empty(3 * LANES), rows(5, out)
    page = rows(1, out)
    for first in range(0, out.shape[0], LANES):
        gather(T1, T2, B1, first, tissue)
        a[:], b[:], z[:] = 0, 0, 0
        turn(0.5 * math.pi, tissue, factors)
        decay(0.5 * spacing, tissue, 1, factors, 4)
        for lane in range(LANES):
            a[lane] = factors[LANES + lane] * factors[4 * LANES + lane]
        turn(math.pi, tissue, factors)
        decay(spacing, tissue, 0, factors, 2)
        decay(spacing, tissue, 1, factors, 3)
        for n in range(num):
            _pass_cpmg(a, b, z, factors, min(orders, n + 1, num - n), page, 0)
            for lane in range(min(LANES, out.shape[0] - first)):
                out[first + lane, n] = page[lane]
