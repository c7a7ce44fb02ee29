// Puts the rows that can be seen into the page, and only those. Text goes in as text nodes: a log line is hostile.

const OVERSCAN = 12;
const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23",
});

export class Rows {
  constructor({ view, space, store, heights }) {
    Object.assign(this, { view, space, store, heights });
    this.base = store.first; // row index 0; stays while `first` moves up
    this.shown = new Map(); // seq → element
    this.query = "";
    this.current = 0; // the search hit that is stood on
    this.wraps = false;
  }

  // Room above the first line for saying how many are missing.
  get lead() {
    return this.store.first > 1 ? this.heights.row : 0;
  }

  top(seq) {
    return this.lead + this.heights.top(seq - this.base) - this.heights.top(this.store.first - this.base);
  }

  seqAt(y) {
    return this.base + this.heights.at(Math.max(0, y - this.lead) + this.heights.top(this.store.first - this.base));
  }

  // Shows the rows around the scroll position, of lines up to `last`; returns [from, to] as seen.
  render(last) {
    this.space.style.height = `${this.top(last + 1)}px`;
    const { scrollTop, clientHeight } = this.view;
    const from = Math.max(this.store.first, this.seqAt(scrollTop) - OVERSCAN);
    const to = Math.min(last, this.seqAt(scrollTop + clientHeight) + OVERSCAN);
    const kept = this.#selectionEnds();
    for (const [seq, row] of this.shown) {
      if ((seq < from || seq > to) && !kept.has(seq)) {
        row.remove();
        this.shown.delete(seq);
      }
    }
    this.#tellMissing();
    for (let seq = from; seq <= to; seq++) this.#show(seq);
    if (this.wraps) this.#measure(from, to);
    for (const [seq, row] of this.shown) row.style.transform = `translateY(${this.top(seq)}px)`;
    return [from, to];
  }

  // Every row is drawn anew: the query, the wrapping or the width changed.
  clear() {
    for (const row of this.shown.values()) row.remove();
    this.shown.clear();
  }

  #show(seq) {
    const line = this.store.get(seq);
    let row = this.shown.get(seq);
    if (row && row.line === line && row.query === this.query) {
      row.classList.toggle("current", seq === this.current);
      return;
    }
    if (!row) {
      row = document.createElement("div");
      row.seq = seq;
      this.shown.set(seq, row);
      this.#insert(row);
    }
    row.line = line;
    row.query = this.query;
    row.className = line ? "log-row" : "log-row absent";
    row.classList.toggle("current", seq === this.current);
    if (line) row.dataset.time = clock.format(line[0]);
    row.replaceChildren(...this.#text(line ? line[1] : line === null ? "(no longer kept)" : "…", Boolean(line)));
  }

  #tellMissing() {
    if (!this.lead) return;
    if (!this.missing) {
      this.missing = document.createElement("div");
      this.missing.className = "log-row absent";
      this.space.prepend(this.missing);
    }
    const text = `${(this.store.first - 1).toLocaleString()} earlier lines are no longer kept`;
    if (this.missing.textContent !== text) this.missing.textContent = text;
  }

  // In order of number, so that a selection over several rows reads as it looks.
  #insert(row) {
    let after = this.space.lastElementChild;
    while (after && after.seq > row.seq) after = after.previousElementSibling;
    if (after) after.after(row);
    else this.space.prepend(row);
  }

  #text(text, searched) {
    const lower = text.toLowerCase();
    if (!searched || !this.query || lower.length !== text.length) return [text];
    const nodes = [];
    let done = 0;
    for (let at; (at = lower.indexOf(this.query, done)) >= 0; done = at + this.query.length) {
      const mark = document.createElement("mark");
      mark.textContent = text.slice(at, at + this.query.length);
      nodes.push(text.slice(done, at), mark);
    }
    return [...nodes, text.slice(done)];
  }

  // Learns how high wrapped rows are; what grows above the first seen row must not move it.
  #measure(from, to) {
    const anchor = this.seqAt(this.view.scrollTop);
    let above = 0;
    const measured = [];
    for (let seq = from; seq <= to; seq++) measured.push([seq, this.shown.get(seq).offsetHeight]);
    for (const [seq, height] of measured) {
      const grown = this.heights.set(seq - this.base, height);
      if (seq < anchor) above += grown;
    }
    if (above) this.view.scrollTop += above;
  }

  #selectionEnds() {
    const selection = document.getSelection();
    const kept = new Set();
    if (selection.isCollapsed) return kept;
    for (const node of [selection.anchorNode, selection.focusNode]) {
      const row = (node instanceof Element ? node : node?.parentElement)?.closest(".log-row");
      if (row && this.space.contains(row)) kept.add(row.seq);
    }
    return kept;
  }
}
