"""Code blocks of Markdown pages, and what is done with them."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ipads_stream.__main__ import COMPOSED, VERBS, main

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "docs", ROOT / "docs" / "guides")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md",
         *sorted(page for folder in FOLDERS for page in folder.glob("*.md"))]  # fmt: skip
FILE, SKIP = re.compile(r"`([\w./-]+)`:$"), re.compile(r"<!-- skip: (.+) -->$")
LANGUAGES = ("python", "yaml", "sh")
STANDINS = {"data=my/bruker/folder": "data=plane.npy", "data=ubiquitin": "data=plane.npy"}
PREVIEWED: set[str] = set()  # kinds of previews that were drawn
RUN: set[frozenset[str]] = set()  # words of commands whose results no later block reads
# Checked by tests of their own, and in what they name.
NOT_RUN = ("make", "pip", "python", "sbatch", "torchrun", "wandb")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page, line: where it stands.
        language: python, yaml or sh.
        text: without the fences.
        path: of the file that it is, "" where it is none.
        reason: why it is not run, "" where it is.
    """

    page: str
    line: int
    language: str
    text: str
    path: str = ""
    reason: str = ""


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page in order, directives of Sphinx left out."""
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    before = ""
    for number, line in lines:
        if not line.startswith("```"):
            before = line.strip() or before
            continue
        language, body = line.strip("`"), []
        for _, text in lines:
            if text.startswith("```"):
                break
            body.append(text)
        file, skip = FILE.search(before), SKIP.match(before)
        before = ""
        if not language.startswith("{"):
            name = str(page.relative_to(ROOT))
            yield Block(name, number, language, "\n".join(body) + "\n",
                        file[1] if file else "", skip[1] if skip else "")  # fmt: skip


def commands_of(block: Block) -> list[list[str]]:
    """The lines of a shell block, in words, comments left out."""
    lines = block.text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line]


def written(block: Block, folder: Path) -> bool:
    """Writes the file that a block is, and says whether it is one."""
    if not block.path:
        return False
    path = folder / block.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text)
    return True


def run_python(block: Block, names: dict[str, object]) -> None:
    """Runs a block among the names of its page; a traceback shows the line of the page."""
    code = compile("\n" * block.line + block.text, block.page, "exec")
    exec(code, names)


def run_command(words: Sequence[str], folder: Path) -> None:
    """Runs a command as it stands, with as little work as there can be."""
    program, *words = words
    if program in NOT_RUN or words[:1] == ["-m"] or program == ".":
        check_named(program, words)
        return
    assert program == "ipads-stream", f"{program}: no program that the guides may use"
    verb, *keys = words
    keys = [STANDINS.get(key, key) for key in keys]
    if verb == "shift":  # runs for minutes: tests/shift run one
        return
    if verb == "preview" and not _is_new(keys):
        return
    if verb in ("doctor", "evaluate"):  # the same of another page, or with another stand-in
        asked = frozenset([verb, *keys, *quick(verb, keys)])
        if asked in RUN:
            return
        RUN.add(asked)
    # What the prepared folder holds under the name that a command writes to gives way to it.
    written_to = {"freeze": "path=", "train": "output="}.get(verb, " ")
    for key in keys:
        if key.startswith(written_to) and not any(word.startswith("resume=") for word in keys):
            path = folder / key.removeprefix(written_to)
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)
    assert main([verb, *keys, *quick(verb, keys)]) == 0, shlex.join(words)


def _is_new(keys: Sequence[str]) -> bool:
    """Whether no preview of this kind has been drawn: they are alike, and take seconds each."""
    names = {key.partition("=")[0] for key in keys}
    kind = next((name for name in ("conf", "phantoms", "sequence", "pulseq") if name in names), "")
    is_new = kind not in PREVIEWED
    PREVIEWED.add(kind)
    return is_new


def quick(verb: str, keys: Sequence[str]) -> list[str]:
    """Keys that make a command short."""
    text = " ".join(keys)
    if verb == "train":
        steps = 2 if "resume=" in text else 1
        short = [f"trainer.max_steps={steps}", "trainer.val_every=0", "trainer.bar=false"]
        return [*short, "device=cpu", *([] if "logger" in text else ["logger=none"])]
    if verb == "evaluate":
        is_plane = "runs/demo" in text and "data=" in text
        signals = ["rates=[0.25]", "schedules=1", "+baselines.LRHM=null"] if is_plane else []
        return ["samples=8", *signals]
    if verb == "preview" and not any(key in text for key in ("sequence", "pulseq", "phantoms")):
        return ["samples=50"]
    return {"bench": ["seconds=0.02"], "freeze": ["num_samples=64"]}.get(verb, [])


def check_named(program: str, words: Sequence[str]) -> None:
    """What a command that is not run names exists: targets of make, extras, scripts."""
    if program == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert all(re.search(rf"^{target}:", makefile, re.M) for target in words)
    for extra in re.findall(r"\.\[(\w+)\]", " ".join(words)):
        assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.M)
    for word in words:
        if word.endswith((".py", ".sbatch", ".yaml")):
            assert (ROOT / word).is_file(), word


def check_composes(words: Sequence[str]) -> None:
    """A command names a verb and keys that exist."""
    from ipads_stream.command_words import composed_of

    if words[0] != "ipads-stream":
        return
    verb, keys = words[1], [STANDINS.get(key, key) for key in words[2:]]
    assert verb in VERBS, verb
    is_made = any(key.startswith("conf=runs/") for key in keys)  # by a command before it
    if verb in COMPOSED and not is_made:
        composed_of(verb.replace("-", "_"), keys)


def check_yaml(block: Block) -> None:
    """A block of YAML can be read."""
    assert yaml.safe_load(block.text)
