// Layers are dragged into their order; the buttons up and down do the same by keyboard and without scripts.

let dragged = null;

const entryOf = (target) => target.closest?.("[data-order] > li");

function place(event) {
  const over = entryOf(event.target);
  if (!dragged || !over || over.parentElement !== dragged.parentElement) return;
  event.preventDefault();
  if (over === dragged) return;
  const { top, height } = over.getBoundingClientRect();
  over[event.clientY < top + height / 2 ? "before" : "after"](dragged);
}

function drop() {
  if (!dragged) return;
  const entry = dragged;
  dragged = null;
  entry.classList.remove("dragged");
  entry.draggable = false;
  const to = [...entry.parentElement.children].indexOf(entry);
  if (to === Number(entry.dataset.from)) return;
  const csrf = document.querySelector("#order [name=csrfmiddlewaretoken]").value;
  htmx.ajax("POST", entry.dataset.move, { values: { to, csrfmiddlewaretoken: csrf }, swap: "none", source: entry });
}

export function start() {
  if (!document.querySelector("#stack")) return;
  // Only the grip begins a drag: text of an entry can still be selected, its links pressed.
  document.addEventListener("pointerdown", (event) => {
    const entry = event.target.closest?.(".grip") && entryOf(event.target);
    if (entry) entry.draggable = true;
  });
  document.addEventListener("dragstart", (event) => {
    const entry = entryOf(event.target);
    if (!entry?.draggable) return;
    dragged = entry;
    entry.dataset.from = [...entry.parentElement.children].indexOf(entry);
    event.dataTransfer.effectAllowed = "move";
    requestAnimationFrame(() => entry.classList.add("dragged"));
  });
  document.addEventListener("dragover", place);
  document.addEventListener("drop", (event) => dragged && event.preventDefault());
  document.addEventListener("dragend", drop);
}
