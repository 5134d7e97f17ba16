// Runs before the first paint, so that a chosen theme does not flash; a module would run later.
"use strict";
try {
  const theme = localStorage.getItem("pagepool-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: colours are as the system has them.
}
