'use strict';

const assert = require('node:assert/strict');
const http = require('node:http');
const { test } = require('node:test');
const sdk = require('../index.js');
const { Kit } = require('../testing.js');

const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

function parseOrder(data) {
  if (typeof data?.item !== 'string') throw new TypeError('item is missing');
  return { item: data.item };
}

async function accept(event) {
  switch (event.data.item) {
    case 'nothing': return undefined;
    case 'failure': throw new Error('no disk');
    case 'later': throw sdk.retry('the %s is closed', 'store');
    case 'late': throw new DOMException('too late', 'TimeoutError');
    case 'untyped': return {};
    default: return { type: 'order.accepted', shop: 'main', data: { text: `1 ${event.data.item}` } };
  }
}

test('typed handlers', async (t) => {
  const cases = {
    'a reply': { data: { item: 'tea' }, status: 200, retried: false, text: '1 tea' },
    'no reply': { data: { item: 'nothing' }, status: 204, retried: false },
    'other data': { data: [1], status: 422, retried: false, error: /data does not fit: item is missing/ },
    'no data': { data: undefined, status: 422, retried: false, error: /does not fit/ },
    'an error': { data: { item: 'failure' }, status: 500, retried: true, error: /no disk/ },
    'a retry': { data: { item: 'later' }, status: 503, retried: true, error: /the store is closed/ },
    'a deadline': { data: { item: 'late' }, status: 504, retried: true, error: /too late/ },
    'a wrong reply': { data: { item: 'untyped' }, status: 500, retried: true, error: /type must be a string/ },
  };
  for (const [name, c] of Object.entries(cases)) {
    await t.test(name, async () => {
      const kit = new Kit();
      const got = await kit.deliver(sdk.typed(accept, { parse: parseOrder }), { type: 'order.placed', id: '1', source: '/test', subject: 'o-1', data: c.data });
      assert.equal(got.status, c.status);
      assert.equal(got.retried, c.retried);
      if (c.error) assert.match(got.error.message, c.error);
      assert.equal(got.reply?.data.text, c.text);
      if (!c.text) return;
      const { source, subject, shop, specversion, datacontenttype } = got.reply;
      assert.deepEqual({ source, subject, shop, specversion, datacontenttype },
        { source: '/functions/test/function', subject: 'o-1', shop: 'main', specversion: '1.0', datacontenttype: 'application/json' });
    });
  }
});

test('the same event is answered with the same id, in every language', async () => {
  const kit = new Kit();
  const answer = async (id) => (await kit.deliver(sdk.typed(accept), { type: 'order.placed', id, source: '/test', data: { item: 'tea' } })).reply.id;
  assert.equal(await answer('1'), '6f8c96b7868868bb2e6761f11aa22806');
  assert.notEqual(await answer('2'), await answer('1'));
});

test('what a function knows', () => {
  const kit = new Kit({ headers: { traceparent: trace } });
  assert.deepEqual(sdk.myself(), { function: 'function', namespace: 'test', revision: 'function-00001' });
  assert.equal(sdk.traceParent(kit.context), trace);
  assert.equal(sdk.requestId(kit.context), '0af7651916cd43dd8448eb211c80319c');
  assert.equal(sdk.requestId(new Kit({ headers: { traceparent: trace, 'x-request-id': 'r-1' } }).context), 'r-1');
  assert.equal(sdk.requestId(new Kit().context), '');
  assert.equal(sdk.requestId(undefined), '');
});

// answers gives the statuses one after the other, the last one for ever.
function answers(statuses, headers) {
  const left = [...statuses];
  return () => new Response('told so', { status: left.length > 1 ? left.shift() : left[0], headers });
}

