package cli

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// sinkForms says what a sink may be, for help and for the end of an error.
const sinkForms = "function/NAME, ksvc/NAME, broker/NAME, channel/NAME, sequence/NAME, parallel/NAME, service/NAME, or an http or https address"

// sinkKind is a word before the name of a sink and the kind that it means.
type sinkKind struct{ word, apiVersion, kind string }

var sinkKinds = []sinkKind{
	{"function", v1alpha1.GroupVersion.String(), "Function"},
	{"ksvc", "serving.knative.dev/v1", "Service"},
	{"broker", "eventing.knative.dev/v1", "Broker"},
	{"channel", "messaging.knative.dev/v1", "Channel"},
	{"sequence", "flows.knative.dev/v1", "Sequence"},
	{"parallel", "flows.knative.dev/v1", "Parallel"},
	{"service", "v1", "Service"},
}

// parseSink reads a sink. Other commands write a colon between kind and name,
// which is taken as well.
func parseSink(raw string) (v1alpha1.Destination, error) {
	if raw == "" {
		return v1alpha1.Destination{}, cmdline.Advise(cmdline.Usagef("say where the event goes"), "add --sink with %s", sinkForms)
	}
	if strings.Contains(raw, "://") {
		return parseAddress(raw)
	}
	i := strings.IndexAny(raw, "/:")
	if i < 0 {
		return v1alpha1.Destination{}, cmdline.Usagef("--sink %q has no kind: write %s", raw, sinkForms)
	}
	word, name := raw[:i], raw[i+1:]
	k := slices.IndexFunc(sinkKinds, func(k sinkKind) bool { return k.word == word })
	if k < 0 {
		return v1alpha1.Destination{}, cmdline.Usagef("--sink %q is of an unknown kind %q: write %s", raw, word, sinkForms)
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return v1alpha1.Destination{}, cmdline.Usagef("--sink %q has no valid name %q: write %s", raw, name, sinkForms)
	}
	return v1alpha1.Destination{Ref: &v1alpha1.Reference{APIVersion: sinkKinds[k].apiVersion, Kind: sinkKinds[k].kind, Name: name}}, nil
}

func parseAddress(raw string) (v1alpha1.Destination, error) {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return v1alpha1.Destination{}, cmdline.Usagef("--sink %q is no absolute http or https address", raw)
	}
	return v1alpha1.Destination{URI: raw}, nil
}

// sinkText shows a sink as it is written on a command line, where it can be.
func sinkText(d v1alpha1.Destination) string {
	if d.Ref == nil {
		return d.URI
	}
	word := strings.ToLower(d.Ref.Kind)
	group, _, _ := strings.Cut(d.Ref.APIVersion, "/")
	for _, k := range sinkKinds {
		if known, _, _ := strings.Cut(k.apiVersion, "/"); known == group && k.kind == d.Ref.Kind {
			word = k.word
		}
	}
	return word + "/" + d.Ref.Name
}

// completeSinks completes the functions of the namespace, and the kinds there are.
func completeSinks(env *cmdline.Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		words := []string{"http://", "https://"}
		for _, k := range sinkKinds {
			words = append(words, k.word+"/")
		}
		if !strings.HasPrefix(typed, "function/") {
			return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		return cmdline.Complete(env, newScheme, true, func(ctx context.Context, c *cmdline.Cluster) ([]string, error) {
			var functions v1alpha1.FunctionList
			if err := c.List(ctx, &functions, client.InNamespace(c.Namespace)); err != nil {
				return nil, err
			}
			var names []string
			for _, f := range functions.Items {
				names = append(names, "function/"+f.Name)
			}
			return names, nil
		})(cmd, nil, typed)
	}
}
