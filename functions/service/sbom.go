package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const (
	// sbomTimeout ends a read of a registry that does not answer.
	sbomTimeout = time.Minute
	// sbomReaders is how many bills are put together at once by a replica, each
	// in at most maxSBOM bytes of memory.
	sbomReaders = 2
	// sbomMediaType is the answer (https://cyclonedx.org/specification/overview/).
	sbomMediaType = "application/vnd.cyclonedx+json"
	// lifecycleLabel names the layer with the bills of a built image, in the
	// CNB platform specification.
	lifecycleLabel = "io.buildpacks.lifecycle.metadata"
)

// sbomHandler hands out the bill of materials of the image that a Build made.
//
//	GET …/namespaces/{namespace}/builds/{name}/sbom
type sbomHandler struct {
	builds  client.Reader
	store   *store
	streams *slots
}

func (h *sbomHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info, _ := request.RequestInfoFrom(r.Context())
	if r.Method != http.MethodGet {
		writeError(w, r, methodNotAllowed(w, r, "GET"))
		return
	}
	release, ok := h.streams.take(info.Namespace)
	if !ok {
		writeError(w, r, apierrors.NewTooManyRequests(fmt.Sprintf("too many bills of materials are being read in namespace %q or in all; try again", info.Namespace), logRetrySeconds))
		return
	}
	defer release()
	ctx, cancel := context.WithTimeout(r.Context(), sbomTimeout)
	defer cancel()
	bill, err := h.bill(ctx, types.NamespacedName{Namespace: info.Namespace, Name: info.Name})
	if err != nil {
		writeError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", sbomMediaType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(bill)
}

func (h *sbomHandler) bill(ctx context.Context, key types.NamespacedName) ([]byte, error) {
	var build v1alpha1.Build
	if err := h.builds.Get(ctx, key, &build); apierrors.IsNotFound(err) {
		return nil, apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource(resourceBuilds).GroupResource(), key.Name)
	} else if err != nil {
		return nil, fmt.Errorf("read Build %s: %w", key, err)
	}
	_, digest, found := strings.Cut(build.Status.Image, "@")
	if !found {
		return nil, statusError(http.StatusConflict, metav1.StatusReasonConflict, fmt.Sprintf("Build %s has no image; wait until it has succeeded", key))
	}
	// Only the repository of the Build's own function is read, whatever the
	// status names.
	repository := path.Join(h.store.registry, h.store.prefix, build.Namespace, build.Spec.Function)
	layer, err := h.store.sbomLayer(ctx, repository+"@"+digest)
	if errors.Is(err, errUnknownSource) {
		return nil, statusError(http.StatusNotFound, metav1.StatusReasonNotFound,
			fmt.Sprintf("the image of Build %s is not in the registry any more, or its buildpacks wrote no bill of materials; build again", key))
	}
	if err != nil {
		return nil, registryFailed(err)
	}
	bill, err := readBills(layer, build.Status.Image)
	if err != nil {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("read the bill of materials of %s: %v", build.Status.Image, err))
	}
	return bill, nil
}

// sbomLayer finds the layer with the bills of an image, or errUnknownSource.
func (s *store) sbomLayer(ctx context.Context, reference string) (v1.Layer, error) {
	ref, err := name.NewDigest(reference, name.StrictValidation)
	if err != nil {
		return nil, err
	}
	image, err := remote.Image(ref, s.options(ctx)...)
	if absent(err) {
		return nil, errUnknownSource
	}
	if err != nil {
		return nil, fmt.Errorf("read image %s: %w", ref, err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read image %s: %w", ref, err)
	}
	var label struct {
		SBOM *struct{ SHA string } `json:"sbom"`
	}
	if err := json.Unmarshal([]byte(file.Config.Labels[lifecycleLabel]), &label); err != nil || label.SBOM == nil {
		return nil, errUnknownSource
	}
	diffID, err := v1.NewHash(label.SBOM.SHA)
	if err != nil {
		return nil, errUnknownSource
	}
	layer, err := image.LayerByDiffID(diffID)
	if err != nil {
		return nil, errUnknownSource
	}
	return layer, nil
}
