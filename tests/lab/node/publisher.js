// @ts-check
'use strict';

/**
 * A publisher: opens conversations on devices, hands over sound and motion as fast as credit allows, hears how they ended.
 *
 *   node publisher.js --relay 127.0.0.1:52000 --device lobby --seconds 5
 *
 * The rules that it keeps are in docs/protocol.md.
 */

const crypto = require('node:crypto');
const fs = require('node:fs');
const { parseArgs } = require('node:util');
const { PublishedConversation } = require('./published.js');
const { RelayLink, faultOf } = require('./relay_link.js');
const { checksum, report } = require('./report.js');
const speech = require('./speech.js');

const REOPEN_MS = 30_000; // so long a relay that does not know a conversation is asked to open it where its devices are
const AGAIN_MS = 100;
const MAX_SEEN = 4096;
const LATER = new Set(['DEVICE_UNKNOWN', 'DRAINING']);
const FOREIGN = new Set(['CONVERSATION_UNKNOWN', 'CONVERSATION_NOT_YOURS']);

class Publisher {
  /**
   * @param {{address: string, publisherId?: string, ackAfterMs?: number, token?: string, rootCertificates?: Buffer}} options
   * `ackAfterMs`: a backend that writes events down before it acknowledges them takes so long
   */
  constructor(options) {
    this.ackAfterMs = options.ackAfterMs ?? 0;
    this.unacknowledged = 0;
    this.publisherId = options.publisherId ?? `node-${crypto.randomBytes(6).toString('hex')}`;
    this.sessionToken = '';
    /** @type {Map<string, PublishedConversation>} */
    this.conversations = new Map();
    /** @type {Set<string>} events that were told before */
    this.seen = new Set();
    /** @type {Map<string, {fault: any, ping: number}>} faults of conversations that were not opened yet */
    this.unopened = new Map();
    this.lastPong = 0;
    this.starved = '';
    this.link = new RelayLink({
      ...options,
      service: 'PublisherService',
      method: 'Publish',
      standsBack: false,
      hello: () => ({ publisher_id: this.publisherId, session_token: this.sessionToken }),
      onWelcome: (welcome) => this.onWelcome(welcome),
      onMessage: (name, body) => this.onMessage(name, body),
      onDrain: () => this.pump(),
      onLost: () => { for (const conversation of this.conversations.values()) conversation.isOpen = false; },
      report,
    });
  }

  run() {
    return this.link.run();
  }

  // --- what an application does -------------------------------------------------------------------------------------

  /** @param {string[]} targets devices or groups @param {any} format fields of ConversationOpen @returns {PublishedConversation} */
  open(targets, format) {
    const open = { conversation_id: `n${crypto.randomBytes(12).toString('base64url')}`, ...format };
    const conversation = new PublishedConversation(open, targets);
    this.conversations.set(conversation.id, conversation);
    this.link.say({ open: { open, targets } }); // without a stream: the next welcome opens it
    return conversation;
  }

  /** @param {PublishedConversation} conversation @param {Buffer} pcm */
  audio(conversation, pcm) {
    conversation.pushAudio(pcm, (seq, data) => this.note('sent', conversation, 'audio', seq, data));
    this.pump();
  }

  /** @param {PublishedConversation} conversation @param {{data: Buffer, ptsUs: number, durationUs: number}} window */
  motion(conversation, { data, ptsUs, durationUs }) {
    conversation.motion.push('KIND_MOTION', data, ptsUs, durationUs);
    this.note('sent', conversation, 'motion', conversation.motion.seq, data);
    this.pump();
  }

  /** @param {PublishedConversation} conversation */
  end(conversation) {
    conversation.ends = true;
    this.pump();
  }

  /** Leave when all that was said has been taken: what is merely written would be lost with the stream. */
  async leave() {
    while (this.unacknowledged) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    const ping = this.link.ping();
    while (this.link.call && this.lastPong < ping) await new Promise((resolve) => setTimeout(resolve, 1));
    this.link.stop();
  }

  /** @param {PublishedConversation} conversation */
  interrupt(conversation) {
    conversation.interrupted = true;
    this.link.say({ interrupt: { conversation_id: conversation.id } });
  }

  // --- the stream ---------------------------------------------------------------------------------------------------

