package deadletters

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/knit-dev/knit/functions/api/deadletter"
)

// Limits of what is kept.
const (
	// MaxAge is how long a letter is kept.
	MaxAge = 14 * 24 * time.Hour
	// MaxBytes is the most that one namespace keeps, 32 MiB; the oldest go first.
	MaxBytes = 32 << 20
	// MaxEvent is the largest event in its JSON form that is kept whole.
	MaxEvent = 4 << 20
	// sameEvent is how long an event that comes again, because the answer to the
	// first was lost, is known to be kept already.
	sameEvent = 2 * time.Minute
	// claimed is how long a redrive may hold a letter.
	claimed = 2 * time.Minute
)

const (
	streamPrefix  = "deadletters-"
	subjectPrefix = "deadletters."
	claims        = "deadletter-claims"
	// headLetter is the header with a letter's head, JSON in base64. A list reads
	// headers alone.
	headLetter = "Knit-Letter"
)

// Store keeps letters in JetStream. All methods may be called at once; errors
// of the server are deadletter.ErrUnavailable.
type Store struct {
	js       jetstream.JetStream
	replicas int
}

// NewStore uses a connection, which may still be trying to connect. Each stream
// is kept by so many servers: 1, 3 or 5.
func NewStore(conn *nats.Conn, replicas int) (*Store, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return &Store{js: js, replicas: replicas}, nil
}

// Put keeps an event, in the JSON format of CloudEvents, and returns when the
// server has it on disk. The letter's ID is the server's to give.
func (s *Store) Put(ctx context.Context, namespace string, letter deadletter.Letter, event []byte, same string) error {
	head, err := json.Marshal(letter)
	if err != nil {
		return fmt.Errorf("write the letter's head: %w", err)
	}
	message := nats.NewMsg(subject(namespace, letter.Kind, letter.Name))
	message.Header.Set(headLetter, base64.StdEncoding.EncodeToString(head))
	message.Data = event
	_, err = s.js.PublishMsg(ctx, message, jetstream.WithMsgID(same), jetstream.WithExpectStream(streamPrefix+namespace))
	if !errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, nats.ErrNoResponders) {
		return unavailable(err)
	}
	// The first letter of its namespace, or the server is away.
	if err := s.makeStream(ctx, namespace); err != nil {
		return err
	}
	_, err = s.js.PublishMsg(ctx, message, jetstream.WithMsgID(same), jetstream.WithExpectStream(streamPrefix+namespace))
	return unavailable(err)
}

func (s *Store) makeStream(ctx context.Context, namespace string) error {
	_, err := s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: streamPrefix + namespace, Subjects: []string{subjectPrefix + namespace + ".>"},
		Description: "Events of namespace " + namespace + " that could not be delivered",
		Storage:     jetstream.FileStorage, Replicas: s.replicas, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: MaxAge, MaxBytes: MaxBytes, MaxMsgSize: MaxEvent + 16<<10, Duplicates: sameEvent,
		AllowDirect: true,
	})
	return unavailable(err)
}

// Get returns a letter and its event.
func (s *Store) Get(ctx context.Context, namespace string, id uint64) (deadletter.Content, error) {
	stream, err := s.stream(ctx, namespace)
	if err != nil {
		return deadletter.Content{}, err
	}
	message, err := stream.GetMsg(ctx, id)
	if err != nil {
		return deadletter.Content{}, unavailable(err)
	}
	letter, err := readHead(message.Header, id)
	return deadletter.Content{Letter: letter, Content: message.Data}, err
}

// Delete drops one letter. One that is gone is no error.
func (s *Store) Delete(ctx context.Context, namespace string, id uint64) error {
	stream, err := s.stream(ctx, namespace)
	if err == nil {
		err = unavailable(stream.DeleteMsg(ctx, id))
	}
	if errors.Is(err, deadletter.ErrNotFound) {
		return nil
	}
	return err
}

// Claim marks a letter as in hand; false says that another has it. A claim ends
// by itself, so that a redrive that died holds nothing for long.
func (s *Store) Claim(ctx context.Context, namespace string, id uint64) (bool, error) {
	bucket, err := s.claims(ctx)
	if err != nil {
		return false, err
	}
	_, err = bucket.Create(ctx, claimKey(namespace, id), nil)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return false, nil
	}
	return err == nil, unavailable(err)
}

// Release ends a claim.
func (s *Store) Release(ctx context.Context, namespace string, id uint64) error {
	bucket, err := s.claims(ctx)
	if err != nil {
		return err
	}
	return unavailable(bucket.Purge(ctx, claimKey(namespace, id)))
}

func claimKey(namespace string, id uint64) string { return fmt.Sprintf("%s.%d", namespace, id) }

// claims are in memory: after a restart of the server nobody holds anything.
func (s *Store) claims(ctx context.Context) (jetstream.KeyValue, error) {
	bucket, err := s.js.KeyValue(ctx, claims)
	if !errors.Is(err, jetstream.ErrBucketNotFound) {
		return bucket, unavailable(err)
	}
	bucket, err = s.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: claims, Description: "Dead letters that a redrive has in hand",
		Storage: jetstream.MemoryStorage, TTL: claimed, MaxBytes: 16 << 20, Replicas: s.replicas,
	})
	return bucket, unavailable(err)
}

func (s *Store) stream(ctx context.Context, namespace string) (jetstream.Stream, error) {
	stream, err := s.js.Stream(ctx, streamPrefix+namespace)
	return stream, unavailable(err)
}

// subject is where letters of a target go. Names may have dots, which part the
// tokens of a subject, and never a slash.
func subject(namespace, kind, name string) string {
	if kind == "" {
		kind, name = "none", "none"
	}
	return subjectPrefix + namespace + "." + kind + "." + strings.ReplaceAll(name, ".", "/")
}

func readHead(header nats.Header, id uint64) (deadletter.Letter, error) {
	raw, err := base64.StdEncoding.DecodeString(header.Get(headLetter))
	var letter deadletter.Letter
	if err == nil {
		err = json.Unmarshal(raw, &letter)
	}
	if err != nil {
		return letter, fmt.Errorf("read the head of dead letter %d: %w", id, err)
	}
	letter.ID = id
	return letter, nil
}

// unavailable sorts the server's errors: there is no such letter, or it does
// not answer, or it says what is wrong.
func unavailable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return deadletter.ErrNotFound
	case errors.Is(err, nats.ErrReconnectBufExceeded): // its word for no connection
		return deadletter.ErrUnavailable
	}
	return fmt.Errorf("%w: %w", deadletter.ErrUnavailable, err)
}
