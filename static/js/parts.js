// Links that say which part of the page they change: a step fetches the inspector, a trace morphs everything.
// The picture and the list keep their elements; only what is current changes in them.

export const inspector = () => document.getElementById("inspector");
export const current = () => Number(inspector()?.dataset.step || 1);
export const total = () => Number(inspector()?.dataset.total || 1);
export const stepLink = (n) => document.querySelector(`#steps a[data-step="${n}"]`);

let wanted = 0;

// Fetch the page's own address for *href* and show the step it names. *push* makes a history entry, else the address is replaced.
export async function showStep(href, { push = true } = {}) {
  const ticket = ++wanted;
  document.dispatchEvent(new CustomEvent("hopline:stepped"));
  const panel = inspector();
  if (!panel) return;
  let html;
  try {
    const answer = await fetch(href, { headers: { "HX-Request": "true", "HX-Target": "inspector", ...shown() }, credentials: "same-origin" });
    if (!answer.ok) throw new Error(answer.status);
    html = await answer.text();
  } catch {
    location.assign(href);
    return;
  }
  if (ticket !== wanted) return;
  const next = new DOMParser().parseFromString(html, "text/html").getElementById("inspector");
  if (!next) { location.assign(href); return; }
  if (panel.classList.contains("open")) next.classList.add("open");
  window.Idiomorph.morph(panel, next, { morphStyle: "outerHTML" });
  history[push ? "pushState" : "replaceState"]({ step: true }, "", href);
  mark();
  say();
}

// A followed cluster may be further by now than the picture is: the step belongs to the answer that the picture shows.
function shown() {
  const { live, answer, follow } = document.getElementById("trace").dataset;
  return live === undefined ? {} : { "Hopline-Answer": answer || "", "Hopline-Follow": follow || "" };
}

export function say() {
  const line = document.getElementById("say");
  if (line) line.textContent = inspector()?.dataset.say || "";
}

const has = (element, n) => (element.dataset.steps || "").split(",").includes(String(n));

// Show in the picture, the tape and the list which step is current.
export function mark() {
  const n = current();
  for (const node of document.querySelectorAll("#g .nodes > .n")) {
    const on = has(node, n);
    on ? node.setAttribute("aria-current", "step") : node.removeAttribute("aria-current");
    node.setAttribute("tabindex", on ? "0" : "-1");
  }
  for (const part of document.querySelectorAll("#g .sg")) part.classList.toggle("cur", Number(part.dataset.from) === n);
  for (const badge of document.querySelectorAll("#g .bd")) badge.classList.toggle("cur", Number(badge.dataset.step) === n);
  for (const link of document.querySelectorAll("#steps a[data-step]")) {
    Number(link.dataset.step) === n ? link.setAttribute("aria-current", "step") : link.removeAttribute("aria-current");
  }
  rove(n);
  keepStep(n);
  playhead(n);
  reveal(n);
}

// One Tab stop for the list of steps; without scripts every step is one.
function rove(n) {
  for (const link of document.querySelectorAll("#steps a[data-step]")) link.setAttribute("tabindex", Number(link.dataset.step) === n ? "0" : "-1");
}

// What else on the page leads somewhere with a step, or sends one: other views, folds, files, the frozen link.
function keepStep(n) {
  for (const link of document.querySelectorAll('#trace a[href*="step="]:not([data-part="step"], [data-step])')) {
    link.setAttribute("href", link.getAttribute("href").replace(/([?&]step=)[0-9]+/, `$1${n}`));
  }
  for (const field of document.querySelectorAll('#trace input[name="step"]')) field.setAttribute("value", n);
  for (const field of document.querySelectorAll('#trace input[name="query"]')) {
    field.setAttribute("value", field.getAttribute("value").replace(/(^|&)step=[0-9]+/, `$1step=${n}`));
  }
}

function playhead(n) {
  const picture = document.getElementById("g");
  const head = picture?.dataset.heads.split(" ").find((entry) => entry.startsWith(`${n}:`));
  if (!head) return;
  const [, x, y1, y2] = head.split(":");
  const line = document.getElementById("ph");
  line.setAttribute("y1", y1);
  line.setAttribute("y2", y2);
  line.setAttribute("transform", `translate(${x} 0)`);
  const canvas = picture.closest(".canvas");
  const at = (Number(x) - picture.viewBox.baseVal.x) * (picture.getBoundingClientRect().width / picture.viewBox.baseVal.width);
  if (at < canvas.scrollLeft + 90 || at > canvas.scrollLeft + canvas.clientWidth - 150) canvas.scrollLeft = at - canvas.clientWidth / 2;
}

function reveal(n) {
  const link = stepLink(n);
  const box = document.querySelector("#steps .sc");
  if (!link || !box) return;
  if (getComputedStyle(box).overflowY === "auto") {
    const top = link.offsetTop - box.clientHeight / 3;
    if (link.offsetTop < box.scrollTop || link.offsetTop + link.offsetHeight > box.scrollTop + box.clientHeight - 30) box.scrollTop = top;
  }
}

export function showTrace(href) {
  return window.htmx.ajax("get", href, { target: "#trace", swap: "morph:outerHTML", push: href });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-part]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  if (link.getAttribute("aria-disabled") === "true") return;
  const href = nextUrl(link);
  document.dispatchEvent(new CustomEvent("hopline:chosen"));
  link.dataset.part === "step" ? showStep(href) : push(href);
});

// A box that two steps pass (there and back) goes to the other one on a second click.
function nextUrl(link) {
  const numbers = (link.dataset.steps || "").split(",").filter(Boolean).map(Number);
  const at = numbers.indexOf(current());
  if (numbers.length < 2 || at < 0) return link.getAttribute("href");
  return stepLink(numbers[(at + 1) % numbers.length])?.getAttribute("href") || link.getAttribute("href");
}

function push(href) {
  showTrace(href).then(() => { if (location.pathname + location.search !== href) history.pushState({ step: true }, "", href); });
}

// Back and Forward always show the page of that address, fresh.
window.addEventListener("popstate", (event) => {
  // Ahead of htmx's own handler, which would fetch the same page once more.
  event.stopImmediatePropagation();
  window.htmx.ajax("get", location.pathname + location.search, { target: "#trace", swap: "morph:outerHTML" });
}, true);

document.addEventListener("htmx:afterSettle", (event) => {
  const trace = document.getElementById("trace");
  if (!trace || event.detail.target?.id !== "trace") return;
  document.title = trace.dataset.title;
  document.getElementById("errors")?.focus();
  if (inspector()) { rove(current()); reveal(current()); playhead(current()); }
});
document.addEventListener("hopline:morphed", () => { if (inspector()) mark(); });
document.addEventListener("htmx:beforeRequest", () => document.getElementById("trace")?.setAttribute("aria-busy", "true"));
document.addEventListener("htmx:afterRequest", () => document.getElementById("trace")?.removeAttribute("aria-busy"));

if (inspector()) { rove(current()); reveal(current()); playhead(current()); }
