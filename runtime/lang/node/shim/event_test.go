package shim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// eventFunction answers with what it got, unless the event's type asks for
// something else.
const eventFunction = `
exports.handle = async (context, event) => {
  const failure = (fields) => Object.assign(new Error('told to fail'), fields);
  const reply = (more) => ({ ...new Proxy({}, {}), ...more });
  switch (event.type) {
    case 'nothing': return;
    case 'fail': throw failure({});
    case 'coded': throw failure({ statusCode: 422 });
    case 'code': throw failure({ code: 409 });
    case 'wide': throw failure({ statusCode: 700 });
    case 'system': throw failure({ code: 'ENOENT' });
    case 'late': throw failure({ name: 'TimeoutError' });
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

func eventProcess(t *testing.T, kind ...string) *process {
	t.Helper()
	return start(t, write(t, map[string]string{"index.js": eventFunction}), append([]string{"index.js"}, kind...))
}

var binary = []string{"Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Type: t", "Ce-Source: /s"}

func TestEventsReachTheFunction(t *testing.T) {
	p := eventProcess(t)
	want := map[string]any{
		"specversion": "1.0", "id": "1", "type": "t", "source": "/s", "subject": "ü", "time": "2026-01-02T03:04:05Z", "tier": "gold",
		"datacontenttype": "application/json", "data": map[string]any{"a": 1.0}, "same": true, "text": true,
	}
	cases := map[string]struct {
		body    string
		headers []string
		change  map[string]any
	}{
		"structured mode": {
			`{"specversion":"1.0","id":"1","type":"t","source":"/s","subject":"ü","time":"2026-01-02T03:04:05Z","tier":"gold","datacontenttype":"application/json","data":{"a":1}}`,
			[]string{"Content-Type: application/cloudevents+json; charset=utf-8"}, nil,
		},
		"structured mode, bytes": {
			`{"specversion":"1.0","id":"1","type":"t","source":"/s","subject":"ü","time":"2026-01-02T03:04:05Z","tier":"gold","datacontenttype":"image/png","data_base64":"AQI="}`,
			[]string{"Content-Type: application/cloudevents+json"},
			map[string]any{"datacontenttype": "image/png", "data": map[string]any{"bytes": "0102"}},
		},
		"binary mode": {
			`{"a":1}`,
			append(binary, "Ce-Subject: %C3%BC", "Ce-Time: 2026-01-02T03:04:05Z", "Ce-Tier: gold", "Content-Type: application/json"), nil,
		},
		"binary mode, UTF-8 as it is": {
			`{"a":1}`,
			append(binary, "Ce-Subject: ü", "Ce-Time: 2026-01-02T03:04:05Z", "Ce-Tier: gold", "Content-Type: application/json"), nil,
		},
		"binary mode, text": {
			"hi", append(binary, "Ce-Subject: ü", "Ce-Time: 2026-01-02T03:04:05Z", "Ce-Tier: gold", "Content-Type: text/plain"),
			map[string]any{"datacontenttype": "text/plain", "data": "hi"},
		},
		"binary mode, bytes": {
			"\x01", append(binary, "Ce-Subject: ü", "Ce-Time: 2026-01-02T03:04:05Z", "Ce-Tier: gold", "Content-Type: image/png"),
			map[string]any{"datacontenttype": "image/png", "data": map[string]any{"bytes": "01"}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resp, body := p.send(http.MethodPost, "/any/path", strings.NewReader(c.body), c.headers...)
			var got map[string]any
			if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("got %d %q", resp.StatusCode, body)
			}
			for key, value := range want {
				if changed, ok := c.change[key]; ok {
					value = changed
				}
				if diff := cmp.Diff(value, got[key]); diff != "" {
					t.Errorf("%s: %s", key, diff)
				}
			}
		})
	}
}

func TestBadEventsAreRefused(t *testing.T) {
	structured := []string{"Content-Type: application/cloudevents+json"}
	cases := map[string]struct {
		method, body string
		headers      []string
		status       int
		want         string
	}{
		"a batch":                    {"POST", "[]", []string{"Content-Type: application/cloudevents-batch+json"}, 415, "one event"},
		"another format":             {"POST", "", []string{"Content-Type: application/cloudevents+avro"}, 415, "avro"},
		"no event at all":            {"POST", "hello", nil, 400, "ce-specversion"},
		"broken JSON":                {"POST", "{", structured, 400, "structured event"},
		"a list":                     {"POST", "[]", structured, 400, "one JSON object"},
		"structured, no id":          {"POST", `{"specversion":"1.0","type":"t","source":"/s"}`, structured, 400, "id"},
		"structured, a number as id": {"POST", `{"specversion":"1.0","id":1,"type":"t","source":"/s"}`, structured, 400, "id"},
		"structured, bad name":       {"POST", `{"specversion":"1.0","id":"1","type":"t","source":"/s","Bad-Name":"x"}`, structured, 400, "Bad-Name"},
		"structured, __proto__":      {"POST", `{"specversion":"1.0","id":"1","type":"t","source":"/s","__proto__":{"x":1}}`, structured, 400, "__proto__"},
		"structured, nested":         {"POST", `{"specversion":"1.0","id":"1","type":"t","source":"/s","ext":{"x":1}}`, structured, 400, "ext"},
		"structured, data twice":     {"POST", `{"specversion":"1.0","id":"1","type":"t","source":"/s","data":1,"data_base64":""}`, structured, 400, "data_base64"},
		"binary, no type":            {"POST", "", []string{"Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s"}, 400, "type"},
		"an unknown version":         {"POST", "", []string{"Ce-Specversion: 9.9", "Ce-Id: 1"}, 400, "9.9"},
		"a time that is none":        {"POST", "", append(binary, "Ce-Time: noon"), 400, "time"},
		"a bad percent escape":       {"POST", "", append(binary, "Ce-Subject: %zz"), 400, "ce-subject"},
		"data that is no JSON":       {"POST", "{", append(binary, "Content-Type: application/json"), 400, "no JSON"},
		"an attribute data":          {"POST", "", append(binary, "Ce-Data: x"), 400, "ce-data"},
		"a GET":                      {"GET", "", nil, 405, "POST"},
	}
	p := eventProcess(t, "cloudevent")
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resp, body := p.send(c.method, "/", strings.NewReader(c.body), c.headers...)
			if resp.StatusCode != c.status || !strings.Contains(body, c.want) {
				t.Errorf("got %d %q, want %d with %q", resp.StatusCode, body, c.status, c.want)
			}
		})
	}
}

func TestErrorsBecomeStatuses(t *testing.T) {
	cases := map[string]struct {
		kind   string
		status int
		body   string
	}{
		"nothing": {"cloudevent", 204, ""}, "fail": {"cloudevent", 500, "told to fail\n"}, "coded": {"cloudevent", 422, "told to fail\n"},
		"code": {"cloudevent", 409, "told to fail\n"}, "wide": {"cloudevent", 500, "told to fail\n"},
		"system": {"cloudevent", 500, "told to fail\n"}, "late": {"cloudevent", 504, "told to fail\n"}, "string": {"cloudevent", 500, "a string\n"},
		"invalid": {"cloudevent", 500, "invalid event: source is missing\n"},
		"object":  {"cloudevent", 500, "the function returned an invalid event: attribute bad is neither string, boolean, whole number, time, URL nor bytes\n"},
		"value":   {"cloudevent", 500, "the function returned an object of Object, want a CloudEvent or nothing\n"},
	}
	p := eventProcess(t, "cloudevent")
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resp, body := p.send(http.MethodPost, "/", nil, "Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s", "Ce-Type: "+name)
			if resp.StatusCode != c.status || body != c.body {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, c.status, c.body)
			}
		})
	}
	if resp, body := eventProcess(t).send(http.MethodPost, "/", nil, "Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s", "Ce-Type: value"); resp.StatusCode != http.StatusOK || body != `{"a":1}` {
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
			resp, body := p.send(http.MethodPost, "/", nil, "Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s", "Ce-Time: 2026-01-02T03:04:05Z", "Ce-Type: "+name)
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
	resp, body := eventProcess(t).send(http.MethodPost, "/", nil, "Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s", "Ce-Type: message")
	if resp.Header.Get("Ce-Id") != "m" || body != `{"m":1}` || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("a message of the SDK's HTTP.binary: %v %q", resp.Header, body)
	}
}

// TestAnHTTPFunctionAnswersEventsForItself: events are ordinary requests to it.
func TestAnHTTPFunctionAnswersEventsForItself(t *testing.T) {
	p := start(t, write(t, map[string]string{"index.js": "exports.handle = (c, body) => 'id ' + c.headers['ce-id'] + body.length;"}), []string{"index.js", "http"})
	if _, body := p.send(http.MethodPost, "/", strings.NewReader("[]"), "Ce-Id: 7", "Content-Type: application/cloudevents-batch+json"); body != "id 72" {
		t.Errorf("got %q", body)
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
		resp, _ := start(t, dir, []string{entry}).send(http.MethodPost, "/", nil, binary...)
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
  if (data?.wait) await new Promise(() => setTimeout(() => {}, 1e6));
  if (data?.large) return 'x'.repeat(data.large);
  if (data?.specversion) return data.cloneWith({ id: '9', type: 'done' });
  return { echoed: context.body };
};`

