"""Steps of the extended phase graphs forwards and backwards, on vectors of 16 atoms.

Forwards as in the signals, but from one state to another, so that states can be kept. Backwards the
transposes: the cotangents of a and b decay, turn back and mix with that of Z as the state does, and
what an order received from one side goes there.
"""

from typing import no_type_check

from numba import types
from numba.extending import intrinsic

from ipads_stream.physics.epg.kernels.parts import (
    Rows,
    close_cpmg,
    close_fisp,
    combine_complex,
    combine_real,
    echo_cpmg,
    echo_fisp,
    prepare_complex,
    prepare_real,
    renewed,
)
from ipads_stream.physics.kernels.tile import LANES
from ipads_stream.physics.kernels.vectors import INDEX, Variable, each, generated


@no_type_check
def _step(num_parts, prepare, combine, close):
    """An intrinsic over (states, here, there, plane, factors, at, count): a pulse and its interval.

    A state lies at here: rows of a, then, plane further each, of b and z, laid out as in the
    forward pass; the next is written at there, which may be here. Rows that the next pulse reads
    beyond what is filled are zeroed.
    """

    @no_type_check
    def typed(typing, states, here, there, plane, factors, at, count):
        def emit(builder, states_, here_, there_, plane_, factors_, at_, count_):
            rows_of, row = Rows(builder, states, num_parts), INDEX(LANES * num_parts)

            def state(base, offset):
                return rows_of.get(states_, builder.add(base, offset))

            a, b, z = _planes(builder, here_, plane_)
            new_a, new_b, new_z = _planes(builder, there_, plane_)
            given = rows_of.get(factors_, at_, 3 + 2 * num_parts)
            shared = prepare(*given)
            carried = [Variable(builder, value) for value in rows_of.get(states_, a)]
            with each(builder, 0, count_) as (k, _):
                k = builder.mul(k, row)
                above = builder.add(k, row)
                old = renewed(carried, state(a, above))
                new = combine(shared, old, state(b, above), state(z, k))
                for base, place, values in zip(
                    (new_a, new_b, new_z), (above, k, k), new, strict=True
                ):
                    rows_of.put(states_, builder.add(base, place), values)
            end, none = builder.mul(count_, row), [rows_of.constant(0.0)] * num_parts
            for base in (new_b, builder.add(new_b, row), new_z):
                rows_of.put(states_, builder.add(base, end), none)
            lowest = rows_of.get(states_, new_b), state(new_b, row), rows_of.get(states_, new_z)
            for base, values in zip((new_a, new_z), close(given, *lowest), strict=True):
                rows_of.put(states_, base, values)

        return types.void(states, here, there, plane, factors, at, count), generated(emit)

    return intrinsic(typed)


@no_type_check
def _step_back(num_parts, echo, turn_back, moments_of, fold):
    """An intrinsic over (states, here, plane, cotangents, factors, at, count, slopes, ..., put).

    The cotangent of the state after the interval (alpha, beta, zeta: planes of rows of an order
    each, in place) becomes that of the state at here, before the pulse; slopes[where:]: that of the
    echo; moments[put:]: rows of 16, A, W, V, zeta_0, Re(s* slope), and with two parts Q and
    Re((i s)* slope).
    """

    @no_type_check
    def typed(
        typing, states, here, plane, cotangents, factors, at, count, slopes, where, moments, put
    ):
        def emit(
            builder, states_, here_, plane_, cotangents_, factors_, at_, count_, slopes_, where_,
            moments_, put_,
        ):  # fmt: skip
            rows_of, row = Rows(builder, states, num_parts), INDEX(LANES * num_parts)
            a, b, z = _planes(builder, here_, plane_)
            alpha, beta, zeta = _planes(builder, INDEX(0), plane_)

            def state(base, offset):
                return rows_of.get(states_, builder.add(base, offset))

            def cotangent(base, offset):
                return rows_of.get(cotangents_, builder.add(base, offset))

            given = rows_of.get(factors_, at_, 3 + 2 * num_parts)  # as prepare has them
            slope = rows_of.get(slopes_, where_)
            signal = echo(given, rows_of.get(states_, a), state(b, row), rows_of.get(states_, z))
            none = [rows_of.constant(0.0)] * num_parts
            first, lowest = fold(
                rows_of.get(cotangents_, alpha), rows_of.get(cotangents_, beta), none
            )
            rows_of.put(cotangents_, beta, first)
            carried = [Variable(builder, x) for x in lowest]
            extra = [Variable(builder, given[4] * x) for x in slope]
            sums = [Variable(builder, none[0]) for _ in range(2 + 2 * num_parts)]
            with each(builder, 0, count_) as (k, _):
                k = builder.mul(k, row)
                above = builder.add(k, row)
                outer = cotangent(alpha, above), renewed(carried, cotangent(beta, k))
                inner = turn_back(given, *outer, cotangent(zeta, k), renewed(extra, none))
                for base, values in zip((alpha, beta, zeta), inner, strict=True):
                    rows_of.put(cotangents_, builder.add(base, k), values)
                here_k = state(a, k), state(b, above), state(z, k)
                old = [total.get() for total in sums]
                renewed(sums, moments_of(old, inner, here_k))
            totals = _totals(
                [total.get() for total in sums], rows_of.get(cotangents_, zeta)[0], signal, slope,
                none[0],
            )  # fmt: skip
            rows_of.put(moments_, put_, totals)

        given = (states, here, plane, cotangents, factors, at, count, slopes, where, moments, put)
        return types.void(*given), generated(emit)

    return intrinsic(typed)


