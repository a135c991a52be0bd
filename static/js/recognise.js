// What is pasted is recognised while it is pasted: all boxes are sent when typing pauses, and each gets its list back. The upload needs none of it.
const form = document.getElementById("upload");
const PAUSE = 500;
const TOO_MUCH = "Too much to be looked at before it is uploaded. A file is better for so much: save it, and choose it above.";
const NOT_NOW = "Not looked at just now. It is when you upload.";

function setUp() {
  const limit = Number(form.dataset.maxRecognised);
  let timer = 0;
  let asked = null;

  const texts = () => [...form.querySelectorAll("[name=paste]")].map((one) => one.value);
  const fill = (text) => [...form.querySelectorAll("[data-says]")].forEach((box, at) => {
    const said = texts()[at].trim() ? text : "";
    if (box.textContent !== said) box.textContent = said;
  });
  const show = (found) => [...form.querySelectorAll("[data-says]")].forEach((box, at) => {
    const said = found.querySelector(`[data-box="${at + 1}"]`);
    if (box.innerHTML !== (said?.innerHTML ?? "")) box.replaceChildren(...(said?.childNodes ?? []));
  });

  async function ask() {
    asked?.abort();
    const size = new Blob(texts()).size;
    if (size > limit || !size) { fill(TOO_MUCH); return; }
    const body = new FormData();
    for (const one of form.querySelectorAll("[name=paste], [name=paste_node], [name=csrfmiddlewaretoken]")) body.append(one.name, one.value);
    asked = new AbortController();
    const { signal } = asked;
    try {
      const answer = await fetch(form.dataset.recognise, { method: "POST", body, credentials: "same-origin", signal });
      const text = await answer.text();
      if (answer.ok) show(new DOMParser().parseFromString(text, "text/html")); else fill(NOT_NOW);
    } catch {
      if (!signal.aborted) fill(NOT_NOW);
    }
  }

  form.addEventListener("input", (event) => {
    if (!event.target.matches("[name=paste], [name=paste_node]")) return;
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  });
  // What the browser filled in again, after Back or a reload.
  if (texts().some((text) => text.trim())) ask();
}

if (form) setUp();
