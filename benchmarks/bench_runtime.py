"""Compiled pruned layers against the dense and sparse products of other libraries.

Run: ``python benchmarks/bench_runtime.py [--only linear]``. One thread, processor time, medians of
interleaved rounds; outputs are compared before anything is timed. Writes
results/runtime_<part>.csv; the parts "resnet" and "digits" need EMBCOMPRESS_DATA.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _rows import write_rows
from _timing import interleaved

from embcompress import runtime, simd
from embcompress._compiled import compiled
from embcompress.runtime.arena import aligned

SHAPES = ((1024, 1024), (512, 1280), (4096, 1024))
BATCHES = (1, 8, 64)
SPARSITIES = (0.5, 0.75, 0.9, 0.95)
IN_A_ROW = 4  # convolutions
Row = dict[str, Any]


def block_weight(
    shape: tuple[int, int], sparsity: float, height: int, width: int, seed: int = 0
) -> np.ndarray:
    """Random weight whose zeros are blocks, the same number in every strip of `height` rows."""
    rng = np.random.default_rng(seed)
    rows, columns = shape[0] // height, shape[1] // width
    order = rng.random((rows, columns)).argsort(axis=1)
    kept = np.kron(order < round(columns * (1 - sparsity)), np.ones((height, width), bool))
    return np.where(kept, rng.normal(size=shape), 0).astype(np.float32)


def check(name: str, found: Any, expected: np.ndarray, tolerance: float) -> None:
    """Stop if a contender computes something else."""
    error = np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()
    if not error < tolerance:
        raise SystemExit(f"{name} is off by {error:.2g}")


@compiled()
def read(x: Any, n: int) -> float:
    """Read `n` numbers, a multiple of 128, and do next to nothing with them."""
    most = simd.zeros(8)
    for i in range(0, n, 128):
        most = simd.largest_tile(most, x, i)
    # all eight, or the compiler would leave reads out
    return simd.largest(simd.item(simd.sum_tile(most), 0))


@compiled()
def multiply_add(x: Any, n: int) -> float:
    """`n` times 16 multiply-adds of 16 numbers, from 16 numbers that stay in the nearest cache."""
    tile, one = simd.zeros(16), simd.splat(1.0)
    for _ in range(n):
        tile = simd.fma_tile(tile, one, x, 0, 1)
    return simd.largest(simd.item(simd.sum_tile(tile), 0))


def linear_rows() -> list[Row]:
    """Matrices with zeros in blocks of 16 x 1 (float32) and 16 x 4 (int8)."""
    rows = []
    for shape in SHAPES:
        for batch in BATCHES:
            x = np.random.default_rng(1).normal(size=(batch, shape[1])).astype(np.float32)
            for sparsity in SPARSITIES:
                rows += linear_case(shape, batch, sparsity, x)
    return rows


def linear_case(shape: tuple[int, int], batch: int, sparsity: float, x: np.ndarray) -> list[Row]:
    """One shape, batch and sparsity; a row for each contender."""
    import _runtime_peers as peers

    weight, coarse = block_weight(shape, sparsity, 16, 1), block_weight(shape, sparsity, 16, 4)
    ours = runtime.compile(runtime.Linear(weight), batch_size=batch)
    ours8 = runtime.compile(runtime.Linear(coarse), precision="int8", batch_size=batch)
    calls = {
        **peers.dense_float32(weight, x),
        **peers.dense_int8(coarse, x),
        **peers.sparse_float32(weight, x),
        "ours float32": lambda: ours(x),
        "ours int8": lambda: ours8(x),
    }
    for name, call in calls.items():
        is_int8 = "int8" in name
        found = np.asarray(call())
        found = found.T if name == "SciPy CSR" else found
        check(name, found, x @ (coarse if is_int8 else weight).T, 0.05 if is_int8 else 1e-4)
    times = interleaved(calls)
    return with_ratios("linear", "x".join(map(str, shape)), batch, sparsity, times)


def with_ratios(
    question: str, shape: str, batch: int, sparsity: float, times: dict[str, float]
) -> list[Row]:
    """Rows with the time of each contender, and how the best dense one stands to it."""

    def best(int8: bool) -> float:
        dense = [
            time for name, time in times.items()
            if not name.startswith("ours") and "CSR" not in name and ("int8" in name) == int8
        ]  # fmt: skip
        return min(dense, default=float("nan"))

    best32, best8 = best(False), best(True)
    rows = []
    for name, time in times.items():
        rows.append(
            {
                "question": question, "shape": shape, "batch": batch, "sparsity": sparsity,
                "name": name, "us": round(time, 2),
                "best_dense_float32": round(best32 / time, 2),
                "best_dense_int8": round(best8 / time, 2) if best8 == best8 else "",
            }
        )  # fmt: skip
    ours = {row["name"]: row for row in rows if row["name"].startswith("ours")}
    print(
        f"{question} {shape} batch {batch} sparsity {sparsity}: best dense {best32:.1f} us"
        + "".join(
            f", {name} {row['us']} us = {row['best_dense_float32']}x"
            + (f" ({row['best_dense_int8']}x of int8)" if row["best_dense_int8"] else "")
            for name, row in ours.items()
        ),
        flush=True,
    )
    return rows


def gru_rows() -> list[Row]:
    """A GRU cell of 1024 units on 1024 inputs."""
    import torch
    from _runtime_peers import single_thread

    single_thread()

    rows = []
    size = 1024
    for batch in BATCHES:
        rng = np.random.default_rng(1)
        x, h = (rng.normal(size=(batch, size)).astype(np.float32) for _ in range(2))
        for sparsity in SPARSITIES:
            fine = [block_weight((3 * size, size), sparsity, 16, 1, s) / 16 for s in (0, 1)]
            coarse = [block_weight((3 * size, size), sparsity, 16, 4, s) / 16 for s in (0, 1)]
            ours = runtime.compile(runtime.GRUCell(*fine), batch_size=batch)
            ours8 = runtime.compile(runtime.GRUCell(*coarse), precision="int8", batch_size=batch)
            cell, cell8 = torch.nn.GRUCell(size, size), torch.nn.GRUCell(size, size)
            for bias in (cell.bias_ih, cell.bias_hh, cell8.bias_ih, cell8.bias_hh):
                bias.zero_()
            cell.weight_ih.copy_(torch.from_numpy(fine[0]))
            cell.weight_hh.copy_(torch.from_numpy(fine[1]))
            cell8.weight_ih.copy_(torch.from_numpy(coarse[0]))
            cell8.weight_hh.copy_(torch.from_numpy(coarse[1]))
            tx, th = torch.from_numpy(x), torch.from_numpy(h)
            quantized = torch.ao.quantization.quantize_dynamic(
                torch.nn.Sequential(cell8), {torch.nn.GRUCell}
            )[0]
            check("ours float32", ours(x, h), cell(tx, th).numpy(), 1e-4)
            check("ours int8", ours8(x, h), cell8(tx, th).numpy(), 0.05)
            times = interleaved(
                {
                    "torch GRUCell": lambda: cell(tx, th),  # noqa: B023
                    "torch GRUCell int8": lambda: quantized(tx, th),  # noqa: B023
                    "ours float32": lambda: ours(x, h),  # noqa: B023
                    "ours int8": lambda: ours8(x, h),  # noqa: B023
                }
            )
            rows += with_ratios("GRU cell", "1024", batch, sparsity, times)
    return rows


def limit_rows() -> list[Row]:
    """How near the float32 kernel comes to what the machine can do.

    Reading the bytes that the layer keeps, and its multiply-adds, each alone, in the same run.
    """
    rows = []
    for shape in SHAPES:
        for batch in BATCHES:
            x = np.random.default_rng(1).normal(size=(batch, shape[1])).astype(np.float32)
            for sparsity in (0.75, 0.9):
                weight = block_weight(shape, sparsity, 16, 1)
                program = runtime.compile(runtime.Linear(weight), batch_size=batch)
                kept = int((weight != 0).sum())
                # weights, and four bytes of index for each sixteen of them
                n = (kept + kept // 16) // 128 * 128
                numbers = aligned(n, np.float32)
                steps = kept * batch // 256
                times = interleaved(
                    {
                        "ours": lambda: program(x),  # noqa: B023
                        "read": lambda: read(numbers, n),  # noqa: B023
                        "multiply": lambda: multiply_add(numbers, steps),  # noqa: B023
                    }
                )
                needed = max(times["read"], times["multiply"])
                rows.append(
                    {
                        "question": "limit", "shape": "x".join(map(str, shape)), "batch": batch,
                        "sparsity": sparsity, "name": "ours float32",
                        "us": round(times["ours"], 2), "limit_us": round(needed, 2),
                        "share": round(needed / times["ours"], 3),
                        "read_us": round(times["read"], 2),
                        "multiply_us": round(times["multiply"], 2),
                    }
                )  # fmt: skip
                print(rows[-1])
    return rows


def conv_rows() -> list[Row]:
    """3x3 convolutions with patterns of 4 of 9, all kernels or 28 % of them, for one map.

    Four in a row, as in a network, so that bringing the map in and out counts as it does there;
    times are of one of them.
    """
    import _runtime_peers as peers

    rows = []
    for channels, side in ((64, 56), (256, 14)):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(1, channels, side, side)).astype(np.float32)
        weight = (rng.normal(size=(channels, channels, 3, 3)) / (3 * channels**0.5)).astype("f4")
        dense = peers.dense_convolutions(weight, x, IN_A_ROW)
        for kept in (1.0, 0.4444, 0.28):
            calls = {**dense, "ours, dense": in_a_row(weight, x, dense["torch conv2d"]())}
            for label, height in (("own patterns", 1), ("patterns of 16 filters", 16)):
                mask = pattern_mask(channels, kept, height, rng)
                pruned = np.where(mask, weight, np.float32(0))
                expected = peers.dense_convolutions(pruned, x, IN_A_ROW)["torch conv2d"]()
                calls[f"ours, {label}"] = in_a_row(pruned, x, expected)
            for name, call in dense.items():
                check(name, call(), dense["torch conv2d"]().numpy(), 1e-4)
            times = interleaved(calls, rounds=21)
            times = {name: time / IN_A_ROW for name, time in times.items()}
            shape, sparsity = f"{channels}x{side}x{side}", round(1 - kept * 4 / 9, 3)
            rows += with_ratios("3x3 convolution", shape, 1, sparsity, times)
    return rows


def in_a_row(weight: np.ndarray, x: np.ndarray, expected: Any) -> Callable[[], Any]:
    """Our convolutions in a row, checked."""
    records = [runtime.Conv2d(weight, padding=1)] * IN_A_ROW
    program = runtime.compile(records, input_shape=x.shape[1:])
    check("ours", program(x), np.asarray(expected), 1e-4)
    return lambda: program(x)


def pattern_mask(channels: int, kept: float, height: int, rng: np.random.Generator) -> np.ndarray:
    """One of eight patterns for each kept kernel; `height` filters share them."""
    from embcompress.pruning.patterns import FIXED_PATTERNS, pattern_bits

    bits = pattern_bits(FIXED_PATTERNS).numpy().reshape(-1, 3, 3)
    shape = channels // height, channels
    order = rng.random(shape).argsort(axis=1) < round(kept * channels)
    mask = bits[rng.integers(8, size=shape)] & order[..., None, None]
    return np.repeat(mask, height, axis=0)


def resnet_rows() -> list[Row]:
    """ResNet-20 on images of 32 x 32, as published and with patterns and connectivity."""
    import torch
    from _data import data_folder
    from _pruning_models import published_resnet20
    from _runtime_peers import single_thread

    from embcompress.pruning import Connectivity, KernelPattern, OneShot

    dense = published_resnet20(data_folder() / "cnn" / "resnet20-12fca82f.th").eval()
    dense.short = False  # float32 against float32
    single_thread()
    rows = []
    images = np.random.default_rng(0).random((8, 3, 32, 32)).astype(np.float32)
    for rate, kernels in ((1.0, None), (2.25, 0.0), (5.0, 0.55), (8.0, 0.72)):
        model = dense
        if kernels is not None:
            layer = KernelPattern() if kernels == 0 else Connectivity(kernels) & KernelPattern()
            scheme = {"conv1": KernelPattern(), "layer*": layer}
            model = OneShot().solve(dense, scheme).model.eval()
        program = runtime.compile(model, input_shape=(3, 32, 32))
        frozen = torch.jit.optimize_for_inference(
            torch.jit.trace(model, torch.from_numpy(images[:1]))
        )
        for batch in (1, 8):
            x = images[:batch]
            tensor = torch.from_numpy(x)
            last = copy.deepcopy(model).to(memory_format=torch.channels_last)
            calls = {
                "torch": lambda: model(tensor),  # noqa: B023
                "torch, channels last": lambda: last(tensor),  # noqa: B023
                "ours": lambda: program(x),  # noqa: B023
            }
            if batch == 1:
                calls["torch, frozen"] = lambda: frozen(tensor)  # noqa: B023
            for name, call in calls.items():
                check(name, call(), model(tensor).numpy(), 1e-3)
            times = interleaved(calls, rounds=11)
            rows += with_ratios("ResNet-20", "3x32x32", batch, round(1 - 1 / rate, 3), times)
    return rows


def digits_rows() -> list[Row]:
    """The recurrent head on spoken digits, pruned by the recipe of RTMobile."""
    import torch
    from _pruning_data import spoken_digits
    from _runtime_peers import single_thread

    from embcompress.heads import GRUHead

    split = spoken_digits()
    head = GRUHead(
        hidden_size=128, max_epochs=6, batch_size=128, learning_rate=4e-3, random_state=0
    ).fit(split.X_train, split.y_train)
    single_thread()
    rows = []
    for rate in (1.0, 10.0, 29.0):
        pruned = head
        if rate > 1:
            with torch.enable_grad():
                pruned = head.prune(
                    "rtmobile", split.X_train, split.y_train, rate=rate, column_rate=2.0,
                    epochs=4, retrain_epochs=4,
                )  # fmt: skip
        for precision in ("float32", "int8"):
            program = runtime.compile(pruned, precision=precision)
            agree = (program.predict(split.X_test) == pruned.predict(split.X_test)).mean()
            print(f"{rate:g}x {precision}: {agree:.3f} of the predictions agree")
            for batch in (1, 16):
                x = np.ascontiguousarray(split.X_test[:batch], np.float32)
                expected = pruned._logits(x)
                check("ours", program(x), expected, 0.2 if precision == "int8" else 1e-3)
                inputs = pruned.inputs(x)
                module = pruned.module_
                times = interleaved(
                    {
                        "torch GRU": lambda: module(inputs),  # noqa: B023
                        f"ours {precision}": lambda: program(x),  # noqa: B023
                    },
                    rounds=11,
                )
                sparsity = round(1 - 1 / rate, 3)
                rows += with_ratios(f"spoken digits, {precision}", "2x128", batch, sparsity, times)
    return rows


def start_rows() -> list[Row]:
    """Processor seconds of a process of its own: to compile a head, and to load and predict."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "head.safetensors")
        code = START.format(path=str(path))
        for _ in range(2):  # the first run may compile the kernels
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        found = json.loads(done.stdout)
        rows = [
            {"question": "start", "name": name, "seconds": round(seconds, 3)}
            for name, seconds in found.items()
        ]
    print(rows)
    return rows


