"""Weight pruning: scheme x solver x objective x data. Needs PyTorch."""

from embcompress._optional import require

require("torch", extra="torch", feature="embcompress.pruning")

from embcompress.pruning.base import KINDS, Scheme  # noqa: E402
from embcompress.pruning.blocks import Block, BlockColumn, BlockRow  # noqa: E402
from embcompress.pruning.kernels import SPM, Connectivity, KernelPattern  # noqa: E402
from embcompress.pruning.overlapping import Both, RowColumn  # noqa: E402
from embcompress.pruning.patterns import (  # noqa: E402
    FIXED_PATTERNS,
    NATURAL_PATTERNS,
    distill_patterns,
    extract_library,
    natural_patterns,
)
from embcompress.pruning.schemes import (  # noqa: E402
    NM,
    Channel,
    Column,
    Filter,
    Row,
    Unstructured,
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

__all__ = [
    "FIXED_PATTERNS",
    "KINDS",
    "NATURAL_PATTERNS",
    "NM",
    "SCHEMES",
    "SPM",
    "Block",
    "BlockColumn",
    "BlockRow",
    "Both",
    "Channel",
    "Column",
    "Connectivity",
    "Filter",
    "KernelPattern",
    "Row",
    "RowColumn",
    "Scheme",
    "Unstructured",
    "distill_patterns",
    "extract_library",
    "natural_patterns",
]
