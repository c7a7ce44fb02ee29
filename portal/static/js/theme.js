// Loaded before the page paints, so that a chosen theme does not flash. Without a choice the system's is used.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

  const recall = () => {
    try {
      const theme = localStorage.getItem("theme");
      if (theme) root.dataset.theme = theme;
    } catch {
      // Storage is forbidden: the choice lasts for this page.
    }
  };
  const show = () => {
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.setAttribute("aria-pressed", String(isDark()));
    }
  };
  const toggle = () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // As above.
    }
    show();
  };

  recall();
  system.addEventListener("change", show);
  addEventListener("DOMContentLoaded", show);
  addEventListener("storage", () => (recall(), show()));
  addEventListener("click", (event) => event.target.closest("[data-theme-toggle]") && toggle());
})();
