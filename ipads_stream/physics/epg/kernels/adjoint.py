"""Derivatives of the extended phase graphs on the CPU: the train backwards, 16 atoms at a time.

What a state before pulse n means for the loss, its cotangent (alpha, beta, zeta), goes backwards
through shift, decay and pulse by their transposes, of the same form as they. All that a derivative
needs are four moments of it with the state (a, b, z) at the same pulse: both pulses and decays
commute with what they depend on,

    A = sum (alpha + beta)* z - zeta* (a + b) / 2     flip of pulse n
    Q = sum i (alpha* a - beta* b)                    Q_(n+1) - Q_n: phase of pulse n
    W = sum alpha* a + beta* b                        decay with T2 before pulse n
    V = sum zeta* z - zeta_0                          recovery with T1 before pulse n

(real parts). The states are kept at every L-th pulse, L the root of their number, and made anew
from there, so that memory grows with the root, stays in the cache, and no decay is undone.

1,000 repetitions x 20 orders in float32 cost about four times what the signals do.

Source: Griewank, Achieving logarithmic growth of temporal and spatial complexity in reverse
automatic differentiation, Optimization Methods and Software 1, 1992 (checkpoints); the moments are
derived here.
"""

import math
from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import kernel, part
from ipads_stream.physics.epg.kernels.parts import decay, gather, rows, turn
from ipads_stream.physics.epg.kernels.steps import (
    back_complex,
    back_cpmg,
    back_real,
    step_complex,
    step_cpmg,
    step_real,
)
from ipads_stream.physics.kernels.polynomials import cosine, decayed
from ipads_stream.physics.kernels.tile import LANES


@part
@no_type_check
def _begin(initial, first, plane, state):
    """The magnetisation of 16 atoms before the train: longitudinal, in the third plane."""
    state[:] = 0
    for lane in range(LANES):
        state[2 * plane + lane] = initial[min(first + lane, initial.shape[0] - 1)]


@part
@no_type_check
def _set_factors(start, stop, flip, TR, TE, tissue, factors, size):
    """Rows of cos and sin of the flip and of decays, size rows for each of the pulses."""
    now = np.empty(5 * LANES)
    for n in range(start, stop):
        if n == start or flip[n] != flip[n - 1]:
            for lane in range(LANES):
                turns = flip[n] * tissue[2 * LANES + lane]
                now[lane], now[LANES + lane] = cosine(turns), cosine(turns - 0.25)
        if n == start or TR[n] != TR[n - 1]:
            for lane in range(LANES):
                now[2 * LANES + lane] = decayed(TR[n] * tissue[lane])
                now[3 * LANES + lane] = decayed(TR[n] * tissue[LANES + lane])
        if n == start or TE[n] != TE[n - 1]:
            for lane in range(LANES):
                now[4 * LANES + lane] = decayed(TE[n] * tissue[LANES + lane])
        at = size * LANES * (n - start)
        for i in range(5 * LANES):
            factors[at + i] = now[i]


@part
@no_type_check
def _set_turns(start, stop, phase, factors):
    """Rows of cos and sin of the turn from the frame of a pulse to that of the next."""
    for n in range(start, stop):
        turned = phase[n] - phase[min(n + 1, phase.shape[0] - 1)]
        at = LANES * (7 * (n - start) + 5)
        factors[at : at + LANES] = math.cos(turned)
        factors[at + LANES : at + 2 * LANES] = math.sin(turned)


@part
@no_type_check
def _set_slopes(first, start, stop, x, y, cotangent, slopes):
    """Cotangents of 16 atoms' echoes along the axis of which i exp(i phase) = x + i y."""
    for lane in range(min(LANES, cotangent.shape[0] - first)):
        for n in range(start, stop):
            re, im = cotangent[first + lane, 2 * n], cotangent[first + lane, 2 * n + 1]
            slopes[LANES * (n - start) + lane] = x * re + y * im


@part
@no_type_check
def _set_turned_slopes(first, start, stop, phase, cotangent, slopes):
    """The same in the frame of each pulse, both parts."""
    for n in range(start, stop):
        x, y, at = -math.sin(phase[n]), math.cos(phase[n]), 2 * LANES * (n - start)
        for lane in range(min(LANES, cotangent.shape[0] - first)):
            re, im = cotangent[first + lane, 2 * n], cotangent[first + lane, 2 * n + 1]
            slopes[at + lane] = x * re + y * im
            slopes[at + LANES + lane] = x * im - y * re


