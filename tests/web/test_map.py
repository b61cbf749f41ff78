"""The map of the page: places from distances, the tree that joins them, labels that keep apart."""

from __future__ import annotations

import numpy as np
import pytest
from javascript import needs_node, values
from scipy.sparse.csgraph import minimum_spanning_tree, shortest_path
from scipy.spatial.distance import cdist

pytestmark = needs_node

BOX = {"x": 0, "y": 0, "width": 400, "height": 300}


def ask(*calls):
    return values(calls, "ask_map.mjs")


def distances_of(rows):
    return cdist(rows, rows)


def places(found):
    return np.array([[point["x"], point["y"]] for point in found])


def test_points_of_a_plane_keep_their_distances():
    distances = distances_of(np.random.default_rng(0).normal(size=(20, 2)))
    (found,) = ask(("layout", distances.tolist()))
    np.testing.assert_allclose(distances_of(places(found)), distances, atol=1e-3)
    # they reach farthest from left to right
    assert np.ptp(places(found), axis=0)[0] >= np.ptp(places(found), axis=0)[1]


def test_stress_is_the_share_that_is_missed_and_majorization_lowers_it():
    distances = distances_of(np.random.default_rng(1).normal(size=(25, 60)))
    (found,) = ask(("layout", distances.tolist()))
    points = places(found)
    wanted = np.linalg.norm(distances_of(points) - distances) / np.linalg.norm(distances)
    (stress,) = ask(("stress", found, distances.tolist()))
    assert stress == pytest.approx(wanted)
    # no better by moving one point a little: a minimum
    for i in range(len(points)):
        for step in ([0.05, 0], [0, 0.05], [-0.05, 0], [0, -0.05]):
            moved = points.copy()
            moved[i] += step
            assert np.linalg.norm(distances_of(moved) - distances) >= 0.999 * np.linalg.norm(
                distances_of(points) - distances
            )


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_points_and_equal_points(n):
    (found,) = ask(("layout", np.zeros((n, n)).tolist()))
    assert len(found) == n
    assert np.abs(places(found)).max() < 1e-3
    (fitted,) = ask(("fit", found, BOX))
    assert np.isfinite(places(fitted)).all()


def test_the_tree_is_the_shortest_and_its_ways_are_right():
    distances = distances_of(np.random.default_rng(2).normal(size=(30, 5)))
    (edges,) = ask(("spanningTree", distances.tolist()))
    reference = minimum_spanning_tree(distances)
    assert len(edges) == 29
    assert sum(distances[i, j] for i, j in edges) == pytest.approx(reference.sum())
    (along,) = ask(("alongTree", distances.tolist(), edges))
    ways = shortest_path(reference, directed=False)
    np.testing.assert_allclose(along, (distances + ways) / 2)


def test_fitting_fills_the_box_with_one_scale():
    points = np.random.default_rng(3).normal(size=(15, 2)) * [2, 1]
    (found,) = ask(("fit", [{"x": x, "y": y} for x, y in points], BOX))
    fitted = places(found)
    assert fitted.min() >= -1e-9
    assert (fitted.max(axis=0) <= [400 + 1e-9, 300 + 1e-9]).all()
    reach = np.ptp(fitted, axis=0)
    assert np.isclose(reach, [400, 300]).any()
    ratio = distances_of(fitted)[0, 1:] / distances_of(points)[0, 1:]
    np.testing.assert_allclose(ratio, ratio[0])


def covers(a, b):
    return (
        a["x"] < b["x"] + b["width"] and b["x"] < a["x"] + a["width"]
        and a["y"] < b["y"] + b["height"] and b["y"] < a["y"] + a["height"]
    )  # fmt: skip


@pytest.mark.parametrize("n", [2, 30, 200])
def test_labels_cover_nothing(n):
    rng = np.random.default_rng(n)
    points = [{"x": x, "y": y} for x, y in rng.uniform(0, 1, (n, 2)) * [400, 300]]
    sizes = [{"width": w, "height": 16} for w in rng.uniform(10, 90, n)]
    (found,) = ask(("placeLabels", points, sizes, [4] * n, BOX))
    labels = [label for label in found if label]
    # in a crowd of 200 points most labels find no room
    assert len(labels) >= (2 if n == 2 else 8)
    assert n == 200 or found[0] is not None
    for i, label in enumerate(labels):
        assert label["x"] >= 0
        assert label["y"] >= 0
        assert label["x"] + label["width"] <= 400
        assert label["y"] + label["height"] <= 300
        assert not any(covers(label, other) for other in labels[:i])
        for point in points:
            assert not covers(label, {**point, "width": 0, "height": 0})
