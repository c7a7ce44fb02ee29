// Keeps the page true. An element with data-topic is fetched again, from its data-part, when that topic changes, and all
// of them are when the connection had been lost. The swap is a morph: focus, selection and scroll stay, and so
// does a form that someone has begun to fill in.

import { keep, look, lookIfKept, reload } from "./session.js";
import { connect } from "./socket.js";
import { toast } from "./toast.js";
import { anyUnsaved, isBegun, unsavedWithin } from "./unsaved.js";

const BANNER_AFTER_MS = 2500;
const FETCH_MS = 30_000; // an answer that takes longer will not come
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30_000;
const CLICK_MS = 50; // by then a release has become a click, also that of a finger
let busy = new WeakSet(); // being fetched now
const failed = new WeakSet(); // not fetched when last tried
const stale = new WeakSet(); // to be fetched again: changed meanwhile, or not to be swapped just then
const failures = new WeakMap(); // fetches that failed, since the last that did not
const heardAt = new Map(); // when a topic was last told of
let held = ""; // "press" or "drag" while a pointer is down, "released" until its click has come
let letGo;

const topicsOf = (element) => element.dataset.topic.split(" ");
const topicElements = (topic) =>
  [...document.querySelectorAll("[data-topic]")].filter((el) => !topic || topicsOf(el).includes(topic));

const isTypedIn = (element) =>
  element.contains(document.activeElement) &&
  document.activeElement.matches("input:not([type=checkbox], [type=radio]), textarea, select");

// A swap would take what is pressed or dragged from under the pointer: the click would be lost, or be another button's.
const mayNotChange = (element) => held || isTypedIn(element);

async function refresh(element) {
  if (busy.has(element) || document.visibilityState === "hidden" || mayNotChange(element)) {
    stale.add(element);
    return;
  }
  stale.delete(element);
  busy.add(element);
  const asked = performance.now();
  const { may } = element.dataset;
  failed.delete(element);
  try {
    // Not by an event and hx-trigger: events bubble to the element around it, and reach none that was swapped in just now.
    await htmx.ajax("GET", element.dataset.part, { source: element });
  } catch {
    failed.add(element); // the portal was not reached
  }
  busy.delete(element);
  if (failed.has(element)) return retry(element);
  failures.delete(element);
  const shown = element.isConnected ? element : document.getElementById(element.id); // some are replaced, not morphed
  if (shown && shown.dataset.may !== may && anyUnsaved()) look();
  if (shown) refreshMissed(shown, asked);
}

// Nothing tells of the same change twice: what could not be fetched is tried again until it is, ever less often.
function retry(element) {
  const times = failures.get(element) ?? 0;
  failures.set(element, times + 1);
  stale.add(element);
  const longest = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** times);
  setTimeout(() => element.isConnected && stale.has(element) && refresh(element), longest / 2 + (Math.random() * longest) / 2);
}

// What changed while the answer was under way, or came with it and so was not there to hear of a change.
function refreshMissed(shown, asked) {
  const missed = (element) => stale.has(element) || topicsOf(element).some((topic) => heardAt.get(topic) > asked);
  [shown, ...shown.querySelectorAll("[data-topic]")].filter((el) => el.dataset.topic && missed(el)).forEach(refresh);
}

function refreshTopic(topic) {
  heardAt.set(topic, performance.now());
  topicElements(topic).forEach(refresh);
}
// An element is rendered with what lies within it: fetching the outermost ones is enough.
const refreshAll = () => topicElements().filter((el) => !el.parentElement.closest("[data-topic]")).forEach(refresh);
const refreshStale = () => topicElements().filter((element) => stale.has(element)).forEach(refresh);

// Else a choice made in one field would fall back to its default when the page changed before the button was pressed.
function keepBegunForms() {
  Idiomorph.defaults.callbacks.beforeNodeMorphed = (old, fresh) =>
    !(isBegun(old) && old.getAttribute("action") === fresh.getAttribute?.("action"));
}

