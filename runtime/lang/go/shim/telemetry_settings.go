//go:build go1.24

package shim

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// telemetrySettings is what the variables of OpenTelemetry ask for:
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.
type telemetrySettings struct {
	tracesURL, metricsURL string // empty: not wanted
	headers               http.Header
	resource              []attribute
	sampler               sampler
	timeout               time.Duration // of one export
	delay                 time.Duration // between two exports of spans
	interval              time.Duration // between two exports of metrics
	queue                 int           // spans that may wait
}

// telemetryReader reads the variables and notes what it cannot use.
type telemetryReader struct {
	lookup func(string) (string, bool)
	notes  []string
}

// readTelemetrySettings returns settings without URLs when nobody collects, and
// says what it could not use.
func readTelemetrySettings(lookup func(string) (string, bool)) (telemetrySettings, []string) {
	r := &telemetryReader{lookup: lookup}
	var s telemetrySettings
	if strings.EqualFold(r.value("OTEL_SDK_DISABLED"), "true") {
		return s, nil
	}
	s.tracesURL, s.metricsURL = r.endpoint("TRACES"), r.endpoint("METRICS")
	if s.tracesURL == "" && s.metricsURL == "" {
		return s, r.notes
	}
	s.headers = r.headers()
	s.resource = r.resource()
	s.sampler = r.sampler()
	s.timeout = r.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000)
	s.delay = r.milliseconds("OTEL_BSP_SCHEDULE_DELAY", 5_000)
	s.interval = r.milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 60_000)
	s.queue = r.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048)
	return s, r.notes
}

func (r *telemetryReader) value(name string) string {
	value, _ := r.lookup(name)
	return strings.TrimSpace(value)
}

func (r *telemetryReader) note(name, value, want string) {
	r.notes = append(r.notes, fmt.Sprintf("environment variable %s=%q: %s", name, value, want))
}

// endpoint is where one kind of signal goes. The one endpoint of all gets the
// signal's path; that of a signal is taken as it is.
func (r *telemetryReader) endpoint(signal string) string {
	if strings.EqualFold(r.value("OTEL_"+signal+"_EXPORTER"), "none") {
		return ""
	}
	name := "OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT"
	value := r.value(name)
	at := value
	if value == "" {
		name = "OTEL_EXPORTER_OTLP_ENDPOINT"
		value = r.value(name)
		at = strings.TrimSuffix(value, "/") + "/v1/" + strings.ToLower(signal)
	}
	if value == "" {
		return ""
	}
	if u, err := url.Parse(value); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		r.note(name, value, "want a URL such as http://collector:4318; no "+strings.ToLower(signal)+" are sent")
		return ""
	}
	r.protocol(signal)
	return at
}

// protocol says so when another one than JSON over HTTP is asked for.
func (r *telemetryReader) protocol(signal string) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		value := r.value(name)
		if value == "" {
			continue
		}
		if value != "http/json" {
			note := "this runtime sends http/json, which collectors take on their HTTP port (4318); set http/json to silence this line"
			if entry := fmt.Sprintf("environment variable %s=%q: %s", name, value, note); !slices.Contains(r.notes, entry) {
				r.notes = append(r.notes, entry)
			}
		}
		return
	}
}

func (r *telemetryReader) headers() http.Header {
	header := http.Header{}
	for _, pair := range r.pairs("OTEL_EXPORTER_OTLP_HEADERS") {
		header.Set(pair[0], pair[1])
	}
	return header
}

// pairs reads a list as of W3C Baggage: key=value, percent-encoded, by commas.
// A value is never shown: headers hold logins.
func (r *telemetryReader) pairs(name string) [][2]string {
	var pairs [][2]string
	for i, entry := range strings.Split(r.value(name), ",") {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		key, value, ok := strings.Cut(entry, "=")
		key = strings.TrimSpace(key)
		text, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || key == "" || err != nil {
			r.notes = append(r.notes, fmt.Sprintf("environment variable %s: entry %d is left out: want key=value, percent-encoded", name, i+1))
			continue
		}
		pairs = append(pairs, [2]string{key, text})
	}
	return pairs
}

// resource is who this process is. What the environment says goes first.
func (r *telemetryReader) resource() []attribute {
	values := map[string]string{"service.name": "unknown_service:go"}
	for name, key := range map[string]string{"K_SERVICE": "faas.name", "K_REVISION": "faas.version"} {
		if value := r.value(name); value != "" {
			values[key] = value
		}
	}
	if name := values["faas.name"]; name != "" {
		values["service.name"] = name
	}
	if name, err := os.Hostname(); err == nil {
		values["faas.instance"], values["service.instance.id"] = name, name
	}
	for _, pair := range r.pairs("OTEL_RESOURCE_ATTRIBUTES") {
		values[pair[0]] = pair[1]
	}
	if name := r.value("OTEL_SERVICE_NAME"); name != "" {
		values["service.name"] = name
	}
	values["telemetry.sdk.name"], values["telemetry.sdk.language"] = "knit", "go"
	attributes := make([]attribute, 0, len(values))
	for key, value := range values {
		attributes = append(attributes, attribute{key, value})
	}
	return attributes
}

func (r *telemetryReader) sampler() sampler {
	const name, argument = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
	kind := r.value(name)
	rest, parentBased := strings.CutPrefix(kind, "parentbased_")
	switch rest {
	case "always_on":
		return sampler{parentBased, 1}
	case "always_off":
		return sampler{parentBased, 0}
	case "traceidratio":
		ratio, err := strconv.ParseFloat(r.value(argument), 64)
		if err != nil || !(ratio >= 0 && ratio <= 1) {
			if r.value(argument) != "" {
				r.note(argument, r.value(argument), "want a number from 0 to 1; all traces are taken")
			}
			ratio = 1
		}
		return sampler{parentBased, ratio}
	}
	if kind != "" {
		r.note(name, kind, "want always_on, always_off or traceidratio, with or without parentbased_ before it; parentbased_always_on holds")
	}
	return sampler{parentBased: true, ratio: 1}
}

func (r *telemetryReader) milliseconds(name string, otherwise int) time.Duration {
	return time.Duration(r.number(name, otherwise)) * time.Millisecond
}

// number takes what timers and slices of every language can.
func (r *telemetryReader) number(name string, otherwise int) int {
	value := r.value(name)
	if value == "" {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 1<<31-1 {
		r.note(name, value, fmt.Sprintf("want a whole number from 1; %d holds", otherwise))
		return otherwise
	}
	return n
}
