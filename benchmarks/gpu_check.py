"""Fit and encode on a GPU and on the processor: the same codes, and how long each takes.

Needs PyTorch with CUDA, and the package; prints one line of JSON, and writes rows to --csv, for
benchmarks/results/scale_gpu.csv. Times are wall seconds, the best of three, with the rows already
where they are worked on.

Run: ``python benchmarks/gpu_check.py --rows 1000000 --csv scale_gpu.csv``
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# SciPy looks at it when it is first imported
os.environ["SCIPY_ARRAY_API"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

N_FEATURES = 300
ROUNDS = 3


def make_rows(n: int) -> np.ndarray:
    """Gaussian rows with a falling spectrum and a mean."""
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((n, N_FEATURES), dtype=np.float32)
    rows *= np.arange(1, N_FEATURES + 1, dtype=np.float32) ** np.float32(-0.4)
    rows += np.float32(0.2)
    return rows


def best_seconds(call: Callable[[], Any], wait: Callable[[], None]) -> float:
    """Wall seconds of the fastest of a few calls."""
    seconds = []
    for _ in range(ROUNDS):
        wait()
        started = time.perf_counter()
        call()
        wait()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def measure(name: str, quantizer: Any, rows: np.ndarray, device: str) -> dict[str, Any]:
    """Compare codes of one quantizer, and time it on both."""
    import torch
    from sklearn.base import clone

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    tensor = torch.asarray(rows, device=device)
    here, there = clone(quantizer).fit(rows), clone(quantizer).fit(tensor)
    codes = here.transform(rows)
    moved = here.transform(tensor).cpu().numpy()
    refitted = there.transform(tensor).cpu().numpy()
    n_bits = codes.shape[0] * here.n_bits_
    row = {
        "quantizer": name,
        "rows": len(rows),
        "differing_bits_same_fit": int(np.bitwise_count(codes ^ moved).sum()),
        "share_differing_own_fit": float(np.bitwise_count(codes ^ refitted).sum() / n_bits),
        "loss_difference": float(abs(getattr(here, "loss_", 0) - getattr(there, "loss_", 0))),
        f"fit_{device}_s": best_seconds(lambda: clone(quantizer).fit(tensor), wait),
        f"encode_{device}_s": best_seconds(lambda: here.transform(tensor), wait),
        "fit_numpy_s": best_seconds(lambda: clone(quantizer).fit(rows), wait),
        "encode_numpy_s": best_seconds(lambda: here.transform(rows), wait),
    }
    # a score of almost 0 may be rounded to the other side, and no other
    if row["differing_bits_same_fit"] > 1e-6 * n_bits:
        raise SystemExit(f"{name}: {row['differing_bits_same_fit']} of {n_bits} bits differ")
    return {key: round(v, 9) if isinstance(v, float) else v for key, v in row.items()}


def main() -> None:
    """Measure all quantizers and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--csv", type=Path, help="where to write the rows")
    options = parser.parse_args()
    import sklearn
    import torch

    from embcompress import IIQ, ITQ, LSH, PCASign, Sign

    rows = make_rows(options.rows)
    quantizers = {
        "IIQ": IIQ(random_state=0),
        "IIQ, 2 bits": IIQ(bits_per_direction=2, random_state=0),
        "ITQ": ITQ(random_state=0),
        "LSH": LSH(random_state=0),
        "PCASign": PCASign(),
        "Sign": Sign(threshold="mean"),
    }
    with sklearn.config_context(array_api_dispatch=True):
        found = [measure(name, each, rows, options.device) for name, each in quantizers.items()]
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    versions = {"torch": torch.__version__, "sklearn": sklearn.__version__}
    print(json.dumps({"device": device, "threads": os.cpu_count(), **versions, "rows": found}))
    if options.csv:
        write(options.csv, found, f"{os.cpu_count()} cores, {device}", versions)


def write(path: Path, rows: list[dict[str, Any]], device: str, versions: dict[str, str]) -> None:
    """Write the rows with what they were measured on."""
    machine = {
        "cpu": device,
        "numpy": np.__version__,
        **versions,
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], *machine], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, **machine} for row in rows)


if __name__ == "__main__":
    main()
