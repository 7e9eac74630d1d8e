"""What there is to choose from, and what a verb composes: ``list``, ``config``, ``completion``."""

import ast
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ipads_stream import zoo
from ipads_stream.config import composed, conf_dir, group_names, suggestion
from ipads_stream.core.description import flat
from ipads_stream.core.errors import ConfigError

GROUPS = ("systems", "nets", "losses", "trainers", "distributions", "sequences", "data", "zoo")
_FOLDERS = {"systems": "system", "nets": "net", "losses": "loss", "trainers": "trainer",
            "sequences": "sequence"}  # fmt: skip


def listing(groups: Sequence[str]) -> str:
    """Names with a line on each, of some of ``GROUPS`` or of all; ConfigError of another group."""
    for group in groups:
        if group not in GROUPS:
            allowed = f"one of {', '.join(GROUPS)}{suggestion(group, GROUPS)}"
            raise ConfigError("list", group, allowed)
    tables = []
    for group in groups or GROUPS:
        entries = dict(_entries(group))
        width = max(map(len, entries))
        lines = (f"  {name:<{width}}  {text}" for name, text in entries.items())
        tables.append("\n".join([group, *lines]))
    return "\n\n".join(tables)


def _entries(group: str) -> Iterator[tuple[str, str]]:
    """Names of a group, with the first sentence about each."""
    if group in _FOLDERS:
        folder = conf_dir() / _FOLDERS[group]
        for name in group_names(_FOLDERS[group]):
            file = folder / f"{name}.yaml"
            text = _docstring(file) if group in ("nets", "losses") else _comment(file)
            yield name, re.split(r"(?<!et al)(?<!Eq)\.(?=\s+[A-Z]|$)", " ".join(text.split()))[0]
    elif group == "distributions":
        from ipads_stream import distributions

        for name, kind in vars(distributions).items():
            if isinstance(kind, type) and issubclass(kind, distributions.Distribution):
                yield name, (kind.__doc__ or "").partition("\n")[0].rstrip(".")
    elif group == "zoo":
        yield from ((f"{zoo.PREFIX}{name}", zoo.sentence(name)) for name in zoo.names())
    else:
        from ipads_stream.data import named

        for name, source in named.SOURCES.items():
            yield name, f"{source.file}, {source.licence}"


def _comment(file: Path) -> str:
    """The comment at the top of a YAML file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    top = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.lstrip("# ") for line in top if not line.startswith("# @"))


def _docstring(file: Path) -> str:
    """First line about the class that a YAML file names, read without importing torch."""
    target = re.search(r"^_target_: (\S+)\.(\w+)$", file.read_text(encoding="utf-8"), re.M)
    if target is None:  # it starts from another file of the group
        return _comment(file)
    source = Path(__file__).parents[1] / f"{target[1].replace('.', '/')}.py"
    nodes = ast.walk(ast.parse(source.read_text(encoding="utf-8")))
    classes = (n for n in nodes if isinstance(n, ast.ClassDef) and n.name == target[2])
    return next(((ast.get_docstring(node) or "").partition("\n")[0] for node in classes), "")


def annotated(verb: str, overrides: Sequence[str], conf: str | None = None) -> str:
    """What a verb composes, as YAML with the comments of the files that it comes from.

    Verb and overrides are those of the command line, ``conf`` is a further folder of YAML files.
    """
    name = verb.replace("-", "_")
    config, choices = composed(overrides, name=name, conf=conf)
    folders = [conf_dir()] if conf is None else [Path(conf), conf_dir()]
    primary = conf_dir() / f"{name}.yaml"
    plain = {key: value for key, value in config.items() if key not in choices}
    text = _commented(plain, _comments(primary))
    parts = [f"# ipads-stream {verb} {' '.join(overrides)}", f"# from {primary.name}\n{text}"]
    for key, chosen in choices.items():
        if config.get(key) is None:
            continue
        files = _chain(key, chosen, folders)
        comments: dict[tuple[str, ...], str] = {}
        for file in reversed(files):
            comments |= _comments(file)
        sources = ", ".join(f"{key}/{file.name}" for file in files)
        comments |= {(key, *path): text for path, text in comments.items()}
        parts.append(f"# from {sources}\n{_commented({key: config[key]}, comments)}")
    return "\n\n".join(part.rstrip() for part in parts)


def _chain(group: str, name: str, folders: Sequence[Path]) -> list[Path]:
    """The file of a choice, and those of the same group that it starts from."""
    candidates = [folder / group / f"{name}.yaml" for folder in folders]
    file = next((path for path in candidates if path.is_file()), None)
    if file is None:
        return []
    defaults = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("defaults", [])
    names = [item for item in defaults if isinstance(item, str) and item != "_self_"]
    return [file, *(path for base in names for path in _chain(group, base, folders))]


_LINE = re.compile(r"^(\s*)(?:- )?([\w\"']+):(?=\s|$)[^#]*?(#.*)?$")


def _comments(file: Path) -> dict[tuple[str, ...], str]:
    """Comments behind the keys of a YAML file, by the path of the key."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return {path: comment for path, comment, _ in _keyed(lines) if comment}


