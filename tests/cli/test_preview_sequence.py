"""`ipads-stream preview` of pulse sequences, and which of them YAML may build."""

from pathlib import Path

import numpy as np
import pytest

from ipads_stream.__main__ import BAD_CONFIG, FAILED, OK, main
from ipads_stream.config import build_sequence, compose, instantiate
from ipads_stream.core.errors import ConfigError
from ipads_stream.report.sequences import gradient_curve, preview_sequence, span_of
from ipads_stream.sequences import ADC, Block, Gradient, Sequence, write_pulseq
from ipads_stream.sequences.cest import cest
from ipads_stream.sequences.epi import epi
from ipads_stream.sequences.fisp_fingerprint import fisp_fingerprint
from ipads_stream.sequences.gradient_echo import gradient_echo

NAMES = sorted(p.stem for p in (Path(__file__).parents[2] / "conf" / "sequence").glob("*.yaml"))


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20_000


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_is_a_sequence(name):
    sequence = build_sequence(compose([f"sequence={name}"], name="preview"))
    assert sequence.duration > 0


def test_a_sequence_with_a_key_of_its_own(tmp_path, capsys):
    words = ["sequence=epi", "sequence.TE=0.045", "sequence.matrix=32", f"output={tmp_path}"]
    assert main(["preview", *words]) == OK
    shown = [Path(line) for line in capsys.readouterr().out.split()]
    assert [path.name for path in shown] == ["index.html", "diagram.png", "k_space.png"]
    assert all(is_picture(path) for path in shown[1:])
    assert shown[0].read_text().count("<figure") == 2


def test_a_pulseq_file(tmp_path, capsys):
    path = write_pulseq(gradient_echo(matrix=8), tmp_path / "my line.seq")
    assert main(["preview", f"pulseq={path}", f"output={tmp_path / 'out'}"]) == OK
    assert is_picture(tmp_path / "out" / "diagram.png")
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_pulseq_file_with_what_it_does_not_say(tmp_path):
    """The first pulse of a gradient echo excites; asked otherwise, it refocuses."""
    path = write_pulseq(gradient_echo(matrix=8), tmp_path / "line.seq")
    words = [f"pulseq={path}", "uses={1: refocusing}", "B0=3"]
    sequence = build_sequence(compose(words, name="preview"))
    assert sequence.waveforms().pulses[0].use == "refocusing"
    with pytest.raises(ConfigError, match="no soft delay TE"):
        build_sequence(compose([f"pulseq={path}", "soft_delays={TE: 0.02}"], name="preview"))
    with pytest.raises(ConfigError, match="uses="):
        build_sequence(compose([f"pulseq={path}", "uses={1: nothing}"], name="preview"))


def test_help_lists_sequences(capsys):
    assert main(["preview", "--help"]) == OK
    line = next(s for s in capsys.readouterr().out.split("\n") if s.startswith("sequence: "))
    assert line.removeprefix("sequence: ").split(", ") == NAMES


WRONG = {
    "sequence.TE=0.001: at least": ["sequence=epi", "sequence.TE=0.001"],
    "sequence.TE='abc': a finite number": ["sequence=epi", "sequence.TE=abc"],
    "sequence.scanner.max_slew=-1.0: a number, above 0": [
        "sequence=epi",
        "+sequence.scanner._target_=ipads_stream.sequences.scanner.Scanner",
        "+sequence.scanner.max_slew=-1.0",
    ],
    "sequence.TEE": ["sequence=epi", "sequence.TEE=1"],
    "sequence='nothing': one of bssfp": ["sequence=nothing"],
    "sequence.TE=nan: a finite number": ["sequence=epi", "sequence.TE=.nan"],
    "sequence.dwell=-inf: a finite number": ["sequence=epi", "sequence.dwell=-.inf"],
    "sequence.offsets_ppm[1]=inf: a finite number": [
        "sequence=cest",
        "sequence.offsets_ppm=[1.0, .Inf]",
    ],
    "sequence.matrix=63.5: a whole number": ["sequence=epi", "sequence.matrix=63.5"],
    "sequence.matrix=100000: less": ["sequence=spiral", "sequence.matrix=100000"],
    "sequence.matrix, num_echoes=(64, 100000": [
        "sequence=multi_echo",
        "sequence.num_echoes=100000",
    ],
    "system='dlnmr': a system, or sequence, but not both": ["system=dlnmr", "sequence=epi"],
    "system.snr='3': a system, or pulseq, but not both": ["system.snr=3", "pulseq=a.seq"],
    "not both": ["sequence=epi", "pulseq=a.seq"],
    "no [VERSION]": ["pulseq=README.md"],
    "B0=3: null, unless pulseq": ["sequence=epi", "B0=3"],
    "B0=-1.0: a finite number, above 0": ["pulseq=a.seq", "B0=-1.0"],
    "uses='refocusing': a mapping": ["pulseq=a.seq", "uses=refocusing"],
    "uses={'a': 'refocusing'}: numbers": ["pulseq=a.seq", "uses={a: refocusing}"],
    "soft_delays.TE='x': a finite number": ["pulseq=a.seq", "soft_delays={TE: x}"],
}


