"""Random command lines and the files that they name, from a seed: what nobody means.

Every verb, system and file format; values of wrong kinds, not finite, huge, nested, in cycles and
of other alphabets; keys that are not there or deleted; and files of which a few bytes or numbers
are changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_files import BEFORE, SHORT, SMALL, mutated, sound_files

VALUES = (
    "null", "true", "nan", "inf", "-inf", "0", "-1", "1", "1e-30", "1e9", "1e18", "1e400", "0.5",
    "10000000000000000000000", "[]", "[1]", "[[1]]", "[nan]", "[1,2,3,4]", "{}", "{a: 1}",
    "{_target_: 5}", "{_target_: os.system}", "{_target_: ipads_stream.distributions.Constant}",
    "{_target_: ipads_stream.distributions.Uniform, low: 0, high: 1}", "x", "''", "'µ ☃'", "'\\n'",
    "../x", "/dev/null", "${seed}", "${nothing}", "${..}", "'${'", "[1", "'a b'", "T1", "'1 ms'",
    "{_target_: ipads_stream.distributions.Choice, values: []}", "[[[[[[[[1]]]]]]]]", "cuda",
    "5.5", "-0.0", "1000", "1e5", "4096", "2", "3", "64", "0.1", "1e-3", "true,false",
    "range(1,3)", "[x,1,null]", "{a: {b: {c: {d: [1, {e: null}]}}}}", "{1: 2}",
    "{low: 1, high: 0}", "\udcff", "日本", "١٢", "😀",
    "{_target_: ipads_stream.distributions.Gaussian, mean: nan, std: 1}", "''''", '"', "\\", "=",
    "%", "{_target_: ipads_stream.distributions.Mixture, components: [1, 2], weights: [1]}",
    "int(3)",
    "{_target_: ipads_stream.nets.perceptron.Perceptron, inputs: {a: 1}, outputs: {b: 1}}",
    "null,1", "{_target_: ipads_stream.distributions.Conditional}",
    "{_target_: ipads_stream.systems.drone.DRONE}",
    "{_target_: ipads_stream.systems.dlnmr.DLNMR, points: 8}", "[[1,2],[3]]", "'[1'", "{unit: ms}",
    "{_target_: ipads_stream.distributions.Uniform, low: 1, high: 2, unit: furlong}", "0x10",
    "1_000", "1e", "{_target_: ipads_stream.distributions.LogUniform, low: -1, high: 0}",
    "2147483648", "-2147483649", "9223372036854775808", "18446744073709551616",
    "1.7976931348623157e308", "5e-324", "1e-400", "1000000", "1000000000",
)  # fmt: skip
TAILS = (".x", ".0", "[0]", "..", "/x", "@y", "._target_", ".low", ".high", ".unit", "@", "/", ".µ")
MARKS = ("", "", "", "", "", "", "+", "++", "~")
BARE = (
    "", "=", "=x", "x", "-h", "--help", "--x", "--version", "~", "+", "++", "~x", "@=1",
    "x" * 9999, "a.b.c", "[]", "µ=1", "\udcff=1", "--", "-", "\n", "seed", "system",
    "hydra.mode=MULTIRUN", "hydra.run.dir=x", "hydra/launcher=joblib", "--multirun", "-m",
    "trusted=os", "trusted=1", "trusted=[os]", "trusted=[..]", "trusted=[/]", "conf=nowhere",
    "conf=", "conf=/dev/null", "a=${a}", "system.rate=${system.snr}", "system.snr=${system.snr}",
    "+a=${b}", "+b=${a}",
)  # fmt: skip
# What asks for a long run, and gets one.
BUDGETS = ("max_steps", "max_samples", "max_time", "val_samples", "num_samples", "samples",
           "seconds", "steps", "resamples")  # fmt: skip
LONG = ("1000", "1e5", "4096", "64", "1e9", "1e18", "2147483648", "1000000", "1000000000")


@dataclass(frozen=True)
class Line:
    """Words of a command line, and the files of the folder that it runs in, by name."""

    words: list[str]
    files: dict[str, bytes] = field(default_factory=dict)


def lines(seed: int, count: int, trained: Path) -> Iterator[Line]:
    """So many, of which a fifth reads files.

    Args:
        seed: of what is drawn.
        count: of lines.
        trained: folder in which the runs of :func:`sound_lines` are.
    """
    yield from _Lines(seed, trained).drawn(count)


def sound_lines(trained: Path) -> Iterator[Line]:
    """A short training of every system, in a folder."""
    for system in _Lines(0, trained).systems:
        output = f"output={trained / system}"
        small = SMALL.get(system, [])
        yield Line(["train", *SHORT["train"][0], f"system={system}", *small, output])


class _Lines:
    def __init__(self, seed: int, trained: Path) -> None:
        from ipads_stream.config import group_names

        self.draw = np.random.Generator(np.random.Philox(seed))
        self.trained, self.systems = trained, group_names("system")
        self.keys: dict[tuple[str, ...], list[str]] = {}

    def pick(self, things: Sequence[Any]) -> Any:
        return things[int(self.draw.integers(len(things)))]

    def drawn(self, count: int) -> Iterator[Line]:
        sources = sound_files()
        weights = np.array([weight for _, weight in SHORT.values()], float)
        for _ in range(count):
            system = self.pick(self.systems)
            if self.draw.random() < 0.2:
                words, files = self.pick(sources)
                name = self.pick(list(files))
                words = self.filled(words, system)
                words += self.changed(words[0], []) if self.draw.random() < 0.1 else []
                yield Line(words, files | {name: mutated(files[name], self.draw)})
            else:
                verb = str(self.draw.choice(list(SHORT), p=weights / weights.sum()))
                yield Line(self.words(verb, system))

    def words(self, verb: str, system: str) -> list[str]:
        from ipads_stream.config import conf_dir

        base = self.filled(SHORT[verb][0], system)
        if verb == "config":
            base = [self.pick([*SHORT, "x"])] if self.draw.random() < 0.5 else base
        primary = conf_dir() / f"{(base[0] if verb == 'config' else verb).replace('-', '_')}.yaml"
        has_system = primary.is_file() and "- system:" in primary.read_text()
        chosen = [f"system={system}"] if has_system else []
        if primary.stem == "train" and self.draw.random() < 0.15:
            chosen += [f"trainer={self.pick(('meta', 'transfer', 'muon', 'demo'))}"]
        if primary.stem == "preview" and self.draw.random() < 0.7:
            chosen = [f"sequence={self.group('sequence')}"]
        if verb in ("list", "completion", "doctor", "nonsense"):
            known = (*VALUES, "bash", "zsh", "systems", "data")
            count = self.pick((0, 1, 2)) if verb != "doctor" else 1  # alone it compiles for GPUs
            return [verb, *(self.pick(known) for _ in range(count))]
        if self.draw.random() < 0.05:
            base = [word for word in base if self.draw.random() < 0.8 or verb != "config"]
        return [verb, *base, *chosen, *self.changed(primary.stem, chosen)]

    def group(self, name: str) -> str:
        from ipads_stream.config import group_names

        names = group_names(name)
        return self.pick(names if name == "sequence" else [*names, "null", "nothing"])

    def changed(self, verb: str, chosen: list[str]) -> list[str]:
        """One to three overrides, of keys that the verb has, or nearly."""
        from ipads_stream.config import compose, conf_dir
        from ipads_stream.core.description import flat

        name = verb.replace("-", "_")
        if not (conf_dir() / f"{name}.yaml").is_file():
            return [self.pick(BARE)]
        if (name, *chosen) not in self.keys:
            leaves = flat(compose(chosen, name=name))
            groups = {key[:at] for key in leaves for at in _dots(key)}
            self.keys[(name, *chosen)] = [*leaves, *groups, "conf", "x", "hydra", "stream", "a.b.c"]
        words = []
        for _ in range(int(self.draw.integers(1, 4))):
            if self.draw.random() < 0.04:
                words.append(self.pick(BARE))
                continue
            if self.draw.random() < 0.05:
                groups = ("system", "net", "loss", "trainer", "logger", "sequence", "shift")
                group = self.pick(groups)
                words.append(f"{group}={self.group(group)}")
                continue
            key = self.pick(self.keys[(name, *chosen)])
            key += self.pick(TAILS) if self.draw.random() < 0.1 else ""
            mark = self.pick(MARKS)
            is_bare = mark == "~" and self.draw.random() < 0.7
            value = self.value()
            if value in LONG and key.rpartition(".")[2] in BUDGETS:
                value = "2"
            words.append(mark + key + ("" if is_bare else f"={value}"))
        return words

    def value(self) -> str:
        """One of VALUES; now and then two of them, one inside the other."""
        value = self.pick(VALUES)
        if self.draw.random() < 0.05:
            both = self.pick(("[{}, {}]", "{{a: {}, b: {}}}", "[[{}], {}]"))
            value = both.format(value, self.pick(VALUES))
        if self.draw.random() < 0.03:
            high, uniform = self.pick(VALUES), "ipads_stream.distributions.Uniform"
            value = f"{{_target_: {uniform}, low: {value}, high: {high}}}"
        return value

    def filled(self, words: Sequence[str], system: str) -> list[str]:
        """Words with their places filled: checkpoint, of an earlier version if it is small."""
        old = BEFORE / f"{system}.ckpt"
        is_old = old.is_file() and system not in SMALL
        checkpoint = old if is_old else self.trained / system / "run.ckpt"
        places = {"{checkpoint}": str(checkpoint), "{trained}": str(self.trained)}
        return [re.sub(r"{\w+}", lambda x: places.get(x[0], x[0]), word) for word in words]


def _dots(key: str) -> list[int]:
    return [match.start() for match in re.finditer(r"\.", key)]
