// Keys: left and right step, up and down go to the sibling box, Home and End to the ends, Enter opens. One Tab stop for the picture.
// The list of steps is one Tab stop, too: up and down go to the step before and behind, and take it.
import { current, showStep, stepLink, total } from "./parts.js";
import { letters } from "./settings.js";

const nodeOf = (n) => document.querySelector(`#g .nodes > .n[aria-current]`) || document.querySelector(`#g .n[data-steps~="${n}"]`);

async function go(n, focusNode) {
  const to = Math.min(total(), Math.max(1, n));
  if (to === current()) return;
  await showStep(stepLink(to).getAttribute("href"), { push: false });
  if (focusNode) nodeOf(to)?.focus();
  else if (document.activeElement?.closest("#steps")) stepLink(to)?.focus();
}

function sibling(node, down) {
  const left = (element) => Math.round(element.getBoundingClientRect().left + element.getBoundingClientRect().width / 2);
  const column = [...document.querySelectorAll("#g .nodes > .n")].filter((other) => Math.abs(left(other) - left(node)) < 40);
  column.sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top);
  column[column.indexOf(node) + (down ? 1 : -1)]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !document.getElementById("inspector")) return;
  if (event.target.closest?.("input, select, textarea, [popover]")) return;
  const node = event.target.closest?.("#g .nodes > .n");
  const key = event.key;
  if (node && (key === "ArrowUp" || key === "ArrowDown")) { event.preventDefault(); sibling(node, key === "ArrowDown"); return; }
  if (event.target.closest?.("#steps") && (key === "ArrowUp" || key === "ArrowDown")) {
    event.preventDefault();
    go(current() + (key === "ArrowDown" ? 1 : -1), null);
    return;
  }
  if (key === "ArrowRight" || key === "ArrowLeft") {
    // On the scrolling frame itself the arrows scroll.
    if (event.target.closest?.(".canvas, .scroll") && !node) return;
    event.preventDefault();
    go(current() + (key === "ArrowRight" ? 1 : -1), node);
  } else if ((key === "Home" || key === "End") && event.target.closest?.("#g .n, .player, #steps")) {
    event.preventDefault();
    go(key === "Home" ? 1 : total(), node);
  } else if ((key === "j" || key === "k") && letters()) {
    event.preventDefault();
    go(current() + (key === "j" ? 1 : -1), node);
  }
});