@part
@no_type_check
def _collect(start, stop, flip, TR, TE, tissue, moments, size, sums, trains):
    """Add the moments of some pulses to what they mean for 16 atoms and for the train.

    sums: rows of T1, T2, B1; trains: for flip, TR, TE, Q, F rows of each pulse, TR one late.
    """
    num = flip.shape[0]
    for n in range(start, stop):
        at, to = size * LANES * (n - start), LANES * n
        before, angle, echo = TR[max(n - 1, 0)] if n else 0.0, flip[n], TE[n]
        for lane in range(LANES):
            r1, r2 = tissue[lane], tissue[LANES + lane]
            a, w = np.float64(moments[at + lane]), np.float64(moments[at + LANES + lane])
            v = np.float64(moments[at + 2 * LANES + lane])
            e = np.float64(moments[at + 4 * LANES + lane])
            sums[lane] += before * v
            sums[LANES + lane] += before * w + echo * e
            sums[2 * LANES + lane] += angle * a
            trains[to + lane] += a * tissue[2 * LANES + lane]
            trains[LANES * num + to + lane] -= w * r2 + v * r1
            trains[2 * LANES * num + to + lane] -= e * r2
        if size > 5:
            for lane in range(LANES):
                trains[3 * LANES * num + to + lane] += moments[at + 5 * LANES + lane]
                trains[4 * LANES * num + to + lane] += moments[at + 6 * LANES + lane]


@part
@no_type_check
def _write_atoms(first, sums, tissue, zeta, by_atom):
    """sums: rows of T1, T2, B1, all of rates and of B1; zeta: of the initial magnetisation."""
    for lane in range(min(LANES, by_atom.shape[1] - first)):
        by_atom[0, first + lane] = sums[lane] * tissue[lane] ** 2
        by_atom[1, first + lane] = sums[LANES + lane] * tissue[LANES + lane] ** 2
        by_atom[2, first + lane] = sums[2 * LANES + lane]
        by_atom[3, first + lane] = zeta[lane]


@part
@no_type_check
def _write_pulses(trains, by_pulse):
    """flip, phase, TR, TE: sums over the atoms, in the order of the lanes."""
    num = by_pulse.shape[1]
    by_pulse[:] = 0
    for n in range(num):
        for lane in range(LANES):
            at = LANES * n + lane
            by_pulse[0, n] += trains[at] * 2 * math.pi
            by_pulse[1, n] += trains[4 * LANES * num + at] - trains[3 * LANES * num + at]
            if n + 1 < num:
                by_pulse[1, n] += trains[3 * LANES * num + at + LANES]
                by_pulse[2, n] += trains[LANES * num + at + LANES]
            by_pulse[3, n] += trains[2 * LANES * num + at]


