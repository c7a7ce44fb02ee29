// Keeps what is typed into forms until it is saved: over a session's end, a lost connection, a refusal, a closed tab.
// Passwords and what is marked data-secret are never kept, other members never see it, and signing out forgets it.
//
// A form's hidden fields marked data-draft say what it was begun on; they are kept with it, so that text that is put back
// is still compared with the version it was made of.

import { forget, keyOf, onForgotten, onRemoved, read, remove, write } from "./draft_store.js";
import { refusal, restored } from "./draft_notes.js";
import { begin, differs, isRefused, isTracked, isUnsaved, refuse, settle } from "./unsaved.js";

const SAVE_AFTER_MS = 300;
const SENT = "sent";
const SIGNS_OUT = "signs-out";
const SECRET = "[type=password], [type=file], [data-secret], [autocomplete*=password]";
const { user } = document.body.dataset;
const here = () => location.pathname + location.search;
const status = () => performance.getEntriesByType("navigation")[0]?.responseStatus || 200;
const waiting = new Map(); // a timer by form
let ended = false;

function nameOf(form) {
  const target = (one) => new URL(one.getAttribute("action") || location.href, location.href);
  const { pathname, search } = target(form);
  const twins = [...document.forms].filter((other) => other.method === "post" && target(other).href === target(form).href);
  return keyOf(user, `${pathname}${search}#${twins.indexOf(form)}`);
}

function fieldsOf(form) {
  const controls = [...form.elements].filter((one) => one.name && one.matches("input, textarea, select"));
  const changed = controls.filter((one) => one.type !== "hidden" && (isRefused(form) || differs(one)));
  const open = changed.filter((one) => !one.matches(SECRET));
  const begunOn = new Set(open.map(({ name }) => `initial-${name}`));
  const hidden = controls.filter((one) => one.type === "hidden" && (begunOn.has(one.name) || one.matches("[data-draft]")));
  const entry = ({ name, type, value, checked }) =>
    type === "checkbox" || type === "radio" ? { name, value, checked } : { name, text: value, hidden: type === "hidden" };
  return { fields: open.length ? [...open, ...hidden].map(entry) : [], secrets: changed.length > open.length };
}

function save(form) {
  clearTimeout(waiting.get(form));
  waiting.delete(form);
  const key = nameOf(form);
  if (ended || !form.isConnected) return;
  const { fields, secrets } = isUnsaved(form) ? fieldsOf(form) : { fields: [] };
  if (fields.length) write(key, { user, page: read(key)?.page ?? here(), at: Date.now(), fields, secrets });
  else remove(key);
}

function saveSoon({ target: { form } }) {
  if (!isTracked(form)) return;
  clearTimeout(waiting.get(form));
  waiting.set(form, setTimeout(save, SAVE_AFTER_MS, form));
}

const saveAll = () => [...waiting.keys()].forEach(save);

function put(form, { name, value, checked, text }) {
  const found = [...form.elements].find((one) => one.name === name && (checked === undefined || one.value === value));
  if (!found || found.matches(SECRET)) return false;
  if (checked === undefined) found.value = text;
  else found.checked = checked;
  for (let fold = found.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  return true;
}

// Fields that come only with a choice, such as another game's settings, are filled in once they are there.
function putLater(form, fields, missing) {
  const choices = fields.filter(({ checked }) => checked).map(({ name }) => form.querySelector(`[name="${name}"]:checked[hx-get]`));
  addEventListener("DOMContentLoaded", () => choices.forEach((one) => one?.dispatchEvent(new Event("change", { bubbles: true }))));
  const again = () => {
    missing = missing.filter((field) => !put(form, field));
    if (!missing.length) document.removeEventListener("htmx:afterSettle", again);
  };
  document.addEventListener("htmx:afterSettle", again);
}

function restore(form, draft) {
  const before = new Map(draft.fields.map(({ name }) => [name, form.elements[name]?.value]));
  const missing = draft.fields.filter((field) => !put(form, field));
  if (![...form.elements].some(differs) && !missing.length) return remove(nameOf(form)); // it was saved after all
  begin(form);
  if (missing.length) putLater(form, draft.fields, missing);
  restored(form, draft, () => {
    for (const { name, hidden } of draft.fields) if (hidden && form.elements[name]) form.elements[name].value = before.get(name);
    form.reset();
    settle(form);
    remove(nameOf(form));
  });
}

// “Take this one” beside somebody else's text: one's own is given up.
function takeTheirs({ target }) {
  if (!target.closest("[data-take-theirs]")) return;
  for (const form of [...document.forms].filter(isRefused)) {
    settle(form);
    remove(nameOf(form));
  }
}

// What became of the form that led to this page. A page that shows it again shows what was sent.
function conclude(sent) {
  if (!sent) return;
  const form = [...document.forms].find((one) => one.method === "post" && nameOf(one) === sent.key);
  if (status() < 400 && user === sent.user && document.querySelector("#toasts .toast:not(.error), [data-saved]")) {
    remove(sent.key);
  } else if (form && status() >= 400) {
    refuse(form);
    save(form);
  } else if (!form) {
    refusal(read(sent.key), user);
  }
}

function takeSent() {
  try {
    const sent = JSON.parse(sessionStorage.getItem(SENT));
    sessionStorage.removeItem(SENT);
    return sent;
  } catch {
    return null;
  }
}

// The answer to a sign-out may be lost, to a reload by what the page's socket says of it for instance.
function noteSignOut({ target, defaultPrevented }) {
  if (!defaultPrevented && target.matches("[data-sign-out], [action$='/logout/']")) sessionStorage.setItem(SIGNS_OUT, user);
}

function whoSignedOut() {
  const signedOut = document.querySelector("#toasts [data-tags^=signed-out-]");
  if (signedOut) return signedOut.dataset.tags.slice("signed-out-".length);
  const asked = sessionStorage.getItem(SIGNS_OUT);
  sessionStorage.removeItem(SIGNS_OUT);
  return user ? "" : asked;
}

function noteSent({ target: form, defaultPrevented }) {
  if (defaultPrevented || form.hasAttribute("hx-post") || !isTracked(form)) return;
  save(form);
  const key = nameOf(form);
  if (read(key)) sessionStorage.setItem(SENT, JSON.stringify({ key, user }));
}

function follow() {
  document.addEventListener("input", saveSoon);
  document.addEventListener("change", saveSoon);
  document.addEventListener("reset", ({ target }) => setTimeout(save, 0, target));
  document.addEventListener("submit", noteSent);
  document.addEventListener("submit", noteSignOut);
  document.addEventListener("click", takeTheirs);
  document.body.addEventListener("htmx:afterRequest", ({ detail: { elt, successful } }) => {
    if (!successful || !elt.matches("form")) return;
    settle(elt);
    save(elt);
  });
  addEventListener("pagehide", saveAll);
  document.addEventListener("visibilitychange", saveAll);
  onForgotten(user, () => (ended = true));
  onRemoved((key) => [...document.forms].filter((form) => isUnsaved(form) && nameOf(form) === key).forEach(save));
}

export function start() {
  const signedOut = whoSignedOut();
  if (signedOut) forget(signedOut);
  conclude(takeSent());
  if (!user) return;
  for (const form of document.forms) {
    if (!isTracked(form) || isRefused(form)) continue;
    const draft = read(nameOf(form));
    if (draft) restore(form, draft);
  }
  follow();
}