test('emit tries again', async (t) => {
  const cases = {
    'taken at once': { statuses: [202], tries: 1, least: 0, most: 0 },
    'taken at last': { statuses: [503, 404, 202], tries: 3, least: 300, most: 600 },
    'never taken': { statuses: [500], tries: 5, status: 500, least: 1500, most: 3000 },
    'refused': { statuses: [400], tries: 1, status: 400, least: 0, most: 0 },
    'too many, seconds': { statuses: [429, 202], after: '7', tries: 2, least: 7000, most: 7000 },
    'too many, far too long': { statuses: [429, 202], after: '86400', tries: 1, status: 429, least: 0, most: 0 },
    'a deadline in the pause': { statuses: [503], after: '7', timeout: 5000, tries: 1, status: 503, least: 0, most: 0 },
    'nonsense in Retry-After': { statuses: [503, 202], after: 'soon', tries: 2, least: 100, most: 200 },
    'a redirect': { statuses: [301], tries: 5, status: 502, least: 1500, most: 3000 },
  };
  for (const [name, c] of Object.entries(cases)) {
    await t.test(name, async () => {
      const kit = new Kit({ timeout: c.timeout });
      kit.answer('broker/default', answers(c.statuses, c.after && { 'retry-after': c.after }));
      const emitted = sdk.emit(kit.context, { type: 'order.placed' }, { to: sdk.broker('default') });
      if (c.status) await assert.rejects(emitted, (e) => e.statusCode === c.status && /emit event \S+ of type order.placed to broker default: answered/.test(e.message));
      else await emitted;
      assert.equal(kit.sent.length, c.tries);
      assert.equal(new Set(kit.sent.map((s) => s.event.id)).size, 1);
      assert.ok(kit.slept >= c.least && kit.slept <= c.most, `waited ${kit.slept} ms`);
    });
  }
});

test('a broker that is not there is named', async () => {
  const kit = new Kit();
  kit.answer('broker/orders', answers([404]));
  await assert.rejects(sdk.emit(kit.context, { type: 'order.placed' }, { to: sdk.broker('orders') }),
    (e) => e.statusCode === 404 && /is there a broker orders in the namespace test/.test(e.message));
});

test('a date in Retry-After', async () => {
  const kit = new Kit();
  kit.answer('sink', answers([503, 202], { 'retry-after': new Date(Date.now() + 9000).toUTCString() }));
  await sdk.emit(kit.context, { type: 'order.placed' });
  assert.ok(kit.slept > 7000 && kit.slept <= 9000, `waited ${kit.slept} ms`);
});

test('emit refuses', async (t) => {
  const cases = {
    'no sink': { env: { K_SINK: '' }, error: /K_SINK is not set/, status: 500 },
    'a sink that is none': { env: { K_SINK: 'sink' }, error: /"sink" is no address/, status: 500 },
    'another scheme': { to: sdk.url('ftp://x/'), error: /is no address/, status: 500 },
    'a name that is none': { to: sdk.broker('../x'), error: /no name of a broker/, status: 500 },
    'no namespace': { to: sdk.broker('default'), env: { KNIT_NAMESPACE: '' }, error: /KNIT_NAMESPACE is not set/, status: 500 },
    'overrides, not JSON': { env: { K_CE_OVERRIDES: '{' }, error: /K_CE_OVERRIDES/, status: 500 },
    'overrides, not valid': { env: { K_CE_OVERRIDES: '{"extensions":{"A-b":"c"}}' }, error: /K_CE_OVERRIDES/, status: 500 },
    'no type': { event: {}, error: /type must be/, status: 500 },
    'a wrong extension': { event: { type: 'a', 'x-y': '1' }, error: /lower-case letters/, status: 500 },
    'too much data': { event: { type: 'a', data: 'x'.repeat(sdk.maxBytes) }, error: /more than 10485760/, status: 413 },
  };
  for (const [name, c] of Object.entries(cases)) {
    await t.test(name, async () => {
      const kit = new Kit();
      Object.assign(process.env, c.env);
      await assert.rejects(sdk.emit(kit.context, c.event ?? { type: 'order.placed' }, { to: c.to }), (e) => c.error.test(e.message) && e.statusCode === c.status);
      assert.deepEqual(kit.sent, []);
    });
  }
});

test('call', async (t) => {
  const cases = {
    'an answer': { answer: () => Response.json({ text: 'fine' }), want: { text: 'fine' } },
    'no answer': { answer: () => new Response(null, { status: 204 }), want: undefined },
    'a failure': { answer: () => new Response('no such order', { status: 404 }), status: 404, error: /call function payment: answered 404: no such order/ },
    'another thing': { answer: () => new Response('<'), status: 502, error: /no JSON/ },
    'too much': { answer: () => new Response('x'.repeat(sdk.maxBytes + 1)), status: 500, error: /more than/ },
  };
  for (const [name, c] of Object.entries(cases)) {
    await t.test(name, async () => {
      const kit = new Kit();
      kit.answer('function/payment', c.answer);
      const called = sdk.call(kit.context, 'payment', { item: 'tea' });
      if (c.error) await assert.rejects(called, (e) => c.error.test(e.message) && e.statusCode === c.status);
      else assert.deepEqual(await called, c.want);
      assert.equal(kit.sent[0].body, '{"item":"tea"}');
    });
  }
  for (const name of ['', 'a.b', '-a', 'a/b']) assert.throws(() => sdk.functionURL(name), /no name of a function/);
});

