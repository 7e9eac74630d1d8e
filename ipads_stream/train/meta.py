"""Meta-learning: weights from which a few steps on a few samples lead to a good network.

Sources: Finn, Abbeel, Levine, ICML 2017 (MAML, and its first order); Nichol, Achiam, Schulman,
arXiv 1803.02999 (Reptile).
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Names, Whole, choice, flag, number, ruled, whole
from ipads_stream.core.sample import Sample
from ipads_stream.stream.episodes import Episodes
from ipads_stream.systems import System
from ipads_stream.train.adapting import Weights, descend, matching, with_weights
from ipads_stream.train.objectives import (
    HiddenPoints,
    Named,
    Objective,
    Targets,
    answered,
    summed,
    weighted,
)
from ipads_stream.train.supervised import MakeStream, Streams, Supervised
from ipads_stream.train.training import Training

METHODS = ("maml", "reptile")
INNER = ("supervised", "hidden")

Episode = tuple[Sample, Sample]  # support and query


class MetaTraining(Training):
    """Steps over batches of whole episodes; the arguments are those of Training."""

    settings: "Meta"

    @cached_property
    def adapted(self) -> list[str]:
        """Names of the parameters that the inner steps change."""
        return self.settings.adapted_names(self.net)

    def training_step(self, batch: Sample, batch_idx: int) -> dict[str, Any]:
        episodes = self._episodes(batch)
        results = [self.episode(*episode) for episode in episodes]
        indices = [query.provenance.indices for _, query in episodes if query.provenance]
        errors = _joined([errors for errors, _ in results])
        loss = self.report(errors, batch, _weights(episodes), np.concatenate(indices))
        directions = [direction for _, direction in results if direction is not None]
        return {"loss": torch.stack(directions).mean() if directions else loss, "answers": []}

    def validation_step(self, batch: Sample, batch_idx: int) -> dict[str, Any]:
        episodes = self._episodes(batch)
        weight = _weights(episodes)
        with torch.enable_grad():  # adapting takes gradients
            adapted = [self.episode(*episode)[0] for episode in episodes]
        after = [{name: error.detach() for name, error in errors.items()} for errors in adapted]
        self.report_validation(_joined(after), weight)
        # Of the start: adapting may change what the network answers.
        answers = [(*answered(self.net, self.loss, query), query) for _, query in episodes]
        before = _joined([errors for _, errors, _ in answers])
        start = weighted(summed(before), weight)
        self.log("val/before_adapting", start, batch_size=len(weight), sync_dist=True)
        return {"answers": [(predictions, query) for predictions, _, query in answers]}

    def episode(self, support: Sample, query: Sample) -> tuple[Named, Tensor | None]:
        """Errors of an episode's query after adapting; with Reptile also a number whose gradient is
        the direction away from the adapted weights."""
        meta = self.settings
        parameters = dict(self.net.named_parameters())
        start: Weights = {name: parameters[name] for name in self.adapted}
        steps = partial(
            descend, self.net, rate=meta.inner_rate, objective=meta.objective(self.loss)
        )
        if meta.method == "maml":
            fast = steps(start, [support] * meta.inner_steps, second_order=meta.second_order)
            return answered(with_weights(self.net, fast), self.loss, query)[1], None
        turns = [(support, query)[step % 2] for step in range(meta.inner_steps)]
        slow = {name: value.detach().requires_grad_() for name, value in start.items()}
        fast = steps(slow, turns)
        scale = 1.0 / (meta.inner_rate * meta.inner_steps)
        away = [(start[n] * ((start[n] - fast[n]) * scale).detach()).sum() for n in self.adapted]
        with torch.no_grad():
            errors = answered(with_weights(self.net, fast), self.loss, query)[1]
        return errors, torch.stack(away).sum()

    def _episodes(self, batch: Sample) -> list[Episode]:
        """Support and query of each episode in a batch."""
        size, support = self.settings.task_size, self.settings.support
        return [
            (batch.rows(slice(at, at + support)), batch.rows(slice(at + support, at + size)))
            for at in range(0, len(batch), size)
        ]


@dataclass(frozen=True, kw_only=True)
class Meta(Supervised):
    """MAML or Reptile over episodes, as :class:`Supervised` in all else.

    A batch holds whole episodes of ``task_size`` samples. Of each, the first ``support`` are
    adapted to, by ``inner_steps`` of gradient descent; the others are the query, which
    shows how well that went.

    MAML follows the gradient of the query's loss after adapting. Reptile needs no such gradient:
    it moves towards the adapted weights, theta - (theta - theta_K) / (a K) in place of a gradient,
    its steps taking support and query in turn.

    Attributes:
        method: maml or reptile.
        second_order: MAML with the exact gradient, through the inner steps; else their gradients
            count as constants, which halves the cost.
        shared: names of the draws that an episode shares (stream/episodes.py).
        task_size: samples of an episode.
        support: of them to adapt to; the others are the query.
        inner_steps, inner_rate: of gradient descent.
        inner_loss: "supervised": the loss of the run; "hidden": the error at measured points that
            are hidden from the network, which measured data can be adapted by.
        hidden_share: of the measured points, for "hidden".
        adapted: patterns of the names of the parameters that the inner steps change.
    """

    method: str = choice("maml", among=METHODS)
    second_order: bool = flag(False)
    shared: tuple[str, ...] = ruled(Names(), ("rate", "snr", "decay"))
    task_size: int = whole(8, low=2, high=1e6)
    support: int = whole(4, low=1)
    inner_steps: int = whole(3, low=1, high=1000)
    inner_rate: float = number(0.05, low=1e-12, high=1e6)
    inner_loss: str = choice("supervised", among=INNER)
    hidden_share: float = number(0.25, above=0, below=1)
    adapted: tuple[str, ...] = ruled(Names(), ("*",))

    training: ClassVar[type[Training]] = MetaTraining

    def __post_init__(self) -> None:
        super().__post_init__()
        Whole(low=1, high=self.task_size - 1)("support", self.support)
        if self.precision == "16-mixed":
            allowed = "32-true or bf16-mixed: inner gradients are not scaled"
            raise ConfigError("precision", self.precision, allowed)
        if self.method == "reptile":
            Whole(low=2)("inner_steps", self.inner_steps)  # one is plain training
            if self.second_order:
                raise ConfigError("second_order", True, "false: reptile takes no gradient of steps")
            if self.adapted != ("*",):
                raise ConfigError("adapted", self.adapted, '["*"]: Reptile trains what it adapts')

    @property
    def passes(self) -> int:
        return 1 + self.inner_steps if self.second_order else 1

    def streams(self, system: System, make: MakeStream) -> Streams:
        try:
            episodes = Episodes(system=system, samples=self.task_size, shared=self.shared)
        except ConfigError as error:
            raise (error.under("trainer") if error.key == "shared" else error) from None
        stream = make(cast(System, episodes), "train", None)
        if stream.batch_size % (self.task_size * self.processes):
            processes = f"each of {self.processes} devices"
            allowed = f"a multiple of task_size={self.task_size} on {processes}"
            raise ConfigError("stream.batch_size", stream.batch_size, allowed)
        return stream, make(cast(System, episodes), "validation", None)

    def prepare(self, net: torch.nn.Module, config: dict[str, Any]) -> None:
        self.adapted_names(net)  # refuses patterns that match none

    def adapted_names(self, net: torch.nn.Module) -> list[str]:
        """Names of the parameters that the inner steps change."""
        return matching(dict(net.named_parameters()), self.adapted, key="trainer.adapted")

    def objective(self, loss: torch.nn.Module) -> Objective:
        """What the inner steps minimise."""
        return Targets(loss) if self.inner_loss == "supervised" else HiddenPoints(self.hidden_share)


def _joined(errors: list[Named]) -> Named:
    return {name: torch.cat([terms[name] for terms in errors]) for name in errors[0]}


def _weights(episodes: list[Episode]) -> Tensor:
    return torch.cat([query.weight for _, query in episodes])
