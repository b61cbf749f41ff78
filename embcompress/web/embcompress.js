/**
 * Reader of the files of embcompress, and search over their codes.
 *
 * ES modules without dependencies, for browsers and Node: this one, container.js and vocabulary.js.
 *
 *     import { CompressedVectors } from "./embcompress.js";
 *     const response = await fetch("vectors.safetensors");
 *     const vectors = CompressedVectors.read(await response.arrayBuffer());
 *     vectors.mostSimilar("king", { topn: 5 });        // [{ word, index, similarity }, ...]
 *     vectors.mostSimilar({ positive: ["woman", "king"], negative: ["man"] });
 *
 * Answers are those of `CompressedVectors.most_similar` in Python, equal ones in the order of the
 * file. Sums of words are taken in 32-bit floats, as there; a score of the sum that is zero to
 * rounding may fall on the other side.
 *
 * @module embcompress
 */

import { FormatError, readContainer } from "./container.js";
import { UnknownWordError, Vocabulary } from "./vocabulary.js";

export { Container, FORMAT_VERSION, FormatError, float16, readContainer } from "./container.js";
export { UnknownWordError, Vocabulary, decodeWord } from "./vocabulary.js";

/** Ones in a 32-bit number. */
function countOnes(x) {
  x -= (x >>> 1) & 0x55555555;
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Rows of bytes as rows of 32-bit words, filled up with zeros. */
function toWords(codes, width) {
  const nWords = Math.ceil(width / 4);
  const padded = new Uint8Array((codes.length / width) * nWords * 4);
  for (let from = 0, to = 0; from < codes.length; from += width, to += nWords * 4) {
    for (let j = 0; j < width; j++) padded[to + j] = codes[from + j];
  }
  return new Uint32Array(padded.buffer);
}

/**
 * Positions of the k largest scores, largest first; equal ones in the order of the file.
 *
 * @param {ArrayLike<number>} scores
 * @param {number} k
 * @returns {number[]}
 */
export function topK(scores, k) {
  if (k > 256) {
    const all = Array.from({ length: scores.length }, (_, i) => i);
    return all.sort((a, b) => scores[b] - scores[a] || a - b).slice(0, k);
  }
  const best = [];
  let worst = -Infinity;
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i];
    if (best.length === k && score <= worst) continue;
    let place = best.length;
    while (place > 0 && scores[best[place - 1]] < score) place--;
    best.splice(place, 0, i);
    if (best.length > k) best.pop();
    worst = scores[best[best.length - 1]];
  }
  return best;
}

/**
 * @typedef {object} Neighbour
 * @property {string} word
 * @property {number} index position in the file
 * @property {number} similarity from -1 to 1
 */

/**
 * @typedef {string | number | [string | number, number]} Term a word or its position in the file,
 *   or one of them with a weight
 */

/**
 * Words with packed binary codes.
 *
 * A code has one bit for each direction, then second bits of the first directions. It stands for
 * one whole number per direction: -1 or 1; with second bits `2 s + t` with the signs s and t of
 * the two bits, and -2 or 2 in directions without one. Similarity is the cosine of these numbers.
 */
export class CompressedVectors {
  /** @type {Uint32Array | undefined} */
  #asWords;
  /** @type {Float32Array | undefined} */
  #inverseLengths;

  /**
   * @param {object} parts
   * @param {Vocabulary} parts.words
   * @param {Uint8Array} parts.codes n rows of ceil(nBits / 8) bytes, first bit most significant
   * @param {number} parts.nBits
   * @param {number} parts.nDirections
   * @param {Float32Array} parts.levels mean score behind each number, 2 or 4 rows of nDirections
   * @param {Float32Array} parts.thresholds
   * @param {Record<string, string>} [parts.metadata]
   */
  constructor({ words, codes, nBits, nDirections, levels, thresholds, metadata = {} }) {
    this.words = words;
    this.codes = codes;
    this.nBits = nBits;
    this.nDirections = nDirections;
    this.nSecond = nBits - nDirections;
    this.levels = levels;
    this.thresholds = thresholds;
    this.metadata = metadata;
    this.length = words.length;
    this.width = Math.ceil(nBits / 8);
  }

