/**
 * Words as one UTF-8 text with positions: looking up, completing, and words spelt alike.
 *
 * @module vocabulary
 */

import { FormatError } from "./container.js";

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

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

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
   * @param {import("./container.js").Container} container
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
