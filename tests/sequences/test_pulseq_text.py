"""Pulseq files written by hand: what other programs write, and what nobody should."""

import math
import os
import resource
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics.bloch import pathway
from ipads_stream.sequences import (
    ADC,
    RF,
    Block,
    Gradient,
    Scanner,
    Sequence,
    read_pulseq,
    read_shims,
    write_pulseq,
)
from ipads_stream.sequences.pulseq_text import LARGEST_FILE

FREE = Scanner(rf_dead_time=0.0, rf_ringdown_time=0.0, adc_dead_time=0.0)
VERSION = "[VERSION]\nmajor 1\nminor {}\nrevision 0\n\n"


def file_of(tmp_path, minor, shapes=(), **sections):
    """A file of sections, by name their lines; of shapes their numbers, packed as they are."""
    text = VERSION.format(minor)
    for name, lines in sections.items():
        header = name.replace("_", " ", 1) if name.startswith("extension") else f"[{name}]"
        text += "\n".join([header, *lines]) + "\n\n"
    text += "[SHAPES]\n"
    for number, (count, *data) in enumerate(shapes, 1):
        text += f"\nshape_id {number}\nnum_samples {count}\n" + "\n".join(map(str, data)) + "\n"
    path = tmp_path / "made.seq"
    path.write_text(text)
    return path


TRIANGLE = (3, 0, 1, 0), (3, 0, 5, 10)


def test_a_file_may_end_on_the_last_line_of_a_shape(tmp_path):
    lines = {"BLOCKS": ["1 10 0 1 0 0 0 0"], "GRADIENTS": ["1 100000 1 2 0"]}
    path = file_of(tmp_path, 4, TRIANGLE, **lines)
    path.write_text(path.read_text().rstrip())
    sequence = read_pulseq(path)
    assert sequence.duration == pytest.approx(1e-4)
    np.testing.assert_allclose(sequence.blocks[0].gx.times, [0, 5e-5, 1e-4])
    np.testing.assert_allclose(sequence.blocks[0].gx.amplitudes * GAMMA_BAR_1H, [0, 1e5, 0])


def written(tmp_path):
    """With each kind of line that the text can hold."""
    rng = np.random.default_rng(1)
    shape = rng.normal(size=6) + 1j * rng.normal(size=6)
    knots = np.array([0.0, 1e-4, 2e-4, 5e-4]), np.array([0.0, 5e-3, -3e-3, 0.0])
    blocks = (
        Block(1e-3, rf=RF.sampled(1e-6 * shape, 1e-6, use="excitation"), gx=Gradient(*knots)),
        Block(1e-3, gy=Gradient.trapezoid(9e-3, rise=1e-4, flat=1e-4, fall=2e-4)),
        Block(2e-3, adc=ADC(5, 100e-6, phase=np.array([0.1, -0.2, 0.3, 3.0, -3.0]))),
    )
    sequence = Sequence(blocks, scanner=FREE, definitions={"FOV": [0.2, 0.2, 0.0]})
    return write_pulseq(sequence, tmp_path / "all.seq").read_text()


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_by_its_name(tmp_path_factory, data):
    """Cut anywhere, or with a word replaced: never another error, nor without an end."""
    folder = tmp_path_factory.mktemp("damaged")
    text = written(folder)
    if data.draw(st.booleans()):
        text = text[: data.draw(st.integers(0, len(text)))]
    else:
        words = text.split(" ")
        at = data.draw(st.integers(0, len(words) - 1))
        new = ["", "-1", "0", "1e9", "1e300", "nan", "x", "\n", "[RF]\n", "0.5", "7"]
        words[at] = data.draw(st.sampled_from(new))
        text = " ".join(words)
    path = folder / "damaged.seq"
    path.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the signature
        try:
            read_pulseq(path)
        except ValueError as error:
            assert "damaged.seq: " in str(error)


ALONE = {
    "gradient": Block(1e-3, gx=Gradient.trapezoid(5e-3, rise=1e-4, flat=5e-4, fall=1e-4)),
    "window": Block(1e-3, adc=ADC(10, 1e-5, delay=1e-5)),
    "delay": Block(1e-3),
}


