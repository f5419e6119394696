// @ts-check
'use strict';

/**
 * A device: attaches to a relay and "plays" what comes, without sound and face, at `--speed` times real time.
 *
 *   node device.js --relay 127.0.0.1:52000 --device-id lobby
 *
 * The rules that it keeps are in docs/protocol.md. One player event for each end; credit for each byte; a cursor for each payload.
 */

const fs = require('node:fs');
const { parseArgs } = require('node:util');
const { RelayLink, faultOf, statusOf } = require('./relay_link.js');
const { checksum, report } = require('./report.js');
const { Track, TrackError } = require('./tracks.js');

/** @typedef {'audio' | 'motion'} Kind
 * @type {Record<string, Kind>} */
const KINDS = { KIND_AUDIO: 'audio', KIND_MOTION: 'motion' };
const TICK_MS = 20;
const REPORT_MS = 1000; // credit and cursors are told this often; credit also when half of the buffer is free again
const REPEAT_MS = 2000; // an event that is not acknowledged is told again
const FLUSH_MS = 1000; // how long the last events may take to be acknowledged
const MAX_CLOSED = 1024;

/** A conversation that is not over. */
class Conversation {
  /** @param {any} open */
  constructor(open) {
    this.id = open.conversation_id;
    this.open = open;
    this.audio = new Track();
    this.motion = new Track();
    this.positionUs = 0;
    this.started = false;
    this.paused = false;
    this.audioOnly = false;
    this.end = /** @type {any} */ (null);
  }

  /** @returns {{conversation_id: string, audio_seq: number, motion_seq: number}} what is held of it */
  get cursor() {
    return { conversation_id: this.id, audio_seq: this.audio.seq, motion_seq: this.motion.seq };
  }

  /** Where a payload ends on the media line, in µs. @param {any} payload @param {number} bytes of the whole payload */
  untilUs(payload, bytes) {
    const track = payload.kind === 'KIND_AUDIO' ? this.audio : this.motion;
    const { codec, sample_rate_hz: rate } = this.open.audio_format;
    const isPcm = payload.kind === 'KIND_AUDIO' && codec === 'CODEC_PCM_S16LE';
    const length = payload.duration_us || (isPcm ? (bytes * 1e6) / (2 * rate) : 0);
    return (payload._pts_us ? payload.pts_us : track.lengthUs) + length;
  }
}

class Device {
  /** @param {{address: string, deviceId: string, speed: number, buffer: {audio: number, motion: number}, token?: string, rootCertificates?: Buffer}} options */
  constructor(options) {
    this.options = options;
    this.sessionToken = '';
    /** @type {Map<string, Conversation>} in the order in which they play */
    this.conversations = new Map();
    /** @type {Set<string>} ids that are over */
    this.closed = new Set();
    this.outstanding = { audio: 0, motion: 0 }; // bytes that came and are in use
    this.freed = { audio: 0, motion: 0 }; // bytes to be granted back
    this.changed = new Set(); // conversations whose cursor moved
    /** @type {{event: any, toldMs: number}[]} not acknowledged, in order */
    this.events = [];
    this.lastEventId = 0;
    this.link = new RelayLink({
      ...options,
      service: 'DeviceService',
      method: 'Attach',
      standsBack: true,
      hello: () => this.hello(),
      onWelcome: (welcome) => this.onWelcome(welcome),
      onMessage: (name, body) => this.onMessage(name, body),
      report,
    });
  }

  async run() {
    const timers = [setInterval(() => this.advance(TICK_MS * 1000 * this.options.speed), TICK_MS), setInterval(() => this.tell(), REPORT_MS)];
    const end = await this.link.run();
    timers.forEach(clearInterval);
    return end;
  }

  /** Leave for good: events first, then `goodbye`. The session ends now and not with its lease. */
  async leave() {
    await within(FLUSH_MS, () => this.events.length === 0);
    this.link.stopped = true;
    this.link.say({ goodbye: { reason: 'shutdown' } });
    await within(FLUSH_MS, () => this.link.call === null); // the relay ends the stream
    this.link.stop();
  }

  // --- the stream ---------------------------------------------------------------------------------------------------

  /** All the room there is, and all cursors: what was to be told of both on the last stream is in it. */
  hello() {
    for (const { audio, motion } of this.conversations.values()) {
      this.free('audio', audio.giveUpPartial());
      this.free('motion', motion.giveUpPartial());
    }
    const { buffer } = this.options;
    this.freed = { audio: 0, motion: 0 };
    this.changed.clear();
    for (const kept of this.events) kept.toldMs = 0; // told again at once
    return {
      device_id: this.options.deviceId,
      codecs: ['CODEC_PCM_S16LE', 'CODEC_OPUS'],
      motion_encodings: ['ENCODING_BLENDSHAPE_WEIGHTS', 'ENCODING_AVATARKIT_V2'],
      output_rate_hz: 48000,
      buffer: { audio_bytes: buffer.audio - this.outstanding.audio, motion_bytes: buffer.motion - this.outstanding.motion },
      session_token: this.sessionToken,
      cursors: [...this.conversations.values()].map((conversation) => conversation.cursor),
    };
  }

