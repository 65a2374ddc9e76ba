// In-page models. A figure with data-widget keeps its picture until its data are there; the data are a
// script of their own (so that pages opened from a disk work too), loaded when the figure comes near.
(function (root) {
  "use strict";

  const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#8C6D31", "#7F7F7F", "#BC5090"];
  const waiting = {};
  const litgen = (root.litgen = {
    widgets: {}, // by name: what a page's test may ask
    receive: (name, payload) => waiting[name](payload),
  });

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  function ink() {
    return getComputedStyle(document.body).color;
  }

  function onThemeChange(draw) {
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  // Points in the plane from -extent to extent, coloured by class, with axes; returns how to go to pixels.
  function scatter(canvas, points, labels, extent, from = 0) {
    const g = canvas.getContext("2d");
    const size = canvas.width;
    const toPixel = (v, axis) => ((axis ? -v : v) / extent + 1) * size * 0.5;
    g.clearRect(0, 0, size, size);
    g.strokeStyle = g.fillStyle = ink();
    g.globalAlpha = 0.5;
    g.lineWidth = 2;
    g.strokeRect(1, 1, size - 2, size - 2);
    g.beginPath();
    g.moveTo(size / 2, 0);
    g.lineTo(size / 2, size);
    g.moveTo(0, size / 2);
    g.lineTo(size, size / 2);
    g.stroke();
    g.globalAlpha = 0.75;
    labels.forEach((label, i) => {
      g.fillStyle = COLOURS[label];
      g.beginPath();
      g.arc(toPixel(points[from + 2 * i], 0), toPixel(points[from + 2 * i + 1], 1), 5, 0, 7);
      g.fill();
    });
    g.globalAlpha = 1;
    g.font = "bold 30px sans-serif";
    g.textAlign = "center";
    g.textBaseline = "middle";
    for (let c = 0; c < 10; c++) {
      const own = [...labels.keys()].filter((i) => labels[i] === c);
      if (!own.length) continue;
      const middle = (axis) => {
        const sorted = own.map((i) => points[from + 2 * i + axis]).sort((a, b) => a - b);
        return toPixel(sorted[sorted.length >> 1], axis);
      };
      g.fillStyle = "#fff";
      g.beginPath();
      g.arc(middle(0), middle(1), 21, 0, 7);
      g.fill();
      g.strokeStyle = COLOURS[c];
      g.lineWidth = 4;
      g.stroke();
      g.fillStyle = "#1f2328";
      g.fillText(String(c), middle(0), middle(1) + 2);
    }
    return toPixel;
  }

  const makers = {
    // Drag a point in the latent plane; the decoder answers.
    "latent-plane"(payload) {
      const compute = tinynet.network(payload.net);
      const points = tinynet.halves(payload.points);
      const labels = tinynet.bytes(payload.labels);
      const { extent, side } = payload;
      const plane = element("canvas", { width: 640, height: 640, tabindex: 0, role: "img", "aria-label": "Latent plane with the test images' codes; drag, or use the arrow keys, to choose a code" });
      const digit = element("canvas", { class: "digit", width: side, height: side, role: "img", "aria-label": "The decoder's image for the chosen code" });
      const sliders = [0, 1].map((i) => element("input", { type: "range", min: -extent, max: extent, step: 0.01, value: i ? 0.5 : -0.5 }));
      const text = element("output", { "aria-live": "off" });
      const z = () => sliders.map((s) => +s.value);

      function draw() {
        const toPixel = scatter(plane, points, labels, extent);
        const g = plane.getContext("2d");
        const [a, b] = z();
        g.strokeStyle = ink();
        g.lineWidth = 5;
        g.beginPath();
        g.arc(toPixel(a, 0), toPixel(b, 1), 16, 0, 7);
        g.stroke();
        const image = digit.getContext("2d").createImageData(side, side);
        compute([a, b]).forEach((v, i) => image.data.set([255 * v, 255 * v, 255 * v, 255], 4 * i));
        digit.getContext("2d").putImageData(image, 0, 0);
        text.textContent = `z = (${a.toFixed(2)}, ${b.toFixed(2)})`;
      }

      function choose(a, b) {
        sliders[0].value = a;
        sliders[1].value = b;
        draw();
      }

      function point(event) {
        const box = plane.getBoundingClientRect();
        choose(((event.clientX - box.left) / box.width) * 2 * extent - extent, extent - ((event.clientY - box.top) / box.height) * 2 * extent);
      }

      plane.addEventListener("pointerdown", (event) => {
        plane.setPointerCapture(event.pointerId);
        point(event);
      });
      plane.addEventListener("pointermove", (event) => event.buttons && point(event));
      plane.addEventListener("keydown", (event) => {
        const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
        if (!move) return;
        event.preventDefault();
        choose(z()[0] + 0.1 * move[0], z()[1] + 0.1 * move[1]);
      });
      sliders.forEach((slider) => slider.addEventListener("input", draw));
      onThemeChange(draw);
      draw();
      litgen.widgets["latent-plane"] = { compute, choose };
      return [
        element("div", { class: "litgen-panes" }, plane, digit),
        element("div", { class: "litgen-controls" }, element("label", {}, "z₁", sliders[0]), element("label", {}, "z₂", sliders[1]), text),
      ];
    },

    // Snapshots of a training: codes and decoded plane, under one slider.
    snapshots(payload) {
      const points = tinynet.halves(payload.points);
      const labels = tinynet.bytes(payload.labels);
      const planes = payload.planes.map((data) => Object.assign(new Image(), { src: `data:image/png;base64,${data}` }));
      const last = planes.length - 1;
      const codes = element("canvas", { width: 640, height: 640, role: "img", "aria-label": "Posterior means of the test images at the chosen moment, coloured by class" });
      const plane = element("canvas", { class: "plane", width: payload.side, height: payload.side, role: "img", "aria-label": "The decoded plane at the chosen moment" });
      const slider = element("input", { type: "range", min: 0, max: last, step: 1, value: last });
      const text = element("output", { "aria-live": "off" });
      const button = element("button", { type: "button" }, "Play");
      let timer = 0;

      function draw() {
        const i = +slider.value;
        scatter(codes, points, labels, payload.extent, 2 * labels.length * i);
        const g = plane.getContext("2d");
        g.clearRect(0, 0, payload.side, payload.side);
        planes[i].decode().then(() => +slider.value === i && g.drawImage(planes[i], 0, 0));
        text.textContent = `after ${payload.turns[i]} of ${payload.turns[last]} steps`;
        slider.setAttribute("aria-valuetext", text.textContent);
      }

      function stop() {
        clearInterval(timer);
        timer = 0;
        button.textContent = "Play";
      }

      function play() {
        if (timer) return stop();
        if (+slider.value === last) slider.value = 0;
        button.textContent = "Pause";
        draw();
        timer = setInterval(() => {
          slider.value = +slider.value + 1;
          draw();
          if (+slider.value === last) stop();
        }, 600);
      }

      button.addEventListener("click", play);
      slider.addEventListener("input", () => {
        stop();
        draw();
      });
      onThemeChange(draw);
      draw();
      litgen.widgets.snapshots = { slider, draw };
      return [
        element("div", { class: "litgen-panes" }, codes, plane),
        element("div", { class: "litgen-controls" }, button, element("label", {}, "training", slider), text),
      ];
    },

    // Draw, erase or move a picture; the classifier answers.
    classify(payload) {
      const compute = tinynet.network(payload.net);
      const { side, classes } = payload;
      const size = side * side;
      const pictures = Array.from(tinynet.bytes(payload.pictures), (v) => v / 255);
      const labels = tinynet.bytes(payload.labels);
      const cell = 20;
      let image = new Float32Array(size);
      let next = 0;
      let cursor = [side >> 1, side >> 1]; // column, row
      let held = null; // where a drag began, and the picture then
      const canvas = element("canvas", { width: cell * side, height: cell * side, tabindex: 0, role: "img", "aria-label": "Picture to classify; drag on it, or use the arrow keys, and the space bar to draw or erase" });
      const bars = classes.map((name) => {
        const bar = element("span", { class: "bar" });
        const share = element("span", { class: "share" });
        return { bar, share, row: element("li", {}, element("span", { class: "name" }, name), element("span", { class: "track" }, bar), share) };
      });
      const list = element("ol", { class: "litgen-bars", "aria-label": "Probability of each class" }, ...bars.map((b) => b.row));
      const tools = ["move", "draw", "erase"].map((name, i) => element("input", { type: "radio", name: "litgen-classify", value: name, ...(i ? {} : { checked: "" }) }));
      const tool = () => tools.find((t) => t.checked).value;
      const another = element("button", { type: "button" }, "Next picture");
      const clear = element("button", { type: "button" }, "Clear");
      const text = element("output", { "aria-live": "polite" });

      function draw() {
        const g = canvas.getContext("2d");
        image.forEach((v, i) => {
          const grey = Math.round(255 * v);
          g.fillStyle = `rgb(${grey},${grey},${grey})`;
          g.fillRect(cell * (i % side), cell * Math.floor(i / side), cell, cell);
        });
        if (tool() !== "move") {
          g.strokeStyle = COLOURS[4];
          g.lineWidth = 3;
          g.strokeRect(cell * cursor[0] + 1.5, cell * cursor[1] + 1.5, cell - 3, cell - 3);
        }
        const logits = compute(image);
        const largest = Math.max(...logits);
        const weights = Array.from(logits, (v) => Math.exp(v - largest));
        const total = weights.reduce((a, b) => a + b);
        const winner = logits.indexOf(largest);
        bars.forEach(({ bar, share, row }, i) => {
          const percent = (100 * weights[i]) / total;
          bar.style.width = `${percent}%`;
          share.textContent = `${percent.toFixed(0)} %`;
          row.className = i === winner ? "winner" : "";
        });
        text.textContent = `${classes[winner]}, ${((100 * weights[winner]) / total).toFixed(1)} %`;
      }

      function shift(from, right, down) {
        image = new Float32Array(size);
        for (let r = 0; r < side; r++) {
          for (let c = 0; c < side; c++) {
            const [row, column] = [r - down, c - right];
            if (row >= 0 && row < side && column >= 0 && column < side) image[r * side + c] = from[row * side + column];
          }
        }
      }

      // A soft brush, about three pixels wide.
      function paint() {
        const erase = tool() === "erase";
        for (let r = 0; r < side; r++) {
          for (let c = 0; c < side; c++) {
            const ink = Math.max(0, Math.min(1, 1.8 - Math.hypot(c - cursor[0], r - cursor[1])));
            const i = r * side + c;
            image[i] = erase ? Math.min(image[i], 1 - ink) : Math.max(image[i], 0.9 * ink);
          }
        }
      }

      function set(pixels) {
        image = Float32Array.from(pixels);
        draw();
      }

      function choose(i) {
        next = (i + 1) % labels.length;
        set(pictures.slice(i * size, (i + 1) * size));
      }

      function place(event) {
        const box = canvas.getBoundingClientRect();
        const inside = (v) => Math.max(0, Math.min(side - 1, Math.floor(v * side)));
        return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
      }

      function drag(event) {
        const at = place(event);
        if (tool() === "move") shift(held.image, at[0] - held.at[0], at[1] - held.at[1]);
        else {
          cursor = at;
          paint();
        }
        draw();
      }

      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        held = { at: place(event), image };
        drag(event);
      });
      canvas.addEventListener("pointermove", (event) => event.buttons && held && drag(event));
      canvas.addEventListener("pointerup", () => (held = null));
      canvas.addEventListener("keydown", (event) => {
        const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (!move && event.key !== " ") return;
        event.preventDefault();
        if (!move) tool() !== "move" && paint();
        else if (tool() === "move") shift(image, ...move);
        else cursor = cursor.map((v, i) => Math.max(0, Math.min(side - 1, v + move[i])));
        draw();
      });
      tools.forEach((input) => input.addEventListener("change", draw));
      another.addEventListener("click", () => choose(next));
      clear.addEventListener("click", () => set(new Float32Array(size)));
      choose(0);
      litgen.widgets.classify = { compute, set, choose, image: () => image };
      return [
        element("div", { class: "litgen-panes" }, canvas, list),
        element("div", { class: "litgen-controls" }, ...tools.map((input) => element("label", { class: "tool" }, input, input.value)), another, clear, text),
      ];
    },
  };

  function start(figure) {
    const still = figure.querySelector("div");
    waiting[figure.dataset.payload] = (payload) => {
      const box = element("div", { class: "litgen-widget" }, ...makers[figure.dataset.widget](payload));
      still.replaceWith(box);
      figure.style.minHeight = "";
      figure.dataset.ready = "true";
    };
    const script = element("script", { src: figure.dataset.src });
    script.addEventListener("error", () => (still.hidden = false));
    document.head.append(script);
    figure.style.minHeight = `${figure.offsetHeight}px`;
    still.hidden = true; // a hidden lazy picture is never fetched
  }

  const observer = new IntersectionObserver(
    (entries) =>
      entries
        .filter((entry) => entry.isIntersecting)
        .forEach((entry) => {
          observer.unobserve(entry.target);
          start(entry.target);
        }),
    { rootMargin: "2600px" }, // browsers fetch lazy pictures from 1250 to 2500 pixels ahead
  );
  document.querySelectorAll("figure[data-widget]").forEach((figure) => observer.observe(figure));

  // The arrows that unfold the theme's table of contents have no name of their own.
  document.querySelectorAll("nav .has-children > details > summary").forEach((arrow) => {
    const title = arrow.closest("li").querySelector("a").textContent.trim();
    arrow.setAttribute("aria-label", `Pages of ${title}`);
  });
  // Sphinx gives its bibliography a role that is deprecated, and that a list may not hold.
  document.querySelectorAll("[role=doc-biblioentry]").forEach((entry) => entry.setAttribute("role", "listitem"));
})(window);
