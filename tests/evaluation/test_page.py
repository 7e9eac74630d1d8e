"""Pages and tables: whole, escaped, self-contained."""

from html.parser import HTMLParser

from ipads_stream.report import curves as curve_figures
from ipads_stream.report.page import Column, Section, Table, present

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Parser(HTMLParser):
    """Collects tags and fails where they are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.sources, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for key, value in attrs if key in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(markup):
    parser = Parser()
    parser.feed(markup)
    parser.close()
    assert parser.open == []
    return parser


def test_tables_mark_the_best_and_all_that_equal_it():
    columns = (Column("method", "method"), Column("error", "error", ".2f", best="low"))
    rows = [
        {"method": "<a>", "error": 0.101, "rate": 1},
        {"method": "b", "error": 0.099, "rate": 1},
        {"method": "c", "error": 0.01, "rate": 1, "is_partial": True},
        {"method": "d", "error": 0.5, "rate": 2},
        {"method": "e", "error": None, "rate": 2},
    ]
    table = Table(columns=columns, rows=rows, group=("rate",), title="all & sundry")
    assert table.best_cells() == {(0, 1), (1, 1)}
    text = table.text()
    assert text.count("*") == 2 and "–" in text
    markup = table.html()
    assert markup.count('class="best"') == 2
    assert "&lt;a&gt;" in markup and "all &amp; sundry" in markup
    parsed(markup)


def test_page_is_written_whole(tmp_path):
    path = tmp_path / "page.html"
    present("a < b", [Section(notes=["x & y"])], path)
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    assert "a < b" in "".join(parsed(path.read_text()).text)


def test_repeated_steps_are_drawn_once():
    log = [{"step": step, "loss": float(step)} for step in (0, 1, 2, 3)]
    log += [{"step": step, "loss": 10.0 + step} for step in (2, 3, 4)] + [{"step": 5}]
    steps, values = curve_figures._series(log, "loss")
    assert steps.tolist() == [0, 1, 2, 3, 4]
    assert values.tolist() == [0, 1, 12, 13, 14]
