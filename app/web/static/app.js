"use strict";
/* Small generic behaviours, driven by attributes. Nothing here knows what Toolmint is about; every page works without it. */

const root = document.documentElement;
root.classList.add("js");
if (navigator.clipboard) root.classList.add("can-copy");
document.querySelector(".places [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

const say = (text) => { const place = document.getElementById("said"); if (place) place.textContent = text; };

/* Requests that change something carry the session's token. */
document.addEventListener("htmx:config:request", (event) => {
  const request = event.detail.ctx.request;
  const token = document.querySelector("meta[name=csrf-token]");
  if (token && request.method !== "GET") request.headers["X-CSRF-Token"] = token.content;
});

/* What is not swapped must still be seen. */
const warn = (text) => {
  const notice = document.getElementById("notice");
  if (!notice) return;
  const line = document.createElement("p");
  line.className = "note";
  line.dataset.tone = "bad";
  line.textContent = text;
  notice.replaceChildren(line);
};
document.addEventListener("htmx:response:error", (event) => {
  const status = event.detail.ctx.response.status;
  if (status >= 500) warn(`The server answered ${status}. Reload the page to see the present state before you try again.`);
});
document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx) warn("The server did not answer. Reload the page to see the present state before you try again.");
});

/* data-copy: copy its text. */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button || !navigator.clipboard) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.dataset.copied = "";
  say("Copied");
  setTimeout(() => delete button.dataset.copied, 1200);
});

/* data-checks: checks every box of this name; data-checked: says how many of them are. */
document.addEventListener("change", (event) => {
  const all = event.target.closest("[data-checks]");
  const name = all ? all.dataset.checks : event.target.name;
  const boxes = [...document.querySelectorAll("input[type=checkbox]")].filter((box) => name && box.name === name);
  if (all) for (const box of boxes) box.checked = all.checked;
  const number = boxes.filter((box) => box.checked).length;
  for (const sign of document.querySelectorAll("[data-checked]")) if (sign.dataset.checked === name) sign.textContent = `${number} selected`;
});

/* data-live: the state of an event stream, shown beside what it feeds. */
for (const [name, state] of [["after:connection", "live"], ["error", "reconnecting"], ["before:connection", "reconnecting"]]) {
  document.addEventListener(`htmx:sse:${name}`, (event) => {
    if (name === "before:connection" && !event.detail.connection.attempt) return;
    for (const sign of document.querySelectorAll("[data-live]")) sign.dataset.live = state;
  });
}
document.addEventListener("htmx:sse:close", (event) => {
  for (const sign of document.querySelectorAll("[data-live]")) sign.dataset.live = event.detail.reason === "message" ? "over" : "stale";
});

/* data-ago: milliseconds, shown as a distance from now. */
const UNITS = [[60e3, 1e3, "s"], [36e5, 60e3, "min"], [864e5, 36e5, "h"], [2592e6, 864e5, "d"]];
const distance = (at) => {
  const away = Math.abs(Date.now() - at);
  if (away < 2000) return "just now";
  const unit = UNITS.find(([limit]) => away < limit);
  if (!unit) return new Date(at).toISOString().slice(0, 10);
  const text = `${Math.floor(away / unit[1])} ${unit[2]}`;
  return at <= Date.now() ? `${text} ago` : `in ${text}`;
};
setInterval(() => {
  if (document.hidden) return;
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const text = distance(Number(time.dataset.ago));
    if (time.textContent !== text) time.textContent = text;
  }
}, 5000);

/* Keys: "/" goes to the field marked data-search, "?" opens #shortcuts, data-keys="g t" is pressed like a chord. */
let pressed = "";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [contenteditable]")) return;
  if (event.key === "/") {
    const field = document.querySelector("[data-search]");
    if (field) { event.preventDefault(); field.focus(); field.select(); }
  } else if (event.key === "?") {
    document.getElementById("shortcuts")?.togglePopover();
  } else {
    const link = pressed && document.querySelector(`[data-keys="${pressed} ${CSS.escape(event.key)}"]`);
    if (link) link.click();
    pressed = link || !/^[a-z]$/.test(event.key) ? "" : event.key;
    setTimeout(() => { pressed = ""; }, 1500);
  }
});
