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

    // Choose a start, an optimiser and a learning rate; the path is computed here.
    descent(payload) {
      const surfaces = {
        ravine: { f: (x, y) => 0.2 * x * x + 5 * y * y, g: (x, y) => [0.4 * x, 10 * y], middle: [0, 0], extent: 3, start: [-2.6, 1.2], minimum: [0, 0] },
        rosenbrock: {
          f: (x, y) => 0.25 * (1 - x) ** 2 + 5 * (y - x * x) ** 2,
          g: (x, y) => [-0.5 * (1 - x) - 20 * x * (y - x * x), 10 * (y - x * x)],
          middle: [0, 0.8], extent: 1.9, start: [-1.4, 0.4], minimum: [1, 1],
        },
      };
      // One coordinate at a time: memory s holds a sum or average m, an average square v; t counts from 1.
      const updates = {
        "gradient descent": (x, g, rate) => x - rate * g,
        "heavy ball": (x, g, rate, s) => x - rate * (s.m = 0.9 * s.m + g),
        Nesterov: (x, g, rate, s) => x - rate * (g + 0.9 * (s.m = 0.9 * s.m + g)),
        RMSProp: (x, g, rate, s) => x - (rate * g) / (Math.sqrt((s.v = 0.99 * s.v + 0.01 * g * g)) + 1e-8),
        Adam(x, g, rate, s, t) {
          s.m = 0.9 * s.m + 0.1 * g;
          s.v = 0.999 * s.v + 0.001 * g * g;
          return x - (rate * s.m) / (1 - 0.9 ** t) / (Math.sqrt(s.v / (1 - 0.999 ** t)) + 1e-8);
        },
      };
      function compute(surface, optimiser, rate, start, steps) {
        const memory = [0, 1].map(() => ({ m: 0, v: 0 }));
        const path = [start];
        for (let t = 1; t <= steps; t++) {
          const x = path[t - 1];
          const g = surfaces[surface].g(...x);
          path.push(x.map((value, i) => updates[optimiser](value, g[i], rate, memory[i], t)));
        }
        return path;
      }

      const steps = payload.steps;
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      const size = 640;
      const canvas = element("canvas", { width: size, height: size, tabindex: 0, role: "img", "aria-label": "Height lines of a surface and the path of an optimiser on it; drag, or use the arrow keys, to choose the start" });
      const choice = (names, value) => {
        const select = element("select", {}, ...names.map((name) => element("option", {}, name)));
        select.value = value;
        return select;
      };
      const surface = choice(Object.keys(surfaces), payload.surface);
      const optimiser = choice(Object.keys(updates), payload.optimiser);
      const rate = element("input", { type: "range", min: -3, max: 0, step: 0.05, value: payload.rate });
      const slider = element("input", { type: "range", min: 0, max: steps, step: 1, value: steps });
      const button = element("button", { type: "button" }, calm ? "Step" : "Play");
      const text = element("output", { "aria-live": "off" });
      const ground = {}; // pictures of the surfaces
      let start = surfaces[payload.surface].start;
      let timer = 0;

      function heights(name) {
        if (ground[name]) return ground[name];
        const { f, middle, extent } = surfaces[name];
        const picture = element("canvas", { width: size, height: size });
        const g = picture.getContext("2d");
        const image = g.createImageData(size, size);
        const level = (i, j) => Math.floor(5 * f(middle[0] + ((2 * i) / size - 1) * extent, middle[1] - ((2 * j) / size - 1) * extent) ** 0.3);
        for (let j = 0; j < size; j++)
          for (let i = 0; i < size; i++) {
            const here = level(i, j);
            const edge = here !== level(i + 2, j) || here !== level(i, j + 2);
            image.data.set([127, 127, 127, edge ? 170 : Math.min(6 * here, 120)], 4 * (j * size + i));
          }
        g.putImageData(image, 0, 0);
        return (ground[name] = picture);
      }

      const toPixel = ([x, y]) => {
        const { middle, extent } = surfaces[surface.value];
        const within = (v) => Math.max(-size, Math.min(2 * size, v));
        return [within((((x - middle[0]) / extent + 1) * size) / 2), within((((middle[1] - y) / extent + 1) * size) / 2)];
      };

      function draw() {
        const learning = 10 ** +rate.value;
        const { f, minimum } = surfaces[surface.value];
        const path = compute(surface.value, optimiser.value, learning, start, steps).slice(0, +slider.value + 1);
        const finite = path.filter((place) => place.every(Number.isFinite));
        const g = canvas.getContext("2d");
        g.clearRect(0, 0, size, size);
        g.drawImage(heights(surface.value), 0, 0);
        g.fillStyle = g.strokeStyle = COLOURS[1];
        g.lineWidth = 2.5;
        g.beginPath();
        finite.forEach((place) => g.lineTo(...toPixel(place)));
        g.stroke();
        finite.forEach((place) => {
          g.beginPath();
          g.arc(...toPixel(place), 4, 0, 7);
          g.fill();
        });
        g.strokeStyle = ink();
        const [a, b] = toPixel(minimum);
        g.beginPath();
        for (const [p, q] of [[-12, -12], [-12, 12]]) {
          g.moveTo(a + p, b + q);
          g.lineTo(a - p, b - q);
        }
        g.stroke();
        g.beginPath();
        g.arc(...toPixel(finite[finite.length - 1]), 14, 0, 7);
        g.stroke();
        g.strokeRect(...toPixel(start).map((v) => v - 11), 22, 22);
        const height = f(...path[path.length - 1]);
        const shown = Number.isFinite(height) ? height.toPrecision(3) : "beyond all numbers";
        text.textContent = `from (${start.map((v) => v.toFixed(2)).join(", ")}), learning rate ${learning.toPrecision(2)}: height ${shown} after ${slider.value} steps`;
        rate.setAttribute("aria-valuetext", learning.toPrecision(2));
      }

      function stop() {
        clearInterval(timer);
        timer = 0;
        if (!calm) button.textContent = "Play";
      }

      function choose(x, y) {
        const { middle, extent } = surfaces[surface.value];
        start = [x, y].map((v, i) => Math.max(middle[i] - extent, Math.min(middle[i] + extent, v)));
        stop();
        draw();
      }

      function forward() {
        slider.value = +slider.value === steps ? 0 : +slider.value + 1;
        draw();
      }

      button.addEventListener("click", () => {
        if (calm) return forward();
        if (timer) return stop();
        if (+slider.value === steps) slider.value = 0;
        button.textContent = "Pause";
        draw();
        timer = setInterval(() => {
          forward();
          if (+slider.value === steps) stop();
        }, 60);
      });
      function point(event) {
        const { middle, extent } = surfaces[surface.value];
        const box = canvas.getBoundingClientRect();
        choose(middle[0] + (((event.clientX - box.left) / box.width) * 2 - 1) * extent, middle[1] - (((event.clientY - box.top) / box.height) * 2 - 1) * extent);
      }
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        point(event);
      });
      canvas.addEventListener("pointermove", (event) => event.buttons && point(event));
      canvas.addEventListener("keydown", (event) => {
        const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
        if (!move) return;
        event.preventDefault();
        choose(start[0] + 0.1 * move[0], start[1] + 0.1 * move[1]);
      });
      surface.addEventListener("change", () => choose(...surfaces[surface.value].start));
      for (const control of [optimiser, rate, slider])
        control.addEventListener("input", () => {
          stop();
          draw();
        });
      onThemeChange(draw);
      draw();
      litgen.widgets.descent = { compute, choose };
      const label = (name, control) => element("label", {}, name, control);
      return [
        element("div", { class: "litgen-panes" }, canvas, element("div", { class: "litgen-controls litgen-column" }, label("surface", surface), label("optimiser", optimiser), label("learning rate", rate), label("steps", slider), button, text)),
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
