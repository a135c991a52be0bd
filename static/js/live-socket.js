// The line to the server: a WebSocket, after three failed upgrades server-sent events, and polling where neither passes.
const TRIES = 3, LONGEST = 30000, POLL = 5000, PATIENCE = 1200;

// Full jitter: anything between one second and twice as much for each failure.
const pause = (failures) => 1000 + Math.random() * (Math.min(LONGEST, 1000 * 2 ** failures) - 1000);

export function listen({ socket, events, asked }, generation, tell, lose) {
  let failures = 0, refused = 0, gone = 0;
  const up = () => { clearTimeout(gone); gone = 0; failures = 0; lose(false); };
  const down = () => { if (!gone) gone = setTimeout(() => lose(true), PATIENCE); };
  const since = (address) => `${address}?since=${generation()}`;

  function bySocket() {
    const line = new WebSocket(`${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${socket}`);
    let opened = false;
    line.addEventListener("open", () => { opened = true; refused = 0; line.send(JSON.stringify({ since: generation() })); });
    line.addEventListener("message", (event) => { up(); tell(JSON.parse(event.data)); });
    line.addEventListener("close", (event) => {
      // 4404: nothing of that name is followed any more.
      if (event.code === 4404) { tell({ type: "source", state: "stopped" }); return; }
      down();
      failures += 1;
      if (!opened) refused += 1;
      setTimeout(refused >= TRIES ? byEvents : bySocket, pause(failures));
    });
  }

  function byEvents() {
    const line = new EventSource(since(events));
    let heard = false;
    line.addEventListener("message", (event) => { heard = true; up(); tell(JSON.parse(event.data)); });
    line.addEventListener("error", () => {
      line.close();
      down();
      failures += 1;
      setTimeout(heard ? byEvents : byAsking, pause(failures));
    });
  }

  let tag = "";
  async function byAsking() {
    try {
      const answer = await fetch(since(asked), { credentials: "same-origin", headers: tag ? { "If-None-Match": tag } : {} });
      if (answer.status === 404) { tell({ type: "source", state: "stopped" }); return; }
      if (!answer.ok && answer.status !== 304) throw new Error(answer.status);
      up();
      tag = answer.headers.get("ETag") || tag;
      if (answer.status === 200) (await answer.json()).messages.forEach(tell);
      setTimeout(byAsking, POLL);
    } catch {
      down();
      failures += 1;
      setTimeout(byAsking, pause(failures));
    }
  }

  bySocket();
}
