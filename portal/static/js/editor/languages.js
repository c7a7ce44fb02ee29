// What an editor knows of the files games read: how to colour them, and what they cannot hold.

// Consoles of Source and Quake, and KeyValues: the first word of a command, strings, `//` to the end of the line.
const cfg = {
  startState: () => ({ begins: true }),
  token(stream, state) {
    if (stream.sol()) state.begins = true;
    if (stream.eatSpace()) return null;
    if (stream.match("//")) {
      stream.skipToEnd();
      return "comment";
    }
    if (stream.eat(/[;{}]/)) {
      state.begins = true;
      return "punctuation";
    }
    const { begins } = state;
    state.begins = false;
    if (stream.match(/^"[^"]*"?/)) return "string";
    stream.match(/^[^\s";{}]+/);
    if (begins) return "keyword";
    return /^[-+]?\d+(\.\d+)?$/.test(stream.current()) ? "number" : null;
  },
  languageData: { commentTokens: { line: "//" } },
};

const ini = {
  token(stream) {
    if (stream.sol() && stream.match(/^\s*[;#]/)) {
      stream.skipToEnd();
      return "comment";
    }
    if (stream.sol() && stream.match(/^\s*\[[^\]]*\]?/)) return "keyword";
    if (stream.match(/^"[^"]*"?/)) return "string";
    stream.next();
    return null;
  },
  languageData: { commentTokens: { line: ";" } },
};

const PLAIN = "plain ASCII, which is all that a .cfg may hold";
const BY_ENDING = { cfg: "cfg", vdf: "cfg", kv: "cfg", ini: "ini", sh: "shell" };

export const languageOf = (path) => BY_ENDING[path.toLowerCase().split(".").at(-1)] ?? "text";

export const modes = (cm) => ({ cfg, ini, shell: cm.shell });

const shown = (character) =>
  /[\p{C}\p{Z}]/u.test(character)
    ? `character ${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`
    : `“${character}”`;

// As servers/layers/lint.py and servers/own_files.py say it: `line` counts from 1, columns count characters.
export function* problemsOf(text, line, { ascii, refused, code }) {
  const problem = (from, length, sentence) => {
    const column = [...text.slice(0, from)].length + 1;
    return { from, to: from + length, message: `Line ${line}, column ${column}: ${sentence}` };
  };
  for (const { index, 0: character } of text.matchAll(ascii ? /[^\t -~]/gu : /(?!\t)\p{Cc}/gu)) {
    yield problem(index, character.length, `${shown(character)} is not ${ascii ? PLAIN : "text"}.`);
  }
  for (const { index, 0: word } of refused ? text.match(code)[0].matchAll(refused) : []) {
    yield problem(index, word.length, `${word} is for the portal alone to set. Take it out.`);
  }
}

// A line up to its comment, which begins between words and outside quotes.
export const codeBefore = (mark) => new RegExp(`^(?:"[^"]*"?|${mark ? `(?!(?:^|(?<=[\\s;"]))${mark})` : ""}[^"])*`);

// Any of the words, as a whole one.
export const wordsIn = (words) =>
  words.length ? new RegExp(`(?<![\\w.])(?:${words.join("|")})(?![\\w.])`, "gi") : null;
