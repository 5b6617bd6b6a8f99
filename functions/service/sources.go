package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"
)

const (
	// uploadTimeout is how long one archive may take from first to last byte.
	uploadTimeout = 15 * time.Minute
	// uploadRetrySeconds is when to come again when all slots are taken.
	uploadRetrySeconds = 5
)

// Source is one stored archive, the answer to GET and PUT of sources/{digest}.
type Source struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	// Size is the archive's length in bytes.
	Size int64 `json:"size"`
}

type sourceHandler struct {
	store   *store
	now     func() time.Time
	max     int64
	uploads *slots
}

func (h *sourceHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info, _ := request.RequestInfoFrom(r.Context())
	digest, err := v1.NewHash(info.Name)
	if err != nil || digest.Algorithm != "sha256" {
		writeError(w, r, apierrors.NewBadRequest(fmt.Sprintf("%q is no digest; use sha256:<64 hex digits> of the archive", info.Name)))
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		err = h.get(w, r, info.Namespace, digest)
	case http.MethodPut:
		err = h.put(w, r, info.Namespace, digest)
	default:
		err = methodNotAllowed(w, r, "GET, HEAD, PUT")
	}
	if err != nil {
		writeError(w, r, err)
	}
}

func (h *sourceHandler) get(w http.ResponseWriter, r *http.Request, namespace string, digest v1.Hash) error {
	size, err := h.known(r.Context(), namespace, digest)
	if errors.Is(err, errUnknownSource) {
		return h.unknown(r.Context(), namespace, digest)
	}
	if err != nil {
		return registryFailed(err)
	}
	writeJSON(w, http.StatusOK, makeSource(namespace, digest, size))
	return nil
}

// known finds a source and notes that somebody wants it: whoever is told that
// the cluster has it does not send it, and must find it when the build begins.
func (h *sourceHandler) known(ctx context.Context, namespace string, digest v1.Hash) (size int64, err error) {
	f, err := h.store.find(ctx, namespace, digest)
	if err != nil {
		return 0, err
	}
	return f.size, h.store.touch(ctx, namespace, digest, f, h.now())
}

func (h *sourceHandler) put(w http.ResponseWriter, r *http.Request, namespace string, digest v1.Hash) error {
	inParts := r.Header.Get("Content-Range") != ""
	if err := h.checkLength(r.ContentLength); err != nil && !inParts {
		return err
	}
	release, ok := h.uploads.take(namespace)
	if !ok {
		return apierrors.NewTooManyRequests(fmt.Sprintf("too many sources are being uploaded to namespace %q or in all; try again", namespace), uploadRetrySeconds)
	}
	defer release()

	ctx, cancel := context.WithTimeout(r.Context(), uploadTimeout)
	defer cancel()
	// The deadline also ends a read of a body that stopped coming. Writers
	// without deadlines still end with ctx.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(uploadTimeout))

	size, err := h.known(ctx, namespace, digest)
	if err == nil {
		writeJSON(w, http.StatusOK, makeSource(namespace, digest, size))
		return nil
	}
	if !errors.Is(err, errUnknownSource) {
		return registryFailed(err)
	}
	if inParts {
		return h.putPart(ctx, w, r, namespace, digest)
	}
	if err := h.store.put(ctx, namespace, digest, r.ContentLength, r.Body, h.now()); err != nil {
		return uploadFailed(err)
	}
	writeJSON(w, http.StatusCreated, makeSource(namespace, digest, r.ContentLength))
	return nil
}

func (h *sourceHandler) checkLength(length int64) error {
	switch {
	case length < 0:
		return statusError(http.StatusLengthRequired, metav1.StatusReasonBadRequest, "the length of the archive must be known; send Content-Length, not chunks")
	case length == 0:
		return apierrors.NewBadRequest("the body is empty; send a gzip-compressed tar archive")
	case length > h.max:
		return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("the archive has %d bytes, more than the limit of %d; list what the build does not need in .knitignore", length, h.max))
	}
	return nil
}

func uploadFailed(err error) error {
	var fault *archiveError
	if errors.As(err, &fault) {
		return apierrors.NewBadRequest(fault.Error())
	}
	return registryFailed(err)
}

// registryFailed tells the caller what failed: registry errors hold names of
// repositories, never credentials.
func registryFailed(err error) error {
	return apierrors.NewServiceUnavailable(fmt.Sprintf("%v; check the registry of the cluster, then try again", err))
}

func makeSource(namespace string, digest v1.Hash, size int64) Source {
	return Source{
		TypeMeta:   metav1.TypeMeta{Kind: "Source", APIVersion: Group + "/" + Version},
		ObjectMeta: metav1.ObjectMeta{Name: digest.String(), Namespace: namespace},
		Size:       size,
	}
}