  /** @param {any} welcome */
  onWelcome(welcome) {
    const isFirst = !this.sessionToken;
    this.sessionToken = welcome.session_token;
    this.unopened.clear();
    report({ event: 'welcome', taken: welcome.taken.length });
    for (const conversation of this.conversations.values()) {
      if (conversation.isOver) continue;
      const taken = welcome.taken.find((/** @type {any} */ item) => item.cursor.conversation_id === conversation.id);
      if (!isFirst) report({ event: 'again', conversation: conversation.id, pieces: conversation.rewind(taken) });
      if (!taken) this.openAgain(conversation, isFirst ? null : Date.now() + REOPEN_MS);
      else if (conversation.interrupted) this.link.say({ interrupt: { conversation_id: conversation.id } });
      else if (taken.ended && !conversation.endSaid) conversation.fault ??= { reason: 'PUBLISHER_LOST' }; // the lease ran out: it plays out
    }
  }

  /** @param {PublishedConversation} conversation @param {number | null} untilMs null where no relay ever had it */
  openAgain(conversation, untilMs) {
    conversation.againUntilMs = untilMs ?? 0;
    const held = { conversation_id: conversation.id, audio_seq: conversation.audio.heldSeq, motion_seq: conversation.motion.heldSeq };
    this.link.say({ open: { open: conversation.opening, targets: conversation.targets, ...(untilMs === null ? {} : { held }) } });
  }

  /** @param {string} name @param {any} body */
  onMessage(name, body) {
    const conversation = this.conversations.get(body.conversation_id);
    switch (name) {
      case 'opened': if (conversation) this.onOpened(conversation, body.device_ids); break;
      case 'credit': if (conversation) this.onCredit(conversation, body.credit); break;
      case 'held': for (const cursor of body.cursors) this.conversations.get(cursor.conversation_id)?.onHeld(body.device_id, cursor); break;
      case 'event': this.onEvent(body, conversation); break;
      case 'conversation_error': if (conversation) this.onError(conversation, body.device_id, faultOf(body.status)); break;
      case 'pong': this.onPong(body.id); break;
      default: break;
    }
  }

  /** @param {PublishedConversation} conversation @param {string[]} devices */
  onOpened(conversation, devices) {
    conversation.devices = conversation.targets = devices; // a group is opened again on those of its members that had it
    conversation.isOpen = true;
    conversation.againUntilMs = 0;
    this.unopened.delete(conversation.id);
    if (conversation.interrupted) this.link.say({ interrupt: { conversation_id: conversation.id } });
    report({ event: 'opened', conversation: conversation.id, devices });
  }

  /** @param {PublishedConversation} conversation @param {any} credit */
  onCredit(conversation, credit) {
    conversation.audio.credit += credit.audio_bytes;
    conversation.motion.credit += credit.motion_bytes;
    this.pump();
  }

  /** Acknowledge it, and take it once. @param {any} event @param {PublishedConversation | undefined} conversation */
  onEvent(event, conversation) {
    const body = event[event.event]; // which member of the oneof; undefined for one of a later version
    if (event.event_id) this.acknowledge(event);
    const key = JSON.stringify([event.device_id, event.event_id, event.conversation_id, event.event, body]);
    const isRepeated = this.seen.has(key);
    if (event.event_id || event.event === 'finished') this.remember(key);
    if (event.event === 'finished') report({ event: 'heard_finished', conversation: event.conversation_id, id: event.event_id, isRepeated });
    if (isRepeated || !conversation) return;
    if (event.event === 'dropped') report({ event: 'dropped', conversation: conversation.id, ...body });
    if (event.event !== 'finished' || !event.device_id || conversation.results.has(event.device_id)) return;
    conversation.results.set(event.device_id, body);
    if (conversation.isOver) this.settle(conversation, body.reason);
  }

  /** @param {any} event all events of its device up to this one are acknowledged */
  acknowledge({ device_id, event_id }) {
    this.unacknowledged += 1;
    setTimeout(() => {
      this.unacknowledged -= 1;
      this.link.say({ event_ack: { device_id, event_id } });
    }, this.ackAfterMs);
  }

  /** @param {string} key */
  remember(key) {
    this.seen.add(key);
    if (this.seen.size > MAX_SEEN) this.seen.delete(/** @type {string} */ (this.seen.values().next().value));
  }

