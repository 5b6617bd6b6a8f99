package shim_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/knit-dev/knit/runtime/conformance/process"
)

// eventFunction answers with what it got, unless the event's type asks for
// something else.
const eventFunction = `
exports.handle = async (context, event) => {
  const failure = (fields) => Object.assign(new Error('told to fail'), fields);
  switch (event.type) {
    case 'fail': throw failure({});
    case 'code': throw failure({ code: 409 });
    case 'wide': throw failure({ statusCode: 700 });
    case 'system': throw failure({ code: 'ENOENT' });
    case 'string': throw 'a string';
    case 'value': return { a: 1 };
    case 'builder': return context.cloudEventResponse({ to: event.id }).id('2').type('reply').source('/f');
    case 'invalid': return context.cloudEventResponse({}).type('reply').response();
    case 'object': return event.cloneWith({ bad: { a: 1 } }, false);
    case 'escaped': return event.cloneWith({ id: '2', type: 'reply', subject: 'grün 5%', count: 3, flag: true, data: 'text', datacontenttype: 'text/plain' });
    case 'bytes': return event.cloneWith({ id: '2', data: Buffer.from([1, 2]), datacontenttype: 'image/png' });
    case 'empty': return event.cloneWith({ id: '2', data: undefined, datacontenttype: undefined });
    case 'message': return { headers: { 'ce-id': 'm', 'ce-type': 't', 'ce-source': 's', 'ce-specversion': '1.0', 'content-type': 'application/json' }, body: '{"m":1}' };
  }
  const data = Buffer.isBuffer(event.data) ? { bytes: event.data.toString('hex') } : event.data;
  return { body: { ...event, data, same: context.cloudevent === event, text: event.toString().length > 0 } };
};`

func eventProcess(t *testing.T, kind ...string) *process.Process {
	t.Helper()
	return start(t, write(t, map[string]string{"index.js": eventFunction}), append([]string{"index.js"}, kind...))
}

var binary = []string{"Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Type: t", "Ce-Source: /s"}

func TestUnfitMembersAreRefused(t *testing.T) {
	structured := []string{"Content-Type: application/cloudevents+json"}
	cases := map[string]struct {
		body    string
		headers []string
		status  int
		want    string
	}{
		"structured, bad name":  {`{"specversion":"1.0","id":"1","type":"t","source":"/s","Bad-Name":"x"}`, structured, 400, "Bad-Name"},
		"structured, __proto__": {`{"specversion":"1.0","id":"1","type":"t","source":"/s","__proto__":{"x":1}}`, structured, 400, "__proto__"},
		"data that is no JSON":  {"{", append(binary, "Content-Type: application/json"), 400, "no JSON"},
		"an attribute data":     {"", append(binary, "Ce-Data: x"), 400, "ce-data"},
	}
	p := eventProcess(t, "cloudevent")
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resp, body := p.Send(http.MethodPost, "/", strings.NewReader(c.body), c.headers...)
			if resp.StatusCode != c.status || !strings.Contains(body, c.want) {
				t.Errorf("got %d %q, want %d with %q", resp.StatusCode, body, c.status, c.want)
			}
		})
	}
}

func TestErrorsBecomeStatuses(t *testing.T) {
	cases := map[string]struct {
		status int
		body   string
	}{
		"fail": {500, "told to fail\n"},
		"code": {409, "told to fail\n"}, "wide": {500, "told to fail\n"},
		"system": {500, "told to fail\n"}, "string": {500, "a string\n"},
		"invalid": {500, "invalid event: source is missing\n"},
		"object":  {500, "the function returned an invalid event: attribute bad is neither string, boolean, whole number, time, URL nor bytes\n"},
		"value":   {500, "the function returned an object of Object, want a CloudEvent or nothing\n"},
	}
	p := eventProcess(t, "cloudevent")
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resp, body := p.Send(http.MethodPost, "/", nil, "Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s", "Ce-Type: "+name)
			if resp.StatusCode != c.status || body != c.body {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, c.status, c.body)
			}
		})
	}
	if resp, body := eventProcess(t).Send(http.MethodPost, "/", nil, "Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s", "Ce-Type: value"); resp.StatusCode != http.StatusOK || body != `{"a":1}` {
		t.Errorf("a value from a function that takes both kinds: %d %q", resp.StatusCode, body)
	}
}

func TestTheReplyIsABinaryEvent(t *testing.T) {
	p := eventProcess(t, "cloudevent")
	cases := map[string]struct{ headers, body string }{
		"builder": {"Ce-Id: 2, Ce-Type: reply, Ce-Source: /f, Content-Type: application/json; charset=utf-8", `{"to":"1"}`},
		"escaped": {"Ce-Id: 2, Ce-Type: reply, Ce-Subject: gr%C3%BCn%205%25, Ce-Count: 3, Ce-Flag: true, Ce-Time: 2026-01-02T03:04:05Z, Content-Type: text/plain", "text"},
		"bytes":   {"Ce-Id: 2, Content-Type: image/png", "\x01\x02"},
		"empty":   {"Ce-Id: 2, Content-Type: ", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resp, body := p.Send(http.MethodPost, "/", nil, "Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s", "Ce-Time: 2026-01-02T03:04:05Z", "Ce-Type: "+name)
			if resp.StatusCode != http.StatusOK || body != c.body || resp.Header.Get("Ce-Specversion") != "1.0" {
				t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
			}
			for header := range strings.SplitSeq(c.headers, ", ") {
				if key, want, _ := strings.Cut(header, ": "); resp.Header.Get(key) != want {
					t.Errorf("%s is %q, want %q", key, resp.Header.Get(key), want)
				}
			}
		})
	}
	resp, body := eventProcess(t).Send(http.MethodPost, "/", nil, "Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s", "Ce-Type: message")
	if resp.Header.Get("Ce-Id") != "m" || body != `{"m":1}` || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("a message of the SDK's HTTP.binary: %v %q", resp.Header, body)
	}
}

