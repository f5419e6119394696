// @ts-check
'use strict';

/** What a program did, as one JSON object a line on standard output: for people, and for the check of a whole history. */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit += 1) rest = rest & 1 ? 0xedb88320 ^ (rest >>> 1) : rest >>> 1;
  return rest;
});

/** CRC-32 (as in zlib) and length, such as `cbf43926.9`. @param {Buffer} data */
function checksum(data) {
  let crc = 0xffffffff;
  for (const byte of data) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return `${((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0')}.${data.length}`;
}

/** @param {any} event */
function report(event) {
  process.stdout.write(`${JSON.stringify({ time_us: Number(process.hrtime.bigint() / 1000n), ...event })}\n`);
}

module.exports = { checksum, report };
