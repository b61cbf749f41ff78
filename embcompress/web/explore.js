/**
 * The page of `embcompress explore`: neighbours, analogies and a map of the words it holds.
 *
 * The word and the analogy are in the fragment of the address, so that going back works and a
 * link can be shared.
 */

import { CompressedVectors } from "./embcompress.js";
import { WordField, element, find, shown, wordElement } from "./field.js";
import { alongTree, fit, layout, placeLabels, spanningTree } from "./map.js";

const N_NEIGHBOURS = 15;
const N_MORE = 60;
const N_ANSWERS = 5;
// points of the map, and pixels from which a map holds all of them
const N_MAP = 28;
const WIDE_MAP = 520;
const LONGEST_LABEL = 22;
// where a vocabulary of another language or case starts: at a word that is neither the nor a
const FIRST_WORDS = ["king", "King", "music", "Music"];
const FIRST_INDEX = 200;
const PAIRS = [
  ["man", "woman"],
  ["france", "paris"],
  ["france", "french"],
  ["good", "better"],
  ["large", "larger"],
  ["car", "cars"],
  ["walk", "walking"],
  ["go", "went"],
];
function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Whether an address can hold a word: one with half of a surrogate pair is not text. */
function isText(word) {
  try {
    return encodeURIComponent(word) !== "";
  } catch {
    return false;
  }
}

const shortened = (text) => {
  const letters = Array.from(text);
  if (letters.length <= LONGEST_LABEL) return text;
  return `${letters.slice(0, LONGEST_LABEL - 1).join("")}…`;
};

const count = (n) => n.toLocaleString("en");

const score = (x) => x.toFixed(3).replace("-", "−");

// The state, and the address --------------------------------------------------------------------

/** Word of the page and the terms of its analogy, by their positions in the file. */
class State {
  constructor(word, a, b, c) {
    Object.assign(this, { word, a, b, c });
  }

  /** The fragment of the address; a word that an address cannot hold goes by its position. */
  toHash(vectors) {
    const parameters = new URLSearchParams();
    const put = (name, index) => {
      if (index === null) return;
      const word = vectors.words.at(index);
      const plain = isText(word) && vectors.words.find(word) === index;
      parameters.set(plain ? name : `${name}#`, plain ? word : index);
    };
    put("word", this.word);
    put("a", this.a);
    put("b", this.b);
    if (this.c !== this.word) put("c", this.c);
    return `#${parameters}`;
  }

  /** What an address says; words that are not there are left as they were. */
  static fromHash(hash, vectors, before) {
    const parameters = new URLSearchParams(hash.slice(1));
    const unknown = [];
    const get = (name, otherwise) => {
      const index = Number(parameters.get(`${name}#`) ?? NaN);
      if (Number.isInteger(index) && index >= 0 && index < vectors.length) return index;
      const word = parameters.get(name);
      if (word === null) return otherwise;
      const found = vectors.words.find(word);
      if (found < 0) unknown.push([name, word]);
      return found < 0 ? otherwise : found;
    };
    const word = get("word", before.word);
    const state = new State(word, get("a", before.a), get("b", before.b), get("c", word));
    return { state, unknown };
  }
}

/** What a word in each of the fields changes: the analogy goes on from the word of the page. */
const CHANGES = {
  word: (word) => ({ word, c: word }),
  a: (a) => ({ a }),
  b: (b) => ({ b }),
  c: (c) => ({ c }),
};

// The page --------------------------------------------------------------------------------------

class Page {
  constructor(vectors) {
    this.vectors = vectors;
    this.nShown = N_NEIGHBOURS;
    const { words } = vectors;
    const known = (word) => words.find(word);
    const capital = ([first, ...rest]) => first.toUpperCase() + rest.join("");
    this.pairs = PAIRS.flatMap((pair) => [pair, pair.map(capital)])
      .map((pair) => pair.map(known))
      .filter((pair) => Math.min(...pair) >= 0)
      .slice(0, PAIRS.length);
    const first = FIRST_WORDS.map(known).find((index) => index >= 0);
    const word = first ?? Math.min(FIRST_INDEX, vectors.length - 1);
    const [a, b] = this.pairs[0] ?? [null, null];
    this.first = new State(word, a, b, word);
    this.state = this.first;
    this.fields = this.#makeFields();
    this.#makePairs();
    this.#listen();
    this.#read();
  }

