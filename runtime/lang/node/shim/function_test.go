package shim_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestShapesOfModules: the function is found in every form that a module may
// have.
func TestShapesOfModules(t *testing.T) {
	cases := map[string]struct {
		entry string
		files map[string]string
	}{
		"CommonJS, by name":            {"index.js", map[string]string{"index.js": "module.exports = { handle: () => 'ok' };"}},
		"CommonJS, the function alone": {"index.js", map[string]string{"index.js": "module.exports = () => 'ok';"}},
		"CommonJS, .cjs in a module":   {"index.cjs", map[string]string{"index.cjs": "exports.handle = async () => 'ok';", "package.json": `{"type": "module"}`}},
		"what TypeScript compiles to":  {"build/index.js", map[string]string{"build/index.js": "Object.defineProperty(exports, '__esModule', {value: true}); exports.default = () => 'ok';"}},
		"module, by name":              {"index.mjs", map[string]string{"index.mjs": "export const handle = () => 'ok';"}},
		"module, default function":     {"index.js", map[string]string{"index.js": "export default () => 'ok';", "package.json": `{"type": "module"}`}},
		"module, default object":       {"index.mjs", map[string]string{"index.mjs": "class F { word = 'ok'; handle() { return this.word; } }\nexport default new F();"}},
		"module without a type":        {"index.js", map[string]string{"index.js": "import fs from 'node:fs';\nexport const handle = () => 'ok';"}},
		"module that awaits at top":    {"index.mjs", map[string]string{"index.mjs": "const word = await Promise.resolve('ok');\nexport const handle = () => word;"}},
		"module, .js, awaits at top":   {"index.js", map[string]string{"index.js": "const word = await Promise.resolve('ok');\nexport const handle = () => word;", "package.json": `{"type": "module"}`}},
		"TypeScript":                   {"index.ts", map[string]string{"index.ts": "import { word } from './word.ts';\nexport function handle(_: object): string { return word as string; }", "word.ts": "export const word: unknown = 'ok';", "package.json": `{"type": "module"}`}},
		"TypeScript, CommonJS":         {"index.cts", map[string]string{"index.cts": "module.exports = { handle(_: object): string { return 'ok'; } };"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := start(t, write(t, c.files), []string{c.entry})
			if status, body := p.Get("/"); status != http.StatusOK || body != "ok" {
				t.Errorf("got %d %q", status, body)
			}
			if code := p.Stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestWhatCannotBeLoadedIsSaid(t *testing.T) {
	cases := map[string]struct {
		source string
		want   []string
	}{
		"no function":               {"exports.hanlde = () => {};", []string{"index.js exports no function handle", "hanlde", "module.exports = { handle }"}},
		"nothing at all":            {"", []string{"exports nothing"}},
		"a handle that is none":     {"exports.handle = 'me';", []string{"no function handle"}},
		"a syntax error":            {"exports.handle = () => {\n  return 1 +;\n};", []string{"index.js:2", "Unexpected token"}},
		"a syntax error, module":    {"export function handle() {\n  return 1 +;\n}", []string{"index.js:2", "Unexpected token"}},
		"an exception at the top":   {"throw new Error('no database');", []string{"no database", "index.js:1"}},
		"a package that is missing": {"require('left-pad-of-knit');", []string{"left-pad-of-knit"}},
		"init fails":                {"exports.init = async () => { throw new Error('init says no'); };\nexports.handle = () => {};", []string{"init says no"}},
		"a readiness that is none":  {"exports.handle = () => {};\nexports.readiness = true;", []string{"exports readiness, but it is no function"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			code, log := runToEnd(t, write(t, map[string]string{"index.js": c.source}), []string{"index.js"})
			if code != 1 || !strings.Contains(log, "function not started") {
				t.Errorf("code %d: %s", code, log)
			}
			for _, want := range c.want {
				if !strings.Contains(log, want) {
					t.Errorf("the log does not say %q: %s", want, log)
				}
			}
			for line := range strings.Lines(log) {
				if !json.Valid([]byte(line)) {
					t.Errorf("log line %q is no JSON", line)
				}
			}
		})
	}
	if code, log := runToEnd(t, t.TempDir(), []string{"gone.js"}); code != 1 || !strings.Contains(log, "gone.js: no such file") {
		t.Errorf("code %d: %s", code, log)
	}
}

// returnsFunction returns what the query's parameter asks for.
const returnsFunction = `
const values = {
  nothing: undefined, none: null, empty: '', zero: 0,
  text: 'text', object: { a: 1 }, list: [1, 2], number: 5, yes: true,
  bytes: Buffer.from([1, 2]),
  whole: { statusCode: 201, headers: { 'X-A': 'b', 'content-length': 99 }, body: { made: true } },
  typed: { headers: { 'Content-Type': 'text/html' }, body: '<p>' },
  string: { body: '{"a":1}' },
  status: { statusCode: 405, statusMessage: 'Method not allowed' },
  raw: { body: Buffer.from('raw') },
  cookies: { headers: { 'set-cookie': ['a=1', 'b=2'] }, body: 'x' },
  web: new Response('from fetch', { status: 202, headers: { 'x-a': 'b' } }),
  badstatus: { statusCode: 'many', body: 'x' }, nostatus: { statusCode: 99, body: 'x' },
  badheader: { headers: { 'x-a': 'line\nbreak' }, body: 'x' },
  symbol: Symbol('s'), call: () => {}, big: { body: 1n },
};
values.loop = { values: {} }; values.loop.values.self = values.loop;
exports.handle = (context) => values[context.query.v];`

func TestReturnValuesBecomeAnswers(t *testing.T) {
	p := start(t, write(t, map[string]string{"index.js": returnsFunction}), []string{"index.js"})
	const json, text, bytes = "application/json; charset=utf-8", "text/plain; charset=utf-8", "application/octet-stream"
	cases := map[string]struct {
		status      int
		body        string
		contentType string
	}{
		"nothing": {204, "", ""}, "none": {204, "", ""}, "empty": {204, "", ""}, "zero": {204, "", ""},
		"text": {200, "text", text}, "object": {200, `{"a":1}`, json}, "list": {200, "[1,2]", json},
		"number": {200, "5", json}, "yes": {200, "true", json}, "bytes": {200, "\x01\x02", bytes},
		"whole": {201, `{"made":true}`, json}, "typed": {200, "<p>", "text/html"}, "string": {200, `{"a":1}`, json},
		"status": {405, `{"statusCode":405,"statusMessage":"Method not allowed"}`, json},
		"raw":    {200, "raw", bytes}, "cookies": {200, "x", json}, "web": {202, "from fetch", "text/plain;charset=UTF-8"},
		"badstatus": {500, "", ""}, "nostatus": {500, "", ""}, "badheader": {500, "", ""}, "symbol": {500, "", ""},
		"call": {500, "", ""}, "big": {500, "", ""}, "loop": {500, "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resp, body := p.Send(http.MethodGet, "/?v="+name, nil)
			if resp.StatusCode != c.status {
				t.Fatalf("status %d, body %q", resp.StatusCode, body)
			}
			if c.status == http.StatusInternalServerError {
				return
			}
			if body != c.body || resp.Header.Get("Content-Type") != c.contentType {
				t.Errorf("got %q as %q, want %q as %q", body, resp.Header.Get("Content-Type"), c.body, c.contentType)
			}
			if origin := resp.Header.Get("Access-Control-Allow-Origin"); origin != "*" {
				t.Errorf("the origins that may read it are %q", origin)
			}
			if name == "cookies" {
				if diff := cmp.Diff([]string{"a=1", "b=2"}, resp.Header.Values("Set-Cookie")); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	if code := p.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{"statusCode a string", "statusCode number 99", "which cannot be sent", "circular"} {
		if !strings.Contains(p.Log(), want) {
			t.Errorf("the log does not say %q: %s", want, p.Log())
		}
	}
}

const contextFunction = `
exports.handle = (context, body) => ({ body: {
  method: context.method, query: context.query, body, same: context.body === body, type: typeof body,
  buffer: Buffer.isBuffer(body), name: context.name, header: context.headers['x-a'], versions: [context.httpVersion, context.httpVersionMajor, context.httpVersionMinor],
  contentType: context.contentType, rawBody: context.rawBody, event: context.cloudevent === undefined,
  deadline: context.deadline - Date.now() > 1000, live: !context.signal.aborted,
} });`

func TestTheContextTellsAboutTheRequest(t *testing.T) {
	p := start(t, write(t, map[string]string{"index.js": contextFunction}), []string{"index.js"})
	cases := map[string]struct {
		query, contentType, body string
		want                     map[string]any
	}{
		"JSON":                        {"", "application/json; charset=utf-8", `{"a":[1]}`, map[string]any{"body": map[string]any{"a": []any{1.0}}, "type": "object", "rawBody": `{"a":[1]}`}},
		"text":                        {"", "text/plain", "hi", map[string]any{"body": "hi", "type": "string"}},
		"empty text":                  {"", "text/plain", "", map[string]any{"body": "", "type": "string"}},
		"bytes":                       {"", "image/png", "\x01", map[string]any{"buffer": true}},
		"no type":                     {"", "", "x", map[string]any{"buffer": true}},
		"no body":                     {"", "", "", map[string]any{"type": "undefined"}},
		"a form":                      {"", "application/x-www-form-urlencoded", "a=1&b%5B%5D=2&b%5B%5D=3&c%5Bd%5D=4&e=5&e=6", map[string]any{"body": map[string]any{"a": "1", "b": []any{"2", "3"}, "c": map[string]any{"d": "4"}, "e": []any{"5", "6"}}}},
		"a form that attacks":         {"", "application/x-www-form-urlencoded", "__proto__%5Bx%5D=1&constructor%5Bprototype%5D%5By%5D=2", map[string]any{"method": "POST"}},
		"a query":                     {"?name=tiger&b=1&b=2", "", "", map[string]any{"query": map[string]any{"name": "tiger", "b": []any{"1", "2"}}, "name": "tiger"}},
		"a query that hides a member": {"?method=DELETE&cloudevent=x&log=y&body=z", "", "", map[string]any{"method": "POST", "event": true}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			headers := []string{"X-A: b"}
			if c.contentType != "" {
				headers = append(headers, "Content-Type: "+c.contentType)
			}
			resp, body := p.Send(http.MethodPost, "/"+c.query, strings.NewReader(c.body), headers...)
			var got map[string]any
			if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("got %d %q", resp.StatusCode, body)
			}
			for _, always := range []string{"same", "deadline", "live", "event"} {
				if got[always] != true {
					t.Errorf("%s is %v", always, got[always])
				}
			}
			for key, want := range c.want {
				if diff := cmp.Diff(want, got[key]); diff != "" {
					t.Errorf("%s: %s", key, diff)
				}
			}
		})
	}
	if resp, body := p.Send(http.MethodPost, "/", strings.NewReader("{"), "Content-Type: application/json"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("broken JSON gets %d %q", resp.StatusCode, body)
	}
	if _, body := p.Send(http.MethodGet, "/", nil); strings.Contains(body, `"x"`) {
		t.Errorf("an attack has changed objects: %s", body)
	}
}

func TestBrowsersAreAnswered(t *testing.T) {
	preflight := []string{"Origin: https://a.example", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"}
	p := start(t, write(t, map[string]string{"index.js": "exports.handle = (c) => c.method;"}), []string{"index.js"})
	resp, _ := p.Send(http.MethodOptions, "/", nil, preflight...)
	if resp.StatusCode != http.StatusNoContent || resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Access-Control-Allow-Headers") != "content-type" {
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	if _, body := p.Send(http.MethodOptions, "/", nil); body != "OPTIONS" {
		t.Errorf("OPTIONS that is no preflight got %q", body)
	}
	p = start(t, write(t, map[string]string{"index.js": "exports.cors = () => ['https://a.example'];\nexports.handle = () => 'x';"}), []string{"index.js"})
	for origin, want := range map[string]string{"https://a.example": "https://a.example", "https://b.example": ""} {
		resp, _ := p.Send(http.MethodGet, "/", nil, "Origin: "+origin)
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("origin %s may read: %q, want %q", origin, got, want)
		}
	}
}

// lifecycleFunction has all functions that a module may export.
const lifecycleFunction = `
let well = true;
exports.init = async () => { console.log('init'); };
exports.shutdown = async () => { console.log('shutdown'); };
exports.liveness = () => 'alive';
exports.readiness = () => { if (!well) throw new Error('not well'); };
exports.readiness.path = '/ready';
exports.handle = (context) => { well = context.query.well !== 'no'; return 'ok'; };`

func TestModulesMayTakePartInTheirLife(t *testing.T) {
	p := start(t, write(t, map[string]string{"index.js": strings.Replace(lifecycleFunction, "console.log('init')", "well = true", 1)}), []string{"index.js"})
	check := func(path string, status int, want string) {
		t.Helper()
		if got, body := p.Get(path); got != status || !strings.Contains(body, want) {
			t.Errorf("%s gives %d %q, want %d %q", path, got, body, status, want)
		}
	}
	check("/health/liveness", 200, "alive")
	check("/health/readiness", 200, "OK")
	check("/ready", 200, "OK")
	check("/?well=no", 200, "ok")
	check("/health/readiness", 503, "")
	check("/health/liveness", 200, "alive")
	if code := p.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{`"msg":"shutdown"`, "not well"} {
		if !strings.Contains(p.Log(), want) {
			t.Errorf("the log does not say %s: %s", want, p.Log())
		}
	}
	code, log := runToEnd(t, write(t, map[string]string{"index.js": lifecycleFunction}), []string{"index.js"}, "KNIT_MODE=job")
	if code != 0 || strings.Index(log, `"msg":"init"`) > strings.Index(log, `"msg":"shutdown"`) {
		t.Errorf("code %d: %s", code, log)
	}
}

// TestACrashIsLogged: what no request can answer for ends the process, with one
// line of JSON.
func TestACrashIsLogged(t *testing.T) {
	for name, source := range map[string]string{
		"a timer":     "setTimeout(() => { throw new Error('boom'); }, 1);",
		"a rejection": "setTimeout(() => { Promise.reject(new Error('boom')); }, 1);",
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string]string{"index.js": "exports.handle = () => {};\nexports.init = () => new Promise((r) => setTimeout(r, 5000));\n" + source})
			code, log := runToEnd(t, dir, []string{"index.js"})
			var entry struct{ Msg, Panic, Stack string }
			if err := json.Unmarshal(bytes.TrimSpace([]byte(log)), &entry); err != nil || code != 1 {
				t.Fatalf("code %d: %q", code, log)
			}
			if entry.Msg != "function crashed" || entry.Panic != "boom" || !strings.Contains(entry.Stack, "index.js:3") {
				t.Errorf("log %s", log)
			}
		})
	}
}
