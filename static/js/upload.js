// The upload form: progress in words, cancel, a file dropped anywhere on the page. Without it the form is an ordinary one.
const form = document.getElementById("upload");

function setUp() {
  const input = form.querySelector("input[type=file]");
  const button = form.querySelector("[data-upload-button]");
  const cancel = form.querySelector("[data-upload-cancel]");
  const sending = document.getElementById("upload-sending");
  const words = sending.querySelector("[data-upload-words]");
  const bar = sending.querySelector("progress");
  const limit = Number(form.dataset.maxBytes);
  let cancelled = false;

  const state = () => document.getElementById("upload-state");
  const busy = (on) => {
    button.disabled = on;
    cancel.hidden = !on;
    if (on) form.setAttribute("aria-busy", "true"); else form.removeAttribute("aria-busy");
  };
  const say = (text) => { sending.hidden = false; if (words.textContent !== text) words.textContent = text; };
  // The element stays: htmx keeps the target that it found when the request began.
  const fill = (role, name, text) => {
    const box = state();
    for (const attribute of ["data-upload-failed", "data-job", "tabindex", "role"]) box.removeAttribute(attribute);
    box.className = name;
    if (role) box.setAttribute("role", role);
    box.textContent = text;
  };
  const refuse = (text) => fill("alert", "errors", text);
  const clear = () => fill("", "", "");
  const tooLarge = () => {
    const file = input.files[0];
    return file && file.size > limit ? `${file.name} has ${Math.ceil(file.size / 1e6)} MB, and this server accepts up to ${Math.floor(limit / 1e6)} MB.` : "";
  };

  input.addEventListener("change", () => { clear(); sending.hidden = true; if (tooLarge()) refuse(tooLarge()); });

  form.addEventListener("htmx:confirm", (event) => {
    if (event.target !== form) return;
    const problem = tooLarge();
    if (problem) { event.preventDefault(); refuse(problem); }
  });
  form.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target !== form) return;
    cancelled = false;
    clear();
    busy(true);
    bar.value = 0;
    say("Uploading 0%");
  });
  form.addEventListener("htmx:xhr:progress", (event) => {
    if (event.target !== form || !event.detail.lengthComputable || !event.detail.total) return;
    const percent = Math.floor((100 * event.detail.loaded) / event.detail.total);
    bar.value = percent;
    say(percent < 100 ? `Uploading ${percent}%` : "Uploaded, waiting for the server");
  });
  form.addEventListener("htmx:xhr:abort", (event) => {
    if (event.target !== form) return;
    cancelled = true;
    busy(false);
    bar.value = 0;
    say("Cancelled. Nothing was stored.");
    button.focus();
  });
  form.addEventListener("htmx:afterRequest", (event) => {
    if (event.target !== form || cancelled) return;
    busy(false);
    sending.hidden = true;
  });
  form.addEventListener("htmx:afterSwap", () => {
    const failed = form.querySelector("[data-upload-failed]");
    if (failed) failed.focus();
  });
  cancel.addEventListener("click", () => window.htmx.trigger(form, "htmx:abort"));
  dropAnywhere((file) => {
    const files = new DataTransfer();
    files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    if (!state().classList.contains("errors")) say(`${file.name} is ready. Press Upload.`);
    button.focus();
  }, refuse);
}

function dropAnywhere(take, refuse) {
  let depth = 0;
  const over = (on) => document.documentElement.classList.toggle("dropping", on);
  const hasFiles = (event) => Array.from(event.dataTransfer?.types || []).includes("Files");
  document.addEventListener("dragenter", (event) => { if (hasFiles(event)) { event.preventDefault(); depth += 1; over(true); } });
  document.addEventListener("dragleave", (event) => { if (hasFiles(event)) { depth = Math.max(0, depth - 1); if (!depth) over(false); } });
  document.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    over(false);
    const [item] = event.dataTransfer.items;
    if (event.dataTransfer.files.length > 1) refuse("Drop one file: pack the folder first (tar czf snapshot.tar.gz FOLDER).");
    else if (item?.webkitGetAsEntry?.()?.isDirectory) refuse("A folder cannot be dropped: pack it first (tar czf snapshot.tar.gz FOLDER).");
    else if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}

// The socket only says that something changed; the fragment is fetched again. Without a socket it is fetched every second anyway.
function follow(box) {
  if (!box?.dataset.job || box.dataset.followed) return;
  box.dataset.followed = "yes";
  if (follow.job === box.dataset.job) return;
  follow.job = box.dataset.job;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}/live/uploads/${encodeURIComponent(follow.job)}`);
  socket.addEventListener("message", () => {
    const now = document.getElementById("upload-state");
    if (now?.dataset.job) window.htmx.trigger(now, "upload-changed");
  });
}

// A refused upload lists its problems where the form is; htmx would leave most answers of 4xx and 5xx out.
document.addEventListener("htmx:beforeSwap", (event) => {
  const fits = event.detail.target?.id === "upload-state" && event.detail.serverResponse.includes("data-upload-failed");
  if (fits) { event.detail.shouldSwap = true; event.detail.isError = false; }
});

if (form) setUp();
follow(document.getElementById("upload-state"));
document.addEventListener("htmx:afterSwap", () => follow(document.getElementById("upload-state")));
