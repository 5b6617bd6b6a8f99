package conformance

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/knit-dev/knit/runtime/conformance/process"
)

const (
	kindServer  = 2
	statusUnset = 0
	statusError = 2
	flagRemote  = 0x300 // it is known whether the parent is remote, and it is
)

// observed starts a fixture whose telemetry goes to the collector.
func (l *language) observed(t *testing.T, fixture string, c *collector, env ...string) *process.Process {
	t.Helper()
	return l.start(t, fixture, append([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL + "/"}, env...)...)
}

// one wants exactly one span.
func one(t *testing.T, spans []otlpSpan) otlpSpan {
	t.Helper()
	if len(spans) != 1 {
		t.Fatalf("%d spans, want one: %+v", len(spans), spans)
	}
	return spans[0]
}

func TestSpansOfRequests(t *testing.T) {
	sampled := []string{"Traceparent: " + traceparent, "Tracestate: vendor=1,other=2"}
	cases := map[string]struct {
		method, target string
		headers        []string
		name           string
		status         int // of the span
		want           attributes
		parent         string
	}{
		"in a trace":        {"GET", "/trace?q=secret", sampled, "GET", statusUnset, attributes{"http.request.method": "GET", "http.response.status_code": int64(200)}, parentID},
		"a failure":         {"GET", "/fail", sampled, "GET", statusError, attributes{"http.response.status_code": int64(500)}, parentID},
		"of the caller":     {"GET", "/status?code=404", sampled, "GET", statusUnset, attributes{"http.response.status_code": int64(404)}, parentID},
		"of the function":   {"POST", "/status?code=503", sampled, "POST", statusError, attributes{"http.response.status_code": int64(503), "error.type": "503"}, parentID},
		"an odd method":     {"PROPFIND", "/odd", nil, "HTTP", statusUnset, attributes{"http.request.method": "_OTHER", "http.request.method_original": "PROPFIND"}, ""},
		"a new trace":       {"GET", "/new", nil, "GET", statusUnset, nil, ""},
		"an invalid parent": {"GET", "/invalid", []string{"Traceparent: 00-xyz-1-01"}, "GET", statusUnset, nil, ""},
		"a parent of zeros": {"GET", "/zero", []string{"Traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, "GET", statusUnset, nil, ""},
		"a later version":   {"GET", "/later", []string{"Traceparent: 01-" + traceID + "-" + parentID + "-01-more"}, "GET", statusUnset, nil, parentID},
	}
	each(t, func(t *testing.T, l *language) {
		collector := collect(t)
		p := l.observed(t, httpFixture, collector)
		for name, c := range cases {
			p.Send(c.method, c.target, nil, append([]string{"User-Agent: " + name}, c.headers...)...)
		}
		for _, none := range []string{"/health/liveness", "/health/readiness"} {
			p.Get(none)
		}
		if code := p.Stop(); code != 0 {
			t.Fatalf("exit code %d: %s", code, p.Log())
		}
		all := collector.spans("user_agent.original")
		if len(all) != len(cases) {
			t.Errorf("%d requests left spans of %d: %v; health checks leave none", len(cases), len(all), all)
		}
		cold := 0
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				target, _, _ := strings.Cut(c.target, "?")
				span := one(t, all[name])
				if span.Name != c.name || span.Kind != kindServer || span.Status.Code != c.status || span.ParentSpanID != c.parent {
					t.Errorf("got %+v", span)
				}
				if span.Attributes["faas.coldstart"] == true {
					cold++
				}
				if c.parent != "" && (span.TraceID != traceID || span.Flags != flagRemote|1) {
					t.Errorf("the caller's trace does not go on: %+v", span)
				}
				checkTimes(t, span)
				want := attributes{"url.path": target, "url.scheme": "http", "network.protocol.version": "1.1", "faas.trigger": "http", "server.address": "127.0.0.1"}
				for key, value := range c.want {
					want[key] = value
				}
				for key, value := range want {
					if span.Attributes[key] != value {
						t.Errorf("%s is %v, want %v", key, span.Attributes[key], value)
					}
				}
				if (span.Attributes["error.type"] == nil) != (c.status == statusUnset) || strings.Contains(fmt.Sprint(span), "secret") {
					t.Errorf("attributes %v", span.Attributes)
				}
			})
		}
		if cold != 1 {
			t.Errorf("%d requests were the first", cold)
		}
	})
}

