"""Isotropic iterative quantization: null the dominant directions, then rotate to signs."""

from __future__ import annotations

from numbers import Integral, Real
from operator import itemgetter
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval, Options, StrOptions

from embcompress.encoder import Encoder
from embcompress.progress import ProgressBar
from embcompress.quantizers import _arrays
from embcompress.quantizers._arrays import like, prepared_rows
from embcompress.quantizers._encoders import fit_encoder
from embcompress.quantizers._moments import Moments, principal_directions
from embcompress.quantizers._rows import Needs, Rows
from embcompress.quantizers._spectrum import choose_n_remove
from embcompress.quantizers._statistics import PartialFitMixin
from embcompress.quantizers.base import BinaryQuantizer
from embcompress.quantizers.itq import Rotation, best_rotation
from embcompress.row_lengths import unit_rows

__all__ = ["IIQ", "isotropy"]

Floats = npt.NDArray[np.floating]

# With so many features, the stronger half of the directions is enough: twice as many bits for each
# (two rotations, or sign and magnitude) keep more than one bit for all. Measured on two 300-d
# files; with fewer features the half is too few and loses.
_HALVED_FROM = 256
_FEWEST_ROWS, _ROWS_PER_DIRECTION = 20_000, 40
_ISOTROPY_ROWS = 5_000