  /**
   * Read a file of compressed vectors.
   *
   * @param {ArrayBuffer | ArrayBufferView} data all bytes of the file
   * @param {object} [options]
   * @param {string} [options.name] what to call the file in messages
   * @returns {CompressedVectors}
   * @throws {FormatError}
   */
  static read(data, { name = "file" } = {}) {
    return CompressedVectors.fromContainer(readContainer(data, { kind: KINDS, name }));
  }

  /**
   * @param {import("./container.js").Container} container of kind "vectors", or "lookup", which has
   *   words, codes and levels only
   * @returns {CompressedVectors}
   * @throws {FormatError}
   */
  static fromContainer(container) {
    const { name } = container;
    const nBits = container.integer("n_bits");
    const two = Object.hasOwn(container.metadata, "n_directions");
    const nDirections = two ? container.integer("n_directions") : nBits;
    if (nBits < 1) throw new FormatError(`${name}: n_bits=${nBits} must be at least 1`);
    if (two && !(nDirections < nBits && nBits <= 2 * nDirections)) {
      throw new FormatError(
        `${name}: n_directions=${nDirections} with n_bits=${nBits}; each direction has one bit ` +
          "or two, and one of them two",
      );
    }
    const { data: codes, shape } = container.tensor("codes", ["U8"], 2);
    const width = Math.ceil(nBits / 8);
    if (shape[1] !== width) {
      throw new FormatError(
        `${name}: codes have ${shape[1]} bytes per word, expected ${width} for n_bits=${nBits}`,
      );
    }
    if (container.value("bitorder") !== "big") {
      throw new FormatError(
        `${name}: bit order '${container.value("bitorder")}', expected 'big'`,
      );
    }
    return new CompressedVectors({
      words: Vocabulary.fromContainer(container, shape[0]),
      codes: /** @type {Uint8Array} */ (codes),
      nBits,
      nDirections,
      levels: container.floats("encoder_levels", [two ? 4 : 2, nDirections]),
      thresholds: container.floats("encoder_thresholds", [nDirections]),
      metadata: container.metadata,
    });
  }

  /**
   * Make the tables that searching and looking up words need, which the first call would make.
   *
   * @returns {this}
   */
  prepare() {
    this.words.find("");
    if (this.nSecond) this.#inverses();
    else this.#asWords ??= toWords(this.codes, this.width);
    return this;
  }

  /**
   * Position of a word; a position is given back.
   *
   * @param {string | number} word
   * @returns {number}
   * @throws {UnknownWordError}
   */
  index(word) {
    if (typeof word === "number") {
      if (Number.isInteger(word) && word >= 0 && word < this.length) return word;
      throw new RangeError(`position ${word} of ${this.length} words`);
    }
    const found = this.words.find(word);
    if (found < 0) throw new UnknownWordError(word, this.length, this.words.closeWords(word));
    return found;
  }

  /**
   * One bit of a word's code.
   *
   * @param {number} index
   * @param {number} place 0 is the first bit
   * @returns {number} 0 or 1
   */
  bit(index, place) {
    return (this.codes[index * this.width + (place >> 3)] >> (7 - (place & 7))) & 1;
  }

  /**
   * Whole numbers that a word's code stands for.
   *
   * @param {number} index
   * @returns {Float32Array} of nDirections
   */
  values(index) {
    const bits = Uint8Array.from({ length: this.nBits }, (_, place) => this.bit(index, place));
    return this.#valuesOfBits(bits);
  }

  /**
   * Similarity of two words, from -1 to 1.
   *
   * @param {string | number} first word, or its position
   * @param {string | number} second
   * @returns {number}
   * @throws {UnknownWordError}
   */
  similarity(first, second) {
    const [a, b] = [first, second].map((term) => this.values(this.index(term)));
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  }

  /**
   * Distances between some words: those of the numbers of their codes, scaled to length 1.
   *
   * @param {number[]} indices
   * @returns {number[][]} from 0 to 2
   */
  distances(indices) {
    const rows = indices.map((index) => this.values(index));
    const lengths = rows.map((row) => Math.sqrt(dot(row, row)));
    const cosine = (i, j) => dot(rows[i], rows[j]) / (lengths[i] * lengths[j]);
    return rows.map((_, i) => rows.map((__, j) => Math.sqrt(Math.max(0, 2 - 2 * cosine(i, j)))));
  }

