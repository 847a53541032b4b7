// HMAC-MD5 (RFC 2104, RFC 1321). WebCrypto does not support MD5, and is not available over HTTP.
// Strings are encoded as UTF-8; the result is hexadecimal. tests/test_status_page.py compares it with Python's.

const SHIFTS = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];
const SINES = Array.from({ length: 64 }, (_, i) => Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32));
const BLOCK = 64;

/** Returns the HMAC of a message with a key, both strings, as 32 hexadecimal digits. */
export function hmacMd5(key, message) {
  const encoder = new TextEncoder();
  let bytes = encoder.encode(key);
  if (bytes.length > BLOCK) {
    bytes = md5(bytes);
  }
  const padded = new Uint8Array(BLOCK);
  padded.set(bytes);
  const inner = md5(joined(padded.map((byte) => byte ^ 0x36), encoder.encode(message)));
  const outer = md5(joined(padded.map((byte) => byte ^ 0x5c), inner));
  return Array.from(outer, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function joined(first, second) {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

function md5(bytes) {
  // The last block is padded with a one bit, zeros, and the length in bits as a 64-bit number.
  const length = Math.ceil((bytes.length + 9) / BLOCK) * BLOCK;
  const padded = new Uint8Array(length);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(length - 8, (bytes.length * 8) >>> 0, true);
  view.setUint32(length - 4, Math.floor(bytes.length / 2 ** 29), true);

  const state = new Uint32Array([0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476]);
  for (let start = 0; start < length; start += BLOCK) {
    addBlock(state, view, start);
  }
  const digest = new DataView(new ArrayBuffer(16));
  state.forEach((word, i) => digest.setUint32(4 * i, word, true));
  return new Uint8Array(digest.buffer);
}

function addBlock(state, view, start) {
  let [a, b, c, d] = state;
  for (let i = 0; i < 64; i += 1) {
    const round = i >> 4;
    const [mixed, word] = [
      [(b & c) | (~b & d), i],
      [(d & b) | (~d & c), 5 * i + 1],
      [b ^ c ^ d, 3 * i + 5],
      [c ^ (b | ~d), 7 * i],
    ][round];
    const sum = (a + mixed + SINES[i] + view.getUint32(start + 4 * (word % 16), true)) >>> 0;
    const shift = SHIFTS[4 * round + (i % 4)];
    [a, d, c, b] = [d, c, b, (b + ((sum << shift) | (sum >>> (32 - shift)))) >>> 0];
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
}
