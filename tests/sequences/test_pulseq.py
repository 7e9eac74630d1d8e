"""Pulseq files: read as pypulseq and other simulators read them, refused where unfaithful."""

import dataclasses
import hashlib
import math
import warnings

import numpy as np
import pytest

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch import pathway
from ipads_stream.sequences import (
    ADC,
    RF,
    Block,
    Gradient,
    Scanner,
    Sequence,
    read_pulseq,
    write_pulseq,
)

FILES = {  # file: version, samples
    "koma_epi_100x100_TE100_FOV230": (1.2, 100 * 100),
    "koma_epi_JEMRIS": (1.2, 64 * 64),
    "koma_gre_JEMRIS": (1.2, 32 * 32),
    "koma_epi_se": (1.4, 65 * 64),
    "koma_spiral": (1.4, 12000),
    "pypulseq_write_epi": (1.5, 3 * 64 * 64),
    "pypulseq_write_gre": (1.5, 64 * 64),
    "pypulseq_write_tse": (1.5, 64 * 64),
}


@pytest.fixture(scope="module", params=FILES)
def path(request, data_folder):
    return data_folder / "pulseq" / f"{request.param}.seq"


@pytest.fixture
def pp():
    """pypulseq, which warns of much."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pypulseq

        yield pypulseq


def parsed(pp, path):
    sequence = pp.Sequence()
    sequence.read(str(path))
    return sequence


def times_of(w):
    return np.cumsum(w.dt)[w.sampled]


def moments(w):
    return np.cumsum(w.gradient * w.dt[:, None], axis=0)[w.sampled]


def test_duration_samples_and_moments_as_pypulseq_reads_them(path, pp):
    """Its gradient polynomials integrated to its sample times; a fault of one ns would show."""
    ours = read_pulseq(path)
    w = ours.waveforms()
    theirs = parsed(pp, path)
    assert ours.duration == pytest.approx(float(theirs.duration()[0]), rel=1e-12)
    times, _ = theirs.adc_times()
    assert ours.num_samples == times.size == FILES[path.stem][1]
    np.testing.assert_allclose(times_of(w), times, rtol=0, atol=1e-10)
    for axis, gradient in enumerate(theirs.get_gradients()):
        if gradient is not None:
            integral = gradient.antiderivative()
            x = np.clip(times, integral.x[0], integral.x[-1])
            expected = integral(x) - integral(integral.x[0])
            got = GAMMA_BAR_1H * moments(w)[:, axis]
            np.testing.assert_allclose(got, expected, atol=1e-6 * np.max(np.abs(expected)))


@pytest.mark.parametrize("name", ["epi", "gre", "tse"])
def test_k_space_as_pypulseq_calculates_it(name, data_folder, pp):
    path = data_folder / "pulseq" / f"pypulseq_write_{name}.seq"
    k = pathway.along(read_pulseq(path).waveforms(), memory=0.0).k
    expected = parsed(pp, path).calculate_kspace()[0].T
    # It acts at points of the RF raster; the centre of a pulse may lie between two of them.
    np.testing.assert_allclose(k, expected, atol=0.3)
    assert np.max(np.abs(expected)) > 100


def test_sample_times_of_jemris(data_folder):
    """The simulator that the reference signals come from wrote down when it sampled."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(data_folder / "pulseq" / "column1d_signals_jemris.h5") as file:
        expected = 1e-3 * np.asarray(file["signal/times"])
    path = data_folder / "pulseq" / "koma_epi_100x100_TE100_FOV230.seq"
    times = times_of(read_pulseq(path).waveforms())
    np.testing.assert_allclose(times, expected, rtol=0, atol=1e-10)


def test_grid_of_the_jemris_epi(data_folder):
    """Name and file agree: 100 x 100, FOV 230 mm, TE 100 ms."""
    path = data_folder / "pulseq" / "koma_epi_100x100_TE100_FOV230.seq"
    w = read_pulseq(path).waveforms()
    k = pathway.along(w).k.reshape(100, 100, 3)
    np.testing.assert_allclose(np.abs(np.diff(k[:, :, 0], axis=1)), 1 / 0.23, rtol=1e-5)
    np.testing.assert_allclose(np.diff(k[:, 0, 1]), -1 / 0.23, rtol=1e-4)
    (pulse,) = w.pulses
    nearest = np.argmin(np.linalg.norm(k.reshape(-1, 3), axis=1))
    assert times_of(w)[nearest] - pulse.centre == pytest.approx(0.1, abs=1e-3)


