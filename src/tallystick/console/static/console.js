// Conveniences only: every page works without them.
"use strict";

function copyButton(code) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.title = "Copy";
  button.setAttribute("aria-label", `Copy ${code.textContent}`);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1200);
  });
  return button;
}

if (navigator.clipboard) {
  for (const code of document.querySelectorAll("[data-copy]")) code.after(copyButton(code));
}

for (const all of document.querySelectorAll("[data-select-all]")) {
  const boxes = document.querySelectorAll(`input[name="${all.dataset.selectAll}"]`);
  all.hidden = false;
  all.addEventListener("change", () => boxes.forEach((box) => (box.checked = all.checked)));
}
