"""Steps of the extended phase graphs forwards and backwards, on vectors of 16 atoms.

Forwards as in the signals, but from one state to another, so that states can be kept. Backwards the
transposes: the cotangents of a and b decay, turn back and mix with that of Z as the state does, and
what an order received from one side goes there.
"""

from typing import no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ipads_stream.physics.kernels.epg_parts import (
    INDEX,
    arithmetic,
    close_cpmg,
    close_fisp,
    combine_complex,
    combine_real,
    echo_cpmg,
    echo_fisp,
    memory,
    number,
    prepare_complex,
    prepare_real,
)
from ipads_stream.physics.kernels.tile import LANES


@no_type_check
def _step(num_parts, prepare, combine, close):
    """An intrinsic over (states, here, there, plane, factors, at, count): a pulse and its interval.

    A state lies at here: rows of a, then, plane further each, of b and z, laid out as in the
    forward pass; the next is written at there, which may be here. Rows that the next pulse reads
    beyond what is filled are zeroed.
    """

    @no_type_check
    def typed(typing, states, here, there, plane, factors, at, count):
        def emit(context, builder, signature, arguments):
            def array(i):
                return context.make_array(signature.args[i])(context, builder, arguments[i]).data

            def index(i):
                return context.cast(builder, arguments[i], signature.args[i], types.intp)

            vector = ir.VectorType(context.get_data_type(signature.args[0].dtype), LANES)
            load, store = memory(context, builder, vector, num_parts)
            states, (here, there, plane, at, count) = array(0), map(index, (1, 2, 3, 5, 6))
            zero, row = INDEX(0), INDEX(LANES * num_parts)
            a, b, z = _planes(builder, here, plane)
            a_, b_, z_ = _planes(builder, there, plane)
            given = load(array(4), at, 3 + 2 * num_parts)
            shared = prepare(builder, *given)
            carried = _places(builder, vector, load(states, a))
            with cgutils.for_range_slice(builder, zero, count, INDEX(1), INDEX) as (k, _):
                k = builder.mul(k, row)
                above = builder.add(k, row)
                old = _renew(builder, carried, load(states, builder.add(a, above)))
                new = combine(builder, shared, old, load(states, builder.add(b, above)),
                              load(states, builder.add(z, k)))  # fmt: skip
                for base, offset, values in zip((a_, b_, z_), (above, k, k), new, strict=True):
                    store(states, builder.add(base, offset), values)
            end, none = builder.mul(count, row), [number(given[0], 0.0)] * num_parts
            for base in (b_, builder.add(b_, row), z_):
                store(states, builder.add(base, end), none)
            closed = close(builder, given, load(states, b_), load(states, builder.add(b_, row)),
                           load(states, z_))  # fmt: skip
            for base, values in zip((a_, z_), closed, strict=True):
                store(states, base, values)
            return context.get_dummy_value()

        return types.void(states, here, there, plane, factors, at, count), emit

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
        def emit(context, builder, signature, arguments):
            def array(i):
                return context.make_array(signature.args[i])(context, builder, arguments[i]).data

            def index(i):
                return context.cast(builder, arguments[i], signature.args[i], types.intp)

            vector = ir.VectorType(context.get_data_type(signature.args[0].dtype), LANES)
            load, store = memory(context, builder, vector, num_parts)
            states, cotangents, where, put = array(0), array(3), index(8), index(10)
            here, plane, at, count = map(index, (1, 2, 5, 6))
            zero, row = INDEX(0), INDEX(LANES * num_parts)
            a, b, z = _planes(builder, here, plane)
            alpha, beta, zeta = _planes(builder, zero, plane)
            given = load(array(4), at, 3 + 2 * num_parts)  # as prepare has them
            slope = load(array(7), where)
            signal = echo(builder, given, load(states, a), load(states, builder.add(b, row)),
                          load(states, z))  # fmt: skip
            none = [number(given[0], 0.0)] * num_parts
            first, lowest = fold(builder, load(cotangents, alpha), load(cotangents, beta))
            store(cotangents, beta, first)
            carried = _places(builder, vector, lowest)
            mul, _, _ = arithmetic(builder)
            extra = _places(builder, vector, [mul(given[4], x) for x in slope])
            sums = _places(builder, vector, none[:1] * (2 + 2 * num_parts))
            with cgutils.for_range_slice(builder, zero, count, INDEX(1), INDEX) as (k, _):
                k = builder.mul(k, row)
                above = builder.add(k, row)
                outer = (load(cotangents, builder.add(alpha, above)),
                         _renew(builder, carried, load(cotangents, builder.add(beta, k))),
                         load(cotangents, builder.add(zeta, k)))  # fmt: skip
                inner = turn_back(builder, given, *outer, _renew(builder, extra, none))
                for base, values in zip((alpha, beta, zeta), inner, strict=True):
                    store(cotangents, builder.add(base, k), values)
                state = (load(states, builder.add(a, k)), load(states, builder.add(b, above)),
                         load(states, builder.add(z, k)))  # fmt: skip
                old = [builder.load(place) for place in sums]
                for place, value in zip(sums, moments_of(builder, old, inner, state), strict=True):
                    builder.store(value, place)
            totals = _totals(builder, [builder.load(place) for place in sums],
                             load(cotangents, zeta)[0], signal, slope)  # fmt: skip
            store(array(9), put, totals)
            return context.get_dummy_value()

        given = (states, here, plane, cotangents, factors, at, count, slopes, where, moments, put)
        return types.void(*given), emit

    return intrinsic(typed)


@no_type_check
def _planes(builder, start, plane):
    second = builder.add(start, plane)
    return start, second, builder.add(second, plane)