func checkTimes(t *testing.T, span otlpSpan) {
	t.Helper()
	begun, errBegun := strconv.ParseInt(span.Start, 10, 64)
	ended, errEnded := strconv.ParseInt(span.End, 10, 64)
	if errBegun != nil || errEnded != nil || begun > ended || time.Since(time.Unix(0, begun)).Abs() > time.Hour {
		t.Errorf("from %s to %s", span.Start, span.End)
	}
}

// TestTheFunctionSeesItsSpan, and so can make it the parent of what it calls;
// the log has it as well.
func TestTheFunctionSeesItsSpan(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		for name, headers := range map[string][]string{
			"a trace that goes on": {"Traceparent: " + traceparent, "Tracestate: vendor=1"},
			"a new trace":          {"Tracestate: vendor=1"},
		} {
			t.Run(name, func(t *testing.T) {
				collector := collect(t)
				p := l.observed(t, httpFixture, collector)
				_, body := p.Send(http.MethodGet, "/trace", nil, headers...)
				p.Send(http.MethodGet, "/log", nil, headers...)
				p.Stop()
				var seen struct{ Traceparent, Tracestate string }
				if err := json.Unmarshal([]byte(body), &seen); err != nil {
					t.Fatalf("%v in %s", err, body)
				}
				span := one(t, collector.spans("url.path")["/trace"])
				if want := "00-" + span.TraceID + "-" + span.SpanID + "-01"; seen.Traceparent != want || seen.Tracestate != span.TraceState {
					t.Errorf("the function saw %+v, the span is %s %s", seen, want, span.TraceState)
				}
				if goesOn := len(headers) == 2; (span.TraceState == "vendor=1") != goesOn {
					t.Errorf("state %q", span.TraceState)
				}
				logged := one(t, collector.spans("url.path")["/log"])
				find(t, readLog(t, p.Log()), entry{"msg": "said", "traceparent": "00-" + logged.TraceID + "-" + logged.SpanID + "-01"})
			})
		}
	})
}

// TestSpansAreBounded: what a caller sends cannot make the queue large.
func TestSpansAreBounded(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		collector := collect(t)
		p := l.observed(t, httpFixture, collector)
		long := strings.Repeat("x", 5000)
		p.Send(http.MethodGet, "/"+long, nil, "User-Agent: "+long, "Traceparent: "+traceparent, "Tracestate: a="+long)
		p.Stop()
		span := one(t, collector.spans("url.path")["/"+long[:1023]])
		if agent, _ := span.Attributes["user_agent.original"].(string); len(agent) != 1024 || span.TraceState != "" {
			t.Errorf("user agent of %d bytes, state of %d", len(agent), len(span.TraceState))
		}
	})
}