@pytest.mark.parametrize("kind", ALONE)
def test_sequences_without_shapes_survive_being_written(kind, tmp_path):
    first = Sequence((ALONE[kind],))
    second = read_pulseq(write_pulseq(first, tmp_path / "alone.seq"))
    for name in ("dt", "gradient", "sampled", "receiver"):
        one, other = (getattr(s.waveforms(), name) for s in (first, second))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)


@pytest.mark.parametrize("minor", [3, 4])
def test_as_many_numbers_as_samples_are_packed_before_version_1_4(minor, tmp_path):
    """Six numbers may be six samples, or differences with a run of three."""
    data = (6, 0.25, 0.25, 1, 0.5, -0.25, -1)
    lines = {"BLOCKS": ["1 0 0 1 0 0 0 0"], "GRADIENTS": ["1 1000 1 0"]}
    if minor == 4:
        lines = {"BLOCKS": ["1 6 0 1 0 0 0 0"], "GRADIENTS": ["1 1000 1 0 0"]}
    path = file_of(tmp_path, minor, [data], **lines)
    gradient = read_pulseq(path).blocks[0].gx
    expected = [0.25, 0.5, 0.75, 1.25, 1.0, 0.0] if minor == 3 else data[1:]
    np.testing.assert_allclose(gradient.amplitudes[1:-1] * GAMMA_BAR_1H, 1000 * np.array(expected))


def test_packed_shapes_are_what_their_differences_sum_to(tmp_path):
    rng = np.random.default_rng(2)
    for _ in range(50):
        steps = np.repeat(rng.integers(-3, 4, 12) / 8, rng.integers(1, 6, 12))
        packed, at = [], 0
        while at < steps.size:
            run = int(np.argmax(np.append(steps[at:] != steps[at], True)))
            packed += [steps[at]] if run == 1 else [steps[at], steps[at], run - 2]
            at += run
        lines = {"BLOCKS": ["1 0 0 1 0 0 0 0"], "GRADIENTS": ["1 1000 1 0"]}
        path = file_of(tmp_path, 3, [(steps.size, *packed)], **lines)
        gradient = read_pulseq(path).blocks[0].gx
        expected = 1000 * np.cumsum(steps)
        np.testing.assert_allclose(gradient.amplitudes[1:-1] * GAMMA_BAR_1H, expected, atol=1e-9)


@pytest.mark.parametrize("samples", [10**12, 60_000_000])
def test_what_a_shape_declares_is_refused_before_it_is_made(samples, tmp_path):
    lines = {"BLOCKS": ["1 6 0 1 0 0 0 0"], "GRADIENTS": ["1 1000 1 0 0"]}
    path = file_of(tmp_path, 4, [(samples, 1, 0, 0, samples - 3)], **lines)
    with pytest.raises(ValueError, match=f"made.seq: {samples} samples in shapes; at most"):
        read_pulseq(path)


