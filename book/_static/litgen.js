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

  // Arrows from places on a scatter's canvas; a vector's entries start at `from`.
  function arrows(canvas, places, vectors, from, toPixel) {
    const g = canvas.getContext("2d");
    g.strokeStyle = ink();
    g.lineWidth = 2.5;
    for (let k = 0; k < places.length; k += 2) {
      const tip = [0, 1].map((axis) => places[k + axis] + vectors[from + k + axis]);
      const [u, v, x, y] = [toPixel(places[k], 0), toPixel(places[k + 1], 1), toPixel(tip[0], 0), toPixel(tip[1], 1)];
      const [dx, dy] = [0.3 * (x - u), 0.3 * (y - v)];
      g.beginPath();
      g.moveTo(u, v);
      g.lineTo(x, y);
      g.lineTo(x - dx + 0.6 * dy, y - dy - 0.6 * dx);
      g.moveTo(x, y);
      g.lineTo(x - dx - 0.6 * dy, y - dy + 0.6 * dx);
      g.stroke();
    }
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

    // Trials of spike trains from a generator: the shared code, and how much of it counts.
    "spike-raster"(payload) {
      const compute = tinynet.network(payload.net);
      const { latent, neurons, bins } = payload;
      const cell = { width: 20, height: 40 };
      const picture = element("canvas", { style: `aspect-ratio: ${bins * cell.width} / ${neurons * cell.height}`, width: bins * cell.width, height: neurons * cell.height, role: "img", "aria-label": "Probabilities of a spike as grey squares, and spikes as strokes: one row a neuron, one column a bin" });
      picture.style.width = "100%";
      picture.style.imageRendering = "auto";
      const strength = element("input", { type: "range", min: 0, max: 2, step: 0.05, value: 1 });
      const code = element("button", { type: "button" }, "Another code");
      const again = element("button", { type: "button" }, "Same code, other spikes");
      const measure = element("button", { type: "button" }, "Fano factor of 300 trials");
      const text = element("output", { "aria-live": "polite" });
      let z = [];
      let uniform = [];

      function normal() {
        return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
      }

      const codes = () => Array.from({ length: latent }, normal);
      const noise = () => Float32Array.from({ length: neurons * bins }, Math.random);

      // Probabilities of all neurons and bins, with the code scaled by the slider.
      function probabilities(code) {
        return compute(code.map((v) => v * +strength.value));
      }

      function draw() {
        const p = probabilities(z);
        const g = picture.getContext("2d");
        g.clearRect(0, 0, picture.width, picture.height);
        let count = 0;
        p.forEach((value, at) => {
          const [x, y] = [(at % bins) * cell.width, Math.floor(at / bins) * cell.height];
          g.globalAlpha = 0.55 * value;
          g.fillStyle = COLOURS[5];
          g.fillRect(x, y + 2, cell.width, cell.height - 4);
          if (uniform[at] >= value) return;
          count += 1;
          g.globalAlpha = 1;
          g.fillStyle = ink();
          g.fillRect(x + cell.width / 2 - 2, y + 6, 4, cell.height - 12);
        });
        g.globalAlpha = 1;
        strength.setAttribute("aria-valuetext", `strength ${(+strength.value).toFixed(2)}`);
        text.textContent = `strength ${(+strength.value).toFixed(2)}; ${count} spikes`;
      }

      // Mean over neurons of variance over mean of the counts, each trial with a code of its own.
      function fano(trials) {
        const sums = Array.from({ length: neurons }, () => [0, 0]);
        for (let k = 0; k < trials; k++) {
          const p = probabilities(codes());
          for (let i = 0; i < neurons; i++) {
            let count = 0;
            for (let t = 0; t < bins; t++) count += Math.random() < p[i * bins + t];
            sums[i][0] += count;
            sums[i][1] += count * count;
          }
        }
        const each = sums.filter(([sum]) => sum).map(([sum, squares]) => (squares - (sum * sum) / trials) / (trials - 1) / (sum / trials));
        return each.reduce((a, b) => a + b, 0) / each.length;
      }

      function renew() {
        z = codes();
        uniform = noise();
        draw();
      }

      code.addEventListener("click", renew);
      again.addEventListener("click", () => {
        uniform = noise();
        draw();
      });
      measure.addEventListener("click", () => {
        text.textContent = `strength ${(+strength.value).toFixed(2)}; Fano factor ${fano(300).toFixed(2)}, the model's is ${payload.exact.toFixed(2)}`;
      });
      strength.addEventListener("input", draw);
      onThemeChange(draw);
      renew();
      litgen.widgets["spike-raster"] = { compute, fano, strength };
      return [
        element("div", { class: "litgen-panes" }, picture),
        element("div", { class: "litgen-controls" }, code, again, element("label", {}, "strength of the code", strength), measure, text),
      ];
    },

    // Snapshots of a training: codes and decoded plane, under one slider.
    snapshots(payload) {
      const words = payload.words ?? {};
      const [points, labels] = payload.points ? [tinynet.halves(payload.points), tinynet.bytes(payload.labels)] : [];
      const [places, vectors] = payload.arrows ? [tinynet.halves(payload.arrows.places), tinynet.halves(payload.arrows.vectors)] : [];
      const planes = payload.planes.map((data) => Object.assign(new Image(), { src: `data:image/png;base64,${data}` }));
      const height = payload.height ?? payload.side;
      const last = planes.length - 1;
      const codes = element("canvas", { width: 640, height: 640, role: "img", "aria-label": words.points ?? "Posterior means of the test images at the chosen moment, coloured by class" });
      const shape = points ? {} : { style: `aspect-ratio: ${payload.side} / ${height}` };
      const plane = element("canvas", { class: `plane${points ? "" : " wide"}${payload.smooth ? " smooth" : ""}`, ...shape, width: payload.side, height, role: "img", "aria-label": words.plane ?? "The decoded plane at the chosen moment" });
      const slider = element("input", { type: "range", min: 0, max: last, step: 1, value: last });
      const text = element("output", { "aria-live": "off" });
      const button = element("button", { type: "button" }, "Play");
      let timer = 0;

      function draw() {
        const i = +slider.value;
        if (points) {
          const toPixel = scatter(codes, points, labels, payload.extent, 2 * labels.length * i, !places);
          if (places) arrows(codes, places, vectors, places.length * i, toPixel);
        }
        const g = plane.getContext("2d");
        g.clearRect(0, 0, payload.side, height);
        planes[i].decode().then(() => +slider.value === i && g.drawImage(planes[i], 0, 0));
        text.textContent = payload.texts?.[i] ?? `after ${payload.turns[i]} of ${payload.turns[last]} steps`;
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
        element("div", { class: "litgen-panes" }, ...(points ? [codes] : []), plane),
        element("div", { class: "litgen-controls" }, button, element("label", {}, words.slider ?? "training", slider), text),
      ];
    },

    // Push a grid and points through the couplings of a flow, layer by layer, forth (data) and back (noise).
    "coupling-grid"(payload) {
      const nets = payload.nets.map(tinynet.network);
      const data = tinynet.halves(payload.points);
      const noise = tinynet.halves(payload.noise);
      const labels = tinynet.bytes(payload.labels);
      const { extent } = payload;
      const count = nets.length;
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      const canvas = element("canvas", { width: 640, height: 640, role: "img", "aria-label": "A grid and points after the chosen number of couplings" });
      const slider = element("input", { type: "range", min: 0, max: count, step: 0.05, value: 0 });
      const source = element("select", {}, element("option", { value: "data" }, "test points and a grid of x"), element("option", { value: "noise" }, "noise and a grid of z"));
      const text = element("output", { "aria-live": "off" });
      const button = element("button", { type: "button" }, calm ? "Step" : "Play");
      let timer = 0;

      // Coupling i moves coordinate 1 - i % 2, by a log-scale (within a tanh) and a shift; a share moves it part of the way.
      function forward(x, layers) {
        const z = [x[0], x[1]];
        for (let i = 0; i < Math.ceil(layers); i++) {
          const moved = 1 - (i % 2);
          const [raw, shift] = nets[i]([z[i % 2]]);
          z[moved] += Math.min(1, layers - i) * (z[moved] * Math.exp(Math.tanh(raw)) + shift - z[moved]);
        }
        return z;
      }

      // From z back until `layers` couplings are left.
      function inverse(z, layers) {
        const x = [z[0], z[1]];
        for (let i = count - 1; i >= Math.floor(layers) && i >= 0; i--) {
          const moved = 1 - (i % 2);
          const [raw, shift] = nets[i]([x[i % 2]]);
          x[moved] += Math.min(1, i + 1 - layers) * ((x[moved] - shift) * Math.exp(-Math.tanh(raw)) - x[moved]);
        }
        return x;
      }

      function draw() {
        const g = canvas.getContext("2d");
        const size = canvas.width;
        const layers = +slider.value;
        const forth = source.value === "data";
        const [map, points, reach] = forth ? [forward, data, 2] : [inverse, noise, 3];
        const at = (x) => [(x[0] / extent + 1) * size * 0.5, (1 - x[1] / extent) * size * 0.5];
        g.clearRect(0, 0, size, size);
        g.strokeStyle = ink();
        g.lineWidth = 1.5;
        g.globalAlpha = 0.45;
        for (const axis of [0, 1])
          for (let line = -8; line <= 8; line++) {
            g.beginPath();
            for (let k = -50; k <= 50; k++) {
              const [u, v] = [(reach * line) / 8, (reach * k) / 50];
              g.lineTo(...at(map(axis ? [u, v] : [v, u], layers)));
            }
            g.stroke();
          }
        g.globalAlpha = 0.85;
        for (let i = 0; i < points.length / 2; i++) {
          const [u, v] = at(map([points[2 * i], points[2 * i + 1]], layers));
          g.fillStyle = COLOURS[forth ? labels[i] : 2];
          g.fillRect(u - 3, v - 3, 6, 6);
        }
        g.globalAlpha = 1;
        const done = forth ? Math.floor(layers + 0.001) : count - Math.ceil(layers - 0.001);
        text.textContent = `${done} of ${count} couplings ${forth ? "done" : "undone"}`;
        slider.setAttribute("aria-valuetext", text.textContent);
      }

      function stop() {
        clearInterval(timer);
        timer = 0;
        if (!calm) button.textContent = "Play";
      }

      // From the end that is reached, go to the other one.
      let direction = 1;
      function move(step) {
        slider.value = +slider.value + direction * step;
        draw();
        if (+slider.value <= 0 || +slider.value >= count) stop();
      }

      function play() {
        if (timer) return stop();
        if (+slider.value <= 0) direction = 1;
        if (+slider.value >= count) direction = -1;
        if (calm) return move(1);
        button.textContent = "Pause";
        timer = setInterval(() => move(0.05), 50);
      }

      button.addEventListener("click", play);
      slider.addEventListener("input", () => {
        stop();
        draw();
      });
      source.addEventListener("change", () => {
        stop();
        slider.value = source.value === "data" ? 0 : count;
        draw();
      });
      onThemeChange(draw);
      draw();
      litgen.widgets["coupling-grid"] = { forward, inverse };
      return [
        element("div", { class: "litgen-panes" }, canvas),
        element("div", { class: "litgen-controls" }, element("label", {}, "begin with", source)),
        element("div", { class: "litgen-controls" }, button, element("label", {}, "couplings", slider), text),
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
    litgen.widgets.kde = { compute, points };
    return [
      element("div", { class: "litgen-panes" }, canvas),
      element("div", { class: "litgen-controls" }, element("label", {}, "bandwidth", slider), text),
    ];
  }
  // A map of words: choose one, see its nearest neighbours by cosine, computed from all dimensions.
  makers["word-map"] = function (payload) {
    const words = payload.words.split(" ");
    const { dims } = payload;
    const points = tinynet.halves(payload.points);
    const raw = tinynet.bytes(payload.vectors);
    const unit = words.map((_, i) => {
      const row = Array.from(raw.subarray(i * dims, (i + 1) * dims), (byte) => byte - 128);
      const length = Math.hypot(...row);
      return Float32Array.from(row, (v) => v / length);
    });
    const size = 640;
    const map = element("canvas", { width: size, height: size, tabindex: 0, role: "img", "aria-label": "Map of words; click a dot, or use the arrow keys, to choose a word" });
    const field = element("input", { type: "search", value: payload.start, autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
    const list = element("ol", { class: "neighbours" });
    const text = element("output", { "aria-live": "polite" });
    const at = (i, axis) => ((axis ? -points[2 * i + 1] : points[2 * i]) * 0.97 + 1) * size * 0.5;
    let chosen = Math.max(0, words.indexOf(payload.start));

    function neighbours(i, count = 10) {
      const cosine = unit.map((row) => row.reduce((sum, v, d) => sum + v * unit[i][d], 0));
      const order = [...words.keys()].filter((j) => j !== i).sort((a, b) => cosine[b] - cosine[a]);
      return order.slice(0, count).map((j) => [words[j], cosine[j]]);
    }

    function dot(g, i, radius) {
      g.beginPath();
      g.arc(at(i, 0), at(i, 1), radius, 0, 7);
      g.fill();
    }

    function draw() {
      const g = map.getContext("2d");
      g.clearRect(0, 0, size, size);
      g.fillStyle = ink();
      g.globalAlpha = 0.3;
      words.forEach((_, i) => dot(g, i, 2.5));
      g.globalAlpha = 1;
      g.font = "24px sans-serif";
      const near = neighbours(chosen);
      [...near.map(([word]) => words.indexOf(word)).reverse(), chosen].forEach((i) => {
        g.fillStyle = i === chosen ? COLOURS[1] : COLOURS[0];
        dot(g, i, i === chosen ? 9 : 6);
      });
      g.fillStyle = ink();
      g.textAlign = at(chosen, 0) > size / 2 ? "right" : "left";
      g.fillText(words[chosen], at(chosen, 0) + (at(chosen, 0) > size / 2 ? -14 : 14), Math.max(24, at(chosen, 1) - 8));
      list.replaceChildren(...near.map(([word, cosine]) => {
        const button = element("button", { type: "button" }, word);
        button.addEventListener("click", () => choose(words.indexOf(word)));
        return element("li", {}, button, ` ${cosine.toFixed(2)}`);
      }));
    }

    function choose(i) {
      chosen = i;
      field.value = words[i];
      text.textContent = `${words[i]}, word ${i + 1} of ${words.length}`;
      draw();
    }

    function look() {
      const i = words.indexOf(field.value.trim().toLowerCase());
      if (i >= 0) return choose(i);
      text.textContent = `${field.value.trim() || "nothing"}: not among these ${words.length} words`;
    }

    map.addEventListener("pointerdown", (event) => {
      const box = map.getBoundingClientRect();
      const [x, y] = [((event.clientX - box.left) / box.width) * size, ((event.clientY - box.top) / box.height) * size];
      const away = (i) => Math.hypot(at(i, 0) - x, at(i, 1) - y);
      choose([...words.keys()].reduce((best, i) => (away(i) < away(best) ? i : best)));
    });
    map.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      choose((chosen + by + words.length) % words.length);
    });
    field.addEventListener("input", look);
    onThemeChange(draw);
    choose(chosen);
    litgen.widgets["word-map"] = { neighbours: (word, count) => neighbours(words.indexOf(word), count), choose: (word) => choose(words.indexOf(word)) };
    return [
      element("div", { class: "litgen-panes" }, map, element("div", { class: "litgen-neighbours" }, element("p", {}, "Nearest by cosine:"), list)),
      element("div", { class: "litgen-controls" }, element("label", {}, "word", field), text),
    ];
  };

  // Three Gaussians with exact scores: DDIM with guidance carries the same noise to another place for every scale.
  makers["guided-plane"] = function (payload) {
    const { weights, means, sd, shares, extent, asked } = payload;
    const start = tinynet.halves(payload.start);
    const count = start.length / 2;
    const canvas = element("canvas", { width: 640, height: 640, role: "img", "aria-label": "Three Gaussians of the plane, and the points that guided sampling reaches" });
    const slider = element("input", { type: "range", min: 0, max: payload.most, step: 0.1, value: payload.scale });
    const choice = element("select", {}, ...means.map((_, i) => element("option", { value: i }, String(i))));
    choice.value = asked;
    const text = element("output", { "aria-live": "off" });

    // How likely each component made a point, at the noise level where this share of the signal is left.
    function posterior(x, y, share) {
      const variance = share * sd * sd + 1 - share;
      const logs = means.map(([a, b], i) => Math.log(weights[i]) - ((x - Math.sqrt(share) * a) ** 2 + (y - Math.sqrt(share) * b) ** 2) / (2 * variance));
      const top = Math.max(...logs);
      const terms = logs.map((v) => Math.exp(v - top));
      const sum = terms.reduce((s, v) => s + v, 0);
      return terms.map((v) => v / sum);
    }

    // The mean noise given x_t moves by scale times the difference that the class makes.
    function compute(scale, wanted) {
      const places = Float64Array.from(start);
      for (let n = 0; n + 1 < shares.length; n++) {
        const [now, next] = [shares[n], shares[n + 1]];
        const variance = now * sd * sd + 1 - now;
        for (let i = 0; i < count; i++) {
          const part = posterior(places[2 * i], places[2 * i + 1], now);
          for (const axis of [0, 1]) {
            const x = places[2 * i + axis];
            const middle = means.reduce((s, mean, c) => s + part[c] * mean[axis], 0);
            const centre = middle + scale * (means[wanted][axis] - middle);
            const noise = (Math.sqrt(1 - now) * (x - Math.sqrt(now) * centre)) / variance;
            const guess = (x - Math.sqrt(1 - now) * noise) / Math.sqrt(now);
            places[2 * i + axis] = Math.sqrt(next) * guess + Math.sqrt(1 - next) * noise;
          }
        }
      }
      return places;
    }

    function draw() {
      const wanted = +choice.value;
      const places = compute(+slider.value, wanted);
      const owners = Array.from({ length: count }, (_, i) => {
        const part = posterior(places[2 * i], places[2 * i + 1], 1);
        return part.indexOf(Math.max(...part));
      });
      const toPixel = scatter(canvas, places, owners, extent, 0, false);
      const g = canvas.getContext("2d");
      g.lineWidth = 5;
      means.forEach((mean, c) => {
        g.strokeStyle = COLOURS[c];
        g.setLineDash(c === wanted ? [] : [10, 10]);
        g.beginPath();
        g.arc(toPixel(mean[0], 0), toPixel(mean[1], 1), (2 * sd * 320) / extent, 0, 7);
        g.stroke();
      });
      g.setLineDash([]);
      g.fillStyle = ink();
      g.font = "bold 30px sans-serif";
      g.textAlign = "center";
      const beyond = 1 + (2 * sd + 0.3) / Math.hypot(...means[0]); // just outside the rings
      means.forEach(([a, b], c) => g.fillText(String(c), toPixel(a * beyond, 0), toPixel(b * beyond, 1) + 10));
      const mean = [0, 1].map((axis) => places.reduce((s, v, i) => s + (i % 2 === axis ? v : 0), 0) / count);
      const spread = Math.sqrt(places.reduce((s, v, i) => s + (v - mean[i % 2]) ** 2, 0) / (2 * count));
      const own = owners.filter((c) => c === wanted).length / count;
      text.textContent = `scale ${(+slider.value).toFixed(1)}: ${(100 * own).toFixed(0)} % most likely of class ${wanted}; standard deviation ${spread.toFixed(2)} (the class itself: ${sd.toFixed(2)})`;
      slider.setAttribute("aria-valuetext", text.textContent);
    }

    function choose(scale, wanted) {
      slider.value = scale;
      choice.value = wanted;
      draw();
    }

    slider.addEventListener("input", draw);
    choice.addEventListener("change", draw);
    onThemeChange(draw);
    draw();
    litgen.widgets["guided-plane"] = { compute: (scale, wanted) => [...compute(scale, wanted)], choose };
    return [
      element("div", { class: "litgen-panes" }, canvas),
      element("div", { class: "litgen-controls" }, element("label", {}, "scale", slider), element("label", {}, "class", choice), text),
    ];
  };

  // Two small sets of points; the cheapest pairing by paths of falling prices (the Hungarian method).
  makers["transport-plan"] = function (payload) {
    const { extent } = payload;
    const count = payload.x.length;
    const size = 640;
    const canvas = element("canvas", { width: size, height: size, tabindex: 0, role: "img", "aria-label": "Round and square points joined by their cheapest pairing; drag a point, or move the chosen one with the arrow keys" });
    const [next, again] = ["Next point", "Start again"].map((name) => element("button", { type: "button" }, name));
    const text = element("output", { "aria-live": "polite" });
    let points;
    let chosen = 0;

    // For each round point the square it goes to, and the mean length of the ways.
    function solve(x, y) {
      const n = x.length;
      const cost = (i, j) => Math.hypot(x[i][0] - y[j][0], x[i][1] - y[j][1]);
      const f = Array(n + 1).fill(0);
      const g = Array(n + 1).fill(0);
      const owner = Array(n + 1).fill(0); // of each target; 0 is nobody, and the start of a path
      for (let source = 1; source <= n; source++) {
        const before = Array(n + 1).fill(0);
        const room = Array(n + 1).fill(Infinity);
        const seen = Array(n + 1).fill(false);
        let at = 0;
        owner[0] = source;
        do {
          seen[at] = true;
          const i = owner[at];
          let least = Infinity;
          let to = 0;
          for (let j = 1; j <= n; j++) {
            if (seen[j]) continue;
            const slack = cost(i - 1, j - 1) - f[i] - g[j];
            if (slack < room[j]) [room[j], before[j]] = [slack, at];
            if (room[j] < least) [least, to] = [room[j], j];
          }
          for (let j = 0; j <= n; j++) {
            if (seen[j]) [f[owner[j]], g[j]] = [f[owner[j]] + least, g[j] - least];
            else room[j] -= least;
          }
          at = to;
        } while (owner[at]);
        for (; at; at = before[at]) owner[at] = owner[before[at]];
      }
      const order = Array(n);
      for (let j = 1; j <= n; j++) order[owner[j] - 1] = j - 1;
      return { order, cost: order.reduce((sum, j, i) => sum + cost(i, j), 0) / n };
    }

    function draw() {
      const g = canvas.getContext("2d");
      const at = ([a, b]) => [((a / extent + 1) * size) / 2, ((1 - b / extent) * size) / 2];
      const [x, y] = [points.slice(0, count), points.slice(count)];
      const best = solve(x, y);
      g.clearRect(0, 0, size, size);
      g.strokeStyle = ink();
      g.lineWidth = 2;
      g.strokeRect(1, 1, size - 2, size - 2);
      g.strokeStyle = COLOURS[3];
      g.lineWidth = 6;
      best.order.forEach((j, i) => {
        g.beginPath();
        g.moveTo(...at(x[i]));
        g.lineTo(...at(y[j]));
        g.stroke();
      });
      points.forEach((point, k) => {
        const [u, v] = at(point);
        g.fillStyle = COLOURS[k < count ? 0 : 1];
        g.beginPath();
        if (k < count) g.arc(u, v, 13, 0, 7);
        else g.rect(u - 12, v - 12, 24, 24);
        g.fill();
      });
      g.strokeStyle = ink();
      g.lineWidth = 4;
      g.beginPath();
      g.arc(...at(points[chosen]), 22, 0, 7);
      g.stroke();
      const [a, b] = points[chosen];
      text.textContent = `W₁ = ${best.cost.toFixed(3)}; ${chosen < count ? "round" : "square"} point ${(chosen % count) + 1} at (${a.toFixed(2)}, ${b.toFixed(2)})`;
      return best;
    }

    function move(k, a, b) {
      const inside = (v) => Math.max(-0.96 * extent, Math.min(0.96 * extent, v));
      chosen = k;
      points[k] = [inside(a), inside(b)];
      return draw();
    }

    function restart() {
      points = [...payload.x, ...payload.y].map((point) => [...point]);
      chosen = 0;
      draw();
    }

    function place(event) {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * 2 * extent - extent, extent - ((event.clientY - box.top) / box.height) * 2 * extent];
    }

    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      const [a, b] = place(event);
      const away = (k) => Math.hypot(points[k][0] - a, points[k][1] - b);
      chosen = points.reduce((best, _, k) => (away(k) < away(best) ? k : best), 0);
      draw();
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && move(chosen, ...place(event)));
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!by) return;
      event.preventDefault();
      move(chosen, points[chosen][0] + 0.05 * by[0], points[chosen][1] + 0.05 * by[1]);
    });
    next.addEventListener("click", () => {
      chosen = (chosen + 1) % points.length;
      draw();
    });
    again.addEventListener("click", restart);
    onThemeChange(draw);
    restart();
    litgen.widgets["transport-plan"] = { solve, move, state: () => ({ points, chosen }) };
    return [
      element("div", { class: "litgen-panes" }, canvas),
      element("div", { class: "litgen-controls" }, next, again, text),
    ];
  };

  // Paths from noise to a mixture of Gaussians, by its exact denoiser, for chosen steps and eta.
  makers["ddim-paths"] = function (payload) {
    const { alphaBar, means, weights, scale, extent, count } = payload;
    const last = alphaBar.length - 1;
    const size = 640;
    const canvas = element("canvas", { width: size, height: size, role: "img", "aria-label": "Paths of points from noise to data in the plane, circles around the data's components, for the chosen steps and eta" });
    const steps = element("input", { type: "range", min: 1, max: 50, step: 1, value: payload.steps });
    const eta = element("input", { type: "range", min: 0, max: 1.5, step: 0.05, value: 0 });
    const again = element("button", { type: "button" }, "New noise");
    const text = element("output", { "aria-live": "off" });
    let seed = 1;

    // Whole numbers, halves to the even one, as Python rounds.
    function times(steps) {
      return Array.from({ length: steps + 1 }, (_, k) => {
        const exact = (last * (steps - k)) / steps;
        const near = Math.round(exact);
        return near - exact === 0.5 && near % 2 ? near - 1 : near;
      });
    }

    // The mean noise in x, where this share of the data's variance is left.
    function noiseIn(x, share) {
      const variance = share * scale * scale + 1 - share;
      const signal = Math.sqrt(share);
      const logs = means.map((m, c) => Math.log(weights[c]) - 0.5 * ((x[0] - signal * m[0]) ** 2 + (x[1] - signal * m[1]) ** 2) / variance);
      const top = Math.max(...logs);
      const odds = logs.map((v) => Math.exp(v - top));
      const total = odds.reduce((a, b) => a + b);
      return x.map((v, axis) => (Math.sqrt(1 - share) * (v - (signal * odds.reduce((s, o, c) => s + o * means[c][axis], 0)) / total)) / variance);
    }

    // One path of steps + 1 points for each start; noise[k][i] is what step k adds to point i.
    function compute(steps, eta, starts, noise) {
      const when = times(steps);
      return starts.map((start, i) => {
        const path = [start];
        for (let k = 0; k < steps; k++) {
          const [now, then] = [alphaBar[when[k]], alphaBar[when[k + 1]]];
          const sigma = eta * Math.sqrt(((1 - then) / (1 - now)) * (1 - now / then));
          const direction = Math.sqrt(Math.max(0, 1 - then - sigma * sigma));
          const guess = noiseIn(path[k], now);
          path.push(path[k].map((v, axis) => (Math.sqrt(then) * (v - Math.sqrt(1 - now) * guess[axis])) / Math.sqrt(now) + direction * guess[axis] + (sigma ? sigma * noise[k][i][axis] : 0)));
        }
        return path;
      });
    }

    // Normal draws that the seed decides.
    function draws(seed) {
      let state = seed * 2654435761;
      const uniform = () => {
        state = (state + 0x6d2b79f5) | 0;
        let v = Math.imul(state ^ (state >>> 15), 1 | state);
        v = (v + Math.imul(v ^ (v >>> 7), 61 | v)) ^ v;
        return ((v ^ (v >>> 14)) >>> 0) / 4294967296;
      };
      const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
      return Array.from({ length: count }, () => [normal(), normal()]);
    }

    // The component nearest to each end, and the ends' root mean square distance from it, one axis.
    function landed(paths) {
      const ends = paths.map((path) => path[path.length - 1]);
      const squares = ends.map((x) => means.map((m) => (x[0] - m[0]) ** 2 + (x[1] - m[1]) ** 2));
      const nearest = squares.map((row) => row.indexOf(Math.min(...row)));
      const spread = Math.sqrt(squares.reduce((sum, row) => sum + Math.min(...row), 0) / (2 * count));
      return { ends, nearest, spread };
    }

    function draw() {
      const [n, e] = [+steps.value, +eta.value];
      const noise = Array.from({ length: n }, (_, k) => draws(1000 * seed + k + 1));
      const paths = compute(n, e, draws(1000 * seed), noise);
      const { ends, nearest, spread } = landed(paths);
      const g = canvas.getContext("2d");
      const at = (x) => [((x[0] / extent + 1) * size) / 2, ((1 - x[1] / extent) * size) / 2];
      g.clearRect(0, 0, size, size);
      g.strokeStyle = ink();
      g.lineWidth = 2;
      g.strokeRect(1, 1, size - 2, size - 2);
      g.setLineDash([8, 6]);
      means.forEach((m) => {
        g.beginPath();
        g.arc(...at(m), (scale * size) / extent, 0, 7);
        g.stroke();
      });
      g.setLineDash([]);
      paths.forEach((path, i) => {
        g.strokeStyle = g.fillStyle = COLOURS[nearest[i]];
        g.globalAlpha = 0.45;
        g.lineWidth = 1.5;
        g.beginPath();
        path.forEach((x) => g.lineTo(...at(x)));
        g.stroke();
        path.forEach((x) => g.fillRect(...at(x).map((v) => v - 1.5), 3, 3));
        g.globalAlpha = 1;
        g.beginPath();
        g.arc(...at(ends[i]), 5, 0, 7);
        g.fill();
      });
      text.textContent = `${n} ${n === 1 ? "step" : "steps"}, eta ${e.toFixed(2)}: spread ${spread.toFixed(3)}, the data's ${scale.toFixed(3)}`;
      steps.setAttribute("aria-valuetext", `${n} steps`);
    }

    [steps, eta].forEach((slider) => slider.addEventListener("input", draw));
    again.addEventListener("click", () => {
      seed += 1;
      draw();
    });
    onThemeChange(draw);
    draw();
    litgen.widgets["ddim-paths"] = { compute, times, draws, landed, setup: { alphaBar, means, weights, scale } };
    return [
      element("div", { class: "litgen-panes" }, canvas),
      element("div", { class: "litgen-controls" }, element("label", {}, "steps", steps), element("label", {}, "eta", eta), again, text),
    ];
  };

  // Two small networks with their gradients and Adam: the adversarial game in the plane, played here.
  makers["gan-game"] = function (payload) {
    const { width, batch, rate, criticRate, betas, extent, std } = payload;
    const size = 640;
    const cells = 40;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const sigmoid = (v) => 1 / (1 + Math.exp(-v));
    const softplus = (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));
    let state = 0; // of the random numbers
    let seed = payload.seed;

    function uniform() {
      state = (state + 0x6d2b79f5) | 0;
      let v = Math.imul(state ^ (state >>> 15), 1 | state);
      v = (v + Math.imul(v ^ (v >>> 7), 61 | v)) ^ v;
      return ((v ^ (v >>> 14)) >>> 0) / 4294967296;
    }
    const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    const normals = (count) => Float64Array.from({ length: 2 * count }, normal);

    // Each set gives the place of one point, before noise.
    const sets = {
      "eight places": () => {
        const angle = (Math.floor(8 * uniform()) * Math.PI) / 4;
        return [Math.SQRT2 * Math.cos(angle), Math.SQRT2 * Math.sin(angle)];
      },
      "two moons": () => {
        const [t, upper] = [Math.PI * uniform(), uniform() < 0.5];
        return upper ? [Math.cos(t) - 0.5, Math.sin(t) - 0.25] : [0.5 - Math.cos(t), 0.25 - Math.sin(t)];
      },
      "nine places": () => [1.2 * (Math.floor(3 * uniform()) - 1), 1.2 * (Math.floor(3 * uniform()) - 1)],
      "one place": () => [1, 0.6],
      circle: () => {
        const t = 2 * Math.PI * uniform();
        return [Math.SQRT2 * Math.cos(t), Math.SQRT2 * Math.sin(t)];
      },
    };

    function data(count) {
      const points = new Float64Array(2 * count);
      for (let i = 0; i < count; i++) {
        const [x, y] = sets[choices.set.value]();
        points[2 * i] = x + std * normal();
        points[2 * i + 1] = y + std * normal();
      }
      return points;
    }

    // Linear layers, each with its weights (rows are outputs) and then its biases in one array, and between them a
    // ReLU that keeps `slope` of what is negative.
    function network(sizes, slope) {
      const layers = sizes.slice(1).map((outputs, l) => {
        const inputs = sizes[l];
        const length = (inputs + 1) * outputs;
        const values = Float64Array.from({ length }, () => (2 * uniform() - 1) / Math.sqrt(inputs));
        return { inputs, outputs, values, gradient: new Float64Array(length), first: new Float64Array(length), second: new Float64Array(length) };
      });
      let steps = 0;

      function forward(x) {
        layers.forEach((layer, l) => {
          const { inputs, outputs, values } = layer;
          const count = x.length / inputs;
          const y = new Float64Array(count * outputs);
          for (let n = 0; n < count; n++)
            for (let o = 0; o < outputs; o++) {
              let sum = values[inputs * outputs + o];
              for (let i = 0; i < inputs; i++) sum += values[o * inputs + i] * x[n * inputs + i];
              y[n * outputs + o] = sum < 0 && l < layers.length - 1 ? slope * sum : sum;
            }
          layer.x = x;
          layer.y = x = y;
        });
        return x;
      }

      // From the gradient in the outputs of the last forward pass to that in its inputs; leaves the weights' own.
      function backward(g) {
        for (let l = layers.length - 1; l >= 0; l--) {
          const { inputs, outputs, values, gradient, x, y } = layers[l];
          const count = y.length / outputs;
          const back = new Float64Array(x.length);
          gradient.fill(0);
          for (let n = 0; n < count; n++)
            for (let o = 0; o < outputs; o++) {
              const at = n * outputs + o;
              const d = l < layers.length - 1 && y[at] <= 0 ? slope * g[at] : g[at];
              if (d === 0) continue;
              gradient[inputs * outputs + o] += d;
              for (let i = 0; i < inputs; i++) {
                gradient[o * inputs + i] += d * x[n * inputs + i];
                back[n * inputs + i] += d * values[o * inputs + i];
              }
            }
          g = back;
        }
        return g;
      }

      function adam(learning) {
        steps += 1;
        const [a, b] = betas;
        const [c, d] = [1 - a ** steps, 1 - b ** steps];
        for (const { values, gradient, first, second } of layers)
          for (let i = 0; i < values.length; i++) {
            first[i] = a * first[i] + (1 - a) * gradient[i];
            second[i] = b * second[i] + (1 - b) * gradient[i] ** 2;
            values[i] -= (learning * (first[i] / c)) / (Math.sqrt(second[i] / d) + 1e-8);
          }
      }

      return { layers, forward, backward, adam };
    }

    let generator, critic, turns, said, shown, codes;

    // Data get the label 1, samples 0; only the critic's weights move.
    function criticMove(x, z) {
      const count = x.length / 2;
      const both = new Float64Array(4 * count);
      both.set(x);
      both.set(generator.forward(z), 2 * count);
      const logits = critic.forward(both);
      critic.backward(logits.map((v, i) => (sigmoid(v) - (i < count ? 1 : 0)) / count));
      critic.adam(criticRate);
      return logits.reduce((sum, v, i) => sum + softplus(i < count ? -v : v), 0) / count;
    }

    // What the loss asks of each sample: minus its gradient there, times the number of samples.
    function slopes(logits) {
      return logits.map(choices.loss.value === "saturating" ? (v) => -sigmoid(v) : (v) => sigmoid(v) - 1);
    }

    function generatorMove(z) {
      const count = z.length / 2;
      const logits = critic.forward(generator.forward(z));
      generator.backward(critic.backward(slopes(logits).map((v) => v / count)));
      generator.adam(rate);
      const saturating = choices.loss.value === "saturating";
      return logits.reduce((sum, v) => sum + (saturating ? -softplus(v) : softplus(-v)), 0) / count;
    }

    function turn() {
      for (let i = 0; i < +choices.criticSteps.value; i++) said.critic = criticMove(data(batch), normals(batch));
      for (let i = 0; i < +choices.generatorSteps.value; i++) said.generator = generatorMove(normals(batch));
      turns += 1;
    }

    const choice = (names) => element("select", {}, ...names.map((name) => element("option", {}, name)));
    const choices = {
      set: choice(Object.keys(sets)),
      loss: choice(["non-saturating", "saturating"]),
      criticSteps: choice(["1", "2", "5", "20"]),
      generatorSteps: choice(["1", "5", "20"]),
    };
    const canvas = element("canvas", { style: "touch-action: auto", width: size, height: size, role: "img", "aria-label": "Data as blue squares, samples as vermilion discs, and the discriminator's field: blue where it says data, vermilion where it says sample" });
    const [play, once, again] = [calm ? "50 turns" : "Play", "One turn", "Restart"].map((name) => element("button", { type: "button" }, name));
    const arrows = element("input", { type: "checkbox" });
    const text = element("output", { "aria-live": "off" });
    const picture = element("canvas", { width: cells, height: cells });
    let frame = 0;

    const at = (v, axis) => (((axis ? -v : v) / extent + 1) * size) / 2;
    const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;

    function draw() {
      const g = canvas.getContext("2d");
      const places = Float64Array.from({ length: 2 * cells * cells }, (_, i) => {
        const cell = i >> 1;
        const along = ((i & 1 ? Math.floor(cell / cells) : cell % cells) + 0.5) / cells;
        return (i & 1 ? 1 - 2 * along : 2 * along - 1) * extent;
      });
      const field = critic.forward(places).map(sigmoid);
      const image = picture.getContext("2d").createImageData(cells, cells);
      field.forEach((d, i) => image.data.set([...(d > 0.5 ? [0, 114, 178] : [213, 94, 0]), 200 * Math.abs(d - 0.5)], 4 * i));
      picture.getContext("2d").putImageData(image, 0, 0);
      g.clearRect(0, 0, size, size);
      g.drawImage(picture, 0, 0, size, size);
      g.strokeStyle = ink();
      g.lineWidth = 2;
      g.strokeRect(1, 1, size - 2, size - 2);
      g.fillStyle = COLOURS[0];
      for (let i = 0; i < shown.length; i += 2) g.fillRect(at(shown[i], 0) - 3.5, at(shown[i + 1], 1) - 3.5, 7, 7);
      const samples = generator.forward(codes);
      const logits = critic.forward(samples);
      if (arrows.checked) {
        const push = critic.backward(slopes(logits));
        g.lineWidth = 2;
        for (let i = 0; i < samples.length; i += 2) {
          const longest = Math.max(1, Math.hypot(push[i], push[i + 1]));
          g.beginPath();
          g.moveTo(at(samples[i], 0), at(samples[i + 1], 1));
          g.lineTo(at(samples[i] - (0.25 * push[i]) / longest, 0), at(samples[i + 1] - (0.25 * push[i + 1]) / longest, 1));
          g.stroke();
        }
      }
      g.fillStyle = COLOURS[1];
      for (let i = 0; i < samples.length; i += 2) {
        g.beginPath();
        g.arc(at(samples[i], 0), at(samples[i + 1], 1), 4.5, 0, 7);
        g.fill();
      }
      const onData = mean(critic.forward(shown).map(sigmoid));
      const losses = turns ? `; losses ${said.critic.toFixed(2)} and ${said.generator.toFixed(2)}` : "";
      text.textContent = `turn ${turns}: mean D ${onData.toFixed(2)} on data, ${mean(logits.map(sigmoid)).toFixed(2)} on samples${losses}`;
    }

    function stop() {
      cancelAnimationFrame(frame);
      frame = 0;
      if (!calm) play.textContent = "Play";
    }

    function restart() {
      stop();
      state = Math.imul(seed, 2654435761);
      generator = network([2, width, width, 2], 0);
      critic = network([2, width, width, 1], 0.01);
      turns = 0;
      said = {};
      shown = data(160);
      codes = normals(160);
      draw();
    }

    function some(count) {
      for (let i = 0; i < count; i++) turn();
      draw();
    }

    function animate() {
      const end = performance.now() + 14; // what a frame can bear
      let count = 0;
      do turn();
      while (++count < 8 && performance.now() < end);
      draw();
      frame = requestAnimationFrame(animate);
    }

    play.addEventListener("click", () => {
      if (calm) return some(50);
      if (frame) return stop();
      play.textContent = "Pause";
      frame = requestAnimationFrame(animate);
    });
    once.addEventListener("click", () => {
      stop();
      some(1);
    });
    again.addEventListener("click", () => {
      seed += 1;
      restart();
    });
    choices.set.addEventListener("change", restart);
    choices.loss.addEventListener("change", draw);
    arrows.addEventListener("change", draw);
    onThemeChange(draw);
    restart();
    litgen.widgets["gan-game"] = {
      criticMove: (x, z) => criticMove(Float64Array.from(x), Float64Array.from(z)),
      generatorMove: (z) => generatorMove(Float64Array.from(z)),
      weights: () => [generator, critic].map((net) => net.layers.map((layer) => [...layer.values])),
      load: (nets) => [generator, critic].forEach((net, n) => net.layers.forEach((layer, l) => layer.values.set(nets[n][l]))),
      data: (count) => [...data(count)],
      samples: () => [...generator.forward(codes)],
      some,
    };
    const label = (name, control) => element("label", {}, name, control);
    return [
      element("div", { class: "litgen-panes" }, canvas, element("div", { class: "litgen-controls litgen-column" }, label("data", choices.set), label("generator's loss", choices.loss), label("discriminator's steps a turn", choices.criticSteps), label("generator's steps a turn", choices.generatorSteps), element("label", { class: "tool" }, arrows, "advice"), element("div", { class: "litgen-controls" }, play, once, again), text)),
    ];
  };

  // A conditional generator: one slider goes through the classes at a fixed code, one through codes at a fixed class.
  makers["class-sweep"] = function (payload) {
    const network = tinynet.network(payload.net);
    const { classes, latent, side, scale, names } = payload;
    const ends = [0, 1].map((i) => tinynet.halves(payload.codes).slice(i * latent, (i + 1) * latent));
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const one = element("canvas", { class: "digit", width: side, height: side, role: "img", "aria-label": "The generator's image for the chosen code and class" });
    const all = element("canvas", { class: "digit", style: "aspect-ratio: 2.5; align-self: center", width: 5 * side, height: (side * classes) / 5, role: "img", "aria-label": "The same code in every class" });
    const which = element("input", { type: "range", min: 0, max: classes - 1, step: 0.05, value: payload.label });
    const walk = element("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0 });
    const [sweepClass, sweepCode, other] = [calm ? "Next class" : "Play class", calm ? "Step z" : "Play z", "Other z"].map((name) => element("button", { type: "button" }, name));
    const text = element("output", { "aria-live": "off" });
    let timer = 0;

    // On a circle through two codes: every point of it is as long as a code usually is.
    function code() {
      const angle = 2 * Math.PI * walk.value;
      return Array.from({ length: latent }, (_, i) => Math.cos(angle) * ends[0][i] + Math.sin(angle) * ends[1][i]);
    }

    // Between two whole numbers the one-hot entry is shared.
    function shares(label) {
      return Array.from({ length: classes }, (_, c) => Math.max(0, 1 - Math.abs(label - c)));
    }

    const compute = (z, share) => network([...z, ...share.map((v) => scale * v)]);

    function put(canvas, values, left, top) {
      const image = canvas.getContext("2d").createImageData(side, side);
      values.forEach((v, i) => image.data.set([127.5 * (v + 1), 127.5 * (v + 1), 127.5 * (v + 1), 255], 4 * i)); // clamps
      canvas.getContext("2d").putImageData(image, left, top);
    }

    function draw(everywhere = true) {
      const label = +which.value;
      put(one, compute(code(), shares(label)), 0, 0);
      if (everywhere) for (let c = 0; c < classes; c++) put(all, compute(code(), shares(c)), (c % 5) * side, Math.floor(c / 5) * side);
      const low = Math.floor(label);
      const part = label - low;
      text.textContent = part < 0.01 ? `class ${names[low]}` : `${(1 - part).toFixed(2)} of ${names[low]}, ${part.toFixed(2)} of ${names[low + 1]}`;
      which.setAttribute("aria-valuetext", text.textContent);
    }

    function stop() {
      clearInterval(timer);
      timer = 0;
      if (calm) return;
      sweepClass.textContent = "Play class";
      sweepCode.textContent = "Play z";
    }

    function advance(slider, step) {
      const next = +slider.value + step;
      slider.value = next > +slider.max + 1e-6 ? 0 : next;
      draw(slider === walk);
    }

    function play(button, slider, step, bigger) {
      button.addEventListener("click", () => {
        if (calm) return advance(slider, bigger);
        const running = timer && button.textContent === "Pause";
        stop();
        if (running) return;
        button.textContent = "Pause";
        timer = setInterval(() => advance(slider, step), 60);
      });
    }

    function choose(label, place) {
      stop();
      which.value = label;
      walk.value = place;
      draw();
    }

    play(sweepClass, which, 0.05, 1);
    play(sweepCode, walk, 0.01, 0.05);
    other.addEventListener("click", () => {
      const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
      ends.forEach((end) => end.forEach((_, i) => (end[i] = normal())));
      draw();
    });
    [which, walk].forEach((slider) => slider.addEventListener("input", () => (stop(), draw(slider === walk))));
    draw();
    litgen.widgets["class-sweep"] = { compute: (z, share) => [...compute(z, share)], choose, code };
    return [
      element("div", { class: "litgen-panes" }, one, all),
      element("div", { class: "litgen-controls" }, element("label", {}, "class", which), element("label", {}, "code z", walk), sweepClass, sweepCode, other, text),
    ];
  };

  // A face for a code: one slider for each direction along which an attribute changes.
  makers["face-directions"] = function (payload) {
    const compute = tinynet.network(payload.net);
    const directions = tinynet.halves(payload.directions);
    const codes = tinynet.halves(payload.codes);
    const { side, latent, names } = payload;
    const face = element("canvas", { class: "digit", width: side, height: side, role: "img", "aria-label": "The generator's face for the chosen code" });
    const sliders = names.map(() => element("input", { type: "range", min: -1.5, max: 1.5, step: 0.05, value: 0 }));
    const other = element("button", { type: "button" }, "Another face");
    const back = element("button", { type: "button" }, "Sliders to 0");
    const text = element("output", { "aria-live": "off" });
    let which = 0;

    function code(amounts) {
      return Array.from({ length: latent }, (_, j) => amounts.reduce((sum, v, k) => sum + v * directions[k * latent + j], codes[which * latent + j]));
    }

    function draw() {
      const z = code(sliders.map((s) => +s.value));
      const context = face.getContext("2d");
      const image = context.createImageData(side, side);
      const y = compute(z);
      for (let i = 0; i < side * side; i++) {
        for (const channel of [0, 1, 2]) image.data[4 * i + channel] = 127.5 * (y[channel * side * side + i] + 1);
        image.data[4 * i + 3] = 255;
      }
      context.putImageData(image, 0, 0);
      text.textContent = `face ${which + 1} of ${codes.length / latent}, |z| = ${Math.hypot(...z).toFixed(2)}`;
    }

    function choose(index, amounts) {
      which = index % (codes.length / latent);
      sliders.forEach((slider, k) => (slider.value = amounts[k]));
      draw();
    }

    other.addEventListener("click", () => choose(which + 1, sliders.map((s) => +s.value)));
    back.addEventListener("click", () => choose(which, sliders.map(() => 0)));
    sliders.forEach((slider) => slider.addEventListener("input", draw));
    draw();
    litgen.widgets["face-directions"] = { compute, code, choose };
    return [
      element("div", { class: "litgen-panes" }, face),
      element("div", { class: "litgen-controls" }, ...sliders.map((slider, k) => element("label", {}, names[k], slider)), other, back, text),
    ];
  };

  // A face with a hole where the reader puts it, and what a network paints there.
  makers.inpaint = function (payload) {
    const { side, size, count } = payload;
    const [down, up] = [tinynet.network(payload.down), tinynet.network(payload.up)];
    const [weights, bias] = [tinynet.halves(payload.bridge), tinynet.halves(payload.bias)];
    const faces = tinynet.bytes(payload.faces);
    const area = side * side;
    const places = Math.round(weights.length / bias.length);
    const names = ["The face with a hole", "The hole filled by the network", "The whole face"];
    const [given, filled, whole] = names.map((name) => element("canvas", { class: "digit", style: "flex: 1 1 0; min-width: 0", width: side, height: side, role: "img", "aria-label": name }));
    const [row, column] = payload.start.map((value) => element("input", { type: "range", min: 0, max: side - size, step: 1, value }));
    const other = element("button", { type: "button" }, "Another face");
    const text = element("output", { "aria-live": "off" });
    let which = 0;

    const missing = (j, top, left) => Math.floor(j / side) >= top && Math.floor(j / side) < top + size && j % side >= left && j % side < left + size;

    // A matrix for each map, from all its places to all its places.
    function bridge(maps) {
      return Float32Array.from(bias, (start, i) => {
        const first = Math.floor(i / places) * places;
        let sum = start;
        for (let j = 0; j < places; j++) sum += weights[i * places + j] * maps[first + j];
        return sum;
      });
    }

    function compute(face, top, left) {
      const x = Float32Array.from(faces.subarray(3 * area * face, 3 * area * (face + 1)), (v) => v / 127.5 - 1);
      const cut = new Float32Array(4 * area);
      for (let j = 0; j < area; j++) {
        if (missing(j, top, left)) cut[3 * area + j] = 1;
        else for (const c of [0, 1, 2]) cut[c * area + j] = x[c * area + j];
      }
      const fill = up(bridge(down(cut)));
      return { x, cut, y: x.map((v, i) => (missing(i % area, top, left) ? fill[i] : v)) };
    }

    function put(canvas, values) {
      const context = canvas.getContext("2d");
      const image = context.createImageData(side, side);
      for (let j = 0; j < area; j++) {
        for (const c of [0, 1, 2]) image.data[4 * j + c] = 127.5 * (values[c * area + j] + 1); // clamps
        image.data[4 * j + 3] = 255;
      }
      context.putImageData(image, 0, 0);
    }

    function draw() {
      const [top, left] = [+row.value, +column.value];
      const { x, cut, y } = compute(which, top, left);
      [[given, cut], [filled, y], [whole, x]].forEach(([canvas, values]) => put(canvas, values));
      let sum = 0;
      for (let i = 0; i < 3 * area; i++) sum += (x[i] - y[i]) ** 2;
      text.textContent = `row ${top}, column ${left}: ${(10 * Math.log10((4 * 3 * size * size) / sum)).toFixed(1)} dB in the hole`;
    }

    function choose(face, top, left) {
      which = face % count;
      row.value = top;
      column.value = left;
      draw();
    }

    given.addEventListener("click", (event) => {
      const box = given.getBoundingClientRect();
      const at = (place, start, length) => Math.round((side * (place - start)) / length - size / 2);
      choose(which, at(event.clientY, box.top, box.height), at(event.clientX, box.left, box.width));
    });
    other.addEventListener("click", () => choose(which + 1, +row.value, +column.value));
    [row, column].forEach((slider) => slider.addEventListener("input", draw));
    draw();
    litgen.widgets.inpaint = { choose, compute: (face, top, left) => [...compute(face, top, left).y] };
    return [
      element("div", { class: "litgen-panes" }, given, filled, whole),
      element("div", { class: "litgen-controls" }, element("label", {}, "row", row), element("label", {}, "column", column), other, text),
    ];
  };

  // An object turned, tilted and lit by a decoder: one slider for each known factor, with its own dial to a latent.
  makers.turntable = function (payload) {
    const compute = tinynet.network(payload.net);
    const { side, names, units, limits, offsets, slopes, start } = payload;
    const picture = element("canvas", { class: "digit", width: side, height: side, role: "img", "aria-label": "The decoder's picture of the head in the chosen pose, light and shape" });
    const sliders = names.map((_, i) => element("input", { type: "range", min: -1, max: 1, step: 0.02, value: start[i] }));
    const shown = names.map(() => element("span", {}));
    const front = element("button", { type: "button" }, "Front");
    const text = element("output", { "aria-live": "off" });

    const code = (shares) => shares.map((share, i) => offsets[i] + slopes[i] * share);

    function draw() {
      const z = code(sliders.map((s) => +s.value));
      const context = picture.getContext("2d");
      const image = context.createImageData(side, side);
      compute(z).forEach((v, i) => image.data.set([255 * v, 255 * v, 255 * v, 255], 4 * i)); // clamps
      context.putImageData(image, 0, 0);
      sliders.forEach((slider, i) => {
        const value = `${(slider.value * limits[i]).toFixed(units[i] ? 0 : 1)}${units[i]}`;
        shown[i].textContent = value;
        slider.setAttribute("aria-valuetext", value);
      });
      text.textContent = `z = (${z.map((v) => v.toFixed(2)).join(", ")})`;
    }

    function choose(shares) {
      sliders.forEach((slider, i) => (slider.value = shares[i]));
      draw();
    }

    front.addEventListener("click", () => choose(names.map(() => 0)));
    sliders.forEach((slider) => slider.addEventListener("input", draw));
    draw();
    litgen.widgets.turntable = { compute: (z) => [...compute(z)], code, choose };
    return [
      element("div", { class: "litgen-panes" }, picture),
      element("div", { class: "litgen-controls" }, ...sliders.map((slider, i) => element("label", {}, names[i], slider, shown[i])), front, text),
    ];
  };

  // An object of voxels, turned by dragging, by arrow keys or on its own; a slider chooses among several.
  makers.voxels = function (payload) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const { side, texts } = payload;
    const cells = tinynet.bytes(payload.objects);
    const size = 640;
    const canvas = element("canvas", { class: "plane", width: size, height: size, tabindex: 0, role: "img", style: "touch-action: none; cursor: grab", "aria-label": "A generated object; arrow keys turn it" });
    const slider = element("input", { type: "range", min: 0, max: texts.length - 1, step: 1, value: 0 });
    const button = element("button", { type: "button" }, "Play");
    const front = element("button", { type: "button" }, "Front");
    const text = element("output", { "aria-live": "polite" });
    const FACES = [ // where a face looks, and its corners, for a cube from 0 to 1; axes are wide, up, deep
      [[1, 0, 0], [[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 1]]],
      [[-1, 0, 0], [[0, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]]],
      [[0, 1, 0], [[0, 1, 0], [1, 1, 0], [1, 1, 1], [0, 1, 1]]],
      [[0, -1, 0], [[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]]],
      [[0, 0, 1], [[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]],
      [[0, 0, -1], [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]],
    ];
    let turn = -0.5, tilt = 0.45, timer = 0, dragged = null;

    const filled = (which, x, y, z) => Math.min(x, y, z) >= 0 && Math.max(x, y, z) < side && cells[((which * side + y) * side + z) * side + x] > 0;

    // Faces between a filled voxel and an empty one, seen from here, those further away first.
    function faces(which) {
      const [s, c, u, v] = [Math.sin(turn), Math.cos(turn), Math.sin(tilt), Math.cos(tilt)];
      // the viewer stands where deep is negative and looks down: right, up, and away from the viewer
      const seen = ([x, y, z]) => {
        const [right, back] = [c * x + s * z, c * z - s * x];
        return [right, v * y + u * back, v * back - u * y];
      };
      const found = [];
      for (let y = 0; y < side; y++)
        for (let z = 0; z < side; z++)
          for (let x = 0; x < side; x++) {
            if (!filled(which, x, y, z)) continue;
            for (const [way, corners] of FACES) {
              const away = seen(way);
              if (away[2] >= 0 || filled(which, x + way[0], y + way[1], z + way[2])) continue;
              const places = corners.map((p) => seen([x + p[0] - side / 2, y + p[1] - side / 2, z + p[2] - side / 2]));
              found.push({ places, depth: places.reduce((sum, p) => sum + p[2], 0), light: 0.45 + 0.4 * Math.max(0, away[1]) + 0.15 * -away[2] });
            }
          }
      return found.sort((a, b) => b.depth - a.depth);
    }

    function draw() {
      const which = +slider.value;
      const g = canvas.getContext("2d");
      const scale = size / (1.75 * side);
      g.clearRect(0, 0, size, size);
      g.lineWidth = 1;
      for (const { places, light } of faces(which)) {
        g.fillStyle = g.strokeStyle = `rgb(${[0, 114, 178].map((v) => Math.round(light < 0.6 ? (v * light) / 0.6 : v + ((255 - v) * (light - 0.6)) / 0.6))})`;
        g.beginPath();
        places.forEach(([right, up], i) => (i ? g.lineTo : g.moveTo).call(g, size / 2 + scale * right, size / 2 - scale * up));
        g.closePath();
        g.fill();
        g.stroke();
      }
      text.textContent = `${which + 1} of ${texts.length}: ${texts[which]}`;
      slider.setAttribute("aria-valuetext", text.textContent);
    }

    function rotate(right, up) {
      turn += right;
      tilt = Math.max(-1.5, Math.min(1.5, tilt + up));
      draw();
    }

    function pause() {
      clearInterval(timer);
      timer = 0;
      button.textContent = "Play";
    }

    button.addEventListener("click", () => {
      if (timer) return pause();
      button.textContent = "Pause";
      timer = setInterval(() => rotate(0.03, 0), 50);
    });
    front.addEventListener("click", () => {
      pause();
      [turn, tilt] = [-0.5, 0.45];
      draw();
    });
    canvas.addEventListener("pointerdown", (event) => {
      pause();
      dragged = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!dragged) return;
      rotate(-0.01 * (event.clientX - dragged[0]), 0.01 * (event.clientY - dragged[1]));
      dragged = [event.clientX, event.clientY];
    });
    ["pointerup", "pointercancel"].forEach((name) => canvas.addEventListener(name, () => (dragged = null)));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
      if (!step) return;
      event.preventDefault();
      pause();
      rotate(...step);
    });
    slider.addEventListener("input", draw);
    onThemeChange(draw);
    draw();
    if (!calm) new IntersectionObserver((entries) => !entries[0].isIntersecting && pause()).observe(canvas);
    litgen.widgets.voxels = { faces: (which) => faces(which).length, angles: () => [turn, tilt], rotate };
    return [
      element("div", { class: "litgen-panes" }, canvas),
      element("div", { class: "litgen-controls" }, element("label", {}, "object", slider), button, front, text),
    ];
  };

  // A piece of clothing under noise of a chosen level, and what a denoiser makes of it.
  makers.denoiser = function (payload) {
    const compute = tinynet.network(payload.net);
    const { side, names, level } = payload;
    const size = side * side;
    const grey = tinynet.bytes(payload.pieces);
    const wide = 3 * side + 2;
    const panes = element("canvas", { class: "digit", style: `aspect-ratio: ${wide} / ${side}; max-width: 44rem`, width: wide, height: side, role: "img", "aria-label": "The clean image, the same with noise, the network's answer" });
    const piece = element("select", {}, ...names.map((name, i) => element("option", { value: i }, name)));
    const slider = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: level });
    const other = element("button", { type: "button" }, "Other noise");
    const text = element("output", { "aria-live": "off" });
    let noise;

    function draw() {
      const x = Array.from(grey.slice(piece.value * size, (+piece.value + 1) * size), (v) => v / 255);
      const y = x.map((v, i) => v + slider.value * noise[i]);
      const answer = compute(y);
      [x, y, answer].forEach((values, k) => {
        const context = panes.getContext("2d");
        const image = context.createImageData(side, side);
        values.forEach((v, i) => image.data.set([255 * v, 255 * v, 255 * v, 255], 4 * i)); // clamps
        context.putImageData(image, k * (side + 1), 0);
      });
      const psnr = (values) => -10 * Math.log10(values.reduce((sum, v, i) => sum + (v - x[i]) ** 2, 0) / size);
      const before = +slider.value ? `${psnr(y).toFixed(1)} dB` : "no noise";
      text.textContent = `noise ${(+slider.value).toFixed(2)}: ${before} before, ${psnr(answer).toFixed(1)} dB after`;
      slider.setAttribute("aria-valuetext", (+slider.value).toFixed(2));
    }

    function renew() {
      const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
      noise = Array.from({ length: size }, normal);
      draw();
    }

    function choose(index, amount) {
      piece.value = index;
      slider.value = amount;
      draw();
    }

    [piece, slider].forEach((control) => control.addEventListener("input", draw));
    other.addEventListener("click", renew);
    renew();
    litgen.widgets.denoiser = { compute: (y) => [...compute(y)], choose, text: () => text.textContent };
    return [
      element("div", { class: "litgen-panes" }, panes),
      element("div", { class: "litgen-controls" }, element("label", {}, "piece", piece), element("label", {}, "noise", slider), other, text),
    ];
  };

  // Samples of three clusters that can be moved, widened, thinned out or copied; all metrics live.
  makers["judged-plane"] = function (payload) {
    const { centres, sd, extent, k, order } = payload;
    const data = pairs(tinynet.halves(payload.data));
    const noise = pairs(tinynet.halves(payload.noise));
    const count = data.length;
    const size = 640;
    const canvas = element("canvas", { width: size, height: size, role: "img", "aria-label": "Data in three clusters, and samples" });
    const range = (min, max, step, value) => element("input", { type: "range", min, max, step, value });
    const sliders = { moved: range(-3, 3, 0.1, 0), width: range(0, 3, 0.05, 1), clusters: range(1, 3, 1, 3), copied: range(0, 1, 0.05, 0) };
    const text = element("output", { "aria-live": "off" });

    function pairs(flat) {
      return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
    }

    // Cluster i % clusters, noise times the width, a shift to the right; then a share becomes copies.
    function samples({ moved, width, clusters, copied }) {
      const all = noise.map((e, i) => centres[i % clusters].map((c, axis) => c + width * sd * e[axis] + (axis ? 0 : moved)));
      order.slice(0, Math.round(copied * count)).forEach((i) => (all[i] = data[i]));
      return all;
    }

    const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

    // In the plane tr (A B)^(1/2) = (tr A B + 2 (det A det B)^(1/2))^(1/2).
    function frechet(x, y) {
      const moments = [x, y].map((set) => {
        const m = [0, 1].map((axis) => mean(set.map((p) => p[axis])));
        const cov = (a, b) => set.reduce((s, p) => s + (p[a] - m[a]) * (p[b] - m[b]), 0) / (set.length - 1);
        return { m, a: cov(0, 0), b: cov(0, 1), c: cov(1, 1) };
      });
      const [p, q] = moments;
      const trace = p.a * q.a + 2 * p.b * q.b + p.c * q.c;
      const dets = Math.max(0, p.a * p.c - p.b * p.b) * Math.max(0, q.a * q.c - q.b * q.b);
      const gap = (p.m[0] - q.m[0]) ** 2 + (p.m[1] - q.m[1]) ** 2;
      return Math.max(0, gap + p.a + p.c + q.a + q.c - 2 * Math.sqrt(Math.max(0, trace + 2 * Math.sqrt(dets))));
    }

    function kernelDistance(x, y) {
      const kernel = (p, q) => ((p[0] * q[0] + p[1] * q[1]) / 2 + 1) ** 3;
      const sum = (s, t, skip) => s.reduce((total, p, i) => total + t.reduce((part, q, j) => (skip && i === j ? part : part + kernel(p, q)), 0), 0);
      const within = (s) => sum(s, s, true) / (s.length * (s.length - 1));
      return within(x) + within(y) - (2 * sum(x, y, false)) / (x.length * y.length);
    }

    const distance = (p, q) => Math.hypot(p[0] - q[0], p[1] - q[1]);

    function manifolds(x, y) {
      const radii = (set) => set.map((p) => Float64Array.from(set, (q) => distance(p, q)).sort()[k]);
      const [rx, ry] = [radii(x), radii(y)];
      const balls = new Float64Array(y.length);
      let [covered, reached] = [0, 0];
      x.forEach((p, i) => {
        let [own, other] = [false, false];
        y.forEach((q, j) => {
          const d = distance(p, q);
          if (d <= rx[i]) balls[j] += (own = true);
          if (d <= ry[j]) other = true;
        });
        covered += own;
        reached += other;
      });
      return { precision: balls.filter((b) => b > 0).length / y.length, recall: reached / x.length, density: mean([...balls]) / k, coverage: covered / x.length };
    }

    const compute = (setting) => {
      const drawn = samples(setting);
      return { frechet: frechet(data, drawn), kernel: kernelDistance(data, drawn), ...manifolds(data, drawn) };
    };
    const now = () => Object.fromEntries(Object.entries(sliders).map(([name, slider]) => [name, +slider.value]));

    function draw() {
      const g = canvas.getContext("2d");
      const at = ([a, b]) => [((a / extent + 1) * size) / 2, ((1 - b / extent) * size) / 2];
      g.clearRect(0, 0, size, size);
      g.strokeStyle = ink();
      g.lineWidth = 2;
      g.strokeRect(1, 1, size - 2, size - 2);
      g.lineWidth = 3;
      g.strokeStyle = COLOURS[0];
      data.forEach((p) => {
        g.beginPath();
        g.arc(...at(p), 7, 0, 7);
        g.stroke();
      });
      g.fillStyle = COLOURS[1];
      samples(now()).forEach((p) => {
        g.beginPath();
        g.arc(...at(p), 5, 0, 7);
        g.fill();
      });
      const found = compute(now());
      const near = (v, digits) => v.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
      text.textContent =
        `Fréchet ${near(found.frechet, 2)}, kernel ${near(found.kernel, 2)}; precision ${found.precision.toFixed(2)}, recall ${found.recall.toFixed(2)}, ` +
        `density ${found.density.toFixed(2)}, coverage ${found.coverage.toFixed(2)}. Rings are data, dots samples.`;
    }

    function choose(setting) {
      for (const [name, value] of Object.entries(setting)) sliders[name].value = value;
      draw();
    }

    Object.values(sliders).forEach((slider) => slider.addEventListener("input", draw));
    onThemeChange(draw);
    draw();
    litgen.widgets["judged-plane"] = { compute, choose, samples };
    return [
      element("div", { class: "litgen-panes" }, canvas),
      element("div", { class: "litgen-controls" }, element("label", {}, "moved", sliders.moved), element("label", {}, "width", sliders.width), element("label", {}, "clusters", sliders.clusters), element("label", {}, "copies", sliders.copied), text),
    ];
  };

  // Maps of classes over pictures: which map, which picture, and how much of the map is seen.
  makers["class-map"] = function (payload) {
    const [images, maps] = [payload.images, payload.maps].map(tinynet.bytes);
    const { side, names, colours, options, scenes } = payload;
    const pixels = side * side;
    const canvas = (label) => element("canvas", { class: "plane smooth", width: side, height: side, role: "img", "aria-label": label });
    const [over, wrong] = ["The chosen map over the chosen picture", "Pixels that the map has wrong, on the true classes"].map(canvas);
    const scene = element("input", { type: "range", min: 1, max: scenes, step: 1, value: 1 });
    const share = element("input", { type: "range", min: 0, max: 100, step: 1, value: 50 });
    const which = element("select", {}, ...options.map((name, i) => element("option", { value: i }, name)));
    const text = element("output", { "aria-live": "off" });
    which.value = options.length - 1;

    const classesOf = (option) => maps.subarray((option * scenes + Number(scene.value) - 1) * pixels).subarray(0, pixels);

    function put(target, colourAt) {
      const image = target.getContext("2d").createImageData(side, side);
      for (let i = 0; i < pixels; i++) image.data.set([...colourAt(i), 255], 4 * i); // rounds
      target.getContext("2d").putImageData(image, 0, 0);
    }

    function draw() {
      const [map, truth] = [classesOf(+which.value), classesOf(0)];
      const start = 3 * pixels * (scene.value - 1);
      const mix = share.value / 100;
      put(over, (i) => colours[map[i]].map((c, k) => mix * c + (1 - mix) * images[start + 3 * i + k]));
      put(wrong, (i) => (map[i] === truth[i] ? colours[truth[i]].map((c) => 0.25 * c + 160) : [20, 20, 20]));
      const right = map.reduce((sum, c, i) => sum + (c === truth[i]), 0);
      const shown = names.filter((_, c) => map.includes(c));
      text.textContent = `${options[which.value]}: ${((100 * right) / pixels).toFixed(1)} % of the pixels right; it shows ${shown.join(", ")}`;
      scene.setAttribute("aria-valuetext", `scene ${scene.value}`);
      share.setAttribute("aria-valuetext", `${share.value} % of the map`);
      return right / pixels;
    }

    function choose(option, picture, percent) {
      [which.value, scene.value, share.value] = [option, picture + 1, percent];
      return draw();
    }

    [which, scene, share].forEach((control) => control.addEventListener("input", draw));
    draw();
    litgen.widgets["class-map"] = { choose };
    return [
      element("div", { class: "litgen-panes" }, over, wrong),
      element("div", { class: "litgen-controls" }, element("label", {}, "map", which), element("label", {}, "scene", scene), element("label", {}, "scene to map", share), text),
    ];
  };

  // A generator whose blocks hear a part of the code and the class; codes cut at a threshold.
  makers.truncation = function (payload) {
    const { chunk, embedding, latent, side, names, count, sweep } = payload;
    const first = tinynet.network(payload.first);
    const last = tinynet.network(payload.last);
    const blocks = payload.blocks.map(({ stages, shortcut }) => ({
      shortcut: tinynet.network(shortcut),
      stages: stages.map(({ read, layer, mean, variance, eps }) => ({
        read: tinynet.network(read),
        layer: tinynet.network(layer),
        mean: tinynet.halves(mean),
        sd: tinynet.halves(variance).map((v) => Math.sqrt(v + eps)),
      })),
    }));
    const vectors = tinynet.halves(payload.vectors);
    let uniform = tinynet.halves(payload.uniform);
    const canvas = element("canvas", { class: "digit", style: "aspect-ratio: 1.5", width: 6 * side, height: (count / 6) * side, role: "img", "aria-label": "Samples of the chosen class, their codes cut at the threshold" });
    const cut = element("input", { type: "range", min: 0.05, max: 3, step: 0.05, value: payload.threshold });
    const which = element("select", {}, ...names.map((name, i) => element("option", { value: i }, name)));
    const other = element("button", { type: "button" }, "Other codes");
    const text = element("output", { "aria-live": "off" });
    which.value = payload.label;

    // The normal distribution function on a grid, by Simpson's rule; both directions interpolate.
    const step = 0.002;
    const density = (x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
    const mass = [0];
    for (let i = 0; i < 2500; i++) mass.push(mass[i] + (step / 6) * (density(i * step) + 4 * density((i + 0.5) * step) + density((i + 1) * step)));

    // The number between -t and t below which a share u of all truncated numbers lies.
    function quantile(u, t) {
      const at = Math.min(t / step, mass.length - 1.001);
      const low = Math.floor(at);
      const whole = mass[low] + (at - low) * (mass[low + 1] - mass[low]);
      const wanted = Math.abs(2 * u - 1) * whole;
      let [a, b] = [0, mass.length - 1];
      while (b - a > 1) {
        const middle = (a + b) >> 1;
        if (mass[middle] <= wanted) a = middle;
        else b = middle;
      }
      return Math.sign(u - 0.5) * step * (a + (wanted - mass[a]) / (mass[a + 1] - mass[a]));
    }

    function compute(z, label) {
      let x = first(z.slice(0, chunk));
      blocks.forEach(({ stages, shortcut }, k) => {
        const condition = [...z.slice((k + 1) * chunk, (k + 2) * chunk), ...vectors.subarray(label * embedding, (label + 1) * embedding)];
        let h = x;
        stages.forEach(({ read, layer, mean, sd }) => {
          const said = read(condition); // gains, one included, then biases
          const channels = mean.length;
          const pixels = h.length / channels;
          h = layer(h.map((v, i) => {
            const c = Math.floor(i / pixels);
            return Math.max(0, ((v - mean[c]) / sd[c]) * said[c] + said[channels + c]);
          }));
        });
        const short = shortcut(x);
        x = h.map((v, i) => v + short[i]);
      });
      return last(x);
    }

    const code = (i, t) => Array.from({ length: latent }, (_, k) => quantile(uniform[i * latent + k], t));

    function draw() {
      const t = +cut.value;
      const context = canvas.getContext("2d");
      for (let i = 0; i < count; i++) {
        const image = context.createImageData(side, side);
        compute(code(i, t), +which.value).forEach((v, j) => image.data.set([127.5 * (v + 1), 127.5 * (v + 1), 127.5 * (v + 1), 255], 4 * j)); // clamps
        context.putImageData(image, (i % 6) * side, Math.floor(i / 6) * side);
      }
      const near = sweep.reduce((best, row) => (Math.abs(row.t - t) < Math.abs(best.t - t) ? row : best));
      text.textContent = `t = ${t.toFixed(2)}, ${names[which.value]}. All classes, measured at t = ${near.t}: agreement ${(100 * near.agreement).toFixed(0)} %, variety ${near.variety.toFixed(2)}, distance ${near.distance.toFixed(0)}`;
      cut.setAttribute("aria-valuetext", `threshold ${t.toFixed(2)}`);
    }

    function choose(t, label) {
      [cut.value, which.value] = [t, label];
      draw();
    }

    [cut, which].forEach((control) => control.addEventListener("input", draw));
    other.addEventListener("click", () => {
      uniform = uniform.map(() => Math.random());
      draw();
    });
    draw();
    litgen.widgets.truncation = { compute: (z, label) => [...compute(z, label)], quantile, choose };
    return [
      element("div", { class: "litgen-panes" }, canvas),
      element("div", { class: "litgen-controls" }, element("label", {}, "threshold t", cut), element("label", {}, "class", which), other, text),
    ];
  };

  // Max pooling of 4x4 numbers that the reader edits: maxima, their slots, and what unpooling makes of them.
  makers.unpooling = function (payload) {
    const side = 4;
    const half = side / 2;
    const examples = {
      "From the text": payload.start,
      "A line": Array.from({ length: 16 }, (_, i) => (i % side === 2 ? 9 : 0)),
      "The line, moved": Array.from({ length: 16 }, (_, i) => (i % side === 3 ? 9 : 0)),
      "Below zero": [-3, -1, 2, -4, -2, -5, -1, 0, 4, 1, -6, -2, -3, 0, -9, -7],
    };
    const cells = payload.start.map((value, i) => element("input", { type: "number", min: -9, max: 9, step: 1, value, "aria-label": `row ${1 + Math.floor(i / side)}, column ${1 + (i % side)}`, style: "width: 100%; min-width: 0; aspect-ratio: 1; text-align: center; padding: 0; appearance: textfield; font: inherit; color: inherit; background: transparent; border: 1px solid currentColor" }));
    const how = element("select", {}, ...["the maxima's places", "the upper left corners"].map((name, i) => element("option", { value: i }, name)));
    const buttons = Object.keys(examples).map((name) => element("button", { type: "button" }, name));
    const text = element("output", { "aria-live": "off" });
    const grid = (columns, ...content) => element("div", { style: `display: grid; grid-template-columns: repeat(${columns}, 2.3rem); gap: 3px` }, ...content);
    const shown = { maxima: grid(half), slots: grid(half), unpooled: grid(side), again: grid(half) };
    const pane = (title, content) => element("div", { role: "group", "aria-label": title }, element("div", {}, title), content);

    // The place of window c's maximum; of equal values the first in reading order.
    function compute(values, corners) {
      const places = Array.from({ length: half * half }, (_, c) => {
        const first = 2 * side * Math.floor(c / half) + 2 * (c % half);
        return [0, 1, side, side + 1].map((step) => first + step).reduce((best, p) => (values[p] > values[best] ? p : best));
      });
      const maxima = places.map((p) => values[p]);
      const slots = places.map((p) => 2 * (Math.floor(p / side) % 2) + ((p % side) % 2));
      const unpooled = values.map(() => 0);
      places.forEach((p, c) => (unpooled[corners ? 2 * side * Math.floor(c / half) + 2 * (c % half) : p] = maxima[c]));
      return { maxima, slots, unpooled, places };
    }

    function fill(target, values, marked) {
      target.replaceChildren(...values.map((v, i) => element("span", { style: `display: flex; aspect-ratio: 1; align-items: center; justify-content: center; border: ${marked(i) ? "3px solid " + COLOURS[1] : "1px solid currentColor"}; font-weight: ${marked(i) ? "bold" : "normal"}` }, String(v))));
    }

    function draw() {
      const values = cells.map((cell) => Math.max(-9, Math.min(9, Math.round(+cell.value) || 0)));
      const { maxima, slots, unpooled, places } = compute(values, +how.value);
      const again = compute(unpooled, 0).maxima;
      cells.forEach((cell, i) => {
        cell.style.outline = places.includes(i) ? `3px solid ${COLOURS[1]}` : "none";
        cell.style.fontWeight = places.includes(i) ? "bold" : "normal";
      });
      fill(shown.maxima, maxima, () => false);
      fill(shown.slots, slots, () => false);
      fill(shown.unpooled, unpooled, (i) => unpooled[i] !== 0);
      fill(shown.again, again, (c) => again[c] !== maxima[c]);
      const home = maxima.filter((v, c) => unpooled[places[c]] === v).length;
      const back = again.filter((v, c) => v === maxima[c]).length;
      text.textContent = `${home} of 4 maxima stand where they were; ${back} of 4 come back when the result is pooled again`;
    }

    function choose(values, corners = 0) {
      values.forEach((v, i) => (cells[i].value = v));
      how.value = corners;
      draw();
    }

    buttons.forEach((button) => button.addEventListener("click", () => choose(examples[button.textContent], how.value)));
    [how, ...cells].forEach((control) => control.addEventListener("input", draw));
    draw();
    litgen.widgets.unpooling = { compute, choose };
    return [
      element("div", { class: "litgen-panes" }, pane("x, to be edited", grid(side, ...cells)), pane("maxima", shown.maxima), pane("slots", shown.slots), pane("unpooled", shown.unpooled), pane("pooled again", shown.again)),
      element("div", { class: "litgen-controls" }, element("label", {}, "values go to", how), ...buttons, text),
    ];
  };

  // A sherd of a vessel, and which profiles of a bank fit it: weighed by the hand's law, drawn by weight.
  makers["sherd"] = function (payload) {
    const { heights, names, classes, scale } = payload;
    const [bank, labels, vessels] = ["bank", "labels", "vessels"].map((name) => tinynet.bytes(payload[name]));
    const row = heights + 1; // radii, then the height
    const count = labels.length;
    const shown = 10;
    const width = 620;
    const canvas = element("canvas", { style: `aspect-ratio: ${width} / 640`, width, height: 640, role: "img", "aria-label": "A sherd and profiles that fit it, with the interval that holds 90 % of their weight" });
    const which = element("select", { "aria-label": "vessel" }, ...names.map((name, i) => element("option", { value: i }, name)));
    const ends = [0, 9].map((value) => element("input", { type: "range", min: 0, max: heights - 1, value }));
    const truth = element("input", { type: "checkbox" });
    const text = element("output", { "aria-live": "polite" });

    // The weight of every profile of the bank, given the radii from first to last of a vessel and its height.
    function compute(vessel, first, last) {
      const at = vessel * row;
      const places = [...Array(last - first + 1).keys()].map((i) => first + i).concat(heights);
      const logs = Array.from({ length: count }, (_, k) => -0.5 * places.reduce((sum, i) => sum + ((bank[k * row + i] - vessels[at + i]) / scale) ** 2, 0));
      const most = Math.max(...logs);
      const weights = logs.map((v) => Math.exp(v - most));
      const total = weights.reduce((a, b) => a + b, 0);
      return weights.map((w) => w / total);
    }

    function quantiles(weights, i, order) {
      order.sort((a, b) => bank[a * row + i] - bank[b * row + i]);
      let sum = 0;
      let low = null;
      for (const k of order) {
        sum += weights[k];
        if (low === null && sum >= 0.05) low = bank[k * row + i];
        if (sum >= 0.95) return [low, bank[k * row + i]];
      }
      return [low, bank[order[order.length - 1] * row + i]];
    }

    function draw() {
      const vessel = +which.value;
      const [first, last] = ends.map((end) => +end.value).sort((a, b) => a - b);
      const weights = compute(vessel, first, last);
      const effective = 1 / weights.reduce((sum, w) => sum + w * w, 0);
      const heavy = [...weights.keys()].filter((k) => weights[k] > 1e-7);
      const tall = vessels[vessel * row + heights] / 255;
      const g = canvas.getContext("2d");
      const x = (radius, side) => width / 2 + side * (radius / 255) * (width / 2 - 10);
      const y = (i) => 630 - (i / (heights - 1)) * tall * 620;
      // Both sides, joined by the base where a line begins there.
      const line = (values, from, to) => {
        g.beginPath();
        for (let i = to; i >= from; i--) g.lineTo(x(values(i), -1), y(i));
        if (from) g.moveTo(x(values(from), 1), y(from));
        for (let i = from; i <= to; i++) g.lineTo(x(values(i), 1), y(i));
        g.stroke();
      };
      g.clearRect(0, 0, width, 640);
      const limits = [...Array(heights).keys()].map((i) => quantiles(weights, i, heavy));
      g.fillStyle = COLOURS[5];
      g.globalAlpha = 0.25;
      for (const side of [1, -1]) {
        g.beginPath();
        limits.forEach(([low], i) => g.lineTo(x(low, side), y(i)));
        for (let i = heights - 1; i >= 0; i--) g.lineTo(x(limits[i][1], side), y(i));
        g.fill();
      }
      g.globalAlpha = 0.8;
      g.lineWidth = 2;
      // evenly spaced through the weights: the same picture for the same sherd
      let sum = 0;
      let next = 0.5 / shown;
      for (let k = 0; k < count && next < 1; k++) {
        sum += weights[k];
        for (; sum > next; next += 1 / shown) {
          g.strokeStyle = COLOURS[labels[k]];
          line((i) => bank[k * row + i], 0, heights - 1);
        }
      }
      g.globalAlpha = 1;
      const own = (i) => vessels[vessel * row + i];
      if (truth.checked) {
        g.strokeStyle = ink();
        g.setLineDash([8, 6]);
        g.lineWidth = 3;
        line(own, 0, heights - 1);
        g.setLineDash([]);
      }
      g.strokeStyle = COLOURS[8];
      g.lineWidth = 9;
      line(own, first, last);
      const shares = classes.map((_, c) => weights.reduce((total, w, k) => total + (labels[k] === c ? w : 0), 0));
      const said = classes.map((name, c) => [shares[c], name]).filter(([share]) => share >= 0.005).sort((a, b) => b[0] - a[0]).map(([share, name]) => `${name} ${(100 * share).toFixed(0)} %`).join(", ");
      text.textContent = `heights ${first + 1} to ${last + 1} of ${heights}: ${said}; ${effective.toFixed(effective < 10 ? 1 : 0)} effective profiles`;
      return { weights, limits, effective, shares };
    }

    function choose(vessel, first, last) {
      which.value = vessel;
      [first, last].forEach((value, i) => (ends[i].value = value));
      return draw();
    }

    [which, ...ends, truth].forEach((control) => control.addEventListener("input", draw));
    onThemeChange(draw);
    draw();
    litgen.widgets.sherd = { compute, choose };
    return [
      element("div", { class: "litgen-panes" }, canvas),
      element("div", { class: "litgen-controls" }, element("label", {}, "vessel", which), element("label", {}, "from", ends[0]), element("label", {}, "to", ends[1]), element("label", {}, truth, "show the truth"), text),
    ];
  };

  // A photograph painted in two styles at once: gains and biases are blended, then one pass is made.
  makers["style-blend"] = function (payload) {
    const weights = tinynet.halves(payload.weights);
    const styles = tinynet.halves(payload.styles);
    const pixels = tinynet.bytes(payload.images);
    const { side, names, photographs, steps } = payload;
    const numbers = styles.length / names.length;
    const canvas = (label) => element("canvas", { class: "plane smooth", width: side, height: side, role: "img", "aria-label": label });
    const [before, after] = ["The photograph", "The photograph in the blend of styles"].map(canvas);
    const options = (list, chosen) => list.map((name, i) => element("option", i === chosen ? { value: i, selected: "" } : { value: i }, name));
    const photo = element("select", {}, ...options(photographs, 0));
    const [left, right] = [0, 1].map((i) => element("select", {}, ...options(names, i)));
    const slider = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0.5 });
    const text = element("output", { "aria-live": "off" });

    // What lies outside is mirrored at the border's pixels, which are not repeated.
    const mirrored = (i, n) => (i < 0 ? -i : i >= n ? 2 * n - 2 - i : i);

    function convolved(x, n, step) {
      const { inputs, outputs, kernel, stride, offset } = step;
      const pad = (kernel - 1) / 2;
      const wide = n + 2 * pad;
      const padded = new Float32Array(inputs * wide * wide);
      for (let c = 0, at = 0; c < inputs; c++) {
        for (let row = -pad; row < n + pad; row++) {
          const from = (c * n + mirrored(row, n)) * n;
          for (let column = -pad; column < n + pad; column++) padded[at++] = x[from + mirrored(column, n)];
        }
      }
      const size = Math.floor((n - 1) / stride) + 1;
      const y = new Float32Array(outputs * size * size);
      const bias = offset + outputs * inputs * kernel * kernel;
      let next = offset;
      for (let o = 0; o < outputs; o++) {
        y.fill(weights[bias + o], o * size * size, (o + 1) * size * size);
        for (let i = 0; i < inputs; i++) {
          for (let a = 0; a < kernel; a++) {
            for (let b = 0; b < kernel; b++) {
              const weight = weights[next++];
              for (let r = 0; r < size; r++) {
                const from = (i * wide + r * stride + a) * wide + b;
                const to = (o * size + r) * size;
                for (let c = 0; c < size; c++) y[to + c] += weight * padded[from + c * stride];
              }
            }
          }
        }
      }
      return [y, size];
    }

    function normed(x, n, gains, biases) {
      const area = n * n;
      const y = new Float32Array(x.length);
      for (let c = 0; c * area < x.length; c++) {
        const channel = x.subarray(c * area, (c + 1) * area);
        const mean = channel.reduce((sum, v) => sum + v, 0) / area;
        const variance = channel.reduce((sum, v) => sum + (v - mean) ** 2, 0) / area;
        const scale = gains[c] / Math.sqrt(variance + 1e-5);
        for (let i = 0; i < area; i++) y[c * area + i] = (channel[i] - mean) * scale + biases[c];
      }
      return y;
    }

    function larger(x, n) {
      const y = new Float32Array(4 * x.length);
      for (let i = 0; i < y.length; i++) {
        const row = Math.floor(i / (2 * n));
        y[i] = x[(row >> 1) * n + ((i % (2 * n)) >> 1)];
      }
      return y;
    }

    // Planes of red, green and blue in [0, 1], and a weight for each style, to planes in [0, 1].
    function compute(image, shares) {
      const style = Float32Array.from({ length: numbers }, (_, k) => shares.reduce((sum, w, i) => sum + w * styles[i * numbers + k], 0));
      let x = Float32Array.from(image, (v) => v - 0.5);
      let [n, at, kept] = [Math.sqrt(image.length / 3), 0, null];
      for (const step of steps) {
        if (step.type === "conv") [x, n] = convolved(x, n, step);
        else if (step.type === "norm") {
          const count = x.length / (n * n);
          x = normed(x, n, style.subarray(at, at + count), style.subarray(at + count, at + 2 * count));
          at += 2 * count;
        } else if (step.type === "relu") x = x.map((v) => Math.max(0, v));
        else if (step.type === "larger") [x, n] = [larger(x, n), 2 * n];
        else if (step.type === "keep") kept = x;
        else x = x.map((v, i) => v + kept[i]);
      }
      return x.map((v) => 1 / (1 + Math.exp(-v)));
    }

    function put(target, planes) {
      const context = target.getContext("2d", { willReadFrequently: true });
      const image = context.createImageData(side, side);
      const area = side * side;
      for (let i = 0; i < area; i++) image.data.set([0, 1, 2].map((c) => 255 * planes[c * area + i]).concat(255), 4 * i);
      context.putImageData(image, 0, 0);
    }

    const chosen = () => Array.from(pixels.subarray(photo.value * 3 * side * side, (+photo.value + 1) * 3 * side * side), (v) => v / 255);

    function draw() {
      const share = +slider.value;
      const shares = names.map((_, i) => (i === +left.value ? 1 - share : 0) + (i === +right.value ? share : 0));
      const image = chosen();
      put(before, image);
      put(after, compute(image, shares));
      const percent = Math.round(100 * share);
      text.textContent = `${photographs[photo.value]}: ${100 - percent} % ${names[left.value]}, ${percent} % ${names[right.value]}`;
      slider.setAttribute("aria-valuetext", `${percent} % ${names[right.value]}`);
    }

    // A pass takes a tenth of a second or so: one for each frame, however fast the slider moves.
    let waits = false;
    function soon() {
      if (waits) return;
      waits = true;
      root.requestAnimationFrame(() => {
        waits = false;
        draw();
      });
    }

    function choose(which, first, second, share) {
      [photo.value, left.value, right.value, slider.value] = [which, first, second, share];
      draw();
      return Array.from(after.getContext("2d").getImageData(0, 0, side, side).data);
    }

    [photo, left, right, slider].forEach((control) => control.addEventListener("input", soon));
    draw();
    litgen.widgets["style-blend"] = { compute: (image, shares) => [...compute(image, shares)], choose, chosen, text: () => text.textContent };
    return [
      element("div", { class: "litgen-panes" }, before, after),
      element("div", { class: "litgen-controls" }, element("label", {}, "photograph", photo), element("label", {}, "from", left), element("label", {}, "to", right), element("label", {}, "blend", slider), text),
    ];
  };

  // A chorale as a piano roll: to be heard, saved, and rewritten bar by bar by the dependency network.
  makers.chorale = function (payload) {
    const { model, pieces, lows, tempo } = payload;
    const names = ["soprano", "alto", "tenor", "bass"];
    const HOLD = 0;
    const REST = 1;
    const sixteenth = 15 / tempo; // seconds
    const sweeps = 10;
    const voices = model.voices.map(({ table, net }) => ({ table: tinynet.halves(table), net: tinynet.network(net) }));
    const colours = [COLOURS[1], COLOURS[4], COLOURS[2], COLOURS[0]];
    const [bottom, top] = [34, 83];
    const [width, height] = [1200, 600];
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

    const canvas = element("canvas", { class: "wide", width, height, tabindex: 0, role: "img" });
    const which = element("select", {}, ...pieces.map(({ name }, i) => element("option", { value: i }, name)));
    const bar = element("input", { type: "range", min: 1, step: 1, value: 1 });
    const heat = element("input", { type: "range", min: 0.2, max: 1.6, step: 0.1, value: payload.temperature });
    const free = names.map((name, v) => element("input", { type: "checkbox", ...(v ? { checked: "" } : {}) }));
    const button = (text) => element("button", { type: "button" }, text);
    const [play, again, back, save] = ["Play from this bar", "Regenerate this bar", "As it was", "Save as MIDI"].map(button);
    const text = element("output", { "aria-live": "polite" });
    const heard = element("span", { role: "status" });

    let piece, tokens, playing, moved;

    // -- notes ---------------------------------------------------------------------------------

    function notes(voice) {
      const row = tokens[voice];
      const found = [];
      let open = null;
      row.forEach((token, step) => {
        if (token === HOLD) return;
        if (open) open.duration = step - open.start;
        open = token === REST ? null : { pitch: token - 2 + lows[voice], start: step, duration: row.length - step };
        if (open) found.push(open);
      });
      return found;
    }

    const span = (k) => [piece.bar.indexOf(k), piece.bar.lastIndexOf(k) + 1];

    // A MIDI file of format 1, a track a voice: byte for byte that of litgen.music.midi.
    function midi() {
      const big = (value, count) => Array.from({ length: count }, (_, i) => (value >> (8 * (count - 1 - i))) & 255);
      const letters = (word) => [...word].map((c) => c.charCodeAt(0));
      const number = (value) => {
        const groups = [value & 127];
        while ((value >>= 7)) groups.unshift((value & 127) | 128);
        return groups;
      };
      const chunk = (name, body) => [...letters(name), ...big(body.length, 4), ...body];
      const ticks = 120; // a 16th
      const tracks = names.map((name, v) => {
        const head = v ? [] : [0, 255, 0x51, 3, ...big(Math.round(6e7 / tempo), 3), 0, 255, 0x59, 2, piece.sharps & 255, 0];
        const body = [...head, 0, 255, 3, name.length, ...letters(name), 0, 0xc0 + v, 52];
        let now = 0;
        notes(v).forEach(({ pitch, start, duration }) => {
          body.push(...number(ticks * (start - now)), 0x90 + v, pitch, 80, ...number(ticks * duration), 0x80 + v, pitch, 0);
          now = start + duration;
        });
        return chunk("MTrk", [...body, ...number(ticks * (tokens[v].length - now)), 255, 0x2f, 0]);
      });
      return Uint8Array.from([...chunk("MThd", [...big(1, 2), ...big(names.length, 2), ...big(480, 2)]), ...tracks.flat()]);
    }

    // -- the network ---------------------------------------------------------------------------

    // The law of a voice's token at a step, given all others: see litgen.music.hearing and network.
    function probabilities(voice, step, temperature = 1) {
      const { dims, bases, offsets, metres } = model;
      const { table, net } = voices[voice];
      const steps = tokens[0].length;
      const input = [];
      offsets.forEach((d) => {
        const s = step + d;
        tokens.forEach((row, v) => {
          let symbol = 1; // outside
          if (s >= 0 && s < steps) {
            let since = s;
            while (since >= 0 && row[since] === HOLD) since--;
            symbol = 2 * (since < 0 ? 0 : row[since]) + (row[s] !== HOLD);
            if (v === voice && d >= 0 && since <= step) symbol = 0; // it would tell the answer
          }
          const at = (bases[v] + symbol) * dims;
          for (let e = 0; e < dims; e++) input.push(table[at + e]);
        });
      });
      offsets.forEach((d) => input.push(piece.fermata[step + d] ? 1 : 0));
      for (let m = 0; m < metres; m++) input.push(piece.metre[step] === m ? 1 : 0);
      const logits = net(input);
      const most = Math.max(...logits);
      const weights = Array.from(logits, (v) => Math.exp((v - most) / temperature));
      const total = weights.reduce((a, b) => a + b, 0);
      return weights.map((w) => w / total);
    }

    // Pseudo-Gibbs sampling: one place of the bar after the other, at random, from its law.
    function regenerate(k, chosen, random = Math.random) {
      const [start, stop] = span(k);
      const before = tokens.map((row) => [...row]);
      const places = chosen.length * (stop - start);
      for (let i = 0; i < sweeps * places; i++) {
        const place = Math.floor(random() * places);
        const voice = chosen[place % chosen.length];
        const step = start + Math.floor(place / chosen.length);
        const law = probabilities(voice, step, +heat.value);
        let left = random();
        let token = 0;
        while (token < law.length - 1 && (left -= law[token]) >= 0) token++;
        tokens[voice][step] = token;
      }
      return tokens.reduce((sum, row, v) => sum + row.filter((token, s) => token !== before[v][s]).length, 0);
    }

    // -- the picture ---------------------------------------------------------------------------

    const y = (pitch) => ((top - pitch) / (top - bottom)) * height;
    const pixels = () => width / tokens[0].length; // of a step

    function draw() {
      const g = canvas.getContext("2d");
      const [steps, wide, tall] = [tokens[0].length, pixels(), height / (top - bottom)];
      const [start, stop] = span(+bar.value - 1);
      g.clearRect(0, 0, width, height);
      g.fillStyle = g.strokeStyle = ink();
      g.globalAlpha = 0.12;
      g.fillRect(start * wide, 0, (stop - start) * wide, height);
      g.globalAlpha = 0.4;
      g.lineWidth = 1.5;
      g.beginPath();
      for (let s = 0; s < steps; s++) {
        if (s && piece.bar[s] === piece.bar[s - 1]) continue;
        g.moveTo(s * wide, 0);
        g.lineTo(s * wide, height);
      }
      g.stroke();
      piece.fermata.forEach((held, s) => held && g.fillRect(s * wide, 0, wide, 6));
      g.globalAlpha = 1;
      for (let v = names.length - 1; v >= 0; v--) {
        notes(v).forEach(({ pitch, start: from, duration }) => {
          const box = [from * wide + 1, y(pitch) - tall / 2, duration * wide - 2, tall];
          g.fillStyle = colours[v];
          g.fillRect(...box);
          g.globalAlpha = 0.6;
          g.strokeRect(...box);
          g.globalAlpha = 1;
        });
      }
      if (!playing) return;
      g.lineWidth = 4;
      g.beginPath();
      g.moveTo(playing.shown * wide, 0);
      g.lineTo(playing.shown * wide, height);
      g.stroke();
    }

    function tell() {
      const bars = +bar.max;
      const count = names.reduce((sum, _, v) => sum + notes(v).length, 0);
      const change = moved === undefined ? "" : `; ${moved} tokens changed`;
      text.textContent = `bar ${bar.value} of ${bars}, ${count} notes${change}`;
      bar.setAttribute("aria-valuetext", `bar ${bar.value} of ${bars}`);
      canvas.setAttribute("aria-label", `Piano roll of ${piece.name} in ${bars} bars, bar ${bar.value} chosen; the arrow keys choose another`);
      draw();
    }

    // -- the sound -----------------------------------------------------------------------------

    function stop() {
      if (!playing) return;
      cancelAnimationFrame(playing.frame);
      playing.sound?.close();
      playing = undefined;
      play.textContent = "Play from this bar";
      draw();
    }

    // Plays from the chosen bar; every note is an oscillator that swells and fades.
    function start() {
      const Sound = root.AudioContext || root.webkitAudioContext;
      const sound = Sound ? new Sound() : null;
      heard.textContent = Sound ? "" : "This browser makes no sound: the line moves without it.";
      const [from] = span(+bar.value - 1);
      const begin = sound ? sound.currentTime + 0.1 : 0;
      if (sound) {
        const whole = sound.createGain();
        whole.gain.value = 0.16;
        whole.connect(sound.destination);
        names.forEach((_, v) =>
          notes(v).forEach(({ pitch, start: at, duration }) => {
            const [on, off] = [begin + (at - from) * sixteenth, begin + (at + duration - from) * sixteenth];
            if (at < from) return;
            const swell = sound.createGain();
            swell.gain.setValueAtTime(0, on);
            swell.gain.linearRampToValueAtTime(1, on + 0.03);
            swell.gain.setValueAtTime(0.8, Math.max(on + 0.04, off - 0.06));
            swell.gain.linearRampToValueAtTime(0, off);
            const tone = sound.createOscillator();
            tone.type = "triangle";
            tone.frequency.value = 440 * 2 ** ((pitch - 69) / 12);
            tone.connect(swell);
            swell.connect(whole);
            tone.start(on);
            tone.stop(off);
          }),
        );
      }
      const zero = performance.now();
      const seconds = () => (sound ? sound.currentTime - begin : (performance.now() - zero) / 1000);
      playing = { sound, shown: from };
      play.textContent = "Stop";
      const follow = () => {
        const now = from + Math.max(0, seconds()) / sixteenth;
        if (now >= tokens[0].length) return stop();
        const shown = calm ? now - (now % 4) : now;
        if (shown !== playing.shown) {
          playing.shown = shown;
          draw();
        }
        playing.frame = requestAnimationFrame(follow);
      };
      follow();
    }

    // -- the controls --------------------------------------------------------------------------

    function choose(i, k = 0) {
      stop();
      which.value = i;
      piece = pieces[i];
      tokens = piece.tokens.map((row) => [...row]);
      bar.max = piece.bar[piece.bar.length - 1] + 1;
      bar.value = k + 1;
      moved = undefined;
      tell();
    }

    function turn(k) {
      stop();
      bar.value = k;
      moved = undefined;
      tell();
    }

    which.addEventListener("change", () => choose(+which.value));
    bar.addEventListener("input", () => turn(+bar.value));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      turn(+bar.value + step);
    });
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const step = Math.floor(((event.clientX - box.left) / box.width) * tokens[0].length);
      turn(piece.bar[Math.max(0, Math.min(step, tokens[0].length - 1))] + 1);
    });
    play.addEventListener("click", () => (playing ? stop() : start()));
    again.addEventListener("click", () => {
      stop();
      const chosen = names.map((_, v) => v).filter((v) => free[v].checked);
      moved = chosen.length ? regenerate(+bar.value - 1, chosen) : 0;
      tell();
    });
    back.addEventListener("click", () => choose(+which.value, +bar.value - 1));
    save.addEventListener("click", () => {
      const address = URL.createObjectURL(new Blob([midi()], { type: "audio/midi" }));
      element("a", { href: address, download: "chorale.mid" }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
    });
    onThemeChange(draw);
    choose(0);
    litgen.widgets.chorale = { probabilities, notes, midi: () => [...midi()], regenerate, choose, tokens: () => tokens, playing: () => playing && playing.shown };
    const label = (name, v) => element("label", { style: `flex: 0 1 auto; border-left: 0.8em solid ${colours[v]}; padding-left: 0.4em` }, free[v], name);
    return [
      element("div", { class: "litgen-panes" }, canvas),
      element("div", { class: "litgen-controls" }, element("label", {}, "piece", which), element("label", {}, "bar", bar), play, save, heard),
      element("div", { class: "litgen-controls", role: "group", "aria-label": "voices to rewrite" }, ...names.map(label), element("label", {}, "temperature", heat), again, back, text),
    ];
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

  // A formula wider than its column scrolls; the keyboard must be able to reach it.
  function reachable() {
    document.querySelectorAll('mjx-container[display="true"]').forEach((formula) => {
      if (formula.scrollWidth > formula.clientWidth) formula.setAttribute("tabindex", "0");
      else formula.removeAttribute("tabindex");
    });
  }
  root.addEventListener("load", () => root.MathJax?.startup?.promise?.then(reachable));
  root.addEventListener("resize", reachable);

  // The arrows that unfold the theme's table of contents have no name of their own.
  document.querySelectorAll("nav .has-children > details > summary").forEach((arrow) => {
    const title = arrow.closest("li").querySelector("a").textContent.trim();
    arrow.setAttribute("aria-label", `Pages of ${title}`);
  });
  // Sphinx gives its bibliography a role that is deprecated, and that a list may not hold.
  document.querySelectorAll("[role=doc-biblioentry]").forEach((entry) => entry.setAttribute("role", "listitem"));
})(window);
