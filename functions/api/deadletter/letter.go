// Package deadletter is how dead letters are spoken of between the function
// service, which hands them out, the store behind it, and `knit deadletter`. A
// dead letter is an event that Knative could not deliver and sent to the
// platform's dead-letter sink. The package holds no behaviour but reading and
// writing a selection; it never reaches a cluster.
package deadletter

import (
	"encoding/json"
	"errors"
	"time"
)

// SinkURL is the platform's dead-letter sink inside of the cluster: what a
// delivery names that shall keep what it could not deliver. The part of the
// cluster's domain is left to the resolver of the pod that sends.
const SinkURL = "http://knit-dead-letters.knit-system.svc"

// Kinds of what failed to deliver.
const (
	KindTrigger      = "Trigger"
	KindSubscription = "Subscription"
)

// Letter is an event that was kept, without its data.
type Letter struct {
	// ID is the letter's number in its namespace; it grows and never returns.
	ID uint64 `json:"id"`
	// Time is when it was kept.
	Time time.Time `json:"time"`
	// Kind and Name are the Trigger or Subscription that gave up, in the
	// letter's namespace; empty where it is not certain which.
	Kind string `json:"kind,omitempty"`
	Name string `json:"name,omitempty"`
	// Destination is the URL that did not take it (Knative's knativeerrordest).
	Destination string `json:"destination,omitempty"`
	// Code is the last HTTP status of the destination (knativeerrorcode); zero
	// or less when it did not answer.
	Code int `json:"code,omitempty"`
	// Reason is the beginning of its last answer (knativeerrordata), as text.
	Reason string `json:"reason,omitempty"`
	// Event is the head of the event.
	Event Head `json:"event"`
	// Size of the event's data, in bytes.
	Size int64 `json:"size"`
	// DataLost is set when the data was too large to be kept; such a letter
	// cannot be redriven.
	DataLost bool `json:"dataLost,omitempty"`
	// Traceparent is the W3C trace context that the event came with.
	Traceparent string `json:"traceparent,omitempty"`
}

// Head are the attributes of an event that tell it from others, each cut at
// 256 characters.
type Head struct {
	ID      string `json:"id"`
	Source  string `json:"source"`
	Type    string `json:"type"`
	Subject string `json:"subject,omitempty"`
}

// List is a page of letters, oldest first.
type List struct {
	Items []Letter `json:"items"`
	// Continue is the id after which the next page begins; zero at the end.
	Continue uint64 `json:"continue,omitempty"`
}

// Content is a letter with its event in the JSON format of CloudEvents.
type Content struct {
	Letter
	Content json.RawMessage `json:"content"`
}

// Purged says how many letters were dropped.
type Purged struct {
	Purged int `json:"purged"`
	// Continue is the id after which to go on; zero when all were looked at.
	Continue uint64 `json:"continue,omitempty"`
}

// Result is what became of a letter that was redriven.
type Result string

// The results of a redrive.
const (
	// Delivered: the subscriber took it, and so did whoever gets its reply. The
	// letter is gone.
	Delivered Result = "Delivered"
	// Failed: it was not taken, or there is nobody to send it to. The letter stays.
	Failed Result = "Failed"
	// Skipped: another redrive has it in hand, or it is gone.
	Skipped Result = "Skipped"
)

// Outcome is a letter and what became of it.
type Outcome struct {
	ID      uint64 `json:"id"`
	Event   Head   `json:"event"`
	Result  Result `json:"result"`
	Message string `json:"message,omitempty"`
}

// Redriven is a line of the answer to a redrive: an outcome, or at last the end.
// An answer without an end broke off.
type Redriven struct {
	Outcome *Outcome `json:"outcome,omitempty"`
	End     *End     `json:"end,omitempty"`
}

// End closes the answer to a redrive.
type End struct {
	// Continue is the id after which to go on, when time was over before the
	// letters were; zero when all were tried.
	Continue uint64 `json:"continue,omitempty"`
}

// ErrUnavailable says that the store did not answer.
var ErrUnavailable = errors.New("the store of dead letters does not answer; see the pod knit-dead-letters-0 in namespace knit-system")

// ErrNotFound says that there is no such letter.
var ErrNotFound = errors.New("there is no such dead letter")