  /**
   * Words nearest to a word, or to a sum of words; those that were asked with are left out.
   *
   * @param {string | number | { positive?: Term[], negative?: Term[] }} terms
   * @param {object} [options]
   * @param {number} [options.topn]
   * @param {"hamming" | "asymmetric"} [options.scoring] "hamming" cuts the query to bits first;
   *   "asymmetric" keeps its real values, which tells near ties apart
   * @returns {Neighbour[]} nearest first
   * @throws {UnknownWordError}
   */
  mostSimilar(terms, { topn = 10, scoring = "hamming" } = {}) {
    const { positive = [], negative = [] } =
      typeof terms === "object" ? terms : { positive: [terms] };
    const weighted = [
      ...positive.map((term) => weightOf(term, 1)),
      ...negative.map((term) => weightOf(term, -1)),
    ];
    if (!weighted.length) throw new TypeError("mostSimilar needs at least one word");
    if (!Number.isInteger(topn) || topn < 1) {
      throw new RangeError(`topn=${topn} must be a whole number of at least 1`);
    }
    const given = weighted.map(([word]) => this.index(word));
    const query = this.#sum(given, weighted.map(([, weight]) => weight));
    const scores = this.scores(query, scoring);
    return topK(scores, Math.min(topn + given.length, this.length))
      .filter((index) => !given.includes(index))
      .slice(0, topn)
      .map((index) => ({ word: this.words.at(index), index, similarity: scores[index] }));
  }

  /**
   * Similarities of all words to a query.
   *
   * @param {Float32Array} query of nDirections real values
   * @param {"hamming" | "asymmetric"} [scoring]
   * @returns {Float32Array | Float64Array}
   */
  scores(query, scoring = "hamming") {
    if (scoring !== "hamming" && scoring !== "asymmetric") {
      throw new RangeError(`scoring='${scoring}'; allowed: 'hamming' or 'asymmetric'`);
    }
    if (scoring === "asymmetric") return this.#cosines(query);
    const bits = this.#cut(query);
    return this.nSecond ? this.#cosines(this.#valuesOfBits(bits)) : this.#hammingScores(bits);
  }

  /**
   * Hamming distances of all words to a code.
   *
   * @param {Uint8Array} bits nBits zeros and ones
   * @returns {Uint16Array | Uint32Array}
   */
  hammingDistances(bits) {
    this.#asWords ??= toWords(this.codes, this.width);
    const words = this.#asWords;
    const query = toWords(packBits(bits), this.width);
    const n = query.length;
    const distances = new Uint32Array(this.length);
    for (let i = 0, place = 0; i < distances.length; i++) {
      let distance = 0;
      for (let j = 0; j < n; j++) distance += countOnes(words[place++] ^ query[j]);
      distances[i] = distance;
    }
    return distances;
  }

