// Says what went wrong with a request, with a button to try again; the result on screen stays.
export function toast(text, retry) {
  const box = document.getElementById("toast");
  const item = document.createElement("p");
  item.append(text);
  if (retry) {
    const button = document.createElement("button");
    button.className = "btn sm";
    button.type = "button";
    button.textContent = "Retry";
    button.addEventListener("click", () => { item.remove(); retry(); });
    item.append(button);
  }
  box.replaceChildren(item);
  if (!retry) setTimeout(() => item.remove(), 5000);
}

function again(event) {
  const { elt, requestConfig } = event.detail;
  if (!requestConfig || requestConfig.verb !== "get") return undefined;
  return () => window.htmx.ajax("get", event.detail.pathInfo?.finalRequestPath || requestConfig.path, { source: elt, target: event.detail.target });
}

document.addEventListener("htmx:sendError", (event) => toast("The server could not be reached. What you see is the last answer.", again(event)));
document.addEventListener("htmx:responseError", (event) => toast(`The server answered ${event.detail.xhr.status}. What you see is the last answer.`, again(event)));
