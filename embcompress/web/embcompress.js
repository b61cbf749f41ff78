/**
 * Reader of the files of embcompress, and search over their codes.
 *
 * An ES module without dependencies, for browsers and Node. docs/format.md describes the format.
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

/** Newest version of the format that this module reads. */
export const FORMAT_VERSION = 1;

const FORMAT_NAME = "embcompress";
// the limit of the safetensors library
const LONGEST_HEADER = 100_000_000;

/** Data types of safetensors: bytes of an item, and how to view them. */
const DTYPES = {
  BOOL: [1, Uint8Array],
  U8: [1, Uint8Array],
  I8: [1, Int8Array],
  U16: [2, Uint16Array],
  I16: [2, Int16Array],
  F16: [2, Uint16Array],
  U32: [4, Uint32Array],
  I32: [4, Int32Array],
  F32: [4, Float32Array],
  U64: [8, BigUint64Array],
  I64: [8, BigInt64Array],
  F64: [8, Float64Array],
};

/** A file is damaged, or is not what it was opened as. */
export class FormatError extends Error {
  /** @override */
  name = "FormatError";
}

/** A word that is not in the vocabulary; the message names close words. */
export class UnknownWordError extends Error {
  /** @override */
  name = "UnknownWordError";

  /**
   * @param {string} word
   * @param {number} nWords
   * @param {string[]} close words spelt like it
   */
  constructor(word, nWords, close) {
    const hint = close.length ? `; close words: ${close.join(", ")}` : "";
    super(`'${word}' is not among the ${nWords.toLocaleString("en")} words${hint}`);
    this.word = word;
    this.close = close;
  }
}

/**
 * @typedef {object} Tensor
 * @property {string} dtype name in safetensors, such as "U8"
 * @property {number[]} shape
 * @property {Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array |
 *   Float32Array | Float64Array | BigInt64Array | BigUint64Array} data in row order; a view into
 *   the file. F16 comes as the 16 bits of each number: see {@link float16}.
 */

/** An opened file: its arrays and its metadata. */
export class Container {
  /**
   * @param {Map<string, Tensor>} tensors
   * @param {Record<string, string>} metadata
   * @param {string} name what to call the file in messages
   */
  constructor(tensors, metadata, name) {
    this.tensors = tensors;
    this.metadata = metadata;
    this.name = name;
  }

  /**
   * An array, of which data type and number of axes are checked.
   *
   * @param {string} name
   * @param {string[]} dtypes those that are allowed
   * @param {number} ndim
   * @returns {Tensor}
   */
  tensor(name, dtypes, ndim) {
    const found = this.tensors.get(name);
    if (!found) {
      const names = [...this.tensors.keys()].sort().join(", ") || "none";
      throw new FormatError(`${this.name}: array '${name}' is missing (found: ${names})`);
    }
    if (!dtypes.includes(found.dtype) || found.shape.length !== ndim) {
      throw new FormatError(
        `${this.name}: array '${name}' is ${found.dtype} with ${found.shape.length} axes, ` +
          `expected ${dtypes.join(" or ")} with ${ndim}`,
      );
    }
    return found;
  }

  /**
   * A float32 array of one given shape.
   *
   * @param {string} name
   * @param {number[]} shape
   * @returns {Float32Array}
   */
  floats(name, shape) {
    const found = this.tensor(name, ["F32"], shape.length);
    if (found.shape.some((size, axis) => size !== shape[axis])) {
      throw new FormatError(
        `${this.name}: array '${name}' has shape (${found.shape}), expected (${shape})`,
      );
    }
    return /** @type {Float32Array} */ (found.data);
  }

  /**
   * A metadata entry that must be there.
   *
   * @param {string} name
   * @returns {string}
   */
  value(name) {
    if (!Object.hasOwn(this.metadata, name)) {
      throw new FormatError(`${this.name}: metadata entry '${name}' is missing`);
    }
    return this.metadata[name];
  }

  /**
   * A metadata entry that must be a whole number.
   *
   * @param {string} name
   * @returns {number}
   */
  integer(name) {
    const text = this.value(name);
    if (!/^[0-9]{1,15}$/.test(text)) {
      throw new FormatError(`${this.name}: metadata entry ${name}='${text}' is not a whole number`);
    }
    return Number(text);
  }
}

