// Package cli holds the commands about events: knit event send and
// knit graph. main.go assembles them. They reach brokers through the API server with the caller's
// kubeconfig, and never import a controller.
package cli

import (
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// Commands returns the commands of this room.
func Commands(env *cmdline.Env) []*cobra.Command {
	return []*cobra.Command{cmdline.Parent("event", "Send events", sendCommand(env)), graphCommand(env)}
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(eventingv1.AddToScheme(scheme))
	return scheme
}
