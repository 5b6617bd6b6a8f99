package service

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/knit-dev/knit/functions/api/v1alpha1"
)

const (
	// functionLogTimeout ends a read of a registry that does not answer.
	functionLogTimeout = time.Minute
	// functionLogReaders is how many are answered at once by a replica, each with
	// at most keepReplicaLogs times replicaLogBytes in memory.
	functionLogReaders = 8
)

// functionLogHandler hands out what replicas that are gone wrote at last.
//
//	GET …/namespaces/{namespace}/functions/{name}/log?revision=hello-00001&since=10m&tail=100
type functionLogHandler struct {
	reader  client.Reader
	store   *store
	streams *slots
	now     func() time.Time
}

type functionLogQuery struct {
	revision string
	after    time.Time
	tail     int // lines of each; all when negative
}

func (h *functionLogHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info, _ := request.RequestInfoFrom(r.Context())
	if r.Method != http.MethodGet {
		writeError(w, r, methodNotAllowed(w, r, "GET"))
		return
	}
	query, err := h.readQuery(r)
	if err != nil {
		writeError(w, r, err)
		return
	}
	release, ok := h.streams.take(info.Namespace)
	if !ok {
		writeError(w, r, apierrors.NewTooManyRequests(fmt.Sprintf("too many logs are being read in namespace %q or in all; try again", info.Namespace), logRetrySeconds))
		return
	}
	defer release()
	ctx, cancel := context.WithTimeout(r.Context(), functionLogTimeout)
	defer cancel()
	text, err := h.read(ctx, types.NamespacedName{Namespace: info.Namespace, Name: info.Name}, query)
	if err != nil {
		writeError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(text)
}

func (h *functionLogHandler) readQuery(r *http.Request) (functionLogQuery, error) {
	values := r.URL.Query()
	query := functionLogQuery{revision: values.Get("revision"), tail: -1}
	if text := values.Get("since"); text != "" {
		since, err := time.ParseDuration(text)
		if err != nil || since < 0 {
			return query, apierrors.NewBadRequest(fmt.Sprintf("since=%q is no duration such as 10m", text))
		}
		query.after = h.now().Add(-since)
	}
	if text := values.Get("tail"); text != "" {
		tail, err := strconv.Atoi(text)
		if err != nil || tail < 0 {
			return query, apierrors.NewBadRequest(fmt.Sprintf("tail=%q is no number of lines", text))
		}
		query.tail = tail
	}
	return query, nil
}

// read puts the logs together; there are few, and all are small.
func (h *functionLogHandler) read(ctx context.Context, key types.NamespacedName, query functionLogQuery) ([]byte, error) {
	var fn v1alpha1.Function
	if err := h.reader.Get(ctx, key, &fn); apierrors.IsNotFound(err) {
		return nil, apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource(resourceFunctions).GroupResource(), key.Name)
	} else if err != nil {
		return nil, fmt.Errorf("read Function %s: %w", key, hidden(err))
	}
	var out bytes.Buffer
	// A function of the same name that was deleted before left nothing to this one.
	after := query.after
	if made := fn.CreationTimestamp.Time; made.After(after) {
		after = made
	}
	err := h.store.readReplicaLogs(ctx, key.Namespace, key.Name, query.revision, after, func(l replicaLog) error {
		fmt.Fprintf(&out, "===> %s, ended %s\n", l.pod, l.ended.UTC().Format(time.RFC3339))
		if l.truncated && query.tail < 0 {
			fmt.Fprintln(&out, "knit: the beginning of this log was not kept")
		}
		text := lastLines(l.text, query.tail)
		out.Write(text)
		if len(text) > 0 && text[len(text)-1] != '\n' {
			out.WriteByte('\n')
		}
		return nil
	})
	if err != nil {
		return nil, registryFailed(err)
	}
	return out.Bytes(), nil
}

// lastLines are the last n lines of a text, or all when n is negative.
func lastLines(text []byte, n int) []byte {
	if n < 0 {
		return text
	}
	at := len(text)
	if at > 0 && text[at-1] == '\n' {
		at--
	}
	for range n {
		if at = bytes.LastIndexByte(text[:max(at, 0)], '\n'); at < 0 {
			return text
		}
	}
	if n == 0 {
		return nil
	}
	return text[at+1:]
}
