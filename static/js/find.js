// Find in the picture: hits are outlined while typing, Enter goes from one to the next; what is folded away the server unfolds.
import { showTrace } from "./parts.js";
import { letters } from "./settings.js";

let at = -1;

const hits = () => [...document.querySelectorAll("#g .nodes > .n.hit")];

function outline(text) {
  const wanted = text.trim().toLowerCase();
  for (const node of document.querySelectorAll("#g .nodes > .n")) {
    const name = `${node.getAttribute("aria-label")} ${node.textContent}`.toLowerCase();
    node.classList.toggle("hit", Boolean(wanted) && name.includes(wanted));
  }
  at = -1;
}

document.addEventListener("input", (event) => { if (event.target.id === "find") outline(event.target.value); });
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && letters() && !event.target.closest("input, select, textarea")) {
    const field = document.getElementById("find");
    if (field?.offsetParent) { event.preventDefault(); field.focus(); field.select(); }
    return;
  }
  if (event.target.id !== "find" || event.key !== "Enter") return;
  const found = hits();
  const same = event.target.value === new URLSearchParams(location.search).get("find");
  if (!found.length || !same) return;
  event.preventDefault();
  at = (at + 1) % found.length;
  found[at].focus();
});
document.addEventListener("change", (event) => {
  if (event.target.id !== "detail") return;
  const form = event.target.form;
  const query = new URLSearchParams([...new FormData(form)].filter(([name, value]) => value && !(name === "detail" && value === "chains")));
  const text = query.toString();
  showTrace(text ? `${form.getAttribute("action")}?${text}` : form.getAttribute("action"));
});
