// The upload form: progress in words, cancel, files and folders dropped anywhere on the page, several pasted pieces. Without it the form is an ordinary one.
const form = document.getElementById("upload");

function setUp() {
  const inputs = [...form.querySelectorAll("input[type=file]")];
  const [input, folder] = inputs;
  const paths = form.elements.paths;
  const most = Number(form.dataset.maxFiles);
  const mostPasted = Number(form.dataset.maxPasted);
  let dropped = [];
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
  const chosen = () => inputs.flatMap((one) => [...one.files]);
  const tooLarge = () => {
    const files = chosen();
    const pasted = new Blob([...form.querySelectorAll("[name=paste]")].map((one) => one.value)).size;
    if (pasted > mostPasted) return `${Math.ceil(pasted / 1e6)} MB are pasted, and this server takes ${(mostPasted / 1e6).toFixed(1)} MB so: save it to a file, and choose that.`;
    const size = files.reduce((sum, file) => sum + file.size, 0);
    if (files.length > most) return `These are ${files.length} files, and this server accepts ${most} at once: pack them first (tar czf snapshot.tar.gz FOLDER).`;
    if (size <= limit) return "";
    const what = files.length === 1 ? `${files[0].name} has` : `These ${files.length} files have`;
    return `${what} ${Math.ceil(size / 1e6)} MB, and this server accepts up to ${Math.floor(limit / 1e6)} MB.`;
  };
  // A form sends names without folders: the paths go beside them, in the same order.
  const noted = () => { paths.value = JSON.stringify(inputs.flatMap((one) => [...one.files].map((file, at) => (one === input && dropped[at]) || file.webkitRelativePath || file.name))); };

  const listed = form.querySelector("[data-chosen]");
  const nothing = listed.textContent;
  const tell = () => {
    const names = chosen().map((file) => file.webkitRelativePath.split("/")[0] || file.name);
    const tops = [...new Set(dropped.length ? dropped.map((path) => path.split("/")[0]) : names)];
    const said = tops.length > 4 ? `${tops.slice(0, 3).join(", ")} and ${tops.length - 3} more` : tops.join(", ");
    listed.textContent = !names.length ? nothing : names.length === tops.length ? said : `${names.length} files: ${said}`;
  };

  for (const one of inputs) one.addEventListener("change", (event) => {
    if (one === input && event.isTrusted) dropped = [];
    tell();
    clear();
    sending.hidden = true;
    noted();
    if (tooLarge()) refuse(tooLarge());
  });
  addPieces(form);

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
  dropAnywhere((found) => {
    if (!found.length) { sending.hidden = true; refuse("This folder holds no files. Drop the one that the collected files are in."); return; }
    const files = new DataTransfer();
    for (const [, file] of found) files.items.add(file);
    dropped = found.map(([path]) => path);
    input.files = files.files;
    folder.value = "";
    input.dispatchEvent(new Event("change", { bubbles: true }));
    const what = found.length === 1 ? `${found[0][1].name} is` : `${found.length} files are`;
    if (!state().classList.contains("errors")) say(`${what} ready. Press Upload.`);
    button.focus();
  }, most);
}

// "Add another piece" copies the first one, empty, with ids of its own.
function addPieces(within) {
  const pieces = within.querySelector("[data-pieces]");
  for (const spare of within.querySelectorAll(".pasted > .no-js")) spare.remove();
  within.querySelector("[data-add-piece]").addEventListener("click", () => {
    const number = pieces.children.length + 1;
    const piece = pieces.firstElementChild.cloneNode(true);
    for (const one of piece.querySelectorAll("[id]")) { one.id = one.id.replace(/\d+$/, number); one.value = ""; }
    piece.querySelector("[data-says]").textContent = "";
    for (const one of piece.querySelectorAll("label")) { one.htmlFor = one.htmlFor.replace(/\d+$/, number); one.textContent += ` (piece ${number})`; }
    pieces.append(piece);
    piece.querySelector("textarea").focus();
  });
}

// Every file of what was dropped, folders too, with its path; one more than may be sent is enough to say that there are too many.
async function filesIn(entries, most) {
  const found = [];
  const waiting = [...entries];
  while (waiting.length && found.length <= most) {
    const entry = waiting.shift();
    if (entry.isFile) {
      const file = await new Promise((done) => entry.file(done, () => done(null)));
      if (file) found.push([entry.fullPath.replace(/^\//, ""), file]);
    } else {
      const reader = entry.createReader();
      for (let some; (some = await new Promise((done) => reader.readEntries(done, () => done([])))).length;) waiting.push(...some);
    }
  }
  return found;
}

function dropAnywhere(take, most) {
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
    const files = [...event.dataTransfer.files].map((file) => [file.name, file]);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (!entries.some((entry) => entry.isDirectory)) { if (files.length) take(files); return; }
    filesIn(entries, most).then(take);
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