func TestSpansOfEvents(t *testing.T) {
	named := func(kind string) attributes {
		return attributes{"cloudevents.event_id": "1", "cloudevents.event_source": "/s", "cloudevents.event_type": kind, "cloudevents.event_spec_version": "1.0", "faas.trigger": "pubsub", "http.request.method": "POST"}
	}
	cases := map[string]struct {
		body    string
		headers []string
		kind    string
		status  int
		parent  string
	}{
		"binary":       {"", binary("trace", "Traceparent: "+traceparent), "trace", statusUnset, parentID},
		"structured":   {`{"specversion":"1.0","id":"1","type":"trace","source":"/s"}`, []string{structuredType, "Traceparent: " + traceparent}, "trace", statusUnset, parentID},
		"an extension": {"", binary("trace", "Ce-Traceparent: "+traceparent), "trace", statusUnset, parentID},
		"both":         {"", binary("trace", "Traceparent: "+traceparent, "Ce-Traceparent: 00-"+traceID+"-1111111111111111-01"), "trace", statusUnset, parentID},
		"new":          {"", binary("trace"), "trace", statusUnset, ""},
		"a refusal":    {`{"status":422}`, binary("code", "Content-Type: application/json"), "code", statusUnset, ""},
		"a failure":    {"", binary("fail"), "fail", statusError, ""},
	}
	each(t, func(t *testing.T, l *language) {
		collector := collect(t)
		p := l.observed(t, eventFixture, collector)
		bodies := map[string]string{}
		for name, c := range cases {
			_, bodies[name] = p.Send(http.MethodPost, "/", strings.NewReader(c.body), append([]string{"User-Agent: " + name}, c.headers...)...)
		}
		p.Stop()
		all := collector.spans("user_agent.original")
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				span := one(t, all[name])
				if span.Name != "process "+c.kind || span.Kind != kindServer || span.Status.Code != c.status || span.ParentSpanID != c.parent {
					t.Errorf("got %+v", span)
				}
				for key, value := range named(c.kind) {
					if span.Attributes[key] != value {
						t.Errorf("%s is %v, want %v", key, span.Attributes[key], value)
					}
				}
				if want := "00-" + span.TraceID + "-" + span.SpanID + "-01"; c.kind == "trace" && !strings.Contains(bodies[name], want) {
					t.Errorf("the function saw %s, the span is %s", bodies[name], want)
				}
			})
		}
	})
}

func TestSpansOfJobs(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		for name, c := range map[string]struct {
			fixture string
			env     []string
			span    string
			status  int
		}{
			"HTTP":     {httpFixture, []string{`KNIT_JOB_DATA={"n":1}`}, "job", statusUnset},
			"an event": {eventFixture, []string{"KNIT_JOB_EVENT=" + jobEvent}, "process order", statusUnset},
			"failed":   {httpFixture, []string{`KNIT_JOB_DATA={"do":"fail"}`}, "job", statusError},
		} {
			t.Run(name, func(t *testing.T) {
				collector := collect(t)
				runJob(t, l, c.fixture, nil, append(c.env, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "TRACEPARENT="+traceparent)...)
				span := one(t, collector.spans("faas.trigger")["other"])
				if span.Name != c.span || span.Status.Code != c.status || span.TraceID != traceID || span.ParentSpanID != parentID {
					t.Errorf("got %+v", span)
				}
			})
		}
	})
}

