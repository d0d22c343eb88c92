// Talking to the server: typed errors become exceptions with a message that can be shown.

export async function get(path, params = {}, signal) {
  const query = new URLSearchParams(params).toString();
  return read(await reach(query ? `${path}?${query}` : path, { signal }));
}

export async function postEvent(event) {
  const answer = await reach("/v1/events", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(event),
  });
  const answeredAt = performance.now();
  const body = await answer.json();
  if (body.error) throw new Error(body.error.message);
  const result = body.results[0];
  if (result.status !== "accepted") throw new Error(`${result.status}: ${result.message ?? result.reason}`);
  return answeredAt;
}

export const postEvents = (events) => post("/v1/events", { events });

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Error("the shop does not answer", { cause: problem });
  }
}

async function read(answer) {
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error?.message ?? `the server answered ${answer.status}`);
  return body;
}

// crypto.randomUUID exists only on https and localhost; the page may be opened over a plain address too.
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// Follows a visitor's shelf: by server-sent events, and where a deployment has none, by asking every second (the answer
// carries an ETag, so what did not change costs a few bytes). EventSource reconnects by itself unless the server refuses.
export function follow(path, params, { onShelf, onState }) {
  const query = new URLSearchParams(params).toString();
  let source, timer, refused = 0, closed = false;
  const stop = () => { closed = true; clearTimeout(timer); source?.close(); };
  const listen = () => {
    source = new EventSource(`${path}/stream?${query}`);
    source.addEventListener("open", () => { refused = 0; onState("live"); });
    source.addEventListener("shelf", (message) => onShelf(JSON.parse(message.data), performance.now()));
    source.addEventListener("error", () => {
      if (closed) return;
      if (source.readyState !== EventSource.CLOSED) return onState("reconnecting");
      refused += 1;
      timer = setTimeout(ask, 250);
    });
  };
  let last = "";
  const ask = async () => {
    try {
      const answer = await fetch(`${path}?${query}`, { cache: "no-cache" });
      const text = await answer.text();
      if (closed) return;
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      onState("polling");
      if (text !== last) onShelf(JSON.parse((last = text)), performance.now());
      // A refusal can pass: every tenth time the stream is tried again.
      timer = setTimeout(refused % 10 === 0 ? listen : ask, 1000);
      refused += 1;
    } catch {
      if (closed) return;
      onState("reconnecting");
      timer = setTimeout(listen, 2000);
    }
  };
  listen();
  return stop;
}

export async function post(path, body) {
  return read(await reach(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }));
}
