// Figures zoom about a point and move, by mouse, finger and keyboard: all of it is a change of the view box.
"use strict";
for (const figure of document.querySelectorAll("figure")) {
  const canvas = figure.querySelector(".canvas"), svg = canvas && canvas.querySelector("svg");
  if (!svg) continue;
  const all = svg.getAttribute("viewBox").split(" ").map(Number);
  let view = all.slice(), last = null;
  const show = () => {
    view[2] = Math.min(view[2], all[2]); view[3] = view[2] * all[3] / all[2];
    for (const i of [0, 1]) view[i] = Math.min(Math.max(view[i], all[i]), all[i] + all[i + 2] - view[i + 2]);
    svg.setAttribute("viewBox", view.join(" "));
    figure.classList.toggle("zoomed", view[2] < all[2]);
  };
  const zoom = (factor, u = 0.5, v = 0.5) => {
    const width = Math.max(Math.min(view[2] / factor, all[2]), all[2] / 60), height = width * all[3] / all[2];
    view = [view[0] + u * (view[2] - width), view[1] + v * (view[3] - height), width, height];
    show();
  };
  const move = (u, v) => { view[0] += u * view[2]; view[1] += v * view[3]; show(); };
  const reset = () => { view = all.slice(); show(); };
  const place = event => {
    const box = svg.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const keys = {
    "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), "0": reset,
    ArrowLeft: () => move(-0.1, 0), ArrowRight: () => move(0.1, 0), ArrowUp: () => move(0, -0.1), ArrowDown: () => move(0, 0.1),
  };
  canvas.addEventListener("keydown", event => {
    const action = keys[event.key], moves = event.key.startsWith("Arrow");
    if (!action || event.ctrlKey || event.metaKey || event.altKey || (moves && view[2] >= all[2])) return;
    event.preventDefault();
    action();
  });
  canvas.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), ...place(event));
  }, { passive: false });
  canvas.addEventListener("dblclick", event => zoom(2, ...place(event)));
  canvas.addEventListener("pointerdown", event => {
    if (view[2] >= all[2]) return;
    last = place(event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", event => {
    if (!last) return;
    const here = place(event);
    move(last[0] - here[0], last[1] - here[1]);
    last = here;
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { last = null; });
  for (const button of figure.querySelectorAll("[data-zoom]"))
    button.addEventListener("click", () => ({ in: () => zoom(1.6), out: () => zoom(1 / 1.6), reset })[button.dataset.zoom]());
}
