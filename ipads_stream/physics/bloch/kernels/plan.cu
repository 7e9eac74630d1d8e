// The way in which a group of spins takes each step on the GPU, as plan in parts.py has it: a warp
// per group finds how far its spins reach, then each lane plans some of the steps.
#define LANES 32
#define ROWS 6
#define MOST_HALVINGS 6
#define FREE -2
#define EXACT -1
#define ALL 0xFFFFFFFFu

// steps: (K, 6) and spins: (8, N), as of evolve.cu; group: spins that share a plan; follow_rf:
// whether steps without RF are split as if they had some; ways: (groups, K), FREE, EXACT or n of
// 2^n splits; ends: (groups, K), where the run ends of steps as long that are split alike.
extern "C" __global__ void plan(
    const double* steps, long long num_steps, const double* spins, long long num_spins,
    double tolerance, int follow_rf, long long group, signed char* ways, int* ends) {
    long long item = (long long)blockIdx.x * blockDim.x + threadIdx.x, number = item / LANES;
    int lane = item % LANES;
    if (number * group >= num_spins) return;
    long long stop = (number + 1) * group < num_spins ? (number + 1) * group : num_spins;
    ways += number * num_steps, ends += number * num_steps;
    double reach[ROWS] = {};  // B1, |x|, |y|, |z|, |half angle by df| per second, rate
#pragma unroll 4
    for (long long spin = number * group + lane; spin < stop; spin += LANES)
#pragma unroll
        for (int i = 0; i < 7; ++i) {
            int row = i < 4 ? 1 + i : i == 4 ? 0 : 5;
            reach[row] = fmax(reach[row], fabs(spins[i * num_spins + spin]));
        }
#pragma unroll
    for (int i = 0; i < ROWS; ++i)
        for (int by = LANES / 2; by > 0; by /= 2)
            reach[i] = fmax(reach[i], __shfl_xor_sync(ALL, reach[i], by));
    for (long long k = lane; k < num_steps; k += LANES) {
        const double* step = steps + 6 * k;
        bool silent = step[0] == 0 && step[1] == 0;
        double rf = 2 * sqrt(step[0] * step[0] + step[1] * step[1]) * reach[0];
        double free = fabs(step[2]) * reach[1] + fabs(step[3]) * reach[2];
        free += fabs(step[4]) * reach[3] + step[5] * reach[4];
        double angle = sqrt(rf * rf + 4 * free * free), rate = step[5] * reach[5];
        // A step without RF has no error but that of its slope, kept to 100 tolerances.
        double error = (silent ? 0.01 : rf) * (angle + rate) * rate / 12;
        double needed = fmax(angle / 2, sqrt(error / tolerance));
        int way = 0;
        while (way <= MOST_HALVINGS && (1 << way) < needed) ++way;
        if (way > MOST_HALVINGS) way = EXACT;
        ways[k] = silent && !follow_rf ? FREE : way;
    }
    __syncwarp();
    // From the last steps to the first, 32 at a time: a run ends at the next step that ends one.
    int later = 0;
    for (long long begin = (num_steps - 1) / LANES * LANES; begin >= 0; begin -= LANES) {
        long long k = begin + lane;
        bool last = k + 1 >= num_steps || ways[k] < 0 || ways[k + 1] != ways[k]
            || steps[6 * k + 11] != steps[6 * k + 5];
        unsigned found = __ballot_sync(ALL, last) >> lane;
        int end = found ? (int)k + __ffs(found) : later;
        if (k < num_steps) ends[k] = end;
        later = __shfl_sync(ALL, end, 0, LANES);
    }
}
