/* Views that work without a kernel: a control chooses one of the pictures that the page holds. */
(function () {
  "use strict";

  function indexOf(inputs) {
    return inputs.reduce(function (at, input) {
      var n = input.tagName === "SELECT" ? input.options.length : Number(input.max) + 1;
      return at * n + Number(input.value);
    }, 0);
  }

  function tell(input, box) {
    if (input.tagName === "SELECT") return;
    var word = JSON.parse(input.dataset.words)[Number(input.value)];
    input.setAttribute("aria-valuetext", word);
    box.querySelector('output[for="' + input.id + '"]').textContent = word;
  }

  function start(box) {
    var frames = JSON.parse(box.querySelector('script[type="application/json"]').textContent).frames;
    var inputs = Array.prototype.slice.call(box.querySelectorAll(".vc-knobs input, .vc-knobs select"));
    var day = box.querySelector("figure img:not(.only-dark)");
    var night = box.querySelector("figure img.only-dark");
    var said = box.querySelector(".vc-said");

    function show() {
      var frame = frames[indexOf(inputs)];
      day.src = frame.day;
      day.alt = frame.said;
      if (night) {
        night.src = frame.night;
        night.alt = frame.said;
      }
      said.textContent = frame.said;
      inputs.forEach(function (input) { tell(input, box); });
    }

    /* The pictures come when a reader turns to the view, so that moving a control finds them there. */
    function fetchAll() {
      var dark = document.documentElement.dataset.theme === "dark";
      frames.forEach(function (frame) { new Image().src = dark && frame.night ? frame.night : frame.day; });
    }

    ["pointerenter", "focusin", "touchstart"].forEach(function (event) {
      box.addEventListener(event, fetchAll, { once: true, passive: true });
    });
    inputs.forEach(function (input) { input.addEventListener("input", show); });
    show();
  }

  function all() { document.querySelectorAll(".vc-explorable").forEach(start); }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
