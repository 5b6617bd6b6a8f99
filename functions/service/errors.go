package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"
)

// writeError answers with a metav1.Status, which kubectl and client-go print
// as a sentence. An error of another kind is the server's fault: it is
// logged, and the caller sees no internals.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		klog.FromContext(r.Context()).Error(err, "Request failed", "method", r.Method, "path", r.URL.Path)
		status = apierrors.NewInternalError(errors.New("see the log of the Knit control plane"))
	}
	body := status.Status()
	body.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	if body.Details != nil && body.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(body.Details.RetryAfterSeconds)))
	}
	writeJSON(w, int(body.Code), body)
}

// writeJSON leaves the body of an answer to HEAD to net/http, which drops it.
func writeJSON(w http.ResponseWriter, code int, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		http.Error(w, "encode the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n'))
}

func noSuchPath(r *http.Request) error {
	return statusError(http.StatusNotFound, metav1.StatusReasonNotFound,
		fmt.Sprintf("%s does not exist in %s/%s; it has namespaces/{namespace}/sources/{digest}, …/builds/{name}/log, …/builds/{name}/sbom, …/functions/{name}/log, …/functions/{name}/invoke, …/brokers/{name}/events, …/brokers/{name}/log, …/channels/{name}/events, …/channels/{name}/log, …/deadletters and …/redrives",
			r.URL.Path, Group, Version))
}

func methodNotAllowed(w http.ResponseWriter, r *http.Request, allowed string) error {
	w.Header().Set("Allow", allowed)
	return statusError(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed,
		fmt.Sprintf("%s is not possible on %s; use one of %s", r.Method, r.URL.Path, allowed))
}

func statusError(code int, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	}}
}

func groupResource(resource string) schema.GroupResource {
	return schema.GroupResource{Group: Group, Resource: resource}
}