/**
 * Open a file.
 *
 * @param {ArrayBuffer | ArrayBufferView} data all bytes of the file
 * @param {object} [options]
 * @param {string | string[]} [options.kind] what the file must hold, such as "vectors"
 * @param {string} [options.name] what to call it in messages
 * @returns {Container}
 * @throws {FormatError} if it is not a safetensors file, is truncated, was not written by
 *   embcompress, has a newer format version, or holds something else
 */
export function readContainer(data, { kind, name = "file" } = {}) {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) {
    throw new FormatError(`${name}: files are little-endian, and this machine is not`);
  }
  const bytes = ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
  const { header, start } = readHeader(bytes, name);
  const metadata = header.__metadata__ ?? {};
  delete header.__metadata__;
  const entries = checkedEntries(header, bytes, start, name);
  checkIdentity(metadata, kind, name);
  const tensors = new Map();
  for (const [key, { dtype, shape, first, last }] of entries) {
    const [size, View] = DTYPES[dtype];
    const position = bytes.byteOffset + start + first;
    // files of embcompress are aligned; others may not be, nor where the file lies in memory
    const buffer = position % size ? bytes.slice(start + first, start + last).buffer : bytes.buffer;
    const view = new View(buffer, position % size ? 0 : position, (last - first) / size);
    tensors.set(key, { dtype, shape, data: view });
  }
  return new Container(tensors, metadata, name);
}

/** The header of a file, and where its arrays start. */
function readHeader(bytes, name) {
  const found = `${bytes.length} bytes found`;
  const incomplete = (reason) =>
    new FormatError(
      `${name}: not a complete safetensors file (${reason}; ${found}); ` +
        "was the download or copy interrupted?",
    );
  if (bytes.length < 8) throw incomplete("header too small");
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const size = view.getBigUint64(0, true);
  if (size > LONGEST_HEADER) {
    // the first 8 bytes of some other kind of file
    throw new FormatError(`${name}: not a safetensors file (${found})`);
  }
  const start = 8 + Number(size);
  if (start > bytes.length) throw incomplete("header is cut off");
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, start)));
  } catch {
    throw incomplete("header is not JSON");
  }
  if (!isRecord(header) || !isRecord(header.__metadata__ ?? {})) {
    throw incomplete("header is not a JSON object");
  }
  return { header, start };
}

/** Positions of all arrays, which must fill what follows the header without holes. */
function checkedEntries(header, bytes, start, name) {
  const entries = Object.entries(header).map(([key, entry]) => {
    const { dtype, shape, data_offsets: offsets } = isRecord(entry) ? entry : {};
    if (!isWholes(shape) || !isWholes(offsets) || offsets.length !== 2) {
      throw new FormatError(`${name}: array '${key}' has no shape or no data_offsets`);
    }
    if (!Object.hasOwn(DTYPES, dtype)) {
      throw new FormatError(`${name}: array '${key}' has unknown data type '${dtype}'`);
    }
    return [key, { dtype, shape, first: offsets[0], last: offsets[1] }];
  });
  entries.sort(([, a], [, b]) => a.first - b.first || a.last - b.last);
  let position = 0;
  for (const [key, { dtype, shape, first, last }] of entries) {
    const size = shape.reduce((product, n) => product * n, DTYPES[dtype][0]);
    if (first !== position || last - first !== size) {
      throw new FormatError(
        `${name}: array '${key}' has bytes ${first} to ${last}, expected ${position} to ` +
          `${position + size}`,
      );
    }
    position = last;
  }
  if (start + position !== bytes.length) {
    throw new FormatError(
      `${name}: not a complete safetensors file (${start + position} bytes expected; ` +
        `${bytes.length} bytes found); was the download or copy interrupted?`,
    );
  }
  return entries;
}

