/**
 * A map of a few points from their distances: where they lie, what joins them, where labels go.
 *
 * Plain functions on numbers, without a page.
 *
 * @module map
 */

/** @typedef {{ x: number, y: number }} Point */
/** @typedef {{ x: number, y: number, width: number, height: number }} Box */

const ROUNDS = 120;

/**
 * Places in the plane whose distances come near the given ones: classical scaling first (Torgerson
 * 1952), then majorization of the stress (SMACOF; de Leeuw 1977), which spreads points that
 * classical scaling lays upon each other.
 *
 * @param {number[][]} distances symmetric, zeros on the diagonal
 * @returns {Point[]}
 */
export function layout(distances) {
  let points = classicalScaling(distances);
  for (let round = 0; round < ROUNDS; round++) points = guttman(points, distances);
  return upright(points);
}

/** Points turned so that they reach farthest from left to right, as maps do. */
function upright(points) {
  const n = points.length;
  const [x, y] = [sum(points.map((p) => p.x)) / n, sum(points.map((p) => p.y)) / n];
  const moment = (f) => sum(points.map((p) => f(p.x - x, p.y - y)));
  const difference = moment((dx, dy) => dx * dx - dy * dy);
  const angle = Math.atan2(2 * moment((dx, dy) => dx * dy), difference) / 2;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return points.map((p) => ({
    x: cos * (p.x - x) + sin * (p.y - y),
    y: cos * (p.y - y) - sin * (p.x - x),
  }));
}

function classicalScaling(distances) {
  const n = distances.length;
  const squares = distances.map((row) => row.map((d) => d * d));
  const means = squares.map((row) => sum(row) / n);
  const mean = sum(means) / n;
  const products = squares.map((row, i) =>
    row.map((square, j) => (means[i] + means[j] - mean - square) / 2),
  );
  const axes = [0, 1].map((axis) => {
    const { vector, value } = largestEigenvector(products, axis);
    products.forEach((row, i) => row.forEach((_, j) => (row[j] -= value * vector[i] * vector[j])));
    return vector.map((x) => x * Math.sqrt(Math.max(value, 0)));
  });
  // a small shift tells apart points that have the same code
  return axes[0].map((x, i) => ({ x: x + 1e-6 * Math.cos(i), y: axes[1][i] + 1e-6 * Math.sin(i) }));
}

/** Power iteration from a start that is always the same, so that a word always has one map. */
function largestEigenvector(matrix, axis) {
  let vector = matrix.map((_, i) => Math.cos(1 + i * (axis + 1)));
  let value = 0;
  for (let round = 0; round < 200; round++) {
    const next = matrix.map((row) => sum(row.map((x, j) => x * vector[j])));
    value = Math.hypot(...next);
    if (value === 0) break;
    vector = next.map((x) => x / value);
  }
  return { vector, value };
}

/** One step of majorization; the stress never grows. */
function guttman(points, distances) {
  const n = points.length;
  return points.map((point, i) => {
    let [x, y] = [0, 0];
    points.forEach((other, j) => {
      if (j === i) return;
      const far = Math.hypot(point.x - other.x, point.y - other.y);
      const ratio = far > 0 ? distances[i][j] / far : 0;
      x += other.x + ratio * (point.x - other.x);
      y += other.y + ratio * (point.y - other.y);
    });
    return { x: x / (n - 1 || 1), y: y / (n - 1 || 1) };
  });
}

/**
 * How far the places are from the distances: the root of the summed squared differences, as a
 * share of that of the distances.
 *
 * @param {Point[]} points
 * @param {number[][]} distances
 * @returns {number}
 */
export function stress(points, distances) {
  let [missed, all] = [0, 0];
  points.forEach((a, i) =>
    points.forEach((b, j) => {
      missed += (Math.hypot(a.x - b.x, a.y - b.y) - distances[i][j]) ** 2;
      all += distances[i][j] ** 2;
    }),
  );
  return all > 0 ? Math.sqrt(missed / all) : 0;
}

/**
 * Pairs of points that join all of them at the least total distance (Prim's algorithm).
 *
 * @param {number[][]} distances
 * @returns {[number, number][]} the second of each pair is a point that no pair before it has
 */
