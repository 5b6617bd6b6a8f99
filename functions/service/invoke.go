package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/knit-dev/knit/functions/api/invocation"
)

const (
	// invokeTimeout is how long a call takes at most, first to last byte. It is
	// less than the --request-timeout of a kube-apiserver, 60 s unless set, which
	// would end the call without a word.
	invokeTimeout = 55 * time.Second
	// maxInvokeBody is the most that a function is sent, in bytes: what the
	// runtime takes. maxInvokeAnswer is the most that it answers.
	maxInvokeBody   = 10 << 20
	maxInvokeAnswer = 256 << 20
	// maxInvokeHeader bounds a function's header, maxInvokePath path and query.
	maxInvokeHeader = 64 << 10
	maxInvokePath   = 8 << 10
	// invokeRetrySeconds is when to come again when all slots are taken.
	invokeRetrySeconds = 1
)

// invokeMethods are what may be carried. CONNECT would make a tunnel.
var invokeMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// invokeHandler calls a function for those who may create functions/invoke in its
// namespace, wherever they are. It streams both ways and keeps nothing.
//
//	POST …/namespaces/{namespace}/functions/{name}/invoke?method=GET&path=/items
type invokeHandler struct {
	routes    routes
	transport http.RoundTripper
	calls     *slots
	timeout   time.Duration
}

// newInvokeTransport reaches the cluster's gateway: without a proxy of the
// environment, and with bodies as they are.
func newInvokeTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Transport{
		DialContext: dialer.DialContext, DisableCompression: true, MaxResponseHeaderBytes: maxInvokeHeader,
		MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
	}
}

func (h *invokeHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info, _ := request.RequestInfoFrom(r.Context())
	key := types.NamespacedName{Namespace: info.Namespace, Name: info.Name}
	method, path, err := readCall(w, r)
	if err != nil {
		writeError(w, r, err)
		return
	}
	release, ok := h.calls.take(key.Namespace)
	if !ok {
		writeError(w, r, apierrors.NewTooManyRequests(fmt.Sprintf("too many functions are being called through the API in namespace %q or in all; try again, or call the function's URL", key.Namespace), invokeRetrySeconds))
		return
	}
	defer release()
	ctx, cancel := context.WithTimeout(r.Context(), h.timeout)
	defer cancel()
	// A read of a body that stopped coming ends, too, a little later: it would
	// take the answer with it.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.timeout + time.Second))

	answer, err := h.call(ctx, w, r, key, method, path)
	if err != nil {
		writeError(w, r, h.explain(ctx, key, err))
		return
	}
	defer answer.Body.Close()
	pass(w, answer)
}

// readCall reads which request is carried.
func readCall(w http.ResponseWriter, r *http.Request) (method string, path *url.URL, err error) {
	if r.Method != http.MethodPost {
		return "", nil, methodNotAllowed(w, r, "POST; the function's method is the parameter "+invocation.QueryMethod)
	}
	if r.Header.Get("Upgrade") != "" {
		return "", nil, apierrors.NewBadRequest("connections cannot be upgraded through the API; call the function's URL")
	}
	if r.ContentLength > maxInvokeBody {
		return "", nil, bodyTooLarge()
	}
	query := r.URL.Query()
	if method = query.Get(invocation.QueryMethod); method == "" {
		method = http.MethodPost
	}
	if !slices.Contains(invokeMethods, method) {
		return "", nil, apierrors.NewBadRequest(fmt.Sprintf("method=%q is none of %s", method, strings.Join(invokeMethods, ", ")))
	}
	text := query.Get(invocation.QueryPath)
	if text == "" {
		text = "/"
	}
	if !strings.HasPrefix(text, "/") || len(text) > maxInvokePath {
		return "", nil, apierrors.NewBadRequest(fmt.Sprintf("path must begin with / and have at most %d bytes", maxInvokePath))
	}
	if path, err = url.ParseRequestURI(text); err != nil {
		return "", nil, apierrors.NewBadRequest(fmt.Sprintf("path=%q is no path with a query: %v", text, err))
	}
	return method, path, nil
}

func bodyTooLarge() error {
	return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("the body has more than the limit of %d bytes; put it somewhere and send its address", maxInvokeBody))
}

// call sends the carried request by the way that Knative made for this function.
func (h *invokeHandler) call(ctx context.Context, w http.ResponseWriter, r *http.Request, key types.NamespacedName, method string, path *url.URL) (*http.Response, error) {
	way, err := h.routes.find(ctx, key)
	if err != nil {
		return nil, err
	}
	target := &url.URL{Scheme: "http", Host: way.gateway, Path: path.Path, RawPath: path.RawPath, RawQuery: path.RawQuery}
	out := (&http.Request{
		Method: method, URL: target, Host: way.host, Header: invocation.Unwrap(r.Header),
		Body: http.NoBody, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if r.ContentLength != 0 {
		out.Body, out.ContentLength = http.MaxBytesReader(w, r.Body, maxInvokeBody), r.ContentLength
	}
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", "knit-service")
	}
	answer, err := h.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < http.StatusOK {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("it answered %s, which nobody asked for", answer.Status)
	}
	return answer, nil
}

// explain makes an error for the caller of one on the way to the function.
func (h *invokeHandler) explain(ctx context.Context, key types.NamespacedName, err error) error {
	var status apierrors.APIStatus
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &status):
		return err
	case errors.As(err, &large):
		return bodyTooLarge()
	case ctx.Err() == nil && errors.Is(err, errRoute):
		return err // The server's fault: it is logged.
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return apierrors.NewTimeoutError(fmt.Sprintf("function %s did not answer within %s, which is as long as a call through the API may take; call its URL, or send it an event", key, h.timeout), 0)
	}
	return apierrors.NewServiceUnavailable(fmt.Sprintf("call function %s: %v", key, err))
}

// pass sends the answer on as it comes. A body that breaks off breaks off here,
// too: whoever reads must not take a part for the whole.
func pass(w http.ResponseWriter, answer *http.Response) {
	header := w.Header()
	invocation.Wrap(header, answer.Header)
	header.Set(invocation.HeaderStatus, strconv.Itoa(answer.StatusCode))
	header.Set("Content-Type", "application/octet-stream")
	header.Set("X-Content-Type-Options", "nosniff")
	// What a function answers is nobody else's.
	header.Set("Cache-Control", "no-store")
	if answer.Request.Method != http.MethodHead && answer.ContentLength >= 0 {
		header.Set("Content-Length", strconv.FormatInt(answer.ContentLength, 10))
	}
	w.WriteHeader(http.StatusOK)
	out := &flushWriter{to: w, control: http.NewResponseController(w)}
	out.flush()
	limited := &io.LimitedReader{R: answer.Body, N: maxInvokeAnswer + 1}
	if err := out.copy(limited); err != nil || limited.N == 0 {
		panic(http.ErrAbortHandler)
	}
}

// errRoute marks a failure to read the objects that say where a function is.
var errRoute = errors.New("find the way to the function")

func notReady(key types.NamespacedName, why string) error {
	return statusError(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
		fmt.Sprintf("function %s cannot be called: %s; see `knit describe %s -n %s`", key, why, key.Name, key.Namespace))
}
