// Calls the functions of the map: JSON lines in, JSON lines out.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const map = await import(pathToFileURL(`${process.argv[2]}/map.js`));

for await (const line of createInterface({ input: process.stdin })) {
  const { call, args } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify({ value: map[call](...args) })}\n`);
}
