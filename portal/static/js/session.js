// Whether the page may still save what is typed into it: asked before a form is sent, and told by a banner that stays. A
// page with unsaved input is never reloaded.

import { toast } from "./toast.js";
import { anyUnsaved, isSigningOut, isUnsaved } from "./unsaved.js";

const ASK_MS = 15_000;
const SLOW_MS = 1000; // without an answer a member wonders whether they pressed
const AGAIN_MS = 15_000;
const SIGN_OUT_MS = 5000;
const STAYS = "What you typed stays here";
const SENTENCES = {
  401: `You were signed out. Sign in again in a new tab — what you typed stays here.`,
  other: `Somebody else is signed in here now. ${STAYS}, and is not saved in their name.`,
  403: `You may no longer change this. ${STAYS}: copy what you need.`,
  404: `This is not there any more. ${STAYS}: copy what you need.`,
  stopped: `${STAYS}. The rest of this page is out of date: reload it once you have sent or copied that.`,
  away: `The portal could not be reached, so nothing was sent. ${STAYS}: try again in a moment.`,
  broken: `The portal cannot take it now. ${STAYS}: try again in a moment.`,
};
const asks = (problem) => problem === "401" || problem === "other";
const bar = () => document.getElementById("kept");
let again;

export function keep(problem) {
  const [text, link] = bar().children;
  text.textContent = SENTENCES[problem] ?? SENTENCES.broken;
  link.hidden = !asks(String(problem));
  bar().hidden = false;
  clearTimeout(again);
  if (problem === "away" || problem === "broken") again = setTimeout(lookIfKept, AGAIN_MS);
}

// Load the page again, which shows or says why not, unless something would be lost by that. The socket ends before the
// answer to a sign-out is there, which a reload would cut off.
export function reload(problem) {
  if (anyUnsaved()) keep(problem);
  else if (isSigningOut()) setTimeout(() => location.reload(), SIGN_OUT_MS);
  else location.reload();
}

// What keeps the page from saving, or nothing. A page that is good for sending still has newer tokens afterwards: those
// it was rendered with hold no longer once somebody signed in again.
async function problemNow() {
  let answer;
  for (const url of [location.href, "/"]) {
    try {
      answer = await fetch(url, { redirect: "manual", cache: "no-store", signal: AbortSignal.timeout(ASK_MS) });
    } catch {
      return "away";
    }
    if (answer.status !== 405) break; // an address that is only sent to
  }
  if (answer.type === "opaqueredirect") return "401";
  if (answer.status === 403 || answer.status === 404) return String(answer.status);
  if (!answer.ok) return "broken";
  return compare(new DOMParser().parseFromString(await answer.text(), "text/html"));
}

function compare(page) {
  const { user } = page.body.dataset;
  if (user !== document.body.dataset.user) return user ? "other" : "401";
  const token = page.querySelector("[name=csrfmiddlewaretoken]")?.value;
  if (token) for (const field of document.querySelectorAll("[name=csrfmiddlewaretoken]")) field.value = token;
  for (const item of page.querySelectorAll("#toasts .toast")) {
    toast(item.querySelector("p").textContent, item.matches(".error") ? "error" : "info");
  }
  return "";
}

// The banner as it should be now.
export async function look() {
  const problem = await problemNow();
  if (problem) keep(problem);
  else bar().hidden = true;
  return !problem;
}
export const lookIfKept = () => bar() && !bar().hidden && look();

function askBeforeSending() {
  const asked = new WeakSet();
  let asking = false;
  const send = async (form, submitter) => {
    asking = true;
    const slow = setTimeout(() => toast("Asking the portal whether this can be saved…"), SLOW_MS);
    const may = await look();
    clearTimeout(slow);
    asking = false;
    if (!may) return;
    asked.add(form);
    form.requestSubmit(submitter?.form === form ? submitter : undefined);
  };
  addEventListener("submit", (event) => {
    const { target: form, submitter } = event;
    if (form.hasAttribute("hx-post") || !isUnsaved(form) || asked.delete(form)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!asking) send(form, submitter);
  }, true);
}

export function start() {
  if (!document.body.dataset.user) return;
  askBeforeSending();
  addEventListener("focus", lookIfKept);
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && lookIfKept());
}