// TestEventsAreOfTheClassThatTheFunctionImports, when it imports one.
func TestEventsAreOfTheClassThatTheFunctionImports(t *testing.T) {
	dir := write(t, map[string]string{
		"node_modules/cloudevents/package.json":  `{"name": "cloudevents", "main": "dist/index.js"}`,
		"node_modules/cloudevents/dist/index.js": "exports.CloudEvent = class CloudEvent { constructor(a) { Object.assign(this, { specversion: '1.0', id: '2', ...a }); } cloneWith() {} };",
		"index.mjs":                              "import { CloudEvent } from 'cloudevents';\nexport const handle = (c, e) => new CloudEvent({ type: String(e instanceof CloudEvent), source: '/f' });",
		"index.js":                               "const { CloudEvent } = require('cloudevents');\nexports.handle = (c, e) => new CloudEvent({ type: String(e instanceof CloudEvent), source: '/f' });",
	})
	for _, entry := range []string{"index.js", "index.mjs"} {
		resp, _ := start(t, dir, []string{entry}).Send(http.MethodPost, "/", nil, binary...)
		if resp.Header.Get("Ce-Type") != "true" || resp.Header.Get("Ce-Id") != "2" {
			t.Errorf("%s: got %d %v", entry, resp.StatusCode, resp.Header)
		}
	}
}

// jobFunction says what it was called with.
const jobFunction = `
exports.handle = async (context, data) => {
  if (data?.fail) throw new Error('told to fail');
  context.log.info({ argument: data, index: context.job.index, deadline: context.deadline !== undefined }, 'called');
  if (data?.status) return { statusCode: data.status };
  if (data?.never) await new Promise(() => {});
  return { echoed: context.body };
};`

func TestJobsRunOnce(t *testing.T) {
	dir := write(t, map[string]string{"index.js": jobFunction})
	cases := map[string]struct {
		env  []string
		code int
		want []string
	}{
		"an index is a number": {[]string{"JOB_COMPLETION_INDEX=3"}, 0, []string{`"index":3`}},
		"what never comes":     {[]string{`KNIT_JOB_DATA={"never":true}`}, 1, []string{"job failed", "what can never come"}},
		"parameters":           {[]string{`KNIT_JOB_DATA={"n":5}`}, 0, []string{`"argument":{"n":5}`}},
		"a deadline":           {[]string{"KNIT_TIMEOUT=1h"}, 0, []string{`"deadline":true`}},
		"a failure":            {[]string{`KNIT_JOB_DATA={"fail":true}`}, 1, []string{"job failed", "told to fail", "index.js:3"}},
		"a failing status":     {[]string{`KNIT_JOB_DATA={"status":503}`}, 1, []string{"statusCode 503"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			result := filepath.Join(t.TempDir(), "result")
			code, log := runToEnd(t, dir, []string{"index.js"}, append(c.env, "KNIT_MODE=job", "KNIT_JOB_RESULT="+result)...)
			if code != c.code {
				t.Errorf("code %d, want %d", code, c.code)
			}
			if content, err := os.ReadFile(result); (err == nil) != (code == 0) || code == 0 && len(content) == 0 {
				t.Errorf("the result is %q (%v)", content, err)
			}
			for _, want := range c.want {
				if !strings.Contains(log, want) {
					t.Errorf("the log does not say %s: %s", want, log)
				}
			}
		})
	}
}

// TestTraceContextIsInTheLog of everything that the function logs by its context.
func TestTraceContextIsInTheLog(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	p := start(t, write(t, map[string]string{"index.js": "exports.handle = (c) => { c.log.info('with %s and more', 'words', { secret: 1 }); c.log.error(new Error('oh')); };"}), []string{"index.js"})
	p.Send(http.MethodGet, "/", nil, "Traceparent: "+parent)
	if code := p.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	log := p.Log()
	if strings.Count(log, `"traceparent":"`+parent+`"`) != 2 || !strings.Contains(log, `"msg":"with words and more"`) || strings.Contains(log, "secret") {
		t.Errorf("log: %s", log)
	}
}

// TestFunctionsCallOthers: the request's signal ends what the function waits for.
func TestFunctionsCallOthers(t *testing.T) {
	released := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		close(released)
	}))
	defer slow.Close()
	p := start(t, write(t, map[string]string{"index.js": "exports.handle = async (c) => { await fetch(process.env.SLOW, { signal: c.signal }); };"}), []string{"index.js"}, "KNIT_TIMEOUT=2s", "SLOW="+slow.URL)
	if status, body := p.Get("/"); status != http.StatusGatewayTimeout {
		t.Errorf("got %d %q", status, body)
	}
	select {
	case <-released:
	case <-time.After(10 * time.Second):
		t.Error("the other function still works for a caller that is gone")
	}
}
