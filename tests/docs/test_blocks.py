"""Every code block of the README and the guides works as it stands there."""

from __future__ import annotations

import numpy as np
import pytest
from blocks import (
    LANGUAGES,
    PAGES,
    blocks_of,
    check_composes,
    check_named,
    check_yaml,
    commands_of,
    run_command,
    run_python,
    written,
)
from matplotlib.figure import Figure

from ipads_stream.nets.dlnmr import DLNMR

FEWEST, MOST_SKIPPED = 50, 3
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
SKIPPED = [block for block in BLOCKS if block.reason]
LIGHTNING = pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning")  # it warns of itself
ids = [page.name for page in PAGES]


@pytest.fixture
def unrendered(monkeypatch):
    """Figures are filled but saved empty: to lay them out and colour them takes half of the time,
    and tests/report does it."""
    save = Figure.savefig
    blank = Figure(figsize=(1, 1))
    monkeypatch.setattr(Figure, "savefig", lambda _, path, **words: save(blank, path, **words))


@pytest.fixture
def names(place):
    """What a reader has: a network, measured rows and their mask."""
    return {
        "__name__": "guide",
        "net": DLNMR(phases=1),
        "fid": np.load(place / "rows.npy"),
        "mask": np.load(place / "mask.npy"),
    }


def test_blocks_are_of_known_languages_and_hardly_any_is_skipped():
    assert len(BLOCKS) >= FEWEST
    assert {block.language for block in BLOCKS} == set(LANGUAGES)
    assert len(SKIPPED) <= MOST_SKIPPED


@pytest.mark.parametrize("block", SKIPPED, ids=lambda block: f"{block.page}:{block.line}")
def test_blocks_that_are_not_run(block):
    for words in commands_of(block):
        check_named(words[0], words[1:])
    pytest.skip(block.reason)


@pytest.mark.slow
@LIGHTNING
@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_python_and_yaml(page, place, names):
    """Python of pages with commands runs among these, below."""
    blocks = list(blocks_of(page))
    has_commands = any(block.language == "sh" for block in blocks)
    for block in blocks:
        if block.reason or written(block, place):
            continue
        if block.language == "python" and not has_commands:
            run_python(block, names)
        elif block.language == "yaml":
            check_yaml(block)
        elif block.language == "sh":
            for words in commands_of(block):
                check_composes(words)


@LIGHTNING
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [p for p in PAGES if "```sh" in p.read_text()],
                         ids=lambda page: page.name)  # fmt: skip
def test_pages_in_order_with_their_commands(page, place, names, unrendered):
    for block in blocks_of(page):
        if block.reason or written(block, place):
            continue
        if block.language == "python":
            run_python(block, names)
        elif block.language == "sh":
            for words in commands_of(block):
                run_command(words, place)
