// The packet player: Play walks through the steps; any key, a choice, or a hidden tab stops it.
import { current, showStep, stepLink, total } from "./parts.js";

const SECOND_AND = 1400;
let timer = 0;

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function label() {
  const button = document.querySelector("#play span");
  if (!button) return;
  button.textContent = timer ? "Pause" : "Play";
  if (timer) button.parentElement.dataset.playing = "yes"; else delete button.parentElement.dataset.playing;
}

function stop() {
  clearTimeout(timer);
  timer = 0;
  label();
}

function wait() {
  const speed = Number(document.getElementById("speed")?.value || 1);
  timer = setTimeout(advance, SECOND_AND / speed);
}

async function advance() {
  if (current() >= total()) { stop(); return; }
  await showStep(stepLink(current() + 1).getAttribute("href"), { push: false });
  if (!timer) return;
  current() >= total() ? stop() : wait();
  label();
}

async function play() {
  timer = -1;
  label();
  if (current() >= total()) await showStep(stepLink(1).getAttribute("href"), { push: false });
  if (timer) wait();
  label();
}

document.addEventListener("click", (event) => {
  if (!event.target.closest?.("#play")) return;
  if (timer) { stop(); return; }
  // With reduced motion nothing runs by itself: Play takes one step.
  still() ? current() < total() && showStep(stepLink(current() + 1).getAttribute("href")) : play();
});
document.addEventListener("keydown", (event) => {
  // Enter and Space on the button itself are a click on Pause.
  const click = (event.key === "Enter" || event.key === " ") && event.target.closest?.("#play");
  if (timer && !click) stop();
}, true);
document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); });
document.addEventListener("hopline:chosen", stop);
