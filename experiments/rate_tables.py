"""Tables of rates: of generation, of simulators beside those of others, and of training."""

from __future__ import annotations

from result_files import load, table

PEERS = ("torchsim", "blochsim")


def rates() -> str:
    """What generation costs."""
    results = load("throughput")
    if not results:
        return ""
    stream = results["stream"]
    kernel, ratios, pairs = (
        stream[name] for name in ("exponentials_4096x256x10", "ratios", "pairs")
    )
    rows = [
        ["signals per second, 256 points x 10 peaks, 2 threads",
         f"{kernel['kernel_2_threads'] / 1e6:.1f} million"],
        ["  over NumPy's direct complex exponential, same run",
         f"{ratios['kernel_over_numpy_direct']:.0f} x"],
        ["  over torch's, 2 threads, same run", f"{ratios['kernel_over_torch_direct']:.0f} x"],
        ["  share of the measured multiply-add peak, 1 / 2 threads",
         f"{ratios['share_of_fma_peak_1_thread']:.0%} / "
         f"{ratios['share_of_fma_peak_2_threads']:.0%}"],
        ["  relative error against float64", f"{kernel['relative_error']:.0e}"],
        ["keyed random words of a signal's parameters, over the signal, 1 thread",
         f"{kernel['keyed_words_share_of_fid_1_thread']:.0%}"],
        ["40,000 training pairs (draws, signal, mask, noise, spectrum), 1 / 2 threads",
         f"{pairs['pairs_40000_s_1_thread']:.2f} / {pairs['pairs_40000_s_2_threads']:.2f} s"],
        ["hand-over of a ready batch", f"{stream['stream']['hand_over_ready_batch_ms']:.3f} ms"],
        [f"growth of memory over {stream['stream']['batches']:,} batches",
         f"{stream['stream']['memory_growth_MB']:.1f} MB"],
    ]  # fmt: skip
    return table([f"on {results['processor']}", ""], rows)


def simulators() -> str:
    """Rates of the simulators beside those of others."""
    results = load("throughput")
    if "bloch" not in results:
        return ""
    spins, image, trains = results["bloch"], results["signal"], results["epg"]
    spectra, slopes = results["bloch_mcconnell"], results["bloch"]["gradients"]
    one, any_axis, peers = trains["one_axis"], trains["any_axis"], trains["peers"]
    graphs = trains["gradients"]["2000_atoms_200_TR_one_axis"]
    double = spectra["float64"]
    rows = [
        ["isochromats, 20,000 spins x 1,000 steps with RF",
         f"{spins['kernel_1_thread'] / 1e9:.2f}e9 steps/s",
         f"{spins['share_of_fma_peak_1_thread']:.0%}", f"{spins['gpu_ceiling']:.1e}",
         f"torch per step {spins['kernel_over_torch_steps']:.0f}, "
         f"blochsimulator {spins['kernel_over_blochsimulator_1_thread']:.0f}"],
        ["their gradients, 2,000 spins x 1,000 steps",
         f"{1e3 * slopes['adjoint_seconds']:.1f} ms", "", "",
         f"torch autograd {slopes['torch_over_adjoint_time']:.0f} "
         f"(and {slopes['torch_over_adjoint_memory']:.0f} of memory)"],
        ["EPI of 64 x 64 voxels, 9 isochromats each",
         f"{image['signals_per_second_1_thread_batch_8']:.0f} images/s",
         f"{image['one_signal']['share_of_floor_whole']:.0%}",
         f"{image['gpu_ceiling_spin_samples'] / image['spins'] / image['samples']:.1e}",
         f"readout: torch per sample {image['readout_over_naive']['torch']:.0f}"],
        ["phase graphs, 1,000 TR x 20 orders, one axis", f"{one['1_thread']:,.0f} trains/s",
         f"{one['share_of_fma_peak']:.0%}", f"{one['gpu_ceiling']:.1e}",
         ", ".join(f"{name} {peers[name]['ratio_one_axis']:.0f}" for name in PEERS)],
        ["  of any phase", f"{any_axis['1_thread']:,.0f} trains/s",
         f"{any_axis['share_of_fma_peak']:.0%}", f"{any_axis['gpu_ceiling']:.1e}",
         f"blochsim {peers['blochsim']['ratio_any_axis']:.0f}"],
        ["  their gradients, 2,000 x 200 TR", f"{graphs['atoms_per_second']:,.0f} trains/s", "", "",
         f"torch autograd {graphs['ratio']:.0f} "
         f"(and {graphs['ratio_of_bytes_grown']:.0f} of memory)"],
        ["z-spectra, 3 pools, 51 offsets, 20 pulses, float64",
         f"{double['1_thread']:,.0f} spectra/s", f"{double['share_of_float64_fma_peak']:.0%}",
         f"{double['gpu_ceiling']:.1e}",
         f"SciPy {spectra['ratio_to_scipy']:.0f}, BMCTool {spectra['ratio_to_bmctool']:,.0f}"],
    ]  # fmt: skip
    head = ["one thread", "rate", "of the multiply-add peak", "ceiling of a GPU",
            "times faster than"]  # fmt: skip
    return table(head, rows)


def generation() -> str:
    """What generation costs beside training, by system."""
    rows = []
    for name, row in load("throughput").get("systems", {}).items():
        repeat = " (batches used twice)" if row["repeat"] == 2 else ""
        rows.append([
            f"`{name}`",
            f"{row['samples_per_s_1_thread']:,.0f}",
            f"{row['draw_ms'] + row['render_ms']:.1f}",
            f"{row['forward_ms'] + row['backward_ms']:.1f}",
            f"{row['share_of_generation']:.0%}{repeat}",
            f"{row['stall']:.1%}",
        ])  # fmt: skip
    head = ["system", "samples/s, one thread", "ms to generate a batch", "ms to train on it",
            "share of generation, one thread", "stall beside a producing thread"]  # fmt: skip
    return table(head, rows)


def draws() -> str:
    """What drawing on the host costs, by system, and what costs most of all that can be drawn."""
    results = load("throughput").get("draws", {})
    rows = [
        [f"`{name}`", f"{row['batch_size']}", f"{row['numbers']:,.0f}",
         f"{row['us_per_number']:.3f}", f"{row['us_per_sample']:.2f}",
         f"{row['us_per_number_of_many']:.3f}"]
        for name, row in results.get("systems", {}).items()
    ]  # fmt: skip
    head = ["system", "batch", "numbers of a sample", "us per number", "us per sample",
            "us per number in batches of 512"]  # fmt: skip
    by_system = table(head, rows)
    costly = sorted(results.get("us_per_number", {}).items(), key=lambda row: -row[1])
    of_all = table(["drawn", "us per number"], [[name, f"{us:.3f}"] for name, us in costly])
    return f"{by_system}\n\n{of_all}"


def scaling() -> str:
    """Rates and sizes by system, and what many processes would have to read from a stored set."""
    rows = []
    for name, row in load("scaling").items():
        rate = row["samples_per_s_of_a_core"]
        rows.append([
            f"`{name}`",
            f"{rate:,.0f}",
            f"{row['sample_bytes'] / 1e3:,.1f}",
            f"{64 * rate * row['sample_bytes'] / 1e9:,.1f}",
            f"{row['parameters']:,}",
            f"{4 * row['parameters'] / 1e6:,.2f}",
            f"{row['checkpoint_bytes'] / 1e6:,.2f}",
        ])  # fmt: skip
    head = ["system", "samples/s of a CPU core", "kB of a sample", "GB/s that 64 cores would read",
            "parameters", "MB of gradients", "MB of a checkpoint"]  # fmt: skip
    return table(head, rows)