  /** @param {PublishedConversation} conversation @param {string} device empty if the relay itself reports @param {any} fault */
  onError(conversation, device, fault) {
    report({ event: 'error', conversation: conversation.id, device, ...fault });
    if (conversation.againUntilMs > Date.now() && LATER.has(fault.reason)) { // its devices are not back yet
      const again = () => { if (this.link.call && !conversation.isOpen) this.openAgain(conversation, conversation.againUntilMs); };
      setTimeout(again, fault.retryAfterMs || AGAIN_MS);
    } else if (fault.reason === 'DRAINING') {
      conversation.isOpen = false; // handed back: it goes on at the next relay
    } else if (!conversation.devices.length || conversation.againUntilMs) {
      // It may concern some targets only. All that is said of one `open` comes before the pong of a ping behind it.
      if (!this.unopened.has(conversation.id)) this.unopened.set(conversation.id, { fault, ping: this.link.ping() });
    } else if (!device && !conversation.endSaid) {
      conversation.fault = { ...fault, isFinal: FOREIGN.has(fault.reason) }; // stop; how it ends is still told by the devices
      if (conversation.isOver) this.settle(conversation, fault.reason);
    }
  }

  /** @param {number} id all said before this ping was taken */
  onPong(id) {
    this.lastPong = id;
    for (const [conversationId, { fault, ping }] of this.unopened) {
      const conversation = this.conversations.get(conversationId);
      if (id < ping || !conversation) continue;
      this.unopened.delete(conversationId);
      conversation.fault = { ...fault, isFinal: true };
      this.settle(conversation, fault.reason);
    }
  }

  /** @param {PublishedConversation} conversation @param {string} reason */
  settle(conversation, reason) {
    report({ event: 'outcome', conversation: conversation.id, detail: reason });
    conversation.settle?.({ reason });
    this.conversations.delete(conversation.id);
  }

  /** Write while there is something that may go out, and HTTP/2 takes it. Conversations take turns. */
  pump() {
    let wrote = this.link.call !== null;
    while (wrote) {
      wrote = false;
      for (const conversation of this.conversations.values()) {
        const message = conversation.next();
        if (message === null) continue;
        wrote = true;
        if (message.end) report({ event: 'end', conversation: conversation.id });
        if (!this.link.say(message)) return; // `drain` goes on
      }
    }
    for (const conversation of this.conversations.values()) {
      if (conversation.starved && conversation.starved !== this.starved) report({ event: 'no_credit', conversation: conversation.id, kind: conversation.starved });
      this.starved = conversation.starved;
    }
  }

  /** @param {string} event @param {PublishedConversation} conversation @param {string} kind @param {number} seq @param {Buffer} data */
  note(event, conversation, kind, seq, data) {
    report({ event, device: conversation.targets[0], conversation: conversation.id, kind, seq, detail: checksum(data) });
  }
}

async function main() {
  const { values } = parseArgs({
    options: {
      relay: { type: 'string', default: '127.0.0.1:52000' },
      device: { type: 'string', default: 'lobby' },
      seconds: { type: 'string', default: '5' },
      conversations: { type: 'string', default: '1' },
      'ack-after-ms': { type: 'string', default: '0' },
      'token-file': { type: 'string' },
      'ca-file': { type: 'string' },
    },
  });
  const publisher = new Publisher({
    address: /** @type {string} */ (values.relay),
    ackAfterMs: Number(values['ack-after-ms']),
    token: values['token-file'] && fs.readFileSync(values['token-file'], 'utf8').trim(),
    rootCertificates: values['ca-file'] ? fs.readFileSync(values['ca-file']) : undefined,
  });
  const running = publisher.run();
  const format = { audio_format: speech.audioFormat, motion_format: speech.motionFormat, pacing: 'PACING_BURST', on_playing: 'ON_PLAYING_QUEUE' };
  const outcomes = Array.from({ length: Number(values.conversations) }, () => {
    const conversation = publisher.open([/** @type {string} */ (values.device)], format);
    publisher.audio(conversation, speech.sound(Number(values.seconds)));
    for (const window of speech.mouth(Number(values.seconds))) publisher.motion(conversation, window);
    publisher.end(conversation);
    return conversation.finished;
  });
  const ended = await Promise.race([Promise.all(outcomes), running]);
  await publisher.leave();
  await running;
  report({ event: 'left', unknown_messages: publisher.link.unknown });
  process.exitCode = Array.isArray(ended) && ended.every(({ reason }) => reason === 'completed') ? 0 : 1;
}

if (require.main === module) main();
module.exports = { Publisher };
