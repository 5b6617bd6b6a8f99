'use strict';

// The HTTP function that the conformance suite drives. The other languages'
// fixtures behave alike.

const { createHash } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');

let release;
const released = new Promise((resolve) => { release = resolve; });

// Does what the path says, or what "do" in the body of a job says.
exports.handle = async (context, body) => {
  const number = (name) => Number(context.query[name]);
  switch (context.req.url.split('?', 1)[0]) {
    case '/slow':
      mark('begun');
      await sleep(number('ms'));
      return 'slow done';
    case '/fail': throw new Error('boom');
    case '/halfway': return stream(async function* () { yield 'half'; await sleep(20); throw new Error('boom halfway'); });
    case '/stream': return stream(async function* () { yield 'first\n'; await released; yield 'second\n'; });
    case '/release': release(); return 'released';
    case '/read': return `${body?.length ?? 0} bytes`;
    case '/deadline':
      await aborted(context.signal).catch(() => {});
      return { statusCode: 504, body: 'the function saw its deadline' };
    case '/never': mark('begun'); return new Promise(() => {});
    case '/beyond': return stream(async function* () { yield 'half'; await sleep(number('ms')); yield 'whole'; });
    case '/hang': return stream(async function* () { yield 'half'; mark('begun'); await new Promise(() => {}); });
    case '/log': context.log.info({ tier: 'gold' }, 'said'); return 'logged';
    case '/print': process.stdout.write('plain words\n'); return 'printed';
    case '/headers': return { statusCode: 201, headers: { 'X-Made': 'yes', 'Set-Cookie': ['a=1', 'b=2'] }, body: 'made' };
    case '/status': return { statusCode: number('code'), body: '' };
    case '/trace': return { traceparent: context.headers.traceparent ?? '', tracestate: context.headers.tracestate ?? '' };
  }
  switch (body?.do) {
    case 'fail': throw new Error('boom');
    case 'status': return { statusCode: body.status, body: '' };
    case 'wait':
      mark('begun');
      await sleep(3_600_000);
    case 'large': return 'x'.repeat(5000);
  }
  return {
    body: {
      method: context.method, target: context.req.url, header: context.headers['x-test'] ?? '', contentType: context.contentType ?? '',
      index: context.headers['knit-job-index'] ?? '', body: context.rawBody,
    },
  };
};

// Answers one short text message of a WebSocket in capitals.
exports.upgrade = (request, socket) => {
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.once('data', (frame) => { // opcode, length, mask and text of a short message
    const text = Buffer.from(frame.subarray(6).map((byte, i) => byte ^ frame[2 + i % 4])).toString().toUpperCase();
    socket.end(Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]));
  });
};

function stream(parts) { return { headers: { 'content-type': 'text/plain' }, body: parts() }; }

function aborted(signal) {
  return new Promise((_, reject) => { signal.addEventListener('abort', () => reject(signal.reason)); });
}

function mark(text) { process.stderr.write(`${text}\n`); }
