// Times in the reader's own zone and words. The server renders UTC, which stays without scripts.

const STEPS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const TRUSTED_MS = 5000; // an answer is on its way for some time
const words = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

// The portal's clock, since the reader's may be an hour off: told by the page, and by each answer after it.
let ahead = 0;
const now = () => Date.now() + ahead;
function set(at) {
  if (at && Math.abs(at - now()) > TRUSTED_MS) ahead = at - Date.now();
}

function ago(then) {
  const seconds = (then - now()) / 1000;
  const [unit, size] = STEPS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  if (unit === "second") return "just now";
  return words.format(Math.round(seconds / size), unit);
}

function elapsed(then) {
  const seconds = Math.max(0, Math.floor((now() - then) / 1000));
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]].map(([unit, size], index, all) => {
    const within = index ? seconds % all[index - 1][1] : seconds;
    return [Math.floor(within / size), unit];
  });
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "under 1 s";
  return parts.slice(first, first + 2).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

// A time of another day has its date.
function clock(then) {
  const today = new Date(now()).toDateString() === then.toDateString();
  return then.toLocaleString(undefined, today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

function show(root = document) {
  for (const element of root.querySelectorAll("time[data-as]")) {
    const then = new Date(element.dateTime);
    const text = { elapsed, clock }[element.dataset.as]?.(then) ?? ago(then);
    if (element.textContent !== text) element.textContent = text;
    element.title = whole.format(then);
  }
}

export function start() {
  set(Number(document.body.dataset.now) * 1000);
  document.body.addEventListener("htmx:afterOnLoad", ({ detail }) => set(Date.parse(detail.xhr.getResponseHeader("Date"))));
  show();
  setInterval(show, 1000);
  document.body.addEventListener("htmx:afterSettle", () => show());
}
