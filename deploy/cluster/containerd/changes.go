package containerd

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/services/events/v1"
	"google.golang.org/grpc/metadata"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// subscribeAgain is the pause before a lost stream of events is opened again.
const subscribeAgain = time.Second

// WatchChanges calls changed whenever the state of a container may be another
// one, until ctx ends. What happens while containerd is away is not seen.
func WatchChanges(ctx context.Context, i instance.Instance, changed func()) {
	for ctx.Err() == nil {
		_ = receive(ctx, i, changed)
		select {
		case <-time.After(subscribeAgain):
		case <-ctx.Done():
		}
	}
}

func receive(ctx context.Context, i instance.Instance, changed func()) error {
	conn, err := dial(i)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx = metadata.AppendToOutgoingContext(ctx, "containerd-namespace", "k8s.io")
	stream, err := events.NewEventsClient(conn).Subscribe(ctx, &events.SubscribeRequest{
		Filters: []string{`namespace==k8s.io,topic~="^/tasks/(start|exit|oom|delete)$"`},
	})
	if err != nil {
		return fmt.Errorf("subscribe to containerd's events: %w", err)
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return fmt.Errorf("receive containerd's events: %w", err)
		}
		changed()
	}
}
