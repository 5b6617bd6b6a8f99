package knative

import (
	"fmt"
	"strings"

	"github.com/knit-dev/knit/builder/images"
)

// JSONata is the key in Options.Images of the image that runs EventTransform.
// It is a Node program whose source is not in eventing's module, so Commands
// cannot list it. Without an entry the kind is installed, but the pod of an
// EventTransform shows an image name that says that it was not built.
const JSONata = "knative.dev/eventing/transform-jsonata"

// imagePrefix marks an import path where an image belongs.
const imagePrefix = "ko://"

// packages are the commands that the manifests name.
var packages = []string{
	"knative.dev/serving/cmd/activator",
	"knative.dev/serving/cmd/autoscaler",
	"knative.dev/serving/cmd/controller",
	"knative.dev/serving/cmd/queue",
	"knative.dev/serving/cmd/webhook",
	"knative.dev/eventing/cmd/apiserver_receive_adapter",
	"knative.dev/eventing/cmd/auth_proxy",
	"knative.dev/eventing/cmd/broker/filter",
	"knative.dev/eventing/cmd/broker/ingress",
	"knative.dev/eventing/cmd/controller",
	"knative.dev/eventing/cmd/in_memory/channel_controller",
	"knative.dev/eventing/cmd/in_memory/channel_dispatcher",
	"knative.dev/eventing/cmd/jobsink",
	"knative.dev/eventing/cmd/mtchannel_broker",
	"knative.dev/eventing/cmd/mtping",
	"knative.dev/eventing/cmd/requestreply",
	"knative.dev/eventing/cmd/webhook",
}

// Commands lists every image that the manifests name and that is a Go
// program, to be built in the given module folder. Options.Images is keyed by
// their Package.
func Commands(moduleDir string) []images.Command {
	cmds := make([]images.Command, 0, len(packages))
	for _, p := range packages {
		name := strings.Replace(strings.TrimPrefix(p, "knative.dev/"), "/cmd/", "/", 1)
		cmds = append(cmds, images.Command{Name: "knative/" + name, Package: p, Dir: moduleDir})
	}
	return cmds
}

// resolveImages replaces import paths by image references in every string.
func resolveImages(node map[string]any, refs map[string]string) error {
	for k, v := range node {
		resolved, err := resolveImage(v, refs)
		if err != nil {
			return err
		}
		node[k] = resolved
	}
	return nil
}

func resolveImage(v any, refs map[string]string) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		return v, resolveImages(v, refs)
	case []any:
		for i := range v {
			resolved, err := resolveImage(v[i], refs)
			if err != nil {
				return nil, err
			}
			v[i] = resolved
		}
	case string:
		path, ok := strings.CutPrefix(v, imagePrefix)
		if !ok {
			return v, nil
		}
		ref, ok := refs[path]
		if !ok {
			return nil, fmt.Errorf("no image for %s; build what Commands lists", path)
		}
		return ref, nil
	}
	return v, nil
}
