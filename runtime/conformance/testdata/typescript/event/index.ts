// The CloudEvents function that the conformance suite drives. The other
// languages' fixtures behave alike.

interface CloudEvent {
  id: string;
  type: string;
  data?: unknown;
  cloneWith(changes: object, strict?: boolean): CloudEvent;
}

interface Context {
  headers: Record<string, string | undefined>;
  signal: AbortSignal;
  log: { info(fields: object, message: string): void };
}

// Does what the event's type says.
export async function handle(context: Context, event: CloudEvent): Promise<CloudEvent | undefined> {
  switch (event.type) {
    case 'nothing': return;
    case 'invalid': return event.cloneWith({ id: '' }, false);
    case 'fail':
    case 'panic': throw new Error('boom');
    case 'code': throw Object.assign(new Error('told to fail'), { statusCode: (event.data as { status: number }).status });
    case 'late': throw new DOMException('too late', 'TimeoutError');
    case 'wait':
      process.stderr.write('begun\n');
      return new Promise((_, reject) => { context.signal.addEventListener('abort', () => reject(context.signal.reason)); });
    case 'log': context.log.info({ tier: 'gold' }, 'said'); return;
    case 'trace': return answer(event, { traceparent: context.headers.traceparent ?? '' });
    case 'large': return answer(event, 'x'.repeat(5000));
  }
  const { data, ...attributes } = event;
  const seen = Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined).map(([name, value]) => [name, String(value)]));
  return answer(event, { seen, data: Buffer.isBuffer(data) ? `bytes:${data.toString('hex')}` : data ?? null });
}

function answer(event: CloudEvent, data: unknown): CloudEvent {
  const cleared = Object.fromEntries(Object.keys(event).map((name) => [name, undefined]));
  return event.cloneWith({
    ...cleared, id: `re-${event.id}`, type: 'reply', source: '/f', subject: 'grün 5%', count: 3, datacontenttype: 'application/json', data,
  });
}
