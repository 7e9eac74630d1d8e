"""A shift study, whole or one training at a time, under any of Hydra's launchers and sweepers.

    python experiments/shift.py shift=fig4 processes=2              all of it, then the report
    python experiments/shift.py -m shift=fig4 launcher=joblib arm=dense,dhmf seed=0,1,2,3,4
    python experiments/shift.py -m shift=fig4 launcher=slurm arm=dense,dhmf seed=0,1,2,3,4
    python experiments/shift.py -m shift=fig4 launcher=ray arm=dense,dhmf seed=0,1,2,3,4
    python experiments/shift.py -m shift=fig4 launcher=optuna arm=dense seed=0 \\
        '+vary.trainer.learning_rate=tag(log,interval(1e-3,1e-2))'
    wandb sweep experiments/shift_sweep.yaml                        an agent runs this file

A job with arm= and seed= trains and tests that arm and leaves the result in the study's folder;
`shift=fig4` alone, with the same output=, then writes the report. What is finished is not repeated.
Exit codes: 0, 1 where an arm failed, 2 for a bad configuration, 130 after an interrupt.
"""

from __future__ import annotations

import sys

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ipads_stream.config import conf_dir, resolved
from ipads_stream.core.errors import ConfigError
from ipads_stream.shift import run_study


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="shift")
def study(config: DictConfig) -> float | None:
    """One job: returns what a sweeper minimises, or None for a whole study."""
    outer = GlobalHydra.instance().hydra  # composes the job; the study composes its arms
    GlobalHydra.instance().clear()
    try:
        plain = resolved(config, HydraConfig.get().overrides.task)
        ran = run_study(plain, bar=sys.stderr.isatty())
    except ConfigError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # an exit would end the other jobs with this one
        print(f"shift.py: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("shift.py: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
    finally:
        GlobalHydra.instance().hydra = outer
    print(ran.text)
    if ran.failures and ran.objective is None:
        sys.exit(1)
    return ran.objective


if __name__ == "__main__":
    study()
