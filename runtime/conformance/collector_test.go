package conformance

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// collector stands in for an OpenTelemetry collector: it takes OTLP in JSON and
// keeps what it got.
type collector struct {
	*httptest.Server
	lock     sync.Mutex
	got      []request
	statuses []int         // to answer first, one by one; then 200
	changed  chan struct{} // closed and made anew with every request
}

type request struct {
	path   string
	header http.Header
	otlp   otlp
}

// otlp is as much of the JSON form of OTLP as the tests look at.
type otlp struct {
	ResourceSpans []struct {
		Resource   resource
		ScopeSpans []struct {
			Scope struct{ Name string }
			Spans []otlpSpan
		}
	}
	ResourceMetrics []struct {
		Resource     resource
		ScopeMetrics []struct{ Metrics []otlpMetric }
	}
}

// resources are who sent it.
func (o otlp) resources() []attributes {
	var all []attributes
	for _, spans := range o.ResourceSpans {
		all = append(all, spans.Resource.Attributes)
	}
	for _, metrics := range o.ResourceMetrics {
		all = append(all, metrics.Resource.Attributes)
	}
	return all
}

type resource struct{ Attributes attributes }

type otlpSpan struct {
	TraceID      string `json:"traceId"`
	SpanID       string `json:"spanId"`
	ParentSpanID string `json:"parentSpanId"`
	TraceState   string
	Name         string
	Kind         int
	Flags        int
	Start        string `json:"startTimeUnixNano"`
	End          string `json:"endTimeUnixNano"`
	Attributes   attributes
	Status       struct{ Code int }
}

type otlpMetric struct {
	Name, Unit string
	Histogram  *struct {
		AggregationTemporality int
		DataPoints             []struct {
			Attributes     attributes
			Start          string `json:"startTimeUnixNano"`
			Time           string `json:"timeUnixNano"`
			Count          string
			Sum            float64
			BucketCounts   []string
			ExplicitBounds []float64
		}
	}
	Sum *struct {
		AggregationTemporality int
		IsMonotonic            bool
		DataPoints             []struct {
			Attributes attributes
			AsInt      string
		}
	}
}

// attributes are values by name; whole numbers are int64.
type attributes map[string]any

func (a *attributes) UnmarshalJSON(text []byte) error {
	var list []struct {
		Key   string
		Value struct {
			StringValue *string
			IntValue    *string // 64 bits: a string in JSON
			BoolValue   *bool
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*a = attributes{}
	for _, entry := range list {
		switch v := entry.Value; {
		case v.StringValue != nil:
			(*a)[entry.Key] = *v.StringValue
		case v.BoolValue != nil:
			(*a)[entry.Key] = *v.BoolValue
		case v.IntValue != nil:
			number, err := strconv.ParseInt(*v.IntValue, 10, 64)
			if err != nil {
				return err
			}
			(*a)[entry.Key] = number
		}
	}
	return nil
}

// collect starts a collector that answers with the given statuses first.
func collect(t *testing.T, statuses ...int) *collector {
	c := &collector{statuses: statuses, changed: make(chan struct{})}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the process is told to end
		}
		got := request{path: r.URL.Path, header: r.Header}
		if err := json.Unmarshal(body, &got.otlp); err != nil || r.Method != http.MethodPost {
			t.Errorf("%s of what is no OTLP: %v in %s", r.Method, err, body)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(c.take(got))
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) take(got request) int {
	c.lock.Lock()
	defer c.lock.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
	if len(c.statuses) > 0 && got.path == "/v1/traces" {
		status := c.statuses[0]
		c.statuses = c.statuses[1:]
		if status != http.StatusOK {
			return status
		}
	}
	c.got = append(c.got, got)
	return http.StatusOK
}

func (c *collector) requests() []request {
	c.lock.Lock()
	defer c.lock.Unlock()
	return append([]request(nil), c.got...)
}

// await returns once what the collector got fits.
func (c *collector) await(t *testing.T, what string, fits func() bool) {
	t.Helper()
	timer := time.NewTimer(3 * endOfPatience)
	defer timer.Stop()
	for {
		c.lock.Lock()
		changed := c.changed
		c.lock.Unlock()
		if fits() {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			t.Fatalf("the collector did not get %s; it got %+v", what, c.requests())
		}
	}
}

// spans are all that the collector got, by the given attribute.
func (c *collector) spans(by string) map[string][]otlpSpan {
	spans := map[string][]otlpSpan{}
	for _, r := range c.requests() {
		for _, resource := range r.otlp.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					key, _ := span.Attributes[by].(string)
					spans[key] = append(spans[key], span)
				}
			}
		}
	}
	return spans
}

// metrics are those of the last export.
func (c *collector) metrics() map[string]otlpMetric {
	metrics := map[string]otlpMetric{}
	for _, r := range c.requests() {
		for _, resource := range r.otlp.ResourceMetrics {
			for _, scope := range resource.ScopeMetrics {
				for _, metric := range scope.Metrics {
					metrics[metric.Name] = metric
				}
			}
		}
	}
	return metrics
}
