// Draws a server's last day, week or month with uPlot, and again every minute. The table beside it needs none of this.

const EVERY_MS = 60_000;
const MIB = 2 ** 20;

// Canvases know no custom properties: an element's own colour resolves them.
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

const time = (format) => (_, seconds) => format(new Date(seconds * 1000));
const onlyDays = (date) => (date.getHours() || date.getMinutes() ? clock : day).format(date);
const within = (unit) => (_, value) => (value == null ? "–" : `${value} ${unit}`.trim());

function axes(units) {
  const look = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  const values = (_, splits) => splits.map((seconds) => onlyDays(new Date(seconds * 1000)));
  return [
    { ...look, values, space: 70 },
    ...units.map(([scale, unit], at) => ({
      ...look,
      grid: { ...look.grid, show: !at },
      scale,
      side: at ? 1 : 3,
      size: 64,
      values: (_, splits) => splits.map((value) => (Number.isInteger(value) ? `${value} ${unit}`.trim() : "")),
    })),
  ];
}

function chart(box, { series, units, data, legend = [] }) {
  const from0 = { range: (_, __, most) => [0, Math.max(1, Math.ceil((most ?? 0) * 1.1))] };
  const drawn = series.map(({ label, scale, unit, tone, fill }) => ({
    label,
    scale,
    stroke: colour(tone),
    fill: fill && colour(fill),
    width: 2,
    points: { show: false },
    value: within(unit),
  }));
  const options = {
    width: box.clientWidth,
    height: 190,
    cursor: { y: false, drag: { x: false, y: false } },
    scales: Object.fromEntries(units.map(([scale]) => [scale, from0])),
    axes: axes(units),
    series: [{ label: "Time", value: (u, seconds) => (seconds == null ? "–" : time(moment.format)(u, seconds)) }, ...drawn, ...legend],
  };
  return new uPlot(options, data, box);
}

function players(box, { at, players, map }) {
  const silent = at.map(() => null);
  return chart(box, {
    series: [{ label: "Players", scale: "players", unit: "", tone: "accent", fill: "accent-soft" }],
    units: [["players", ""]],
    data: [at, players, silent],
    legend: [{ label: "Map", scale: "players", value: (_, __, ___, index) => map[index] ?? "–", points: { show: false } }],
  });
}

function load(box, { at, cpu, memory }) {
  return chart(box, {
    series: [
      { label: "Processor", scale: "cpu", unit: "%", tone: "busy" },
      { label: "Memory", scale: "memory", unit: "MiB", tone: "good" },
    ],
    units: [["cpu", "%"], ["memory", "MiB"]],
    data: [at, cpu, memory.map((bytes) => (bytes == null ? null : Math.round(bytes / MIB)))],
  });
}

function attach(root) {
  const boxes = [[root.querySelector("[data-players]"), players], [root.querySelector("[data-load]"), load]];
  let charts = [];
  let data;
  const draw = () => {
    for (const one of charts) one.destroy();
    charts = boxes.map(([box, make]) => make(box, data));
  };
  const fetchAnew = async () => {
    if (document.visibilityState === "hidden" && data) return;
    const answer = await fetch(root.dataset.activity, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    data = await answer.json();
    draw();
  };
  const again = () => fetchAnew().catch(() => {}); // the next minute is another chance
  new ResizeObserver(() => charts.forEach((one, at) => one.setSize({ width: boxes[at][0].clientWidth, height: 190 }))).observe(root);
  document.addEventListener("click", (event) => data && event.target.closest("[data-theme-toggle]") && setTimeout(draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => data && draw());
  setInterval(again, EVERY_MS);
  again();
}

document.querySelectorAll("[data-activity]").forEach(attach);
