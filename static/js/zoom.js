// Zoom is the picture's width inside its scrolling frame.
const NEAREST = 2.5, FARTHEST = 0.3;

const parts = () => {
  const picture = document.getElementById("g");
  return picture && { picture, canvas: picture.closest(".canvas"), box: picture.viewBox.baseVal };
};
const scale = ({ picture, box }) => picture.getBoundingClientRect().width / box.width;

function show() {
  const all = parts();
  const level = document.getElementById("zoom-level");
  if (all && level) level.textContent = `${Math.round(scale(all) * 100)}%`;
}

function zoom(how) {
  const all = parts();
  if (!all) return;
  const fit = Math.min(1, (all.canvas.clientWidth - 2) / all.box.width);
  const wanted = how === "fit" ? fit : scale(all) + (how === "in" ? 0.25 : -0.25);
  const factor = Math.min(NEAREST, Math.max(FARTHEST, wanted));
  all.picture.classList.remove("fits");
  all.picture.setAttribute("width", Math.floor(all.box.width * factor));
  all.picture.setAttribute("height", Math.floor(all.box.height * factor));
  show();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-zoom]");
  if (button) zoom(button.dataset.zoom);
});
document.addEventListener("htmx:afterSettle", show);
addEventListener("resize", show);
show();
