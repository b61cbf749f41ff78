"""Published pruning systems as one call each; each is a scheme, a solver, an objective and data.

Every recipe is ``recipe(model, X, y, *, rate=..., **options)``, takes a torch module that gives
logits or a fitted head, and returns a :class:`~embcompress.pruning.PruneResult` whose model is
pruned and retrained.
"""

from __future__ import annotations

from collections.abc import Callable

from embcompress.pruning.recipes.kernels import cocopie, pattern_connectivity, pcnn
from embcompress.pruning.recipes.matrices import rtmobile, ss_auto
from embcompress.pruning.recipes.private import privacy_preserving
from embcompress.pruning.recipes.reweighting import blk_rew, reweighted_unified
from embcompress.pruning.recipes.training import Training
from embcompress.pruning.result import PruneResult

__all__ = [
    "RECIPES",
    "Training",
    "blk_rew",
    "cocopie",
    "pattern_connectivity",
    "pcnn",
    "privacy_preserving",
    "reweighted_unified",
    "rtmobile",
    "ss_auto",
]

#: Recipes by the names that the command line uses.
RECIPES: dict[str, Callable[..., PruneResult]] = {
    "blk-rew": blk_rew,
    "cocopie": cocopie,
    "pattern-connectivity": pattern_connectivity,
    "pcnn": pcnn,
    "privacy-preserving": privacy_preserving,
    "reweighted-unified": reweighted_unified,
    "rtmobile": rtmobile,
    "ss-auto": ss_auto,
}