  /** @param {any} welcome */
  onWelcome(welcome) {
    report({ event: 'welcome', resumed: welcome.resumed_conversation_ids, lost: welcome.lost_conversation_ids, unacknowledged: this.events.length });
    if (welcome.session_token !== this.sessionToken) { // a new session: events are numbered from 1 again
      this.sessionToken = welcome.session_token;
      this.events.forEach(({ event }, index) => { event.event_id = index + 1; });
      this.lastEventId = this.events.length;
    }
    for (const id of welcome.lost_conversation_ids) { // nothing more comes of these: what is held plays out
      const conversation = this.conversations.get(id);
      if (conversation) conversation.end = { last_audio_seq: conversation.audio.seq, last_motion_seq: conversation.motion.seq };
    }
    this.tellEvents();
  }

  /** @param {string} name @param {any} body */
  onMessage(name, body) {
    const conversation = this.conversations.get(body.conversation_id);
    switch (name) {
      case 'open': this.open(body); break;
      case 'media': this.media(body, conversation); break;
      case 'audio_only': if (conversation) conversation.audioOnly = true; break;
      case 'end': if (conversation) conversation.end = body; break;
      case 'interrupt': this.interrupt(body.conversation_id); break;
      case 'pause': this.hold(conversation, true); break;
      case 'resume': this.hold(conversation, false); break;
      case 'event_ack': this.events = this.events.filter(({ event }) => event.event_id > body.event_id); break;
      case 'conversation_error': report({ event: 'error', conversation: body.conversation_id, ...faultOf(body.status) }); break;
      default: break; // volume, pong: nothing to do without a loudspeaker and a clock
    }
  }

  // --- conversations ------------------------------------------------------------------------------------------------

  /** @param {any} open */
  open(open) {
    const id = open.conversation_id;
    if (this.closed.has(id)) {
      this.link.say({ conversation_error: { conversation_id: id, status: statusOf('CONVERSATION_CLOSED', 'FAILED_PRECONDITION', 'it is over') } });
    }
    if (this.closed.has(id) || this.conversations.has(id)) return; // said again because the session resumed
    if (open.on_playing !== 'ON_PLAYING_QUEUE') {
      for (const earlier of [...this.conversations.values()]) this.finish(earlier, true, 'replaced');
    }
    this.conversations.set(id, new Conversation(open));
    report({ event: 'open', conversation: id });
  }

  /** @param {any} media @param {Conversation | undefined} conversation */
  media(media, conversation) {
    for (const payload of media.payloads) {
      const kind = KINDS[payload.kind];
      const size = payload.data.length;
      this.outstanding[kind] += size;
      if (this.outstanding[kind] > this.options.buffer[kind]) report({ event: 'credit_exceeded', kind });
      const reason = this.whyNot(media.conversation_id, payload.seq, kind);
      if (!conversation || reason) this.drop(media.conversation_id, payload.kind, size, reason);
      else this.take(conversation, payload, kind);
    }
    this.grantIfMuch();
  }

  /** Why a payload is not used; empty if it is. @param {string} id @param {number} seq @param {Kind} kind */
  whyNot(id, seq, kind) {
    const conversation = this.conversations.get(id);
    if (!conversation) return this.closed.has(id) ? 'conversation_closed' : 'conversation_unknown';
    if (kind === 'motion' && conversation.audioOnly) return 'audio_only';
    return seq <= conversation[kind].seq ? 'duplicate' : '';
  }

  /** @param {Conversation} conversation @param {any} payload @param {Kind} kind */
  take(conversation, payload, kind) {
    const track = conversation[kind];
    const before = track.partial?.bytes ?? 0;
    try {
      const whole = track.add(payload);
      if (!whole) return;
      if (whole.length > payload.data.length) report({ event: 'joined', conversation: conversation.id, kind, seq: payload.seq, bytes: whole.length });
      report({ event: 'received', conversation: conversation.id, kind, seq: payload.seq, detail: checksum(whole) });
      track.keep(whole.length, conversation.untilUs(payload, whole.length));
      this.changed.add(conversation.id);
    } catch (error) {
      if (!(error instanceof TrackError)) throw error;
      this.drop(conversation.id, payload.kind, before + payload.data.length, 'invalid');
    }
  }

  /** @param {string} id */
  interrupt(id) {
    const conversation = this.conversations.get(id);
    if (conversation) this.finish(conversation, true, 'interrupted');
    else if (!this.closed.has(id)) this.finish(new Conversation({ conversation_id: id }), true, 'interrupted'); // it ends nevertheless
  }

  /** @param {Conversation | undefined} conversation @param {boolean} paused */
  hold(conversation, paused) {
    if (!conversation || conversation.paused === paused) return;
    conversation.paused = paused;
    this.happened(conversation.id, { [paused ? 'paused' : 'resumed']: { position_us: Math.round(conversation.positionUs) } });
  }

  /** Time passes. @param {number} stepUs on the media line */
  advance(stepUs) {
    const [conversation] = this.conversations.values();
    if (conversation && !conversation.paused) this.play(conversation, stepUs);
    const now = Date.now();
    if (this.events.some(({ toldMs }) => now - toldMs >= REPEAT_MS)) this.tellEvents();
    this.grantIfMuch();
  }

