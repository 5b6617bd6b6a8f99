// Package taps shows events that pass a Broker or a Channel to those who watch. It
// listens, in every replica of the control plane, for what their temporary Triggers
// and Subscriptions send, and hands it to the function service, which streams it.
// One replica removes the objects of those who are gone. It makes no object, and
// whatever is sent to it, it takes at once: it must not disturb what it watches.
package taps
