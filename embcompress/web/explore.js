/**
 * The page of `embcompress explore`: neighbours, analogies and a map of the words it holds.
 *
 * The word and the analogy are in the fragment of the address, so that going back works and a
 * link can be shared.
 */

import { CompressedVectors } from "./embcompress.js";
import { alongTree, fit, layout, placeLabels, spanningTree } from "./map.js";

const N_NEIGHBOURS = 15;
const N_MORE = 60;
const N_ANSWERS = 5;
const N_COMPLETIONS = 8;
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
// what is not seen: separators, controls, formats, unassigned
const UNSEEN = /^[\p{Z}\p{C}]*$|[\p{Zl}\p{Zp}\p{Cc}\p{Cs}\p{Co}\p{Cn}]/u;

const find = (id) => document.getElementById(id);

/** An element with attributes and children, which are never read as HTML. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

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

const isOdd = (word) => UNSEEN.test(word);

/** A word as it is shown: what cannot be seen by its numbers. */
function shown(word) {
  if (!isOdd(word)) return word;
  const named = Array.from(word, (letter) =>
    /[\p{Z}\p{C}]/u.test(letter)
      ? `U+${letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`
      : letter,
  );
  return named.join(" ") || "(empty)";
}

const shortened = (text) => {
  const letters = Array.from(text);
  return letters.length > LONGEST_LABEL ? `${letters.slice(0, LONGEST_LABEL - 1).join("")}…` : text;
};

const wordElement = (word) =>
  element("bdi", isOdd(word) ? { class: "odd" } : {}, shown(word));

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
      if (found < 0) unknown.push(word);
      return found < 0 ? otherwise : found;
    };
    const word = get("word", before.word);
    const state = new State(word, get("a", before.a), get("b", before.b), get("c", word));
    return { state, unknown };
  }
}

// Choosing a word -------------------------------------------------------------------------------

/** A text field with words to choose from, by keys or by pointer. */
class WordField {
  /**
   * @param {HTMLInputElement} input
   * @param {CompressedVectors} vectors
   * @param {(index: number, isFinal: boolean) => void} onWord a known word was typed or chosen
   * @param {(word: string) => void} onUnknown Enter was pressed on a word that is not there
   */
  constructor(input, vectors, onWord, onUnknown) {
    this.input = input;
    this.list = find(input.getAttribute("aria-controls"));
    this.vectors = vectors;
    this.onWord = onWord;
    this.onUnknown = onUnknown;
    this.options = [];
    this.active = -1;
    this.index = null; // of the word that was typed last
    this.kept = null; // of the word that was chosen last
    input.addEventListener("input", () => this.#typed());
    input.addEventListener("keydown", (event) => this.#pressed(event));
    input.addEventListener("focus", () => input.select());
    input.addEventListener("blur", () => {
      this.close();
      this.#leave();
    });
    // the field must keep the focus, or the list is gone before the click
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.#choose(this.options[Number(option.dataset.place)]);
    });
  }

  /** Show a word. */
  set(index) {
    this.index = this.kept = index;
    this.input.value = index === null ? "" : this.vectors.words.at(index);
  }

  close() {
    this.options = [];
    this.#show();
  }

