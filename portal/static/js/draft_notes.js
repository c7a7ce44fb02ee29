// What a page says of a draft: that it was put back, or that what was sent is not saved.

const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function made(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function restored(form, draft, discard) {
  const again = draft.secrets ? " Passwords are not kept: type them again." : "";
  const text = `What you typed on ${when.format(new Date(draft.at))} was kept and is back. It is not saved yet.${again}`;
  const button = made("button", { type: "button", className: "button", textContent: "Discard it" });
  const note = made("div", { className: "notice busy draft" }, made("p", { textContent: text }), made("div", { className: "row" }, button));
  note.setAttribute("role", "status");
  button.addEventListener("click", () => {
    discard();
    note.remove();
  });
  form.addEventListener("htmx:afterRequest", ({ detail }) => detail.elt === form && detail.successful && note.remove());
  form.prepend(note);
}

// On the page that came instead of an answer: what was sent, for its member alone, and the way back to it.
export function refusal(draft, user) {
  if (!draft) return;
  const says = user ? "It was not saved, but what you typed is kept." : "You were signed out before it was saved. Sign in, and what you typed is back.";
  const note = made("div", { className: "notice busy draft" }, made("p", { textContent: says }));
  if (user && user === draft.user) note.append(texts(draft), made("div", { className: "row" }, wayBack(draft)));
  note.setAttribute("role", "status");
  document.getElementById("main").prepend(note);
}

function wayBack({ page }) {
  const link = made("a", { className: "button", textContent: "Back to it" });
  if (page.startsWith("/") && !page.startsWith("//")) link.href = page;
  return link;
}

function texts({ fields }) {
  const typed = fields.filter(({ text, hidden }) => text && !hidden);
  const shown = typed.map(({ name, text }) => {
    const area = made("textarea", { readOnly: true, value: text, rows: Math.min(12, text.split("\n").length + 1), className: "code" });
    area.setAttribute("aria-label", name);
    return area;
  });
  return made("details", { className: "more" }, made("summary", { textContent: "What you typed" }), ...shown);
}
