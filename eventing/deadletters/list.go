package deadletters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/knit-dev/knit/functions/api/deadletter"
)

const (
	// MaxPage is the most letters of one answer.
	MaxPage = 500
	// fetch is how many heads are asked of the server at once.
	fetch = 256
	// unused is when the server forgets a list that nobody goes on reading.
	unused = 30 * time.Second
)

// List returns the letters of a selection, oldest first, at most Limit of them
// or MaxPage.
func (s *Store) List(ctx context.Context, namespace string, selection deadletter.Selection) (deadletter.List, error) {
	limit := MaxPage
	if selection.Limit > 0 {
		limit = min(limit, selection.Limit)
	}
	var page deadletter.List
	err := s.each(ctx, namespace, selection, func(l deadletter.Letter) bool {
		if len(page.Items) == limit {
			page.Continue = page.Items[limit-1].ID
			return false
		}
		page.Items = append(page.Items, l)
		return true
	})
	return page, err
}

// each calls visit for the letters of a selection, oldest first, until it
// returns false.
func (s *Store) each(ctx context.Context, namespace string, selection deadletter.Selection, visit func(deadletter.Letter) bool) error {
	stream, err := s.stream(ctx, namespace)
	if errors.Is(err, deadletter.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	consumer, err := stream.CreateConsumer(ctx, heads(namespace, selection))
	if err != nil {
		return unavailable(err)
	}
	// It would go by itself, but a busy list would leave many until then.
	defer func() { _ = stream.DeleteConsumer(context.WithoutCancel(ctx), consumer.CachedInfo().Name) }()
	for ctx.Err() == nil {
		batch, err := consumer.FetchNoWait(fetch)
		if err != nil {
			return unavailable(err)
		}
		got := 0
		for message := range batch.Messages() {
			got++
			letter, err := readMessage(message)
			if err != nil {
				return err
			}
			if selection.Matches(letter) && !visit(letter) {
				return nil
			}
		}
		if err := batch.Error(); err != nil {
			return unavailable(err)
		}
		if got == 0 {
			return nil
		}
	}
	return ctx.Err()
}

// heads reads the heads of the letters that a selection may mean, and the
// server leaves out what it can tell by subject, number and time.
func heads(namespace string, selection deadletter.Selection) jetstream.ConsumerConfig {
	config := jetstream.ConsumerConfig{
		HeadersOnly: true, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: unused,
		FilterSubject: subjectPrefix + namespace + ".>",
	}
	if selection.Kind != "" {
		config.FilterSubject = subject(namespace, selection.Kind, selection.Name)
	}
	switch {
	case selection.After > 0:
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, selection.After+1
	case !selection.Since.IsZero():
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &selection.Since
	}
	return config
}

func readMessage(message jetstream.Msg) (deadletter.Letter, error) {
	meta, err := message.Metadata()
	if err != nil {
		return deadletter.Letter{}, fmt.Errorf("read a dead letter: %w", err)
	}
	return readHead(message.Headers(), meta.Sequence.Stream)
}

// Purge drops the letters of a selection that are there when it begins. It ends
// early with ctx and says where to go on.
func (s *Store) Purge(ctx context.Context, namespace string, selection deadletter.Selection) (deadletter.Purged, error) {
	stream, err := s.stream(ctx, namespace)
	if errors.Is(err, deadletter.ErrNotFound) {
		return deadletter.Purged{}, nil
	}
	if err != nil {
		return deadletter.Purged{}, err
	}
	state := stream.CachedInfo().State
	if selection.All() {
		// At once, however many: this is how a namespace goes.
		err := stream.Purge(ctx, jetstream.WithPurgeSequence(state.LastSeq+1))
		return deadletter.Purged{Purged: int(state.Msgs)}, unavailable(err)
	}
	return s.purge(ctx, namespace, selection, state.LastSeq)
}

func (s *Store) purge(ctx context.Context, namespace string, selection deadletter.Selection, last uint64) (done deadletter.Purged, err error) {
	for {
		page, err := s.List(ctx, namespace, selection)
		if err != nil {
			return done, err
		}
		for _, letter := range page.Items {
			if ctx.Err() != nil {
				return done, nil
			}
			if letter.ID > last {
				page.Continue = 0
				break
			}
			if err := s.Delete(ctx, namespace, letter.ID); err != nil {
				return done, err
			}
			done.Purged++
			done.Continue = letter.ID
		}
		if selection.After = page.Continue; page.Continue == 0 {
			done.Continue = 0
			return done, nil
		}
	}
}
