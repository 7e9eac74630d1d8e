// Poisson-gap schedules on the GPU: a thread walks one schedule until it has the wanted number of
// points; see poisson_gap.py. A gap is summed as there, where its table does not settle it.
constexpr double LARGE_MEAN = 700, NARROW = 1e-9, OPEN = 1e300;
constexpr int TRIALS = 64;

__device__ __forceinline__ long long summed_gap(double u, double mean, long long most) {
    long long gap = 0;
    double term;
    if (mean <= LARGE_MEAN) {
        term = exp(-mean);
    } else {
        gap = (long long)fmin(mean - 9 * sqrt(mean), (double)most);
        term = exp(gap * log(mean) - mean - lgamma(gap + 1.0));
    }
    double cumulative = term;
    while (u > cumulative && gap < most) {
        term *= mean / ++gap;
        cumulative += term;
    }
    return gap;
}

extern "C" __global__ void poisson_gap(const unsigned* words, const long long* counts,
                                       const double* weight, long long samples, long long points,
                                       unsigned char* mask) {
    long long s = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (s >= samples) return;
    const unsigned* w = words + s * points;
    unsigned char* row = mask + s * points;
    long long wanted = counts[s], count = points, shift = 0;
    double gap = (double)points / wanted - 1, scale = 2 * gap, low = 0, high = OPEN;
    if (wanted >= points) shift = points;  // all are taken
    for (long long i = 0; i < points; ++i) row[i] = wanted >= points;
    for (int trial = 0; shift < points;) {
        for (long long i = 0; i < points; ++i) row[i] = 0;
        count = 0;
        for (long long i = 0; i < points;) {
            row[i] = 1;
            double u = (w[(count + shift) % points] + 0.5) * 0x1p-32;
            i += 1 + summed_gap(u, scale * weight[i], points);
            ++count;
        }
        if (count == wanted) return;
        (count > wanted ? low : high) = scale;
        double proposed = scale * gap / fmax((double)points / count - 1, 0.1 * gap);
        if (proposed <= low || proposed >= high)
            proposed = high == OPEN ? 2 * low : 0.5 * (low + high);
        bool narrow = high - low <= NARROW * low;
        if (!narrow) scale = proposed, ++trial;
        if (narrow || trial == TRIALS) low = 0, high = OPEN, trial = 0, ++shift;
    }
    for (long long i = points - 1; i >= 0 && count > wanted; --i)
        if (row[i]) row[i] = 0, --count;
    for (long long i = 0; i < points && count < wanted; ++i)
        if (!row[i]) row[i] = 1, ++count;
}
