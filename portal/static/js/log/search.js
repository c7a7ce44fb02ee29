// Finds lines of the whole log, also those this page does not hold: the server searches, new lines are looked at here.

const PAUSE_MS = 250;

export class Search {
  // `ask(query)` resolves to {seqs, more}; `onMove(seq)` shows that line; `topSeq()` is the first one in sight.
  constructor({ form, found, ask, onMove, onQuery, topSeq }) {
    Object.assign(this, { found, ask, onMove, onQuery, topSeq });
    this.input = form.elements.q;
    this.query = "";
    this.seqs = [];
    this.more = false;
    this.index = -1;
    this.input.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.#run(), PAUSE_MS);
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.input.value) {
        event.preventDefault();
        this.input.value = "";
        this.#run();
      }
      if (event.key === "Enter" && event.shiftKey) {
        event.preventDefault();
        this.move(-1);
      }
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.move(1);
    });
    form.querySelector("[data-previous]").addEventListener("click", () => this.move(-1));
  }

  // A line that came just now.
  see(seq, text) {
    if (!this.query || seq <= (this.seqs.at(-1) ?? 0) || !text.toLowerCase().includes(this.query)) return;
    this.seqs.push(seq);
    this.#tell();
  }

  async move(step) {
    if (this.input.value.trim().toLowerCase() !== this.query) await this.#run();
    else if (this.seqs.length) this.#go((this.index + step + this.seqs.length) % this.seqs.length);
  }

  async #run() {
    clearTimeout(this.timer);
    const query = this.input.value.trim().toLowerCase();
    if (query === this.query) return;
    Object.assign(this, { query, seqs: [], more: false, index: -1 });
    this.onQuery(query);
    if (!query) {
      this.found.textContent = "";
      return;
    }
    this.found.textContent = "Searching…";
    try {
      const answer = await this.ask(query);
      if (query !== this.query) return;
      const newer = this.seqs.filter((seq) => seq > (answer.seqs.at(-1) ?? 0));
      Object.assign(this, { seqs: [...answer.seqs, ...newer], more: answer.more });
    } catch (error) {
      if (query !== this.query) return;
      this.found.textContent = error.problem ?? "The search did not work. Try again.";
      this.query = "";
      return;
    }
    const top = this.topSeq();
    const next = this.seqs.findIndex((seq) => seq >= top);
    if (this.seqs.length) this.#go(next < 0 ? this.seqs.length - 1 : next);
    else this.#tell();
  }

  #go(index) {
    this.index = index;
    this.onMove(this.seqs[index]);
    this.#tell();
  }

  #tell() {
    const total = this.seqs.length.toLocaleString() + (this.more ? "+" : "");
    if (this.seqs.length) this.found.textContent = `${(this.index + 1).toLocaleString()} of ${total}`;
    else this.found.textContent = "Not found";
  }
}
