// The HTTP function that the conformance suite drives. The other languages'
// fixtures behave alike.

import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

interface Context {
  method: string;
  headers: Record<string, string | undefined>;
  query: Record<string, string>;
  contentType?: string;
  rawBody: string;
  req: IncomingMessage & { url: string };
  signal: AbortSignal;
  log: { info(fields: object, message: string): void };
}

interface Job {
  do?: string;
  status?: number;
  length?: number;
}

type Parts = AsyncGenerator<string>;

let release: (value?: unknown) => void;
const released = new Promise((resolve) => { release = resolve; });

// Does what the path says, or what "do" in the body of a job says.
export async function handle(context: Context, body?: Job): Promise<unknown> {
  const number = (name: string): number => Number(context.query[name]);
  switch (context.req.url.split('?', 1)[0]) {
    case '/slow':
      mark('begun');
      await sleep(number('ms'));
      return 'slow done';
    case '/fail': throw new Error('boom');
    case '/halfway': return stream(async function* (): Parts { yield 'half'; await sleep(20); throw new Error('boom halfway'); });
    case '/stream': return stream(async function* (): Parts { yield 'first\n'; await released; yield 'second\n'; });
    case '/release': release(); return 'released';
    case '/read': return `${body?.length ?? 0} bytes`;
    case '/deadline':
      await aborted(context.signal).catch(() => {});
      return { statusCode: 504, body: 'the function saw its deadline' };
    case '/never': mark('begun'); return new Promise(() => {});
    case '/beyond': return stream(async function* (): Parts { yield 'half'; await sleep(number('ms')); yield 'whole'; });
    case '/hang': return stream(async function* (): Parts { yield 'half'; mark('begun'); await new Promise(() => {}); });
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
}

// Answers one short text message of a WebSocket in capitals.
export function upgrade(request: IncomingMessage, socket: Socket): void {
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  socket.once('data', (frame: Buffer) => { // opcode, length, mask and text of a short message
    const text = Buffer.from(frame.subarray(6).map((byte, i) => byte ^ frame[2 + i % 4]!)).toString().toUpperCase();
    socket.end(Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]));
  });
}

function stream(parts: () => Parts): object { return { headers: { 'content-type': 'text/plain' }, body: parts() }; }

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => { signal.addEventListener('abort', () => reject(signal.reason)); });
}

function mark(text: string): void { process.stderr.write(`${text}\n`); }
