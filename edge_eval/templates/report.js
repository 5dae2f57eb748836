"use strict";
// The viewer: six panes of one place, moved and enlarged together. The <img> elements that stand on the page
// without a script are its pictures. What is shown is kept in the data-* attributes of its element.
(() => {
  const root = document.getElementById("viewer");
  if (!root) return;
  const SCENES = JSON.parse(document.getElementById("scenes").textContent);
  const MOST_ZOOM = 32, STEP = 1.25, MOST_GAIN = 128;
  const of = (name) => root.querySelector(name);
  const chooser = { image: of("#viewer-image"), artifact: of("#viewer-artifact") };
  const gainSlider = of("#viewer-gain");
  const panes = Object.fromEntries([...root.querySelectorAll("[data-pane]")].map((figure) => [
    figure.dataset.pane,
    { canvas: figure.querySelector("canvas"), caption: figure.querySelector("figcaption") },
  ]));
  const board = of(".panes");
  const view = { scene: 0, x: 0, y: 0, zoom: 0, gain: null };
  let hover = null;
  let difference = null;
  let frame = 0;

  const scene = () => SCENES[view.scene];
  const picture = (id) => (id ? document.getElementById(id) : null);
  const shown = () => picture(scene().artifacts[chooser.artifact.value]);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function pixels(image) {
    if (!image.pixels) {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      image.pixels = context.getImageData(0, 0, canvas.width, canvas.height);
    }
    return image.pixels;
  }

  // Absolute difference of the file's picture and the float network's, per channel: the picture and its maximum.
  function differenceOf(gain) {
    const [one, other] = [picture(scene().float), shown()];
    if (!other) return null;
    const [a, b] = [pixels(one), pixels(other)];
    const result = new ImageData(a.width, a.height);
    let largest = 0;
    for (let i = 0; i < a.data.length; i++) {
      const apart = i % 4 === 3 ? 0 : Math.abs(a.data[i] - b.data[i]);
      largest = Math.max(largest, apart);
      result.data[i] = i % 4 === 3 ? 255 : Math.min(apart * gain, 255);
    }
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [a.width, a.height];
    canvas.getContext("2d").putImageData(result, 0, 0);
    return { canvas, largest };
  }

  // The largest power of two that keeps the largest difference in range, unless the reader chose one.
  function gain() {
    if (view.gain !== null) return view.gain;
    const { largest } = differenceOf(1) || { largest: 0 };
    return largest ? clamp(2 ** Math.floor(Math.log2(255 / largest)), 1, MOST_GAIN) : 1;
  }

  const width = () => scene().crop[3];
  const height = () => scene().crop[2];
  const paneWidth = () => panes.float.canvas.clientWidth || 1;
  const fit = () => paneWidth() / width();

  function settle() {
    view.zoom = clamp(view.zoom, fit(), Math.max(MOST_ZOOM, fit()));
    const [across, down] = [width() * fit() / view.zoom, height() * fit() / view.zoom];
    view.x = clamp(view.x, 0, width() - across);
    view.y = clamp(view.y, 0, height() - down);
    if (!frame) frame = requestAnimationFrame(draw);
    tell();
  }

  // The zoom changes about a point that stays where it is; the point is given in picture pixels.
  function zoomTo(zoom, x, y) {
    const next = clamp(zoom, fit(), Math.max(MOST_ZOOM, fit()));
    view.x = x - (x - view.x) * view.zoom / next;
    view.y = y - (y - view.y) * view.zoom / next;
    view.zoom = next;
    settle();
  }

  // The file that loses most on the first image.
  function worstFile() {
    const drops = Object.entries(scene().drops).map(([name, text]) => [Number(text.replace("−", "-")), name]);
    return drops.length ? drops.reduce((worst, one) => (one[0] > worst[0] ? one : worst))[1]
      : chooser.artifact.value;
  }

  const middle = () => [view.x + paneWidth() / view.zoom / 2, view.y + height() * fit() / view.zoom / 2];

  function tell() {
    const fitted = Math.abs(view.zoom - fit()) < 1e-6;
    board.classList.toggle("zoomed", !fitted);
    of("#viewer-zoom").value = `${view.zoom.toFixed(view.zoom < 10 ? 1 : 0)}×`;
    Object.assign(root.dataset, {
      image: scene().image, artifact: chooser.artifact.value, gain: gain(), fitted: fitted,
      zoom: view.zoom.toFixed(4), x: view.x.toFixed(2), y: view.y.toFixed(2),
    });
  }

  function draw() {
    frame = 0;
    const images = {
      input: picture(scene().input), bicubic: picture(scene().bicubic), float: picture(scene().float),
      original: picture(scene().original), artifact: shown(), difference: difference && difference.canvas,
    };
    for (const [name, pane] of Object.entries(panes)) drawPane(pane.canvas, images[name]);
    root.dataset.drawn = Number(root.dataset.drawn || 0) + 1;
  }

  function drawPane(canvas, image) {
    const ratio = window.devicePixelRatio || 1;
    canvas.style.aspectRatio = `${width()} / ${height()}`;
    canvas.width = Math.round(paneWidth() * ratio);
    canvas.height = Math.round(paneWidth() * height() / width() * ratio);
    const context = canvas.getContext("2d");
    const scale = view.zoom * ratio;
    if (!image) {
      context.fillStyle = "#888";
      context.font = `${13 * ratio}px sans-serif`;
      context.fillText("no picture", 12 * ratio, 24 * ratio);
      return;
    }
    context.imageSmoothingEnabled = scale < 1;
    context.imageSmoothingQuality = "high";
    context.drawImage(image, -view.x * scale, -view.y * scale, width() * scale, height() * scale);
    if (hover) {
      const [x, y] = [(hover[0] - view.x) * scale, (hover[1] - view.y) * scale];
      const arm = 7 * ratio, size = Math.max(scale, 1);
      for (const [colour, thick] of [["rgba(0,0,0,.65)", 3], ["#ffdf3d", 1.3]]) {
        context.strokeStyle = colour;
        context.lineWidth = thick * ratio;
        context.beginPath();
        if (size > 6 * ratio) context.rect(x, y, size, size);
        else for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          context.moveTo(x + dx * 3 * ratio, y + dy * 3 * ratio);
          context.lineTo(x + dx * arm, y + dy * arm);
        }
        context.stroke();
      }
    }
  }

  function readout() {
    const line = of(".readout");
    if (!hover) { line.textContent = line.dataset.hint; return; }
    const [x, y] = hover;
    const rgb = (image) => {
      const { data, width: across } = pixels(image);
      return [...data.slice(4 * (y * across + x), 4 * (y * across + x) + 3)];
    };
    const parts = [`column ${scene().crop[1] + x}, row ${scene().crop[0] + y}`];
    const float = rgb(picture(scene().float));
    parts.push(`float ${float.join(" ")}`);
    if (shown()) {
      const file = rgb(shown());
      parts.push(`file ${file.join(" ")}`, `difference ${file.map((v, i) => v - float[i]).join(" ").replaceAll("-", "−")}`);
    }
    line.textContent = parts.join(" · ");
  }

  function choose() {
    view.scene = chooser.image.selectedIndex;
    const used = gain();
    difference = differenceOf(used);
    gainSlider.value = Math.log2(used);
    gainSlider.setAttribute("aria-valuetext", `times ${used}`);
    of("#viewer-gain-value").value = `× ${used}`;
    const drop = scene().drops[chooser.artifact.value];
    panes.artifact.caption.innerHTML = "<b></b> ";
    panes.artifact.caption.firstChild.textContent = chooser.artifact.value;
    panes.artifact.caption.append(drop ? `drop ${drop} dB on the whole image` : "");
    panes.difference.caption.innerHTML = "<b>Difference</b> ";
    const largest = difference ? difference.largest : 0;
    panes.difference.caption.append(!difference ? "" : largest
      ? `× ${used}; largest ${largest} of 255` : "none in any 8-bit pixel here");
    for (const [name, pane] of Object.entries(panes)) {
      pane.canvas.setAttribute("aria-label", `${pane.caption.textContent.trim()}, ${scene().image}`);
      if (name === "original") pane.canvas.parentElement.hidden = !SCENES.some((one) => one.original);
    }
    readout();
    settle();
  }

  function at(event) {
    const box = event.target.getBoundingClientRect();
    return [view.x + (event.clientX - box.left) / view.zoom, view.y + (event.clientY - box.top) / view.zoom];
  }

  board.addEventListener("wheel", (event) => {
    if (event.target.tagName !== "CANVAS") return;
    const next = view.zoom * (event.deltaY < 0 ? STEP : 1 / STEP);
    if (next < fit() && view.zoom <= fit() * 1.0001) return;
    event.preventDefault();
    zoomTo(next, ...at(event));
  }, { passive: false });

  let drag = null;
  board.addEventListener("pointerdown", (event) => {
    if (event.target.tagName !== "CANVAS" || event.button) return;
    drag = { x: event.clientX, y: event.clientY };
    event.target.setPointerCapture(event.pointerId);
    board.classList.add("dragging");
  });
  board.addEventListener("pointermove", (event) => {
    if (event.target.tagName !== "CANVAS") return;
    if (drag) {
      view.x -= (event.clientX - drag.x) / view.zoom;
      view.y -= (event.clientY - drag.y) / view.zoom;
      drag = { x: event.clientX, y: event.clientY };
    }
    const [x, y] = at(event).map(Math.floor);
    hover = x >= 0 && y >= 0 && x < width() && y < height() ? [x, y] : null;
    readout();
    settle();
  });
  const release = () => { drag = null; board.classList.remove("dragging"); };
  board.addEventListener("pointerup", release);
  board.addEventListener("pointercancel", release);
  board.addEventListener("pointerleave", () => { hover = null; readout(); settle(); });

  const ACTIONS = {
    in: () => zoomTo(view.zoom * STEP ** 2, ...middle()),
    out: () => zoomTo(view.zoom / STEP ** 2, ...middle()),
    fit: () => zoomTo(0, ...middle()),
    four: () => zoomTo(4, ...middle()),
  };
  for (const button of root.querySelectorAll("button[data-act]")) {
    button.addEventListener("click", ACTIONS[button.dataset.act]);
  }
  const move = (dx, dy) => () => {
    const reach = 0.1 * paneWidth() / view.zoom;
    view.x += dx * reach;
    view.y += dy * reach;
    settle();
  };
  const turn = (list, by) => () => {
    list.selectedIndex = (list.selectedIndex + by + list.length) % list.length;
    choose();
  };
  const KEYS = {
    "+": ACTIONS.in, "=": ACTIONS.in, "-": ACTIONS.out, "0": ACTIONS.fit, "4": ACTIONS.four,
    ArrowLeft: move(-1, 0), ArrowRight: move(1, 0), ArrowUp: move(0, -1), ArrowDown: move(0, 1),
    n: turn(chooser.image, 1), p: turn(chooser.image, -1), f: turn(chooser.artifact, 1),
  };
  board.addEventListener("keydown", (event) => {
    const action = event.ctrlKey || event.metaKey || event.altKey ? null : KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  chooser.image.addEventListener("change", choose);
  chooser.artifact.addEventListener("change", choose);
  gainSlider.addEventListener("input", () => { view.gain = 2 ** Number(gainSlider.value); choose(); });
  const images = [...document.querySelectorAll(".still img")];
  Promise.all(images.map((image) => image.decode())).then(() => {
    document.getElementById("pictures").className = "scripted";
    chooser.artifact.value = worstFile();
    choose();
    new ResizeObserver(() => {
      if (root.dataset.fitted === "true") view.zoom = 0;
      settle();
    }).observe(board);
    root.dataset.ready = "true";
  });
})();