  /** @param {Conversation} conversation @param {number} stepUs */
  play(conversation, stepUs) {
    const { audio, motion, end } = conversation;
    if (audio.seq && !conversation.started) {
      conversation.started = true;
      this.happened(conversation.id, { started: {} });
    }
    conversation.positionUs = Math.min(conversation.positionUs + stepUs, audio.lengthUs);
    this.free('audio', audio.playedTo(conversation.positionUs));
    this.free('motion', motion.playedTo(conversation.positionUs));
    if (end && audio.seq >= end.last_audio_seq && conversation.positionUs >= audio.lengthUs) this.finish(conversation, false, 'completed');
  }

  /** Exactly once for each conversation. @param {Conversation} conversation @param {boolean} interrupted @param {string} reason */
  finish(conversation, interrupted, reason) {
    const { id, audio, motion, positionUs } = conversation;
    this.free('audio', audio.giveUpPartial() + audio.playedTo(Infinity));
    this.free('motion', motion.giveUpPartial() + motion.playedTo(Infinity));
    this.conversations.delete(id);
    this.closed.add(id);
    if (this.closed.size > MAX_CLOSED) this.closed.delete(/** @type {string} */ (this.closed.values().next().value));
    report({ event: 'finished', conversation: id, detail: reason });
    this.happened(id, { finished: { position_us: Math.round(positionUs), interrupted, reason } });
  }

  // --- what the relay is told ---------------------------------------------------------------------------------------

  /** @param {Kind} kind @param {number} bytes */
  free(kind, bytes) {
    this.outstanding[kind] -= bytes;
    this.freed[kind] += bytes;
  }

  /** @param {string} id @param {string} kind KIND_AUDIO or KIND_MOTION @param {number} bytes @param {string} reason */
  drop(id, kind, bytes, reason) {
    this.free(KINDS[kind], bytes);
    this.happened(id, { dropped: { kind, payloads: 1, bytes, reason } });
  }

  grantIfMuch() {
    const { buffer } = this.options;
    if (this.freed.audio >= buffer.audio / 2 || this.freed.motion >= buffer.motion / 2) this.grant();
  }

  grant() {
    const { audio, motion } = this.freed;
    if (!this.link.call || !(audio || motion)) return; // without a stream: the next hello tells
    this.freed = { audio: 0, motion: 0 };
    this.link.say({ credit: { audio_bytes: audio, motion_bytes: motion } });
  }

  /** Credit and cursors, at most once in a while: each message costs both ends as much as a payload does. */
  tell() {
    if (!this.link.call) return;
    this.grant();
    const cursors = [...this.changed].flatMap((id) => this.conversations.get(id)?.cursor ?? []);
    this.changed.clear();
    if (cursors.length) this.link.say({ held: { cursors } });
  }

  /** @param {string} id @param {any} body one member of the oneof */
  happened(id, body) {
    this.lastEventId += 1;
    this.events.push({ event: { event_id: this.lastEventId, conversation_id: id, ...body }, toldMs: 0 });
    this.tellEvents();
  }

  /** All that are due, in order; they are kept until acknowledged. */
  tellEvents() {
    if (!this.link.call) return;
    const now = Date.now();
    for (const kept of this.events) {
      if (now - kept.toldMs < REPEAT_MS) continue;
      if (kept.event.finished) report({ event: 'told_finished', conversation: kept.event.conversation_id, id: kept.event.event_id });
      kept.toldMs = now;
      this.link.say({ event: kept.event });
    }
  }
}

/** @param {number} ms @param {() => boolean} isSo */
async function within(ms, isSo) {
  const deadline = Date.now() + ms;
  while (!isSo() && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, TICK_MS));
}

async function main() {
  const { values } = parseArgs({
    options: {
      relay: { type: 'string', default: '127.0.0.1:52000' },
      'device-id': { type: 'string', default: 'lobby' },
      speed: { type: 'string', default: '1' },
      'audio-buffer': { type: 'string', default: '2097152' }, // bytes
      'motion-buffer': { type: 'string', default: '2097152' },
      'token-file': { type: 'string' },
      'ca-file': { type: 'string' },
    },
  });
  const device = new Device({
    address: /** @type {string} */ (values.relay),
    deviceId: /** @type {string} */ (values['device-id']),
    speed: Number(values.speed),
    buffer: { audio: Number(values['audio-buffer']), motion: Number(values['motion-buffer']) },
    token: values['token-file'] && fs.readFileSync(values['token-file'], 'utf8').trim(),
    rootCertificates: values['ca-file'] ? fs.readFileSync(values['ca-file']) : undefined,
  });
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => device.leave());
  const end = await device.run();
  report({ event: 'left', unknown_messages: device.link.unknown, unacknowledged: device.events.length });
  process.exitCode = device.link.stopped ? 0 : 1;
  if (!device.link.stopped) process.stderr.write(`device: ${end.fault?.reason ?? ''} ${end.text}\n`);
}

if (require.main === module) main();
module.exports = { Device };
