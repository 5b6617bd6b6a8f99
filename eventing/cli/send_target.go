package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// target is where events are sent: an object of the working namespace, or an address.
type target struct {
	kind string // targetBroker, targetChannel, targetFunction, or "" for an address
	name string
	url  string
}

const (
	targetBroker   = "broker"
	targetChannel  = "channel"
	targetFunction = "function"
)

// targetForms is for the end of an error.
const targetForms = "write broker/NAME, channel/NAME, function/NAME, or an http or https address"

// parseTarget reads a value of --to. A colon, as in a SINK, is as good as a slash.
func parseTarget(raw string) (target, error) {
	if strings.Contains(raw, "://") {
		to, err := parseAddress(raw)
		if err != nil {
			return target{}, cmdline.Usagef("--to %q is no absolute http or https address: %s", raw, targetForms)
		}
		return target{url: to.url.String()}, nil
	}
	i := strings.IndexAny(raw, "/:")
	if i < 0 {
		return target{}, cmdline.Usagef("--to %q does not say what it is the name of: %s", raw, targetForms)
	}
	to := target{kind: raw[:i], name: raw[i+1:]}
	switch to.kind {
	case targetBroker, targetChannel, targetFunction:
	default:
		return target{}, cmdline.Usagef("--to %q is of an unknown kind %q: %s", raw, to.kind, targetForms)
	}
	if len(validation.IsDNS1123Subdomain(to.name)) > 0 {
		return target{}, cmdline.Usagef("--to %q has no valid name %q: %s", raw, to.name, targetForms)
	}
	return to, nil
}

// completeTargets completes --to with what there is in the working namespace.
func completeTargets(env *cmdline.Env) cobra.CompletionFunc {
	kinds := []struct {
		word string
		kind schema.GroupVersionKind
	}{
		{targetBroker, schema.GroupVersionKind{Group: "eventing.knative.dev", Version: "v1", Kind: "Broker"}},
		{targetChannel, schema.GroupVersionKind{Group: "messaging.knative.dev", Version: "v1", Kind: "Channel"}},
		{targetFunction, schema.GroupVersionKind{Group: "knit.dev", Version: "v1alpha1", Kind: "Function"}},
	}
	return cmdline.Complete(env, newScheme, true, func(ctx context.Context, c *cmdline.Cluster) ([]string, error) {
		var names []string
		for _, k := range kinds {
			found, err := fetch(ctx, quiet(env), c, []kind{{GroupVersionKind: k.kind}}, c.Namespace)
			if err != nil {
				continue // What one may not list is completed by nothing.
			}
			for _, object := range found {
				names = append(names, k.word+"/"+object.GetName())
			}
		}
		return names, nil
	})
}
