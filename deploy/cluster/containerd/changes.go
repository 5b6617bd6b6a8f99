package containerd

import (
	"context"
	"fmt"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/services/events/v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// subscribeAgain is the pause before a lost stream of events is opened again.
const subscribeAgain = time.Second

// A container that the kernel killed may be seen to have ended before
// containerd knows that it was for its memory, and who looks in between takes
// the plain "Error" for good. So the end of a killed container is told
// reasonFollows later; if the reason comes first, that is a change of its own.
const (
	exitKilled    = 128 + 9
	reasonFollows = 100 * time.Millisecond
)

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
		change, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("receive containerd's events: %w", err)
		}
		if killed(change) {
			time.AfterFunc(reasonFollows, changed)
		} else {
			changed()
		}
	}
}

// killed tells whether a process of a container ended by SIGKILL.
func killed(change *events.Envelope) bool {
	var exit eventtypes.TaskExit
	return change.GetTopic() == "/tasks/exit" &&
		proto.Unmarshal(change.GetEvent().GetValue(), &exit) == nil && exit.GetExitStatus() == exitKilled
}
