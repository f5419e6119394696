// @ts-check
'use strict';

/** One conversation at its publisher: what waits, what went out and is not held by all devices, what the devices told. */

const FRAGMENT_BYTES = 16 << 10; // a payload over this size travels in fragments
const PCM_PAYLOAD_US = 100_000;
const JOINED_BYTES = 64 << 10; // media in one message

/** @typedef {{audio: number, motion: number}} Pair */

/** What waits and what went out, of one kind. */
class Outgoing {
  constructor() {
    this.seq = 0; // of the last payload
    /** @type {any[]} */
    this.waiting = [];
    /** @type {any[]} kept until all devices hold it */
    this.sent = [];
    this.heldSeq = 0; // nothing up to here is kept
    this.credit = 0;
  }

  /** @param {string} kind @param {Buffer} data @param {number} ptsUs @param {number} durationUs */
  push(kind, data, ptsUs, durationUs) {
    this.seq += 1;
    const whole = { kind, seq: this.seq, pts_us: ptsUs, duration_us: durationUs };
    if (data.length <= FRAGMENT_BYTES) this.waiting.push({ ...whole, data });
    else {
      for (let at = 0; at < data.length; at += FRAGMENT_BYTES) {
        this.waiting.push({ ...whole, data: data.subarray(at, at + FRAGMENT_BYTES), fragment_offset: at, total_bytes: data.length });
      }
    }
  }

  /** Whether the next piece may go out. @param {number} room */
  fits(room) {
    return this.waiting.length > 0 && this.waiting[0].data.length <= Math.min(this.credit, room);
  }

  take() {
    const piece = this.waiting.shift();
    this.credit -= piece.data.length;
    this.sent.push(piece);
    return piece;
  }

  /** @param {number} seq all devices hold the payloads up to here */
  release(seq) {
    this.heldSeq = Math.max(this.heldSeq, seq);
    this.sent = this.sent.filter((piece) => piece.seq > seq);
  }

  /** A new stream: go on behind what the relay took. Credit is told anew. @param {number} seq @param {number} bytes @returns {number} pieces again */
  rewind(seq, bytes) {
    const isTaken = (/** @type {any} */ piece) => piece.seq <= seq || (piece.seq === seq + 1 && (piece.fragment_offset ?? 0) < bytes);
    const again = this.sent.filter((piece) => !isTaken(piece));
    this.sent = this.sent.filter(isTaken);
    this.waiting.unshift(...again);
    this.credit = 0;
    return again.length;
  }
}

class PublishedConversation {
  /** @param {any} open ConversationOpen @param {string[]} targets */
  constructor(open, targets) {
    this.id = open.conversation_id;
    this.opening = open;
    this.targets = targets;
    this.audio = new Outgoing();
    this.motion = new Outgoing();
    this.positionUs = 0; // end of the sound so far
    this.isOpen = false; // the relay said `opened` on this stream
    this.againUntilMs = 0; // it is being opened again at a relay that does not know it
    this.ends = false; // nothing more will be handed over
    this.endSaid = false;
    this.interrupted = false;
    /** @type {string[]} */
    this.devices = [];
    /** @type {Map<string, any>} finished events by device */
    this.results = new Map();
    /** @type {Map<string, any>} cursors by device */
    this.held = new Map();
    /** @type {any} why it takes no more */
    this.fault = null;
    /** @type {Promise<{reason: string}>} */
    this.finished = new Promise((resolve) => { this.settle = resolve; });
  }

  /** Whether its outcome is known. */
  get isOver() {
    return this.fault?.isFinal === true || (this.devices.length > 0 && this.devices.every((device) => this.results.has(device)));
  }

  /** @param {Buffer} pcm whole samples @param {(seq: number, data: Buffer) => void} handed is called with each payload */
  pushAudio(pcm, handed) {
    const rate = this.opening.audio_format.sample_rate_hz;
    const step = Math.floor((rate * PCM_PAYLOAD_US) / 1e6) * 2;
    for (let at = 0; at < pcm.length; at += step) {
      const data = pcm.subarray(at, at + step);
      const durationUs = (data.length * 1e6) / (2 * rate);
      this.audio.push('KIND_AUDIO', data, Math.round(this.positionUs), Math.round(durationUs));
      this.positionUs += durationUs;
      handed(this.audio.seq, data);
    }
  }

  /** What goes out now: the earliest PTS whose kind has credit, sound first. @returns {any} a message, or null */
  next() {
    if (!this.isOpen || this.endSaid || this.fault || this.interrupted) return null;
    const payloads = [];
    for (let room = JOINED_BYTES; ; room -= payloads[payloads.length - 1].data.length) {
      const ready = [this.audio, this.motion].filter((outgoing) => outgoing.fits(room));
      if (!ready.length) break;
      payloads.push(ready.reduce((first, other) => (other.waiting[0].pts_us < first.waiting[0].pts_us ? other : first)).take());
    }
    if (payloads.length) return { media: { conversation_id: this.id, payloads } };
    if (!this.ends || this.audio.waiting.length || this.motion.waiting.length) return null;
    this.endSaid = true;
    return { end: { conversation_id: this.id, last_audio_seq: this.audio.seq, last_motion_seq: this.motion.seq } };
  }

  /** @returns {string} the kind that waits for credit; empty if none does */
  get starved() {
    if (!this.isOpen) return '';
    if (this.audio.waiting.length && !this.audio.fits(Infinity)) return 'audio';
    return this.motion.waiting.length && !this.motion.fits(Infinity) ? 'motion' : '';
  }

  /** A device holds more: keep what any device lacks. @param {string} device @param {any} cursor */
  onHeld(device, cursor) {
    this.held.set(device, cursor);
    const lacking = this.devices.filter((other) => !this.results.has(other)).map((other) => this.held.get(other) ?? { audio_seq: 0, motion_seq: 0 });
    if (!lacking.length) return;
    this.audio.release(Math.min(...lacking.map((other) => other.audio_seq)));
    this.motion.release(Math.min(...lacking.map((other) => other.motion_seq)));
  }

  /**
   * A new stream stands. @param {any} taken how far its relay got with this; undefined where it does not know it
   * @returns {number} pieces that go out again
   */
  rewind(taken) {
    const { audio_seq: audio, motion_seq: motion } = taken?.cursor ?? { audio_seq: this.audio.heldSeq, motion_seq: this.motion.heldSeq };
    this.isOpen = false;
    this.endSaid = this.endSaid && taken?.ended === true;
    return this.audio.rewind(audio, taken?.audio_bytes ?? 0) + this.motion.rewind(motion, taken?.motion_bytes ?? 0);
  }
}

module.exports = { PublishedConversation };