@pytest.mark.parametrize(
    ("shapes", "lines", "what"),
    {
        "two points far apart": (
            [(2, 1, 0.5), (2, 0, 10**10)],
            {"BLOCKS": ["1 1000000000 1 0 0 0 0 0"], "RF": ["1 100 1 0 2 0 0 0"]},
            "10000000000 cells of a pulse",
        ),
        "a shape of many gradients": (
            [(4_000_000, 0, 0, 4_000_000 - 2)],
            {"BLOCKS": [f"{n} 4000000 0 {n} 0 0 0 0" for n in range(1, 7)],
             "GRADIENTS": [f"{n} {1000 + n} 1 0 0" for n in range(1, 7)]},
            "20000000 samples in events",
        ),
        "a window of the receiver": (
            [],
            {"BLOCKS": ["1 100000 0 0 0 0 1 0"], "ADC": ["1 1000000000 1 0 0 0"]},
            "samples=1000000000: at most",
        ),
    }.values(),
    ids=["two points far apart", "a shape of many gradients", "a window of the receiver"],
)  # fmt: skip
def test_what_a_small_file_stands_for_is_refused_before_it_is_made(shapes, lines, what, tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = file_of(tmp_path, 4, shapes, **lines)
    assert path.stat().st_size < 1000
    with pytest.raises(ValueError, match=what):
        read_pulseq(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # 1 GB


def test_a_file_that_is_too_long_is_not_read(tmp_path):
    path = file_of(tmp_path, 4, BLOCKS=["1 1 0 0 0 0 0 0"])
    os.truncate(path, LARGEST_FILE + 1)  # takes no room on the disk
    with pytest.raises(ValueError, match=rf"{LARGEST_FILE + 1} bytes; at most"):
        read_pulseq(path)


def test_a_rectangular_pulse_of_seconds_is_one_cell(tmp_path):
    """Given on the raster, 5 million points; and one off resonance is solved in its frame."""
    count = 5_000_000
    lines = {"BLOCKS": ["1 500000 1 0 0 0 0 0"], "RF": ["1 100 1 2 0 0 38000 0"]}
    shapes = [(count, 1, 0, 0, count - 3), (count, 0, 0, count - 2)]
    sequence = read_pulseq(file_of(tmp_path, 4, shapes, **lines))
    rf = sequence.blocks[0].rf
    assert rf.samples.size == 1
    np.testing.assert_array_equal(rf.edges, [0.0, 5.0])


def test_the_last_point_of_old_shapes_is_that_of_the_matlab_reader(tmp_path):
    """Samples are means over their cells: the ends of cells follow from the first."""
    edges = np.array([0.0, 0.5, 0.1, 0.9, 0.4, 0.7])
    means = 0.5 * (edges[1:] + edges[:-1])
    down = 0.5 * (edges[-1] + 0.0) * np.ones(1)
    lines = {"BLOCKS": ["1 5 0 1 0 0 0 0", "2 1 0 2 0 0 0 0"],
             "GRADIENTS": ["1 1e6 1 0 0", "2 1e6 2 0 0"]}  # fmt: skip
    path = file_of(tmp_path, 4, [(5, *means), (1, *down)], **lines)
    first, second = (block.gx for block in read_pulseq(path).blocks)
    assert first.amplitudes[-1] * GAMMA_BAR_1H == pytest.approx(0.7e6)
    assert second.amplitudes[0] == first.amplitudes[-1]
    assert second.amplitudes[-1] == pytest.approx(0.0, abs=1e-9)


def test_spoilers_without_ramps_are_played(tmp_path):
    """As JEMRIS writes them: trapezoids of flat top alone, and shapes that end where they stand."""
    lines = {"BLOCKS": ["1 100 0 1 0 0 0 0", "2 100 0 0 2 0 0 0"],
             "TRAP": ["1 1e6 0 1000 0 0"], "GRADIENTS": ["2 1e6 1 0 0"]}  # fmt: skip
    sequence = read_pulseq(file_of(tmp_path, 4, [(99, *np.ones(99))], **lines))
    x, y = sequence.blocks[0].gx, sequence.blocks[1].gy
    assert x.area * GAMMA_BAR_1H == pytest.approx(1000.0, rel=1e-9)
    assert y.area * GAMMA_BAR_1H == pytest.approx(985.0, rel=1e-3)
    assert x.stop <= 1e-3


@pytest.mark.parametrize("label", ["LIN", "OFF", "MINE", "7"])
def test_labels_of_any_name_are_left_out(label, tmp_path):
    lines = {"BLOCKS": ["1 100 0 0 0 0 0 1"], "EXTENSIONS": ["1 1 1 0"],
             "extension_LABELSET 1": [f"1 1 {label}"]}  # fmt: skip
    assert read_pulseq(file_of(tmp_path, 4, **lines)).duration == pytest.approx(1e-3)


def test_a_tab_between_words(tmp_path):
    path = file_of(tmp_path, 4, BLOCKS=["1 100 0 0 0 0 0 0"])
    path.write_text(path.read_text().replace(" ", "\t").replace("\n", "\r\n"))
    assert read_pulseq(path).duration == pytest.approx(1e-3)


def test_a_changed_file_is_told_by_its_signature(tmp_path):
    path = write_pulseq(Sequence((Block(1e-3),)), tmp_path / "signed.seq")
    read_pulseq(path)
    for newline in ("\r\n", "\n"):
        path.write_bytes(path.read_text().replace("\n", newline).encode())
        read_pulseq(path)
    path.write_text(path.read_text().replace("1 100 0", "1 200 0"))
    with pytest.warns(UserWarning, match=r"signed.seq: its signature is not that of its text"):
        assert read_pulseq(path).duration == pytest.approx(2e-3)


# Rotations and shims, version 1.5.1


def test_rotations_turn_gradients(tmp_path):
    turn = Rotation.from_rotvec([0.3, -1.1, 0.7])
    x, y, z, w = turn.as_quat()
    lines = {"BLOCKS": ["1 100 0 1 2 0 0 1", "2 100 0 1 2 0 0 0"],
             "TRAP": ["1 1e6 100 500 100 0", "2 -4e5 50 300 20 200"],
             "EXTENSIONS": ["1 1 1 0"],
             "extension_ROTATIONS 1": [f"1 {w} {x} {y} {z}"]}  # fmt: skip
    turned, plain = read_pulseq(file_of(tmp_path, 5, **lines)).blocks
    times = np.linspace(0, 1e-3, 501)

    def played(block):
        return np.stack([np.zeros(times.size) if g is None else
                         np.interp(times, g.times, g.amplitudes, left=0, right=0)
                         for g in block.gradients], axis=-1)  # fmt: skip

    np.testing.assert_allclose(played(turned), turn.apply(played(plain)), atol=1e-12)
    assert np.ptp(played(turned)[:, 2]) > 1e-3


def test_a_quarter_turn_about_z_takes_x_to_y(tmp_path):
    lines = {"BLOCKS": ["1 100 0 1 0 0 0 1"], "TRAP": ["1 1e6 100 500 100 0"],
             "EXTENSIONS": ["1 1 1 0"],
             "extension_ROTATIONS 1": [f"1 {math.sqrt(0.5)} 0 0 {math.sqrt(0.5)}"]}  # fmt: skip
    (block,) = read_pulseq(file_of(tmp_path, 5, **lines)).blocks
    assert block.gx is None
    assert block.gz is None
    assert block.gy.area * GAMMA_BAR_1H == pytest.approx(600.0)


PULSE = ["1 250 1 2 0 50 0 0 0 0 0.5 e"]
FLAT = (100, 1, 0, 0, 97), (100, 0.25, 0, 0, 97)


def test_shims_are_summed_over_the_drive_of_the_channels(tmp_path):
    lines = {"BLOCKS": ["1 100 1 0 0 0 0 1", "2 100 1 0 0 0 0 0"], "RF": PULSE,
             "EXTENSIONS": ["1 4 1 0"],
             "extension_RF_SHIMS 4": ["1 2 0.5 0.3 0.25 -1.2"]}  # fmt: skip
    path = file_of(tmp_path, 5, FLAT, **lines)
    with pytest.raises(ValueError, match=r"block 1: rf: an RF shim of 2 channels needs drive"):
        read_pulseq(path)
    drive = 0.8 * np.exp(0.4j), 0.6 * np.exp(2j)
    shimmed, plain = read_pulseq(path, drive=drive).blocks
    factor = 0.5 * np.exp(0.3j) * drive[0] + 0.25 * np.exp(-1.2j) * drive[1]
    np.testing.assert_allclose(shimmed.rf.samples, np.conj(factor) * plain.rf.samples)
    with pytest.raises(ValueError, match=r"drive: shape \(3,\); \(2,\) is allowed"):
        read_pulseq(path, drive=np.ones(3))
    kept, plain = read_pulseq(path, drive="spins").blocks
    np.testing.assert_array_equal(kept.rf.samples, plain.rf.samples)
    shims = read_shims(path, default=(1, 0))
    written = [[0.5 * np.exp(0.3j), 0.25 * np.exp(-1.2j)], [1, 0]]
    np.testing.assert_allclose(shims, np.conj(written))
    np.testing.assert_allclose(read_shims(path, default=(1, 0), conjugate=False), written)
    with pytest.raises(ValueError, match=r"block 2: no RF shim: default="):
        read_shims(path)
    with pytest.raises(ValueError, match=r"of \[1, 2\] channels"):
        read_shims(path, default=[1])
    with pytest.raises(ValueError, match="'spins' or one number"):
        read_pulseq(path, drive="all")


def test_phases_are_conjugated_unless_they_are_to_be_as_written(tmp_path):
    lines = {"BLOCKS": ["1 100 1 0 0 0 1 0"], "RF": PULSE, "ADC": ["1 4 1000 0 0 0 7 0.25 0"]}
    path = file_of(tmp_path, 5, FLAT, **lines)
    ours, theirs = (read_pulseq(path, conjugate=x).blocks[0] for x in (True, False))
    for block, sign in ((ours, -1), (theirs, 1)):
        phase = np.angle(block.rf.samples) + block.rf.phase
        np.testing.assert_allclose(phase, sign * (0.5 * math.pi + 0.5))
        assert block.adc.phase == pytest.approx(sign * 0.25)
        assert block.adc.frequency == 7


# Uses of pulses before version 1.5


def echo(tmp_path, flip, *, crusher=2000, train=3, minor=4):
    """An excitation of 90 degrees, then refocusing pulses of a flip angle with readouts along x."""
    hertz = flip / 360 / 1e-4
    blocks = ["1 10 1 0 0 0 0 0", "2 110 0 1 0 3 0 0"]
    for n in range(train):
        first = 4 * n + 3
        blocks += [f"{first} 10 2 0 0 0 0 0", f"{first + 1} 100 0 0 0 3 0 0",
                   f"{first + 2} 200 0 2 0 0 1 0", f"{first + 3} 100 0 0 0 3 0 0"]  # fmt: skip
    lines = {"BLOCKS": blocks, "RF": ["1 2500 1 2 0 0 0 0", f"2 {hertz} 1 2 0 0 0 1.57"],
             "TRAP": ["1 5e5 100 850 100 0", "2 5e5 100 1800 100 0",
                      f"3 {crusher * 1000} 100 300 100 0"],
             "ADC": ["1 64 28125 100 0 0"]}  # fmt: skip
    return file_of(tmp_path, minor, [(100, 1, 0, 0, 97), (100, 0, 0, 98)], **lines)


@pytest.mark.parametrize("flip", [20, 60, 90, 120, 180])
def test_pulses_that_refocus_by_any_angle_are_known_by_their_crushers(flip, tmp_path):
    sequence = read_pulseq(echo(tmp_path, flip))
    assert [p.use for p in sequence.waveforms().pulses] == ["excitation"] + 3 * ["refocusing"]
    k = pathway.along(sequence.waveforms()).k.reshape(3, 64, 3)
    assert np.abs(k[:, :, 2]).max() < 1e-6
    np.testing.assert_allclose(np.abs(k[:, [31, 32], 0]), 0.5 * 5e5 * 28.125e-6, rtol=1e-3)
    assert sequence.definitions["PulseUses"] == "1 excitation, 2 refocusing"


def test_pulses_that_may_be_either_are_asked_for(tmp_path):
    """A free induction decay without a readout gradient follows a spoiler and 60 degrees."""
    lines = {"BLOCKS": ["1 10 1 0 0 0 0 0", "2 100 0 0 0 1 0 0", "3 10 2 0 0 0 0 0",
                        "4 100 0 0 0 2 0 0", "5 100 0 0 0 0 1 0"],
             "RF": ["1 2500 1 2 0 0 0 0", "2 1666.7 1 2 0 0 0 0"],
             "TRAP": ["1 1e6 100 300 100 0", "2 5e5 100 300 100 0"],
             "ADC": ["1 64 10000 100 0 0"]}  # fmt: skip
    path = file_of(tmp_path, 4, [(100, 1, 0, 0, 97), (100, 0, 0, 98)], **lines)
    with pytest.raises(ValueError, match=r"\[RF\] 2: its flip angle is 60 degrees .* uses=\{2:"):
        read_pulseq(path)
    sequence = read_pulseq(path, uses={2: "refocusing"})
    assert [p.use for p in sequence.waveforms().pulses] == ["excitation", "refocusing"]
    with pytest.raises(ValueError, match=r"uses=\{3: 'refocusing'\}: a pulse that is played"):
        read_pulseq(path, uses={3: "refocusing"})


def test_a_pulse_of_half_a_turn_before_any_excitation_inverts(tmp_path):
    path = echo(tmp_path, 60)
    text = path.read_text().replace("[BLOCKS]\n", "[BLOCKS]\n99 10 3 0 0 0 0 0\n")
    path.write_text(text.replace("[RF]\n", "[RF]\n3 5000 1 2 0 0 0 0\n"))
    uses = [p.use for p in read_pulseq(path).waveforms().pulses]
    assert uses == ["inversion", "excitation"] + 3 * ["refocusing"]