def test_slices_lie_where_the_file_means_them(data_folder):
    """Pulses at -1333, 0, +1333 Hz under 444 kHz/m select slices of 3 mm at -3, 0, +3 mm."""
    w = read_pulseq(data_folder / "pulseq" / "pypulseq_write_epi.seq").waveforms()
    z = np.linspace(-8e-3, 8e-3, 161)
    position = z[:, None] * np.array([0.0, 0, 1])
    for pulse, centre in zip(w.pulses, (-3e-3, 0.0, 3e-3), strict=True):
        steps = slice(pulse.first, pulse.stop)
        M = bloch.evolve(np.tile([0.0, 0, 1], (z.size, 1)), w.b1[steps], w.gradient[steps],
                         w.dt[steps], position=position, df=0.0, T1=np.inf, T2=np.inf)  # fmt: skip
        excited = np.hypot(M[:, 0], M[:, 1])
        assert np.sum(z * excited**2) / np.sum(excited**2) == pytest.approx(centre, abs=5e-5)
        assert np.sum(excited > 0.5) * 1e-4 == pytest.approx(3e-3, abs=3e-4)


def test_the_receiver_follows_a_spoiled_pulse(data_folder):
    w = read_pulseq(data_folder / "pulseq" / "pypulseq_write_gre.seq").waveforms()
    receiver = w.receiver.reshape(64, 64)[:, 0]
    phases = np.angle([w.b1[(p.first + p.stop) // 2] for p in w.pulses])
    np.testing.assert_allclose(np.exp(1j * (receiver - phases)), 1, atol=1e-5)
    expected = -np.radians(117) * np.arange(64) * np.arange(1, 65) / 2
    np.testing.assert_allclose(np.exp(1j * receiver), np.exp(1j * expected), atol=1e-4)


def test_uses_of_pulses_in_old_files(data_folder):
    folder = data_folder / "pulseq"
    uses = {name: [p.use for p in read_pulseq(folder / f"{name}.seq").waveforms().pulses]
            for name in ("koma_spiral", "koma_epi_se", "koma_gre_JEMRIS")}  # fmt: skip
    assert uses["koma_spiral"] == ["saturation", "excitation"]
    assert uses["koma_epi_se"] == ["excitation", "refocusing"]
    assert uses["koma_gre_JEMRIS"] == ["excitation"] * 32


def agree(first, second, *, phases=1e-14, gradients=1e-14):
    """The same steps: times and samples to 1e-12 s, the rest to roundings."""
    np.testing.assert_allclose(first.dt, second.dt, rtol=0, atol=1e-12)
    assert np.array_equal(first.sampled, second.sampled)
    atol = gradients * max(np.max(np.abs(first.gradient)), 1e-3)
    np.testing.assert_allclose(first.gradient, second.gradient, rtol=0, atol=atol)
    atol = phases * np.max(np.abs(first.b1), initial=1e-9)
    np.testing.assert_allclose(first.b1, second.b1, rtol=0, atol=atol)
    np.testing.assert_allclose(
        np.exp(1j * first.receiver), np.exp(1j * second.receiver), atol=phases
    )
    assert [(p.first, p.stop, p.use) for p in first.pulses] == [
        (p.first, p.stop, p.use) for p in second.pulses
    ]
    np.testing.assert_allclose(
        [p.centre for p in first.pulses], [p.centre for p in second.pulses], atol=1e-9
    )


@pytest.mark.slow
def test_files_survive_being_written(path, tmp_path):
    first = read_pulseq(path)
    write_pulseq(first, tmp_path / "again.seq")
    second = read_pulseq(tmp_path / "again.seq")
    agree(first.waveforms(), second.waveforms())


FREE = Scanner(rf_dead_time=0.0, rf_ringdown_time=0.0, adc_dead_time=0.0)


def everything():
    """A sequence with each kind of event that a file can hold."""
    rng = np.random.default_rng(3)
    shape = rng.normal(size=200) + 1j * rng.normal(size=200)
    wave = np.concatenate([[0.0], np.cumsum(rng.normal(size=30)), [0.0]]) * 5e-5
    raster = np.concatenate([[0.0], np.arange(30) + 0.5, [30.0]]) * 10e-6
    knots = np.array([0.0, 1e-4, 2e-4, 5e-4]), np.array([0.0, 5e-3, -3e-3, 0.0])
    uneven = RF(np.array([1e-6, 2e-6j]), np.array([0.0, 3e-6, 10e-6]), 4e-6, "preparation")
    up = Gradient(np.array([0.0, 1e-4]), np.array([0.0, 4e-3]))
    down = Gradient(np.array([0.0, 1e-4]), np.array([4e-3, 0.0]))
    blocks = (
        Block(1e-3, rf=RF.sampled(np.array([5e-6 + 0j]), 500e-6, use="inversion", delay=7e-6)),
        Block(1e-3, rf=RF.sampled(1e-6 * shape, 1e-6, use="excitation", phase=2.5, frequency=50.0)),
        Block(3e-3, rf=RF.sampled(1e-6 * shape, 10e-6, use="saturation", centre=123e-6)),
        Block(1e-3, rf=uneven, gz=Gradient(raster + 40e-6, wave)),
        Block(1e-3, gx=Gradient(*knots), gy=Gradient.trapezoid(9e-3, rise=1e-4, flat=1e-4,
                                                               fall=2e-4, delay=3e-5)),
        Block(1e-4, gx=up),
        Block(1e-4, gx=down),
        Block(2e-3, adc=ADC(100, 12.345e-6, delay=45e-6, frequency=-321.0, phase=1.25)),
        Block(2e-3, adc=ADC(5, 100e-6, phase=np.array([0.1, -0.2, 0.3, 3.0, -3.0]))),
    )  # fmt: skip
    return Sequence(blocks, name="everything", scanner=FREE, definitions={"FOV": [0.2, 0.2, 0.0]})


def test_everything_survives_being_written(tmp_path):
    first = everything()
    assert write_pulseq(first, tmp_path / "all.seq") == tmp_path / "all.seq"
    second = read_pulseq(tmp_path / "all.seq")
    agree(first.waveforms(), second.waveforms())
    assert second.name == "everything"
    assert second.definitions["FOV"] == [0.2, 0.2, 0.0]
    assert [path.name for path in tmp_path.iterdir()] == ["all.seq"]


def test_a_signal_survives_being_written(tmp_path):
    """What 300 spins at random places and frequencies do, to the end of the sequence."""
    first = everything()
    write_pulseq(first, tmp_path / "all.seq")
    rng = np.random.default_rng(4)
    position, df = rng.uniform(-0.1, 0.1, (300, 3)), rng.normal(0, 50, 300)
    ends = []
    for sequence in (first, read_pulseq(tmp_path / "all.seq")):
        w = sequence.waveforms()
        M = np.tile([0.0, 0, 1], (300, 1))
        ends.append(bloch.evolve(M, w.b1, w.gradient, w.dt, position=position, df=df, T1=1.0,
                                 T2=0.1))  # fmt: skip
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-12)
    assert np.ptp(ends[0]) > 0.1


def test_the_signature_is_that_of_the_text(tmp_path):
    text = write_pulseq(everything(), tmp_path / "all.seq").read_text()
    signed, _, signature = text.partition("\n[SIGNATURE]\n")
    assert signature.split()[-1] == hashlib.md5(signed.encode()).hexdigest()


OFF = {
    "block 0: duration=1.5e-05": Block(15e-6),
    "block 0: rf.delay=1.5e-06": Block(
        1e-3, rf=RF.sampled(np.array([1e-6 + 0j]), 1e-4, use="other", delay=1.5e-6)
    ),
    "block 0: rf.edges=2.5e-06": Block(
        1e-3, rf=RF.sampled(np.array([1e-6, 2e-6]) + 0j, 2.5e-6, use="other")
    ),
    "block 0: gx.times=0.000105": Block(
        1e-3,
        gx=Gradient(np.array([0, 105e-6, 300e-6, 400e-6]), np.array([0, 1e-3, 2e-3, 0])),
    ),
    "block 0: gy.times=": Block(
        1e-3, gy=Gradient.trapezoid(1e-3, rise=100.5e-6, flat=1e-4, fall=1e-4)
    ),
    "block 0: adc.delay=1.5e-06": Block(1e-3, adc=ADC(4, 10e-6, delay=1.5e-6)),
    "block 0: adc.dwell=1.00005e-05": Block(1e-3, adc=ADC(4, 10.0005e-6)),
}


@pytest.mark.parametrize("message", OFF)
def test_times_off_the_raster_are_not_written(message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_pulseq(Sequence((OFF[message],), scanner=FREE), tmp_path / "off.seq")
    assert not list(tmp_path.iterdir())


# What pypulseq can make and this package does not write


def made(pp, tmp_path, *blocks, **limits):
    sequence = pp.Sequence(pp.Opts(**limits))
    for block in blocks:
        sequence.add_block(*block)
    # Removing duplicates fails on gradients sampled twice as finely.
    sequence.write(str(tmp_path / "made.seq"), remove_duplicates=False)
    return tmp_path / "made.seq"


def hard(pp, **offsets):
    return pp.make_block_pulse(math.pi / 2, duration=1e-3, use="excitation", **offsets)


def test_offsets_in_ppm_need_the_field(pp, tmp_path):
    path = made(pp, tmp_path, [hard(pp, freq_ppm=-3.45)])
    with pytest.raises(ValueError, match=r"block 1: rf: an offset of -3.45 ppm needs B0"):
        read_pulseq(path)
    rf = read_pulseq(path, B0=3.0).blocks[0].rf
    assert rf.frequency == pytest.approx(-3.45e-6 * 3 * GAMMA_BAR_1H)


def test_soft_delays_last_as_the_file_says_or_as_given(pp, tmp_path):
    soft = pp.make_soft_delay(hint="TE", default_duration=5e-3, factor=2.0, offset=-1e-3)
    path = made(pp, tmp_path, [hard(pp)], [soft])
    assert read_pulseq(path).duration == pytest.approx(1e-3 + 5e-3)
    # duration = value / factor + offset
    given = read_pulseq(path, soft_delays={"TE": 20e-3})
    assert given.duration == pytest.approx(1e-3 + 9e-3)
    with pytest.raises(ValueError, match=r"soft_delays=\{'TI': 1.0\}"):
        read_pulseq(path, soft_delays={"TI": 1.0})


def test_labels_and_triggers_change_nothing(pp, tmp_path):
    adc = pp.make_adc(num_samples=16, dwell=1e-5)
    plain = read_pulseq(made(pp, tmp_path, [hard(pp)], [adc])).waveforms()
    extras = [
        pp.make_label(type="SET", label="LIN", value=3),
        pp.make_trigger(channel="physio1", duration=1e-5),
    ]
    rich = read_pulseq(made(pp, tmp_path, [hard(pp)], [adc, *extras])).waveforms()
    agree(plain, rich, phases=1e-12)


def test_gradients_sampled_twice_as_finely(pp, tmp_path):
    shape = np.sin(np.linspace(0, np.pi, 41)[1:-1]) * 1e5
    wave = pp.make_arbitrary_grad("x", shape, first=0.0, last=0.0, oversampling=True)
    gradient = read_pulseq(made(pp, tmp_path, [wave])).blocks[0].gx
    assert gradient.times.size == 41
    np.testing.assert_allclose(gradient.times, np.arange(41) * 5e-6, atol=1e-12)
    np.testing.assert_allclose(gradient.amplitudes[1:-1] * GAMMA_BAR_1H, shape, rtol=1e-6)


def test_pulses_given_by_points_are_joined_by_lines(pp, tmp_path):
    rf = hard(pp)
    rf.t, rf.signal = np.array([0.0, 4e-4, 1e-3]), np.array([0.0, 100.0, 50.0]) + 0j
    read = read_pulseq(made(pp, tmp_path, [rf])).blocks[0].rf
    middles = 0.5 * (read.edges[1:] + read.edges[:-1])
    expected = np.interp(middles, rf.t, rf.signal.real) / GAMMA_BAR_1H
    np.testing.assert_allclose(read.samples, expected, rtol=1e-5)
    assert read.samples.size == 1000


def edited(pp, tmp_path, old, new):
    path = made(pp, tmp_path, [hard(pp)], [pp.make_delay(1e-3)])
    text = path.read_text().partition("\n[SIGNATURE]")[0]
    assert old in text
    path.write_text(text.replace(old, new))
    return path


SHAPES = "[SHAPES]"
EDITS = {
    r"version 1.6; 1.2 to 1.5 are allowed": ("minor 5", "minor 6"),
    r"version 2.5": ("major 1", "major 2"),
    r"version 1.1": ("minor 5", "minor 1"),
    r"no \[VERSION\]": ("[VERSION]", "[VERISON]"),
    r"extension MUSIC is not simulated": (SHAPES, f"extension MUSIC 1\n1 1 0 0 0\n\n{SHAPES}"),
    r"cannot be read as a Pulseq file": (SHAPES, f"[NOVELTIES]\n1 2 3\n\n{SHAPES}"),
    r"cannot be read": ("[RF]\n1", "[RF]\none"),
}


@pytest.mark.parametrize("message", EDITS)
def test_files_that_are_refused(message, pp, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_pulseq(edited(pp, tmp_path, *EDITS[message]))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_pulseq(tmp_path / "none.seq")


def test_limits_of_a_scanner_hold_for_files(pp, tmp_path):
    lobe = pp.make_trapezoid("x", amplitude=30e-3 * GAMMA_BAR_1H, duration=2e-3)
    path = made(pp, tmp_path, [lobe])
    assert read_pulseq(path).scanner.max_gradient == 1.0
    weak = dataclasses.replace(Scanner(), max_gradient=20e-3)
    with pytest.raises(ValueError, match=r"made.seq: block 0: gx: 0.02999.* at most max_gradient"):
        read_pulseq(path, scanner=weak)


def test_pypulseq_does_not_speak(pp, tmp_path, capsys, recwarn):
    path = write_pulseq(everything(), tmp_path / "all.seq")
    read_pulseq(path)
    assert capsys.readouterr() == ("", "")
    assert not recwarn.list
