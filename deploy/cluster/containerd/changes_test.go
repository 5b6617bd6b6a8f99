package containerd

import (
	"testing"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/services/events/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestOnlyTheEndOfAKilledContainerIsHeldBack(t *testing.T) {
	envelope := func(topic string, m proto.Message) *events.Envelope {
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return &events.Envelope{Topic: topic, Event: &anypb.Any{Value: body}}
	}
	for name, c := range map[string]struct {
		change *events.Envelope
		want   bool
	}{
		"killed":      {envelope("/tasks/exit", &eventtypes.TaskExit{ExitStatus: 137}), true},
		"failed":      {envelope("/tasks/exit", &eventtypes.TaskExit{ExitStatus: 1}), false},
		"done":        {envelope("/tasks/exit", &eventtypes.TaskExit{}), false},
		"the reason":  {envelope("/tasks/oom", &eventtypes.TaskOOM{ContainerID: "c"}), false},
		"deleted":     {envelope("/tasks/delete", &eventtypes.TaskDelete{ExitStatus: 137}), false},
		"no event":    {&events.Envelope{Topic: "/tasks/exit"}, false},
		"not decoded": {&events.Envelope{Topic: "/tasks/exit", Event: &anypb.Any{Value: []byte{0xff}}}, false},
	} {
		if got := killed(c.change); got != c.want {
			t.Errorf("%s: held back %v, want %v", name, got, c.want)
		}
	}
}
