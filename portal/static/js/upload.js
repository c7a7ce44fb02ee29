// Sends a chosen file in pieces (servers/upload_views.py), goes on after an interruption, and gives the form its key.

import { Sha256 } from "./sha256.js";
import { toast } from "./toast.js";

const ATTEMPTS = 6;
const BUSY_ATTEMPTS = 200; // where the portal tells when to come again
const WAIT_MS = 1000;
const token = (field) => field.closest("form").querySelector("[name=csrfmiddlewaretoken]").value;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const memory = (file) => `upload:${file.name}:${file.size}:${file.lastModified}`;

const PASSES = [429, 502, 503, 504]; // of these another try may know better
const REFUSALS = {
  401: "You were signed out. Sign in again in a new tab, then choose the same file: it goes on where it stopped.",
  403: "You signed in again since the page was opened, or may not upload any more. Reload the page and choose the file again.",
  404: "The upload was given up. Choose the file again.",
  413: "The portal's web server does not take pieces of this size. Tell an administrator.",
  507: "The portal's disk is full. Tell an administrator, then choose the same file: it goes on where it stopped.",
};

class Problem extends Error {
  constructor(text, status) {
    super(text);
    this.status = status;
  }
}

class Busy extends Error {
  constructor(answer) {
    super(`The portal is busy (${answer.status}).`);
    this.wait = Number(answer.headers.get("Retry-After")) * 1000 || 0;
  }
}

async function ask(field, url, method, body) {
  const headers = { "X-CSRFToken": token(field), Accept: "application/json" };
  const sent = body instanceof Uint8Array || body === undefined ? body : JSON.stringify(body);
  const answer = await fetch(url, { method, headers, body: sent });
  if (answer.status === 204) return {};
  const found = await answer.json().catch(() => ({})); // a proxy's answer is a page
  if (PASSES.includes(answer.status)) throw new Busy(answer);
  if (answer.ok) return found;
  const text = found.problem ?? REFUSALS[answer.status] ?? `The portal did not take it (${answer.status}).`;
  throw new Problem(text, answer.status);
}

// What was begun for this very file, if the portal still has it.
async function known(field, base, file, say) {
  const key = localStorage.getItem(memory(file));
  if (!key) return null;
  try {
    const { offset } = await persist(() => ask(field, `${base}${key}/`, "GET"), say);
    return { key, offset, piece: 8 * 2 ** 20 };
  } catch (error) {
    if (error.status !== 404) throw error;
    localStorage.removeItem(memory(file));
    return null;
  }
}

async function send(field, file, say) {
  const base = field.dataset.upload;
  const begin = () => ask(field, base, "POST", { name: file.name, size: file.size });
  // When the connection is lost it may have begun: once more would be another.
  const begun = (await known(field, base, file, say)) ?? (await persist(begin, say, 1));
  localStorage.setItem(memory(file), begun.key);
  const hash = new Sha256();
  const url = `${base}${begun.key}/`;
  for (let at = 0; at < file.size; at += begun.piece) {
    const piece = new Uint8Array(await file.slice(at, at + begun.piece).arrayBuffer());
    hash.update(piece);
    if (at >= begun.offset) await persist(() => ask(field, `${url}?offset=${at}`, "PUT", piece), say);
    say(`${Math.floor(((at + piece.length) / file.size) * 100)} %`, (at + piece.length) / file.size);
  }
  const sha256 = hash.digest();
  await persist(() => ask(field, url, "POST", { sha256 }), say);
  localStorage.removeItem(memory(file));
  return begun.key;
}

// A full disk may end a connection, too: the portal then says so where it tells how it is.
async function fullDisk() {
  try {
    const { problems } = await (await fetch("/readyz")).json();
    return problems.disk && "The disk is full. Delete what is not needed or ask an admin to make room, then choose the same file to go on.";
  } catch {
    return "";
  }
}

// A lost connection and a busy portal are waited for; what the portal refuses is told.
async function persist(act, say, attempts = ATTEMPTS) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await act();
    } catch (error) {
      if (error instanceof Problem || attempt >= (error.wait ? BUSY_ATTEMPTS : attempts)) throw error;
      const cause = error instanceof TypeError ? (await fullDisk()) || "The connection was lost." : error.message;
      say(`${cause} Trying again…`);
      await sleep(error.wait || WAIT_MS * 2 ** attempt);
    }
  }
}

function follow(field) {
  const [chooser, key] = [field.querySelector("[type=file]"), field.querySelector("[name=upload_key]")];
  const [bar, status] = [field.querySelector("progress"), field.querySelector("[role=status]")];
  const form = field.closest("form");
  const submit = form.querySelector("[type=submit]");
  let problem = "";
  const say = (text, part) => {
    status.textContent = text;
    if (part !== undefined) bar.value = part * 100;
  };
  if (key.value) say("The file is here already.");
  chooser.addEventListener("change", async () => {
    const [file] = chooser.files;
    key.value = problem = "";
    if (!file) return;
    bar.hidden = false;
    submit.disabled = chooser.disabled = true;
    try {
      key.value = await send(field, file, say);
      say(`${file.name} is here.`, 1);
      const name = form.querySelector("[name=name]");
      if (name && !name.value) name.value = file.name.replace(/\.(vpk|zip|7z|tar(\.\w+)?|t[gx]z|tbz2)$/i, "").slice(0, 60);
    } catch (error) {
      chooser.value = ""; // else choosing the same file again is no change, and nothing happens
      const lost = "The portal could not be reached. Choose the same file to go on.";
      problem = error instanceof TypeError ? (await fullDisk()) || lost : error.message;
      say(problem);
    } finally {
      submit.disabled = chooser.disabled = false;
    }
  });
  // The portal would only say that a file is missing, and the page would no longer say why.
  form.addEventListener("submit", (event) => {
    if (!problem) return;
    event.preventDefault();
    toast(problem, "error");
  });
}

export function start() {
  document.querySelectorAll("[data-upload]").forEach(follow);
}
