// Package knative puts Knative Serving and Eventing on the embedded cluster:
// which images to build, which objects to apply in which order, and whether
// they run. The objects are those of Knative's pinned modules, changed by the
// patches in config/ and by nothing else. The cluster daemon calls it; it
// builds and pushes no image itself and knows nothing of how the cluster runs.
package knative

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The namespaces of Knative's control plane.
const (
	ServingNamespace  = "knative-serving"
	EventingNamespace = "knative-eventing"
)

// Wait is what has to be true before the next stage begins.
type Wait int

const (
	// WaitNone goes on at once.
	WaitNone Wait = iota
	// WaitEstablished waits until the stage's CustomResourceDefinitions are served.
	WaitEstablished
	// WaitAvailable waits until every Deployment and StatefulSet of this and
	// all earlier stages is available.
	WaitAvailable
)

// Stage is a set of objects that can be applied in any order.
type Stage struct {
	Name    string
	Objects []unstructured.Unstructured
	Wait    Wait
}

// Options say what the manifests are filled in with.
type Options struct {
	ModuleDir    string            // folder of the Go module that requires knative.dev/serving and knative.dev/eventing
	Images       map[string]string // import path → image reference by digest, for every package of Commands
	Domain       string            // of services visible outside, e.g. knit.localhost
	IngressClass string            // e.g. knit.ingress.networking.knative.dev
	Registry     string            // host:port of the cluster's registry
}

// Manifests reads Knative's manifests from the module cache, applies the
// patches, fills in images and returns the stages in the order of applying.
func Manifests(ctx context.Context, o Options) ([]Stage, error) {
	vars, err := o.variables()
	if err != nil {
		return nil, err
	}
	dirs, err := moduleDirs(ctx, o.ModuleDir)
	if err != nil {
		return nil, err
	}
	base, err := readManifests(dirs)
	if err != nil {
		return nil, err
	}
	overlay, err := readOverlay(vars)
	if err != nil {
		return nil, err
	}
	objects, err := overlay.apply(base)
	if err != nil {
		return nil, err
	}
	for i := range objects {
		if err := resolveImages(objects[i].Object, o.Images); err != nil {
			return nil, fmt.Errorf("%s: %w", describe(&objects[i]), err)
		}
	}
	return stages(objects)
}

// stageOf orders kinds. Everything that workloads need at their start comes
// before them; webhooks follow, because from then on the API server refuses what
// they guard until their pods answer; last come objects that they guard.
var stageOf = map[string]int{
	"Namespace": 0,

	"CustomResourceDefinition": 1, "ServiceAccount": 1, "ClusterRole": 1, "ClusterRoleBinding": 1,
	"Role": 1, "RoleBinding": 1, "ConfigMap": 1, "Secret": 1, "Service": 1,

	"Deployment": 2, "StatefulSet": 2,

	"MutatingWebhookConfiguration": 3, "ValidatingWebhookConfiguration": 3,

	"Certificate": 4, "Image": 4,
}

func stages(objects []unstructured.Unstructured) ([]Stage, error) {
	out := []Stage{
		{Name: "namespaces"},
		{Name: "definitions and settings", Wait: WaitEstablished},
		{Name: "workloads"},
		{Name: "webhooks", Wait: WaitAvailable},
		{Name: "guarded objects"},
	}
	for _, o := range objects {
		i, ok := stageOf[o.GetKind()]
		if !ok {
			return nil, fmt.Errorf("%s: Knative's manifests have a kind that has no stage; add it to stageOf", describe(&o))
		}
		out[i].Objects = append(out[i].Objects, o)
	}
	return out, nil
}

// plain is what may be written into YAML without a thought about quoting.
var plain = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.:/@_-]*$`)

func (o Options) variables() (map[string]string, error) {
	vars := map[string]string{
		"DOMAIN": o.Domain, "INGRESS_CLASS": o.IngressClass, "REGISTRY": o.Registry, "JSONATA_IMAGE": o.Images[JSONata],
	}
	if vars["JSONATA_IMAGE"] == "" {
		vars["JSONATA_IMAGE"] = "not-built.knit.invalid/transform-jsonata"
	}
	names := make([]string, 0, len(vars))
	for name := range vars {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !plain.MatchString(vars[name]) {
			return nil, fmt.Errorf("Knative's manifests: %s is %q; give a plain host, class or image name", name, vars[name])
		}
	}
	return vars, nil
}

// describe names an object in messages.
func describe(o *unstructured.Unstructured) string {
	if ns := o.GetNamespace(); ns != "" {
		return o.GetKind() + " " + ns + "/" + o.GetName()
	}
	return o.GetKind() + " " + o.GetName()
}