@pytest.mark.slow
@pytest.mark.parametrize("message", WRONG)
def test_wrong_keys(message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    assert main(["preview", *WRONG[message], f"output={tmp_path / 'out'}"]) == BAD_CONFIG
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_such_file(capsys):
    assert main(["preview", "pulseq=nowhere.seq"]) == FAILED
    assert "nowhere.seq" in capsys.readouterr().err


@pytest.mark.parametrize(
    "target",
    [
        "ipads_stream.sequences.pulseq_writing.write_pulseq",
        "ipads_stream.sequences.pulseq_writing.write_text",
        "ipads_stream.sequences.pulses.block",
        "ipads_stream.core.files.write_text",
    ],
)
def test_only_functions_that_return_a_sequence_are_built(target, tmp_path):
    with pytest.raises(ConfigError, match="a class in"):
        instantiate({"_target_": target, "path": str(tmp_path / "x"), "text": "x"}, "sequence")
    assert not list(tmp_path.iterdir())


def test_what_is_not_a_sequence_is_refused():
    node = {"_target_": "ipads_stream.sequences.scanner.Scanner"}
    with pytest.raises(ConfigError, match=r"sequence=.*a sequence"):
        build_sequence({"sequence": node})


# What the diagram shows


def test_the_span_is_the_first_repetition_that_measures():
    sequence = gradient_echo(matrix=8, num_dummies=2, TR=30e-3)
    span = span_of(sequence, sequence.waveforms())
    assert (span.number, len(span.starts)) == (3, 10)
    assert span.start == pytest.approx(60e-3, abs=2e-5)
    assert 5e-3 < span.stop - span.start < 15e-3  # the rest of the TR is empty


def test_a_long_preparation_is_shown_from_later_on():
    """Saturation for seconds, an image of some ms: four fifths are what precedes."""
    sequence = cest(matrix=16)
    span = span_of(sequence, sequence.waveforms())
    assert span.number == 1 and span.start > 2.5
    assert span.lead / (span.stop - span.start) == pytest.approx(0.8, abs=0.03)


def test_repetitions_are_drawn_from_their_excitations():
    """The first begins with an inversion; the others lie behind what follows its excitation."""
    sequence = fisp_fingerprint(matrix=32, num_frames=4)
    span = span_of(sequence, sequence.waveforms())
    assert (span.start, span.number) == (0, 1)
    assert span.lead == pytest.approx(20e-3, abs=5e-3)
    assert np.diff(span.excited) == pytest.approx(14e-3, abs=5e-6)


def test_a_single_shot_is_shown_whole():
    sequence = epi(matrix=16)
    span = span_of(sequence, sequence.waveforms())
    assert (span.start, span.number) == (0, 1)
    assert span.stop == pytest.approx(sequence.duration, rel=1e-3)


def test_the_curve_holds_the_area_of_the_steps():
    sequence = epi(matrix=16)
    w = sequence.waveforms()
    for axis in range(3):
        times, heights = gradient_curve(sequence, axis)
        area = np.sum(0.5 * (heights[1:] + heights[:-1]) * np.diff(times))
        assert area == pytest.approx(np.sum(w.gradient[:, axis] * w.dt), abs=1e-12)


def test_without_a_path_the_reason_is_shown(tmp_path):
    """Samples before any excitation: a diagram, and a sentence instead of k-space."""
    lobe = Gradient.trapezoid(5e-3, rise=1e-4, flat=1e-3, fall=1e-4)
    sequence = Sequence((Block(2e-3, gx=lobe, adc=ADC(10, 1e-4, delay=1e-4)),), name="noise")
    paths = preview_sequence(sequence, tmp_path)
    assert [path.name for path in paths] == ["diagram.png", "k_space.png"]
    assert all(path.stat().st_size > 5000 for path in paths)


def test_without_samples_there_is_a_diagram_only(tmp_path):
    lobe = Gradient.trapezoid(5e-3, rise=1e-4, flat=1e-3, fall=1e-4)
    paths = preview_sequence(Sequence((Block(2e-3, gx=lobe),)), tmp_path)
    assert [path.name for path in paths] == ["diagram.png"]
