// Times in the reader's own zone and words. The server renders UTC, which stays without scripts.

const STEPS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const words = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

function ago(then) {
  const seconds = (then - Date.now()) / 1000;
  const [unit, size] = STEPS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  if (unit === "second") return "just now";
  return words.format(Math.round(seconds / size), unit);
}

function elapsed(then) {
  const seconds = Math.max(0, Math.floor((Date.now() - then) / 1000));
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]].map(([unit, size], index, all) => {
    const within = index ? seconds % all[index - 1][1] : seconds;
    return [Math.floor(within / size), unit];
  });
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "under 1 s";
  return parts.slice(first, first + 2).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

const clock = (then) => then.toLocaleTimeString(undefined, { timeStyle: "short" });

function show(root = document) {
  for (const element of root.querySelectorAll("time[data-as]")) {
    const then = new Date(element.dateTime);
    const text = { elapsed, clock }[element.dataset.as]?.(then) ?? ago(then);
    if (element.textContent !== text) element.textContent = text;
    element.title = whole.format(then);
  }
}

export function start() {
  show();
  setInterval(show, 1000);
  document.body.addEventListener("htmx:afterSettle", () => show());
}
