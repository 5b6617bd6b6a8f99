// Package orderapi is the shop's door: it takes orders by HTTP, tells the others
// by an event, and learns from their answers what becomes of each order.
package orderapi

import (
	"fmt"
	"regexp"
	"time"

	"github.com/knit-dev/knit/sdk"
)

// Limits of one order.
const (
	maxLines    = 100
	maxQuantity = 1000
	maxCents    = 10_000_000
	maxCustomer = 100
)

// Line is one article of an order.
type Line struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Cents    int    `json:"cents"` // of one piece
}

// Order is what the shop knows of an order.
type Order struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer"`
	Lines    []Line    `json:"lines"`
	Cents    int       `json:"cents"` // in all
	Placed   time.Time `json:"placed"`
	Status   string    `json:"status"`
	Payment  string    `json:"payment,omitempty"` // accepted or declined
	Stock    string    `json:"stock,omitempty"`   // reserved or rejected
	Reason   string    `json:"reason,omitempty"`  // of what was declined or rejected
}

// Statuses of an order.
const (
	placed    = "placed"
	confirmed = "confirmed"
	cancelled = "cancelled"
)

var sku = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,49}$`)

// validate says what is wrong with an order that a customer sent.
func (o *Order) validate() error {
	if o.Customer == "" || len(o.Customer) > maxCustomer {
		return sdk.Reject("customer: want 1 to %d characters", maxCustomer)
	}
	if len(o.Lines) == 0 || len(o.Lines) > maxLines {
		return sdk.Reject("lines: want 1 to %d, not %d", maxLines, len(o.Lines))
	}
	o.Cents = 0
	seen := map[string]bool{}
	for i, line := range o.Lines {
		switch {
		case !sku.MatchString(line.SKU):
			return sdk.Reject("lines[%d].sku: %q is none", i, line.SKU)
		case seen[line.SKU]:
			return sdk.Reject("lines[%d].sku: %s is there twice", i, line.SKU)
		case line.Quantity < 1 || line.Quantity > maxQuantity:
			return sdk.Reject("lines[%d].quantity: want 1 to %d, not %d", i, maxQuantity, line.Quantity)
		case line.Cents < 0 || line.Cents > maxCents:
			return sdk.Reject("lines[%d].cents: want 0 to %d, not %d", i, maxCents, line.Cents)
		}
		seen[line.SKU] = true
		o.Cents += line.Quantity * line.Cents
	}
	return nil
}

// outcome is the data of the events that payment and inventory answer with.
type outcome struct {
	Order  string `json:"order"`
	Reason string `json:"reason"`
}

// learn takes over what an event says of the order.
func (o *Order) learn(eventType string, said outcome) error {
	switch eventType {
	case "shop.payment.accepted":
		o.Payment = "accepted"
	case "shop.payment.declined":
		o.Payment = "declined"
	case "shop.stock.reserved":
		o.Stock = "reserved"
	case "shop.stock.rejected":
		o.Stock = "rejected"
	default:
		return sdk.Reject("an event of type %s says nothing of an order", eventType)
	}
	if said.Reason != "" {
		o.Reason = said.Reason
	}
	o.Status = o.status()
	return nil
}

func (o *Order) status() string {
	switch {
	case o.Payment == "declined" || o.Stock == "rejected":
		return cancelled
	case o.Payment == "accepted" && o.Stock == "reserved":
		return confirmed
	}
	return placed
}

func (o *Order) String() string { return fmt.Sprintf("order %s of %s", o.ID, o.Customer) }