func TestMetricsOfRequests(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		collector := collect(t)
		p := l.observed(t, httpFixture, collector, "OTEL_METRIC_EXPORT_INTERVAL=100")
		go func() { _, _ = http.Get(p.URL + "/slow?ms=1500") }()
		p.AwaitMark("begun")
		active := func() (n string) {
			if sum := collector.metrics()["http.server.active_requests"].Sum; sum != nil {
				for _, point := range sum.DataPoints {
					if point.Attributes["http.request.method"] == "GET" {
						n = point.AsInt
					}
				}
			}
			return n
		}
		collector.await(t, "one active request", func() bool { return active() == "1" })
		p.Get("/")
		p.Get("/")
		p.Get("/status?code=503")
		p.Stop()
		if n := active(); n != "0" {
			t.Errorf("%q active requests at the end", n)
		}
		duration := collector.metrics()["http.server.request.duration"]
		if duration.Unit != "s" || duration.Histogram == nil || duration.Histogram.AggregationTemporality != 2 {
			t.Fatalf("got %+v", duration)
		}
		counts := map[int64]string{}
		for _, point := range duration.Histogram.DataPoints {
			status, _ := point.Attributes["http.response.status_code"].(int64)
			counts[status] = point.Count
			if point.Attributes["http.request.method"] != "GET" || point.Attributes["url.scheme"] != "http" || point.Attributes["network.protocol.version"] != "1.1" {
				t.Errorf("attributes %v", point.Attributes)
			}
			if failed := status == 503; (point.Attributes["error.type"] == "503") != failed {
				t.Errorf("attributes %v", point.Attributes)
			}
			total := 0
			for _, count := range point.BucketCounts {
				n, err := strconv.Atoi(count)
				if err != nil {
					t.Error(err)
				}
				total += n
			}
			if strconv.Itoa(total) != point.Count || len(point.BucketCounts) != len(point.ExplicitBounds)+1 || len(point.ExplicitBounds) != 14 {
				t.Errorf("buckets %v of %v", point.BucketCounts, point.ExplicitBounds)
			}
			if slow := status == 200; slow && (point.Sum < 1.5 || point.Sum > 60) {
				t.Errorf("%f seconds in all", point.Sum)
			}
		}
		if diff := cmp.Diff(map[int64]string{200: "3", 503: "1"}, counts); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTheResource(t *testing.T) {
	knative := []string{"K_SERVICE=orders", "K_REVISION=orders-00002"}
	cases := map[string]struct {
		env  []string
		want attributes
	}{
		"from Knative": {knative, attributes{"service.name": "orders", "faas.name": "orders", "faas.version": "orders-00002", "telemetry.sdk.name": "knit"}},
		"from OpenTelemetry's variables": {
			append([]string{"OTEL_SERVICE_NAME=shop", "OTEL_RESOURCE_ATTRIBUTES=service.name=other, service.version=1%2C2,team=a"}, knative...),
			attributes{"service.name": "shop", "service.version": "1,2", "team": "a", "faas.name": "orders"},
		},
		"from attributes alone": {[]string{"OTEL_RESOURCE_ATTRIBUTES=service.name=other"}, attributes{"service.name": "other"}},
	}
	each(t, func(t *testing.T, l *language) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				collector := collect(t)
				p := l.observed(t, httpFixture, collector, append([]string{"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20x%3D, X-Tenant=a"}, c.env...)...)
				p.Get("/")
				p.Stop()
				paths := map[string]bool{}
				for _, r := range collector.requests() {
					paths[r.path] = true
					if r.header.Get("Authorization") != "Bearer x=" || r.header.Get("X-Tenant") != "a" || r.header.Get("Content-Type") != "application/json" {
						t.Errorf("headers %v", r.header)
					}
					for _, got := range r.otlp.resources() {
						for key, value := range c.want {
							if got[key] != value {
								t.Errorf("%s is %v, want %v", key, got[key], value)
							}
						}
					}
				}
				if diff := cmp.Diff(map[string]bool{"/v1/traces": true, "/v1/metrics": true}, paths); diff != "" {
					t.Error(diff)
				}
			})
		}
	})
}

func TestSamplers(t *testing.T) {
	sampled, unsampled := "Traceparent: "+traceparent, "Traceparent: "+strings.TrimSuffix(traceparent, "1")+"0"
	cases := map[string]struct {
		env                          []string
		root, ofSampled, ofUnsampled bool
	}{
		"none said":                {nil, true, true, false},
		"parentbased_always_on":    {[]string{"OTEL_TRACES_SAMPLER=parentbased_always_on"}, true, true, false},
		"parentbased_always_off":   {[]string{"OTEL_TRACES_SAMPLER=parentbased_always_off"}, false, true, false},
		"always_on":                {[]string{"OTEL_TRACES_SAMPLER=always_on"}, true, true, true},
		"always_off":               {[]string{"OTEL_TRACES_SAMPLER=always_off"}, false, false, false},
		"traceidratio, all":        {[]string{"OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=1.0"}, true, true, true},
		"traceidratio, none":       {[]string{"OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0"}, false, false, false},
		"parentbased_traceidratio": {[]string{"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0"}, false, true, false},
		"one that there is not":    {[]string{"OTEL_TRACES_SAMPLER=dice"}, true, true, false},
		"traces that nobody wants": {[]string{"OTEL_TRACES_EXPORTER=none"}, false, false, false},
	}
	each(t, func(t *testing.T, l *language) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				collector := collect(t)
				p := l.observed(t, httpFixture, collector, c.env...)
				p.Get("/root")
				p.Send(http.MethodGet, "/sampled", nil, sampled)
				_, body := p.Send(http.MethodGet, "/unsampled", nil, unsampled)
				_, seen := p.Send(http.MethodGet, "/trace", nil, unsampled)
				p.Stop()
				spans := collector.spans("url.path")
				for path, want := range map[string]bool{"/root": c.root, "/sampled": c.ofSampled, "/unsampled": c.ofUnsampled} {
					if got := len(spans[path]) == 1; got != want {
						t.Errorf("%s is recorded: %t, want %t; %s", path, got, want, body)
					}
				}
				if flag := map[bool]string{true: `-01"`, false: `-00"`}[c.ofUnsampled]; !strings.Contains(seen, flag) {
					t.Errorf("the function hands on %s, want the flag %s", seen, flag)
				}
			})
		}
	})
}

