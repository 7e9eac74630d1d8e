"""Arithmetic of vector registers for Numba intrinsics, written as formulas.

Numba keeps an array in memory and gives up on loops whose state is large; as vector instructions
the state stays where it is put (see tile.py).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

BYTES = 64  # of a vector: 16 float32 or 8 float64
_CONTRACT = ("contract",)
_INDEX, _LANE = ir.IntType(64), ir.IntType(32)


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

    def __mul__(self, other: Any) -> Vector:
        return Vector(self.builder, self.builder.fmul(self.value, self._of(other), flags=_CONTRACT))

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

    def __init__(self, builder: Any, kind: Any) -> None:
        self.builder, self.memory = builder, cgutils.alloca_once(builder, kind)

    def get(self) -> Vector:
        return Vector(self.builder, self.builder.load(self.memory))

    def put(self, vector: Vector) -> None:
        self.builder.store(vector.value, self.memory)


class Registers:
    """Loads and stores of vectors of float32 or float64 at places in flat arrays."""

    def __init__(self, builder: Any, dtype: Any) -> None:
        self.builder = builder
        self.single = dtype == types.float32
        self.width = BYTES // (4 if self.single else 8)
        self.kind = ir.VectorType(ir.FloatType() if self.single else ir.DoubleType(), self.width)

    def place(self, base: Any, offset: Any) -> Any:
        """Pointer to the vector that starts at an element of an array."""
        pointer = self.builder.gep(base, [offset])
        return self.builder.bitcast(pointer, self.kind.as_pointer())

    def load(self, base: Any, offset: Any) -> Vector:
        return Vector(self.builder, self.builder.load(self.place(base, offset), align=4))

    def store(self, vector: Vector, base: Any, offset: Any) -> None:
        self.builder.store(vector.value, self.place(base, offset), align=4)

    def zero(self) -> Vector:
        return Vector(self.builder, ir.Constant(self.kind, [0.0] * self.width))

    def spread(self, base: Any, offset: Any) -> Vector:
        """One element in all lanes."""
        value = self.builder.load(self.builder.gep(base, [offset]))
        blank = ir.Constant(self.kind, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(_LANE, self.width), [0] * self.width)
        first = self.builder.insert_element(blank, value, _LANE(0))
        return Vector(self.builder, self.builder.shuffle_vector(first, blank, zeros))


def polynomial(coefficients: tuple[float, ...], q: Vector) -> Vector:
    """c0 + c1 q + ..., by Horner's rule."""
    value = q * coefficients[-1] + coefficients[-2]
    for c in coefficients[-3::-1]:
        value = value * q + c
    return value


def cross(a: Any, b: Any) -> tuple[Vector, Vector, Vector]:
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )
