// A button with data-copy puts the code of its data-copy-box on the clipboard and says so.
async function write(text) {
  try { return void await navigator.clipboard.writeText(text); } catch { /* Not a secure context, or refused: the old way. */ }
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "vh";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("copy was refused");
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  const code = button?.closest("[data-copy-box]")?.querySelector("code");
  if (!code) return;
  const toast = document.getElementById("toast");
  try {
    await write(code.textContent);
    button.textContent = "Copied";
    if (toast) toast.textContent = "";
    button.focus();
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});