// TestSomeTracesAreSampled by their id, so that every process of a trace decides
// alike.
func TestSomeTracesAreSampled(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		collector := collect(t)
		p := l.observed(t, httpFixture, collector, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.25")
		for id, path := range map[string]string{"0000000000000001": "/low", "3000000000000000": "/below", "5000000000000000": "/over", "fffffffffffffff0": "/high"} {
			p.Send(http.MethodGet, path, nil, "Traceparent: 00-0000000000000001"+id+"-"+parentID+"-01")
		}
		p.Stop()
		spans := collector.spans("url.path")
		for path, want := range map[string]int{"/low": 1, "/below": 1, "/over": 0, "/high": 0} {
			if len(spans[path]) != want {
				t.Errorf("%s is recorded %d times, want %d", path, len(spans[path]), want)
			}
		}
	})
}

func TestTelemetryIsOff(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		for name, env := range map[string][]string{
			"without an endpoint": {"OTEL_EXPORTER_OTLP_ENDPOINT="},
			"by a word":           {"OTEL_SDK_DISABLED=true"},
			"for both signals":    {"OTEL_TRACES_EXPORTER=none", "OTEL_METRICS_EXPORTER=none"},
		} {
			t.Run(name, func(t *testing.T) {
				collector := collect(t)
				p := l.observed(t, httpFixture, collector, env...)
				_, body := p.Send(http.MethodGet, "/trace", nil, "Traceparent: "+traceparent, "Tracestate: vendor=1")
				var seen struct{ Traceparent, Tracestate string }
				if err := json.Unmarshal([]byte(body), &seen); err != nil || seen.Traceparent != traceparent || seen.Tracestate != "vendor=1" {
					t.Errorf("the function saw %s (%v), want what the caller sent", body, err)
				}
				p.Stop()
				if got := collector.requests(); len(got) != 0 {
					t.Errorf("the collector got %v", got)
				}
				if log := readLog(t, p.Log()); len(log) != 3 {
					t.Errorf("log %s", p.Log())
				}
			})
		}
	})
}

func TestEndpointsOfSignals(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		collector := collect(t)
		p := l.start(t, httpFixture, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+collector.URL+"/my/spans")
		p.Get("/")
		p.Stop()
		for _, r := range collector.requests() {
			if r.path != "/my/spans" || len(r.otlp.ResourceSpans) != 1 {
				t.Errorf("got %+v", r)
			}
		}
		one(t, collector.spans("url.path")["/"])
	})
}

// TestSpansAreSentWhileTheFunctionServes, not only at its end.
func TestSpansAreSentWhileTheFunctionServes(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		collector := collect(t, http.StatusServiceUnavailable, http.StatusTooManyRequests)
		p := l.observed(t, httpFixture, collector, "OTEL_BSP_SCHEDULE_DELAY=50")
		p.Get("/a")
		collector.await(t, "the span at the third try", func() bool { return len(collector.spans("url.path")["/a"]) == 1 })
		p.Get("/b")
		collector.await(t, "the next span", func() bool { return len(collector.spans("url.path")["/b"]) == 1 })
		one(t, collector.spans("url.path")["/a"])
	})
}

