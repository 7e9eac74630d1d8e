// Spins of single-shot images on the GPU before their pulses: one thread per spin. Their formula in
// arrays is single_shot.py; rows are those of arguments.rows.

// df, B1, T1, T2, M0: (N,), Hz, s; place: (voxels, 3), m, of a sample. spins, still: (8, N), still
// at the centre and without equilibrium; M, p, q: (N, 3), along z, x and y.
extern "C" __global__ void shot_spins(
    const REAL* df, const REAL* B1, const REAL* T1, const REAL* T2, const REAL* M0,
    const double* place, long long N, long long voxels, double* spins, double* still, REAL* M,
    REAL* p, REAL* q) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= N) return;
    const double* at = place + 3 * (i % voxels);
    double row[8] = {at[0], at[1], at[2], -3.14159265358979323846 * (double)df[i], (double)B1[i],
                     1 / (double)T1[i], 1 / (double)T2[i], (double)M0[i]};
    for (int k = 0; k < 8; ++k) {
        spins[k * N + i] = row[k];
        still[k * N + i] = k < 3 || k == 7 ? 0 : row[k];
    }
    for (int k = 0; k < 3; ++k) {
        M[3 * i + k] = k == 2 ? M0[i] : (REAL)0;
        p[3 * i + k] = k == 0;
        q[3 * i + k] = k == 1;
    }
}
