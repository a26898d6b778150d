// A sender of Prometheus remote write 2.0 as its specification describes one: it writes the messages by their field
// numbers, falls back to 1.0 after a 415, repeats after a 5xx, and believes the Written headers alone.

const varint = (value) => {
  const out = [];
  let n = BigInt.asUintN(64, BigInt(value));
  for (; n >= 0x80n; n >>= 7n) out.push(Number(n & 0x7fn) | 0x80);
  out.push(Number(n));
  return Buffer.from(out);
};
const zigzag = (n) => (BigInt(n) << 1n) ^ (BigInt(n) >> 63n);
const field = (number, wire, bytes) => Buffer.concat([varint((number << 3) | wire), bytes]);
const bytesField = (number, bytes) => field(number, 2, Buffer.concat([varint(bytes.length), bytes]));
const textField = (number, text) => bytesField(number, Buffer.from(text));
const numberField = (number, n) => (n ? field(number, 0, varint(n)) : Buffer.alloc(0));
const doubleField = (number, value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return field(number, 1, bytes);
};
const packed = (number, values) => bytesField(number, Buffer.concat(values.map(varint)));

// A snappy block of literals alone: any receiver has to read it.
export function snappy(bytes) {
  const parts = [varint(bytes.length)];
  for (let at = 0; at < bytes.length; at += 60) {
    const chunk = bytes.subarray(at, at + 60);
    parts.push(Buffer.from([(chunk.length - 1) << 2]), chunk);
  }
  return Buffer.concat(parts);
}

function histogram(h) {
  return Buffer.concat([
    numberField(1, h.count), doubleField(3, h.sum), numberField(4, zigzag(h.schema)), doubleField(5, h.zeroThreshold),
    numberField(6, h.zeroCount),
    ...h.spans.map(([offset, length]) => bytesField(11, Buffer.concat([numberField(1, zigzag(offset)), numberField(2, length)]))),
    packed(12, h.deltas.map(zigzag)), numberField(15, h.ts), numberField(17, h.start ?? 0),
  ]);
}

// series: { labels: {name: value}, samples?: [{ts, value, start?}], histograms?, exemplars?: [value], type?, unit?, help? }
export function request2(series) {
  const symbols = new Map([['', 0]]);
  const symbol = (text) => {
    if (!symbols.has(text)) symbols.set(text, symbols.size);
    return symbols.get(text);
  };
  const all = series.map((s) => {
    const refs = Object.entries(s.labels).sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([n, v]) => [symbol(n), symbol(v)]);
    return bytesField(5, Buffer.concat([
      packed(1, refs),
      ...(s.samples ?? []).map((x) => bytesField(2, Buffer.concat([doubleField(1, x.value), numberField(2, x.ts), numberField(3, x.start ?? 0)]))),
      ...(s.histograms ?? []).map((h) => bytesField(3, histogram(h))),
      ...(s.exemplars ?? []).map((value) => bytesField(4, doubleField(2, value))),
      bytesField(5, Buffer.concat([numberField(1, s.type ?? 0), numberField(3, symbol(s.help ?? '')), numberField(4, symbol(s.unit ?? ''))])),
    ]));
  });
  return Buffer.concat([...[...symbols.keys()].map((text) => textField(4, text)), ...all]);
}

// The same in 1.0, without what it does not have.
export function request1(series) {
  return Buffer.concat(series.map((s) => bytesField(1, Buffer.concat([
    ...Object.entries(s.labels).sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([n, v]) => bytesField(1, Buffer.concat([textField(1, n), textField(2, v)]))),
    ...(s.samples ?? []).map((x) => bytesField(2, Buffer.concat([doubleField(1, x.value), numberField(2, x.ts)]))),
    ...(s.histograms ?? []).map((h) => bytesField(4, histogram(h))),
  ]))));
}

export class Sender {
  constructor(url, { tries = 200 } = {}) {
    Object.assign(this, { url, tries, version: 2, retries: 0, written: { samples: 0, histograms: 0, exemplars: 0 }, failed: 0 });
  }

  async #once(series) {
    const second = this.version === 2;
    return fetch(this.url, {
      method: 'POST',
      body: snappy(second ? request2(series) : request1(series)),
      headers: {
        'content-encoding': 'snappy',
        'content-type': second ? 'application/x-protobuf;proto=io.prometheus.write.v2.Request' : 'application/x-protobuf',
        'x-prometheus-remote-write-version': second ? '2.0.0' : '0.1.0',
        'user-agent': 'sender-2.0/1',
      },
    });
  }

  // Until it is answered for good. Gives the last answer with its Written counts.
  async send(series) {
    for (let n = 0; n < this.tries; ++n) {
      let answer;
      try {
        answer = await this.#once(series);
      } catch {
        ++this.retries;
        await new Promise((resolve) => setTimeout(resolve, 50));
        continue;
      }
      const text = await answer.text();
      if (answer.status === 415 && this.version === 2) {
        this.version = 1;
        continue;
      }
      if (answer.status >= 500) {
        ++this.retries;
        await new Promise((resolve) => setTimeout(resolve, 50));
        continue;
      }
      // A header that is missing means that nothing was written.
      const count = (what) => Number(answer.headers.get(`x-prometheus-remote-write-${what}-written`) ?? 0);
      const written = { samples: count('samples'), histograms: count('histograms'), exemplars: count('exemplars') };
      for (const what of Object.keys(written)) this.written[what] += written[what];
      if (!answer.ok) ++this.failed;
      return { status: answer.status, text, written };
    }
    throw new Error(`not answered after ${this.tries} tries`);
  }
}
