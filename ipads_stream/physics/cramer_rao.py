"""Cramer-Rao bounds: how well any unbiased estimate could do, from the derivative of the signal.

The derivative comes from the caller: torch.func.jacfwd or jacrev of a forward model, finite
differences, or a closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import device_of, is_numpy, namespace
from ipads_stream.physics.arguments import Range, check_shape, common_shape, numbers_of
from ipads_stream.physics.arrays import host, is_array, precision

_SHARE = 0.05  # of a unit vector: parameters with less of a combination are not named


def fisher_information(
    jacobian: Float[Any, "*batch samples P"] | Complex[Any, "*batch samples P"],
    sigma: Float[Any, "..."] | float,
) -> Float[Any, "*batch P P"]:
    """The information that samples with Gaussian noise carry about the parameters.

    I_ij = sum_n Re(conj(ds_n / dp_i) ds_n / dp_j) / sigma_n^2

    Args:
        jacobian: ds_n / dp_i, real or complex, (*batch, samples, P), in units of the signal per
            unit of the parameter.
        sigma: standard deviation of the noise in each real channel, so of the real and of the
            imaginary part of a complex sample; number, (samples,) or (*batch, samples).

    Raises:
        ValueError: sigma is not positive and finite (checked where it is a number or of NumPy), the
            jacobian is not finite (by sample and parameter), or a shape does not fit.

    Source: Kay, Fundamentals of statistical signal processing: estimation theory, 1993, Eqs. (3.31)
    and (15.52).
    """
    xp, shape = namespace(jacobian), tuple(jacobian.shape)
    if jacobian.ndim < 2:
        raise ValueError(f"jacobian of shape {shape}: (*batch, samples, P) is allowed")
    _check_finite("jacobian", jacobian, ("sample", "parameter"))
    if is_numpy(sigma) or not is_array(sigma):
        Range(noun="standard deviation", positive=True)("sigma", np.asarray(sigma, float))
    spread: Any = sigma
    if hasattr(sigma, "shape") and len(sigma.shape):
        common_shape({"sigma": sigma, "jacobian without its last axis": jacobian[..., 0]})
        spread = spread[..., None]
    is_complex = xp.isdtype(jacobian.dtype, "complex floating")
    parts = [xp.real(jacobian), xp.imag(jacobian)] if is_complex else [jacobian]
    if is_numpy(spread):
        spread = xp.asarray(spread, dtype=parts[0].dtype, device=device_of(jacobian))
    scaled = xp.concat([part / spread for part in parts], axis=-2)
    return xp.matmul(xp.matrix_transpose(scaled), scaled)


def bound(
    fisher: Float[Any, "*batch P P"], prior: Float[Any, "..."] | Sequence[float] | None = None
) -> Float[Any, "*batch P"]:
    """The least standard deviation of an unbiased estimate of every parameter, the others unknown.

    sd_i = sqrt((I^-1)_ii); with a Gaussian prior sqrt(((I + diag(1 / prior^2))^-1)_ii), where I is
    to be the average over the prior: the bound on the root mean square error of any estimate.

    Args:
        fisher: I, (*batch, P, P).
        prior: standard deviation of the prior of every parameter in its unit, (P,); inf: none.

    Raises:
        ValueError: prior is not positive, its shape does not fit, or the information is not finite.
        LinAlgError: of NumPy: the information is singular, to its precision, or not positive
            definite; the message gives the number of the parameters and of the member, and
            identifiable() says in which combination. Neither is seen where torch hides the values.

    Source: Kay 1993 (as above), Eq. (3.20); van Trees, Detection, estimation, and modulation
    theory I, 1968, section 2.4.2.
    """
    xp = namespace(fisher)
    num = fisher.shape[-1]
    unit = xp.eye(num, dtype=fisher.dtype, device=device_of(fisher))
    if prior is not None:
        spread: Any = prior
        if not hasattr(prior, "shape") or is_numpy(prior):
            values = np.asarray(prior, float)
            check_shape("prior", values, (num,))
            Range(noun="standard deviation", positive=True, infinite=True)("prior", values)
            spread = xp.asarray(values, dtype=fisher.dtype, device=device_of(fisher))
        fisher = fisher + unit / (spread * spread)
    _check_definite(fisher)
    size = xp.sqrt(xp.sum(fisher * unit, axis=-1))  # units of the parameters differ by decades
    inverse = xp.linalg.inv(fisher / (size[..., :, None] * size[..., None, :]))
    return xp.sqrt(xp.sum(inverse * unit, axis=-1)) / size


def bound_or_infinite(fisher: Float[np.ndarray, "B P P"]) -> Float[np.ndarray, "B P"]:
    """As :func:`bound`, and inf for all parameters of a member whose information is singular.

    Args:
        fisher: I, NumPy, (B, P, P).
    """
    try:
        return bound(fisher)
    except np.linalg.LinAlgError:
        if len(fisher) == 1:
            return np.full(fisher.shape[:2], np.inf)
        half = len(fisher) // 2
        return np.concatenate([bound_or_infinite(part) for part in (fisher[:half], fisher[half:])])


def _check_finite(name: str, x: Any, axes: tuple[str, str]) -> np.ndarray | None:
    """The values on the host, None where torch hides them; refuses what is not finite."""
    values = host(x)
    if values is not None and not np.isfinite(values).all():
        *member, i, j = (int(n) for n in np.argwhere(~np.isfinite(values))[0])
        at = f", member {tuple(member)}" if member else ""
        raise ValueError(f"{name}={values[(*member, i, j)]} of {axes[0]} {i}, {axes[1]} {j}{at}: "
                         "a finite number is allowed")  # fmt: skip
    return values


def _check_definite(fisher: Any) -> None:
    """Refuses information of which no bound follows: the inverse would hold no digit, or NaN."""
    values = _check_finite("fisher", fisher, ("row", "column"))
    if values is None or values.size == 0:
        return
    matrices = values.reshape(-1, *values.shape[-2:])
    diagonal = np.einsum("...ii->...i", matrices)
    size = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1))
    scaled = matrices * size[:, :, None] * size[:, None, :]
    least, vectors = (x[..., 0] for x in np.linalg.eigh(scaled))
    # The bound of a matrix with this eigenvalue is off by the share that rounding has of it.
    singular = least <= 10 * scaled.shape[-1] * np.finfo(scaled.dtype).eps
    wrong = singular | (diagonal <= 0).any(axis=-1)
    if wrong.any():
        at = int(np.argmax(wrong))
        bare = np.flatnonzero(diagonal[at] <= 0)
        which = bare if bare.size else np.flatnonzero(np.abs(vectors[at]) > _SHARE)
        raise np.linalg.LinAlgError(
            f"fisher: parameter {', '.join(map(str, which))} of member {at}: a positive definite "
            f"matrix is allowed, its least eigenvalue is {least[at]:.1e} where the diagonal is 1; "
            "identifiable() says which combination the signal does not carry"
        )


def identifiable(
    fisher: Float[Any, "*batch P P"],
    names: Sequence[str],
    scale: Sequence[float] | None = None,
    tolerance: float | None = None,
) -> None:
    """Refuse a configuration whose signal does not change along some combination of parameters.

    The smallest eigenvalue of I_ij scale_i scale_j must exceed tolerance times the largest; its
    eigenvector is the combination that the signal does not carry.

    Args:
        fisher: I, (*batch, P, P); every member is tested.
        names: of the parameters, P of them.
        scale: a typical size or range of every parameter in its unit, (P,); None: 1 / sqrt(I_ii)
            of every member, which finds combinations but hides a parameter that by rounding alone
            has any information.
        tolerance: None: 1e-12, in float32 1e-6.

    Raises:
        ValueError: the information is singular to the tolerance, or not finite; the message names
            the parameters; or names, scale do not fit.
    """
    num = fisher.shape[-1]
    if len(names) != num:
        raise ValueError(f"names={list(names)}: {num} names are needed")
    if scale is not None and (len(scale) != num or not all(0 < x < float("inf") for x in scale)):
        raise ValueError(f"scale={list(scale)}: {num} positive and finite sizes are needed")
    if tolerance is None:
        tolerance = 1e-12 if precision(fisher) == "float64" else 1e-6
    matrices = numbers_of("fisher", fisher).reshape(-1, num, num)
    if not np.isfinite(matrices).all():
        raise ValueError("fisher: a member is not finite, finite numbers are needed")
    diagonal = np.einsum("nii->ni", matrices)
    size = np.where(diagonal > 0, diagonal, 1.0) ** -0.5
    if scale is not None:
        size = np.broadcast_to(np.asarray(scale, float), diagonal.shape)
    values, vectors = np.linalg.eigh(matrices * size[:, :, None] * size[:, None, :])
    singular = values[:, 0] <= tolerance * values[:, -1]
    if not singular.any():
        return
    member = int(np.argmax(singular))
    share = values[member, 0] / (values[member, -1] or 1.0)
    steps = zip(names, vectors[member, :, 0], size[member], strict=True)
    changes = {name: weight * unit for name, weight, unit in steps if abs(weight) > _SHARE}
    raise ValueError(
        f"{', '.join(changes)}: not identifiable in {singular.sum()} of {len(matrices)} members; "
        "the signal stays as it is when one changes "
        f"{', '.join(f'{name} by {step:+.3g}' for name, step in changes.items())} (information "
        f"{share:.1e} of the best known combination, more than {tolerance:.1e} is needed)"
    )
