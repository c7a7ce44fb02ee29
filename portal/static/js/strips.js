// Rows of links that are scrolled sideways on a phone: what has the focus, and where one is, is seen whole.

const LINKS = ".site-nav a, .tabs a";
const show = (link) => link.scrollIntoView({ block: "nearest", inline: "nearest" });

export function start() {
  document.querySelectorAll(LINKS).forEach((link) => {
    if (link.ariaCurrent) show(link);
    link.addEventListener("focus", () => show(link));
  });
}
