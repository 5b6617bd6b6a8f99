package orderapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/knit-dev/knit/sdk/sdktest"
)

// shop is the function in a test.
type shop struct {
	t   *testing.T
	kit *sdktest.Kit
	api *API
}

func open(t *testing.T) shop {
	t.Helper()
	s := shop{t: t, kit: sdktest.New(t), api: New()}
	if err := s.api.Start(t.Context(), map[string]string{"ORDERS_DIR": t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends one request with headers given as "Name: value".
func (s shop) ask(method, path, body string, headers ...string) (int, Order, string) {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.kit.Context(), method, path, strings.NewReader(body))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.api.Handle(w, r)
	var order Order
	if w.Code < 300 && w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &order); err != nil {
			s.t.Fatalf("%s %s answers %q: %v", method, path, w.Body, err)
		}
	}
	return w.Code, order, w.Body.String()
}

// hear delivers an event of another function.
func (s shop) hear(eventType, data string) int {
	s.t.Helper()
	status, _, _ := s.ask(http.MethodPost, "/", `{"specversion":"1.0","id":"1","type":"`+eventType+`","source":"/test","data":`+data+`}`,
		"Content-Type: application/cloudevents+json")
	return status
}

const teaOrder = `{"customer":"ada","lines":[{"sku":"tea","quantity":2,"cents":450},{"sku":"cake","quantity":1,"cents":300}]}`

func TestAnOrderIsPlacedAndAnnounced(t *testing.T) {
	s := open(t)
	status, order, body := s.ask(http.MethodPost, "/orders", teaOrder)
	if status != http.StatusAccepted || order.Status != placed || order.Cents != 1200 || order.ID == "" {
		t.Fatalf("got %d %s", status, body)
	}
	sent := s.kit.Sent()
	if len(sent) != 1 || sent[0].To != "broker/default" || sent[0].Event.Type() != "shop.order.placed" || sent[0].Event.Subject() != order.ID {
		t.Fatalf("sent %+v", sent)
	}
	if announced := sdktest.Data[Order](t, sent[0].Event); announced.ID != order.ID || len(announced.Lines) != 2 || announced.Cents != 1200 {
		t.Errorf("announced %+v", announced)
	}
	if status, shown, _ := s.ask(http.MethodGet, "/orders/"+order.ID, ""); status != http.StatusOK || shown.ID != order.ID || shown.Customer != "ada" {
		t.Errorf("the order is shown as %d %+v", status, shown)
	}
}

func TestARequestThatIsSentAgainIsOneOrder(t *testing.T) {
	s := open(t)
	_, first, _ := s.ask(http.MethodPost, "/orders", teaOrder, "Idempotency-Key: k-1")
	status, again, _ := s.ask(http.MethodPost, "/orders", teaOrder, "Idempotency-Key: k-1")
	if status != http.StatusOK || again.ID != first.ID || len(s.kit.Sent()) != 1 {
		t.Errorf("again: %d %s, first %s, %d events", status, again.ID, first.ID, len(s.kit.Sent()))
	}
	if _, other, _ := s.ask(http.MethodPost, "/orders", strings.Replace(teaOrder, "ada", "bob", 1), "Idempotency-Key: k-1"); other.ID == first.ID {
		t.Error("another customer's key gives the same order")
	}
}

