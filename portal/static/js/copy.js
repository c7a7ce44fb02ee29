// A button with data-copy puts that text on the clipboard and says so.

import { toast } from "./toast.js";

// navigator.clipboard is there on https and localhost only; a portal on a home network may have neither.
function copyBySelection(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

async function copy(button) {
  const text = button.dataset.copy;
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    done = copyBySelection(text);
    button.focus();
  }
  if (done) toast(button.dataset.copySays ?? `Copied ${text}`);
  else toast(`The browser does not let this page copy. Select it by hand: ${text}`, "error");
}

export function start() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
}