@no_type_check
def _places(builder, vector, values):
    """Places, that end up in registers, with these values."""
    found = [cgutils.alloca_once(builder, vector) for _ in values]
    for place, value in zip(found, values, strict=True):
        builder.store(value, place)
    return found


@no_type_check
def _renew(builder, places, values):
    """What the places held."""
    old = [builder.load(place) for place in places]
    for place, value in zip(places, values, strict=True):
        builder.store(value, place)
    return old


@no_type_check
def _dot(builder, total, left, right):
    """total + Re(left* right)."""
    mul, add, _ = arithmetic(builder)
    for x, y in zip(left, right, strict=True):
        total = add(total, mul(x, y))
    return total


@no_type_check
def _wedge(builder, total, left, right):
    """total + Re(left* i right)."""
    mul, add, sub = arithmetic(builder)
    return sub(add(total, mul(left[1], right[0])), mul(left[0], right[1]))


@no_type_check
def _turn_back(builder, given, alpha, beta, zeta):
    """The transpose of a pulse; alpha and beta have decayed, zeta has not."""
    mul, add, sub = arithmetic(builder)
    c, s, e1 = given[:3]
    half = number(c, 0.5)
    half_c, sine_1, cosine_1 = mul(half, c), mul(mul(half, s), e1), mul(c, e1)
    total = [add(*pair) for pair in zip(alpha, beta, strict=True)]
    rest = [mul(half, sub(*pair)) for pair in zip(alpha, beta, strict=True)]
    turned = [sub(mul(half_c, t), mul(sine_1, w)) for t, w in zip(total, zeta, strict=True)]
    left = [add(mul(s, t), mul(cosine_1, w)) for t, w in zip(total, zeta, strict=True)]
    up = [add(*pair) for pair in zip(turned, rest, strict=True)]
    return up, [sub(*pair) for pair in zip(turned, rest, strict=True)], left


@no_type_check
def _turn_back_real(builder, given, alpha, beta, zeta, extra):
    mul, add, _ = arithmetic(builder)
    alpha = [add(mul(given[3], alpha[0]), extra[0])]
    return _turn_back(builder, given, alpha, [mul(given[3], beta[0])], zeta)


@no_type_check
def _turn_back_complex(builder, given, alpha, beta, zeta, extra):
    mul, add, sub = arithmetic(builder)
    x, y = mul(given[5], given[3]), mul(given[6], given[3])
    (p, q), (r, s) = alpha, beta
    alpha = [add(extra[0], add(mul(x, p), mul(y, q))), add(extra[1], sub(mul(x, q), mul(y, p)))]
    beta = [sub(mul(x, r), mul(y, s)), add(mul(x, s), mul(y, r))]
    return _turn_back(builder, given, alpha, beta, zeta)


@no_type_check
def _turn_back_cpmg(builder, given, alpha, beta, zeta, extra):
    """The echo is what falls below order 0, negative."""
    mul, _, sub = arithmetic(builder)
    beta = [sub(mul(given[3], beta[0]), extra[0])]
    return _turn_back(builder, given, [mul(given[3], alpha[0])], beta, zeta)


@no_type_check
def _moments_real(builder, old, inner, state):
    """Sums of (alpha + beta)* z, zeta* (a + b), W, zeta* z."""
    _, add, _ = arithmetic(builder)
    (alpha, beta, zeta), (a, b, z) = inner, state
    slopes = [add(*pair) for pair in zip(alpha, beta, strict=True)]
    total = [add(*pair) for pair in zip(a, b, strict=True)]
    return [
        _dot(builder, old[0], slopes, z),
        _dot(builder, old[1], zeta, total),
        _dot(builder, _dot(builder, old[2], alpha, a), beta, b),
        _dot(builder, old[3], zeta, z),
    ]


@no_type_check
def _moments_complex(builder, old, inner, state):
    """The same, and Q in two halves."""
    (alpha, beta, _), (a, b, _) = inner, state
    first = _moments_real(builder, old[:4], inner, state)
    return [*first, _wedge(builder, old[4], alpha, a), _wedge(builder, old[5], beta, b)]


@no_type_check
def _totals(builder, sums, zeta, signal, slope):
    mul, _, sub = arithmetic(builder)
    none = number(zeta, 0.0)
    angle = sub(sums[0], mul(number(zeta, 0.5), sums[1]))
    found = [angle, sums[2], sub(sums[3], zeta), zeta, _dot(builder, none, signal, slope)]
    if len(signal) == 1:
        return found
    return [*found, sub(sums[4], sums[5]), _wedge(builder, none, slope, signal)]


@no_type_check
def _fold_fisp(builder, alpha, beta):
    """F_0 is the conjugate of what fell to order 0; what falls below it is left out."""
    _, add, sub = arithmetic(builder)
    first = [add(beta[0], alpha[0])]
    first += [sub(y, x) for x, y in zip(alpha[1:], beta[1:], strict=True)]
    return first, [number(x, 0.0) for x in alpha]


@no_type_check
def _fold_cpmg(builder, alpha, beta):
    return beta, [builder.fneg(alpha[0])]


step_real = _step(1, prepare_real, combine_real, close_fisp)
step_complex = _step(2, prepare_complex, combine_complex, close_fisp)
step_cpmg = _step(1, prepare_real, combine_real, close_cpmg)
back_real = _step_back(1, echo_fisp, _turn_back_real, _moments_real, _fold_fisp)
back_complex = _step_back(2, echo_fisp, _turn_back_complex, _moments_complex, _fold_fisp)
back_cpmg = _step_back(1, echo_cpmg, _turn_back_cpmg, _moments_real, _fold_cpmg)
