// What the cluster's changes do to this page. The socket says only which generation there is and what changed; the page then fetches its own
// address and morphs. Nothing moves under somebody who steps, plays, types or was only just pointing: then a bar says what changed.
import { diff, sentences } from "./live-facts.js";
import { listen } from "./live-socket.js";

const SETTLE = 500, GLANCE = 2500, APART = 2000, STEPPING = 20000, POINTING = 1500, FRESH = 90;
const pill = document.getElementById("live-status");
const part = () => document.querySelector("[data-live]");
const when = (text) => (text ? Date.parse(text) : 0);
const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

let gen = Number(pill.dataset.gen), held = null, timer = 0, dueAt = 0, fetchedAt = 0, busy = false;
let source = pill.dataset.state, lost = false, wasStopped = false, steppedAt = 0, pointedAt = 0, readAt = when(pill.dataset.readAt);
let changedAt = when(pill.dataset.changedAt), said = document.getElementById("live-text").textContent, playback = null, followed = "";
let waitsSince = 0, patience = 0;

// --- the pill: a shape and words -------------------------------------------------------------------------------------

function words() {
  const seconds = Math.round((Date.now() - readAt) / 1000);
  if (lost) return changedAt ? `Reconnecting, last update ${clock(changedAt)}` : "Reconnecting";
  if (source === "stale") return changedAt ? `Connection lost, last update ${clock(changedAt)}` : "Connection lost";
  if (source === "stopped") return "Stopped";
  if (source === "connecting") return "Connecting";
  if (held) return "Paused";
  if (playback) return `${playback.playing ? "Playing" : playback.position >= playback.duration ? "At its end" : "Paused"}, step ${playback.step + 1} of ${playback.steps.length}`;
  if (pill.dataset.timeline) return said;
  return readAt && seconds >= 0 && seconds < FRESH ? `Live, rules read ${seconds} s ago` : "Live";
}

function shape() {
  if (lost) return "reconnecting";
  return source === "live" && (held || (playback && !playback.playing)) ? "paused" : source;
}

function show() {
  const text = words(), now = shape();
  if (pill.dataset.state !== now) {
    pill.classList.remove(`s-${pill.dataset.state}`);
    pill.classList.add(`s-${now}`);
    pill.dataset.state = now;
    document.getElementById("live-said").textContent = text;
  }
  const line = document.getElementById("live-text");
  if (line.textContent !== text) line.textContent = text;
}

// --- fetching the page's own address ---------------------------------------------------------------------------------

const isTyping = () => Boolean(document.activeElement?.closest?.("#trace :is(input, select, textarea)")) || isEdited();
const isPlaying = () => Boolean(document.getElementById("play")?.dataset.playing);
const isHolding = () => Date.now() - steppedAt < STEPPING || isPlaying() || isTyping();

// A form that was filled in and not sent must not be emptied.
function isEdited() {
  return [...document.querySelectorAll("#trace :is(#trace-form, .gform) :is(input, select)")].some((field) => {
    if (field.type === "hidden") return false;
    if (field.type === "radio") return field.checked !== field.defaultChecked;
    if (field.options) return field.selectedIndex !== Math.max(0, [...field.options].findIndex((option) => option.defaultSelected));
    return field.value !== field.defaultValue;
  });
}

// null: there is nothing new to show; undefined: a change is under way, and is better asked for again in a moment.
async function fetched(now = "") {
  const { answer: had } = (held || part()).dataset, step = document.getElementById("inspector")?.dataset.step;
  // A page that has no answer for a moment follows nothing; the next one follows what this one did.
  const follow = (followed = part().dataset.follow || followed);
  const headers = { "HX-Request": "true", "HX-Target": part().id, ...(now && { "Hopline-Now": now }) };
  for (const [name, value] of Object.entries({ Had: had, Follow: follow, Step: step })) if (value) headers[`Hopline-${name}`] = value;
  const answer = await fetch(location.pathname + location.search, { headers, credentials: "same-origin", cache: "no-store" });
  if (answer.status === 204 && answer.headers.has("Hopline-Settling")) {
    waitsSince ||= Date.now();
    patience = Number(answer.headers.get("Hopline-Settling")) * 1000;
    return undefined;
  }
  waitsSince = 0;
  if (answer.status === 204) return null;
  if (!answer.ok && answer.status !== 404 && answer.status !== 422) throw new Error(answer.status);
  return new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(part().id);
}

function touches(changed) {
  const depends = part()?.dataset.depends?.split(" ");
  return Boolean(depends) && (depends.includes("*") || changed.includes("*") || changed.some((ref) => depends.includes(ref)));
}

