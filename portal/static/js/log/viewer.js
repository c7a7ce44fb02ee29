// A live log: a socket that resumes by number, a list that draws only what is seen, follow, pause, search, wrap.

import { connect } from "../socket.js";
import { Heights } from "./heights.js";
import { Rows } from "./rows.js";
import { Search } from "./search.js";
import { Store } from "./store.js";

const TAIL = 300; // lines the socket brings at once; older ones are fetched when somebody scrolls there
const MOST_ROWS = 1_000_000; // browsers cannot scroll much further than that many rows
const FETCH_MS = 30_000; // an answer that takes longer will not come
const END_WITHIN = 6; // pixels

const CLOSED = {
  1013: ["The portal is busy. Trying again in a moment…", true],
  4401: ["You are signed out. Sign in again to go on watching.", true],
  4403: ["You may no longer see this log. Ask the server’s owner for the right to.", false],
  4404: ["This log is gone: it was deleted, or is not for you to see any more.", false],
  4408: ["Your connection was too slow to keep up. Going on where it stopped…", true],
  4429: ["Too many logs are open at once. Close some other tabs; this one tries again by itself.", true],
};

class Viewer {
  constructor(box) {
    this.box = box;
    const part = (name) => box.querySelector(`[data-log-${name}]`);
    this.view = part("view");
    this.note = part("note");
    this.endButton = part("end");
    this.pauseButton = part("pause");
    const last = Number(box.dataset.last);
    const first = Math.max(Number(box.dataset.first), last - MOST_ROWS);
    const heights = new Heights(parseFloat(getComputedStyle(this.view).lineHeight));
    this.store = new Store({
      first, last,
      fetchLines: (after, limit) => this.#json(`${box.dataset.linesUrl}?after=${after}&limit=${limit}`),
      onChange: () => this.#draw(),
    });
    this.rows = new Rows({ view: this.view, space: part("space"), store: this.store, heights });
    this.last = last; // the last line shown; stays behind while paused
    this.following = true;
    this.paused = false;
    this.search = new Search({
      form: part("search"),
      found: part("found"),
      ask: (query) => this.#json(`${box.dataset.searchUrl}?q=${encodeURIComponent(query)}`),
      onMove: (seq) => this.#goTo(seq),
      onQuery: (query) => {
        this.rows.query = query;
        this.rows.current = 0;
        this.#draw();
      },
      topSeq: () => this.rows.seqAt(this.view.scrollTop),
    });
    this.#listen(part);
    this.#connect();
    this.#draw();
  }

