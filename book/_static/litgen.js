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
  function scatter(canvas, points, labels, extent, from = 0, named = true) {
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
    if (!named) return toPixel;
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

    // EM on points of the plane, computed here: three components with full covariances.
    "em-steps"(payload) {
      const points = tinynet.halves(payload.points);
      const count = points.length / 2;
      const { starts, variance, extent } = payload;
      const heaps = element("canvas", { width: 640, height: 640, role: "img", "aria-label": "Points in the colour of the component that most likely made them, and the components' ellipses" });
      const curve = element("canvas", { width: 640, height: 640, role: "img", "aria-label": "The mean log-likelihood after every step so far" });
      const [step, play, other] = ["Step", "Play", "Other start"].map((name) => element("button", { type: "button" }, name));
      const text = element("output", { "aria-live": "off" });
      let which = 0;
      let timer = 0;
      let parts, posterior, values;

      // Responsibilities (E step) and the mean log-likelihood, by log-sum-exp.
      function expect() {
        let total = 0;
        posterior = new Float64Array(count * parts.length);
        for (let i = 0; i < count; i++) {
          const logs = parts.map(({ weight, mean, cov }) => {
            const [a, b, c] = cov;
            const det = a * c - b * b;
            const x = points[2 * i] - mean[0];
            const y = points[2 * i + 1] - mean[1];
            return Math.log(weight) - Math.log(2 * Math.PI) - 0.5 * Math.log(det) - (0.5 * (c * x * x - 2 * b * x * y + a * y * y)) / det;
          });
          const top = Math.max(...logs);
          const sum = logs.reduce((s, v) => s + Math.exp(v - top), 0);
          logs.forEach((v, k) => (posterior[i * parts.length + k] = Math.exp(v - top) / sum));
          total += top + Math.log(sum);
        }
        values.push(total / count);
      }

      // Weights, means, covariances about the new means (M step).
      function maximize() {
        parts = parts.map((_, k) => {
          const share = (i) => posterior[i * parts.length + k];
          const sum = (f) => {
            let s = 0;
            for (let i = 0; i < count; i++) s += share(i) * f(points[2 * i], points[2 * i + 1]);
            return s;
          };
          const n = sum(() => 1);
          const mean = [sum((x) => x) / n, sum((_, y) => y) / n];
          const moment = (f) => sum((x, y) => f(x - mean[0], y - mean[1])) / n;
          return { weight: n / count, mean, cov: [moment((x) => x * x), moment((x, y) => x * y), moment((_, y) => y * y)] };
        });
      }

      function choose(index) {
        which = index % starts.length;
        parts = starts[which].map((mean) => ({ weight: 1 / starts[which].length, mean, cov: [variance, 0, variance] }));
        values = [];
        expect();
        draw();
      }

      function once() {
        maximize();
        expect();
        draw();
      }

      function draw() {
        const likely = Array.from({ length: count }, (_, i) => {
          const row = posterior.subarray(i * parts.length, (i + 1) * parts.length);
          return row.indexOf(Math.max(...row));
        });
        const toPixel = scatter(heaps, points, likely, extent, 0, false);
        const g = heaps.getContext("2d");
        parts.forEach(({ mean, cov: [a, b, c] }, k) => {
          const l = [Math.sqrt(a), b / Math.sqrt(a), Math.sqrt(c - (b * b) / a)];
          g.strokeStyle = COLOURS[k];
          g.lineWidth = 6;
          g.beginPath();
          for (let t = 0; t <= 64; t++) {
            const [u, v] = [2 * Math.cos((t * Math.PI) / 32), 2 * Math.sin((t * Math.PI) / 32)];
            g.lineTo(toPixel(mean[0] + l[0] * u, 0), toPixel(mean[1] + l[1] * u + l[2] * v, 1));
          }
          g.stroke();
        });
        const h = curve.getContext("2d");
        h.clearRect(0, 0, 640, 640);
        h.strokeStyle = h.fillStyle = ink();
        h.font = "26px sans-serif";
        h.lineWidth = 2;
        h.strokeRect(80, 20, 540, 540);
        const [low, high] = [values[values.length > 2 ? 1 : 0], values.at(-1)]; // the start may lie far below
        const place = (v) => 540 - (500 * Math.max(0, v - low)) / (high - low || 1);
        h.fillText(high.toFixed(2), 4, place(high) + 9);
        if (high > low) h.fillText(low.toFixed(2), 4, place(low) + 9);
        h.textAlign = "center";
        h.fillText("steps, nats per datum", 350, 605);
        h.textAlign = "left";
        h.strokeStyle = h.fillStyle = COLOURS[0];
        h.lineWidth = 5;
        h.beginPath();
        values.forEach((v, i) => h.lineTo(100 + (500 * i) / Math.max(20, values.length - 1), place(v)));
        h.stroke();
        values.forEach((v, i) => h.fillRect(96 + (500 * i) / Math.max(20, values.length - 1), place(v) - 4, 8, 8));
        text.textContent = `start ${which + 1} of ${starts.length}, step ${values.length - 1}: ${values.at(-1).toFixed(3)} nats`;
      }

      function stop() {
        clearInterval(timer);
        timer = 0;
        play.textContent = "Play";
      }

      play.addEventListener("click", () => {
        if (timer) return stop();
        play.textContent = "Pause";
        once();
        timer = setInterval(() => {
          once();
          if (values.length > 100 || values.at(-1) - values.at(-2) < 1e-6) stop();
        }, 400);
      });
      step.addEventListener("click", () => {
        stop();
        once();
      });
      other.addEventListener("click", () => {
        stop();
        choose(which + 1);
      });
      onThemeChange(draw);
      choose(0);
      litgen.widgets["em-steps"] = { choose, once, state: () => ({ parts, values }) };
      return [
        element("div", { class: "litgen-panes" }, heaps, curve),
        element("div", { class: "litgen-controls" }, step, play, other, text),
      ];
    },

    // One slider for each coordinate of a code; the decoder answers.
    "code-sliders"(payload) {
      const compute = tinynet.network(payload.net);
      const { side, extent, count } = payload;
      const picture = element("canvas", { class: "digit", width: side, height: side, role: "img", "aria-label": "The decoder's image for the chosen code" });
      const subscripts = "₀₁₂₃₄₅₆₇₈₉";
      const name = (i) => `z${String(i + 1).replace(/./g, (d) => subscripts[d])}`;
      const sliders = Array.from({ length: count }, () => element("input", { type: "range", min: -extent, max: extent, step: 0.01, value: 0 }));
      const text = element("output", { "aria-live": "off" });
      const mean = element("button", { type: "button" }, "Mean");
      const random = element("button", { type: "button" }, "Draw a code");

      function draw() {
        const z = sliders.map((s) => +s.value);
        const context = picture.getContext("2d");
        const image = context.createImageData(side, side);
        compute(z).forEach((v, i) => image.data.set([255 * v, 255 * v, 255 * v, 255], 4 * i)); // clamps
        context.putImageData(image, 0, 0);
        text.textContent = `|z| = ${Math.hypot(...z).toFixed(2)}`;
      }

      function choose(z) {
        sliders.forEach((slider, i) => (slider.value = z[i]));
        draw();
      }

      function normal() {
        return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
      }

      mean.addEventListener("click", () => choose(sliders.map(() => 0)));
      random.addEventListener("click", () => choose(sliders.map(normal)));
      sliders.forEach((slider) => slider.addEventListener("input", draw));
      draw();
      litgen.widgets["code-sliders"] = { compute, choose };
      return [
        element("div", { class: "litgen-panes" }, picture),
        element("div", { class: "litgen-controls" }, ...sliders.map((slider, i) => element("label", {}, name(i), slider)), mean, random, text),
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
  };

  makers.kde = kernelDensity;

  // Gaussian kernels on a line, their sum and the likelihoods, for the bandwidth under a slider.
  function kernelDensity(payload) {
    const points = tinynet.halves(payload.points);
    const truth = tinynet.halves(payload.truth);
    const { low, high, top } = payload;
    const n = points.length;
    const canvas = element("canvas", { class: "wide", width: 960, height: 480, role: "img", "aria-label": "Kernels on the data, their sum, and the true density, for the chosen bandwidth" });
    const slider = element("input", { type: "range", min: -4, max: 1, step: 0.01, value: Math.log(payload.bandwidth) });
    const text = element("output", { "aria-live": "off" });
    const kernel = (d, h) => Math.exp((-d * d) / (2 * h * h)) / (h * Math.sqrt(2 * Math.PI));
    const sum = (x, h) => points.reduce((total, p) => total + kernel(x - p, h), 0);
    const mean = (of) => points.reduce((total, p) => total + of(p), 0) / n;

    // The density at some places, and the mean log-likelihoods with and without each point's own kernel.
    function compute(h, places = []) {
      const leftOut = points.reduce((total, p, i) => {
        const logs = [...points].map((q) => -((p - q) ** 2) / (2 * h * h)).filter((_, j) => j !== i);
        const most = Math.max(...logs);
        return total + most + Math.log(logs.reduce((s, v) => s + Math.exp(v - most), 0) / (n - 1));
      }, 0);
      return {
        density: places.map((x) => sum(x, h) / n),
        training: mean((p) => Math.log(sum(p, h) / n)),
        leftOut: leftOut / n - Math.log(h * Math.sqrt(2 * Math.PI)),
      };
    }

    function draw() {
      const h = Math.exp(+slider.value);
      const g = canvas.getContext("2d");
      const { width, height } = canvas;
      const floor = height - 24;
      const toX = (x) => ((x - low) / (high - low)) * width;
      const trace = (of, count, colour, line, dash = []) => {
        g.strokeStyle = colour;
        g.lineWidth = line;
        g.setLineDash(dash);
        g.beginPath();
        for (let i = 0; i < count; i++) {
          const x = low + ((high - low) * i) / (count - 1);
          g.lineTo(toX(x), floor * (1 - of(x, i) / top));
        }
        g.stroke();
      };
      g.clearRect(0, 0, width, height);
      points.forEach((p) => trace((x) => kernel(x - p, h) / n, 480, COLOURS[5], 1));
      trace((_, i) => truth[i], truth.length, COLOURS[1], 3, [12, 8]);
      trace((x) => sum(x, h) / n, 480, COLOURS[0], 5);
      trace(() => 0, 2, ink(), 2);
      g.fillStyle = COLOURS[2];
      points.forEach((p) => g.fillRect(toX(p) - 1.5, floor + 4, 3, 18));
      const { training, leftOut } = compute(h);
      text.textContent = `h = ${h.toFixed(2)}: training ${training.toFixed(2)}, one left out ${leftOut.toFixed(2)} nats a point`;
      slider.setAttribute("aria-valuetext", text.textContent);
    }

    slider.addEventListener("input", draw);
    onThemeChange(draw);
    draw();
    litgen.widgets.kde = { compute, slider };
    return [
      element("div", { class: "litgen-panes" }, canvas),
      element("div", { class: "litgen-controls" }, element("label", {}, "bandwidth", slider), text),
    ];
  }

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
