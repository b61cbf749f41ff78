"""Weight pruning: scheme x solver x objective x data. Needs PyTorch."""

from embcompress._optional import require

require("torch", extra="torch", feature="embcompress.pruning")

from embcompress.pruning import recipes  # noqa: E402
from embcompress.pruning.base import KINDS, Scheme  # noqa: E402
from embcompress.pruning.blocks import Block, BlockColumn, BlockRow  # noqa: E402
from embcompress.pruning.data import LabelledBatches, RandomInputs  # noqa: E402
from embcompress.pruning.finetune import finetune  # noqa: E402
from embcompress.pruning.found import SearchResult, TrainedBlock, TriedCandidate  # noqa: E402
from embcompress.pruning.kernels import SPM, Connectivity, KernelPattern  # noqa: E402
from embcompress.pruning.layers import WeightView, macs, prunable_weights  # noqa: E402
from embcompress.pruning.masks import Masks  # noqa: E402
from embcompress.pruning.objectives import (  # noqa: E402
    Distillation,
    LayerwiseReconstruction,
    Stage,
    TaskLoss,
)
from embcompress.pruning.overlapping import Both, RowColumn  # noqa: E402
from embcompress.pruning.patterns import (  # noqa: E402
    FIXED_PATTERNS,
    NATURAL_PATTERNS,
    distill_patterns,
    extract_library,
    natural_patterns,
)
from embcompress.pruning.powers import PowerOfTwoResult, power_of_two  # noqa: E402
from embcompress.pruning.propagate import propagate  # noqa: E402
from embcompress.pruning.quantize import (  # noqa: E402
    CodedWeight,
    QuantizedWeights,
    quantize_int8,
)
from embcompress.pruning.rates import auto_rates  # noqa: E402
from embcompress.pruning.result import PruneResult  # noqa: E402
from embcompress.pruning.schemes import (  # noqa: E402
    NM,
    Channel,
    Column,
    Filter,
    Row,
    Unstructured,
)
from embcompress.pruning.search import (  # noqa: E402
    composability_search,
    train_every_candidate,
)
from embcompress.pruning.solvers import (  # noqa: E402
    ADMM,
    GradualMagnitude,
    OneShot,
    PrimalProximal,
    Reweighted,
    Solver,
)

#: Schemes by the names that the command line uses.
SCHEMES: dict[str, type[Scheme]] = {
    "block": Block,
    "block-column": BlockColumn,
    "block-row": BlockRow,
    "channel": Channel,
    "column": Column,
    "connectivity": Connectivity,
    "filter": Filter,
    "kernel-pattern": KernelPattern,
    "nm": NM,
    "row": Row,
    "row-column": RowColumn,
    "spm": SPM,
    "unstructured": Unstructured,
}

#: Solvers by the names that the command line uses.
SOLVERS: dict[str, type[Solver]] = {
    "admm": ADMM,
    "gradual": GradualMagnitude,
    "one-shot": OneShot,
    "primal-proximal": PrimalProximal,
    "reweighted": Reweighted,
}

__all__ = [
    "ADMM",
    "FIXED_PATTERNS",
    "KINDS",
    "NATURAL_PATTERNS",
    "NM",
    "SCHEMES",
    "SOLVERS",
    "SPM",
    "Block",
    "BlockColumn",
    "BlockRow",
    "Both",
    "Channel",
    "CodedWeight",
    "Column",
    "Connectivity",
    "Distillation",
    "Filter",
    "GradualMagnitude",
    "KernelPattern",
    "LabelledBatches",
    "LayerwiseReconstruction",
    "Masks",
    "OneShot",
    "PowerOfTwoResult",
    "PrimalProximal",
    "PruneResult",
    "QuantizedWeights",
    "RandomInputs",
    "Reweighted",
    "Row",
    "RowColumn",
    "Scheme",
    "SearchResult",
    "Solver",
    "Stage",
    "TaskLoss",
    "TrainedBlock",
    "TriedCandidate",
    "Unstructured",
    "WeightView",
    "auto_rates",
    "composability_search",
    "distill_patterns",
    "extract_library",
    "finetune",
    "macs",
    "natural_patterns",
    "power_of_two",
    "propagate",
    "prunable_weights",
    "quantize_int8",
    "recipes",
    "train_every_candidate",
]
