"""Every scheme with every solver on every kind of layer: exact counts, zeros that stay."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from small_models import MODELS, batches, same_state, state_of  # noqa: E402

from embcompress.pruning import (  # noqa: E402
    ADMM,
    NM,
    SCHEMES,
    SOLVERS,
    SPM,
    Block,
    BlockColumn,
    BlockRow,
    Channel,
    Column,
    Connectivity,
    Filter,
    GradualMagnitude,
    KernelPattern,
    Masks,
    OneShot,
    PrimalProximal,
    Reweighted,
    RowColumn,
    TaskLoss,
    Unstructured,
    finetune,
    prunable_weights,
)

EXAMPLES = {
    "block": Block((2, 3), sparsity=0.5),
    "block-column": BlockColumn(sparsity=0.6),
    "block-row": BlockRow(sparsity=0.6, n_blocks=2),
    "block-row & block-column": BlockRow(0.5, n_blocks=2) & BlockColumn(0.4),
    "channel": Channel(0.5),
    "column": Column(0.5),
    "connectivity": Connectivity(0.5),
    "filter": Filter(0.4),
    "kernel-pattern": KernelPattern(),
    "kernel-pattern & connectivity": KernelPattern() & Connectivity(0.5),
    "nm": NM(1, 3),
    "row": Filter(0.4),
    "row-column": RowColumn(0.6),
    "spm": SPM(2, n_patterns=4, length=3),
    "spm of kernels": SPM(4, n_patterns=4),
    "unstructured": Unstructured(0.8),
}

QUICK = {
    "admm": ADMM(rho=(1e-2, 1.0), epochs_per_rho=1),
    "gradual": GradualMagnitude(epochs=2, update_every=1),
    "one-shot": OneShot(),
    "primal-proximal": PrimalProximal(epochs=2),
    "reweighted": Reweighted(epochs=2, milestones=(0.5,)),
}

PREFIX = {"linear": "linear", "conv": "conv", "gru": "gru_", "lstm": "lstm_"}


def test_every_scheme_and_solver_has_an_example():
    assert set(SCHEMES) <= set(EXAMPLES)
    assert set(SOLVERS) == set(QUICK)
    assert all(type(QUICK[name]) is kind for name, kind in SOLVERS.items())


def fitting_layers(model, kind, scheme):
    names = []
    for view in prunable_weights(model):
        if view.kind.startswith(PREFIX[kind]):
            try:
                scheme.check(view.shape, view.kind)
            except ValueError:
                continue
            names.append(view.name)
    return names


def groups_kept(scheme, mask):
    """Number of groups that stay; blocks at the border are smaller than others."""
    if isinstance(scheme, Block):
        return int((scheme.group_norms(mask.float()) > 0).sum())
    return int(mask.sum())


def missing(solver, scheme):
    parts = solver._constraints(scheme)
    return [m for m in solver.needs_scheme for part in parts if not hasattr(part, m)]


@pytest.mark.parametrize("solver_name", QUICK)
@pytest.mark.parametrize("scheme_name", EXAMPLES)
@pytest.mark.parametrize("kind", MODELS)
def test_solve_and_finetune(kind, scheme_name, solver_name):
    scheme, solver = EXAMPLES[scheme_name], QUICK[solver_name]
    model, data = MODELS[kind](), batches(kind)
    before = state_of(model)
    layers = fitting_layers(model, kind, scheme)
    arguments = (model, scheme, TaskLoss(), data)
    if not layers:
        with pytest.raises(ValueError, match=r"does not fit|needs|not"):
            solver.solve(*arguments)
        return
    if missing(solver, scheme):
        with pytest.raises(ValueError, match=r"needs a scheme with `\w+`; \w+ has none; use ADMM"):
            solver.solve(*arguments, layers=layers)
        return
    result = solver.solve(*arguments, layers=layers)

    assert same_state(before, state_of(model))  # the model is left alone
    assert set(result.schemes) == set(layers)
    for view in prunable_weights(model):
        mask = result.masks.get(view.parameter)
        if view.name not in layers:
            assert mask is None or mask[view.start : view.stop].all()
            continue
        mask = mask[view.start : view.stop]
        weight = view.of(result.model)
        # a second part counts over all groups: what both leave depends on how they overlap
        if len(scheme.parts) == 1:
            other = scheme.mask(torch.rand(view.shape) + 0.1)
            assert groups_kept(scheme, mask) == groups_kept(scheme, other)
        assert not weight[~mask].any()
        assert torch.equal(scheme.mask(mask.float() + 0.0) & mask, mask)  # an allowed pattern
    if solver_name != "one-shot":
        assert len(result.history) == 2
        assert all(entry["loss"] > 0 for entry in result.history)

    tuned = finetune(
        result.model, result.masks, TaskLoss(), data, epochs=1, optimizer="sgd",
        learning_rate=0.05, momentum=0.9, weight_decay=0.1,
    )  # fmt: skip
    parameters = dict(tuned.named_parameters())
    for name, mask in result.masks.items():
        assert not parameters[name][~mask].any()
        assert name.endswith("bias") or not torch.equal(
            parameters[name], dict(result.model.named_parameters())[name]
        )
    assert Masks.of(tuned).n_kept <= Masks.of(result.model).n_kept
