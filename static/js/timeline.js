// The timeline's bar: it moves between what the server says, and its buttons work without a page load.
import { toast } from "./toast.js";

const bar = document.getElementById("timeline");
const place = document.getElementById("tl-place");
let times = bar.dataset.times.split(" ").map(Number);
const ticks = [...bar.querySelectorAll(".tick")];
const LOOK_FIRST = 1500;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

let state = { position: Number(bar.dataset.position), speed: Number(bar.dataset.speed) || 1, playing: Boolean(bar.dataset.playing) };
let heardAt = performance.now(), dragging = false;

const end = () => times[times.length - 1];
const second = () => Math.min(end(), state.position + (state.playing ? ((performance.now() - heardAt) / 1000) * state.speed : 0));

function placeOf(at) {
  const index = times.findIndex((begin, n) => n + 1 < times.length && at < times[n + 1]);
  return index < 0 ? times.length - 1 : index + (at - times[index]) / (times[index + 1] - times[index]);
}

function name(step) {
  const title = ticks[step].title;
  place.setAttribute("aria-valuetext", `Step ${step + 1} of ${ticks.length}: ${title}`);
  document.getElementById("tl-number").textContent = step + 1;
  document.getElementById("tl-title").textContent = title;
}

function show() {
  const at = second(), where = dragging ? Number(place.value) : placeOf(at), step = Math.min(ticks.length - 1, Math.floor(where));
  if (!dragging) place.value = calm.matches ? Math.floor(where) : where;
  ticks.forEach((tick, n) => {
    tick.classList.toggle("passed", n < step);
    n === step ? tick.setAttribute("aria-current", "step") : tick.removeAttribute("aria-current");
  });
  if (bar.dataset.step !== String(step)) { bar.dataset.step = step; name(step); }
  const button = document.getElementById("tl-play"), goes = state.playing && at < end();
  button.value = goes ? "0" : "1";
  button.querySelector("span").textContent = goes ? "Pause" : at >= end() ? "Again" : "Play";
  if (goes) bar.dataset.playing = "1"; else delete bar.dataset.playing;
}

function take(message) {
  state = message;
  if (message.steps?.length === ticks.length) times = [...message.steps.map((step) => step.starts), message.duration];
  heardAt = performance.now();
  if (document.activeElement?.id !== "tl-speed") document.getElementById("tl-speed").value = String(message.speed);
  show();
}

async function steer(form, wishes) {
  const body = new FormData(form);
  for (const [key, value] of Object.entries(wishes)) body.set(key, value);
  try {
    const answer = await fetch(form.action, { method: "POST", body, credentials: "same-origin", headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.status);
    take(await answer.json());
  } catch {
    toast("The timeline could not be steered: the server did not answer.");
  }
}

bar.addEventListener("submit", (event) => {
  event.preventDefault();
  const button = event.submitter;
  steer(event.target, button?.name ? { [button.name]: button.value } : {});
});
bar.addEventListener("change", (event) => {
  if (event.target.id === "tl-speed") steer(event.target.form, {});
  if (event.target.id === "tl-place") { dragging = false; steer(event.target.form, { at: place.value }); }
});
place.addEventListener("input", () => { dragging = true; show(); });
place.addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
  if (!by) return;
  // A step on the rail is a step of the timeline, not a thousandth of its length.
  event.preventDefault();
  const step = Math.min(ticks.length - 1, Math.max(0, Math.floor(placeOf(second())) + by));
  steer(place.form, { step });
});
// "#play" in the address: begin as soon as there is something to see change.
function begin() {
  if (location.hash !== "#play") return;
  if (!document.querySelector("#trace[data-facts]")) { setTimeout(begin, 200); return; }
  history.replaceState(history.state, "", location.pathname + location.search);
  setTimeout(() => steer(document.querySelector(".tl-play"), { playing: "1" }), LOOK_FIRST);
}

document.addEventListener("hopline:live", (event) => { if (event.detail.type === "playback") take(event.detail); });
begin();
setInterval(() => { if (state.playing && !document.hidden) show(); }, 100);
show();
