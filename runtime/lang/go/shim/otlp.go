//go:build go1.24

package shim

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// The JSON form of OTLP 1: ids in hexadecimal, whole numbers of 64 bits as
// strings (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).

type object = map[string]any

const (
	statusError        = 2 // STATUS_CODE_ERROR
	cumulative         = 2 // AGGREGATION_TEMPORALITY_CUMULATIVE
	flagHasRemote      = 0x100
	flagIsRemote       = 0x200
	instrumentingScope = "knit.dev/runtime"
)

func encodeSpans(resource []attribute, spans []span) ([]byte, error) {
	encoded := make([]object, len(spans))
	for i := range spans {
		encoded[i] = encodeSpan(&spans[i])
	}
	return json.Marshal(object{"resourceSpans": []object{{
		"resource":   object{"attributes": encodeAttributes(resource)},
		"scopeSpans": []object{{"scope": object{"name": instrumentingScope}, "spans": encoded}},
	}}})
}

func encodeSpan(s *span) object {
	flags := flagHasRemote | 1
	encoded := object{
		"traceId": hex.EncodeToString(s.traceID[:]), "spanId": hex.EncodeToString(s.id[:]),
		"name": s.name, "kind": s.kind, "startTimeUnixNano": nanoseconds(s.begun), "endTimeUnixNano": nanoseconds(s.ended),
	}
	if s.parentID != [8]byte{} {
		encoded["parentSpanId"] = hex.EncodeToString(s.parentID[:])
		flags |= flagIsRemote
	}
	if s.state != "" {
		encoded["traceState"] = s.state
	}
	encoded["flags"] = flags
	attributes := s.attributes
	if s.failure != "" {
		attributes = append(attributes, attribute{"error.type", s.failure})
		encoded["status"] = object{"code": statusError}
	}
	encoded["attributes"] = encodeAttributes(attributes)
	return encoded
}

func encodeMetrics(resource []attribute, m *metrics) ([]byte, error) {
	m.lock.Lock()
	defer m.lock.Unlock()
	begun, now := nanoseconds(m.begun), nanoseconds(time.Now())
	durations, active := []object{}, []object{}
	for s, h := range m.durations {
		point := encodeHistogram(h)
		point["attributes"], point["startTimeUnixNano"], point["timeUnixNano"] = encodeAttributes(s.attributes()), begun, now
		durations = append(durations, point)
	}
	for method, n := range m.active {
		active = append(active, object{
			"attributes":        encodeAttributes([]attribute{{"http.request.method", method}, {"url.scheme", "http"}}),
			"startTimeUnixNano": begun, "timeUnixNano": now, "asInt": strconv.FormatInt(n, 10),
		})
	}
	return json.Marshal(object{"resourceMetrics": []object{{
		"resource": object{"attributes": encodeAttributes(resource)},
		"scopeMetrics": []object{{"scope": object{"name": instrumentingScope}, "metrics": []object{
			{"name": "http.server.request.duration", "unit": "s", "description": "Duration of requests to the function.",
				"histogram": object{"aggregationTemporality": cumulative, "dataPoints": durations}},
			{"name": "http.server.active_requests", "unit": "{request}", "description": "Requests under way.",
				"sum": object{"aggregationTemporality": cumulative, "isMonotonic": false, "dataPoints": active}},
		}}},
	}}})
}

func (s series) attributes() []attribute {
	if s == overflow {
		return []attribute{{"otel.metric.overflow", true}}
	}
	attributes := []attribute{
		{"http.request.method", s.method}, {"url.scheme", "http"}, {"network.protocol.version", s.protocol}, {"http.response.status_code", s.status},
	}
	if s.failure != "" {
		attributes = append(attributes, attribute{"error.type", s.failure})
	}
	return attributes
}

func encodeHistogram(h *histogram) object {
	counts, total := make([]string, len(h.counts)), uint64(0)
	for i, n := range h.counts {
		counts[i] = strconv.FormatUint(n, 10)
		total += n
	}
	return object{"count": strconv.FormatUint(total, 10), "sum": h.sum, "min": h.min, "max": h.max, "bucketCounts": counts, "explicitBounds": durationBounds}
}

func encodeAttributes(attributes []attribute) []object {
	encoded := make([]object, len(attributes))
	for i, a := range attributes {
		encoded[i] = object{"key": a.key, "value": encodeValue(a.value)}
	}
	return encoded
}

func encodeValue(value any) object {
	switch v := value.(type) {
	case int:
		return object{"intValue": strconv.Itoa(v)}
	case bool:
		return object{"boolValue": v}
	}
	return object{"stringValue": value}
}

func nanoseconds(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
