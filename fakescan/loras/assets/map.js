"use strict";
const files = JSON.parse(document.getElementById("files").textContent);
const map = document.getElementById("map");
const tip = document.getElementById("tip");
const shown = document.getElementById("shown");
const search = document.getElementById("search");
const clusters = new Set(files.map((file) => file.cluster));
document.getElementById("facts").textContent =
  `${files.length} files in ${clusters.size} ${clusters.size === 1 ? "cluster" : "clusters"}; point at one for its name`;

function line(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function tell(file, circle) {
  tip.replaceChildren(
    line("b", file.path),
    line("span", `cluster ${file.cluster}`),
    ...file.nearest.map(([path, similarity]) => line("span", `${similarity.toFixed(3)}  ${path}`)),
  );
  tip.hidden = false;
  const panel = map.parentElement.getBoundingClientRect();
  const box = circle.getBoundingClientRect();
  const left = Math.min(box.right - panel.left + 8, panel.width - tip.offsetWidth - 12);
  const top = Math.min(box.top - panel.top, panel.height - tip.offsetHeight - 12);
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${Math.max(8, top)}px`;
}

const circles = files.map((file) => {
  const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  circle.setAttribute("cx", file.x);
  circle.setAttribute("cy", file.y);
  circle.setAttribute("r", files.length > 500 ? 5 : 8);
  circle.setAttribute("fill", file.colour);
  circle.setAttribute("tabindex", "0");
  circle.setAttribute("role", "img");
  circle.setAttribute("aria-label", `${file.path}, cluster ${file.cluster}`);
  for (const event of ["mouseenter", "focus"]) circle.addEventListener(event, () => tell(file, circle));
  for (const event of ["mouseleave", "blur"]) circle.addEventListener(event, () => { tip.hidden = true; });
  map.append(circle);
  return circle;
});

search.addEventListener("input", () => {
  const wanted = search.value.toLowerCase();
  let count = 0;
  files.forEach((file, i) => {
    const fits = file.path.toLowerCase().includes(wanted);
    circles[i].classList.toggle("dim", !fits);
    count += fits;
  });
  shown.textContent = wanted ? `${count} of ${files.length}` : "";
});
