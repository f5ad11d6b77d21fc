// Steps: play and pause, both ways, by slider, at a speed.
import { button, slider } from "./controls.js";
import { h } from "./grid.js";
import { stepsOf } from "./paint.js";

/** The row of buttons below the drawing of an app with `problem`, `state.at` and `repaint()`. */
export class Transport {
  constructor(app) {
    this.app = app;
    this.playing = null;
    this.rate = 2;
    const press = (label, words, act) => button(label, act, { "aria-label": words, title: words });
    this.playButton = press("Play", "Play", () => this.toggle());
    this.position = slider("Step", "", (at) => this.goto(at));
    this.speed = slider("Speed", "", (rate) => this.setRate(rate));
    this.element = h(
      "div",
      { class: "cs-transport", role: "group", "aria-label": "Steps" },
      press("|◀", "First step", () => this.goto(0)),
      press("◀", "Step back", () => this.step(-1)),
      this.playButton,
      press("▶", "Step forward", () => this.step(1)),
      press("▶|", "Last step", () => this.goto(Infinity)),
      this.position.element,
      this.speed.element,
    );
    this.setRate(2);
  }

  setRate(rate) {
    this.rate = rate;
    this.speed.show(rate, [1, 12], "Speed", `${rate} a second`);
  }

  get steps() {
    return stepsOf(this.app.problem, this.app.state.mode);
  }

  /** Show where it stands. */
  render() {
    const { at } = this.app.state;
    this.position.show(at, [0, this.steps - 1], "Step", `${at + 1} of ${this.steps}`);
  }

  goto(at) {
    this.app.state.at = Math.min(this.steps - 1, Math.max(0, at));
    this.app.repaint();
    if (this.playing) return;
    this.app.announce();
    this.app.linkSoon();
  }

  step(by) {
    this.goto((this.app.state.at + by + this.steps) % this.steps);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    this.label("Pause");
    let due = performance.now() + 1000 / this.rate;
    const tick = (now) => {
      if (this.app.hover)
        due = now + 1000 / this.rate; // pointing at something holds it still
      else if (now >= due) {
        due = now + 1000 / this.rate;
        this.step(1);
      }
      this.playing = requestAnimationFrame(tick);
    };
    this.playing = requestAnimationFrame(tick);
  }

  pause() {
    if (this.playing) cancelAnimationFrame(this.playing);
    this.playing = null;
    this.label("Play");
    this.app.linkSoon();
  }

  label(word) {
    this.playButton.textContent = word;
    this.playButton.setAttribute("aria-label", word);
    this.playButton.title = word;
  }
}
