"""Search for the smallest pruned model that is good enough, from blocks that are trained once.

The composability of Wootz (Guan et al., PLDI 2019), which CoCoPIE (arXiv 2003.06700) calls
CoCo-Tune: candidates that differ in the rates of their layers share many parts. Each part is
rebuilt once, next to the trained model as its teacher, and candidates put together from such parts
need little training. The papers' code was not available; this is our specification.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from embcompress.progress import ProgressBar
from embcompress.pruning.base import Scheme
from embcompress.pruning.candidates import Candidate, Space, Symbol
from embcompress.pruning.chain import Chain
from embcompress.pruning.data import rewound
from embcompress.pruning.found import SearchResult, TrainedBlock, TriedCandidate
from embcompress.pruning.grammar import Block, repeated_blocks
from embcompress.pruning.masks import Masks
from embcompress.pruning.objectives import Stage
from embcompress.pruning.optimize import (
    ReapplyMasks,
    check_options,
    make_optimizer,
    only_trainable,
)
from embcompress.pruning.tracing import check_forward
from embcompress.pruning.units import with_removed_units
from embcompress.training import Batch, Hooks, Loss, copy_model, deterministic, train

__all__ = ["composability_search", "train_every_candidate"]

Rates = Mapping[str, Sequence[float]] | Sequence[float]
Validate = Callable[[nn.Module], float] | tuple[Any, Any]

# forward, gradient of the inputs, gradient of the weights
_PASSES = 3
_ROWS_AT_ONCE = 1024


def composability_search(
    model: nn.Module,
    rates: Rates,
    *,
    scheme: Scheme | Mapping[str, Scheme],
    objective: Any,
    data: Iterable[Batch],
    validate: Validate,
    floor: float,
    n_candidates: int | None = None,
    pretrain_epochs: int = 3,
    finetune_epochs: int = 3,
    full_epochs: int = 20,
    longest_block: int | None = 1,
    min_repeats: int = 4,
    learning_rate: float = 1e-3,
    optimizer: str = "adam",
    bar: ProgressBar | None = None,
    random_state: int = 0,
) -> SearchResult:
    """Find the smallest pruned model above a floor, from blocks that are trained once.

    Candidates go by size, the smallest first, and the search ends with the first that meets the
    floor. A candidate is cut into blocks (:func:`embcompress.pruning.grammar.repeated_blocks` on
    the layers and rates of all candidates). Blocks that no candidate before has needed are
    trained now: from what the teacher, the model as given, gives to their first layer, they learn
    what it gives behind their last one. So each is trained at most once. The candidate then has
    the blocks for its layers; if it does not meet the floor already, all of it is fine-tuned until
    it does, or for `finetune_epochs`.

    Parameters
    ----------
    model : Module
        Trained; left as it is. Its layers of the search are `Linear` or `Conv2d` and each is
        called once. Several layers form a block where they are linked (see
        :class:`embcompress.pruning.chain.Chain`), as in a `Sequential`; elsewhere, as at the
        sums of residual networks, blocks end. Refused: recurrent layers, layers that are called
        several times or not at all, and objectives of several stages.
    rates : sequence of float, or mapping of str to sequence of float
        Rates that a layer may have (weights before divided by weights kept; 1 is dense): the same
        for all layers, or by names and patterns. Layers that no pattern means stay dense.
    scheme : Scheme, or mapping of str to Scheme
        Its own sparsity is replaced; it needs ``with_sparsity``.
    objective : TaskLoss or Distillation
        For fine-tuning.
    data : iterable of batches
        For blocks and fine-tuning.
    validate : callable or (X, y)
        ``validate(model)`` gives a number to hold against `floor`, more is better; or rows and
        classes to count correct answers on. Use rows that are not in `data`, and not the test
        rows: the floor is chosen on them.
    floor : float
        What is good enough, for example 0.85 for an accuracy.
    n_candidates : int, optional
        Draw so many of all combinations of rates. Default: all, up to 4096.
    pretrain_epochs, finetune_epochs : int, default 3
    full_epochs : int, default 20
        Epochs that a candidate would be trained for without blocks, from the dense weights.
        Only used to say how much the search has saved.
    longest_block : int, optional, default 1
        Layers of a block at most; 1 trains every layer on its own; None is no limit. Longer
        blocks start nearer to the teacher, but there are more of them to train.
    min_repeats : int, default 4
        So many candidates at least share a block of several layers.
    learning_rate : float, default 1e-3
    optimizer : {"adam", "adamw", "rmsprop", "sgd"}, default "adam"
    bar : ProgressBar, optional
        Advanced by 1 per step.
    random_state : int, default 0

    Returns
    -------
    SearchResult
        If no candidate meets the floor, the one that came nearest, and ``meets_floor`` is false.

    Raises
    ------
    ValueError
        Before any work: if model, rates, scheme, objective and data do not fit together.
    NonFiniteLossError
        If a loss is not finite.
    """
    check_options(epochs=pretrain_epochs, learning_rate=learning_rate, optimizer=optimizer)
    check_options(epochs=finetune_epochs, learning_rate=1, optimizer=optimizer, least=0)
    check_options(epochs=full_epochs, learning_rate=1, optimizer=optimizer)
    run = _Run(model, rates, scheme, objective, data, validate, learning_rate, optimizer, bar)
    run.random_state = random_state
    candidates = run.space.candidates(n_candidates, random_state)
    linked = run.chain.linked
    blocks = repeated_blocks(
        [candidate.symbols for candidate in candidates],
        min_repeats=min_repeats,
        longest=longest_block,
        joins=lambda left, right: linked[left[0]],
    )
    repeats = Counter(block for row in blocks for block in row)
    for candidate, row in zip(candidates, blocks, strict=True):
        cost, started = run.cost, time.perf_counter()
        run.pretrain([block for block in row if block not in run.states], pretrain_epochs, repeats)
        run.attempt(candidate, row, finetune_epochs, floor, cost, started)
        if run.tried[-1].meets_floor:
            break
    return run.result(len(candidates), floor, full_epochs)


def train_every_candidate(
    model: nn.Module,
    rates: Rates,
    *,
    scheme: Scheme | Mapping[str, Scheme],
    objective: Any,
    data: Iterable[Batch],
    validate: Validate,
    floor: float,
    n_candidates: int | None = None,
    epochs: int = 20,
    learning_rate: float = 1e-3,
    optimizer: str = "adam",
    bar: ProgressBar | None = None,
    random_state: int = 0,
) -> SearchResult:
    """Train every candidate from the dense weights: what :func:`composability_search` saves.

    Every candidate gets all its epochs; of a candidate the epoch that validates best counts.

    Parameters
    ----------
    model, rates, scheme, objective, data, validate, floor, n_candidates
        See :func:`composability_search`; the same candidates follow from the same arguments.
    epochs : int, default 20
    learning_rate, optimizer, bar, random_state
        See :func:`composability_search`.

    Returns
    -------
    SearchResult
        The smallest model above the floor; without blocks.

    Raises
    ------
    ValueError, NonFiniteLossError
        As :func:`composability_search`.
    """
    check_options(epochs=epochs, learning_rate=learning_rate, optimizer=optimizer)
    run = _Run(model, rates, scheme, objective, data, validate, learning_rate, optimizer, bar)
    run.random_state = random_state
    candidates = run.space.candidates(n_candidates, random_state)
    for candidate in candidates:
        run.attempt(candidate, [], epochs, floor, run.cost, time.perf_counter(), to_the_end=True)
    return run.result(len(candidates), floor, epochs)


class _Run:
    """State of a search: trained blocks, candidates tried, the best model, costs."""

    def __init__(
        self,
        model: nn.Module,
        rates: Rates,
        scheme: Scheme | Mapping[str, Scheme],
        objective: Any,
        data: Iterable[Batch],
        validate: Validate,
        learning_rate: float,
        optimizer: str,
        bar: ProgressBar | None,
    ) -> None:
        self.model = copy_model(model)
        views = {view.module: (view, of) for view, of in Space.views_of(model, rates).items()}
        self.data = data
        first = next(iter(rewound(data)), None)
        if first is None:
            raise ValueError("data is empty; at least one batch is needed")
        check_forward(self.model, first[0])
        self.chain = Chain(self.model, list(views), first[0])
        self.space = Space(self.model, dict(views[name] for name in self.chain.names), scheme)
        self.stage = _only_stage(objective, self.model)
        self.validate = _validator(validate)
        self.learning_rate, self.optimizer, self.bar = learning_rate, optimizer, bar
        self.random_state = 0
        self.rows = sum(len(batch[0]) for batch in rewound(data))
        self.states: dict[Block, dict[str, Tensor]] = {}
        self.blocks: list[TrainedBlock] = []
        self.tried: list[TriedCandidate] = []
        self.best: tuple[tuple, nn.Module, Masks] | None = None
        self.cost = self.tuning_cost = self.seconds = self.tuning_seconds = 0.0

    def pretrain(self, blocks: Sequence[Block], epochs: int, repeats: Mapping[Block, int]) -> None:
        """Train blocks that lie side by side, all in one pass of the teacher.

        Their losses share no parameter, so each becomes what it would be on its own.
        """
        dense = [block for block in blocks if all(rate == 1 for _, rate in block)]
        self.states.update({block: {} for block in dense})
        blocks = [block for block in blocks if block not in dense]
        if not blocks:
            return
        student = copy_model(self.model)
        masks = self._masks(student, [symbol for block in blocks for symbol in block])
        errors: dict[Block, list[float]] = {block: [] for block in blocks}
        names = {block: self._parameters(block) for block in blocks}
        trained = tuple(name for block in blocks for name in names[block])
        started = time.perf_counter()
        self._train(student, self._reconstruction(errors), epochs, masks, trained, [])
        seconds = time.perf_counter() - started
        # the teacher runs forward only
        shared = sum(self.chain.macs.values()) / len(blocks)
        for block in blocks:
            self.states[block] = {
                name: student.get_parameter(name).detach().clone() for name in names[block]
            }
            own = sum(self.chain.macs[self.space.views[i].name] for i, _ in block)
            cost = (shared + _PASSES * own) * self.rows * epochs
            steps = max(1, len(errors[block]) // epochs)
            self.cost += cost
            after = sum(errors[block][-steps:]) / steps
            rates = self._rates(block)
            self.blocks.append(
                TrainedBlock(
                    rates, repeats[block], errors[block][0], after, cost, seconds / len(blocks)
                )
            )
        self.seconds += seconds

    def attempt(
        self,
        candidate: Candidate,
        blocks: Sequence[Block],
        epochs: int,
        floor: float,
        cost_before: float,
        started: float,
        to_the_end: bool = False,
    ) -> None:
        """Put a candidate together, fine-tune it, and note what came of it."""
        student = copy_model(self.model)
        masks = self._masks(student, candidate.symbols)
        with torch.no_grad():
            for block in blocks:
                for name, value in self.states[block].items():
                    student.get_parameter(name).copy_(value)
        masks.apply(student)
        progress = _Validation(self.validate, floor, to_the_end)
        progress.look(student)
        start = progress.best
        if epochs and (to_the_end or not progress.enough):
            tuning = time.perf_counter()
            self._train(student, self.stage.loss, epochs, masks, self.stage.parameters, [progress])
            cost = _PASSES * sum(self.chain.macs.values()) * self.rows * progress.epochs
            self.cost, self.tuning_cost = self.cost + cost, self.tuning_cost + cost
            self.tuning_seconds += time.perf_counter() - tuning
            self.seconds += time.perf_counter() - tuning
            student.load_state_dict(progress.state)
        tried = TriedCandidate(
            self._rates(candidate.symbols), candidate.n_kept, start, progress.best,
            progress.epochs, progress.best >= floor, self.cost - cost_before,
            time.perf_counter() - started,
        )  # fmt: skip
        self.tried.append(tried)
        # the smallest that is good enough, else the one that comes nearest
        merit = (tried.meets_floor, -tried.n_kept if tried.meets_floor else tried.accuracy)
        if self.best is None or merit > self.best[0]:
            self.best = (merit, student, masks)
            self.winner = tried

    def result(self, n_candidates: int, floor: float, full_epochs: int) -> SearchResult:
        """What was found, and what training everything would have cost."""
        assert self.best is not None, "there is at least one candidate"
        each = _PASSES * sum(self.chain.macs.values()) * self.rows * full_epochs
        spent = (self.tuning_seconds, self.tuning_cost)
        if not self.tuning_cost:
            spent = (self.seconds, self.cost)
        seconds_each = each * spent[0] / spent[1] if spent[1] else None
        return SearchResult(
            model=self.best[1], masks=self.best[2], rates=self.winner.rates,
            accuracy=self.winner.accuracy, n_kept=self.winner.n_kept,
            n_weights=sum(view.numel for view in self.space.views), floor=floor,
            meets_floor=self.winner.meets_floor, tried=self.tried, n_candidates=n_candidates,
            blocks=self.blocks, cost=self.cost, cost_of_each=each, seconds=self.seconds,
            seconds_of_each=seconds_each,
        )  # fmt: skip

    def _reconstruction(self, errors: Mapping[Block, list[float]]) -> Loss:
        chain = self.chain

        def loss(student: nn.Module, batch: Batch) -> Tensor:
            # dropout would hide what is to be rebuilt, and statistics of batches move
            student.eval()
            seen = chain.activations(batch[0])
            total = torch.zeros(())
            for block, history in errors.items():
                first, last = block[0][0], block[-1][0]
                with torch.no_grad():
                    wanted = chain.after(chain.teacher, last, seen[chain.names[last]][1].clone())
                    size = wanted.square().mean().clamp_min(torch.finfo(wanted.dtype).tiny)
                found = chain.run(student, first, last, seen[chain.names[first]][0])
                error = functional.mse_loss(found, wanted) / size
                history.append(float(error.detach()))
                total = total + error
            return total

        return loss

    def _train(
        self,
        student: nn.Module,
        loss: Loss,
        epochs: int,
        masks: Masks,
        names: Sequence[str] | None,
        hooks: Sequence[Hooks],
    ) -> None:
        with deterministic(self.random_state), only_trainable(student, names):
            steps = make_optimizer(
                self.optimizer, student.parameters(), learning_rate=self.learning_rate
            )
            train(
                student, loss, rewound(self.data), epochs=epochs, optimizer=steps,
                hooks=[ReapplyMasks(masks), *hooks], bar=self.bar,
            )  # fmt: skip

    def _masks(self, student: nn.Module, symbols: Iterable[Symbol]) -> Masks:
        views = self.space.views
        kept = {views[symbol[0]]: self.space.masks[symbol] for symbol in symbols}
        return with_removed_units(student, Masks.of_views(student, kept))

    def _parameters(self, block: Block) -> list[str]:
        modules = [(name, self.model.get_submodule(name)) for name in self._names(block)]
        return [
            f"{name}.{own}" if name else own
            for name, module in modules
            for own, _ in module.named_parameters(recurse=False)
        ]

    def _names(self, block: Iterable[Symbol]) -> list[str]:
        return [self.chain.names[i] for i, _ in block]

    def _rates(self, symbols: Iterable[Symbol]) -> dict[str, float]:
        return {self.chain.names[i]: rate for i, rate in symbols}


class _Validation(Hooks):
    """Look at a model after every epoch, keep its best state, and stop when it is good enough."""

    def __init__(
        self, validate: Callable[[nn.Module], float], floor: float, to_the_end: bool
    ) -> None:
        self.validate, self.floor, self.to_the_end = validate, floor, to_the_end
        self.best, self.epochs = -float("inf"), 0
        self.state: dict[str, Tensor] = {}

    @property
    def enough(self) -> bool:
        """Whether the floor is met."""
        return self.best >= self.floor

    def look(self, model: nn.Module) -> None:
        """Validate, and keep the state if it is the best."""
        accuracy = float(self.validate(model))
        if accuracy > self.best or not self.state:
            self.best = accuracy
            self.state = {name: v.detach().clone() for name, v in model.state_dict().items()}

    def on_epoch(self, model: nn.Module, epoch: int) -> bool:
        """Stop at the floor."""
        self.epochs += 1
        self.look(model)
        return self.enough and not self.to_the_end


def _validator(validate: Validate) -> Callable[[nn.Module], float]:
    if callable(validate):
        return validate
    X, y = (torch.as_tensor(part) for part in validate)
    X = X.float() if X.is_floating_point() else X
    if len(X) != len(y) or len(X) == 0:
        raise ValueError(
            f"validate has {len(X)} rows and {len(y)} classes; as many, and at least one, are "
            "needed"
        )

    def accuracy(model: nn.Module) -> float:
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        with torch.no_grad():
            parts = [model(rows).argmax(dim=1) for rows in X.split(_ROWS_AT_ONCE)]
        for module, mode in modes:
            module.training = mode
        return float((torch.cat(parts) == y).double().mean())

    return accuracy


def _only_stage(objective: Any, model: nn.Module) -> Stage:
    stages = list(objective.stages(model))
    if len(stages) != 1:
        raise ValueError(
            f"{type(objective).__name__} has {len(stages)} stages; the search fine-tunes whole "
            "models: use TaskLoss() or Distillation()"
        )
    return stages[0]
