// Which forms hold what somebody typed and has not saved. Whoever swaps, reloads or leaves the page asks here first.

const begun = new WeakSet(); // changed and not yet sent
const refused = new WeakSet(); // shown again by the portal, which has not taken what is in it
let leaving = false;
let signsOut = false;

export const isTracked = (form) => form?.method === "post" && !form.hasAttribute("data-no-draft");

// Whether a control holds something else than the portal wrote into it.
export function differs(control) {
  if (control.matches("[type=checkbox], [type=radio]")) return control.checked !== control.defaultChecked;
  if (control.matches("select")) return control.selectedIndex !== Math.max(0, [...control.options].findLastIndex((one) => one.defaultSelected));
  return control.matches("input:not([type=hidden]), textarea") && control.value !== control.defaultValue;
}

export const isBegun = (form) => begun.has(form);
export const isRefused = (form) => refused.has(form);
export const isUnsaved = (form) =>
  isTracked(form) && (refused.has(form) || (begun.has(form) && [...form.elements].some(differs)));
export const unsavedWithin = (root) =>
  [...document.forms].some((form) => (root.contains(form) || form.contains(root)) && isUnsaved(form));
export const anyUnsaved = () => unsavedWithin(document.body);
export const isSigningOut = () => signsOut;

export function begin(form) {
  if (!form) return;
  begun.add(form);
  // “Back” brings drafts; the browser's own memory would put what was saved over what somebody else made of it since.
  if (isTracked(form)) form.autocomplete = "off";
}
export const refuse = (form) => refused.add(form);
export function settle(form) {
  begun.delete(form);
  refused.delete(form);
}

export function start() {
  const note = ({ target }) => begin(target.form);
  document.addEventListener("input", note);
  document.addEventListener("change", note);
  document.addEventListener("reset", ({ target }) => settle(target));
  document.addEventListener("submit", ({ target, defaultPrevented }) => {
    signsOut = !defaultPrevented && target.hasAttribute("data-sign-out");
    leaving = !defaultPrevented && !signsOut;
  });
  addEventListener("pageshow", () => (leaving = signsOut = false));
  // What is sent without leaving the page needs no question: its form is short, and drafts.js keeps it.
  addEventListener("beforeunload", (event) => {
    const asks = [...document.forms].some((form) => !form.hasAttribute("hx-post") && isUnsaved(form));
    if (asks && !leaving) event.preventDefault();
  });
}
