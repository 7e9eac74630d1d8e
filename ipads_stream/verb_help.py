"""What ``--help`` says: verbs of the command line, examples, and the keys of their YAML files."""

from __future__ import annotations

import textwrap

USAGE = """\
usage: ipads-stream VERB [key=value ...]

Simulated magnetic-resonance data, streamed into training.

  train      train a network on an endless stream
  preview    draw what a system generates, or a pulse sequence
  evaluate   compare a trained network with classical methods, on synthetic or measured data
  shift      train on some distributions, test on others: a study with intervals and tests
  replay     rebuild logged samples
  fit-prior  mine distributions from measured data and write the YAML that draws from them
  freeze     write a fixed set of samples to disk
  bench      measure generation, hand-over, and reading a stored set instead
  doctor     show versions, devices and what is missing

ipads-stream VERB --help shows the keys and examples of a verb; --version the version.
Keys are Hydra overrides. conf=FOLDER adds a folder of YAML files of your own.
"""

EXAMPLES = {
    "train": """\
        ipads-stream train trainer=demo                        about 100 s on two cores
        ipads-stream train trainer.max_time=600 logger=none    ten minutes, no W&B
        ipads-stream train system.rate=0.25 system.points=256  another sampling rate and length
        ipads-stream train system=dhmf                         unrolled low-rank factorisation
        ipads-stream train system=ann_mwf trainer.max_steps=2500   maps of myelin water
        ipads-stream train net=modern                          thresholds that follow the input
        ipads-stream train trainer=meta trainer.method=reptile tasks that share rate, SNR, decay
        ipads-stream train trainer=transfer checkpoint=runs/demo/run.ckpt data=ubiquitin
        ipads-stream train resume=runs/demo/run.ckpt           go on exactly where a run stopped""",
    "preview": """\
        ipads-stream preview                                   system=dlnmr
        ipads-stream preview system.snr=20 output=pictures
        ipads-stream preview 'progress=[0, 25, 100]'           samples along a curriculum
        ipads-stream preview sequence=epi sequence.TE=0.04     its diagram and k-space
        ipads-stream preview pulseq=my.seq
        ipads-stream preview phantoms=true                     shapes, textures, fields, brains""",
    "evaluate": """\
        ipads-stream evaluate checkpoint=runs/demo/run.ckpt
        ipads-stream evaluate checkpoint=runs/demo/run.ckpt data=ubiquitin
        ipads-stream evaluate checkpoint=runs/demo/run.ckpt data=my/bruker/folder rates=[0.25]
        ipads-stream evaluate checkpoint=runs/demo/run.ckpt data=plane.npy
        ipads-stream evaluate checkpoint=runs/mwf/run.ckpt data=sub-01_MEGRE.nii.gz   maps
        ipads-stream evaluate checkpoint=runs/mwf/run.ckpt data=echoes.npy axis=[2,4,6] \
            axis_unit=ms""",
    "shift": """\
        ipads-stream shift shift=tiny                          the machinery, in a minute
        ipads-stream shift shift=fig4 processes=2              resumes where it was stopped
        python experiments/shift.py -m shift=fig4 launcher=joblib arm=dense,DHMF seed=0,1""",
    "fit-prior": """\
        ipads-stream fit-prior data=ubiquitin name=mine
        ipads-stream train conf=runs/prior-mine system=mine    train on what was found""",
    "replay": """\
        ipads-stream replay run=runs/demo index=777
        ipads-stream replay run=runs/demo log=runs/demo/report/samples.jsonl worst=5""",
    "freeze": """\
        ipads-stream freeze path=set num_samples=4000
        ipads-stream freeze path=set.h5 format=hdf5 system.points=256""",
    "bench": """\
        ipads-stream bench
        ipads-stream bench system.points=256 out=rates.json""",
    "doctor": """\
        ipads-stream doctor""",
}


def verb_help(verb: str) -> str:
    """Examples of a verb, its keys with their defaults and comments, and the names in its groups.

    Args:
        verb: a key of EXAMPLES.
    """
    text = f"usage: ipads-stream {verb} [key=value ...]\n\nexamples:\n"
    text += textwrap.indent(textwrap.dedent(EXAMPLES[verb]), "  ") + "\n"
    if verb == "doctor":
        return text
    from ipads_stream.config import conf_dir  # slow: OmegaConf and Hydra

    yaml = (conf_dir() / f"{verb.replace('-', '_')}.yaml").read_text()
    text += "\nkeys (defaults):\n" + textwrap.indent(yaml, "  ")
    for group in ("system", "sequence", "net", "loss", "trainer", "shift", "logger"):
        names = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
        if f"- {group}:" in yaml:
            text += f"\n{group}: {', '.join(names)}"
    return text.rstrip("\n") + "\n"
