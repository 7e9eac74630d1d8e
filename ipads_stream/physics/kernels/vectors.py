"""Arithmetic of vector registers for Numba intrinsics, written as formulas.

Numba keeps an array in memory and gives up on loops whose state is large; as vector instructions
the state stays where it is put. For (16 x 10)(10 x 16) on one Zen 5 core (245 GFLOP/s at best)
loops over arrays reach 46 GFLOP/s, the tile of tile.py 167 to 191.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

INDEX = ir.IntType(64)
_CONTRACT = ("contract",)
_LANE = ir.IntType(32)


def generated(emit: Callable[..., None]) -> Callable[..., Any]:
    """The code generator of an intrinsic that returns nothing.

    emit: (builder, *arguments): pointers to the data of arrays, floats, and integers as INDEX.
    """

    def generator(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def opened() -> Iterator[Any]:
            for kind, value in zip(signature.args, arguments, strict=True):
                if isinstance(kind, types.Array):
                    yield context.make_array(kind)(context, builder, value).data
                elif isinstance(kind, types.Float):
                    yield value
                else:
                    yield context.cast(builder, value, kind, types.intp)

        emit(builder, *opened())
        return context.get_dummy_value()

    return generator


def each(builder: Any, start: Any, stop: Any, step: int = 1) -> Any:
    """A loop: with each(builder, 0, stop) as (k, _)."""
    begin = INDEX(start) if isinstance(start, int) else start
    return cgutils.for_range_slice(builder, begin, stop, INDEX(step), INDEX)


class Vector:
    """A value in a vector register; a product and a sum may become one instruction."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _of(self, other: Any) -> Any:
        if isinstance(other, Vector):
            return other.value
        return ir.Constant(self.value.type, [other] * self.value.type.count)

    def __add__(self, other: Any) -> Vector:
        return Vector(self.builder, self.builder.fadd(self.value, self._of(other), flags=_CONTRACT))

    def __sub__(self, other: Any) -> Vector:
        return Vector(self.builder, self.builder.fsub(self.value, self._of(other), flags=_CONTRACT))

    def __rsub__(self, other: float) -> Vector:
        return Vector(self.builder, self.builder.fsub(self._of(other), self.value, flags=_CONTRACT))

    def __mul__(self, other: Any) -> Vector:
        return Vector(self.builder, self.builder.fmul(self.value, self._of(other), flags=_CONTRACT))

    def __neg__(self) -> Vector:
        return Vector(self.builder, self.builder.fneg(self.value))

    def total(self) -> Any:
        """The sum over the lanes, in the order of halves, as a scalar in float64."""
        value, count = self.value, self.value.type.count
        while count > 1:
            count //= 2
            blank = ir.Constant(value.type, ir.Undefined)
            low, high = (
                ir.Constant(ir.VectorType(_LANE, count), [start + i for i in range(count)])
                for start in (0, count)
            )
            value = self.builder.fadd(
                self.builder.shuffle_vector(value, blank, low),
                self.builder.shuffle_vector(value, blank, high),
            )
        scalar = self.builder.extract_element(value, _LANE(0))
        double = ir.DoubleType()
        return scalar if scalar.type == double else self.builder.fpext(scalar, double)


class Variable:
    """A vector that changes within a loop."""

    def __init__(self, builder: Any, start: Any) -> None:
        """start: its first value, or its type where it has none yet."""
        kind = start.value.type if isinstance(start, Vector) else start
        self.builder, self.memory = builder, cgutils.alloca_once(builder, kind)
        if isinstance(start, Vector):
            self.put(start)

    def get(self) -> Vector:
        return Vector(self.builder, self.builder.load(self.memory))

    def put(self, vector: Vector) -> None:
        self.builder.store(vector.value, self.memory)

    def add(self, vector: Vector) -> None:
        self.put(self.get() + vector)


class Registers:
    """Loads and stores of vectors of ``width`` numbers of a dtype at places in flat arrays."""

    def __init__(self, builder: Any, dtype: Any, width: int) -> None:
        self.builder, self.width = builder, width
        self.single = dtype == types.float32
        self.kind = ir.VectorType(ir.FloatType() if self.single else ir.DoubleType(), width)

    def place(self, base: Any, offset: Any) -> Any:
        """Pointer to the vector that starts at an element of an array."""
        pointer = self.builder.gep(base, [offset])
        return self.builder.bitcast(pointer, self.kind.as_pointer())

    def load(self, base: Any, offset: Any) -> Vector:
        align = 4 if self.single else 8
        return Vector(self.builder, self.builder.load(self.place(base, offset), align=align))

    def store(self, vector: Vector, base: Any, offset: Any) -> None:
        align = 4 if self.single else 8
        self.builder.store(vector.value, self.place(base, offset), align=align)

    def constant(self, value: float) -> Vector:
        return Vector(self.builder, ir.Constant(self.kind, [value] * self.width))

    def spread(self, scalar: Any) -> Vector:
        """One number in all lanes."""
        blank = ir.Constant(self.kind, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(_LANE, self.width), [0] * self.width)
        first = self.builder.insert_element(blank, scalar, _LANE(0))
        return Vector(self.builder, self.builder.shuffle_vector(first, blank, zeros))

    def element(self, base: Any, offset: Any) -> Vector:
        """An element of an array in all lanes."""
        return self.spread(self.builder.load(self.builder.gep(base, [offset])))


def polynomial(coefficients: Any, x: Vector) -> Vector:
    """c0 + c1 x + ..., by Horner's rule."""
    value = x * coefficients[-1] + coefficients[-2]
    for c in coefficients[-3::-1]:
        value = value * x + c
    return value


def cross(a: Any, b: Any) -> tuple[Vector, Vector, Vector]:
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )
