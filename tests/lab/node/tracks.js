// @ts-check
'use strict';

/** One kind of payload of one conversation on a device: fragments, sequence numbers, what is held and not yet played. */

class TrackError extends Error {}

class Track {
  constructor() {
    this.seq = 0; // the last whole payload that is held: what `held` tells
    this.lengthUs = 0; // how far the media line reaches
    /** @type {{seq: number, total: number, parts: Buffer[], bytes: number} | null} */
    this.partial = null;
    /** @type {{bytes: number, untilUs: number}[]} */
    this.waiting = [];
  }

  /**
   * Take a payload or a fragment of one.
   * @param {any} payload
   * @returns {Buffer | null} the whole payload once its last byte came
   * @throws {TrackError} on a breach; the payload that was being put together is given up
   */
  add(payload) {
    const total = payload.total_bytes || payload.data.length;
    /** @type {NonNullable<Track['partial']>} */
    const partial = this.partial ?? { seq: payload.seq, total, parts: [], bytes: 0 };
    if (payload.seq !== partial.seq || total !== partial.total || payload.fragment_offset !== partial.bytes) {
      this.partial = null;
      throw new TrackError(`payload ${payload.seq}: byte ${partial.bytes} of payload ${partial.seq} must come next`);
    }
    partial.parts.push(payload.data);
    partial.bytes += payload.data.length;
    this.partial = partial.bytes < total ? partial : null;
    if (this.partial) return null;
    this.seq = payload.seq; // motion may skip numbers: on a narrow link the relay drops some
    return partial.parts.length === 1 ? payload.data : Buffer.concat(partial.parts);
  }

  /** Give up a payload of which only a part came: a new stream sends it again from its first byte. @returns {number} its bytes */
  giveUpPartial() {
    const bytes = this.partial?.bytes ?? 0;
    this.partial = null;
    return bytes;
  }

  /** Keep a whole payload until it is played. @param {number} bytes @param {number} untilUs */
  keep(bytes, untilUs) {
    this.lengthUs = Math.max(this.lengthUs, untilUs);
    this.waiting.push({ bytes, untilUs });
  }

  /** Let go of what lies before a position. @param {number} positionUs @returns {number} the bytes that are free now */
  playedTo(positionUs) {
    let bytes = 0;
    while (this.waiting.length && this.waiting[0].untilUs <= positionUs) bytes += this.waiting.shift()?.bytes ?? 0;
    return bytes;
  }
}

module.exports = { Track, TrackError };
