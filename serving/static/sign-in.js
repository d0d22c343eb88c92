// Signs this browser in with a key that is typed, or that stands behind the # of the address, where no server sees it.
const form = document.getElementById("form");
const field = document.getElementById("key");
const message = document.getElementById("message");

/** Where to go afterwards: a page of this site, never another one. */
function next() {
  const wanted = new URLSearchParams(location.search).get("next") ?? "/";
  return /^\/(?![/\\])/.test(wanted) ? wanted : "/";
}

async function signIn(key) {
  message.textContent = "";
  const answer = await fetch("/v1/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ key }),
  });
  if (answer.ok) {
    location.replace(next());
    return;
  }
  const { error } = await answer.json();
  message.textContent = error.message;
  field.select();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(field.value).catch(() => { message.textContent = "The service does not answer; try again."; });
});

if (location.hash.startsWith("#lsk_")) {
  const key = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
  field.value = key;
  form.requestSubmit();
}
