// The lines of one stream that this page holds: those that came over the socket and pages fetched as they are looked
// at. A quarter of a million lines is no more than a number until somebody scrolls there.

const PAGE = 500;
const MOST_PAGES = 160;
const MOST_FETCHES = 2;

export class Store {
  // `fetchLines(after, limit)` resolves to {first, lines: [[seq, at_ms, text], …]}; `onChange` is told of new lines.
  constructor({ first, last, fetchLines, onChange }) {
    Object.assign(this, { first, last, fetchLines, onChange });
    this.pages = new Map();
    this.fetching = new Set();
    this.wanted = [first, first];
    this.failed = false;
  }

  // [at_ms, text], null for a line that is no longer kept, undefined for one not here yet.
  get(seq) {
    return this.pages.get(Math.floor(seq / PAGE))?.[seq % PAGE];
  }

  // Lines of the socket: they follow what is here, or repeat a little of it.
  add(lines) {
    for (const [seq, at, text] of lines) this.#put(seq, [at, text]);
    this.last = Math.max(this.last, lines.at(-1)?.[0] ?? 0);
    this.#evict();
    this.onChange();
  }

  // Retention took the lines up to `seq`.
  forget(seq) {
    this.first = Math.max(this.first, seq + 1);
    this.last = Math.max(this.last, seq);
    for (const page of this.pages.keys()) if ((page + 1) * PAGE <= this.first) this.pages.delete(page);
    this.onChange();
  }

  // Lines from..to are looked at: fetch what is missing of them.
  want(from, to) {
    this.wanted = [from, to];
    this.#fetchNext();
  }

  #put(seq, line) {
    const page = Math.floor(seq / PAGE);
    let lines = this.pages.get(page);
    if (!lines) this.pages.set(page, (lines = new Array(PAGE)));
    lines[seq % PAGE] = line;
  }

  #fetchNext() {
    const [from, to] = this.wanted;
    for (let seq = Math.max(from, this.first); seq <= Math.min(to, this.last); seq++) {
      if (this.fetching.size >= MOST_FETCHES) return;
      const page = Math.floor(seq / PAGE);
      if (this.get(seq) === undefined && !this.fetching.has(page)) this.#fetch(page);
      if (this.fetching.has(page)) seq = (page + 1) * PAGE - 1;
    }
  }

  async #fetch(page) {
    this.fetching.add(page);
    const start = page * PAGE;
    try {
      const { first, lines } = await this.fetchLines(start - 1, PAGE);
      const end = Math.min(start + PAGE - 1, this.last);
      for (let seq = Math.max(start, 1); seq <= end; seq++) if (this.get(seq) === undefined) this.#put(seq, null);
      for (const [seq, at, text] of lines) if (seq <= end) this.#put(seq, [at, text]);
      this.failed = false;
      if (first > this.first) this.forget(first - 1);
      this.#evict();
    } catch {
      this.failed = true;
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
    this.fetching.delete(page);
    this.onChange();
    this.#fetchNext();
  }

  // Keeps what is being looked at and the newest; the rest can be fetched again.
  #evict() {
    if (this.pages.size <= MOST_PAGES) return;
    const near = Math.floor(this.wanted[0] / PAGE);
    const newest = Math.floor(this.last / PAGE);
    const far = [...this.pages.keys()].sort((a, b) => this.#distance(b, near, newest) - this.#distance(a, near, newest));
    for (const page of far.slice(0, this.pages.size - MOST_PAGES)) this.pages.delete(page);
  }

  #distance(page, near, newest) {
    return Math.min(Math.abs(page - near), Math.abs(page - newest));
  }
}
