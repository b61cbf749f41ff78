"""Fits all operators of an augmenter, and measures them on pairs that are held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from embcompress.augmentation.base import Operator, generator
from embcompress.augmentation.diagnostics import OperatorReport, describe
from embcompress.augmentation.forms import choose
from embcompress.augmentation.linear import share_left
from embcompress.augmentation.pairs import Pairs, Sources
from embcompress.augmentation.residuals import ResidualNoise
from embcompress.progress import ProgressBar

__all__ = ["Fitted", "fit_all", "held_out_report", "operator_report", "to_held_out_size"]

Floats = npt.NDArray[np.floating]

_FEWEST_HELD_OUT = 2


@dataclass(frozen=True)
class Fitted:
    """An operator, and the noise beside it.

    Attributes
    ----------
    operator : Operator
    noise : ResidualNoise or None
    """

    operator: Operator
    noise: ResidualNoise | None


def fit_all(options: Any, pairs: Sequence[Pairs], random: np.random.Generator) -> dict[str, Fitted]:
    """Fit the operator of each kind of pairs.

    Parameters
    ----------
    options : EmbeddingAugmenter
        Whose parameters hold.
    pairs : sequence of Pairs
        With the same sources.
    random : numpy.random.Generator

    Returns
    -------
    dict of str to Fitted
    """
    fitted = {}
    with ProgressBar("Fitting operators", len(pairs), unit="steps", enabled=options.verbose) as bar:
        for part, own in zip(pairs, random.spawn(len(pairs)), strict=True):
            operator = choose(options.operator, part).learn(part, own)
            noise = None if options.noise is None else _noise(options, operator, part, own)
            fitted[part.name] = Fitted(operator, noise)
            bar.advance(1)
    return fitted


def _noise(
    options: Any, operator: Operator, pairs: Pairs, random: np.random.Generator
) -> ResidualNoise:
    residuals = operator.residuals(pairs, random)
    variances: Floats | None = None
    if options.noise_match == "moments":
        predicted: Floats = pairs.sources.Z + pairs.displacements - residuals
        if operator._predicts:
            predicted = _predict(operator, pairs, random)
        truth = (pairs.sources.Z + pairs.displacements).reshape(-1, residuals.shape[-1])
        predicted = predicted.reshape(-1, residuals.shape[-1])
        variances = np.maximum(
            truth.var(axis=0, dtype=np.float64) - predicted.var(axis=0, dtype=np.float64), 0
        )
    return ResidualNoise.of(
        options.noise, residuals, rank=options.noise_rank, variances=variances,
        keys=pairs.sources.Z, neighbors=options.noise_neighbors,
    )  # fmt: skip


def _predict(operator: Operator, pairs: Pairs, random: np.random.Generator) -> Floats:
    """Predicted augmented embeddings, shape (m, d), or (views, m, d) where strengths differ."""
    Z = pairs.sources.Z
    if pairs.params is None:
        return operator.transform(Z, random_state=random)
    views = [operator.transform(Z, params=phi, random_state=random) for phi in pairs.params]
    return np.stack(views)


def held_out_report(
    options: Any,
    pairs: Sequence[Pairs],
    fitted: Mapping[str, Fitted],
    random: np.random.Generator,
) -> dict[str, OperatorReport]:
    """Measure the operators.

    Parameters
    ----------
    options : EmbeddingAugmenter
    pairs : sequence of Pairs
    fitted : mapping of str to Fitted
        Fitted to all pairs.
    random : numpy.random.Generator

    Returns
    -------
    dict of str to OperatorReport
    """
    n = pairs[0].n
    aside = round(options.holdout * n)
    if min(aside, n - aside) < _FEWEST_HELD_OUT:
        return _left_out_report(pairs, fitted, random)
    order = random.permutation(n)
    held, used = np.sort(order[:aside]), np.sort(order[aside:])
    Z = pairs[0].sources.Z
    training, test = Sources(Z[used]), Sources(Z[held])
    report = {}
    for part, own in zip(pairs, random.spawn(len(pairs)), strict=True):
        # of the same form as the operator that stays, so that the report is about that
        operator = _refit(fitted[part.name].operator, part.take(used, training), own)
        others = part.take(held, test)
        predicted = _predict(operator, others, own)
        figures = describe(test.Z, test.Z + others.displacements, predicted)
        report[part.name] = _entry(figures, fitted[part.name], aside)
    return report


def _left_out_report(
    pairs: Sequence[Pairs], fitted: Mapping[str, Fitted], random: np.random.Generator
) -> dict[str, OperatorReport]:
    report = {}
    for part in pairs:
        Z, fit = part.sources.Z, fitted[part.name]
        truth: Floats = Z + part.displacements
        if fit.operator._predicts:
            predicted: Floats = truth - fit.operator.residuals(part, random)
        else:
            predicted = _predict(fit.operator, part, random)
        report[part.name] = _entry(describe(Z, truth, predicted), fit, part.n)
    return report


def _refit(operator: Operator, pairs: Pairs, random: np.random.Generator) -> Operator:
    from sklearn.base import clone

    return clone(operator).learn(pairs, random) if pairs.n >= operator._needs else operator


def _entry(figures: Mapping[str, float], fit: Fitted, n_pairs: int) -> OperatorReport:
    macs = fit.operator.macs + (0 if fit.noise is None else fit.noise.macs)
    entry = {
        **figures, "n_pairs": n_pairs, "operator": type(fit.operator).__name__, "macs": macs,
    }  # fmt: skip
    return cast(OperatorReport, entry)


def operator_report(
    augmenter: Any,
    Z: Any,
    views: Mapping[str, Any],
    *,
    predict: Callable[[Floats], Any] | None = None,
    random_state: Any = 0,
) -> dict[str, dict[str, Any]]:
    """Measure a fitted augmenter on other pairs, such as those of classes that it has not seen.

    Parameters
    ----------
    augmenter : EmbeddingAugmenter
    Z : array-like of shape (m, d)
    views : mapping of str to array-like
        As in :meth:`EmbeddingAugmenter.fit`; names that were fitted.
    predict : callable, optional
        Embeddings -> labels, such as ``head.predict``. Then ``agreement`` is the share of views
        for which it says the same of the predicted and of the true embedding, and
        ``agreement_identity`` that of the embedding without the operator.
    random_state : int, Generator or None, default 0
        For operators that draw.

    Returns
    -------
    dict of str to dict
        Entries of :class:`OperatorReport`, without noise, and the agreements.
    """
    random = generator(random_state)
    sources = Sources(augmenter._check(Z))
    report: dict[str, dict[str, Any]] = {}
    for name, view in views.items():
        pairs = Pairs.given(sources, str(name), view)
        fit = Fitted(augmenter.operators_[augmenter.names_[augmenter._index(name)]], None)
        truth: Floats = sources.Z + pairs.displacements
        predicted = np.broadcast_to(_predict(fit.operator, pairs, random), truth.shape)
        entry = dict(_entry(describe(sources.Z, truth, predicted), fit, pairs.n))
        if predict is not None:
            said = [np.asarray(predict(rows)) for rows in truth]
            ours = [np.asarray(predict(np.ascontiguousarray(rows))) for rows in predicted]
            before = np.asarray(predict(sources.Z))
            entry["agreement"] = float(np.mean([a == b for a, b in zip(said, ours, strict=True)]))
            entry["agreement_identity"] = float(np.mean([a == before for a in said]))
        report[str(name)] = entry
    return report


def to_held_out_size(
    pairs: Sequence[Pairs],
    fitted: Mapping[str, Fitted],
    report: Mapping[str, OperatorReport],
    random: np.random.Generator,
) -> dict[str, Fitted]:
    """Make noise that was learned from residuals of the fit itself as strong as on other pairs.

    Parameters
    ----------
    pairs : sequence of Pairs
    fitted : mapping of str to Fitted
    report : mapping of str to OperatorReport
    random : numpy.random.Generator

    Returns
    -------
    dict of str to Fitted
    """
    out = dict(fitted)
    for part in pairs:
        fit = fitted[part.name]
        if fit.noise is None or fit.operator._leaves_out:
            continue
        share = share_left(fit.operator.residuals(part, random), part)
        if share and report[part.name]["rho"] > share:
            factor = float(np.sqrt(report[part.name]["rho"] / share))
            out[part.name] = Fitted(fit.operator, fit.noise.times(factor))
    return out