def _planes(builder, start, plane):
    second = builder.add(start, plane)
    return start, second, builder.add(second, plane)


def _dot(total, left, right):
    """total + Re(left* right)."""
    for x, y in zip(left, right, strict=True):
        total = total + x * y
    return total


def _wedge(total, left, right):
    """total + Re(left* i right)."""
    return total + left[1] * right[0] - left[0] * right[1]


def _turn_back(given, alpha, beta, zeta):
    """The transpose of a pulse; alpha and beta have decayed, zeta has not."""
    c, s, e1 = given[:3]
    half_c, sine_1, cosine_1 = c * 0.5, s * 0.5 * e1, c * e1
    total = [x + y for x, y in zip(alpha, beta, strict=True)]
    rest = [(x - y) * 0.5 for x, y in zip(alpha, beta, strict=True)]
    turned = [half_c * t - sine_1 * w for t, w in zip(total, zeta, strict=True)]
    left = [s * t + cosine_1 * w for t, w in zip(total, zeta, strict=True)]
    up = [x + y for x, y in zip(turned, rest, strict=True)]
    return up, [x - y for x, y in zip(turned, rest, strict=True)], left


def _turn_back_real(given, alpha, beta, zeta, extra):
    return _turn_back(given, [given[3] * alpha[0] + extra[0]], [given[3] * beta[0]], zeta)


def _turn_back_complex(given, alpha, beta, zeta, extra):
    x, y = given[5] * given[3], given[6] * given[3]
    (p, q), (r, s) = alpha, beta
    alpha = [extra[0] + (x * p + y * q), extra[1] + (x * q - y * p)]
    return _turn_back(given, alpha, [x * r - y * s, x * s + y * r], zeta)


def _turn_back_cpmg(given, alpha, beta, zeta, extra):
    """The echo is what falls below order 0, negative."""
    return _turn_back(given, [given[3] * alpha[0]], [given[3] * beta[0] - extra[0]], zeta)


def _moments_real(old, inner, state):
    """Sums of (alpha + beta)* z, zeta* (a + b), W, zeta* z."""
    (alpha, beta, zeta), (a, b, z) = inner, state
    slopes = [x + y for x, y in zip(alpha, beta, strict=True)]
    total = [x + y for x, y in zip(a, b, strict=True)]
    return [
        _dot(old[0], slopes, z),
        _dot(old[1], zeta, total),
        _dot(_dot(old[2], alpha, a), beta, b),
        _dot(old[3], zeta, z),
    ]


def _moments_complex(old, inner, state):
    """The same, and Q in two halves."""
    (alpha, beta, _), (a, b, _) = inner, state
    first = _moments_real(old[:4], inner, state)
    return [*first, _wedge(old[4], alpha, a), _wedge(old[5], beta, b)]


def _totals(sums, zeta, signal, slope, none):
    angle = sums[0] - sums[1] * 0.5
    totals = [angle, sums[2], sums[3] - zeta, zeta, _dot(none, signal, slope)]
    if len(signal) == 1:
        return totals
    return [*totals, sums[4] - sums[5], _wedge(none, slope, signal)]


def _fold_fisp(alpha, beta, none):
    """F_0 is the conjugate of what fell to order 0; what falls below it is left out."""
    return [beta[0] + alpha[0], *(y - x for x, y in zip(alpha[1:], beta[1:], strict=True))], none


def _fold_cpmg(alpha, beta, none):
    return beta, [-alpha[0]]


step_real = _step(1, prepare_real, combine_real, close_fisp)
step_complex = _step(2, prepare_complex, combine_complex, close_fisp)
step_cpmg = _step(1, prepare_real, combine_real, close_cpmg)
back_real = _step_back(1, echo_fisp, _turn_back_real, _moments_real, _fold_fisp)
back_complex = _step_back(2, echo_fisp, _turn_back_complex, _moments_complex, _fold_fisp)
back_cpmg = _step_back(1, echo_cpmg, _turn_back_cpmg, _moments_real, _fold_cpmg)
