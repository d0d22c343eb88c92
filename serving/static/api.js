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

// Follows a visitor's shelf. EventSource reconnects by itself unless the server refuses; then this does.
export function follow(path, { onShelf, onState }) {
  let source, timer, closed = false;
  const open = () => {
    source = new EventSource(path);
    source.addEventListener("open", () => onState("live"));
    source.addEventListener("shelf", (message) => onShelf(JSON.parse(message.data), performance.now()));
    source.addEventListener("error", () => {
      if (closed) return;
      onState("reconnecting");
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, 2000);
    });
  };
  open();
  return () => { closed = true; clearTimeout(timer); source.close(); };
}