function follow() {
  let banner;
  let wasOpen = false;
  let refused = false; // a socket is opened to say why it may not be, so being open says nothing then
  const bar = document.getElementById("connection");
  connect({
    path: () => "/ws/events/",
    async onOpen() {
      clearTimeout(banner);
      banner = undefined;
      bar.hidden = true;
      bar.textContent = "";
      wasOpen = true;
      if (refused && !(await look())) return;
      refused = false;
      lookIfKept();
      // What changed since the page was rendered, or since the connection was lost, has not been told.
      refreshAll();
    },
    onMessage: (frame) => frame.type === "changed" && refreshTopic(frame.topic),
    onClose(code) {
      if (code === 4401 || code === 4403) {
        refused = true;
        reload(code === 4401 ? "401" : "403");
        return anyUnsaved(); // the page comes back to life once somebody has signed in again
      }
      banner ??= setTimeout(() => {
        bar.hidden = false;
        bar.textContent = wasOpen
          ? "The connection was lost. Reconnecting… What you see may be out of date."
          : "Live updates are not available. Connecting… Reload the page to see changes.";
      }, BANNER_AFTER_MS);
      return true;
    },
  });
}

function watchRequests() {
  const body = document.body;
  body.addEventListener("htmx:configRequest", ({ detail }) => busy.has(detail.elt) && (detail.timeout = FETCH_MS));
  body.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.elt.matches?.("[data-topic]") && detail.target === detail.elt && mayNotChange(detail.elt)) {
      detail.shouldSwap = false;
      stale.add(detail.elt);
    }
  });
  body.addEventListener("htmx:responseError", ({ detail }) => {
    const { elt, xhr } = detail;
    if (elt.matches("[data-topic]")) gone(elt, xhr.status);
    else if (!xhr.getResponseHeader("HX-Trigger")) refused(xhr);
  });
  body.addEventListener("htmx:sendError", ({ detail }) => {
    if (!detail.elt.matches("[data-topic]")) toast("The connection to the portal broke. Look whether it was done, or try again.", "error");
  });
  body.addEventListener("htmx:afterRequest", ({ detail }) => detail.successful && clearSent(detail));
  body.addEventListener("outdated", () => reload("stopped"));
  body.addEventListener("changed", ({ detail }) => detail.topics.forEach(refreshTopic));
  document.addEventListener("focusout", () => setTimeout(refreshStale));
  document.addEventListener("visibilitychange", refreshStale);
  // Brought back by “back” as it was left: what was being fetched then never arrived, and nothing said so.
  addEventListener("pageshow", ({ persisted }) => {
    if (!persisted) return;
    busy = new WeakSet();
    held = "";
    refreshAll();
  });
}

function holdWhatIsPressed() {
  const hold = (how) => {
    clearTimeout(letGo);
    held = how;
  };
  const release = () => {
    held = "released";
    letGo = setTimeout(() => {
      held = "";
      refreshStale();
    }, CLICK_MS);
  };
  const lifted = ({ type, buttons }) => held === "press" && (type !== "pointermove" || !buttons) && release();
  document.addEventListener("pointerdown", ({ button }) => button === 0 && hold("press"));
  document.addEventListener("dragstart", () => hold("drag")); // its pointer is cancelled, and it goes on
  document.addEventListener("dragend", release);
  for (const type of ["pointerup", "pointercancel", "pointermove"]) document.addEventListener(type, lifted);
}

// What was sent is done with, unless the next was begun meanwhile.
function clearSent({ elt, requestConfig }) {
  for (const field of elt.matches("form") ? elt.querySelectorAll("[data-clears]") : []) {
    if (field.value === requestConfig.formData.get(field.name)) field.value = "";
  }
}

// A press was refused by a whole page: its sentence is told, once the page's tokens are those of who is signed in now.
async function refused(xhr) {
  if (xhr.status === 401) return reload("401");
  if (xhr.status === 403) await look();
  const page = new DOMParser().parseFromString(xhr.responseText, "text/html");
  // A sentence alone is of who refuses before any page is asked.
  const plain = xhr.getResponseHeader("Content-Type")?.startsWith("text/plain") && xhr.responseText.slice(0, 200);
  const said = (plain || page.querySelector("main p")?.textContent)?.trim();
  toast(said || `That did not work (${xhr.status}). Try again.`, "error");
}

// What may no longer be seen goes: a card alone, a page's main part with the page, whose own answer says why. What holds
// unsaved input stays.
function gone(element, status) {
  if (![401, 403, 404].includes(status)) return failed.add(element);
  if (element.hasAttribute("data-whole-page")) reload(String(status));
  else if (unsavedWithin(element)) keep(String(status));
  else element.remove();
}

export function start() {
  watchRequests();
  if (!document.querySelector("[data-topic]")) return;
  keepBegunForms();
  holdWhatIsPressed();
  follow();
}
