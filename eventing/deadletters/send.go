package deadletters

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

const (
	// deliverTimeout is how long a subscriber, and then whoever gets its reply,
	// may take each.
	deliverTimeout = 20 * time.Second
	// maxQuote is how much of an answer is told, in characters.
	maxQuote = 200
)

// deliver sends an event down a way: to the subscriber, and the event that it
// answers, if any, to whoever gets the reply.
func deliver(ctx context.Context, client *http.Client, w way, e *event.Event, traceparent string) error {
	reply, err := post(ctx, client, w.subscriber, e, traceparent)
	if err != nil || reply == nil || w.reply == "" {
		return err
	}
	if _, err := post(ctx, client, w.reply, reply, traceparent); err != nil {
		return fmt.Errorf("the subscriber took it, but its answer was not: %w", err)
	}
	return nil
}

// post returns the event in the answer, or nil when there is none.
func post(ctx context.Context, client *http.Client, uri string, e *event.Event, traceparent string) (*event.Event, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, nil)
	if err != nil {
		return nil, err
	}
	if err := cehttp.WriteRequest(ctx, binding.ToMessage(e), req); err != nil {
		return nil, fmt.Errorf("write the event: %w", err)
	}
	req.Header.Set("Prefer", "reply")
	if traceparent != "" {
		req.Header.Set("Traceparent", traceparent)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode >= 300 {
		answer, _ := io.ReadAll(io.LimitReader(res.Body, 4*maxQuote))
		return nil, fmt.Errorf("%s answered %s: %s", uri, res.Status, clean(string(answer), maxQuote))
	}
	return replyOf(ctx, res, uri)
}

func replyOf(ctx context.Context, res *http.Response, uri string) (*event.Event, error) {
	body := &io.LimitedReader{R: res.Body, N: maxData + 1}
	message := cehttp.NewMessage(res.Header, io.NopCloser(body))
	if message.ReadEncoding() == binding.EncodingUnknown {
		return nil, nil // Whatever it says, it is no event.
	}
	reply, err := binding.ToEvent(ctx, message)
	if err == nil {
		err = reply.Validate()
	}
	if body.N == 0 {
		err = fmt.Errorf("it has more than %d bytes", maxData)
	}
	if err != nil {
		return nil, fmt.Errorf("%s took the event, but its answer is no event: %w", uri, err)
	}
	return reply, nil
}
