package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const structuredType = "Content-Type: application/cloudevents+json"

// binary is the header of an event in binary mode.
func binary(kind string, more ...string) []string {
	return append([]string{"Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s", "Ce-Type: " + kind}, more...)
}

func TestEventsReachTheFunction(t *testing.T) {
	full := binary("echo", "Ce-Subject: %C3%BC", "Ce-Time: 2026-01-02T03:04:05Z", "Ce-Tier: gold")
	with := func(more ...string) []string { return append(append([]string{}, full...), more...) }
	const attributes = `"specversion":"1.0","id":"1","type":"echo","source":"/s","subject":"ü","time":"2026-01-02T03:04:05Z","tier":"gold"`
	cases := map[string]struct {
		body    string
		headers []string
		kind    string // datacontenttype
		data    any
	}{
		"structured":             {`{` + attributes + `,"datacontenttype":"application/json","data":{"a":1}}`, []string{structuredType + "; charset=utf-8"}, "application/json", map[string]any{"a": 1.0}},
		"structured, bytes":      {`{` + attributes + `,"datacontenttype":"image/png","data_base64":"/wA="}`, []string{structuredType}, "image/png", "bytes:ff00"},
		"structured, text":       {`{` + attributes + `,"datacontenttype":"text/plain","data":"12"}`, []string{structuredType}, "text/plain", "12"},
		"structured, no data":    {`{` + attributes + `}`, []string{structuredType}, "", nil},
		"binary":                 {`{"a":1}`, with("Content-Type: application/json"), "application/json", map[string]any{"a": 1.0}},
		"binary, text":           {"12", with("Content-Type: text/plain"), "text/plain", "12"},
		"binary, bytes":          {"\xff\x00", with("Content-Type: image/png"), "image/png", "bytes:ff00"},
		"binary, no data":        {"", with(), "", nil},
		"binary, UTF-8 as it is": {`{"a":1}`, append(binary("echo", "Ce-Subject: ü", "Ce-Time: 2026-01-02T03:04:05Z", "Ce-Tier: gold"), "Content-Type: application/json"), "application/json", map[string]any{"a": 1.0}},
	}
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, eventFixture)
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				resp, body := p.Send(http.MethodPost, "/any/path?x=1", strings.NewReader(c.body), c.headers...)
				var got struct {
					Seen map[string]string
					Data any
				}
				if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != http.StatusOK {
					t.Fatalf("got %d %q", resp.StatusCode, body)
				}
				want := map[string]string{"specversion": "1.0", "id": "1", "type": "echo", "source": "/s", "subject": "ü", "time": "2026-01-02T03:04:05Z", "tier": "gold"}
				if c.kind != "" {
					want["datacontenttype"] = c.kind
				}
				if diff := cmp.Diff(want, got.Seen); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(c.data, got.Data); diff != "" {
					t.Error(diff)
				}
			})
		}
	})
}

