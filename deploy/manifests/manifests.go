// Package manifests carries the Kubernetes objects of Knit's control plane
// as a kustomize base with one overlay for each way to run it. `knit install`
// renders them; `kubectl apply -k` takes the same folders. It holds no logic,
// and nothing that belongs to one cluster: registry, domain, images and
// credentials are written by the installer.
package manifests

import "embed"

// FS holds the folders base, crds and overlays.
//
//go:embed base crds overlays
var FS embed.FS

// Overlays are the names below the folder overlays.
var Overlays = []string{"embedded", "cluster", "istio"}
