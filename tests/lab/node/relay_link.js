// @ts-check
'use strict';

/**
 * The stream to the relay, and another one when it ends: what a device and a publisher have in common.
 *
 * hello and welcome, heartbeats, silence, back-off, what is final. docs/protocol.md, "Life of a stream" and "Coming back".
 */

const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const PROTO = process.env.AVATAR_RELAY_PROTO || path.resolve(__dirname, '../../../proto');
const definitions = protoLoader.loadSync(
  ['avatar_relay/v1/device_service.proto', 'avatar_relay/v1/publisher_service.proto', 'google/rpc/error_details.proto'],
  { includeDirs: [PROTO], keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true },
);
/** @type {any} */
const services = grpc.loadPackageDefinition(definitions);

const PROTOCOL_VERSION = 1;
const WELCOME_MS = 1500; // the first try, connection and welcome together; half as long again after each that got no answer ...
const SILENCE_MS = 4000; // ... up to this, after which a relay that says nothing is dead
const SILENCE_STEP_MS = 250;
const SETTLED_MS = 1000; // after a stream that lived this long the waits begin with the shortest
const FIRST_WAIT_MS = 100;
const EAGER_WAIT_MS = 500; // no longer for the first EAGER_TRIES
const EAGER_TRIES = 120;
const LAST_WAIT_MS = 5000;
const MAX_HINT_MS = 300_000;
const STAND_BACK_MS = 30_000; // another stream of the same name took over
const CHANNEL_OPTIONS = {
  'grpc.max_receive_message_length': 8 << 20,
  'grpc.use_local_subchannel_pool': 1, // a connection of its own for each stream: gRPC's own reconnect timer must not add to our waits
  'grpc.enable_retries': 0,
};
const { status } = grpc;
/** Statuses that mean the same on every try. They are final before `welcome`; after it they may pass. */
const FINAL = new Set([
  status.INVALID_ARGUMENT, status.FAILED_PRECONDITION, status.UNAUTHENTICATED, status.PERMISSION_DENIED,
  status.NOT_FOUND, status.UNIMPLEMENTED, status.OUT_OF_RANGE,
]);

/**
 * @typedef {{reason: string, text: string, field: string, retryAfterMs: number}} Fault
 * @typedef {{code: number, text: string, fault: Fault | null, welcomed: boolean, livedMs: number, goaway: any}} StreamEnd
 */

/** Monotonic clock in µs. */
const nowUs = () => Number(process.hrtime.bigint() / 1000n);

/** Waits between tries: full jitter under a ceiling that grows by half. @param {number} first in ms @returns {Generator<number, never>} */
function* waits(first) {
  let ceiling = first;
  for (let tries = 1; ; tries += 1) {
    yield Math.random() * ceiling;
    ceiling = Math.min(ceiling * 1.5, tries < EAGER_TRIES ? EAGER_WAIT_MS : LAST_WAIT_MS);
  }
}

/** A `google.rpc.Status` with its details. @param {any} status @returns {Fault} */
function faultOf(status) {
  const fault = { reason: '', text: status.message, field: '', retryAfterMs: 0 };
  for (const { type_url, value } of status.details) {
    const name = type_url.slice(type_url.lastIndexOf('/') + 1);
    if (name === 'google.rpc.ErrorInfo') fault.reason = read(name, value).reason;
    if (name === 'google.rpc.BadRequest') fault.field = read(name, value).field_violations[0]?.field ?? '';
    if (name === 'google.rpc.RetryInfo') {
      const { seconds, nanos } = read(name, value).retry_delay;
      fault.retryAfterMs = seconds * 1000 + nanos / 1e6;
    }
  }
  return fault;
}

/** A fault as it travels. @param {string} reason of avatar_relay/reasons.py @param {keyof typeof status} code @param {string} message */
function statusOf(reason, code, message) {
  const value = /** @type {any} */ (definitions['google.rpc.ErrorInfo']).serialize({ reason, domain: 'avatar-relay' });
  return { code: status[code], message, details: [{ type_url: 'type.googleapis.com/google.rpc.ErrorInfo', value }] };
}

/** @param {string} name @param {Buffer} bytes @returns {any} */
const read = (name, bytes) => /** @type {any} */ (definitions[name]).deserialize(bytes);

/** @param {any} metadata the trailers of a stream @returns {Fault | null} */
function faultInTrailers(metadata) {
  const [details] = metadata.get('grpc-status-details-bin');
  return details ? faultOf(read('google.rpc.Status', details)) : null;
}

/** Keeps one stream up until `stop`, or until a refusal is final. */
class RelayLink {
  /**
   * @param {{
   *   address: string, service: string, method: string, token?: string, rootCertificates?: Buffer, standsBack: boolean,
   *   hello: () => any, onWelcome: (welcome: any) => void, onMessage: (name: string, body: any) => void,
   *   onDrain?: () => void, onLost?: () => void, report: (event: any) => void,
   * }} options `standsBack`: come again, but late, where another stream of the same name took over; else that is final
   */
  constructor(options) {
    this.options = options;
    this.call = /** @type {any} */ (null); // the stream, once welcomed
    this.unknown = 0; // messages of a kind that this .proto does not know
    this.stopped = false;
    this.unanswered = 0;
    this.pings = 0;
    /** @type {() => void} */
    this.wake = () => {};
  }

