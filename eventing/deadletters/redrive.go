package deadletters

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/knit-dev/knit/functions/api/deadletter"
)

const (
	// RedriveTime is how long one request to redrive begins letters; those under
	// way then end. Together it is less than a request through the API may take.
	RedriveTime = 12 * time.Second
	// atOnce is how many letters a request has under way.
	atOnce = 8
)

// redriver sends letters again.
type redriver struct {
	store  letters
	ways   ways
	client *http.Client
	time   time.Duration
}

// letters is what a redriver needs of the Store.
type letters interface {
	List(ctx context.Context, namespace string, selection deadletter.Selection) (deadletter.List, error)
	Get(ctx context.Context, namespace string, id uint64) (deadletter.Content, error)
	Delete(ctx context.Context, namespace string, id uint64) error
	Claim(ctx context.Context, namespace string, id uint64) (bool, error)
	Release(ctx context.Context, namespace string, id uint64) error
}

// redrive tries the letters of a request, oldest first, and reports each as soon
// as it is done. It returns the id after which to go on when time is over before
// the letters are, and zero otherwise. What fails stays in the store.
func (r *redriver) redrive(ctx context.Context, namespace string, request deadletter.Redrive, report func(deadletter.Outcome)) (uint64, error) {
	over := time.Now().Add(r.time)
	limit := rate.NewLimiter(rate.Limit(request.Rate), 1)
	var group errgroup.Group
	group.SetLimit(atOnce)
	defer func() { _ = group.Wait() }() // Nothing is reported after the return.
	var mu sync.Mutex
	last := request.After
	for {
		page, err := r.store.List(ctx, namespace, request.Selection)
		if err != nil {
			return last, err
		}
		for _, letter := range page.Items {
			// A rate too low for another letter in time is as good as time over.
			waiting, cancel := context.WithDeadline(ctx, over)
			err := limit.Wait(waiting)
			cancel()
			if err != nil {
				return last, ctx.Err()
			}
			last = letter.ID
			group.Go(func() error {
				outcome := r.one(ctx, namespace, letter, request.Via)
				mu.Lock()
				defer mu.Unlock()
				report(outcome)
				return nil
			})
		}
		if page.Continue == 0 {
			return 0, nil
		}
		request.After = page.Continue
	}
}

// one tries one letter. It is claimed first and dropped last: whoever dies in
// between leaves a letter that is sent once more, with the same id.
func (r *redriver) one(ctx context.Context, namespace string, letter deadletter.Letter, via string) deadletter.Outcome {
	outcome := deadletter.Outcome{ID: letter.ID, Event: letter.Event, Result: deadletter.Failed}
	mine, err := r.store.Claim(ctx, namespace, letter.ID)
	if err != nil {
		outcome.Message = err.Error()
		return outcome
	}
	if !mine {
		outcome.Result, outcome.Message = deadletter.Skipped, "another redrive has it in hand"
		return outcome
	}
	err = r.deliver(ctx, namespace, letter.ID, via)
	switch {
	case errors.Is(err, deadletter.ErrNotFound):
		outcome.Result, outcome.Message = deadletter.Skipped, "it is gone"
	case err != nil:
		outcome.Message = err.Error()
	default:
		if err := r.store.Delete(ctx, namespace, letter.ID); err != nil {
			// Still claimed: it is not sent again at once.
			outcome.Message = fmt.Sprintf("it was delivered, but could not be dropped, so that the next redrive sends it again: %v", err)
			return outcome
		}
		outcome.Result = deadletter.Delivered
		return outcome
	}
	_ = r.store.Release(ctx, namespace, letter.ID) // Otherwise the claim ends by itself.
	return outcome
}

func (r *redriver) deliver(ctx context.Context, namespace string, id uint64, via string) error {
	content, err := r.store.Get(ctx, namespace, id)
	if err != nil {
		return err
	}
	if content.DataLost {
		return errors.New("its data was too large to be kept; let the producer send it again")
	}
	to, err := r.way(ctx, namespace, content.Letter, via)
	if err != nil {
		return err
	}
	var e event.Event
	if err := json.Unmarshal(content.Content, &e); err != nil {
		return fmt.Errorf("read the event that was kept: %w", err)
	}
	return deliver(ctx, r.client, to, &e, content.Traceparent)
}

// way is where a letter goes: the way of what gave up, as it is now, so that a
// subscriber that was put right is found.
func (r *redriver) way(ctx context.Context, namespace string, letter deadletter.Letter, via string) (way, error) {
	if letter.Kind != "" {
		return r.ways.find(ctx, namespace, letter.Kind, letter.Name)
	}
	if via == "" {
		return way{}, errors.New("it is not certain what gave it up; name the one that is meant with --via trigger/<name> or --via subscription/<name>")
	}
	kind, name, _ := strings.Cut(via, "/")
	to, err := r.ways.find(ctx, namespace, kind, name)
	if err == nil && letter.Destination != "" && !to.leadsTo(strings.TrimSuffix(letter.Destination, "/")) {
		return way{}, fmt.Errorf("%s does not send to %s, where this event failed", to, letter.Destination)
	}
	return to, err
}