function checkIdentity(metadata, kind, name) {
  if (metadata.format !== FORMAT_NAME) {
    throw new FormatError(
      `${name}: a safetensors file, but not one of embcompress (metadata ` +
        `format='${metadata.format}', expected '${FORMAT_NAME}')`,
    );
  }
  const version = metadata.format_version ?? "";
  if (!/^[0-9]+$/.test(version) || version < 1 || version > FORMAT_VERSION) {
    throw new FormatError(
      `${name}: format version '${version}', this module reads versions 1 to ${FORMAT_VERSION}; ` +
        `the file was written by ${metadata.created_with ?? "an unknown version"}`,
    );
  }
  const allowed = kind === undefined ? [metadata.kind] : [kind].flat();
  if (!allowed.includes(metadata.kind)) {
    const expected = allowed.map((each) => `'${each}'`).join(" or ");
    throw new FormatError(`${name}: holds '${metadata.kind}', expected ${expected}`);
  }
}

const isRecord = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isWholes = (value) =>
  Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);

/**
 * Numbers of an F16 array.
 *
 * @param {Uint16Array} bits
 * @returns {Float32Array}
 */
export function float16(bits) {
  return Float32Array.from(bits, (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
    return sign * (1024 + fraction) * 2 ** (exponent - 25);
  });
}

// Words ------------------------------------------------------------------------------------------

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const ENCODER = new TextEncoder();

/**
 * A word from its bytes. Bytes that are not UTF-8 become lone surrogates U+DC80 to U+DCFF, as with
 * Python's "surrogateescape", so that no two words look the same.
 *
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function decodeWord(bytes) {
  try {
    return DECODER.decode(bytes);
  } catch {
    let text = "";
    for (let i = 0; i < bytes.length; ) {
      const length = [1, 2, 3, 4].find((n) => isCharacter(bytes.subarray(i, i + n), n)) ?? 0;
      text += length
        ? DECODER.decode(bytes.subarray(i, i + length))
        : String.fromCharCode(0xdc00 + bytes[i]);
      i += length || 1;
    }
    return text;
  }
}

function isCharacter(bytes, length) {
  try {
    return bytes.length === length && DECODER.decode(bytes).length > 0;
  } catch {
    return false;
  }
}

/** Words in order, as one UTF-8 text and the positions where each word ends. */
export class Vocabulary {
  #words = [];
  /** @type {Map<string, number> | undefined} */
  #table;
  /** @type {string[] | undefined} */
  #folded;

  /**
   * @param {Uint8Array} blob all words, one after the other
   * @param {ArrayLike<number | bigint>} offsets word i is blob[offsets[i] .. offsets[i + 1]]
   */
  constructor(blob, offsets) {
    this.blob = blob;
    this.offsets = offsets;
    this.length = offsets.length - 1;
  }

  /**
   * @param {Container} container
   * @param {number} n how many words there must be
   * @returns {Vocabulary}
   */
  static fromContainer(container, n) {
    const { data: blob } = container.tensor("vocab", ["U8"], 1);
    const { name } = container;
    let offsets;
    if (container.tensors.has("vocab_lengths")) {
      const { data: lengths } = container.tensor("vocab_lengths", ["U8", "U16", "U32"], 1);
      if (lengths.length !== n) {
        throw new FormatError(
          `${name}: ${lengths.length} lengths of words, expected ${n} for ${n} codes`,
        );
      }
      offsets = new Float64Array(n + 1);
      for (let i = 0; i < n; i++) offsets[i + 1] = offsets[i] + lengths[i];
      if (offsets[n] !== blob.length) {
        throw new FormatError(
          `${name}: lengths of words do not add up to their ${blob.length} bytes`,
        );
      }
    } else {
      ({ data: offsets } = container.tensor("vocab_offsets", ["U32", "I64"], 1));
      if (offsets.length !== n + 1) {
        throw new FormatError(
          `${name}: ${offsets.length} word positions, expected ${n + 1} for ${n} codes`,
        );
      }
      if (!areOffsets(offsets, blob.length)) {
        throw new FormatError(
          `${name}: word positions are out of order or do not span the ${blob.length} bytes of ` +
            "words",
        );
      }
    }
    return new Vocabulary(blob, offsets);
  }