  #makeFields() {
    const fields = Object.keys(CHANGES).map((name) => [
      name,
      new WordField(
        find(name),
        this.vectors,
        (index, isFinal) => this.#change(CHANGES[name](index), isFinal),
        (word) => this.#tellUnknown(name, word),
      ),
    ]);
    return Object.fromEntries(fields);
  }

  #makePairs() {
    const { words } = this.vectors;
    find("pairs").replaceChildren(
      ...this.pairs.map(([a, b]) => {
        const label = `${words.at(a)} → ${words.at(b)}`;
        const button = element("button", { type: "button" }, label);
        button.addEventListener("click", () => this.#change({ a, b }, true));
        return button;
      }),
    );
  }

  #listen() {
    window.addEventListener("hashchange", () => this.#read());
    document.addEventListener("keydown", (event) => this.#pressed(event));
    for (const id of ["search", "analogy"]) {
      find(id).addEventListener("submit", (event) => event.preventDefault());
    }
    find("more").addEventListener("click", () => {
      this.nShown = N_MORE;
      this.#showNeighbours();
      find("neighbours").children[N_NEIGHBOURS]?.firstChild.focus();
    });
    new ResizeObserver(() => this.#showMap()).observe(find("map"));
  }

  #pressed(event) {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inField = target instanceof HTMLInputElement;
    const list = target.closest?.(".found");
    if (key === "/" && !inField) {
      event.preventDefault();
      this.fields.word.input.focus();
    } else if (key === "Escape" && !inField) {
      this.fields.word.input.focus();
    } else if (list && (key === "ArrowDown" || key === "ArrowUp")) {
      event.preventDefault();
      const links = [...list.querySelectorAll("a")];
      const next = links.indexOf(target) + (key === "ArrowDown" ? 1 : -1);
      links[Math.max(0, Math.min(next, links.length - 1))].focus();
    } else if (target.id === "word" && key === "ArrowDown" && !event.defaultPrevented) {
      event.preventDefault();
      find("neighbours").querySelector("a")?.focus();
    }
  }

  /** Show other words; `isFinal` writes them to the address, which going back returns from. */
  #change(changes, isFinal) {
    const next = Object.assign(new State(), this.state, changes);
    if (Object.keys(next).some((name) => next[name] !== this.state[name])) {
      this.state = next;
      this.#show();
    }
    const hash = this.state.toHash(this.vectors);
    if (isFinal && location.hash !== hash) location.hash = hash;
  }

  #read() {
    const { state, unknown } = State.fromHash(location.hash, this.vectors, this.first);
    const isShown = this.hash === state.toHash(this.vectors);
    this.state = state;
    if (!isShown) this.#show();
    for (const [name, word] of unknown) this.#tellUnknown(name, word);
  }

  #show() {
    this.hash = this.state.toHash(this.vectors);
    this.nShown = N_NEIGHBOURS;
    for (const [name, field] of Object.entries(this.fields)) {
      if (document.activeElement !== field.input || field.index !== this.state[name]) {
        field.set(this.state[name]);
      }
    }
    this.#ask();
    this.#showNeighbours();
    this.#showMap();
    this.#showAnalogy();
  }

  #ask() {
    const word = this.vectors.words.at(this.state.word);
    const started = performance.now();
    this.neighbours = this.vectors.mostSimilar(this.state.word, { topn: N_MORE });
    const milliseconds = performance.now() - started;
    document.title = `${shown(word)} · ${document.querySelector("h1").textContent}`;
    find("neighbours-title").replaceChildren("Neighbours of ", wordElement(word));
    find("time").textContent = this.#taken(milliseconds);
    this.#tell("status", ["Words near ", wordElement(word)]);
  }

  #taken(milliseconds) {
    return `${count(this.vectors.length)} words in ${milliseconds.toFixed(1)} ms`;
  }

  #tell(id, parts, isTrouble = false) {
    find(id).replaceChildren(...parts);
    find(id).className = isTrouble ? "trouble" : "";
  }

  #tellUnknown(name, word) {
    const parts = [`“${shown(word)}” is not among the ${count(this.vectors.length)} words`];
    this.vectors.words.closeWords(word, 4).forEach((close, place) => {
      const href = this.#link(CHANGES[name](this.vectors.words.find(close)));
      parts.push(place ? ", " : "; close words: ", element("a", { href }, wordElement(close)));
    });
    this.#tell(name === "word" ? "status" : "analogy-status", parts, true);
  }

  /** The address of what is shown, with some changes. */
  #link(changes) {
    return Object.assign(new State(), this.state, changes).toHash(this.vectors);
  }

  #list(found) {
    return found.map(({ word, index, similarity }) => {
      const filled = element("span");
      filled.style.width = `${100 * Math.max(0, similarity)}%`;
      const bar = element("span", { class: "bar", "aria-hidden": "true" }, filled);
      const value = element("span", { class: "score" }, score(similarity));
      const href = this.#link(CHANGES.word(index));
      return element("li", {}, element("a", { href }, wordElement(word), bar, value));
    });
  }

  #showNeighbours() {
    find("neighbours").replaceChildren(...this.#list(this.neighbours.slice(0, this.nShown)));
    find("more").hidden = this.nShown >= this.neighbours.length;
  }

  #showAnalogy() {
    const { a, b, c } = this.state;
    [...find("pairs").children].forEach((button, place) => {
      const [first, second] = this.pairs[place];
      button.setAttribute("aria-pressed", String(first === a && second === b));
    });
    if (a === null || b === null) {
      const advice = "Type two words that belong together, as a country and its capital";
      this.#tell("analogy-status", [advice]);
      find("answers").replaceChildren();
      return;
    }
    const started = performance.now();
    const found = this.vectors.mostSimilar(
      { positive: [b, c], negative: [a] },
      { topn: N_ANSWERS, scoring: "asymmetric" },
    );
    const milliseconds = performance.now() - started;
    find("answers").replaceChildren(...this.#list(found));
    find("analogy-time").textContent = this.#taken(milliseconds);
    this.#tell("analogy-status", []);
  }

  #showMap() {
    const room = find("map");
    const { clientWidth: width, clientHeight: height } = room;
    if (!width || !height || !this.neighbours) return;
    const n = Math.round(N_MAP * Math.min(1, Math.max(0.5, width / WIDE_MAP)));
    const around = this.neighbours.slice(0, n);
    const indices = [this.state.word, ...around.map(({ index }) => index)];
    room.replaceChildren(this.#drawMap(indices, width, height));
  }

  #drawMap(indices, width, height) {
    const { vectors } = this;
    const distances = vectors.distances(indices);
    const tree = spanningTree(distances);
    // labels reach farther to the sides than up and down
    const inner = { x: 48, y: 22, width: width - 96, height: height - 44 };
    const points = fit(layout(alongTree(distances, tree)), inner);
    // nearer words are larger; half the squared distance is 1 minus the similarity
    const radii = distances[0].map((d, i) => (i ? 3 + 2.5 * Math.max(0, 1 - d ** 2 / 2) : 7));
    const texts = indices.map((index) => shortened(shown(vectors.words.at(index))));
    const sizes = texts.map((text, i) => ({ width: textWidth(text, !i), height: i ? 16 : 18 }));
    const labels = placeLabels(points, sizes, radii, { x: 0, y: 0, width, height });
    const lines = tree.map(([i, j]) =>
      svg("line", { x1: points[i].x, y1: points[i].y, x2: points[j].x, y2: points[j].y }),
    );
    const words = indices.map((index, i) => {
      const dot = svg("circle", { cx: points[i].x, cy: points[i].y, r: radii[i] });
      const name = svg("title", {}, shown(vectors.words.at(index)));
      // the list beside the map says the same and is reached by Tab
      const link = svg("a", { href: this.#link(CHANGES.word(index)), tabindex: "-1" }, name, dot);
      if (i === 0) link.setAttribute("class", "here");
      if (labels[i]) {
        const { x, y, height: h } = labels[i];
        link.append(svg("text", { x, y: y + h / 2 }, texts[i]));
      }
      return link;
    });
    const title = `Map of ${texts[0]} and its ${indices.length - 1} nearest words`;
    return svg(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title },
      ...lines,
      ...words.reverse(), // the word itself lies on top
    );
  }
}

const brush = document.createElement("canvas").getContext("2d");

function textWidth(text, isHere) {
  const { fontFamily } = getComputedStyle(document.body);
  brush.font = `${isHere ? "650 15px" : "13px"} ${fontFamily}`;
  return brush.measureText(text).width + 2;
}

/** Bytes of the file that the page holds. */
function fileBytes() {
  const text = find("file").textContent;
  find("file").remove(); // 4 bytes for each 3: not to be kept twice
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

try {
  const vectors = CompressedVectors.read(fileBytes(), { name: "this page" }).prepare();
  // for the console, and for tests and measurements
  Object.assign(globalThis, { vectors, page: new Page(vectors) });
} catch (error) {
  find("status").textContent = error.message;
  find("status").classList.add("trouble");
  throw error;
}