func TestOrdersAreRefused(t *testing.T) {
	cases := map[string]struct {
		body   string
		status int
		want   string
	}{
		"no JSON":         {"{", 400, "not the JSON"},
		"another field":   {`{"customer":"ada","lines":[],"discount":1}`, 400, "discount"},
		"two orders":      {teaOrder + teaOrder, 400, "more than one"},
		"too long":        {`{"customer":"` + strings.Repeat("a", maxBody) + `"}`, 413, "at most"},
		"no customer":     {`{"lines":[{"sku":"tea","quantity":1}]}`, 422, "customer"},
		"no lines":        {`{"customer":"ada"}`, 422, "lines"},
		"no article":      {`{"customer":"ada","lines":[{"sku":"../x","quantity":1}]}`, 422, "lines[0].sku"},
		"one twice":       {`{"customer":"ada","lines":[{"sku":"tea","quantity":1},{"sku":"tea","quantity":1}]}`, 422, "lines[1].sku"},
		"nothing of it":   {`{"customer":"ada","lines":[{"sku":"tea","quantity":0}]}`, 422, "lines[0].quantity"},
		"a price below 0": {`{"customer":"ada","lines":[{"sku":"tea","quantity":1,"cents":-1}]}`, 422, "lines[0].cents"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			if status, _, body := s.ask(http.MethodPost, "/orders", c.body); status != c.status || !strings.Contains(body, c.want) {
				t.Errorf("got %d %s, want %d with %q", status, body, c.status, c.want)
			}
			if sent := s.kit.Sent(); len(sent) != 0 {
				t.Errorf("sent %v", sent)
			}
		})
	}
}

func TestAnOrderThatCannotBeAnnouncedIsNotKept(t *testing.T) {
	s := open(t)
	s.kit.Answer("broker/default", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret words", http.StatusBadRequest) })
	status, _, body := s.ask(http.MethodPost, "/orders", teaOrder, "Idempotency-Key: k-1")
	if status != http.StatusServiceUnavailable || strings.Contains(body, "secret") {
		t.Errorf("got %d %s", status, body)
	}
	if left, err := os.ReadDir(s.api.book.folder); err != nil || len(left) != 0 {
		t.Errorf("kept %v (%v)", left, err)
	}
}

func TestAnOrderLearnsWhatBecomesOfIt(t *testing.T) {
	cases := map[string]struct {
		events []string
		status string
	}{
		"nothing yet":        {nil, placed},
		"paid alone":         {[]string{"shop.payment.accepted"}, placed},
		"paid and reserved":  {[]string{"shop.payment.accepted", "shop.stock.reserved"}, confirmed},
		"the other way":      {[]string{"shop.stock.reserved", "shop.payment.accepted"}, confirmed},
		"twice":              {[]string{"shop.stock.reserved", "shop.stock.reserved"}, placed},
		"declined":           {[]string{"shop.stock.reserved", "shop.payment.declined"}, cancelled},
		"rejected":           {[]string{"shop.stock.rejected"}, cancelled},
		"rejected, and paid": {[]string{"shop.stock.rejected", "shop.payment.accepted"}, cancelled},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			_, order, _ := s.ask(http.MethodPost, "/orders", teaOrder)
			for _, eventType := range c.events {
				if status := s.hear(eventType, `{"order":"`+order.ID+`"}`); status != http.StatusNoContent {
					t.Errorf("%s got %d", eventType, status)
				}
			}
			if _, shown, _ := s.ask(http.MethodGet, "/orders/"+order.ID, ""); shown.Status != c.status {
				t.Errorf("the order is %s, want %s", shown.Status, c.status)
			}
		})
	}
}

func TestEventsOfNoUse(t *testing.T) {
	s := open(t)
	_, order, _ := s.ask(http.MethodPost, "/orders", teaOrder)
	for name, c := range map[string]struct {
		eventType, data string
		status          int
	}{
		"an unknown order": {"shop.payment.accepted", `{"order":"0000"}`, 404}, // may be known later: delivered again
		"no order":         {"shop.payment.accepted", `{"order":"../x"}`, 404},
		"another type":     {"shop.payment.odd", `{"order":"` + order.ID + `"}`, 422},
		"other data":       {"shop.payment.accepted", `[1]`, 422},
	} {
		if status := s.hear(c.eventType, c.data); status != c.status {
			t.Errorf("%s: got %d, want %d", name, status, c.status)
		}
	}
	for path, want := range map[string]int{"/orders/none": 404, "/orders/..%2fx": 404, "/nothing": 404} {
		if status, _, _ := s.ask(http.MethodGet, path, ""); status != want {
			t.Errorf("%s: got %d, want %d", path, status, want)
		}
	}
	if status, _, _ := s.ask(http.MethodDelete, "/orders/"+order.ID, ""); status != http.StatusMethodNotAllowed {
		t.Errorf("DELETE got %d", status)
	}
}
