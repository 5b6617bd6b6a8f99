package python_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const sdkBody = `
from dataclasses import dataclass
import knit

@dataclass
class Order:
    item: str

@knit.typed(Order)
`

// TestFunctionsUseTheSDK runs functions in both forms with the SDK that the
// runtime brings along, and with one of their own.
func TestFunctionsUseTheSDK(t *testing.T) {
	var header http.Header
	var event map[string]any
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header, event = r.Header, map[string]any{}
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(body, &event) != nil {
			t.Errorf("the sink got %q (%v)", body, err)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(sink.Close)
	const reply = `    return knit.Event("order.taken", {"item": event.data.item, "request": knit.request_id()})` + "\n"
	for name, source := range map[string]string{
		"a plain function": sdkBody + "def handle(event):\n    knit.emit(knit.Event(\"order.seen\", {\"left\": knit.deadline()}))\n" + reply,
		"async":            sdkBody + "async def handle(event):\n    await knit.emit_async(knit.Event(\"order.seen\", {\"left\": knit.deadline()}))\n" + reply,
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, map[string]string{"func.py": source}, "KNIT_TIMEOUT=1m", "K_SERVICE=orders", "KNIT_NAMESPACE=shop", "K_SINK="+sink.URL)
			const placed = `{"specversion":"1.0","id":"1","type":"order.placed","source":"/test","time":"2026-01-02T03:04:05Z","data":{"item":"tea"}}`
			resp, body := p.Send(http.MethodPost, "/", strings.NewReader(placed), "Content-Type: application/cloudevents+json", "Traceparent: 00-trace-span-01", "Knit-Timeout: 20s")
			if resp.StatusCode != http.StatusOK || body != `{"item": "tea", "request": "trace"}` || resp.Header.Get("Ce-Type") != "order.taken" || resp.Header.Get("Ce-Source") != "/functions/shop/orders" {
				t.Errorf("got %d %v %s", resp.StatusCode, resp.Header, body)
			}
			data, _ := event["data"].(map[string]any)
			end, _ := data["left"].(float64)
			if left := end - float64(time.Now().Unix()); event["type"] != "order.seen" || left <= 0 || left > 21 {
				t.Errorf("the sink got %v", event)
			}
			if asked, err := time.ParseDuration(header.Get("Knit-Timeout")); err != nil || asked <= 0 || asked > 20*time.Second || header.Get("Traceparent") != "00-trace-span-01" {
				t.Errorf("the sink got the header %v", header)
			}
			if resp, body := p.Send(http.MethodPost, "/", strings.NewReader(strings.Replace(placed, "item", "other", 1)), "Content-Type: application/cloudevents+json"); resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, "data.item is missing") {
				t.Errorf("data that does not fit got %d %s", resp.StatusCode, body)
			}
		})
	}
	own := start(t, map[string]string{"func.py": "import knit\n\ndef handle(request):\n    return knit.name\n", "knit.py": "name = 'the own one'\n"})
	if status, body := own.Get("/"); status != http.StatusOK || body != "the own one" {
		t.Errorf("a module knit of the function's own gives %d %q", status, body)
	}
}