  async #json(url) {
    const answer = await fetch(url, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(FETCH_MS) });
    if (answer.ok) return answer.json();
    const { problem } = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(String(answer.status)), { problem });
  }

  #connect() {
    let after = Math.max(this.store.first - 1, this.store.last - TAIL);
    connect({
      path: () => `/ws/streams/${this.box.dataset.stream}/?after=${after}`,
      onOpen: () => this.#say(""),
      onMessage: (frame) => {
        if (frame.type === "lines") {
          after = frame.lines.at(-1)[0];
          this.store.add(frame.lines);
          for (const [seq, , text] of frame.lines) this.search.see(seq, text);
        } else if (frame.type === "gap") {
          after = Math.max(after, frame.to);
          this.store.forget(frame.to);
        } else if (frame.type === "end") {
          this.ended = true;
          this.#say("");
        }
      },
      onClose: (code) => {
        const [text, again] = CLOSED[code] ?? ["The connection was lost. Reconnecting…", true];
        if (this.ended) return false;
        this.#say(text, !again);
        return again;
      },
    });
  }

  #say(text, isFinal = false) {
    this.note.textContent = text;
    this.note.hidden = !text;
    this.note.classList.toggle("bad", isFinal);
  }

  #listen(part) {
    this.view.addEventListener("scroll", () => {
      this.following = this.#isAtEnd();
      this.#draw();
    }, { passive: true });
    this.view.addEventListener("wheel", ({ deltaY }) => deltaY < 0 && (this.following = false), { passive: true });
    this.view.addEventListener("copy", (event) => this.#copy(event));
    // Text that is being selected must not run away.
    document.addEventListener("selectionchange", () => {
      const selection = document.getSelection();
      if (!selection.isCollapsed && this.view.contains(selection.anchorNode)) this.following = false;
    });
    this.endButton.addEventListener("click", () => {
      if (this.paused) this.#pause(false);
      this.following = true;
      this.view.focus();
      this.#draw();
    });
    this.pauseButton.addEventListener("click", () => this.#pause(!this.paused));
    for (const name of ["times", "wrap"]) {
      const button = part(name);
      button.addEventListener("click", () => this.#toggle(name, button));
    }
    new ResizeObserver(() => this.#redraw()).observe(this.view);
  }

  #pause(paused) {
    this.paused = paused;
    this.pauseButton.setAttribute("aria-pressed", String(paused));
    this.pauseButton.querySelector("span").textContent = paused ? "Paused" : "Pause";
    this.#draw();
  }

  #toggle(name, button) {
    const on = this.box.classList.toggle(name);
    button.setAttribute("aria-pressed", String(on));
    this.rows.wraps = this.box.classList.contains("wrap");
    this.#redraw();
  }

  // Wrapping or width changed, and with it the height of every row: keep the first seen row where it is.
  #redraw() {
    const top = this.rows.seqAt(this.view.scrollTop);
    this.rows.heights.clear();
    this.rows.clear();
    if (!this.following) this.view.scrollTop = this.rows.top(top);
    this.#draw();
  }

  #isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.view;
    return scrollHeight - scrollTop - clientHeight < END_WITHIN;
  }

  #goTo(seq) {
    this.following = false;
    this.rows.current = seq;
    this.last = Math.max(this.last, seq);
    this.rows.space.style.height = `${this.rows.top(this.last + 1)}px`;
    this.view.scrollTop = this.rows.top(seq) - this.view.clientHeight / 3;
    this.#draw();
  }

  #draw() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      this.#drawNow();
    });
  }

  #drawNow() {
    if (!this.paused) this.last = this.store.last;
    this.#holdPlace();
    let seen = this.rows.render(this.last);
    if (this.following && !this.paused && !this.#isAtEnd()) {
      this.view.scrollTop = this.view.scrollHeight;
      seen = this.rows.render(this.last);
      this.view.scrollTop = this.view.scrollHeight;
    }
    this.store.want(...seen);
    this.#tellEnd();
  }

  // Retention took lines from above: what is read stays where it is.
  #holdPlace() {
    const taken = this.store.first - (this.drawnFirst ?? this.store.first);
    if (taken > 0 && !this.following) this.view.scrollTop -= taken * this.rows.heights.row;
    this.drawnFirst = this.store.first;
  }

  #tellEnd() {
    const below = this.store.last - Math.min(this.last, this.rows.seqAt(this.view.scrollTop + this.view.clientHeight - 1));
    this.endButton.hidden = !this.paused && (this.following || this.#isAtEnd());
    this.endButton.querySelector("span").textContent = below > 0 ? `${below.toLocaleString()} more` : "Jump to end";
    this.box.querySelector("[data-log-empty]").hidden = this.store.last >= this.store.first;
  }

  // Rows between the ends of a selection may not be in the page: the text comes from what is held.
  #copy(event) {
    const range = document.getSelection().getRangeAt(0);
    const row = (node) => (node instanceof Element ? node : node.parentElement).closest(".log-row");
    const [start, end] = [row(range.startContainer), row(range.endContainer)];
    if (!start || !end || start === end) return;
    const offset = (element, node, at) => {
      const before = document.createRange();
      before.selectNodeContents(element);
      before.setEnd(node, at);
      return before.toString().length;
    };
    const texts = [];
    for (let seq = start.seq; seq <= end.seq; seq++) texts.push(this.store.get(seq)?.[1] ?? "");
    texts[texts.length - 1] = texts.at(-1).slice(0, offset(end, range.endContainer, range.endOffset));
    texts[0] = texts[0].slice(offset(start, range.startContainer, range.startOffset));
    event.clipboardData.setData("text/plain", texts.join("\n"));
    event.preventDefault();
  }
}

export function start() {
  for (const box of document.querySelectorAll("[data-log]")) new Viewer(box);
}