def _commented(node: Mapping[str, Any], comments: Mapping[tuple[str, ...], str]) -> str:
    lines = _block(node, "")
    for path, _, number in _keyed(lines):
        if path in comments:
            lines[number] += f"  {comments[path]}"
    return "\n".join(lines)


def _block(node: Mapping[str, Any], indent: str) -> list[str]:
    """YAML with a key on each line down to the second level, and short things on one."""
    lines = []
    for key, value in node.items():
        flow = yaml.safe_dump({key: value}, sort_keys=False, default_flow_style=True, width=10**6)
        line = f"{indent}{flow.strip()[1:-1]}"
        if isinstance(value, dict) and value and (not indent or len(line) > 95):
            lines += [f"{indent}{key}:", *_block(value, f"{indent}  ")]
        else:
            lines.append(line)
    return lines


def _keyed(lines: Sequence[str]) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """Path of every key, the comment behind it, and the number of its line."""
    stack: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        match = _LINE.match(line)
        if match is None:
            continue
        indent, key, comment = len(match[1]), match[2].strip("\"'"), match[3] or ""
        while stack and stack[-1][0] >= indent:
            stack.pop()
        stack.append((indent, key))
        yield tuple(key for _, key in stack), comment, number


def completion(shell: str, verbs: Sequence[str]) -> str:
    """A script that completes verbs, keys and the names of groups in bash, zsh or fish; ConfigError
    of another shell."""
    words = {verb: _words(verb) for verb in verbs}
    if shell == "fish":
        start = "complete -c ipads-stream"
        return "\n".join([
            f"{start} -f",
            f"{start} -n __fish_use_subcommand -a '{' '.join(verbs)}'",
            *(f"{start} -n '__fish_seen_subcommand_from {verb}' -a '{' '.join(completions)}'"
              for verb, completions in words.items() if completions),
        ])  # fmt: skip
    if shell not in ("bash", "zsh"):
        raise ConfigError("completion", shell, "bash, zsh or fish")
    cases = "\n".join(f"    {verb}) words='{' '.join(x)}' ;;" for verb, x in words.items())
    start = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return f"""{start}_ipads_stream() {{
  local words line="${{COMP_LINE%% }}" current="${{COMP_LINE:0:COMP_POINT}}"
  current="${{current##* }}"
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  [ "$COMP_CWORD" -eq 1 ] && words='{" ".join(verbs)}'
  local part="${{current%"${{COMP_WORDS[COMP_CWORD]}}"}}"
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  COMPREPLY=("${{COMPREPLY[@]#"$part"}}")
  [[ "${{COMPREPLY[0]}}" == *= ]] && compopt -o nospace
}}
complete -o default -F _ipads_stream ipads-stream"""


def _words(verb: str) -> list[str]:
    """Keys that a verb has, with ``=``, and ``group=name`` of every group."""
    if not (conf_dir() / f"{verb.replace('-', '_')}.yaml").is_file():
        return list(GROUPS) if verb == "list" else []
    config, choices = composed(name=verb.replace("-", "_"))
    names = [f"{group}={name}" for group in choices for name in group_names(group)]
    keys = [key for key in flat(config) if key not in choices and not key.endswith("_target_")]
    return sorted({*names, *(f"{key}=" for key in keys)})
