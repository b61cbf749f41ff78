/**
 * Words on a page: how they are shown, and a field to type or choose one.
 *
 * @module field
 */

const N_COMPLETIONS = 8;
// what is not seen: separators, controls, formats, unassigned
const UNSEEN = /^[\p{Z}\p{C}]*$|[\p{Zl}\p{Zp}\p{Cc}\p{Cs}\p{Co}\p{Cn}]/u;

/** Element of an id. */
export const find = (id) => document.getElementById(id);

/** An element with attributes and children, which are never read as HTML. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const isOdd = (word) => UNSEEN.test(word);

/** A word as it is shown: what cannot be seen by its numbers. */
export function shown(word) {
  if (!isOdd(word)) return word;
  const named = Array.from(word, (letter) =>
    /[\p{Z}\p{C}]/u.test(letter)
      ? `U+${letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`
      : letter,
  );
  return named.join(" ") || "(empty)";
}

/** A word in its own direction of writing. */
export const wordElement = (word) =>
  element("bdi", isOdd(word) ? { class: "odd" } : {}, shown(word));

/** A text field with words to choose from, by keys or by pointer. */
export class WordField {
  /**
   * @param {HTMLInputElement} input
   * @param {import("./embcompress.js").CompressedVectors} vectors
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
