// The command line of a server: the arrow keys walk through what was typed before.

import { toast } from "./toast.js";

const MOST_REMEMBERED = 50;

function memory(key) {
  const load = () => {
    try {
      return JSON.parse(sessionStorage.getItem(key)) ?? [];
    } catch {
      return [];
    }
  };
  return {
    load,
    add(text) {
      const texts = [...load().filter((other) => other !== text), text].slice(-MOST_REMEMBERED);
      try {
        sessionStorage.setItem(key, JSON.stringify(texts));
      } catch {
        // No storage: no history.
      }
    },
  };
}

function attach(box) {
  const form = box.querySelector("form");
  const input = form.elements.command;
  const history = memory(`rcon ${form.getAttribute("action")}`);
  let back = 0;
  let draft = "";
  let underWay = null; // what was sent and is not answered
  let isSent = false; // and nothing was typed since

  input.addEventListener("input", () => (isSent = false));
  input.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    const texts = history.load();
    const next = back + (event.key === "ArrowUp" ? 1 : -1);
    if (next < 0 || next > texts.length) return;
    event.preventDefault();
    if (!back) draft = input.value;
    back = next;
    input.value = back ? texts.at(-back) : draft;
    input.setSelectionRange(input.value.length, input.value.length);
  });
  form.addEventListener("htmx:beforeRequest", ({ detail }) => {
    if (detail.elt === form) underWay = input.value;
  });
  form.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (detail.elt !== form) return;
    back = 0;
    underWay = null;
    if (!detail.successful) return;
    const sent = detail.requestConfig.formData.get("command");
    history.add(sent.trim());
    isSent = input.value === sent; // else the next one was begun while the answer was under way
    if (isSent) input.value = "";
  });
  // Pressed twice, it is sent once: htmx would keep the second press until the first is answered.
  form.addEventListener("htmx:confirm", (event) => {
    if (event.target !== form) return;
    const isEmpty = !input.value.trim();
    if (isEmpty || input.value === underWay) event.preventDefault();
    if (isEmpty && !isSent) toast("Type a command first.");
  });
}

export function start() {
  document.querySelectorAll("[data-rcon]").forEach(attach);
}
