from __future__ import annotations

import numpy as np
import pytest
from evaluation_files import read_questions, rotated
from scipy.stats import spearmanr

from embcompress import CompressedVectors, KeyedVectors, Sign
from embcompress.codes import hamming_distances, pack_bits
from embcompress.evaluation import (
    AnalogyQuestions,
    Relation,
    RelationRatings,
    analogy,
    evaluate_analogy,
    evaluate_relations,
    space_of,
)


@pytest.fixture(scope="module")
def tiny() -> KeyedVectors:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(60)]
    return KeyedVectors(words, rng.normal(size=(60, 16)) + 0.3)


@pytest.fixture(scope="module")
def random_questions() -> AnalogyQuestions:
    rng = np.random.default_rng(1)
    drawn = np.stack([rng.permutation(60)[:4] for _ in range(200)])
    questions = [tuple(f"w{i}" for i in row) for row in drawn]
    return AnalogyQuestions("random", questions, ["even", "odd"] * 100)


@pytest.fixture(scope="module")
def sample_questions(sample) -> AnalogyQuestions:
    """Singular and plural, as many as there are among the sample's words."""
    words = list(sample.index_to_key)
    known = set(words)
    pairs = [(word, word + "s") for word in words if word + "s" in known and len(word) > 3][:40]
    questions = [(*first, *second) for first in pairs for second in pairs if first != second]
    sections = [first[0] for first in pairs for second in pairs if first != second]
    return AnalogyQuestions("plural", questions, sections)


def brute_force(space, data, method):
    """Each question by the definition, in float64."""
    right = []
    rows, queries = space.rows.astype(float), space.queries.astype(float)
    for question in data.questions:
        a, b, c, answer = space.find(question)
        if method == "add":
            query = queries[b] - queries[a] + queries[c]
            scores = rows @ (np.sign(query) if space.sign_queries else query)
        else:
            cosines = (1 + rows @ queries[[a, b, c]].T) / 2
            scores = cosines[:, 1] * cosines[:, 2] / (cosines[:, 0] + 0.001)
        scores = scores.round(6)
        scores[[a, b, c]] = -np.inf
        right.append(scores.argmax() == answer)
    return np.array(right, dtype=float)


@pytest.mark.parametrize("method", ["add", "mul"])
@pytest.mark.parametrize("kind", ["float", "hamming", "asymmetric"])
def test_answers_are_those_of_the_definition(sample, spaces, sample_questions, kind, method):
    result = evaluate_analogy(spaces[kind], sample_questions, method=method)
    few = AnalogyQuestions("few", sample_questions.questions[:150], ["x"] * 150)
    wanted = brute_force(spaces[kind], few, method)
    # products of float32 may order near ties otherwise
    assert np.abs(result.outcomes[:150, 0] - wanted).sum() <= (1 if method == "mul" else 0)
    assert 0 < result.value < 1


@pytest.mark.parametrize("method", ["add", "mul"])
@pytest.mark.parametrize("columns", [7, 60, 1000])
def test_blocks_do_not_change_answers(monkeypatch, tiny, random_questions, columns, method):
    monkeypatch.setattr(analogy, "_COLUMNS", columns)
    monkeypatch.setattr(analogy, "_QUESTIONS", 9)
    for space in (space_of(tiny), space_of(CompressedVectors.compress(tiny, Sign()))):
        result = evaluate_analogy(space, random_questions, method=method)
        wanted = brute_force(space, random_questions, method)
        np.testing.assert_array_equal(result.outcomes[:, 0], wanted)


def test_hamming_queries_are_cut_to_signs(tiny, random_questions):
    small = CompressedVectors.compress(tiny, Sign())
    signs = tiny.vectors >= 0
    right = []
    for question in random_questions.questions:
        a, b, c, answer = (tiny.get_index(word) for word in question)
        query = (signs[b] * 2 - 1) - (signs[a] * 2 - 1) + (signs[c] * 2 - 1) > 0
        distances = hamming_distances(pack_bits(query[None]), small.codes)[0]
        distances[[a, b, c]] = 99
        right.append(distances.argmin() == answer)
    result = evaluate_analogy(space_of(small), random_questions)
    np.testing.assert_array_equal(result.outcomes[:, 0], right)


