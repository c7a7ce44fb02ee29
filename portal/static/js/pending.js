// Fields that an answer under way will replace cannot be filled in meanwhile: what was opened or typed would be lost.

export function start() {
  const hold = (inert) => ({ detail }) => {
    const { elt, target } = detail;
    if (!target.contains(elt) && target.querySelector("input, select, textarea")) target.inert = inert;
  };
  document.body.addEventListener("htmx:beforeRequest", hold(true));
  document.body.addEventListener("htmx:afterRequest", hold(false));
}