func TestRepliesAreBinaryEvents(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, eventFixture)
		resp, _ := p.Send(http.MethodPost, "/", nil, binary("echo")...)
		got := map[string]string{}
		for _, name := range []string{"Ce-Specversion", "Ce-Id", "Ce-Type", "Ce-Source", "Ce-Subject", "Ce-Count", "Content-Type"} {
			got[name] = resp.Header.Get(name)
		}
		want := map[string]string{
			"Ce-Specversion": "1.0", "Ce-Id": "re-1", "Ce-Type": "reply", "Ce-Source": "/f",
			"Ce-Subject": "gr%C3%BCn%205%25", "Ce-Count": "3", "Content-Type": "application/json",
		}
		if diff := cmp.Diff(want, got); diff != "" || resp.StatusCode != http.StatusOK {
			t.Errorf("status %d: %s", resp.StatusCode, diff)
		}
	})
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	structured := []string{structuredType}
	cases := map[string]struct {
		method, body string
		headers      []string
		status       int
		want         string
	}{
		"a batch":                     {"POST", "[]", []string{"Content-Type: application/cloudevents-batch+json"}, 415, "one event"},
		"another format":              {"POST", "", []string{"Content-Type: application/cloudevents+avro"}, 415, "avro"},
		"no event at all":             {"POST", "hello", nil, 400, "ce-specversion"},
		"broken JSON":                 {"POST", "{", structured, 400, "structured event"},
		"deep JSON":                   {"POST", strings.Repeat("[", 100_000), structured, 400, "structured event"},
		"a list":                      {"POST", "[]", structured, 400, ""},
		"structured, no id":           {"POST", `{"specversion":"1.0","type":"t","source":"/s"}`, structured, 400, "id"},
		"structured, an empty id":     {"POST", `{"specversion":"1.0","id":"","type":"t","source":"/s"}`, structured, 400, "id"},
		"structured, a number as id":  {"POST", `{"specversion":"1.0","id":1,"type":"t","source":"/s"}`, structured, 400, "id"},
		"structured, another version": {"POST", `{"specversion":"0.9","id":"1","type":"t","source":"/s"}`, structured, 400, ""},
		"structured, an unfit name":   {"POST", `{"specversion":"1.0","id":"1","type":"t","source":"/s","Bad-Name":"x"}`, structured, 400, ""},
		"structured, a nested value":  {"POST", `{"specversion":"1.0","id":"1","type":"t","source":"/s","ext":{"x":1}}`, structured, 400, ""},
		"structured, data twice":      {"POST", `{"specversion":"1.0","id":"1","type":"t","source":"/s","data":1,"data_base64":"AA=="}`, structured, 400, "data_base64"},
		"structured, unfit base64":    {"POST", `{"specversion":"1.0","id":"1","type":"t","source":"/s","data_base64":"!"}`, structured, 400, ""},
		"structured, an unfit time":   {"POST", `{"specversion":"1.0","id":"1","type":"t","source":"/s","time":"noon"}`, structured, 400, "noon"},
		"binary, no type":             {"POST", "", []string{"Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s"}, 400, "type"},
		"binary, another version":     {"POST", "", []string{"Ce-Specversion: 9.9", "Ce-Id: 1"}, 400, "9.9"},
		"binary, an unfit time":       {"POST", "", binary("echo", "Ce-Time: noon"), 400, "ime"},
		"binary, an unfit escape":     {"POST", "", binary("echo", "Ce-Subject: %zz"), 400, "ubject"},
		"a GET":                       {"GET", "", nil, 405, "POST"},
		"a body over the limit":       {"POST", strings.Repeat("x", 200_001), binary("echo"), 413, "KNIT_MAX_BODY_BYTES"},
	}
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, eventFixture, "KNIT_MAX_BODY_BYTES=200000")
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				resp, body := p.Send(c.method, "/", strings.NewReader(c.body), c.headers...)
				if resp.StatusCode != c.status || !strings.Contains(body, c.want) {
					t.Errorf("got %d %q, want %d with %q", resp.StatusCode, body, c.status, c.want)
				}
				if c.status == http.StatusMethodNotAllowed && resp.Header.Get("Allow") != http.MethodPost {
					t.Errorf("the method that is taken is not said: %v", resp.Header)
				}
			})
		}
	})
}

// TestOutcomesAreStatuses that Knative's delivery understands: it tries again
// after 404, 408, 409, 429 and 5xx, and gives up after any other 4xx.
func TestOutcomesAreStatuses(t *testing.T) {
	cases := map[string]struct {
		kind   string
		status int
		want   string
	}{
		"no reply":                       {"nothing", 204, ""},
		"an invalid reply":               {"invalid", 500, "invalid event"},
		"an error":                       {"fail", 500, ""},
		"a panic":                        {"panic", 500, ""},
		"its deadline":                   {"late", 504, ""},
		"a code":                         {"code 422", 422, "told to fail"},
		"a code to try again":            {"code 429", 429, "told to fail"},
		"a code of the server":           {"code 503", 503, "told to fail"},
		"a code that is none":            {"code 700", 500, ""},
		"a code that is none of failure": {"code 302", 500, ""},
	}
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, eventFixture)
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				kind, code, _ := strings.Cut(c.kind, " ")
				body := "null"
				if code != "" {
					body = fmt.Sprintf(`{"status":%s}`, code)
				}
				resp, got := p.Send(http.MethodPost, "/", strings.NewReader(body), binary(kind, "Content-Type: application/json")...)
				if resp.StatusCode != c.status || !strings.Contains(got, c.want) {
					t.Errorf("got %d %q, want %d with %q", resp.StatusCode, got, c.status, c.want)
				}
				if c.status == http.StatusNoContent && got != "" {
					t.Errorf("a body where none may be: %q", got)
				}
			})
		}
	})
}
