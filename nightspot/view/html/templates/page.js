// Draws every chart of the page and says what a mark means, to the mouse and to the keyboard alike.
(() => {
  "use strict";
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; };
  const show = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = Math.min(Math.max(12, x + 12), document.documentElement.clientWidth - width - 12);
    const top = y + 16 + height > window.innerHeight ? y - height - 12 : y + 16;
    tip.style.left = `${Math.max(12, left)}px`;
    tip.style.top = `${Math.max(8, top)}px`;
  };
  const tooltip = (_handler, event, _item, value) => {
    if (value === null || value === undefined || value === "") hide();
    else show(String(value), event.clientX, event.clientY);
  };
  const reachable = (chart) => {
    for (const mark of chart.querySelectorAll("[role=graphics-symbol][aria-label]")) {
      mark.setAttribute("tabindex", "0");
      mark.addEventListener("focus", () => {
        const box = mark.getBoundingClientRect();
        show(mark.getAttribute("aria-label"), box.left + box.width / 2, box.bottom);
      });
      mark.addEventListener("blur", hide);
    }
  };
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  window.addEventListener("scroll", hide, { passive: true });
  const drawn = [...document.querySelectorAll(".chart")].map(async (chart) => {
    const spec = JSON.parse(document.getElementById(chart.dataset.spec).textContent);
    await window.vegaEmbed(chart, spec, {
      actions: false, ast: true, defaultStyle: false, renderer: "svg", tooltip,
    });
    reachable(chart);
  });
  Promise.all(drawn).then(() => { document.documentElement.dataset.drawn = String(drawn.length); });
})();
