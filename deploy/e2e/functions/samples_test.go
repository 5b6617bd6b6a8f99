//go:build e2e

package functions

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// shopOrder is what the shop's API says of an order.
type shopOrder struct {
	ID, Status, Payment, Stock, Reason string
	Cents                              int
}

// TestShop deploys the shop, places orders through the gateway, and sees that
// payment and inventory have worked on them: only they know what the orders say
// in the end.
func TestShop(t *testing.T) {
	t.Parallel()
	p := newProject(t, "shop")
	urls := p.deployAll()
	if len(urls) != 3 {
		t.Fatalf("deployed %v", urls)
	}
	api := func(t *testing.T) caller { return caller{t, urls["order-api"]} }
	cases := map[string]struct {
		body string
		want shopOrder
	}{
		"an ordinary order":      {`{"customer":"ada","lines":[{"sku":"tea","quantity":2,"cents":450}]}`, shopOrder{Status: "confirmed", Payment: "accepted", Stock: "reserved", Cents: 900}},
		"more than the limit":    {`{"customer":"ada","lines":[{"sku":"coffee","quantity":2,"cents":50001}]}`, shopOrder{Status: "cancelled", Payment: "declined", Stock: "reserved", Cents: 100002, Reason: "100002 cents are over the limit of 100000"}},
		"more than the stock":    {`{"customer":"ada","lines":[{"sku":"cake","quantity":21,"cents":1}]}`, shopOrder{Status: "cancelled", Payment: "accepted", Stock: "rejected", Cents: 21, Reason: "of cake there are 20, not 21"}},
		"an article not on sale": {`{"customer":"ada","lines":[{"sku":"wine","quantity":1,"cents":1}]}`, shopOrder{Status: "cancelled", Payment: "accepted", Stock: "rejected", Cents: 1, Reason: "there is no wine"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			placed := api(t).place(c.body, http.StatusAccepted)
			c.want.ID = placed.ID
			var got shopOrder
			api(t).until("payment and inventory have answered", func() bool {
				got = api(t).look(placed.ID)
				return got.Payment != "" && got.Stock != ""
			})
			if got != c.want {
				t.Errorf("the order is %+v, want %+v", got, c.want)
			}
		})
	}
	t.Run("a request that is sent again", func(t *testing.T) {
		const body = `{"customer":"ada","lines":[{"sku":"tea","quantity":1,"cents":1}]}`
		first := api(t).place(body, http.StatusAccepted, "Idempotency-Key: e2e")
		if again := api(t).place(body, http.StatusOK, "Idempotency-Key: e2e"); again.ID != first.ID {
			t.Errorf("it is another order: %s, then %s", first.ID, again.ID)
		}
	})
	t.Run("what is no order", func(t *testing.T) {
		api(t).place(`{"customer":"ada"}`, http.StatusUnprocessableEntity)
	})
}

// TestHelloInEveryLanguage deploys each hello, asks it and sends it an event.
func TestHelloInEveryLanguage(t *testing.T) {
	for _, sample := range []string{"hello", "hello-node", "hello-typescript", "hello-python"} {
		t.Run(sample, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, sample)
			hello := caller{t, p.deployAll()[sample]}
			status, body := hello.ask(http.MethodGet, "/", "")
			if status != http.StatusOK || body != "Hello from Knit!\n" {
				t.Errorf("got %d %q", status, body)
			}
			// A trigger that is only just ready may let its first events pass by.
			n := 0
			hello.until("an event is in its log", func() bool {
				n++
				p.knit("event", "send", "--type", "dev.knit.hello", "--source", "/e2e", "--id", fmt.Sprintf("wanted-%d", n))
				return strings.Contains(p.knit("logs", sample), "wanted-")
			})
		})
	}
}

// deployAll deploys the project and returns the URLs by function.
func (p project) deployAll() map[string]string {
	p.t.Helper()
	urls := map[string]string{}
	for line := range strings.Lines(p.knit("deploy", p.folder)) {
		fields := strings.Fields(line)
		url := fields[len(fields)-1]
		name, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ".")
		urls[name] = url
	}
	return urls
}

// caller asks one function through the gateway.
type caller struct {
	t   *testing.T
	url string
}

// callerPatience is how long anything may take on a loaded machine.
const callerPatience = 2 * time.Minute

// ask sends one request, with headers given as "Name: value".
func (c caller) ask(method, path, body string, headers ...string) (int, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), callerPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1:"+os.Getenv("KNIT_GATEWAY_PORT")+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Host = strings.TrimPrefix(c.url, "http://")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(content)
}

// place sends an order to the shop.
func (c caller) place(body string, want int, headers ...string) shopOrder {
	c.t.Helper()
	status, answer := c.ask(http.MethodPost, "/orders", body, append(headers, "Content-Type: application/json")...)
	return c.order(status, want, answer)
}

// look asks the shop for an order.
func (c caller) look(id string) shopOrder {
	c.t.Helper()
	status, answer := c.ask(http.MethodGet, "/orders/"+id, "")
	return c.order(status, http.StatusOK, answer)
}

func (c caller) order(status, want int, answer string) shopOrder {
	c.t.Helper()
	var o shopOrder
	if err := json.Unmarshal([]byte(answer), &o); err != nil || status != want {
		c.t.Fatalf("got %d %s (%v), want %d and an order", status, answer, err, want)
	}
	return o
}

// until looks again and again until it is so.
func (c caller) until(what string, so func() bool) {
	c.t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(callerPatience); !so(); <-tick.C {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within %s", what, callerPatience)
		}
	}
}