function soon(wait = SETTLE) {
  const at = Date.now() + Math.max(wait, fetchedAt + APART - Date.now());
  if (timer && dueAt <= at) return;
  clearTimeout(timer);
  dueAt = at;
  timer = setTimeout(refresh, at - Date.now());
}

async function refresh() {
  timer = 0;
  if (busy || document.hidden) return soon();
  if (Date.now() - pointedAt < POINTING) return soon(POINTING);
  busy = true;
  fetchedAt = Date.now();
  try {
    const at = location.href, next = await fetched(waitsSince && Date.now() - waitsSince >= patience ? "1" : "");
    // What was asked meanwhile, or who began to step meanwhile, goes first.
    if (next === undefined) { fetchedAt = 0; soon(); }
    if (next && at === location.href) held || isHolding() ? hold(next) : apply(next);
  } catch {
    soon(APART * 2);
  } finally {
    busy = false;
  }
}

function apply(next) {
  const old = part(), changes = sentences(diff(old.dataset.facts, next.dataset.facts));
  held = null;
  document.documentElement.classList.add("moving");
  window.Idiomorph.morph(old, next, { morphStyle: "outerHTML", ignoreActiveValue: true });
  window.htmx.process(part());
  readAt = when(part().dataset.readAt) || readAt;
  keepAddress();
  if (part().dataset.title) document.title = part().dataset.title;
  document.dispatchEvent(new CustomEvent("hopline:morphed"));
  if (changes.length) document.getElementById("live-said").textContent = changes.join(" ");
  setTimeout(() => document.documentElement.classList.remove("moving"), 900);
  show();
}

// The followed path has a new name when its rules are others.
function keepAddress() {
  const id = part().dataset.follow?.split(".")[0];
  const to = location.pathname + location.search.replace(/([?&]follow=)[0-9a-f]{10}/, `$1${id}`);
  if (id && to !== location.pathname + location.search) history.replaceState(history.state, "", to);
}

// --- the bar that asks first -----------------------------------------------------------------------------------------

function hold(next) {
  const changes = sentences(diff(part().dataset.facts, next.dataset.facts));
  const bar = document.getElementById("live-bar");
  if (!bar) return apply(next);
  held = next;
  const all = changes.length ? changes : ["The answer's evidence changed: rules, lines or times."];
  bar.querySelector("[data-live-first]").textContent = all[0];
  bar.querySelector("[data-live-all]").replaceChildren(...all.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  bar.hidden = false;
  keepInSight();
  document.getElementById("live-said").textContent = `The cluster changed. ${all[0]}`;
  return show();
}

// Under the verdict; at the top of the window where that is scrolled away.
function keepInSight() {
  const bar = document.getElementById("live-bar");
  if (bar && !bar.hidden) bar.classList.toggle("away", bar.parentElement.getBoundingClientRect().top < 0);
}

addEventListener("scroll", keepInSight, { passive: true });
document.addEventListener("click", async (event) => {
  if (!event.target.closest?.("[data-live-update]")) return;
  steppedAt = 0;
  // The address may name another step by now than when the held page was fetched.
  const kept = held;
  held = null;
  const next = await fetched("1").catch(() => kept);
  if (next) apply(next); else document.getElementById("live-bar").hidden = true;
  show();
});
// Another question, or Back: what is shown now is new.
document.addEventListener("htmx:afterSettle", (event) => { if (event.detail.target?.id === part()?.id) { held = null; show(); } });
document.addEventListener("hopline:stepped", () => { steppedAt = Date.now(); });
document.addEventListener("pointermove", (event) => { if (event.target.closest?.(".canvas")) pointedAt = Date.now(); }, { passive: true });
document.addEventListener("visibilitychange", () => { if (!document.hidden) show(); });

// --- what is heard ---------------------------------------------------------------------------------------------------

const heard = {
  generation({ gen: newest, changed }) {
    // Fewer than this page has seen: the cluster was connected anew, and nothing here is of it.
    if (newest === gen) return;
    gen = newest;
    changedAt = Date.now();
    // What the answer names is only a first guess (a new pod has no name in it yet): the server knows, and says 204 when nothing changed.
    if (part()) soon(touches(changed) ? SETTLE : GLANCE * (0.5 + Math.random()));
  },
  source(message) {
    const was = source;
    source = message.state;
    if (source === "stopped") wasStopped = true;
    const isBack = wasStopped && source === "live";
    if (isBack) wasStopped = false;
    if (part() && (isBack || ((was !== source || message.nodes) && part().dataset.depends === "*"))) soon();
  },
  playback(message) { playback = message; },
};

listen(pill.dataset, () => gen, (message) => {
  heard[message.type]?.(message);
  document.dispatchEvent(new CustomEvent("hopline:live", { detail: message }));
  show();
}, (isLost) => { lost = isLost; show(); });
setInterval(show, 1000);
