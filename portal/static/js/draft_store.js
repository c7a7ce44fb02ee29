// Drafts in the browser's storage: each of one member, a page's form, and a bounded size, number and age.

const PREFIX = "draft:";
const ENDED = "drafts-ended"; // who signed out last: their other tabs keep nothing more
const MOST = 20;
const MOST_CHARACTERS = 1_200_000; // of one: a layer's file may have 1 MiB
const MOST_TOGETHER = 3_000_000; // browsers give a site about five million
const OLDEST_MS = 7 * 24 * 3600 * 1000;

const keys = (prefix = PREFIX) => Object.keys(localStorage).filter((key) => key.startsWith(prefix));

export const keyOf = (user, form) => `${PREFIX}${user}:${form}`;

// A draft is {user, page, at, fields, secrets}, `at` in milliseconds.
export function read(key) {
  try {
    const draft = JSON.parse(localStorage.getItem(key));
    return draft && Date.now() - draft.at < OLDEST_MS ? draft : null;
  } catch {
    return null; // no storage, or not ours
  }
}

export function remove(key) {
  try {
    localStorage.removeItem(key);
  } catch {
    // No storage: no drafts.
  }
}

// Answers whether it is kept.
export function write(key, draft) {
  const text = JSON.stringify(draft);
  if (text.length > MOST_CHARACTERS) return remove(key), false;
  try {
    makeRoom(key, text.length);
    localStorage.setItem(key, text);
    return true;
  } catch {
    return false;
  }
}

// The oldest go first, and whatever is too old in any case.
function makeRoom(key, length) {
  const others = keys().filter((other) => other !== key).map((other) => ({ other, at: read(other)?.at ?? 0 }));
  others.sort((a, b) => b.at - a.at);
  let room = MOST_TOGETHER - length;
  others.forEach(({ other, at }, index) => {
    room -= localStorage.getItem(other).length;
    if (!at || index >= MOST - 1 || room < 0) localStorage.removeItem(other);
  });
}

// They signed out: nothing of theirs stays in this browser, also no name of a file, and no command they sent.
export function forget(user) {
  try {
    localStorage.setItem(ENDED, JSON.stringify({ user, at: Date.now() })); // first: what goes is not written again
    for (const key of [...keys(keyOf(user, "")), ...keys("upload:")]) localStorage.removeItem(key);
    sessionStorage.clear();
  } catch {
    // No storage: nothing to forget.
  }
}

export function onForgotten(user, then) {
  addEventListener("storage", ({ key, newValue }) => key === ENDED && newValue && JSON.parse(newValue).user === user && then());
}

// Another tab saved or discarded the draft of this key.
export function onRemoved(then) {
  addEventListener("storage", ({ key, newValue }) => key?.startsWith(PREFIX) && newValue === null && then(key));
}
