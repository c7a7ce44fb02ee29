// The editor in the portal's own colours: custom properties reach into it, so it follows the theme by itself.

export function look({ EditorView, HighlightStyle, syntaxHighlighting, tags }) {
  const field = {
    boxSizing: "border-box",
    background: "var(--surface)", border: "1px solid var(--line-strong)", borderRadius: "var(--radius-small)",
    color: "var(--text)", font: "14px/1.2 var(--font)", minHeight: "var(--tap)", padding: "4px 8px",
  };
  const theme = EditorView.theme({
    "&": { color: "var(--text)", fontSize: "14px" },
    "&.cm-focused": { outline: "none" }, // the element around it has the outline
    ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5", maxHeight: "65vh", overflow: "auto" },
    ".cm-content, .cm-gutter": { minHeight: "260px" },
    ".cm-content": { caretColor: "var(--text)", padding: "8px 0" },
    ".cm-cursor": { borderLeftColor: "var(--text)", borderLeftWidth: "2px" },
    ".cm-gutters": { backgroundColor: "var(--sunken)", border: "0", color: "var(--muted)" },
    ".cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--accent) 7%, transparent)" },
    ".cm-activeLineGutter": { backgroundColor: "transparent", color: "var(--text)" },
    "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
      background: "color-mix(in srgb, var(--accent) 28%, transparent) !important",
    },
    ".cm-selectionMatch": { backgroundColor: "color-mix(in srgb, var(--accent) 18%, transparent)" },
    "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--accent-soft)", outline: "1px solid var(--accent)" },
    ".cm-searchMatch": { backgroundColor: "var(--mark)" },
    ".cm-searchMatch-selected": { backgroundColor: "var(--mark-now)" },
    ".cm-panels": { backgroundColor: "var(--sunken)", color: "var(--text)" },
    ".cm-panels.cm-panels-bottom": { borderTop: "1px solid var(--line)" },
    ".cm-panel.cm-search": { alignItems: "center", display: "flex", flexWrap: "wrap", font: "14px/1.4 var(--font)", gap: "8px", padding: "8px 40px 8px 8px" },
    ".cm-panel.cm-search br": { display: "none" },
    ".cm-panel.cm-search :is(input, button, label)": { font: "inherit", margin: "0" },
    ".cm-panel.cm-search [name=close]": { color: "var(--text)", fontSize: "20px", height: "32px", right: "4px", top: "4px", width: "32px" },
    ".cm-textfield": { ...field, flex: "1 1 160px", minWidth: "0" },
    ".cm-button": { ...field, backgroundImage: "none", cursor: "pointer" },
    ".cm-tooltip": { backgroundColor: "var(--surface)", border: "1px solid var(--line-strong)", borderRadius: "var(--radius-small)", boxShadow: "var(--shadow-raised)", color: "var(--text)", maxWidth: "min(480px, 90vw)" },
    ".cm-diagnostic": { borderLeft: "3px solid var(--bad)", font: "14px/1.4 var(--font)", padding: "6px 10px" },
    ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--bad) 1.5px", textUnderlineOffset: "3px" },
    ".cm-panel.cm-panel-lint ul [aria-selected]": { backgroundColor: "var(--accent-soft) !important", color: "var(--text) !important" },
  });
  const colours = HighlightStyle.define([
    { tag: tags.comment, color: "var(--muted)", fontStyle: "italic" },
    { tag: tags.string, color: "var(--good)" },
    { tag: [tags.keyword, tags.standard(tags.variableName)], color: "var(--accent)" },
    { tag: [tags.number, tags.bool, tags.attributeName, tags.definition(tags.variableName)], color: "var(--busy)" },
    { tag: tags.punctuation, color: "var(--muted)" },
  ]);
  return [theme, syntaxHighlighting(colours)];
}
