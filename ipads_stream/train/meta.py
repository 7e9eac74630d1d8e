"""Meta-learning: weights from which a few steps on a few samples lead to a good network.

Sources: Finn, Abbeel, Levine, ICML 2017 (MAML, and its first order); Nichol, Achiam, Schulman,
arXiv 1803.02999 (Reptile).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.sample import Sample
from ipads_stream.stream.stream import Stream
from ipads_stream.stream.tasks import Tasks
from ipads_stream.systems import System
from ipads_stream.train.adapting import Weights, descend, with_weights
from ipads_stream.train.named import matching
from ipads_stream.train.objectives import HiddenPoints, Objective, Targets, rows_of, weighted
from ipads_stream.train.supervised import (
    MakeStream,
    Rows,
    Streams,
    Supervised,
    check_numbers,
    refuse_rows,
)
from ipads_stream.train.training import Training

METHODS = ("maml", "reptile")
INNER = ("supervised", "hidden")


@dataclass(frozen=True, kw_only=True)
class Meta(Supervised):
    """MAML or Reptile over tasks, as :class:`Supervised` in all else.

    A batch holds whole tasks of ``task_size`` samples. Of each, the first ``support`` are adapted
    to, by ``inner_steps`` of gradient descent; the others, the query, tell how well that went.

    MAML follows the gradient of the query's loss after adapting. Reptile needs no such gradient:
    it moves towards the adapted weights, theta - (theta - theta_K) / (a K) in place of a gradient,
    its steps taking support and query in turn.

    Attributes:
        method: maml or reptile.
        second_order: MAML with the exact gradient, through the inner steps; else their gradients
            count as constants, which halves the cost.
        shared: names of the draws that make a task (stream/tasks.py).
        task_size: samples of a task.
        support: of them to adapt to; the others are the query.
        inner_steps, inner_rate: of gradient descent.
        inner_loss: "supervised": the loss of the run; "hidden": the error at measured points that
            are hidden from the network, which measured data can be adapted by.
        hidden_share: of the measured points, for "hidden".
        adapted: patterns of the names of the parameters that the inner steps change.
    """

    method: str = "maml"
    second_order: bool = False
    shared: tuple[str, ...] = ("rate", "snr", "decay")
    task_size: int = 8
    support: int = 4
    inner_steps: int = 3
    inner_rate: float = 0.05
    inner_loss: str = "supervised"
    hidden_share: float = 0.25
    adapted: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("method", METHODS), ("inner_loss", INNER)):
            if getattr(self, name) not in known:
                raise ConfigError(name, getattr(self, name), f"one of {', '.join(known)}")
        if not isinstance(self.second_order, bool):
            raise ConfigError("second_order", self.second_order, "true or false")
        if self.second_order and self.method == "reptile":
            raise ConfigError("second_order", True, "false: reptile takes no gradient of steps")
        whole = "whole number"
        check_numbers(
            self,
            {
                "task_size": (whole, 2, 1e6),
                "support": (whole, 1, self.task_size - 1 if _is_whole(self.task_size) else 1e6),
                # One step of Reptile is plain training.
                "inner_steps": (whole, 2 if self.method == "reptile" else 1, 1000),
                "inner_rate": ("number", 1e-12, 1e6),
            },
        )
        HiddenPoints(self.hidden_share)
        if self.precision == "16-mixed":
            allowed = "32-true, 64-true or bf16-mixed: inner gradients are not scaled"
            raise ConfigError("precision", self.precision, allowed)
        if self.method == "reptile" and tuple(self.adapted) != ("*",):
            raise ConfigError("adapted", self.adapted, '["*"]: Reptile trains what it adapts')
        for name in ("shared", "adapted"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(name, getattr(self, name), "a list of names")
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def streams(self, system: System, make: MakeStream, rows: Rows | None) -> Streams:
        refuse_rows(rows)
        try:
            found = Tasks(system=system, samples=self.task_size, shared=self.shared)
        except ConfigError as error:
            raise (error.under("trainer") if error.key == "shared" else error) from None
        tasks = cast(System, found)
        stream = make(tasks, "train", None)
        if stream.batch_size % (self.task_size * self.devices):
            allowed = f"a multiple of task_size={self.task_size} on each of {self.devices} devices"
            raise ConfigError("stream.batch_size", stream.batch_size, allowed)
        return stream, make(tasks, "validation", None)

    def module(
        self,
        net: torch.nn.Module,
        loss: torch.nn.Module,
        stream: Stream,
        config: dict[str, Any],
        rate: Callable[[int], float],
    ) -> Training:
        adapted = matching(dict(net.named_parameters()), self.adapted, key="trainer.adapted")
        return MetaTraining(self, adapted, net, loss, stream, config, self.optimizer, rate)

    def objective(self, loss: torch.nn.Module) -> Objective:
        """What the inner steps minimise."""
        return Targets(loss) if self.inner_loss == "supervised" else HiddenPoints(self.hidden_share)


class MetaTraining(Training):
    """Steps over batches of whole tasks.

    Args:
        meta: method, steps and sizes.
        adapted: names of the parameters that the inner steps change.
        rest: as for Training.
    """

    def __init__(self, meta: Meta, adapted: list[str], *rest: Any) -> None:
        super().__init__(*rest)
        self.meta, self.adapted = meta, adapted

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        found = [self.task(*task) for task in self._tasks(batch)]
        queries = [query for _, query in self._tasks(batch)]
        places = np.concatenate([q.provenance.indices for q in queries if q.provenance])
        terms = _joined([terms for terms, _ in found])
        loss = self.report(terms, batch, _weights(queries), places)
        directions = [direction for _, direction in found if direction is not None]
        return torch.stack(directions).mean() if directions else loss

    def validation_step(self, batch: Sample, batch_idx: int) -> None:
        tasks = self._tasks(batch)
        weight = _weights([query for _, query in tasks])
        with torch.enable_grad():  # adapting takes gradients
            found = [self.task(*task)[0] for task in tasks]
        after = [{name: term.detach() for name, term in terms.items()} for terms in found]
        self.report_validation(_joined(after), weight)
        predictions = [self.net(query.inputs) for _, query in tasks]
        for (_, query), of_task in zip(tasks, predictions, strict=True):
            self.thresholds.add(of_task, query)  # of the start: adapting may change them
        terms = [self.loss(p, query) for p, (_, query) in zip(predictions, tasks, strict=True)]
        before = _joined(terms)
        start = weighted(torch.stack(list(before.values())).sum(0), weight)
        self.log("val/before_adapting", start, batch_size=len(weight), sync_dist=True)

    def task(self, support: Sample, query: Sample) -> tuple[dict[str, Tensor], Tensor | None]:
        """Errors of a task's query after adapting; with Reptile also a number whose gradient is the
        direction away from the adapted weights."""
        meta = self.meta
        parameters = dict(self.net.named_parameters())
        start: Weights = {name: parameters[name] for name in self.adapted}
        if meta.method == "maml":
            fast = descend(
                self.net, start, [support] * meta.inner_steps, rate=meta.inner_rate,
                objective=meta.objective(self.loss), second_order=meta.second_order,
            )  # fmt: skip
            return self.loss(with_weights(self.net, fast)(query.inputs), query), None
        turns = [(support, query)[step % 2] for step in range(meta.inner_steps)]
        slow = {name: value.detach().requires_grad_() for name, value in start.items()}
        fast = descend(
            self.net, slow, turns, rate=meta.inner_rate, objective=meta.objective(self.loss)
        )
        scale = 1.0 / (meta.inner_rate * meta.inner_steps)
        away = [(start[n] * ((start[n] - fast[n]) * scale).detach()).sum() for n in self.adapted]
        with torch.no_grad():
            terms = self.loss(with_weights(self.net, fast)(query.inputs), query)
        return terms, torch.stack(away).sum()

    def _tasks(self, batch: Sample) -> list[tuple[Sample, Sample]]:
        """Support and query of each task in a batch."""
        size, support = self.meta.task_size, self.meta.support
        starts = range(0, len(batch), size)
        return [
            (
                rows_of(batch, slice(at, at + support)),
                rows_of(batch, slice(at + support, at + size)),
            )
            for at in starts
        ]


def _joined(terms: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([of_task[name] for of_task in terms]) for name in terms[0]}


def _weights(queries: list[Sample]) -> Tensor:
    return torch.cat([query.weight for query in queries])


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
