// Liveshelf's tracker; docs/tracker.md tells its use. `python -m serving.tracker` makes tracker.js of it.
(() => {
  const tag = document.currentScript.dataset;
  const url = tag.url || "/v1/events";
  let memory = {}, busy, timer, pause = 1000;

  // One object holds all: consent, ids, queue. Read before every change, since other tabs change it too.
  const load = () => {
    try {
      return JSON.parse(localStorage.liveshelf || "{}");
    } catch {
      return memory;
    }
  };
  const save = (state) => {
    memory = state;
    try {
      localStorage.liveshelf = JSON.stringify(state);
    } catch {}
  };

  // crypto.randomUUID exists only on https.
  const uuid = () =>
    "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (c) =>
      (c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (c / 4)))).toString(16));

  const later = (ms) => {
    timer ||= setTimeout(flush, ms);
  };

  const track = (type, item, more) => {
    const state = load();
    if (!state.on) return;
    const who = state.user ? { user_id: state.user } : { anonymous_id: state.anonymous };
    const event = { event_id: uuid(), event_type: type, item_id: item, occurred_at: new Date(), shop_id: tag.shop };
    // The newest 200 are kept while the shop cannot be reached.
    state.queue = [...(state.queue || []), { ...event, ...who, ...more }].slice(-200);
    save(state);
    later(200);
  };

  // `gone` marks what a beacon took along: nobody knows whether it arrived, so it is sent again while that counts once.
  const flush = async (leaving) => {
    timer = clearTimeout(timer);
    const state = load(), now = Date.now();
    const queue = (state.queue || []).filter((e) => !(e.gone < now - 18e5));
    const batch = queue.slice(0, 50);
    if (!batch[0] || !navigator.onLine || (busy && !leaving)) return;
    // Text, so that no preflight is needed; `gone` is ours.
    const body = JSON.stringify(batch.map(({ gone, ...event }) => event));
    if (leaving) {
      if (navigator.sendBeacon(url, body)) batch.map((e) => (e.gone = now));
      return save({ ...state, queue });
    }
    let done = [];
    busy = 1;
    try {
      const reply = await fetch(url, { method: "POST", body });
      const { status } = reply, { results } = await reply.json();
      done = batch.filter((e, i) => (results ? results[i].status != "failed" : status < 500 && status != 429));
    } catch {}
    busy = 0;
    const after = load(), ids = done.map((e) => e.event_id);
    if (!after.on) return;
    after.queue = (after.queue || []).filter((e) => !ids.includes(e.event_id));
    save(after);
    pause = ids[0] ? 1000 : Math.min(pause * 2, 6e4);
    if (after.queue[0]) later(ids[0] ? 0 : pause);
  };

  const consent = (on) => {
    if (on) save({ anonymous: uuid(), ...load(), on: 1 }), later(0);
    else {
      save({});
      try {
        localStorage.removeItem("liveshelf");
      } catch {}
    }
  };

  // Login: the visitor's past is the user's. Without a user (logout) a new visitor begins.
  const identify = (user) => {
    const state = load();
    if (!state.on || state.user == user) return;
    if (user) track("identify", undefined, { user_id: user, anonymous_id: state.anonymous });
    save({ ...load(), user, ...(user ? {} : { anonymous: uuid() }) });
  };

  const shown = (list, ids) =>
    ids.map((id, position) => track("impression", id, { ...list, position }));

  addEventListener("online", () => later(0));
  document.addEventListener("visibilitychange", () => flush(document.hidden));
  window.liveshelf = { consent, identify, shown, track };
  if (tag.consent) consent(1);
  later(0);
})();
