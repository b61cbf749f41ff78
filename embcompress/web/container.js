/**
 * Reader of the container: a safetensors file with the metadata of embcompress.
 *
 * docs/format.md describes it.
 *
 * @module container
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