@pytest.mark.parametrize("restrict", [None, 1500])
def test_gensim_agrees(sample, sample_questions, tmp_path, restrict):
    models = pytest.importorskip("gensim.models")
    theirs = models.KeyedVectors(sample.vector_size)
    theirs.add_vectors(list(sample.index_to_key), sample.vectors)
    path = tmp_path / "questions.txt"
    path.write_text(
        ": plural\n" + "".join(" ".join(q) + "\n" for q in sample_questions.questions),
        encoding="utf-8",
    )
    wanted, sections = theirs.evaluate_word_analogies(
        str(path), restrict_vocab=restrict or 300_000, case_insensitive=False
    )
    result = evaluate_analogy(space_of(sample), sample_questions, restrict=restrict)
    assert result.value == pytest.approx(wanted)
    assert result.n_covered == len(sections[-1]["correct"]) + len(sections[-1]["incorrect"])


def test_sections_make_up_the_whole(tiny, random_questions):
    result = evaluate_analogy(space_of(tiny), random_questions)
    assert list(result.details) == ["even", "odd"]
    assert np.mean(list(result.details.values())) == pytest.approx(result.value)


def test_rotation_changes_nothing(sample, sample_questions):
    for method in ("add", "mul"):
        first = evaluate_analogy(space_of(sample), sample_questions, method=method)
        second = evaluate_analogy(space_of(rotated(sample)), sample_questions, method=method)
        assert second.value == pytest.approx(first.value, abs=0.003)


def test_relations_are_ranked_by_the_prototype(tiny):
    rng = np.random.default_rng(0)
    relations = []
    for name in "xyz":
        drawn = rng.integers(0, 60, size=(30, 2))
        pairs = [(f"w{a}", f"w{b}") for a, b in drawn]
        relations.append(Relation(name, pairs[:3], pairs[3:], rng.random(27)))
    relations.append(Relation("unknown", [("q", "r")], [("q", "r")] * 9, np.arange(9.0)))
    result = evaluate_relations(space_of(tiny), RelationRatings("SemEval", relations))
    unit = tiny.vectors / np.linalg.norm(tiny.vectors, axis=1, keepdims=True)
    for relation in relations[:3]:
        differences = [unit[int(b[1:])] - unit[int(a[1:])] for a, b in relation.pairs]
        typical = np.mean(
            [unit[int(b[1:])] - unit[int(a[1:])] for a, b in relation.prototypes], axis=0
        )
        wanted = spearmanr(differences @ typical, relation.ratings).statistic
        assert result.details[relation.name] == pytest.approx(wanted, abs=1e-6)
    assert (result.n_items, result.n_covered) == (4, 3)
    assert result.value == pytest.approx(np.mean(list(result.details.values())))
    alone = evaluate_relations(space_of(tiny), RelationRatings("SemEval", relations[3:]))
    assert alone.skipped


def test_messages(tiny, random_questions):
    space = space_of(tiny)
    with pytest.raises(ValueError, match="method='cos'; allowed: 'add' or 'mul'"):
        evaluate_analogy(space, random_questions, method="cos")
    with pytest.raises(ValueError, match="restrict=0 must be at least 1"):
        evaluate_analogy(space, random_questions, restrict=0)
    assert evaluate_analogy(space, random_questions, restrict=4).note.startswith("random: only")


@pytest.mark.real_data
def test_google_on_the_sample_is_gensims(sample, data_folder):
    models = pytest.importorskip("gensim.models")
    path = data_folder / "word_eval" / "analogy" / "questions-words.txt"
    theirs = models.KeyedVectors(sample.vector_size)
    theirs.add_vectors(list(sample.index_to_key), sample.vectors)
    wanted, sections = theirs.evaluate_word_analogies(str(path))
    result = evaluate_analogy(space_of(sample), read_questions(path))
    assert result.value == pytest.approx(wanted)
    for section in sections[:-1]:
        n_asked = len(section["correct"]) + len(section["incorrect"])
        if n_asked:
            share = len(section["correct"]) / n_asked
            assert result.details[section["section"]] == pytest.approx(share)
