// Makes an editor of every <textarea data-editor="cfg | ini | shell | text | auto">, “auto” by the form's path. The
// textarea stays what the form sends. Without scripts, or in a browser too old for it, it stays what one types in.
//
// data-ascii: mark what is not plain ASCII (in a .cfg it always is, unless this is "no"). data-refused="a b": words that a
// config file may not name but in a comment, which data-comment="#" begins instead of `//`.

import { look } from "./look.js";
import { codeBefore, languageOf, modes, problemsOf, wordsIn } from "./languages.js";

const HINT = "Tab indents once you have typed. Escape, then Tab, leaves the editor.";
const LINT_AFTER_MS = 300;
const MOST_MARKS = 100;

// A shadow root takes constructed style sheets, which the page's policy allows; a <style> it would not.
function frame(textarea) {
  const host = document.createElement("div");
  host.className = "editor";
  const root = host.attachShadow({ mode: "open" });
  const hint = document.createElement("div");
  hint.id = "hint";
  hint.hidden = true;
  hint.textContent = [HINT, ...described(textarea)].join(" ");
  root.append(hint);
  const status = document.createElement("p");
  status.className = "small error";
  status.setAttribute("role", "status");
  textarea.after(host, status);
  return { host, root, status };
}

const described = (textarea) =>
  (textarea.getAttribute("aria-describedby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent.trim());

function rulesOf(textarea, language) {
  const { ascii, refused, comment } = textarea.dataset;
  return {
    ascii: ascii === undefined ? language() === "cfg" : ascii !== "no",
    refused: language() === "text" ? null : wordsIn((refused ?? "").split(" ").filter(Boolean)),
    code: codeBefore(comment ?? "//"),
  };
}

function* problemsIn(doc, rules) {
  for (let number = 1; number <= doc.lines; number++) {
    const line = doc.line(number);
    for (const { from, to, message } of problemsOf(line.text, number, rules)) {
      yield { from: line.from + from, to: line.from + to, severity: "error", message };
    }
  }
}

// What the portal said of the text as it was sent, which holds until the text is another.
const told = (textarea) => document.getElementById(`${textarea.id}_error`);

function check(view, rules, status, textarea) {
  const found = [];
  for (const one of problemsIn(view.state.doc, rules)) {
    if (found.push(one) === MOST_MARKS) break;
  }
  found.sort((a, b) => a.from - b.from);
  const rest = found.length === MOST_MARKS ? "Many" : found.length - 1;
  const more = rest ? ` ${rest} more after it.` : "";
  status.textContent = found.length && !told(textarea) ? found[0].message + more : "";
  return found;
}

function attributes(textarea) {
  const label = textarea.labels[0]?.textContent.trim() ?? textarea.getAttribute("aria-label") ?? "Text";
  const invalid = textarea.getAttribute("aria-invalid") === "true" ? { "aria-invalid": "true" } : {};
  return { "aria-label": label, "aria-describedby": "hint", ...invalid };
}

function attach(cm, textarea) {
  const form = textarea.form;
  const language = () =>
    textarea.dataset.editor === "auto" ? languageOf(form.elements.path.value) : textarea.dataset.editor;
  const { host, root, status } = frame(textarea);
  const highlighting = new cm.Compartment();
  const coloured = () => {
    const mode = modes(cm)[language()];
    return mode ? cm.StreamLanguage.define(mode) : [];
  };
  const marks = cm.linter((view) => check(view, rulesOf(textarea, language), status, textarea), {
    delay: LINT_AFTER_MS,
    needsRefresh: ({ transactions }) => transactions.some((one) => one.reconfigured), // another file: other rules
  });
  const keep = cm.EditorView.updateListener.of(({ docChanged, state }) => {
    if (!docChanged) return;
    textarea.value = state.doc.toString();
    textarea.dispatchEvent(new Event("input", { bubbles: true })); // else nobody hears that the form was begun
    told(textarea)?.remove();
  });
  const extensions = [
    ...usual(cm), cm.EditorView.contentAttributes.of(attributes(textarea)), marks, keep, highlighting.of(coloured()), look(cm),
  ];
  const state = cm.EditorState.create({ doc: textarea.value, extensions });
  const view = new cm.EditorView({ parent: root, root, state });
  form.elements.path?.addEventListener("input", () => view.dispatch({ effects: highlighting.reconfigure(coloured()) }));
  take(textarea, view, host);
}

// A browser that types over coloured text itself gives the new text the same look by a style attribute, which the page's
// policy refuses; the editor would take it out again at once.
function replace(event, view) {
  if (event.inputType !== "insertText" || event.isComposing || view.state.selection.main.empty) return false;
  view.dispatch(view.state.replaceSelection(event.data), { userEvent: "input.type" });
  return true;
}

const usual = (cm) => [
  cm.lineNumbers(), cm.lintGutter(), cm.highlightActiveLine(), cm.highlightActiveLineGutter(), cm.history(),
  cm.drawSelection(), cm.bracketMatching(), cm.highlightSelectionMatches(), cm.search(), ...keysWhileTyping(cm),
  cm.EditorView.domEventHandlers({ beforeinput: replace }),
  cm.keymap.of([...cm.defaultKeymap, ...cm.searchKeymap, ...cm.historyKeymap, ...cm.lintKeymap]),
];

// Whoever passes through is not held: Tab moves on until something was typed, and again after Escape.
function keysWhileTyping(cm) {
  let typed = false;
  return [
    cm.EditorView.updateListener.of(({ docChanged }) => docChanged && (typed = true)),
    cm.EditorView.domEventHandlers({ blur: () => ((typed = false), false) }),
    cm.keymap.of([{ key: "Tab", run: (view) => typed && cm.insertTab(view), shift: (view) => typed && cm.indentLess(view) }]),
  ];
}

// The textarea's place in the page: its label, its focus, its form's reset.
function take(textarea, view, host) {
  const focused = textarea === document.activeElement || textarea.autofocus;
  textarea.hidden = true;
  textarea.required = false; // the portal says so where it is; a browser could not show it here
  for (const label of textarea.labels) label.addEventListener("click", () => view.focus());
  textarea.form.addEventListener("reset", () => setTimeout(() => {
    view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: textarea.value } });
  }));
  if (focused) view.focus();
  host.dataset.ready = "";
}

export async function start() {
  const found = document.querySelectorAll("textarea[data-editor]");
  if (!found.length || !("adoptedStyleSheets" in Document.prototype)) return;
  const cm = await import("../../vendor/codemirror.min.js");
  for (const textarea of found) attach(cm, textarea);
}
