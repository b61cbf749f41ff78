"""Heads on rows: the scikit-learn contract, and what training promises."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

torch = pytest.importorskip("torch")

from embcompress.codes import pack_bits, unpack_signs  # noqa: E402
from embcompress.heads import LinearHead, MLPHead  # noqa: E402
from embcompress.training import NonFiniteLossError  # noqa: E402

HEADS = [LinearHead(max_epochs=30), MLPHead((32,), max_epochs=20)]
REASON = "steps take rows in random batches, so a row of weight 2 is not a row that comes twice"


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(
        600, 20, n_informative=8, n_classes=3, class_sep=1.5, random_state=0
    )  # fmt: skip
    return X.astype(np.float32), np.array(["ant", "bee", "cat"])[y]


@parametrize_with_checks(
    [LinearHead(max_epochs=20, learning_rate=0.01), MLPHead((32,), max_epochs=15)],
    expected_failed_checks=lambda head: {
        "check_sample_weight_equivalence_on_dense_data": REASON,
    },
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("head", HEADS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_agree_with_one_another(head, dtype, data):
    X, y = data[0].astype(dtype), data[1]
    head = clone(head).set_params(random_state=0).fit(X, y)
    assert head.score(X, y) > 0.8
    probabilities = head.predict_proba(X)
    assert probabilities.shape == (600, 3)
    assert probabilities.dtype == dtype
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    scores = head.decision_function(X)
    np.testing.assert_array_equal(head.predict(X), head.classes_[scores.argmax(axis=1)])
    np.testing.assert_array_equal(head.predict(X), head.classes_[probabilities.argmax(axis=1)])
    # the network, by hand, on what `inputs` says it gets
    with torch.no_grad():
        logits = head.module_(head.inputs(X)).numpy()
    np.testing.assert_allclose(logits, scores, atol=1e-4)
    assert not head.module_.training


def test_linear_is_logistic_regression(data):
    X, y = data
    head = LinearHead(weight_decay=0, learning_rate=0.01, random_state=0).fit(X, y)
    scaled = (X - head.mean_) / head.scale_
    reference = LogisticRegression(C=np.inf).fit(scaled, y)
    expected = reference.predict_proba(scaled)
    assert np.abs(head.predict_proba(X) - expected).mean() < 0.02


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_same_seed_same_head(head, data):
    X, y = data
    before = X.copy()
    state = torch.random.get_rng_state()
    first, second, other = (
        clone(head).set_params(random_state=seed, max_epochs=3).fit(X, y) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    assert first.loss_curve_ == second.loss_curve_ != other.loss_curve_
    np.testing.assert_array_equal(before, X)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_standardization_forgets_scale_and_offset(data):
    X, y = data
    plain = LinearHead(random_state=0, max_epochs=5).fit(X, y)
    moved = LinearHead(random_state=0, max_epochs=5).fit(X.astype(np.float64) * 1024 + 65536, y)
    np.testing.assert_allclose(
        plain.predict_proba(X), moved.predict_proba(X.astype(np.float64) * 1024 + 65536), atol=1e-4
    )
    raw = LinearHead(random_state=0, max_epochs=5, standardize=False).fit(X, y)
    assert raw.mean_ is None
    np.testing.assert_array_equal(raw.inputs(X).numpy(), X)


def test_a_constant_column_is_no_problem(data):
    X, y = data
    X = np.column_stack([X, np.full(len(X), 7.1, np.float32), np.zeros(len(X), np.float32)])
    head = LinearHead(random_state=0).fit(X, y)
    np.testing.assert_array_equal(head.scale_[-2:], 1)
    assert head.score(X, y) > 0.8


@pytest.mark.parametrize("n_bits", [24, 30])
def test_packed_codes_are_their_signs(n_bits):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, size=(300, n_bits))
    y = (bits[:, :5].sum(axis=1) > 2).astype(int)
    codes = pack_bits(bits)
    head = MLPHead((16,), packed_bits=n_bits, random_state=0, max_epochs=40).fit(codes, y)
    signs = unpack_signs(codes, n_bits)
    plain = MLPHead((16,), standardize=False, random_state=0, max_epochs=40).fit(signs, y)
    np.testing.assert_allclose(head.predict_proba(codes), plain.predict_proba(signs), atol=1e-5)
    assert head.score(codes, y) > 0.95
    assert head.input_shape_ == (n_bits,)
    np.testing.assert_array_equal(head.inputs(codes).numpy(), signs)
    with pytest.raises(TypeError, match="X has dtype float32; packed codes are uint8"):
        head.predict(signs)
    with pytest.raises(ValueError, match="bytes per row"):
        head.predict(codes[:, :2])


def test_early_stopping_keeps_the_best_state(data):
    X, y = data
    head = MLPHead(
        (64,), early_stopping=True, patience=4, validation_fraction=0.2, max_epochs=200,
        learning_rate=0.01, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert head.n_iter_ == len(head.validation_scores_) == len(head.loss_curve_) < 200
    best = int(np.argmax(head.validation_scores_))
    assert head.n_iter_ - 1 - best >= 4 or head.validation_scores_[-1] == max(
        head.validation_scores_
    )
    # the head that is left scores on held out rows what the best epoch did
    from embcompress.heads.targets import hold_out

    random = np.random.RandomState(0)
    random.randint(2**31)
    _, held = hold_out(y, 0.2, random)
    assert head.score(X[held], y[held]) == pytest.approx(max(head.validation_scores_))
    with pytest.raises(ValueError, match="leaves none to train on"):
        LinearHead(early_stopping=True, validation_fraction=0.9).fit(X[:4], y[:4])


def test_weights_of_classes_and_rows(data):
    X, y = data
    rare = np.flatnonzero((y != "ant") | (np.arange(600) % 20 == 0))
    X, y = X[rare], y[rare]
    plain, balanced, by_dict, by_row = (
        LinearHead(random_state=0, max_epochs=20, learning_rate=0.01, **options).fit(
            X, y, sample_weight=weight
        )
        for options, weight in [
            ({}, None),
            ({"class_weight": "balanced"}, None),
            ({"class_weight": {"ant": 20.0}}, None),
            ({}, np.where(y == "ant", 20.0, 1.0)),
        ]
    )
    found = [np.mean(head.predict(X) == "ant") for head in (plain, balanced, by_dict, by_row)]
    assert min(found[1:]) > 1.2 * found[0]
    np.testing.assert_array_equal(by_dict.predict_proba(X), by_row.predict_proba(X))
    with pytest.raises(ValueError, match=r"class_weight names \['dog'\]; the classes are"):
        LinearHead(class_weight={"dog": 1.0}).fit(X, y)
    with pytest.raises(ValueError, match="at least one non-zero"):
        LinearHead().fit(X, y, sample_weight=np.zeros(len(y)))


def test_partial_fit_learns_step_by_step(data):
    X, y = data
    head = LinearHead(random_state=0, learning_rate=0.01)
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        clone(head).partial_fit(X, y)
    for _ in range(20):
        for start in range(0, 600, 200):
            part = slice(start, start + 200)
            head.partial_fit(X[part], y[part], classes=["ant", "bee", "cat"])
    assert head.n_iter_ == len(head.loss_curve_) == 60
    assert head.score(X, y) > 0.8
    with pytest.raises(ValueError, match="not those of the first call"):
        head.partial_fit(X, y, classes=["ant", "bee"])
    with pytest.raises(ValueError, match=r"y holds .*'dog'.*not one of the classes"):
        head.partial_fit(X, ["dog"] * 600)
    with pytest.raises(ValueError, match="for partial_fit give a dict"):
        LinearHead(class_weight="balanced").partial_fit(X, y, classes=["ant", "bee", "cat"])


class Parts:
    """Batches that are counted, in place of ones that are made on the way."""

    def __init__(self, *arrays, size=50):
        self.arrays, self.size, self.passes = arrays, size, 0

    def __iter__(self):
        self.passes += 1
        for start in range(0, len(self.arrays[0]), self.size):
            yield tuple(array[start : start + self.size] for array in self.arrays)


def test_batches_from_elsewhere(data):
    X, y = data
    parts = Parts(X, y)
    head = LinearHead(random_state=0, max_epochs=40, learning_rate=0.01)
    head.fit_batches(parts, classes=np.unique(y), n_features=20)
    assert parts.passes in (42, 43)  # one for the mean, perhaps one for the shape
    plain = LinearHead().fit(X, y)
    np.testing.assert_allclose(head.mean_, plain.mean_, rtol=1e-9)
    np.testing.assert_allclose(head.scale_, plain.scale_, rtol=1e-9)
    assert head.score(X, y) > 0.8
    weighted = clone(head).set_params(class_weight={"ant": 1.0}, early_stopping=True)
    weighted.fit_batches(
        Parts(X, y, np.ones(600)), classes=np.unique(y), validation=(X[:90], y[:90])
    )
    assert max(weighted.validation_scores_) == weighted.score(X[:90], y[:90])
    with pytest.raises(TypeError, match="a generator is used up"):
        head.fit_batches(iter(parts), classes=np.unique(y))
    with pytest.raises(ValueError, match="batches is empty"):
        head.fit_batches([], classes=np.unique(y))
    with pytest.raises(ValueError, match="n_features=3, but batches have 20"):
        head.fit_batches(parts, classes=np.unique(y), n_features=3)
    with pytest.raises(ValueError, match=r"needs validation=\(X, y\)"):
        weighted.fit_batches(parts, classes=np.unique(y))


def test_batches_are_whole_and_shuffled(data):
    X, y = data
    head = LinearHead(max_epochs=1, batch_size=64, random_state=0).fit(X, y)
    batches = head.batches(X, y)
    first, second = list(batches), list(batches)
    assert len(batches) == len(first) == 10
    assert {len(labels) for _, labels in first} == {60}
    assert not torch.equal(first[0][0], second[0][0])
    for epoch in (first, second):
        rows = torch.cat([inputs for inputs, _ in epoch]).numpy()
        np.testing.assert_array_equal(np.sort(rows[:, 0]), np.sort(head.inputs(X).numpy()[:, 0]))
    ordered = head.batches(X, y, np.full(600, 3.0), shuffle=False)
    inputs, labels, weights = (torch.cat(part) for part in zip(*ordered, strict=True))
    np.testing.assert_array_equal(inputs.numpy(), head.inputs(X).numpy())
    np.testing.assert_array_equal(head.classes_[labels], y)
    np.testing.assert_array_equal(weights, 1)


def test_grid_search(data):
    X, y = data
    search = GridSearchCV(MLPHead(random_state=0, max_epochs=5), {"hidden": [(4,), (32, 16)]}, cv=2)
    assert search.fit(X, y).best_score_ > 0.5
    assert search.best_estimator_.module_.layers[0].out_features in (4, 32)


def test_a_loss_that_is_not_finite_says_so(data):
    X, y = data
    head = LinearHead(optimizer="sgd", learning_rate=1e38, random_state=0)
    with pytest.raises(NonFiniteLossError, match=r"epoch 0\)"):
        head.fit(X, y)
    assert np.isfinite(head.predict_proba(X)).all()


def test_bad_input_messages(data):
    X, y = data
    with pytest.raises(ValueError, match="'max_epochs' parameter of LinearHead must be an int"):
        LinearHead(max_epochs=0).fit(X, y)
    with pytest.raises(ValueError, match=r"MLPHead\(hidden=\(4, 0\)\) must hold whole numbers"):
        MLPHead((4, 0)).fit(X, y)
    with pytest.raises(ValueError, match=r"y has one class only.*at least 2"):
        LinearHead().fit(X, np.zeros(600))
    with pytest.raises(NotFittedError, match="not fitted yet"):
        LinearHead().predict(X)
    with pytest.raises(ValueError, match="20 features as input"):
        LinearHead(max_epochs=1).fit(X, y).predict(X[:, :5])
