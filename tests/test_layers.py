"""Modules import downward only, and each heavy package is confined to a few modules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "embcompress"

# lowest first; a part may import its own layer and those before it
LAYERS = [
    {
        "_compiled",
        "_optional",
        "_version",
        "code_sums",
        "codes",
        "container",
        "labels",
        "norms",
        "progress",
        "sampling",
    },
    {"vocabulary", "encoder"},
    {"vectors", "index", "rescoring", "runtime", "text_means", "texts", "training"},
    {"bundle", "compressed", "formats", "lowering", "quantizers", "pruning"},
    {"quality", "evaluation", "heads", "augmentation"},
    {"cli", "report", "scale", "stores"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}

# calls that hand over to a part above, which they import inside: KeyedVectors.load and .save to the
# readers, quantizers to what learns from Dask collections
HAND_OVERS = {("vectors", "formats"), ("quantizers", "scale")}

# package -> parts that may import it
CONFINED = {
    "torch": {"training", "heads", "lowering", "pruning", "quantizers", "augmentation"},
    "numba": {"_compiled", "code_sums", "runtime", "formats"},
    "llvmlite": {"runtime", "formats"},
    "faiss": {"index", "rescoring", "evaluation"},
    "gensim": {"formats"},
    "dask": {"scale"},
    "distributed": {"scale"},
    "sklearn": {"quantizers", "heads", "augmentation", "evaluation", "scale"},
    "rich": {"progress", "cli", "report"},
    "typer": {"cli"},
    "safetensors": {"container"},
    "onnx": {"runtime"},
    "matplotlib": {"report"},
}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path: Path) -> list[str]:
    """Absolute names of all modules that a file imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.append(node.module or "")
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downward(path):
    part = part_of(path)
    if part in {"__init__", "__main__"}:
        return
    assert part in LEVEL, f"{part} has no layer: add it to LAYERS"
    for name in imports(path):
        pieces = name.split(".")
        if pieces[0] == "embcompress" and len(pieces) > 1 and pieces[1] in LEVEL:
            other = pieces[1]
            if (part, other) in HAND_OVERS:
                continue
            assert LEVEL[other] <= LEVEL[part], f"{part} imports {other}, which is above it"
    assert not ({"pruning", "runtime"} <= {part, *map(lambda n: n.split(".")[-1], imports(path))})


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_packages_stay_where_they_belong(path):
    part = part_of(path)
    for name in imports(path):
        package = name.split(".")[0]
        if package in CONFINED:
            assert part in CONFINED[package], f"{part} imports {package}"


def test_only_the_network_operator_needs_torch():
    folder = ROOT / "augmentation"
    users = [
        path.name
        for path in folder.glob("*.py")
        if {"torch", "embcompress.training"} & {*imports(path)}
    ]
    assert users == ["mlp.py"]


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_are_small(path):
    assert len(path.read_text("utf-8").splitlines()) <= 450
