package gateway

import (
	"context"
	"net/http"
	"strconv"

	"knative.dev/networking/pkg/apis/networking/v1alpha1"
)

// exchange is one proxied request. It is the context of the request at the same
// time, which saves the allocation of a context around it.
type exchange struct {
	context.Context
	in         *http.Request // as it came from the client
	visibility v1alpha1.IngressVisibility
	secure     bool
	route      *route
	split      *split
	backend    *backend
	endpoint   *endpoint
	hops       int // how often this request has already passed this gateway
}

type exchangeKey struct{}

// Value implements context.Context.
func (x *exchange) Value(key any) any {
	if key == (exchangeKey{}) {
		return x
	}
	return x.Context.Value(key)
}

// exchangeOf returns the exchange of a context, or an empty one.
func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{Context: ctx}
}

// use counts the request on an endpoint and no longer on the one before.
func (x *exchange) use(e *endpoint) {
	x.release()
	e.inflight.Add(1)
	x.endpoint = e
}

// release ends the count. The request, its response and its tunnel are over.
func (x *exchange) release() {
	if x.endpoint != nil {
		x.endpoint.inflight.Add(-1)
		x.endpoint = nil
	}
}

// hopsHeader counts the passes through this gateway. It is only set towards our
// own listeners, where an ExternalName Service may lead, and stops a request
// that would otherwise run in a circle and take a connection with each round.
const hopsHeader = "Knit-Gateway-Hops"

func (x *exchange) nextHop() []string { return []string{strconv.Itoa(x.hops + 1)} }

// hopsOf reads the count; what is no number counts as too many.
func hopsOf(values []string) int {
	if len(values) == 0 {
		return 0
	}
	n, err := strconv.Atoi(values[0])
	if err != nil || n < 0 {
		return maxHops
	}
	return n
}
