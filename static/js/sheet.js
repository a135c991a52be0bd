// On a phone: the inspector is a sheet that opens, and the tabs switch between list and picture without a page load.
document.addEventListener("click", (event) => {
  const more = event.target.closest?.(".more");
  if (more) {
    const open = document.getElementById("inspector").classList.toggle("open");
    more.setAttribute("aria-expanded", String(open));
    more.textContent = open ? "Show less" : "Rule and reason";
    return;
  }
  const tab = event.target.closest?.("[data-view-to]");
  if (!tab || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  document.getElementById("main").dataset.view = tab.dataset.viewTo;
  for (const other of document.querySelectorAll("[data-view-to]")) {
    other === tab ? other.setAttribute("aria-current", "page") : other.removeAttribute("aria-current");
  }
  history.pushState({ step: true }, "", tab.getAttribute("href"));
});
