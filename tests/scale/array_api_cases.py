"""Run in a process of its own: SciPy looks at SCIPY_ARRAY_API when it is first imported."""

from __future__ import annotations

import json
import sys

import numpy as np
import sklearn
import torch
from sklearn.base import clone

from embcompress import IIQ, ITQ, LSH, NLB, PCASign, Sign
from embcompress.codes import unpack_bits

QUANTIZERS = [
    IIQ(random_state=0),
    IIQ(n_bits=21, normalize=False, n_remove=1, random_state=0),
    IIQ(bits_per_direction=2, random_state=0),
    ITQ(n_bits=13, random_state=0),
    LSH(n_bits=50, random_state=0),
    PCASign(n_bits=9),
    Sign(),
    Sign(threshold="mean"),
    Sign(threshold="median"),
]


def compare(quantizer: object, rows: np.ndarray, device: str) -> dict[str, object]:
    """Fit and encode as arrays and as tensors."""
    expected = clone(quantizer).fit(rows)
    tensor = torch.asarray(rows, device=device)
    codes = expected.transform(tensor)
    found = clone(quantizer).fit(tensor)
    refitted = found.transform(tensor)
    parts = clone(quantizer)
    if hasattr(parts, "partial_fit"):
        parts.partial_fit(tensor[:900]).partial_fit(tensor[900:])
    else:
        parts.fit(tensor)
    learned = [value for name, value in vars(found).items() if isinstance(value, torch.Tensor)]
    scores = found.project(tensor)
    first = unpack_bits(refitted.cpu().numpy(), found.n_bits_)[:, : scores.shape[1]]
    return {
        "name": repr(quantizer),
        "same codes": bool((codes.cpu().numpy() == expected.transform(rows)).all()),
        "types": [str(codes.dtype), str(refitted.dtype), str(scores.dtype)],
        "devices": sorted({x.device.type for x in (codes, refitted, scores, *learned)}),
        "same after a fit": float((refitted == codes).all(dim=1).double().mean()),
        "same in parts": float((parts.transform(tensor) == codes).all(dim=1).double().mean()),
        "bits are signs": bool((first == (scores.cpu().numpy() >= 0)).all()),
        "decoded": float(
            np.abs(
                found.inverse_transform(refitted).cpu().numpy()
                - found.inverse_transform(refitted.cpu().numpy())
            ).max()
        ),
        "numpy after a fit": bool((found.transform(rows) == refitted.cpu().numpy()).all()),
    }


def main(device: str) -> None:
    """Print what was found, as JSON."""
    rng = np.random.default_rng(0)
    spectrum = 1 / np.sqrt(np.arange(1, 25))
    rows = rng.normal(size=(1500, 24)) * spectrum + 0.5
    rows[7] = 0  # has no direction
    with sklearn.config_context(array_api_dispatch=True):
        found = [
            compare(quantizer, rows.astype(dtype), device)
            for quantizer in QUANTIZERS
            for dtype in (np.float32, np.float64)
        ]
        bad = torch.tensor(rows, device=device)
        bad[3, 3] = float("nan")
        try:
            IIQ().fit(bad)
        except ValueError as error:
            message = str(error)
        trained = NLB(n_epochs=1, random_state=0).fit(torch.asarray(rows, device="cpu"))
    print(json.dumps({"cases": found, "error": message, "nlb": trained.n_bits_}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