test('send returns the reply', async (t) => {
  const binary = { 'ce-specversion': '1.0', 'ce-id': 're%20ply', 'ce-type': 'order.taken', 'ce-source': '/p', 'ce-shop': 'main', 'content-type': 'application/json' };
  const cases = {
    'binary mode': () => new Response('{"text":"taken"}', { headers: binary }),
    'structured mode': () => new Response('{"specversion":"1.0","id":"re ply","type":"order.taken","source":"/p","shop":"main","data":{"text":"taken"}}', { headers: { 'content-type': 'application/cloudevents+json' } }),
  };
  for (const [name, answer] of Object.entries(cases)) {
    await t.test(name, async () => {
      const kit = new Kit();
      kit.answer('function/payment', answer);
      const { id, type, source, shop, data } = await sdk.send(kit.context, 'payment', { type: 'order.placed' });
      assert.deepEqual({ id, type, source, shop, data }, { id: 're ply', type: 'order.taken', source: '/p', shop: 'main', data: { text: 'taken' } });
    });
  }
  const kit = new Kit();
  kit.answer('function/payment', new Response(null, { status: 204 }));
  assert.equal(await sdk.send(kit.context, 'payment', { type: 'order.placed' }), undefined);
  kit.answer('function/payment', new Response('', { headers: { 'ce-specversion': '1.0' } }));
  await assert.rejects(sdk.send(kit.context, 'payment', { type: 'order.placed' }), /no valid event: id is missing/);
});

// serve answers by a real server, which emit and the like reach over the network.
async function serve(t, handler) {
  const server = http.createServer(handler);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

test('over the wire', async (t) => {
  let got;
  const address = await serve(t, (request, response) => {
    let body = '';
    request.on('data', (chunk) => { body += chunk; });
    request.on('end', () => {
      got = { headers: request.headers, event: JSON.parse(body), url: request.url };
      response.writeHead(202).end();
    });
  });
  new Kit();
  Object.assign(process.env, { K_SINK: `${address}/in`, K_CE_OVERRIDES: '{"extensions":{"tenant":"a","shop":"bound"}}' });
  const context = { headers: { traceparent: trace, tracestate: 'a=b' }, deadline: new Date(Date.now() + 60_000), signal: new AbortController().signal };
  await sdk.emit(context, { type: 'order.placed', shop: 'own', data: Buffer.from([0, 255]), datacontenttype: 'application/octet-stream' });
  assert.equal(got.url, '/in');
  assert.equal(got.event.tenant, 'a');
  assert.equal(got.event.shop, 'bound');
  assert.equal(got.event.data_base64, 'AP8=');
  assert.equal(got.headers.traceparent, trace);
  assert.equal(got.headers.tracestate, 'a=b');
  assert.equal(got.headers['content-type'], 'application/cloudevents+json');
  const left = Number(/^(\d+)ms$/.exec(got.headers['knit-timeout'])[1]);
  assert.ok(left > 0 && left <= 60_000);
});

test('a receiver that is too slow', async (t) => {
  new Kit();
  process.env.K_SINK = await serve(t, () => {});
  const context = { headers: {}, deadline: new Date(Date.now() + 100), signal: new AbortController().signal };
  await assert.rejects(sdk.emit(context, { type: 'order.placed' }), (e) => e.statusCode === 504);
});

test('a receiver that is not there', async () => {
  new Kit();
  process.env.K_SINK = 'http://127.0.0.1:1';
  const context = { headers: {}, deadline: new Date(Date.now() + 150), signal: new AbortController().signal };
  await assert.rejects(sdk.emit(context, { type: 'order.placed' }), (e) => e.statusCode === 502 && /no answer from 127.0.0.1/.test(e.message));
});