  /** Send a message. @param {any} message @returns {boolean} false where no more should be written before `onDrain` */
  say(message) {
    return this.call !== null && this.call.write(message);
  }

  /** Ask the relay for a pong; returns the id. All that was said before has been taken when it comes. */
  ping() {
    this.pings += 1;
    this.say({ ping: { id: this.pings, sent_time_us: nowUs() } });
    return this.pings;
  }

  /** Stay connected. @returns {Promise<StreamEnd>} how it ended for good */
  async run() {
    let between = waits(FIRST_WAIT_MS);
    let replaced = 0;
    for (;;) {
      const end = await this.oneStream();
      this.options.report({ event: 'stream_ended', code: status[end.code], reason: end.fault?.reason ?? '', text: end.text });
      const tookOver = end.fault?.reason === 'REPLACED' || end.goaway?.reason === 'replaced';
      if (this.stopped || (FINAL.has(end.code) && !end.welcomed) || (tookOver && !this.options.standsBack)) return end;
      if (end.welcomed) between = waits(end.livedMs >= SETTLED_MS ? FIRST_WAIT_MS : EAGER_WAIT_MS);
      replaced = tookOver ? replaced + 1 : 0;
      const hint = Math.min(Math.max(end.fault?.retryAfterMs ?? 0, end.goaway?.retry_after_ms ?? 0), MAX_HINT_MS);
      const standBack = replaced ? Math.min(STAND_BACK_MS * 2 ** (replaced - 1), 3_600_000) : 0;
      await this.sleep(Math.max(hint, standBack) + between.next().value);
      if (this.stopped) return end;
    }
  }

  /** Come back no more, and end the stream: what was written and not yet taken is lost. */
  stop() {
    this.stopped = true;
    this.call?.cancel();
    this.wake();
  }

  /** @param {number} ms */
  sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(undefined), ms);
      this.wake = () => { clearTimeout(timer); resolve(undefined); };
    });
  }

  /** @returns {Promise<StreamEnd>} */
  oneStream() {
    const { address, service, method, token, rootCertificates, hello, onDrain, onLost } = this.options;
    const credentials = rootCertificates ? grpc.credentials.createSsl(rootCertificates) : grpc.credentials.createInsecure();
    const client = new services.avatar_relay.v1[service](address, credentials, CHANNEL_OPTIONS);
    const metadata = new grpc.Metadata();
    if (token) metadata.set('authorization', `Bearer ${token}`);
    const call = client[method](metadata);
    const stream = { welcomedUs: 0, heardUs: nowUs(), goaway: null, gaveUp: '' };
    const giveUp = (/** @type {string} */ text) => { stream.gaveUp = text; call.cancel(); };
    const welcomeMs = Math.min(WELCOME_MS * 1.5 ** this.unanswered, SILENCE_MS);
    const welcomeTimer = setTimeout(() => { this.unanswered += 1; giveUp(`no welcome for ${welcomeMs} ms`); }, welcomeMs);
    /** @type {NodeJS.Timeout[]} */
    const timers = [setInterval(() => {
      if (stream.welcomedUs && nowUs() - stream.heardUs > SILENCE_MS * 1000) giveUp(`the relay was silent for ${SILENCE_MS} ms`);
    }, SILENCE_STEP_MS)];

    const welcome = (/** @type {any} */ body) => {
      clearTimeout(welcomeTimer);
      this.unanswered = 0;
      stream.welcomedUs = nowUs();
      this.call = call;
      timers.push(setInterval(() => this.ping(), body.limits.heartbeat_ms));
      this.options.onWelcome(body);
    };

    call.on('data', (/** @type {any} */ response) => {
      stream.heardUs = nowUs();
      const name = response.message; // which member of the oneof is set
      const body = response[name];
      if (name === undefined) this.unknown += 1; // a later version said it: nothing to do, the stream goes on
      else if (name === 'welcome') welcome(body);
      else if (name === 'goaway') stream.goaway = body;
      else if (name === 'ping') this.say({ pong: this.pongTo(body, stream.heardUs) });
      else this.options.onMessage(name, body);
    });
    call.on('drain', () => onDrain?.());
    call.on('error', () => {}); // 'status' follows
    call.write({ hello: { protocol_version: PROTOCOL_VERSION, software_version: 'avatar-relay-reference (Node.js)', ...hello() } });

    return new Promise((resolve) => {
      call.on('status', (/** @type {any} */ ended) => {
        clearTimeout(welcomeTimer);
        timers.forEach(clearInterval);
        this.call = null;
        client.close();
        onLost?.();
        resolve({
          code: stream.gaveUp ? status.DEADLINE_EXCEEDED : ended.code, // what cancelling made of it says nothing
          text: stream.gaveUp || ended.details,
          fault: faultInTrailers(ended.metadata),
          welcomed: stream.welcomedUs > 0,
          livedMs: stream.welcomedUs ? (nowUs() - stream.welcomedUs) / 1000 : 0,
          goaway: stream.goaway,
        });
      });
    });
  }

  /** @param {any} ping @param {number} receivedUs */
  pongTo(ping, receivedUs) {
    const sent = { sent_time_us: nowUs(), sent_unix_time_us: Date.now() * 1000 };
    return { id: ping.id, ping_sent_time_us: ping.sent_time_us, received_time_us: receivedUs, ...sent };
  }
}

module.exports = { RelayLink, faultOf, statusOf };
