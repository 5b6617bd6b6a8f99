package shim_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/knit-dev/knit/runtime/lang/node"
)

const sdkBody = `
const answer = typed(async (event, context) => {
  await emit(context, { type: 'order.seen', data: { item: event.data.item, left: context.deadline - Date.now() } });
  return { type: 'order.taken', data: { item: event.data.item, request: requestId(context) } };
}, { parse: (data) => { if (!data?.item) throw new Error('item is missing'); return data; } });
`

// TestFunctionsUseTheSDK runs functions in every form of module with the SDK
// among their packages, where the build puts it.
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
	const imported = "import { typed, emit, requestId } from '@knit-dev/sdk';\n"
	for entry, source := range map[string]string{
		"index.cjs": "const { typed, emit, requestId } = require('@knit-dev/sdk');\n" + sdkBody + "module.exports = { handle: answer };\n",
		"index.mjs": imported + sdkBody + "export const handle = answer;\n",
		"index.ts":  "import type { Context } from '@knit-dev/sdk';\n" + imported + sdkBody + "export const handle: (context: Context, event: any) => unknown = answer;\n",
	} {
		t.Run(entry, func(t *testing.T) {
			files := map[string]string{entry: source, "package.json": `{"name": "f"}`}
			maps.Copy(files, sdkPackage(t))
			p := start(t, write(t, files), []string{entry, "cloudevent"}, "KNIT_TIMEOUT=1m", "K_SERVICE=orders", "KNIT_NAMESPACE=shop", "K_SINK="+sink.URL)
			const placed = `{"specversion":"1.0","id":"1","type":"order.placed","source":"/test","data":{"item":"tea"}}`
			resp, body := p.Send(http.MethodPost, "/", strings.NewReader(placed), "Content-Type: application/cloudevents+json",
				"Traceparent: 00-trace-span-01", "Knit-Timeout: 20s")
			if resp.StatusCode != http.StatusOK || body != `{"item":"tea","request":"trace"}` || resp.Header.Get("Ce-Type") != "order.taken" || resp.Header.Get("Ce-Source") != "/functions/shop/orders" {
				t.Errorf("got %d %v %s", resp.StatusCode, resp.Header, body)
			}
			left, _ := event["data"].(map[string]any)["left"].(float64)
			if event["type"] != "order.seen" || left <= 0 || left > 20_000 {
				t.Errorf("the sink got %v", event)
			}
			if asked, err := time.ParseDuration(header.Get("Knit-Timeout")); err != nil || asked <= 0 || asked > 20*time.Second || header.Get("Traceparent") != "00-trace-span-01" {
				t.Errorf("the sink got the header %v", header)
			}
			if resp, body := p.Send(http.MethodPost, "/", strings.NewReader(strings.Replace(placed, "item", "other", 1)), "Content-Type: application/cloudevents+json"); resp.StatusCode != http.StatusUnprocessableEntity {
				t.Errorf("data that does not fit got %d %s", resp.StatusCode, body)
			}
		})
	}
}

// sdkPackage is the SDK in node_modules.
func sdkPackage(t *testing.T) map[string]string {
	t.Helper()
	files, err := node.SDK()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for name, content := range files {
		all[path.Join("node_modules", node.SDKName, name)] = string(content)
	}
	return all
}
