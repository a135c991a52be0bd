// Copy link: the address bar is the state, so it is what is copied.
import { toast } from "./toast.js";

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "vh";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const panel = document.getElementById("inspector");
  const href = button.dataset.copy === "step" && panel ? panel.dataset.url : location.href;
  toast((await copy(new URL(href, location.href).href)) ? "Link copied." : "The link could not be copied; take it from the address bar.");
});
