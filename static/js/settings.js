// Single letters as keys can be switched off (WCAG 2.1.4); the choice stays in this browser.
const NAME = "hopline-letters";

export function letters() {
  try { return localStorage.getItem(NAME) !== "off"; } catch { return true; }
}

function show() {
  const box = document.getElementById("shortcuts");
  if (box) box.checked = letters();
}

document.addEventListener("change", (event) => {
  if (event.target.id !== "shortcuts") return;
  try { localStorage.setItem(NAME, event.target.checked ? "on" : "off"); } catch { /* private windows forget it */ }
});
document.addEventListener("htmx:afterSettle", show);
show();