  /**
   * Word at a position.
   *
   * @param {number} index
   * @returns {string}
   */
  at(index) {
    return (this.#words[index] ??= decodeWord(
      this.blob.subarray(Number(this.offsets[index]), Number(this.offsets[index + 1])),
    ));
  }

  /**
   * Position of a word, or -1; the first of equal words counts.
   *
   * @param {string} word
   * @returns {number}
   */
  find(word) {
    if (!this.#table) {
      this.#table = new Map();
      for (let i = this.length - 1; i >= 0; i--) this.#table.set(this.at(i), i);
    }
    return this.#table.get(word) ?? -1;
  }

  /**
   * Positions of the first words that start with a text, whatever its case; the word itself, as
   * it is typed or in another case, comes first.
   *
   * @param {string} prefix
   * @param {number} [n]
   * @returns {number[]}
   */
  startingWith(prefix, n = 8) {
    const wanted = prefix.toLowerCase();
    const whole = [];
    const longer = [];
    const folded = this.#fold();
    for (let i = 0; i < folded.length && longer.length < n; i++) {
      if (folded[i] === wanted) whole.push(i);
      else if (folded[i].startsWith(wanted)) longer.push(i);
    }
    // a whole word may be rarer than n longer ones
    for (const each of [prefix, wanted]) {
      const index = this.find(each);
      if (index >= 0 && !whole.includes(index)) whole.push(index);
    }
    const exact = this.find(prefix);
    whole.sort((a, b) => Number(b === exact) - Number(a === exact) || a - b);
    return [...whole, ...longer].slice(0, n);
  }

  /**
   * Words spelt like a word that is not there, nearest first and frequent ones before rare ones.
   *
   * @param {string} word
   * @param {number} [n]
   * @returns {string[]}
   */
  closeWords(word, n = 3) {
    const wanted = word.toLowerCase();
    const most = wanted.length < 5 ? 1 : 2;
    const found = [];
    const folded = this.#fold();
    // the first words of a file are the frequent ones: what people mean when they mistype
    for (let i = 0; i < Math.min(folded.length, 100_000); i++) {
      if (Math.abs(folded[i].length - wanted.length) > most) continue;
      const edits = countEdits(wanted, folded[i], most);
      if (edits <= most && this.at(i) !== word) found.push([edits, i]);
    }
    found.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    return found.slice(0, n).map(([, i]) => this.at(i));
  }

  #fold() {
    if (!this.#folded) {
      this.#folded = new Array(this.length);
      for (let i = 0; i < this.length; i++) this.#folded[i] = this.at(i).toLowerCase();
    }
    return this.#folded;
  }
}

function areOffsets(offsets, end) {
  for (let i = 1; i < offsets.length; i++) if (offsets[i] < offsets[i - 1]) return false;
  return Number(offsets[0]) === 0 && Number(offsets[offsets.length - 1]) === end;
}

/** Letters to insert, delete, change or swap with a neighbour; above `most` it may be too few. */
function countEdits(a, b, most) {
  let before = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row[j] = Math.min(
        last[j] + 1,
        row[j - 1] + 1,
        last[j - 1] + Number(a[i - 1] !== b[j - 1]),
        swapped ? before[j - 2] + 1 : Infinity,
      );
    }
    if (Math.min(...row) > most) return most + 1;
    [before, last] = [last, row];
  }
  return last[b.length];
}

// Codes ------------------------------------------------------------------------------------------

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
  #lengths;

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
   * @param {Container} container of kind "vectors", or "lookup": words, codes and levels only
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
    if (this.nSecond) this.#lengths ??= this.#valueLengths();
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
    const lengths = (this.#lengths ??= this.#valueLengths());
    const length = Math.max(Math.fround(Math.sqrt(dot(query, query))), Math.fround(1e-30));
    const scores = new Float32Array(this.length);
    for (let i = 0, place = 0; i < scores.length; i++) {
      let sum = 0;
      for (let j = 0; j < this.width; j++) sum += tables[(j << 8) | this.codes[place++]];
      scores[i] = Math.fround(Math.fround(sum) / lengths[i]) / length;
    }
    return scores;
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
