// @ts-check
// A page opened as a file may not read the other pages, which search would quote from; it still lists what it found.
// @ts-expect-error a script of the theme defines this name
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
// The theme's toggles of pages below a page have no name for those who cannot see them.
document.addEventListener("DOMContentLoaded", () => {
  for (const toggle of document.querySelectorAll("nav li > details > summary")) {
    const page = toggle.closest("li")?.querySelector("a")?.textContent ?? "";
    toggle.setAttribute("aria-label", `Pages below ${page.trim()}`);
  }
});

/** A table wider than its column scrolls; a keyboard must be able to reach it. */
function reachWideTables() {
  for (const box of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".cell_output"))) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
}

/** A word that somebody looked for may stand in a folded part: open it. */
function openFound() {
  for (const part of document.querySelectorAll("details:has(.highlighted)")) part.setAttribute("open", "");
}

addEventListener("load", () => setTimeout(openFound, 100)); // Sphinx marks words 10 ms after the page is ready
addEventListener("load", reachWideTables);
addEventListener("resize", reachWideTables);
