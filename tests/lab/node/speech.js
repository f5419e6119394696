// @ts-check
'use strict';

/** Something to say: a hum that rises, and a mouth that moves with it. In the place of a speech synthesiser and an avatar SDK. */

const RATE_HZ = 16000;
const KEYFRAMES_PER_SECOND = 25;
const WINDOW_S = 4; // motion comes in windows; one of these has 20,800 bytes and travels in two fragments
const sides = (/** @type {string} */ name) => [`${name}Left`, `${name}Right`];
/** ARKit's 52 names. A receiver takes what is not named for 0. */
const NAMES = [
  'jawForward', 'jawLeft', 'jawRight', 'jawOpen', 'mouthClose', 'mouthFunnel', 'mouthPucker', 'mouthLeft', 'mouthRight', 'mouthRollLower',
  'mouthRollUpper', 'mouthShrugLower', 'mouthShrugUpper', 'browInnerUp', 'cheekPuff', 'tongueOut',
  ...['eyeBlink', 'eyeLookDown', 'eyeLookIn', 'eyeLookOut', 'eyeLookUp', 'eyeSquint', 'eyeWide', 'mouthSmile', 'mouthFrown', 'mouthDimple',
    'mouthStretch', 'mouthPress', 'mouthLowerDown', 'mouthUpperUp', 'browDown', 'browOuterUp', 'cheekSquint', 'noseSneer'].flatMap(sides),
];

/** How loud it is at a time, 0 to 1: four syllables a second. @param {number} seconds */
const loudness = (seconds) => Math.sin(Math.PI * 4 * seconds) ** 2;

/** 16-bit little-endian samples. @param {number} seconds @returns {Buffer} */
function sound(seconds) {
  const samples = Buffer.alloc(Math.round(seconds * RATE_HZ) * 2);
  for (let n = 0; n < samples.length / 2; n += 1) {
    const at = n / RATE_HZ;
    samples.writeInt16LE(Math.round(8000 * loudness(at) * Math.sin(2 * Math.PI * (110 + at) * at)), 2 * n);
  }
  return samples;
}

/** Rows of float32 weights, a window in each payload. @param {number} seconds */
function* mouth(seconds) {
  const frames = Math.round(seconds * KEYFRAMES_PER_SECOND);
  for (let first = 0; first < frames; first += WINDOW_S * KEYFRAMES_PER_SECOND) {
    const count = Math.min(WINDOW_S * KEYFRAMES_PER_SECOND, frames - first);
    const data = Buffer.alloc(count * NAMES.length * 4);
    for (let n = 0; n < count; n += 1) {
      data.writeFloatLE(0.8 * loudness((first + n) / KEYFRAMES_PER_SECOND), 4 * (n * NAMES.length + NAMES.indexOf('jawOpen')));
      data.writeFloatLE((first + n) / (first + n + 100), 4 * (n * NAMES.length + NAMES.indexOf('browInnerUp'))); // no two windows are alike
    }
    yield { data, ptsUs: (first * 1e6) / KEYFRAMES_PER_SECOND, durationUs: (count * 1e6) / KEYFRAMES_PER_SECOND };
  }
}

const audioFormat = { codec: 'CODEC_PCM_S16LE', sample_rate_hz: RATE_HZ, channels: 1 };
const motionFormat = { encoding: 'ENCODING_BLENDSHAPE_WEIGHTS', blendshape_names: NAMES, keyframes_per_second: KEYFRAMES_PER_SECOND };

module.exports = { sound, mouth, audioFormat, motionFormat };
