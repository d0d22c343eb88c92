// Before the first paint: the theme that was chosen, or none, so that the system's is followed.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch { /* storage is blocked: follow the system */ }
