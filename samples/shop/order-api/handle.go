package orderapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/knit-dev/knit/sdk"
)

// maxBody bounds an order in JSON.
const maxBody = 64 << 10

// API is the function: Knit calls New once, Start before the first request, and
// Handle for each.
type API struct {
	book *book
	mux  *http.ServeMux
}

// New makes the function.
func New() *API {
	a := &API{mux: http.NewServeMux()}
	a.mux.HandleFunc("POST /orders", answer(a.place))
	a.mux.HandleFunc("GET /orders/{id}", answer(a.show))
	return a
}

// Start opens the book of orders, in the folder ORDERS_DIR.
func (a *API) Start(_ context.Context, env map[string]string) (err error) {
	a.book, err = openBook(cmp.Or(env["ORDERS_DIR"], "/data/orders"))
	return err
}

// Handle serves customers, and the broker with what the other functions answer.
func (a *API) Handle(w http.ResponseWriter, r *http.Request) {
	e, err := sdk.EventOf(r)
	switch {
	case err != nil:
		refuse(w, r, err)
	case e != nil:
		a.hear(w, r, *e)
	default:
		a.mux.ServeHTTP(w, r)
	}
}

// place takes an order. It is kept before the others hear of it, because their
// answers may come at once.
func (a *API) place(r *http.Request) (int, any, error) {
	order, err := readOrder(r)
	if err != nil {
		return 0, nil, err
	}
	kept, isNew, err := a.book.add(order)
	if err != nil {
		return 0, nil, err
	}
	if !isNew {
		return http.StatusOK, kept, nil
	}
	if err := a.announce(r.Context(), order); err != nil {
		return 0, nil, errors.Join(sdk.Retry("the order cannot be taken now; try again: %w", err), a.book.remove(order.ID))
	}
	slog.Info("order placed", "order", order.ID, "cents", order.Cents, "request", sdk.RequestID(r.Context()))
	return http.StatusAccepted, order, nil
}

// announce tells the other functions, by the broker of the namespace.
func (a *API) announce(ctx context.Context, order *Order) error {
	e, err := sdk.Event[*Order]{ID: order.ID, Type: "shop.order.placed", Subject: order.ID, Data: order}.CloudEvent()
	if err != nil {
		return err
	}
	return sdk.EmitTo(ctx, sdk.Broker("default"), e)
}

func readOrder(r *http.Request) (*Order, error) {
	decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	var sent struct {
		Customer string `json:"customer"`
		Lines    []Line `json:"lines"`
	}
	if err := decoder.Decode(&sent); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, sdk.Errorf(http.StatusRequestEntityTooLarge, "an order has at most %d bytes", maxBody)
		}
		return nil, sdk.Errorf(http.StatusBadRequest, "the order is not the JSON that is wanted: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, sdk.Errorf(http.StatusBadRequest, "there is more than one order")
	}
	order := &Order{ID: orderID(r.Header.Get("Idempotency-Key"), sent.Customer), Customer: sent.Customer, Lines: sent.Lines, Placed: time.Now().UTC(), Status: placed}
	return order, order.validate()
}

// orderID is the same for the same key of a customer, so that a request that is
// sent again is no second order.
func orderID(key, customer string) string {
	if key == "" {
		key = rand.Text()
	}
	sum := sha256.Sum256([]byte(customer + "\x00" + key))
	return hex.EncodeToString(sum[:10])
}

func (a *API) show(r *http.Request) (int, any, error) {
	order, err := a.book.get(r.PathValue("id"))
	return http.StatusOK, order, err
}

// hear takes over what payment or inventory says of an order. Hearing it twice
// changes nothing.
func (a *API) hear(w http.ResponseWriter, r *http.Request, e event.Event) {
	var said outcome
	err := e.DataAs(&said)
	if err != nil {
		err = sdk.Reject("event %s of type %s: %w", e.ID(), e.Type(), err)
	} else {
		err = a.book.change(said.Order, func(order *Order) error { return order.learn(e.Type(), said) })
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	slog.Info("order changed", "order", said.Order, "by", e.Type(), "source", e.Source())
	w.WriteHeader(http.StatusNoContent)
}

// answer writes what a handler returns as JSON.
func answer(handle func(*http.Request) (int, any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		status, value, err := handle(r)
		if err != nil {
			refuse(w, r, err)
			return
		}
		if order, ok := value.(*Order); ok {
			w.Header().Set("Location", "/orders/"+order.ID)
		}
		write(w, status, value)
	}
}

// refuse answers with the error's status. What has none is the shop's own
// business: the log has it, the customer does not.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, text := sdk.StatusOf(err), err.Error()
	if status >= 500 {
		slog.Error("request failed", "error", text, "request", sdk.RequestID(r.Context()))
		text = "the shop cannot do this now; try again"
	}
	write(w, status, map[string]string{"error": text})
}

func write(w http.ResponseWriter, status int, value any) {
	content, err := json.Marshal(value)
	if err != nil {
		http.Error(w, fmt.Sprintf("encode the answer: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(content, '\n')) // who is gone needs no answer
}