  #hammingScores(bits) {
    const { nBits } = this;
    return Float64Array.from(this.hammingDistances(bits), (h) => (nBits - 2 * h) / nBits);
  }

  /** Cosines of a query with the numbers of all codes, in the roundings of Python. */
  #cosines(query) {
    const tables = this.#tables(query);
    const inverse = this.#inverses();
    let length = Math.fround(Math.sqrt(dot(query, query)));
    // with one bit per direction all codes have the same length
    if (!this.nSecond) length = Math.fround(length * Math.fround(Math.sqrt(this.nBits)));
    length = Math.max(length, Math.fround(1e-30));
    const scores = new Float32Array(this.length);
    for (let i = 0, place = 0; i < scores.length; i++) {
      let sum = 0;
      for (let j = 0; j < this.width; j++) sum += tables[(j << 8) | this.codes[place++]];
      scores[i] = Math.fround(this.nSecond ? sum * inverse[i] : sum) / length;
    }
    return scores;
  }

  /** One by the length of the numbers of each code. */
  #inverses() {
    this.#inverseLengths ??= this.#valueLengths().map((length) => 1 / length);
    return this.#inverseLengths;
  }

  /** What each byte of a code adds to its score, by place and value. */
  #tables(query) {
    const tables = new Float64Array(this.width * 256);
    for (let place = 0; place < this.nBits; place++) {
      const second = place >= this.nDirections;
      const factor = this.nSecond && !second ? 2 : 1;
      const weight = factor * query[second ? place - this.nDirections : place];
      const start = (place >> 3) << 8;
      const mask = 0x80 >> (place & 7);
      for (let value = 0; value < 256; value++) {
        tables[start + value] += value & mask ? weight : -weight;
      }
    }
    return tables;
  }

  /** Length of the numbers of each code: a number is large where its two bits are equal. */
  #valueLengths() {
    const { nSecond, nDirections, width, codes } = this;
    const nSingle = nDirections - nSecond;
    if (!nSecond) return new Float32Array(this.length).fill(Math.sqrt(nSingle));
    const lengths = new Float32Array(this.length);
    const [start, shift] = [nDirections >> 3, nDirections & 7];
    const nBytes = Math.ceil(nSecond / 8);
    const lastMask = (0xff << (8 * nBytes - nSecond)) & 0xff;
    for (let i = 0; i < lengths.length; i++) {
      const row = i * width;
      let nUnequal = 0;
      for (let j = 0; j < nBytes; j++) {
        // the second bits, moved to where the first bits are
        const next = start + j + 1 < width ? codes[row + start + j + 1] : 0;
        const second = ((codes[row + start + j] << shift) | (next >> (8 - shift))) & 0xff;
        nUnequal += countOnes((codes[row + j] ^ second) & (j === nBytes - 1 ? lastMask : 0xff));
      }
      lengths[i] = Math.sqrt(nSecond + 8 * (nSecond - nUnequal) + 4 * nSingle);
    }
    return lengths;
  }

  /** Sum of the unit vectors of words, in 32-bit floats. */
  #sum(indices, weights) {
    const query = new Float32Array(this.nDirections);
    indices.forEach((index, i) => {
      const row = this.#unitRow(index);
      for (let j = 0; j < row.length; j++) query[j] += Math.fround(weights[i] * row[j]);
    });
    return query;
  }

  /**
   * Vector of a word where sums are taken. With two bits it is the numbers of the code; with one
   * bit each sign is weighted by how far the mean score behind it lies from the threshold.
   */
  #unitRow(index) {
    const row = this.values(index);
    if (!this.nSecond) {
      for (let j = 0; j < row.length; j++) {
        const level = this.levels[row[j] > 0 ? this.nDirections + j : j];
        // never 0: a bit whose side was empty in training still keeps its sign
        row[j] *= Math.max(Math.abs(Math.fround(level - this.thresholds[j])), 1e-12);
      }
    }
    const inverse = Math.fround(1 / Math.fround(Math.sqrt(dot(row, row))));
    return row.map((value) => value * inverse);
  }

  /** Bits of scores: the sign, then whether a score is large, for the first directions. */
  #cut(scores) {
    const bits = new Uint8Array(this.nBits);
    for (let j = 0; j < this.nDirections; j++) bits[j] = Number(scores[j] >= 0);
    if (this.nSecond) {
      const size = Math.fround(Math.sqrt(Math.fround(dot(scores, scores) / scores.length)));
      for (let j = 0; j < this.nSecond; j++) {
        const large = Number(Math.abs(scores[j]) >= size);
        bits[this.nDirections + j] = Number(large === bits[j]);
      }
    }
    return bits;
  }

  #valuesOfBits(bits) {
    const values = new Float32Array(this.nDirections);
    for (let j = 0; j < values.length; j++) {
      const sign = 2 * bits[j] - 1;
      if (!this.nSecond) values[j] = sign;
      else values[j] = 2 * sign + (j < this.nSecond ? 2 * bits[this.nDirections + j] - 1 : 0);
    }
    return values;
  }
}

const KINDS = ["vectors", "lookup"];

const weightOf = (term, sign) =>
  Array.isArray(term) ? [term[0], sign * term[1]] : [term, sign];

function packBits(bits) {
  const bytes = new Uint8Array(Math.ceil(bits.length / 8));
  bits.forEach((bit, place) => {
    if (bit) bytes[place >> 3] |= 0x80 >> (place & 7);
  });
  return bytes;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