START = """
import json, time
import numpy as np
from embcompress import runtime
rng = np.random.default_rng(0)
def weight(n_out, n_in):
    kept = np.repeat(rng.random((n_out // 16, n_in)) < 0.1, 16, axis=0)
    return np.where(kept, rng.normal(size=(n_out, n_in)), 0).astype(np.float32)
records = [runtime.Linear(weight(1024, 1280), activation="relu"), runtime.Linear(weight(32, 1024))]
begin = time.process_time()
program = runtime.compile(records, precision="int8")
compiled = time.process_time()
program.save({path!r})
saved = time.process_time()
runtime.load({path!r})(np.ones((1, 1280), np.float32))
first = time.process_time()
runtime.load({path!r})(np.ones((1, 1280), np.float32))
print(json.dumps({{
    "compile a head of 1280, 1024 and 32": compiled - begin, "save it": saved - compiled,
    "load and first prediction": first - saved,
    "again in the same process": time.process_time() - first,
}}))
"""

PARTS = {
    "limit": limit_rows,
    "linear": linear_rows,
    "gru": gru_rows,
    "conv": conv_rows,
    "resnet": resnet_rows,
    "digits": digits_rows,
    "start": start_rows,
}


def main() -> None:
    """Run what was asked for; rows of the other parts stay."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=list(PARTS), help="one part")
    options = parser.parse_args()
    for name in options.only or PARTS:
        print(write_rows(f"runtime_{name}", PARTS[name]()))


if __name__ == "__main__":
    main()
