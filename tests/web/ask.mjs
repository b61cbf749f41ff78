// Opens files with the reader under test and answers questions: JSON lines in, JSON lines out.
//
// A line is {"call": name, "args": [...]}; the argument of the script is the folder of the reader.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const reader = await import(pathToFileURL(`${process.argv[2]}/embcompress.js`));
let vectors;

const calls = {
  open(path) {
    vectors = reader.CompressedVectors.read(readFileSync(path), { name: path.split("/").at(-1) });
    return { length: vectors.length, nBits: vectors.nBits, metadata: vectors.metadata };
  },
  container(path, kind, tensor) {
    const opened = reader.readContainer(readFileSync(path), { kind, name: path.split("/").at(-1) });
    const { dtype, shape, data } = opened.tensors.get(tensor);
    const numbers = dtype === "F16" ? reader.float16(data) : data;
    return { dtype, shape, data: Array.from(numbers, Number) };
  },
  // a view at an odd address, as it is where a file lies inside another one
  openInside(path) {
    const file = readFileSync(path);
    const room = new Uint8Array(file.length + 3);
    room.set(file, 3);
    vectors = reader.CompressedVectors.read(room.subarray(3));
    return { length: vectors.length };
  },
  mostSimilar: (terms, options) => vectors.mostSimilar(terms, options),
  similarity: (a, b) => vectors.similarity(a, b),
  values: (index) => Array.from(vectors.values(index)),
  words: () => Array.from({ length: vectors.length }, (_, i) => vectors.words.at(i)),
  find: (word) => vectors.words.find(word),
  startingWith: (prefix, n) => vectors.words.startingWith(prefix, n).map((i) => vectors.words.at(i)),
  closeWords: (word, n) => vectors.words.closeWords(word, n),
  topK: (scores, k) => reader.topK(scores, k),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { call, args } = JSON.parse(line);
  let answer;
  try {
    answer = { value: calls[call](...args) };
  } catch (error) {
    answer = { error: error.name, message: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
