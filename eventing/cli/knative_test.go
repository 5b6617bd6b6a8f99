package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/apis/feature"
	flowsv1 "knative.dev/eventing/pkg/apis/flows/v1"
	messagingconfig "knative.dev/eventing/pkg/apis/messaging/config"
	messagingv1 "knative.dev/eventing/pkg/apis/messaging/v1"
	"knative.dev/pkg/apis"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// knativeKind is what Knative's webhooks do with an object: fill it, judge it.
type knativeKind interface {
	apis.Defaultable
	apis.Validatable
}

// Knative's own decoding, defaults and validation judge what the commands make.
func TestKnativeTakesWhatIsCreated(t *testing.T) {
	delivery := " --retry 3 --backoff exponential --backoff-delay PT0.5S --timeout PT5S --dead-letter broker:lost"
	cases := map[string]struct {
		command string
		object  knativeKind
	}{
		"a bare broker":           {"broker create b --class MTChannelBasedBroker", &eventingv1.Broker{}},
		"a broker with delivery":  {"broker create b --class MTChannelBasedBroker" + delivery, &eventingv1.Broker{}},
		"a trigger of all events": {"trigger create t --to f", &eventingv1.Trigger{}},
		"a trigger with all flags": {
			"trigger create t --broker b --to http://example.com/x --filter type=a --filter-prefix source=b --filter-suffix subject=c --filter-cesql type='a'" + delivery,
			&eventingv1.Trigger{},
		},
		"a channel":                    {"channel create c", &messagingv1.Channel{}},
		"a subscription":               {"subscription create s --channel c --to f", &messagingv1.Subscription{}},
		"a subscription with all":      {"subscription create s --channel c --to f --reply channel:d" + delivery, &messagingv1.Subscription{}},
		"a sequence":                   {"sequence create s --step f --step ksvc:g --step service:h --step http://example.com --reply sequence:t", &flowsv1.Sequence{}},
		"a parallel":                   {"parallel create p --branch f --branch g,parallel:q --reply channel:c", &flowsv1.Parallel{}},
		"a parallel without a last":    {"parallel create p --branch f", &flowsv1.Parallel{}},
		"a subscription to an address": {"subscription create s --channel c --to https://example.com", &messagingv1.Subscription{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var out, complaints bytes.Buffer
			env := &cmdline.Env{In: strings.NewReader(""), Out: &out, Err: &complaints, Now: time.Now, Kubeconfig: filepath.Join(t.TempDir(), "absent")}
			root := cmdline.NewRoot(env, "test", cmdline.Group{ID: "room", Title: "Commands:", Commands: Commands(env)})
			args := append(strings.Fields(c.command), "--dry-run", "-o", "json", "-n", "shop")
			if code := cmdline.Execute(env, root, args); code != cmdline.ExitOK {
				t.Fatalf("exit code %d: %s", code, complaints.String())
			}
			decoder := json.NewDecoder(&out)
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(c.object); err != nil {
				t.Fatalf("Knative does not know what is in it: %v", err)
			}
			if got := c.object.(metav1.Object).GetNamespace(); got != "shop" {
				t.Errorf("namespace %q, want that of the command line", got)
			}
			ctx := knativeDefaults(t.Context())
			c.object.SetDefaults(ctx)
			if err := c.object.Validate(ctx); err != nil {
				t.Errorf("Knative refuses it: %v", err)
			}
		})
	}
}

// knativeDefaults are those of an installation: InMemoryChannels, and the
// features that are on by default.
func knativeDefaults(ctx context.Context) context.Context {
	ctx = feature.ToContext(ctx, feature.Flags{feature.DeliveryTimeout: feature.Enabled})
	return messagingconfig.ToContext(ctx, &messagingconfig.Config{ChannelDefaults: &messagingconfig.ChannelDefaults{
		ClusterDefault: &messagingconfig.ChannelTemplateSpec{TypeMeta: metav1.TypeMeta{APIVersion: "messaging.knative.dev/v1", Kind: "InMemoryChannel"}},
	}})
}