// TestSpansThatTheCollectorRefuses are not sent again.
func TestSpansThatTheCollectorRefuses(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		collector := collect(t, http.StatusBadRequest)
		p := l.observed(t, httpFixture, collector, "OTEL_METRICS_EXPORTER=none")
		p.Get("/a")
		if code := p.Stop(); code != 0 || len(collector.requests()) != 0 {
			t.Errorf("exit code %d, the collector got %v", code, collector.requests())
		}
		if e := find(t, readLog(t, p.Log()), entry{"level": "WARN", "msg": "telemetry lost", "spans": 1.0}); !strings.Contains(e.text("error"), "400") {
			t.Errorf("the log does not say why: %v", e)
		}
	})
}

// TestACollectorThatIsNotThere neither slows nor fails requests, and does not
// hold the end; what is lost is counted.
func TestACollectorThatIsNotThere(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	const count, queue = 200, 20
	each(t, func(t *testing.T, l *language) {
		for name, address := range map[string]string{"refuses": gone.Addr().String(), "is silent": silent.Addr().String()} {
			t.Run(name, func(t *testing.T) {
				p := l.start(t, httpFixture, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+address, "OTEL_BSP_SCHEDULE_DELAY=10", fmt.Sprint("OTEL_BSP_MAX_QUEUE_SIZE=", queue))
				slowest := time.Duration(0)
				for range count {
					begun := time.Now()
					if status, _ := p.Get("/"); status != http.StatusOK {
						t.Fatalf("status %d", status)
					}
					slowest = max(slowest, time.Since(begun))
				}
				// An export takes ten seconds to fail: no request has waited for one.
				if slowest > 5*time.Second {
					t.Errorf("a request took %s", slowest)
				}
				begun := time.Now()
				if code := p.Stop(); code != 0 || time.Since(begun) > 9*time.Second {
					t.Errorf("exit code %d after %s", code, time.Since(begun))
				}
				find(t, readLog(t, p.Log()), entry{"level": "WARN", "msg": "telemetry lost", "spans": float64(count)})
			})
		}
	})
}

// TestTelemetryThatIsSetWrongly is said, and stops nothing.
func TestTelemetryThatIsSetWrongly(t *testing.T) {
	cases := map[string]struct {
		env  []string
		want []string
		sent bool
	}{
		"another protocol":   {[]string{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/json"}, true},
		"a protocol of one":  {[]string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf"}, []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf", "http/json"}, true},
		"no URL":             {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector"}, []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"}, false},
		"an unknown sampler": {[]string{"OTEL_TRACES_SAMPLER=dice"}, []string{"OTEL_TRACES_SAMPLER", "dice", "parentbased_always_on"}, true},
		"an unfit ratio":     {[]string{"OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=2"}, []string{"OTEL_TRACES_SAMPLER_ARG", "from 0 to 1"}, true},
		"an unfit number":    {[]string{"OTEL_BSP_MAX_QUEUE_SIZE=many"}, []string{"OTEL_BSP_MAX_QUEUE_SIZE", "many", "2048"}, true},
		"unfit headers":      {[]string{"OTEL_EXPORTER_OTLP_HEADERS=secret"}, []string{"OTEL_EXPORTER_OTLP_HEADERS", "entry 1"}, true},
		"the right protocol": {[]string{"OTEL_EXPORTER_OTLP_PROTOCOL=http/json"}, nil, true},
	}
	each(t, func(t *testing.T, l *language) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				collector := collect(t)
				p := l.observed(t, httpFixture, collector, c.env...)
				if status, _ := p.Get("/"); status != http.StatusOK {
					t.Errorf("status %d", status)
				}
				p.Stop()
				if sent := len(collector.spans("url.path")["/"]) == 1; sent != c.sent {
					t.Errorf("the span was sent: %t", sent)
				}
				var notes []string
				for _, e := range readLog(t, p.Log()) {
					if e["msg"] == "telemetry setting" && e["level"] == "WARN" {
						notes = append(notes, e.text("error"))
					}
				}
				if (len(notes) == 0) != (c.want == nil) || strings.Contains(p.Log(), "secret") {
					t.Fatalf("log %s", p.Log())
				}
				for _, want := range c.want {
					if !strings.Contains(strings.Join(notes, "\n"), want) {
						t.Errorf("%q is not said: %v", want, notes)
					}
				}
			})
		}
	})
}
