// The theme button without a page load: the same POST, and the choice shown at once. Without JavaScript the form reloads the page.
document.addEventListener("submit", (event) => {
  const form = event.target.closest("form.theme");
  if (!form || !event.submitter) return;
  event.preventDefault();
  const theme = event.submitter.value;
  const body = new FormData(form);
  body.set("theme", theme);
  document.documentElement.dataset.theme = theme;
  form.querySelector(theme === "dark" ? ".light" : ".dark").focus();
  fetch(form.action, { method: "POST", body, redirect: "manual", keepalive: true }).catch(() => form.submit());
});
