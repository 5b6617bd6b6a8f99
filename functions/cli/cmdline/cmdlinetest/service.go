package cmdlinetest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knit-dev/knit/functions/api/archive"
	"github.com/knit-dev/knit/functions/api/invocation"
)

// service is the extension API: archives must have the digest they claim.
func (s *server) service(w http.ResponseWriter, r *http.Request) {
	name := filepath.Base(r.URL.Path)
	switch {
	case s.refuses(w, r), s.scripted(w, r):
	case strings.HasSuffix(r.URL.Path, "/invoke"):
		s.invoke(w, r)
	case strings.HasSuffix(r.URL.Path, "/events"):
		s.takeEvent(w, r)
	case strings.HasSuffix(r.URL.Path, "/sbom"):
		s.serveLog(w, "sbom-"+filepath.Base(strings.TrimSuffix(r.URL.Path, "/sbom"))+".log")
	case strings.HasSuffix(r.URL.Path, "/log") && strings.Contains(r.URL.Path, "/functions/"):
		s.serveEnded(w, filepath.Base(filepath.Dir(r.URL.Path)))
	case strings.HasSuffix(r.URL.Path, "/log"):
		s.serveLog(w, "build-"+filepath.Base(strings.TrimSuffix(r.URL.Path, "/log"))+".log")
	case r.Method == http.MethodGet && !s.sources[r.URL.Path]:
		missing := apierrors.NewNotFound(schema.GroupResource{Group: "service.knit.dev", Resource: "sources"}, name)
		missing.ErrStatus.Details = offset(len(s.parts[r.URL.Path]))
		fail(w, missing)
	case r.Method == http.MethodPut:
		s.upload(w, r, name)
	}
}

// upload takes an archive, whole or in parts, which must come in their order.
func (s *server) upload(w http.ResponseWriter, r *http.Request, name string) {
	came := s.parts[r.URL.Path]
	if place := r.Header.Get("Content-Range"); place != "" {
		fmt.Fprintf(s.requests, "  %s\n", place)
		if !strings.HasPrefix(place, fmt.Sprintf("bytes %d-", len(came))) {
			conflict := apierrors.NewConflict(schema.GroupResource{Resource: "sources"}, name, errors.New("another place"))
			conflict.ErrStatus.Details = offset(len(came))
			fail(w, conflict)
			return
		}
		part, err := io.ReadAll(r.Body)
		sum := sha256.Sum256(part)
		if err != nil || r.Header.Get("Content-Digest") != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
			fail(w, apierrors.NewBadRequest("the part is not what its digest says"))
			return
		}
		came = append(came, part...)
		if s.parts[r.URL.Path] = came; !strings.HasSuffix(place, fmt.Sprintf("/%d", len(came))) {
			w.WriteHeader(http.StatusAccepted)
			return
		}
	} else {
		came, _ = io.ReadAll(r.Body)
	}
	sum := sha256.Sum256(came)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != name {
		fail(w, apierrors.NewBadRequest(fmt.Sprintf("digest %s, want %s", got, name)))
		return
	}
	s.sources[r.URL.Path] = true
	w.WriteHeader(http.StatusCreated)
}

// offset are the details of an error that say how much of an archive came.
func offset(n int) *metav1.StatusDetails {
	if n == 0 {
		return nil
	}
	return &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: archive.CauseOffset, Message: strconv.Itoa(n)}}}
}

// invoke calls the function that tells what it was sent. One named "forbidden" may
// not be called.
func (s *server) invoke(w http.ResponseWriter, r *http.Request) {
	name := filepath.Base(filepath.Dir(r.URL.Path))
	if name == "forbidden" {
		fail(w, apierrors.NewForbidden(schema.GroupResource{Group: "service.knit.dev", Resource: "functions/invoke"}, name, errors.New("no")))
		return
	}
	query := r.URL.Query()
	inner := httptest.NewRequestWithContext(r.Context(), query.Get(invocation.QueryMethod), query.Get(invocation.QueryPath), r.Body)
	inner.Host, inner.Header = name+".inside", invocation.Unwrap(r.Header)
	answer := httptest.NewRecorder()
	echo().ServeHTTP(answer, inner)
	invocation.Wrap(w.Header(), answer.Header())
	w.Header().Set(invocation.HeaderStatus, strconv.Itoa(answer.Code))
	_, _ = w.Write(answer.Body.Bytes())
}

// serveEnded answers what replicas of a function that are gone wrote.
func (s *server) serveEnded(w http.ResponseWriter, function string) {
	raw, err := os.ReadFile(filepath.Join(s.logs, "ended-"+function+".log"))
	if err == nil {
		_, _ = w.Write(raw)
	}
}

func (s *server) serveLog(w http.ResponseWriter, file string) {
	raw, err := os.ReadFile(filepath.Join(s.logs, file))
	if err != nil {
		fail(w, apierrors.NewNotFound(schema.GroupResource{Resource: "logs"}, file))
		return
	}
	_, _ = w.Write(raw)
}
