package service

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/knit-dev/knit/functions/api/archive"
)

const (
	// minPart and maxPart bound a part of a source in bytes; the last may be
	// smaller. A kube-apiserver ends a request after a minute, and that is how
	// long a part has.
	minPart = 1 << 20
	maxPart = 16 << 20
	// maxOpen is the most that the uploads of a namespace that have not ended may
	// have in all, in bytes.
	maxOpen = 1 << 30
	// keepPartial is how long an upload waits for its next part.
	keepPartial = time.Hour
	// openRetrySeconds is when to come again when maxOpen is reached.
	openRetrySeconds = 60
)

// contentRange is a part's place (RFC 9110, section 14.4): "bytes 0-9/30", or
// "bytes */30" when all parts came and are to be put together.
type contentRange struct {
	first, length, total int64
	none                 bool
}

func readContentRange(text string) (contentRange, error) {
	wrong := apierrors.NewBadRequest(fmt.Sprintf("Content-Range %q is neither \"bytes first-last/total\" nor \"bytes */total\"", text))
	unit, rest, _ := strings.Cut(text, " ")
	place, total, found := strings.Cut(rest, "/")
	if unit != "bytes" || !found {
		return contentRange{}, wrong
	}
	var c contentRange
	var err error
	if c.total, err = strconv.ParseInt(total, 10, 64); err != nil || c.total <= 0 {
		return contentRange{}, wrong
	}
	if place == "*" {
		c.none = true
		return c, nil
	}
	from, to, _ := strings.Cut(place, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	if err1 != nil || err2 != nil || first < 0 || last < first || last >= c.total {
		return contentRange{}, wrong
	}
	c.first, c.length = first, last-first+1
	return c, nil
}

// readContentDigest reads the SHA-256 of a body (RFC 9530, section 2).
func readContentDigest(text string) (v1.Hash, error) {
	for field := range strings.SplitSeq(text, ",") {
		encoded, ok := strings.CutPrefix(strings.TrimSpace(field), "sha-256=:")
		if !ok {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(encoded, ":"))
		if err == nil && len(raw) == 32 {
			return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(raw)}, nil
		}
	}
	return v1.Hash{}, apierrors.NewBadRequest("a part needs a Content-Digest such as sha-256=:<base64>:")
}

// putPart takes one part of an archive, and with the last one makes the source.
//
//	PUT …/sources/{digest} with Content-Range and Content-Digest
func (h *sourceHandler) putPart(ctx context.Context, w http.ResponseWriter, r *http.Request, namespace string, digest v1.Hash) error {
	place, err := readContentRange(r.Header.Get("Content-Range"))
	if err != nil {
		return err
	}
	if err := h.checkPart(place, r.ContentLength); err != nil {
		return err
	}
	p, err := h.store.findPartial(ctx, namespace, digest)
	if errors.Is(err, errUnknownSource) {
		p, err = partial{total: place.total}, h.quota(ctx, namespace, place.total)
	}
	if err != nil {
		return partFailed(err)
	}
	if at := p.offset(); p.total != place.total || place.none && at != p.total || !place.none && at != place.first {
		return elsewhere(p)
	}
	if !place.none {
		part, err := readContentDigest(r.Header.Get("Content-Digest"))
		if err != nil {
			return err
		}
		descriptor := v1.Descriptor{MediaType: partType, Digest: part, Size: place.length}
		if p, err = h.store.addPart(ctx, namespace, digest, p, descriptor, r.Body, h.now()); err != nil {
			return uploadFailed(err)
		}
	}
	if p.offset() < p.total {
		writeJSON(w, http.StatusAccepted, makeSource(namespace, digest, p.offset()))
		return nil
	}
	if err := h.store.assemble(ctx, namespace, digest, p, h.now()); err != nil {
		return uploadFailed(err)
	}
	writeJSON(w, http.StatusCreated, makeSource(namespace, digest, p.total))
	return nil
}

func (h *sourceHandler) checkPart(place contentRange, length int64) error {
	if err := h.checkLength(place.total); err != nil {
		return err
	}
	last := place.first+place.length == place.total
	switch {
	case max(length, 0) != place.length:
		return apierrors.NewBadRequest(fmt.Sprintf("Content-Range has %d bytes, Content-Length %d", place.length, length))
	case place.length > maxPart || !place.none && !last && place.length < minPart:
		return apierrors.NewBadRequest(fmt.Sprintf("a part has %d to %d bytes, the last may have less; this one has %d", minPart, maxPart, place.length))
	}
	return nil
}

// quota refuses an upload that would be too much with those under way.
func (h *sourceHandler) quota(ctx context.Context, namespace string, total int64) error {
	open, err := h.store.openBytes(ctx, namespace, h.now())
	if err != nil {
		return err
	}
	if open+total > maxOpen {
		return apierrors.NewTooManyRequests(fmt.Sprintf("unfinished uploads to namespace %q have %d bytes, and with %d more they would have more than %d; finish them, or wait %s until they are dropped",
			namespace, open, total, maxOpen, keepPartial), openRetrySeconds)
	}
	return nil
}

// elsewhere says where an upload goes on.
func elsewhere(p partial) error {
	status := metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusConflict, Reason: metav1.StatusReasonConflict,
		Message: fmt.Sprintf("the upload goes on after %d of %d bytes", p.offset(), p.total),
		Details: uploadDetails(p),
	}
	return &apierrors.StatusError{ErrStatus: status}
}

// uploadDetails tell programs where an upload goes on.
func uploadDetails(p partial) *metav1.StatusDetails {
	return &metav1.StatusDetails{Group: Group, Kind: resourceSources, Causes: []metav1.StatusCause{
		{Type: archive.CauseOffset, Message: strconv.FormatInt(p.offset(), 10), Field: "Content-Range"},
	}}
}

// unknown is the answer about a source that is not there, or not yet as a whole.
func (h *sourceHandler) unknown(ctx context.Context, namespace string, digest v1.Hash) error {
	missing := apierrors.NewNotFound(groupResource(resourceSources), digest.String())
	p, err := h.store.findPartial(ctx, namespace, digest)
	if errors.Is(err, errUnknownSource) || err == nil && h.now().Sub(p.updated) >= keepPartial {
		return missing
	}
	if err != nil {
		return registryFailed(err)
	}
	missing.ErrStatus.Details = uploadDetails(p)
	missing.ErrStatus.Message += fmt.Sprintf("; %d of %d bytes came so far", p.offset(), p.total)
	return missing
}

// partFailed leaves alone what is meant for the caller.
func partFailed(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	return registryFailed(err)
}
