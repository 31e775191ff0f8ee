/**
 * Asks when no word comes: a panel must not wait for an event that was lost.
 *
 * It knows neither ComfyUI nor a clock of its own, so that it can be tested without a browser.
 */

export const SECONDS_OF_SILENCE = 5;

export class Silence {
  /**
   * @param {() => boolean} waiting whether word is awaited
   * @param {() => Promise} ask asks the server; a second question waits for the answer to the first
   * @param {() => number} now milliseconds
   */
  constructor(waiting, ask, now = () => Date.now()) {
    Object.assign(this, { waiting, ask, now, asking: false, last: now() });
  }

  /** Word has come. */
  heard() {
    this.last = this.now();
  }

  /** To be called now and then. */
  async check() {
    if (!this.waiting()) this.heard();
    if (this.asking || this.now() - this.last < SECONDS_OF_SILENCE * 1000) return;
    this.asking = true;
    try {
      await this.ask();
    } finally {
      this.asking = false;
      this.heard();
    }
  }
}