  #typed() {
    const { value } = this.input;
    const { words } = this.vectors;
    this.options = value === "" ? [] : words.startingWith(value, N_COMPLETIONS);
    this.active = -1;
    this.#show();
    const found = words.find(value);
    if (found >= 0) {
      this.index = found;
      this.onWord(found, false);
    }
  }

  #pressed(event) {
    const { key } = event;
    if (key === "Enter") {
      event.preventDefault();
      if (this.active >= 0) this.#choose(this.options[this.active]);
      else this.#enter();
    } else if (key === "Escape") {
      if (this.options.length) this.close();
      else if (this.kept !== null) this.#choose(this.kept);
      this.input.select();
    } else if ((key === "ArrowDown" || key === "ArrowUp") && this.options.length) {
      event.preventDefault();
      const n = this.options.length + 1; // one more: none is chosen
      this.active = ((this.active + 1 + (key === "ArrowDown" ? 1 : n - 1)) % n) - 1;
      this.#mark();
    }
  }

  /** Take what is typed, in this or another case. */
  #enter() {
    const { words } = this.vectors;
    const typed = [this.input.value, this.input.value.trim()];
    for (const text of typed) {
      const found = words.find(text);
      if (found >= 0) return this.#choose(found);
    }
    const folded = typed[1].toLowerCase();
    const [first] = folded === "" ? [] : words.startingWith(typed[1], 1);
    if (first !== undefined && words.at(first).toLowerCase() === folded) return this.#choose(first);
    this.close();
    // what was typed stays, to be mended; words that it passed through are not meant
    this.index = this.kept;
    if (this.kept !== null) this.onWord(this.kept, true);
    return this.onUnknown(this.input.value);
  }

  #choose(index) {
    this.set(index);
    this.close();
    this.onWord(index, true);
  }

  /** A word that was typed and left goes into the address. */
  #leave() {
    if (this.index === this.kept) return;
    this.kept = this.index;
    this.onWord(this.index, true);
  }

  #show() {
    const typed = this.input.value;
    this.list.replaceChildren(
      ...this.options.map((index, place) => {
        const option = element("li", { role: "option", id: `${this.list.id}-${place}` });
        option.dataset.place = place;
        const text = shown(this.vectors.words.at(index));
        const same = text.toLowerCase().startsWith(typed.toLowerCase()) ? typed.length : 0;
        option.append(element("bdi", {}, text.slice(0, same), element("b", {}, text.slice(same))));
        return option;
      }),
    );
    this.list.hidden = !this.options.length;
    this.input.setAttribute("aria-expanded", String(this.options.length > 0));
    if (!this.options.length) this.active = -1;
    this.#mark();
  }

  #mark() {
    [...this.list.children].forEach((option, place) => {
      option.setAttribute("aria-selected", String(place === this.active));
      if (place === this.active) option.scrollIntoView({ block: "nearest" });
    });
    if (this.active < 0) this.input.removeAttribute("aria-activedescendant");
    else this.input.setAttribute("aria-activedescendant", `${this.list.id}-${this.active}`);
  }
}

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
    const field = (id, change) =>
      new WordField(
        find(id),
        this.vectors,
        (index, isFinal) => this.#change(change(index), isFinal),
        (word) => this.#tellUnknown(word, id, change),
      );
    return {
      word: field("word", (word) => ({ word, c: word })),
      a: field("a", (a) => ({ a })),
      b: field("b", (b) => ({ b })),
      c: field("c", (c) => ({ c })),
    };
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
    if (unknown.length) {
      this.#tellUnknown(unknown[0], "word", (word) => ({ word, c: word }));
    }
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

  #tellUnknown(word, field, change) {
    const parts = [`“${shown(word)}” is not among the ${count(this.vectors.length)} words`];
    this.vectors.words.closeWords(word, 4).forEach((close, place) => {
      const state = Object.assign(new State(), this.state, change(this.vectors.words.find(close)));
      const link = element("a", { href: state.toHash(this.vectors) }, wordElement(close));
      parts.push(place ? ", " : "; close words: ", link);
    });
    this.#tell(field === "word" ? "status" : "analogy-status", parts, true);
  }

  /** The address of a word, with the analogy that there is. */
  #link(index, changes = { word: index, c: index }) {
    return Object.assign(new State(), this.state, changes).toHash(this.vectors);
  }

  #list(found) {
    return found.map(({ word, index, similarity }) => {
      const filled = element("span");
      filled.style.width = `${100 * Math.max(0, similarity)}%`;
      const bar = element("span", { class: "bar", "aria-hidden": "true" }, filled);
      const value = element("span", { class: "score" }, score(similarity));
      return element("li", {}, element("a", { href: this.#link(index) }, wordElement(word), bar, value));
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
      this.#tell("analogy-status", ["Type two words that belong together, as a country and its capital"]);
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
    const points = fit(layout(alongTree(distances, tree)), { x: 48, y: 22, width: width - 96, height: height - 44 });
    const radii = indices.map((_, i) => (i ? 3 + 2.5 * Math.max(0, 1 - distances[0][i] ** 2 / 2) : 7));
    const texts = indices.map((index) => shortened(shown(vectors.words.at(index))));
    const sizes = texts.map((text, i) => ({ width: textWidth(text, i === 0), height: i ? 16 : 18 }));
    const labels = placeLabels(points, sizes, radii, { x: 0, y: 0, width, height });
    const lines = tree.map(([i, j]) =>
      svg("line", { x1: points[i].x, y1: points[i].y, x2: points[j].x, y2: points[j].y }),
    );
    const words = indices.map((index, i) => {
      const dot = svg("circle", { cx: points[i].x, cy: points[i].y, r: radii[i] });
      const name = svg("title", {}, shown(vectors.words.at(index)));
      // the list beside the map says the same and is reached by Tab
      const link = svg("a", { href: this.#link(index), tabindex: "-1" }, name, dot);
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