export function spanningTree(distances) {
  const n = distances.length;
  const edges = [];
  const from = new Array(n).fill(0);
  const left = new Set(distances.keys());
  left.delete(0);
  while (left.size) {
    let next = -1;
    for (const i of left) {
      if (next < 0 || distances[from[i]][i] < distances[from[next]][next]) next = i;
    }
    left.delete(next);
    edges.push([from[next], next]);
    for (const i of left) if (distances[next][i] < distances[from[i]][i]) from[i] = next;
  }
  return edges;
}

/**
 * Distances for a map on which the lines of a tree hardly cross: the mean of the distance of two
 * points and of the way between them along the tree. In many dimensions near points are almost
 * equally far from one another; the tree says which of them belong together.
 *
 * @param {number[][]} distances
 * @param {[number, number][]} edges of a spanning tree
 * @returns {number[][]}
 */
export function alongTree(distances, edges) {
  const ways = distances.map((row) => row.map(() => 0));
  const reached = [0];
  // each edge brings one point to those that came before it
  for (const [from, to] of edges) {
    for (const other of reached) {
      ways[to][other] = ways[other][to] = ways[from][other] + distances[from][to];
    }
    reached.push(to);
  }
  return distances.map((row, i) => row.map((d, j) => (d + ways[i][j]) / 2));
}

/**
 * Points moved and scaled to fill a box, with the same scale on both axes.
 *
 * @param {Point[]} points
 * @param {Box} box
 * @returns {Point[]}
 */
export function fit(points, box) {
  const [left, right] = extent(points.map((p) => p.x));
  const [top, bottom] = extent(points.map((p) => p.y));
  const scale = Math.min(
    box.width / Math.max(right - left, 1e-9),
    box.height / Math.max(bottom - top, 1e-9),
    1e6,
  );
  return points.map((p) => ({
    x: box.x + box.width / 2 + scale * (p.x - (left + right) / 2),
    y: box.y + box.height / 2 + scale * (p.y - (top + bottom) / 2),
  }));
}

/**
 * Places of labels beside their points, the first points first. A label that would cover another
 * label, a point, or leave the box is left out.
 *
 * @param {Point[]} points
 * @param {{ width: number, height: number }[]} sizes of the labels
 * @param {number[]} radii of the points
 * @param {Box} box
 * @returns {(Box | null)[]}
 */
export function placeLabels(points, sizes, radii, box) {
  const taken = points.map(({ x, y }, i) => grown({ x, y, width: 0, height: 0 }, radii[i] + 1));
  return points.map((point, i) => {
    const others = taken.filter((_, j) => j !== i);
    const place = candidates(point, sizes[i], radii[i]).find(
      (label) => contains(box, label) && !others.some((other) => overlap(label, other)),
    );
    if (place) taken.push(place);
    return place ?? null;
  });
}

/** Right, left, above and below, then the corners, then all of them farther away. */
function candidates({ x, y }, { width, height }, radius) {
  return [3, 9, 16].flatMap((gap) => {
    const off = radius + gap;
    const middle = y - height / 2;
    const centre = x - width / 2;
    const near = 0.7 * off;
    return [
      [x + off, middle],
      [x - off - width, middle],
      [centre, y - off - height],
      [centre, y + off],
      [x + near, y - near - height],
      [x - near - width, y - near - height],
      [x + near, y + near],
      [x - near - width, y + near],
    ].map(([left, top]) => ({ x: left, y: top, width, height }));
  });
}

const grown = (box, by) => ({
  x: box.x - by,
  y: box.y - by,
  width: box.width + 2 * by,
  height: box.height + 2 * by,
});

/**
 * Whether two boxes share a point inside.
 *
 * @param {Box} a
 * @param {Box} b
 * @returns {boolean}
 */
export function overlap(a, b) {
  return (
    a.x < b.x + b.width &&
    b.x < a.x + a.width &&
    a.y < b.y + b.height &&
    b.y < a.y + a.height
  );
}

const contains = (outer, inner) =>
  inner.x >= outer.x &&
  inner.y >= outer.y &&
  inner.x + inner.width <= outer.x + outer.width &&
  inner.y + inner.height <= outer.y + outer.height;

const sum = (values) => values.reduce((total, value) => total + value, 0);

const extent = (values) => [Math.min(...values), Math.max(...values)];