func TestJobsRunOnce(t *testing.T) {
	dir := write(t, map[string]string{"index.js": jobFunction, "data.json": `{"from": "file"}`})
	const event = `{"specversion":"1.0","id":"7","type":"t","source":"/s","data":{"a":1}}`
	cases := map[string]struct {
		env  []string
		code int
		want []string
	}{
		"nothing given":           {nil, 0, []string{`"msg":"called"`, `"msg":"job done"`}},
		"parameters":              {[]string{`KNIT_JOB_DATA={"n":5}`}, 0, []string{`"argument":{"n":5}`}},
		"parameters in a file":    {[]string{"KNIT_JOB_DATA=" + dir + "/data.json"}, 0, []string{`"argument":{"from":"file"}`}},
		"an event":                {[]string{"KNIT_JOB_EVENT=" + event}, 0, []string{`"id":"7"`, `"eventID":"7"`}},
		"an index":                {[]string{"JOB_COMPLETION_INDEX=3"}, 0, []string{`"index":3`}},
		"a deadline":              {[]string{"KNIT_TIMEOUT=1h"}, 0, []string{`"deadline":true`}},
		"a failure":               {[]string{`KNIT_JOB_DATA={"fail":true}`}, 1, []string{"job failed", "told to fail", "index.js:3"}},
		"a failing status":        {[]string{`KNIT_JOB_DATA={"status":503}`}, 1, []string{"statusCode 503"}},
		"a deadline that passes":  {[]string{`KNIT_JOB_DATA={"wait":true}`, "KNIT_TIMEOUT=50ms", "KNIT_DRAIN_DELAY=10ms"}, 1, []string{"job failed", "passed its deadline"}},
		"a failure that is final": {[]string{`KNIT_JOB_DATA={"status":422}`}, 65, []string{"statusCode 422"}},
		"a failure to try again":  {[]string{`KNIT_JOB_DATA={"status":429}`}, 1, []string{"statusCode 429"}},
		"broken parameters":       {[]string{"KNIT_JOB_DATA={"}, 64, []string{"function not started", "KNIT_JOB_DATA: no JSON"}},
		"a broken event":          {[]string{"KNIT_JOB_EVENT={}"}, 65, []string{"job failed", "id is missing"}},
		"a file that is gone":     {[]string{"KNIT_JOB_EVENT=/no/such/file"}, 64, []string{"KNIT_JOB_EVENT", "ENOENT"}},
		"both":                    {[]string{"KNIT_JOB_EVENT=" + event, "KNIT_JOB_DATA={}"}, 64, []string{"set only one"}},
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

func TestAJobOfAnEventFunctionGetsAnEvent(t *testing.T) {
	dir := write(t, map[string]string{"index.js": "exports.handle = (c, e) => c.cloudEventResponse([e.type, e.source, e.jobindex, e.data]).id('1').type('t').source('/s');"})
	result := filepath.Join(t.TempDir(), "result")
	code, log := runToEnd(t, dir, []string{"index.js", "cloudevent"}, "KNIT_MODE=job", "KNIT_JOB_DATA=[5]", "JOB_COMPLETION_INDEX=3", "KNIT_JOB_RESULT="+result)
	content, err := os.ReadFile(result)
	if err != nil || code != 0 {
		t.Fatalf("code %d, %v: %s", code, err, log)
	}
	if want := `["dev.knit.job","/knit/job","3",[5]]`; string(content) != want {
		t.Errorf("result %s, want %s", content, want)
	}
	code, log = runToEnd(t, dir, []string{"index.js", "cloudevent"}, "KNIT_MODE=job", `KNIT_JOB_DATA="`+strings.Repeat("x", 5000)+`"`, "KNIT_JOB_RESULT="+result+"2")
	if _, err := os.Stat(result + "2"); err == nil || code != 0 || !strings.Contains(log, "more than 4096 bytes") {
		t.Errorf("a result that is too large: code %d, %v: %s", code, err, log)
	}
}

// TestTraceContextIsInTheLog of everything that the function logs by its context.
func TestTraceContextIsInTheLog(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	p := start(t, write(t, map[string]string{"index.js": "exports.handle = (c) => { c.log.info('with %s and more', 'words', { secret: 1 }); c.log.error(new Error('oh')); };"}), []string{"index.js"}, "KNIT_DRAIN_DELAY=0s")
	p.send(http.MethodGet, "/", nil, "Traceparent: "+parent)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	log := p.stdout.String()
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
	if status, body := p.get("/"); status != http.StatusGatewayTimeout {
		t.Errorf("got %d %q", status, body)
	}
	select {
	case <-released:
	case <-time.After(10 * time.Second):
		t.Error("the other function still works for a caller that is gone")
	}
}