class IIQ(PartialFitMixin, BinaryQuantizer):
    """Isotropic iterative quantization (Liao et al., AAAI 2020, arXiv:2001.05314).

    Scales rows to length 1, centres, nulls the few directions that dominate, and rotates the
    principal components that remain so that their signs lose least (as :class:`ITQ`). Nulling
    makes the vectors isotropic; orthogonal rotations keep them so. Only the abstract and
    summaries of the paper were available to us: details are our specification.

    Parameters
    ----------
    n_bits : int, optional
        Code length, any number; more bits than features are filled by more rotations. Default:
        the number of features.
    n_remove : int or "auto", default "auto"
        Dominant directions to null. ``"auto"`` looks at the spectrum alone: the variances of
        the 20 principal directions behind each of the first ``min(10, n_features // 30)`` are
        continued as a power law, and the last direction that exceeds its prediction by more
        than a quarter is nulled with all before it; none, if rows form clusters in these
        directions, for then they carry classes. It needs some 1,000 rows to be reliable, and
        gives 0 below 30 features. It finds 1 on the GloVe vectors we have with their whole
        vocabulary, and 0 on skip-gram vectors and on the heads of GloVe files.
    bits_per_direction : {1, 2} or "auto", default 1
        1: signs, for any index that counts differing bits. 2: half as many directions, each with
        sign and magnitude (-3, -1, 1, 3). That keeps more of the float quality at the same size
        (on our two 300-d files all of the similarity scores, and 11 to 13 more of 100 float
        neighbours than signs), but plain Hamming distances of such codes mean little: score
        them with :class:`~embcompress.CompressedVectors`, or by the dot product of
        :meth:`Encoder.values <embcompress.encoder.Encoder.values>`. ``"auto"``: 2 where there are
        at least 256 features, else 1.
    n_rotations : int, optional
        Independently started rotations that share the ``n_bits / bits_per_direction`` outputs,
        each over so many of the top directions as it has outputs. Default: as few as the number
        of features allows; with 256 features or more, so many that a rotation has about half of
        the directions (300 one-bit outputs of 300-d vectors: 2), which ranks word pairs better.
        With signs, ``n_rotations=1`` is the paper's form. It keeps more of the float
        neighbours on some files: measure with :func:`embcompress.quality.neighbour_recall`.
    normalize : bool, default True
        Scale rows to length 1 before centring.
    max_iter : int, default 50
        Most steps of each rotation.
    tol : float, default 1e-3
        Stop when a step lowers the loss by less than this share.
    n_init : int, default 1
        Random starts per rotation; the one with the lowest loss is kept.
    fit_samples : int, "auto" or None, default "auto"
        Rows, drawn at random, that the rotations are fitted on; mean and principal directions
        come from all rows. ``"auto"``: 40 for each direction of a rotation, at least 20,000.
        None: all rows.
    random_state : int, RandomState or None, default None
    verbose : bool, default False
        Show a progress bar.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        Mean of the prepared rows.
    components_ : ndarray of shape (n_components, n_features)
        Principal directions that are kept, after the nulled ones, strongest first.
    rotation_ : ndarray of shape (n_components, n_directions)
        All rotations side by side; n_directions is `n_bits` for signs, else half of it.
    n_removed_ : int
        Nulled directions.
    n_rotations_ : int
    bits_per_direction_ : int
    loss_ : float
        Loss of the signs at the end, mean over the rotations, from 0 (none) to 1; see
        :class:`~embcompress.quantizers.itq.Rotation`.
    loss_curve_ : list of list of float
        Loss of each rotation before each step and after the last.
    n_iter_ : int
        Steps of the longest rotation.
    isotropy_ : tuple of float
        Isotropy before and after, from 0 to 1 (see :func:`isotropy`), over the principal
        directions: of the rows as they came, and of the rows centred and nulled.
    encoder_ : Encoder
    n_bits_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress import IIQ
    >>> X = np.random.default_rng(0).normal(size=(500, 50)) + 1
    >>> quantizer = IIQ(n_bits=64, random_state=0).fit(X)
    >>> quantizer.transform(X).shape, quantizer.n_removed_
    ((500, 8), 0)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_bits": [Interval(Integral, 1, None, closed="left"), None],
        "n_remove": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "bits_per_direction": [Options(Integral, {1, 2}), StrOptions({"auto"})],
        "n_rotations": [Interval(Integral, 1, None, closed="left"), None],
        "normalize": ["boolean"],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "fit_samples": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"}), None],
        "random_state": ["random_state"],
        "verbose": ["boolean"],
    }

    def __init__(
        self,
        n_bits: int | None = None,
        *,
        n_remove: int | str = "auto",
        bits_per_direction: int | str = 1,
        n_rotations: int | None = None,
        normalize: bool = True,
        max_iter: int = 50,
        tol: float = 1e-3,
        n_init: int = 1,
        fit_samples: int | str | None = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.n_remove = n_remove
        self.bits_per_direction = bits_per_direction
        self.n_rotations = n_rotations
        self.normalize = normalize
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.fit_samples = fit_samples
        self.random_state = random_state
        self.verbose = verbose

    def _needs(self, n_features: int, n_bits: int) -> Needs:
        widths, _ = self._layout(n_features, n_bits)
        return Needs(self._rows_to_fit(max(widths)), normalize=self.normalize)

    def _layout(self, n_features: int, n_bits: int) -> tuple[list[int], int]:
        """Outputs of each rotation, and bits of each output."""
        per_direction = self._choose_bits_per_direction(n_features)
        return self._outputs_of_rotations(-(-n_bits // per_direction), n_features), per_direction

    def _learn(
        self, found: Moments, sample: Rows, n_bits: int, random: np.random.RandomState
    ) -> Encoder:
        n_features = sample.n_features
        widths, self.bits_per_direction_ = self._layout(n_features, n_bits)
        variances, directions = principal_directions(found.covariance)
        mean, normalize = found.mean, self.normalize
        prepared = sample.map(lambda block: prepared_rows(block, mean, normalize=normalize))
        scores = prepared.map(lambda block: block @ like(directions.T, block))
        removed = self._count_removed(variances, scores, random)
        kept = slice(removed, removed + min(max(widths), n_features - removed))

        self.mean_ = mean
        self.n_removed_ = removed
        self.n_rotations_ = len(widths)
        self.components_ = directions[kept].astype(sample.dtype)
        few = np.arange(0, sample.n, -(-sample.n // _ISOTROPY_ROWS))
        self.isotropy_ = (
            isotropy(sample.take(few), directions),
            isotropy(scores.take(few)[:, removed:], np.eye(n_features - removed)),
        )
        # every row counts alike, however much of it was nulled; its signs stay as they are
        P = scores.map(lambda block: _arrays.unit_rows(block[:, kept]))
        self._set_learned(self._rotate(P, widths, random))
        return fit_encoder(
            prepared,
            mean,
            self.components_.T @ self.rotation_,
            orthonormal=False,
            n_second=n_bits - sum(widths),
            normalize=normalize,
            scale=found.mean_length,
        )

    def _rows_to_fit(self, n_directions: int) -> int | None:
        if self.fit_samples == "auto":
            return max(_FEWEST_ROWS, _ROWS_PER_DIRECTION * n_directions)
        return None if self.fit_samples is None else int(self.fit_samples)

    def _count_removed(self, variances: Floats, scores: Rows, random: np.random.RandomState) -> int:
        if self.n_remove == "auto":
            return choose_n_remove(variances, scores, random)
        n_remove = int(self.n_remove)
        if n_remove >= len(variances):
            raise ValueError(
                f"IIQ(n_remove={n_remove}) leaves no direction of X with "
                f'n_features={len(variances)}; use a smaller number, or n_remove="auto"'
            )
        return n_remove

    def _choose_bits_per_direction(self, n_features: int) -> int:
        if self.bits_per_direction == "auto":
            return 2 if n_features >= _HALVED_FROM else 1
        return int(self.bits_per_direction)

    def _outputs_of_rotations(self, n_outputs: int, n_features: int) -> list[int]:
        """Split the outputs evenly over the rotations."""
        fewest = -(-n_outputs // n_features)
        n_rotations = self.n_rotations
        if n_rotations is None:
            over_half = round(2 * n_outputs / n_features) if n_features >= _HALVED_FROM else 0
            n_rotations = max(fewest, over_half)
        if not fewest <= n_rotations <= n_outputs:
            raise ValueError(
                f"IIQ(n_rotations={n_rotations}) does not fit n_bits={self.n_bits or n_features} "
                f"and {n_features} features; from {fewest} to {n_outputs} rotations are possible"
            )
        return [len(part) for part in np.array_split(np.arange(n_outputs), n_rotations)]

    def _rotate(self, P: Rows, widths: list[int], random: np.random.RandomState) -> list[Rotation]:
        steps = len(widths) * self.n_init * self.max_iter
        with ProgressBar("Rotating", steps, unit="steps", enabled=self.verbose) as bar:
            return [
                best_rotation(
                    P.map(itemgetter((slice(None), slice(width)))),
                    width, random, self.max_iter, self.tol, self.n_init, bar,
                )
                for width in widths
            ]  # fmt: skip

    def _set_learned(self, rotations: list[Rotation]) -> None:
        n_components = len(self.components_)
        self.rotation_ = np.concatenate(
            [_pad_rows(rotation.matrix, n_components) for rotation in rotations], axis=1
        )
        self.loss_curve_ = [rotation.losses for rotation in rotations]
        self.loss_ = float(np.mean([rotation.losses[-1] for rotation in rotations]))
        self.n_iter_ = max(rotation.n_iter for rotation in rotations)


def _pad_rows(matrix: Floats, n_rows: int) -> Floats:
    return np.pad(matrix, ((0, n_rows - len(matrix)), (0, 0)))


def isotropy(X: Floats, directions: Floats) -> float:
    """Evenness of the spread of vectors over directions, from 0 to 1 (1: isotropic).

    ``min Z(v) / max Z(v)`` with the partition function ``Z(v) = sum_i exp(v^T x_i)``, over the
    given unit directions and their opposites, on rows scaled to length 1 (Arora et al., TACL
    2016; Mu and Viswanath, ICLR 2018, eq. 7). Equal row lengths make values comparable: short
    rows alone would push it to 1.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    directions : ndarray of shape (m, d)
        Unit rows; usually the eigenvectors of ``X^T X``.

    Returns
    -------
    float
    """
    projections = unit_rows(X) @ directions.T.astype(X.dtype)
    partition = np.concatenate(
        [np.exp(sign * projections).sum(axis=0, dtype=np.float64) for sign in (1, -1)]
    )
    return float(partition.min() / partition.max())
