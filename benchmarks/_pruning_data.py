"""Real data to prune heads on: mean word vectors, spoken digits, small photographs.

What takes long to make lies in ``cache/pruning`` after the first run.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, replace

import numpy as np
from _data import Array, cached, data_folder

VECTORS = "enwiki_sgns300_50k.npz"
# spoken digits: frames of 32 ms every 24 ms at 8 kHz
FRAME, HOP, N_MELS, N_CEPSTRA = 256, 192, 26, 13


@dataclass(frozen=True, eq=False)
class Split:
    """Training and test part of a data set.

    Attributes
    ----------
    name : str
    X_train, y_train, X_test, y_test : ndarray
        Sequences that differ in length are padded with NaN.
    """

    name: str
    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array

    def validation(self, fraction: float = 0.2) -> Split:
        """Hold out a part of the training rows in place of the test part: to choose settings."""
        order = np.random.default_rng(0).permutation(len(self.X_train))
        n = round(fraction * len(order))
        held, rest = np.sort(order[:n]), np.sort(order[n:])
        X, y = self.X_train, self.y_train
        return replace(self, X_train=X[rest], y_train=y[rest], X_test=X[held], y_test=y[held])


def text_means(name: str) -> Split:
    """Mean word vectors of the texts of IMDB or TREC, with their official test part."""

    def make() -> dict[str, Array]:
        from embcompress import load_vectors
        from embcompress.evaluation.classification import count_words, text_vectors
        from embcompress.evaluation.datasets import load_dataset

        vectors = load_vectors(data_folder() / "embeddings" / VECTORS)
        data = load_dataset(name, quiet=True)
        X = text_vectors(count_words(data, vectors.index_to_key), vectors.vectors)
        return {"X": X, "y": data.labels, "is_test": data.is_test}

    arrays = cached("pruning", f"means-{name}", make)
    X, y, test = arrays["X"], arrays["y"], arrays["is_test"]
    return Split(name, X[~test], y[~test], X[test], y[test])


def spoken_digits() -> Split:
    """Thirteen cepstra with their first and second differences; recordings 0 to 4 are the test."""

    def make() -> dict[str, Array]:
        with np.load(data_folder() / "audio" / "fsdd.npz") as file:
            parts = np.split(file["audio"], np.cumsum(file["length"])[:-1])
            digit, index = file["digit"].astype(np.int64), file["index"]
        features = [mfcc(part / 32768.0) for part in parts]
        X = np.full((len(features), max(map(len, features)), 39), np.nan, np.float32)
        for row, frames in zip(X, features, strict=True):
            row[: len(frames)] = frames
        return {"X": X, "y": digit, "is_test": index < 5}

    arrays = cached("pruning", "digits", make)
    X, y, test = arrays["X"], arrays["y"], arrays["is_test"]
    return Split("fsdd", X[~test], y[~test], X[test], y[test])


def mfcc(signal: Array, rate: int = 8000) -> Array:
    """Mel cepstra and their differences.

    Parameters
    ----------
    signal : ndarray of shape (n,)
        Between -1 and 1.
    rate : int
        Samples per second.

    Returns
    -------
    ndarray of float32, shape (frames, 39)
        The cepstra are centred over the recording, which takes the microphone away.
    """
    from scipy.fft import dct

    signal = np.append(signal[0], signal[1:] - 0.97 * signal[:-1])
    n = max(1, 1 + (len(signal) - FRAME) // HOP)
    signal = np.pad(signal, (0, max(0, FRAME - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(signal, FRAME)[::HOP][:n]
    power = np.abs(np.fft.rfft(frames * np.hamming(FRAME), axis=1)) ** 2
    cepstra = dct(np.log(power @ mel_filters(rate).T + 1e-8), norm="ortho")[:, :N_CEPSTRA]
    cepstra -= cepstra.mean(axis=0)
    first = differences(cepstra)
    return np.concatenate([cepstra, first, differences(first)], axis=1).astype(np.float32)


def mel_filters(rate: int) -> Array:
    """Triangles on the mel scale, shape (N_MELS, FRAME // 2 + 1)."""

    def mel(hertz: Array) -> Array:
        return 2595 * np.log10(1 + hertz / 700)

    corners = np.linspace(mel(np.array(60.0)), mel(np.array(rate / 2)), N_MELS + 2)
    bins = mel(np.fft.rfftfreq(FRAME, 1 / rate))
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.clip(np.minimum(rising, falling), 0, None)


def differences(frames: Array) -> Array:
    """Slope over five frames, ends repeated."""
    padded = np.pad(frames, ((2, 2), (0, 0)), mode="edge")
    n = len(frames)
    return sum(k * (padded[2 + k : 2 + k + n] - padded[2 - k : 2 - k + n]) for k in (1, 2)) / 10


def photographs() -> Split:
    """CIFAR-10 as JPEG, decoded: uint8 of shape (n, 3, 32, 32)."""

    def make() -> dict[str, Array]:
        from PIL import Image

        found = []
        with tarfile.open(data_folder() / "images" / "cifar10_jpeg.tar.xz") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".jpg"):
                    data = archive.extractfile(member).read()
                    image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
                    found.append((*member.name.split("/")[-3:-1], image.transpose(2, 0, 1)))
        names = sorted({name for _, name, _ in found})
        return {
            "X": np.stack([image for *_, image in found]),
            "y": np.array([names.index(name) for _, name, _ in found]),
            "is_test": np.array([part == "test" for part, *_ in found]),
        }

    arrays = cached("pruning", "cifar10", make)
    X, y, test = arrays["X"], arrays["y"], arrays["is_test"]
    return Split("cifar10_jpeg", X[~test], y[~test], X[test], y[test])
