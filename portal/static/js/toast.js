// Short messages at the foot of the page. The region is aria-live, so a screen reader hears them too.

const MOST = 3;
const SECONDS = { info: 6, error: 15 };

export function toast(text, kind = "info") {
  const region = document.getElementById("toasts");
  const item = document.getElementById("toast-template").content.firstElementChild.cloneNode(true);
  item.classList.toggle("error", kind === "error");
  item.querySelector("p").textContent = text;
  // What is there already is not repeated: it stands last, for its whole time again.
  [...region.children].find((other) => other.isEqualNode(item))?.remove();
  region.append(item);
  while (region.children.length > MOST) region.firstElementChild.remove();
  expire(item, SECONDS[kind] ?? SECONDS.info);
}

// A message under the pointer or the keyboard's focus stays.
function expire(item, seconds) {
  setTimeout(() => (item.matches(":hover, :focus-within") ? expire(item, 2) : item.remove()), seconds * 1000);
}

export function start() {
  const region = document.getElementById("toasts");
  region.addEventListener("click", (event) => event.target.closest("[data-dismiss]")?.closest(".toast").remove());
  for (const item of region.children) expire(item, item.matches(".error") ? SECONDS.error : SECONDS.info);
  document.body.addEventListener("toast", ({ detail }) => toast(detail.text, detail.kind));
}
