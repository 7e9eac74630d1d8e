"""Sums over the parts of voxels of images of slices on the CPU, a row of voxels after the other."""

from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import exact


@exact
@no_type_check
def add_slices(here, real, imaginary, shifts, edge, scale, tables, out):
    """Sum what the parts of all voxels give to the slices that lie up to ``reach`` before them.

    here: df, Hz, real, imaginary: M0 exp(-2 pi i df TE), of the parts of voxels, (P, rows, Z);
    shifts: frequency of part p in the slice o - reach before its voxel, Hz, (P, 2 reach + 1), NaN
    where no profile reaches; edge: last frequency of the profile, Hz; scale: its intervals per Hz;
    tables: real part, its step to the next value, imaginary part, its step, (F + 2, 4), with a zero
    at either end; out: real and imaginary part, (2, rows, Z).
    """
    num_parts, num_rows, num_slices = here.shape
    reach = shifts.shape[1] // 2
    zero, one = here.dtype.type(0), here.dtype.type(1)
    top = here.dtype.type(tables.shape[0] - 1)
    sums_re, sums_im = np.empty(num_slices, here.dtype), np.empty(num_slices, here.dtype)
    for row in range(num_rows):
        sums_re[:], sums_im[:] = zero, zero
        for part in range(num_parts):
            f, p, q = here[part, row], real[part, row], imaginary[part, row]
            for o in range(shifts.shape[1]):
                shift, offset = shifts[part, o], o - reach
                if np.isnan(shift):
                    continue
                for s in range(max(0, -offset), num_slices - max(0, offset)):
                    z = s + offset
                    x = (f[z] + shift + edge) * scale + one
                    if not (x > zero and x < top):
                        continue
                    i = np.int32(x)
                    share = x - here.dtype.type(i)
                    m = tables[i, 0] + share * tables[i, 1]
                    n = tables[i, 2] + share * tables[i, 3]
                    sums_re[s] += m * p[z] - n * q[z]
                    sums_im[s] += m * q[z] + n * p[z]
        out[0, row], out[1, row] = sums_re, sums_im