@part
@no_type_check
def _fisp(flip, phase, TR, TE, T1, T2, B1, initial, x, y, orders, cotangent, by_atom, by_pulse):
    """Derivatives of the signals of a train; phase: None where all pulses share the axis x + i y.

    Which of the two it is is known to the compiler.
    """
    num, parts = flip.shape[0], 1 if phase is None else 2
    length, size = math.ceil(math.sqrt(num)), 3 + 2 * parts
    plane = parts * LANES * (orders + 2)
    states = rows(3 * parts * (orders + 2) * (2 * length + 2), cotangent)
    kept = 3 * plane * length
    cotangents, factors = rows(3 * parts * (orders + 2), cotangent), rows(size * length, cotangent)
    slopes, moments = rows(parts * length, cotangent), rows(size * length, cotangent)
    tissue, sums, trains = np.empty(3 * LANES), np.empty(3 * LANES), np.zeros(5 * LANES * num)
    for first in range(0, cotangent.shape[0], LANES):
        gather(T1, T2, B1, first, tissue)
        cotangents[:], sums[:], slopes[:] = 0, 0, 0
        _begin(initial, first, plane, states[kept : kept + 3 * plane])
        for start in range(0, num, length):
            stop, here = min(start + length, num), kept + 3 * plane * (start // length)
            _set_factors(start, stop, flip, TR, TE, tissue, factors, size)
            if phase is not None:
                _set_turns(start, stop, phase, factors)
            for n in range(start, stop if stop < num else start):
                there, count = kept + 3 * plane * (stop // length), min(orders, n + 1, num - n)
                at = size * LANES * (n - start)
                if phase is None:
                    step_real(states, here, there, plane, factors, at, count)
                else:
                    step_complex(states, here, there, plane, factors, at, count)
                here = there
        for start in range((num - 1) // length * length, -1, -length):
            stop, here = min(start + length, num), kept + 3 * plane * (start // length)
            if stop < num:
                _set_factors(start, stop, flip, TR, TE, tissue, factors, size)
            if phase is None:
                _set_slopes(first, start, stop, x, y, cotangent, slopes)
            else:
                _set_turns(start, stop, phase, factors)
                _set_turned_slopes(first, start, stop, phase, cotangent, slopes)
            for n in range(start, stop - 1):
                there, count = 3 * plane * (n + 1 - start), min(orders, n + 1, num - n)
                at = size * LANES * (n - start)
                if phase is None:
                    step_real(states, here, there, plane, factors, at, count)
                else:
                    step_complex(states, here, there, plane, factors, at, count)
                here = there
            for n in range(stop - 1, start - 1, -1):
                i, count = LANES * (n - start), min(orders, n + 1, num - n)
                if phase is None:
                    back_real(states, here, plane, cotangents, factors, 5 * i, count, slopes, i,
                               moments, 5 * i)  # fmt: skip
                else:
                    back_complex(states, here, plane, cotangents, factors, 7 * i, count, slopes,
                                  2 * i, moments, 7 * i)  # fmt: skip
                here = 3 * plane * (n - 1 - start)
                if n - 1 == start:
                    here = kept + 3 * plane * (start // length)
            _collect(start, stop, flip, TR, TE, tissue, moments, size, sums, trains)
        _write_atoms(first, sums, tissue, moments[3 * LANES :], by_atom)
    _write_pulses(trains, by_pulse)


@kernel
@no_type_check
def fisp_real(flip, TR, TE, T1, T2, B1, initial, x, y, orders, cotangent, by_atom, by_pulse):
    """Derivatives of the signals of a train whose pulses share one axis.

    All but the last three as of the signals; cotangent: of them, (atoms, 2 TRs), float32 or
    float64, in which it computes; by_atom: float64, (4, atoms), T1, T2, B1, initial; by_pulse:
    float64, (4, TRs), flip, 0, TR, TE, sums over the atoms.
    """
    _fisp(flip, None, TR, TE, T1, T2, B1, initial, x, y, orders, cotangent, by_atom, by_pulse)


@kernel
@no_type_check
def fisp_complex(flip, phase, TR, TE, T1, T2, B1, initial, orders, cotangent, by_atom, by_pulse):
    """The same of a train with a phase (rad, (TRs,)) of its own for every pulse, and for them."""
    _fisp(flip, phase, TR, TE, T1, T2, B1, initial, 0.0, 0.0, orders, cotangent, by_atom, by_pulse)


@kernel
@no_type_check
def cpmg(spacing, T1, T2, B1, cotangent, by_atom):
    """Derivatives of the echoes of a Carr-Purcell-Meiboom-Gill train.

    spacing, T1, T2, B1 as of the echoes; cotangent: of them, (atoms, echoes), float32 or float64;
    by_atom: float64, (4, atoms), spacing, T1, T2, B1.
    """
    num, last = cotangent.shape[1], cotangent.shape[0] - 1
    orders, length = (num + 1) // 2, math.ceil(math.sqrt(num))
    plane = LANES * (orders + 2)
    states = rows(3 * (orders + 2) * (2 * length + 2), cotangent)
    kept = 3 * plane * length
    cotangents, factors = rows(3 * (orders + 2), cotangent), rows(5, cotangent)
    slopes, moments = rows(length, cotangent), rows(5 * length, cotangent)
    tissue, sums = np.empty(3 * LANES), np.empty((4, LANES))
    for first in range(0, cotangent.shape[0], LANES):
        gather(T1, T2, B1, first, tissue)
        states[kept : kept + 3 * plane], cotangents[:], sums[:], slopes[:] = 0, 0, 0, 0
        turn(0.5 * math.pi, tissue, factors)
        decay(0.5 * spacing, tissue, 1, factors, 4)
        excited, along = factors[:LANES].copy(), factors[LANES : 2 * LANES].copy()
        for lane in range(LANES):
            states[kept + lane] = along[lane] * factors[4 * LANES + lane]
        turn(math.pi, tissue, factors)
        decay(spacing, tissue, 0, factors, 2)
        decay(spacing, tissue, 1, factors, 3)
        for start in range(0, num - length, length):
            here = kept + 3 * plane * (start // length)
            there = here + 3 * plane
            for n in range(start, start + length):
                step_cpmg(states, here, there, plane, factors, 0, min(orders, n + 1, num - n))
                here = there
        for start in range((num - 1) // length * length, -1, -length):
            stop, here = min(start + length, num), kept + 3 * plane * (start // length)
            for lane in range(min(LANES, last + 1 - first)):
                for n in range(start, stop):
                    slopes[LANES * (n - start) + lane] = cotangent[first + lane, n]
            for n in range(start, stop - 1):
                there, count = 3 * plane * (n + 1 - start), min(orders, n + 1, num - n)
                step_cpmg(states, here, there, plane, factors, 0, count)
                here = there
            for n in range(stop - 1, start - 1, -1):
                i, count = LANES * (n - start), min(orders, n + 1, num - n)
                back_cpmg(states, here, plane, cotangents, factors, 0, count, slopes, i, moments,
                           5 * i)  # fmt: skip
                here = 3 * plane * (n - 1 - start)
                if n - 1 == start:
                    here = kept + 3 * plane * (start // length)
                whole = 1.0 if n else 0.5  # the excitation lies half a spacing before the pulse
                for lane in range(LANES):
                    at = 5 * i + lane
                    sums[0, lane] += moments[at]
                    sums[1, lane] += moments[at + 2 * LANES] + moments[at + 3 * LANES]
                    sums[2, lane] += whole * moments[at + LANES] + 0.5 * moments[at + 4 * LANES]
        for lane in range(min(LANES, last + 1 - first)):
            r1, r2 = tissue[lane], tissue[LANES + lane]
            flipped = excited[lane] * factors[4 * LANES + lane] * cotangents[lane]
            by_atom[0, first + lane] = -sums[1, lane] * r1 - sums[2, lane] * r2
            by_atom[1, first + lane] = sums[1, lane] * spacing * r1 * r1
            by_atom[2, first + lane] = sums[2, lane] * spacing * r2 * r2
            by_atom[3, first + lane] = math.pi * (sums[0, lane] + 0.5 * flipped)
