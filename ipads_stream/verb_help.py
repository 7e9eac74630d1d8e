"""What ``--help`` says: verbs of the command line, and their YAML files with examples and keys."""

import textwrap

USAGE = """\
usage: ipads-stream VERB [key=value ...]

Simulated magnetic-resonance data, streamed into training.

  train      train a network on an endless stream
  preview    draw what a system generates, or a pulse sequence
  evaluate   compare a trained network with classical methods, on synthetic or measured data
  apply      write maps of the posterior of measured images, and whether they are what was simulated
  diagnose   rank what explains that measured images are not what was simulated
  shift      train on some distributions, test on others: a study with intervals and tests
  replay     rebuild logged samples
  fit-prior  mine distributions from measured data and write the YAML that draws from them
  adopt      read protocol, noise and priors out of measured data: YAML that trains for them
  design     choose echo times, flip angles or inversion times by the Cramer-Rao bound
  freeze     write a fixed set of samples to disk
  bench      measure generation, hand-over, and reading a stored set instead
  list       name the systems, nets, trainers, distributions, sequences and data sets
  config     print what a verb composes, with comments and where each part comes from
  completion print a script that completes verbs and keys in bash, zsh or fish
  doctor     show versions, devices and what is missing

ipads-stream VERB --help shows the keys and examples of a verb; --version the version.
Keys are Hydra overrides. conf=FOLDER adds a folder of YAML files of your own.
"""

# Of the verbs that compose nothing; those of the others stand in their YAML files.
EXAMPLES = {
    "list": ("ipads-stream list", "ipads-stream list systems sequences"),
    "config": ("ipads-stream config train system=drone", "ipads-stream config evaluate"),
    "completion": (
        'eval "$(ipads-stream completion bash)"    in .bashrc; zsh alike',
        "ipads-stream completion fish > ~/.config/fish/completions/ipads-stream.fish",
    ),
    "doctor": ("ipads-stream doctor",),
}


def verb_help(verb: str) -> str:
    """Examples of a verb, its keys with defaults and comments, and the names in its groups."""
    text = f"usage: ipads-stream {verb} [key=value ...]\n\n"
    if verb in EXAMPLES:
        return text + "\n".join(["examples:", *(f"  {line}" for line in EXAMPLES[verb])]) + "\n"
    from ipads_stream.config import conf_dir, group_names  # slow: OmegaConf and Hydra

    yaml = (conf_dir() / f"{verb.replace('-', '_')}.yaml").read_text()
    text += textwrap.indent(yaml, "  ")
    for group in ("system", "sequence", "net", "loss", "trainer", "shift", "logger"):
        if f"- {group}:" in yaml:
            text += f"\n{group}: {', '.join(group_names(group))}"
    text = text.rstrip("\n")
    return f"{text}\n\nipads-stream config {verb} [key=value ...] prints the keys of all of them.\n"
